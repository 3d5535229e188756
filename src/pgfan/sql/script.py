"""SQL text to statements: each with its source span, and with the session settings it needs.

The text is parsed by PostgreSQL 18's own grammar (libpg_query), whole and before anything runs.
A BEGIN ... COMMIT block is one item; what only changes settings is an item and is also carried
along, because what follows may run on another connection. psql's meta-commands belong to
`pgfan run`; here they are refused with their place.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import postgast
from msgspec import Struct
from msgspec.structs import replace

from pgfan.errors import Position, UsageError
from pgfan.sql.kinds import kind_in_words
from pgfan.sql.parsing import NestedTooDeepError, parse
from pgfan.sql.places import excerpt, locate, placed
from pgfan.sql.settings import is_setting
from pgfan.sql.tree import Message, inner, kind_of
from pgfan.sql.unsupported import calls, refusal, refuse, set_names, transaction_kind
from pgfan.sql.variables import interpolate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgfan.errors import PgfanError
    from pgfan.sql.directive_syntax import Directive
    from pgfan.sql.directives import Directives
    from pgfan.sql.generated import Generator

_NOT_IN_SQL = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Statement:
    """One statement: its text as written (no semicolon), where it starts, and its parse tree."""

    text: str
    position: Position
    skeleton: Message = field(repr=False, compare=False)
    """Its parse tree; of a statement with a form that of another, with other constants in it."""
    data: str | None = field(default=None, repr=False)
    """What COPY ... FROM STDIN is given, when it stands in the script."""
    client_file: str | None = None
    """The file that psql's \\copy reads or writes."""
    generates: Generator | None = None
    """What makes statements of the rows of its result (psql's \\gexec)."""
    echoes: tuple[str, ...] = ()
    """What is printed before it (psql's \\echo)."""
    comments: tuple[str, ...] = field(default=(), repr=False)
    """The comments that stand before it."""
    directives: tuple[Directive, ...] = field(default=(), repr=False, compare=False)
    """Those of the comments that say something to pgfan."""
    form: str | None = field(default=None, repr=False, compare=False)
    """What it has in common with others that were parsed with it (`pgfan.sql.forms`)."""

    @cached_property
    def tree(self) -> Message:
        """Its parse tree. With a form it is read when it is asked for, and rarely is."""
        return self.skeleton if self.form is None else inner(parse(self.text).stmts[0].stmt)

    @property
    def kind(self) -> str:
        """In words: "insert", "create table as"; other statements by their node's name."""
        return kind_in_words(self.skeleton)

    @property
    def has_client(self) -> bool:
        """Whether COPY's client is there: lines of the script, or a file."""
        return self.data is not None or self.client_file is not None

    @property
    def writes_client_file(self) -> bool:
        r"""Whether it is \copy ... TO a file."""
        return self.client_file is not None and not self.skeleton.is_from

    @property
    def reads_client_file(self) -> bool:
        r"""Whether it is \copy ... FROM a file."""
        return self.client_file is not None and bool(self.skeleton.is_from)

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
    directives: Directives | None = None
    """What comments before it say to pgfan; None: nothing."""
    generated_by: str | None = None
    """What made it while the run went on: \\gexec, for each. The position is that one's."""
    refusal: PgfanError | None = None
    """Why it cannot run, when that was not known before the run began."""

    @property
    def first(self) -> Statement:
        """The statement that gives the item its place in messages."""
        return self.statements[0]

    @property
    def form(self) -> str | None:
        """That of its statement; a block has none."""
        return None if self.is_block else self.statements[0].form

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
        if self.form is not None:
            return ()
        return tuple(
            statement.data if statement.data is not None else Path(statement.client_file or "")
            for statement in self.statements
            if statement.has_client and not statement.writes_client_file
        )

    @property
    def makes_inside(self) -> bool:
        r"""Whether it is a block in which queries make statements (`\gexec`)."""
        return self.is_block and any(one.generates is not None for one in self.statements)

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
    statements = list(statements_of(interpolate(text, variables or {}), source))
    if not statements:
        raise UsageError(f"{source} holds no SQL statement", hint="give at least one statement")
    return tuple(items_of(statements))


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


def statements_of(text: str, source: str) -> Iterator[Statement]:
    """The statements of a text; raises UsageError when it does not parse."""
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
        hint = "psql's meta-commands are read in scripts: pgfan run PATH, pgfan plan PATH"
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


def items_of(
    statements: Sequence[Statement], settings: tuple[str, ...] = (), *, seeded: bool = False
) -> Iterator[ScriptItem]:
    """Statements to items: transaction blocks put together, settings carried along."""
    block: list[Statement] = []
    for statement in statements:
        if statement.form is not None and not block:  # an INSERT of constants: nothing below is one
            yield ScriptItem((statement,), settings, seeded=seeded)
            continue
        refuse(statement, in_block=bool(block))
        ends = ends_block(statement)
        if block:
            block.append(statement)
            if not ends:
                continue
            rolls_back = ends == "rollback"
            item = ScriptItem(tuple(block), settings, is_block=True, rolls_back=rolls_back)
            block = []
            if item.makes_inside and item.copies:
                what = "\\gexec and COPY ... FROM STDIN in one block are not supported"
                raise refusal(item.first, what, "take one of them out of the block")
        elif begins_block(statement):
            block = [statement]
            continue
        elif ends:
            raise refusal(statement, f"{statement.text.upper()} without BEGIN", "remove it")
        else:
            item = ScriptItem((statement,), settings)
        yield replace(item, seeded=seeded) if seeded else item
        seeded, settings = seeded or seeds(item), settings_after(item)
    if block:
        raise refusal(block[0], "this transaction block is never ended", "end it with COMMIT")


def settings_after(item: ScriptItem) -> tuple[str, ...]:
    """The SET statements in force after an item."""
    if item.is_block:
        return item.settings + (() if item.rolls_back else _committed_settings(item.statements))
    return item.settings + ((item.first.text,) if is_setting(item.first) else ())


def _committed_settings(block: Sequence[Statement]) -> tuple[str, ...]:
    """The SET statements of a block that COMMIT leaves: ROLLBACK TO undoes those after it."""
    kept: list[str] = []
    savepoints: list[tuple[str, int]] = []
    for statement in block:
        tree = statement.skeleton
        if kind_of(tree) == "TransactionStmt":
            match transaction_kind(tree):
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
    return tuple(kept)


def begins_block(statement: Statement) -> bool:
    """Whether it is BEGIN."""
    tree = statement.skeleton
    return kind_of(tree) == "TransactionStmt" and transaction_kind(tree) in {
        "TRANS_STMT_BEGIN",
        "TRANS_STMT_START",
    }


def ends_block(statement: Statement) -> str | None:
    """With which word it ends a block, "commit" or "rollback"; None for any other statement."""
    if kind_of(statement.skeleton) != "TransactionStmt":
        return None
    ends = {"TRANS_STMT_COMMIT": "commit", "TRANS_STMT_ROLLBACK": "rollback"}
    return ends.get(transaction_kind(statement.skeleton))


def seeds(item: ScriptItem) -> bool:
    """Whether it has a SET seed, or a call of setseed()."""
    return any("seed" in set_names(s) or any(calls(s, "setseed")) for s in item.statements)
