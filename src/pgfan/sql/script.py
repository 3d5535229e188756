"""SQL text to statements: each with its source span, and with the session settings it needs.

The text is parsed by PostgreSQL 18's own grammar (libpg_query), whole and before anything runs.
A BEGIN ... COMMIT block is one item; SET, RESET and set_config() are items and are also carried
along, because what follows may run on another connection. psql's meta-commands belong to
`pgfan run`; here they are refused with their place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import postgast

from pgfan.errors import Position, UnsupportedError, UsageError
from pgfan.sql.tree import Message, inner, kind_of, names, walk
from pgfan.sql.variables import interpolate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROLE_SETTINGS = frozenset({"role", "session_authorization"})
KINDS = {
    "InsertStmt": "insert",
    "UpdateStmt": "update",
    "DeleteStmt": "delete",
    "MergeStmt": "merge",
    "SelectStmt": "select",
    "CreateTableAsStmt": "create table as",
    "VariableSetStmt": "set",
    "TransactionStmt": "transaction",
}


@dataclass(frozen=True)
class Statement:
    """One statement: its text as written (no semicolon), where it starts, and its parse tree."""

    text: str
    position: Position
    tree: Message = field(repr=False, compare=False)

    @property
    def kind(self) -> str:
        """In words: "insert", "create table as"; other statements by their node's name."""
        name = kind_of(self.tree)
        return KINDS.get(name) or _words(name.removesuffix("Stmt"))

    @property
    def digest(self) -> str:
        """SHA-256 of the exact text: literals count, unlike in libpg_query's fingerprint."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class ScriptItem:
    """What is run as one task: a statement, or a transaction block with its BEGIN and COMMIT.

    `settings` are the SET statements in force before it, in order. `rolls_back` marks a block
    that ends in ROLLBACK and so leaves nothing.
    """

    statements: tuple[Statement, ...]
    settings: tuple[str, ...] = ()
    is_block: bool = False
    rolls_back: bool = False
    seeded: bool = False
    """random() was seeded before: it must go on in the one session that was seeded."""

    @property
    def first(self) -> Statement:
        """The statement that gives the item its place in messages."""
        return self.statements[0]

    @property
    def kind(self) -> str:
        """The statement's kind; "transaction" for a block."""
        return "transaction" if self.is_block else self.first.kind


def read_script(
    text: str, source: str, variables: Mapping[str, str] | None = None
) -> tuple[ScriptItem, ...]:
    """The items of `text`, in order.

    Raises UsageError with position, line and hint for text that does not parse or holds nothing,
    and UnsupportedError for statements that pgfan does not run.
    """
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        column = text.index("\0") - text.rfind("\n", 0, text.index("\0"))
        raise UsageError("NUL byte in SQL", position=Position(source, line, column))
    statements = list(_statements(interpolate(text, variables or {}), source))
    if not statements:
        raise UsageError(f"{source} holds no SQL statement", hint="give at least one statement")
    return tuple(_items(statements))


def excerpt(text: str, chars_max: int = 60) -> str:
    """A statement on one line, cut to `chars_max`."""
    line = " ".join(text.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def locate(text: str, source: str, offset: int) -> tuple[Position, str]:
    """Line and column of the character at `offset` (from 0), and the line it is in."""
    offset = max(0, min(offset, len(text)))
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start : end if end >= 0 else len(text)].rstrip("\r")
    return Position(source, text.count("\n", 0, offset) + 1, offset - start + 1), line


def _statements(text: str, source: str) -> Iterator[Statement]:
    try:
        parsed = postgast.parse(text)
    except postgast.PgQueryError as error:
        raise _syntax_error(text, source, error) from error
    raw = text.encode()
    chars = bytes_at = line = 0
    line_start = 0
    for statement in parsed.stmts:
        start = statement.stmt_location
        end = start + statement.stmt_len if statement.stmt_len else len(raw)
        gap = raw[bytes_at:start].decode()
        chars, bytes_at = chars + len(gap), start
        line += gap.count("\n")
        if "\n" in gap:
            line_start = chars - (len(gap) - gap.rindex("\n") - 1)
        body = raw[start:end].decode()
        position = Position(source, line + 1, chars - line_start + 1)
        yield Statement(body.rstrip(), position, inner(statement.stmt))


def _syntax_error(text: str, source: str, error: postgast.PgQueryError) -> UsageError:
    position, line = locate(text, source, (error.cursorpos or 1) - 1)
    hint = None
    if text[(error.cursorpos or 1) - 1 : (error.cursorpos or 1)] == "\\":
        hint = "psql meta-commands are not read by pgfan exec; give it plain SQL"
    elif text[(error.cursorpos or 1) - 1 : (error.cursorpos or 1)] == ":":
        hint = "a psql variable that is not set? give it with --set NAME=VALUE"
    failure = UsageError(error.message, position=position, source_line=line, hint=hint)
    failure.sqlstate = "42601"
    return failure


def _items(statements: Sequence[Statement]) -> Iterator[ScriptItem]:
    settings: tuple[str, ...] = ()
    seeded = False
    block: list[Statement] = []
    for statement in statements:
        _refuse(statement)
        ends = _ends_block(statement)
        if block:
            block.append(statement)
            if ends:
                rolls_back = ends == "rollback"
                yield ScriptItem(
                    tuple(block), settings, is_block=True, rolls_back=rolls_back, seeded=seeded
                )
                seeded = seeded or any(_seeds(s.tree) for s in block)
                if ends == "commit":
                    settings += tuple(s.text for s in block if _is_setting(s.tree))
                block = []
        elif _begins_block(statement):
            block = [statement]
        elif ends:
            raise _refusal(statement, f"{statement.text.upper()} without BEGIN", "remove it")
        else:
            yield ScriptItem((statement,), settings, seeded=seeded)
            seeded = seeded or _seeds(statement.tree)
            if _is_setting(statement.tree):
                settings += (statement.text,)
    if block:
        raise _refusal(block[0], "this transaction block is never ended", "end it with COMMIT")


def _refuse(statement: Statement) -> None:
    tree = statement.tree
    match kind_of(tree):
        case "VariableSetStmt" if tree.name in ROLE_SETTINGS:
            raise _refusal(
                statement,
                "SET ROLE and SET SESSION AUTHORIZATION are not supported: the journal is written "
                "with the role that connected",
                "connect as that role",
            )
        case "CopyStmt" if not tree.filename and not tree.is_program:
            raise _refusal(
                statement,
                "COPY from or to the client is not supported by pgfan exec",
                "use psql's \\copy, or COPY with a file on the server",
            )
        case "TransactionStmt" if tree.chain or "PREPARE" in _transaction_kind(tree):
            raise _refusal(
                statement,
                "AND CHAIN and two-phase transactions are not supported: a task must end with "
                "its own COMMIT",
                "use BEGIN and COMMIT",
            )
        case _:
            pass


def _transaction_kind(tree: Message) -> str:
    kinds = tree.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number
    return str(kinds[tree.kind].name)


def _begins_block(statement: Statement) -> bool:
    tree = statement.tree
    return kind_of(tree) == "TransactionStmt" and _transaction_kind(tree) in {
        "TRANS_STMT_BEGIN",
        "TRANS_STMT_START",
    }


def _ends_block(statement: Statement) -> str | None:
    if kind_of(statement.tree) != "TransactionStmt":
        return None
    ends = {"TRANS_STMT_COMMIT": "commit", "TRANS_STMT_ROLLBACK": "rollback"}
    return ends.get(_transaction_kind(statement.tree))


def _is_setting(tree: Message) -> bool:
    """Whether the statement changes the session for those after it."""
    if kind_of(tree) == "VariableSetStmt":
        return not tree.is_local and tree.name not in {"TRANSACTION", "seed"}
    if kind_of(tree) == "DiscardStmt":
        return True
    return kind_of(tree) == "SelectStmt" and any(
        kind_of(node) == "FuncCall" and names(node.funcname)[-1:] == ("set_config",)
        for node in walk(tree)
    )


def _seeds(tree: Message) -> bool:
    """SET seed, or a call of setseed()."""
    if kind_of(tree) == "VariableSetStmt" and tree.name == "seed":
        return True
    return any(
        kind_of(node) == "FuncCall" and names(node.funcname)[-1:] == ("setseed",)
        for node in walk(tree)
    )


def _refusal(statement: Statement, message: str, hint: str) -> UnsupportedError:
    line = statement.text.split("\n", 1)[0]
    padded = " " * (statement.position.column - 1) + line
    return UnsupportedError(message, position=statement.position, source_line=padded, hint=hint)


def _words(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
