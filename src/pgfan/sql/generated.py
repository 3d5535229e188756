r"""Statements that a query makes: psql's `\gexec`, and the `for each` directive.

The rows of the query become items when it has run. With `\gexec` each cell is a statement, row by
row and from left to right, NULLs left out; psql's meta-commands and variables mean nothing in it.
With `for each` every row fills the variables of one statement.

psql would run what comes before the first text that is no statement, and stop there. So that text
becomes an item of its own, the last one, with what is wrong with it as its `refusal`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct
from msgspec.structs import replace as changed
from postgast import pg_query_pb2 as pb

from pgfan.errors import UnsupportedError, UsageError
from pgfan.sql.accesses import mentions_currval
from pgfan.sql.places import with_statement
from pgfan.sql.psql_lexer import PsqlLexer
from pgfan.sql.script import (
    ScriptItem,
    Statement,
    begins_block,
    ends_block,
    items_of,
    seeds,
    settings_after,
    statements_of,
)
from pgfan.sql.tree import Message, kind_of
from pgfan.sql.unsupported import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.errors import Position

Row: TypeAlias = "tuple[str | None, ...]"
_WITH_RETURNING = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
_WITH_ROWS = frozenset({"ExplainStmt", "VariableShowStmt", "ExecuteStmt", "FetchStmt", "CallStmt"})


class Generator(Struct, frozen=True):
    r"""What makes statements of rows: `position` is that of the \gexec or the directive.

    `template` is the statement whose variables `columns` are; None: each cell is a statement.
    """

    position: Position
    columns: tuple[str, ...] = ()
    template: str | None = None

    @property
    def name(self) -> str:
        """What people know it by."""
        return "\\gexec" if self.template is None else "for each"


def returns_rows(tree: Message) -> bool:
    r"""Whether a statement may return rows; without any, \gexec is \g."""
    kind = kind_of(tree)
    if kind == "SelectStmt":
        return not tree.HasField("into_clause")
    if kind in _WITH_RETURNING:
        return bool(tree.HasField("returning_clause"))
    return kind in _WITH_ROWS


def generated_items(item: ScriptItem, rows: Sequence[Row]) -> tuple[ScriptItem, ...]:
    """What the rows of the generating `item` make, under the settings in force after it."""
    generator = item.first.generates
    if generator is None:
        raise ValueError(f"{item.source} generates nothing")
    statements: list[Statement] = []
    failure: tuple[str, UsageError] | None = None
    is_open = False
    text = ""
    try:
        for text in _texts(generator, rows):
            parsed = list(statements_of(text, generator.name))
            if len(parsed) > 1 and not is_open:
                parsed = _in_one_transaction(parsed)
            for statement in parsed:
                is_open = begins_block(statement) or (is_open and not ends_block(statement))
                statements.append(replace(statement, position=generator.position))
    except UsageError as error:
        failure = (text, error)
    items: list[ScriptItem] = []
    try:
        found = items_of(statements, settings_after(item), seeded=item.seeded or seeds(item))
        items.extend(
            changed(made, generated_by=generator.name, session=item.session) for made in found
        )
    except UsageError as error:
        failure = failure or ((error.source_line or "").strip(), error)
    if failure is not None:
        last = items[-1] if items else item
        refused = _refused(generator, *failure, settings_after(last))
        items.append(changed(refused, session=item.session))
    return tuple(items)


def texts_in_block(rows: Sequence[Row], *, knows_currval: bool) -> Iterator[str]:
    r"""What the rows of a \gexec inside of a transaction block make, one message each.

    `knows_currval`: the script's own texts ask for what sequences gave, so that what draws from
    them is kept on one connection. Raises UsageError where a text must not be run there.
    """
    for text in (cell for row in rows for cell in row if cell is not None):
        try:
            for statement in statements_of(text, "\\gexec"):
                refuse(statement, in_block=True)
                if begins_block(statement) or ends_block(statement):
                    raise UnsupportedError(
                        "the block must end with its own COMMIT, and not with one that is made",
                        hint="take the \\gexec out of the block: there it may make blocks",
                    )
            if not knows_currval and mentions_currval(text):
                raise without_currval()
        except UsageError as error:
            error.message = with_statement(error.message, "\\gexec", text)
            raise
        yield text


def without_currval() -> UnsupportedError:
    """The refusal of what earlier statements were not prepared for: they may be anywhere."""
    return UnsupportedError(
        "currval() or lastval() in a generated statement, and in no text of the script: statements "
        "before it were not kept on one connection",
        hint="have the words currval or lastval in the query that makes it",
    )


def _texts(generator: Generator, rows: Sequence[Row]) -> Iterator[str]:
    if generator.template is None:
        yield from (cell for row in rows for cell in row if cell is not None)
        return
    for number, row in enumerate(rows, 1):
        if len(row) != len(generator.columns):
            raise UsageError(
                f"for each names {len(generator.columns)} columns, and its query has {len(row)}"
            )
        values = dict(zip(generator.columns, row, strict=True))
        for name, value in values.items():
            if value is None:
                raise UsageError(f"{name} is NULL in row {number}: a variable has no such value")
        lexer = PsqlLexer(generator.template)
        lexer.step({name: value or "" for name, value in values.items()})
        yield lexer.statement


def _in_one_transaction(found: list[Statement]) -> list[Statement]:
    """Several statements in one message are one transaction, unless they say otherwise."""
    if begins_block(found[0]):
        return found
    if any(kind_of(statement.tree) == "TransactionStmt" for statement in found):
        raise UnsupportedError("BEGIN or COMMIT after other statements in one text")
    (begin,), (commit,) = (list(statements_of(word, "")) for word in ("BEGIN", "COMMIT"))
    return [begin, *found, commit]


def _refused(
    generator: Generator, text: str, error: UsageError, settings: tuple[str, ...]
) -> ScriptItem:
    error.position = error.source_line = None  # they are in the text, which is in no file
    statement = Statement(text, generator.position, pb.SelectStmt())
    return ScriptItem((statement,), settings, generated_by=generator.name, refusal=error)
