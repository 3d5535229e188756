"""SQL text to statements: each with its source span, and with the session settings it needs.

The text is parsed by PostgreSQL 18's own grammar (libpg_query), whole and before anything runs.
A BEGIN ... COMMIT block is one item; SET, RESET and set_config() are items and are also carried
along, because what follows may run on another connection. psql's meta-commands belong to
`pgfan run`; here they are refused with their place.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import postgast
from msgspec import Struct

from pgfan.errors import Position, UnsupportedError, UsageError
from pgfan.sql.parsing import NestedTooDeepError, parse
from pgfan.sql.places import excerpt, locate, placed
from pgfan.sql.tree import Message, inner, kind_of, names, walk
from pgfan.sql.variables import interpolate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROLE_SETTINGS = frozenset({"role", "session_authorization"})
NOT_CARRIED = frozenset({"transaction", "seed"})
_NOT_IN_SQL = re.compile("[\0\ud800-\udfff]")
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
    data: str | None = field(default=None, repr=False)
    """What COPY ... FROM STDIN is given, when it stands in the script."""
    client_file: str | None = None
    """The file that psql's \\copy reads or writes."""
    generates: bool = False
    """Whether the cells of its result are statements to be run (psql's \\gexec)."""
    echoes: tuple[str, ...] = ()
    """What is printed before it (psql's \\echo)."""
    comments: tuple[str, ...] = field(default=(), repr=False)
    """The comments that stand before it."""

    @property
    def kind(self) -> str:
        """In words: "insert", "create table as"; other statements by their node's name."""
        name = kind_of(self.tree)
        return KINDS.get(name) or _words(name.removesuffix("Stmt"))

    @property
    def has_client(self) -> bool:
        """Whether COPY's client is there: lines of the script, or a file."""
        return self.data is not None or self.client_file is not None

    @property
    def digest(self) -> str:
        """SHA-256 of the exact text: literals count, unlike in libpg_query's fingerprint."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class ScriptItem(Struct, frozen=True):
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
    session: str = ""
    """The file of a folder that it belongs to: each has a session of its own. "": one for all."""

    @property
    def first(self) -> Statement:
        """The statement that gives the item its place in messages."""
        return self.statements[0]

    @property
    def source(self) -> str:
        """File and line, as the journal has them."""
        position = self.first.position
        return f"{position.source}:{position.line}"

    @property
    def echoes(self) -> tuple[tuple[str, ...], ...]:
        """What is printed before each of its statements."""
        return tuple(statement.echoes for statement in self.statements)

    @property
    def copies(self) -> tuple[str | Path, ...]:
        """What its COPY ... FROM STDIN are given, in order: text, or a file of the client's."""
        return tuple(
            statement.data if statement.data is not None else Path(statement.client_file or "")
            for statement in self.statements
            if statement.has_client
        )

    @property
    def leaves(self) -> tuple[str, ...]:
        """The settings that it adds to those in force."""
        if self.is_block:
            return () if self.rolls_back else tuple(_committed_settings(self.statements))
        return (self.first.text,) if is_setting(self.first) else ()

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
    refuse_characters(text, source)
    statements = list(_statements(interpolate(text, variables or {}), source))
    if not statements:
        raise UsageError(f"{source} holds no SQL statement", hint="give at least one statement")
    return tuple(items_of(statements))


def is_utf8(encoding: str) -> bool:
    """Whether it is a name of PostgreSQL's UTF8."""
    return encoding.lower().replace("-", "") in {"utf8", "unicode"}


def refuse_characters(text: str, source: str) -> None:
    """Raise UsageError: PostgreSQL's text holds no NUL, and UTF-8 no halves of a surrogate pair."""
    found = _NOT_IN_SQL.search(text)
    if found is None:
        return
    position, line = locate(text, source, found.start())
    if found[0] == "\0":
        raise UsageError("NUL byte in SQL", position=position)
    shown = line.encode(errors="backslashreplace").decode()
    raise UsageError(
        "this is not text in UTF-8",
        position=position,
        source_line=shown,
        hint="convert it to UTF-8, with iconv for one",
    )


def _statements(text: str, source: str) -> Iterator[Statement]:
    try:
        parsed = parse(text)
    except postgast.PgQueryError as error:
        raise syntax_error(text, Position(source, 1, 1), error) from error
    except NestedTooDeepError as error:
        raise too_deep(text, Position(source, 1, 1)) from error
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


def syntax_error(text: str, begins: Position, error: postgast.PgQueryError) -> UsageError:
    """What the parser says of `text`, which begins at a place of its source."""
    offset = (error.cursorpos or 1) - 1
    found, line = locate(text, begins.source, offset)
    hint = None
    if error.message.startswith("memory exhausted"):
        hint = "the statement is nested too deeply: PostgreSQL's grammar reads about 3,000 levels"
    elif text[offset : offset + 1] == "\\":
        hint = "psql meta-commands are not read by pgfan exec; give it plain SQL"
    elif text[offset : offset + 1] == ":":
        hint = "a psql variable that is not set? give it with --set NAME=VALUE"
    failure = UsageError(error.message, position=placed(found, begins), source_line=line, hint=hint)
    failure.sqlstate = "42601"
    return failure


def too_deep(text: str, begins: Position) -> UsageError:
    """The refusal at the first statement that cannot be read alone."""
    offset = 0
    for piece in postgast.split(text):
        offset = text.index(piece, offset)
        try:
            parse(piece)
        except NestedTooDeepError:
            break
        offset += len(piece)
    start = offset + len(text[offset:]) - len(text[offset:].lstrip())
    found, line = locate(text, begins.source, start)
    return UsageError(
        "this statement is nested too deeply: more than about 30,000 levels",
        position=placed(found, begins),
        source_line=excerpt(line),
        hint="a chain of operators or UNIONs counts one level for each: cut it into statements",
    )


def items_of(statements: Sequence[Statement]) -> Iterator[ScriptItem]:
    """Statements to items: transaction blocks put together, settings carried along."""
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
                seeded = seeded or any(_seeds(s) for s in block)
                if ends == "commit":
                    settings += tuple(_committed_settings(block))
                block = []
        elif _begins_block(statement):
            block = [statement]
        elif ends:
            raise _refusal(statement, f"{statement.text.upper()} without BEGIN", "remove it")
        else:
            yield ScriptItem((statement,), settings, seeded=seeded)
            seeded = seeded or _seeds(statement)
            if is_setting(statement):
                settings += (statement.text,)
    if block:
        raise _refusal(block[0], "this transaction block is never ended", "end it with COMMIT")


def _committed_settings(block: Sequence[Statement]) -> list[str]:
    """The SET statements of a block that COMMIT leaves: ROLLBACK TO undoes those after it."""
    kept: list[str] = []
    savepoints: list[tuple[str, int]] = []
    for statement in block:
        tree = statement.tree
        if kind_of(tree) == "TransactionStmt":
            match _transaction_kind(tree):
                case "TRANS_STMT_SAVEPOINT":
                    savepoints.append((tree.savepoint_name, len(kept)))
                case "TRANS_STMT_ROLLBACK_TO":
                    length = next(
                        (at for name, at in reversed(savepoints) if name == tree.savepoint_name),
                        len(kept),
                    )
                    del kept[length:]
                case _:
                    pass
        elif is_setting(statement):
            kept.append(statement.text)
    return kept


def _refuse(statement: Statement) -> None:
    tree = statement.tree
    match kind_of(tree):
        case _ if ROLE_SETTINGS & set(_set_names(statement)):
            raise _refusal(
                statement,
                "SET ROLE and SET SESSION AUTHORIZATION are not supported: the journal is written "
                "with the role that connected",
                "connect as that role",
            )
        case "VariableSetStmt" if _reads_literals_otherwise(tree):
            raise _refusal(
                statement,
                "standard_conforming_strings = off is not supported: statements are read with "
                "backslashes as plain characters in '...'",
                "write E'...' where a backslash escapes",
            )
        case "VariableSetStmt" if _sends_other_bytes(tree):
            raise _refusal(
                statement,
                "SET client_encoding is not supported for anything but UTF8: statements are sent "
                "in UTF-8",
                "convert the file to UTF-8 and remove the statement",
            )
        case "CopyStmt" if not (tree.filename or tree.is_program) and not statement.has_client:
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


def is_setting(statement: Statement) -> bool:
    """Whether the statement changes the session for those after it."""
    tree = statement.tree
    if kind_of(tree) == "VariableSetStmt":
        return not tree.is_local and tree.name.lower() not in NOT_CARRIED
    if kind_of(tree) == "DiscardStmt":
        return True
    return kind_of(tree) == "SelectStmt" and any(_calls(statement, "set_config"))


def _seeds(statement: Statement) -> bool:
    """SET seed, or a call of setseed()."""
    return "seed" in _set_names(statement) or any(_calls(statement, "setseed"))


def _set_names(statement: Statement) -> Iterator[str]:
    """The settings that SET, RESET or set_config() with a constant name change, in lower case."""
    if kind_of(statement.tree) == "VariableSetStmt":
        yield statement.tree.name.lower()
    for call in _calls(statement, "set_config"):
        for part in walk(call.args[0]) if call.args else ():
            if kind_of(part) == "A_Const" and part.WhichOneof("val") == "sval":
                yield part.sval.sval.lower()


def _calls(statement: Statement, function: str) -> Iterator[Message]:
    """The calls of a function by name; only a text that has the name is walked."""
    if function in statement.text.lower():
        for node in walk(statement.tree):
            if kind_of(node) == "FuncCall" and names(node.funcname)[-1:] == (function,):
                yield node


def _reads_literals_otherwise(tree: Message) -> bool:
    value = [part.a_const for part in tree.args if part.WhichOneof("node") == "a_const"]
    return tree.name.lower() == "standard_conforming_strings" and not (
        not value or value[0].sval.sval.lower() in {"on", "true", "yes", "1"} or value[0].ival.ival
    )


def _sends_other_bytes(tree: Message) -> bool:
    values = [part.a_const.sval.sval for part in tree.args if part.WhichOneof("node") == "a_const"]
    return tree.name.lower() == "client_encoding" and not (not values or is_utf8(values[0]))


def _refusal(statement: Statement, message: str, hint: str) -> UnsupportedError:
    line = statement.text.split("\n", 1)[0]
    padded = " " * (statement.position.column - 1) + line
    return UnsupportedError(message, position=statement.position, source_line=padded, hint=hint)


def _words(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
