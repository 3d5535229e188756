"""INSERT ... SELECT in two statements: the SELECT into a temporary table, and an INSERT from that.

PostgreSQL never makes a parallel plan for the SELECT of an INSERT, but does for CREATE TABLE AS
(manual, "When Can Parallel Query Be Used?"). Both statements belong in one transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.sql.access import CHANGING
from pgfan.sql.parsing import parse
from pgfan.sql.render import render
from pgfan.sql.retarget import query_of
from pgfan.sql.tree import copy_of, inner, kind_of, walk

if TYPE_CHECKING:
    from pgfan.sql.tree import Message

TABLE = "pgfan_staged"


class Staged(Struct, frozen=True):
    """`create` keeps the rows in a temporary table, `insert` inserts them from there."""

    create: str
    insert: str


def staged_query(tree: Message) -> str | None:
    """The SELECT of an INSERT as a statement of its own; None where it cannot be one.

    Raises RenderError when libpg_query does not give it back.
    """
    if kind_of(tree) != "InsertStmt" or not tree.HasField("select_stmt"):
        return None
    if inner(tree.select_stmt).values_lists:
        return None
    # What follows the SELECT may read the WITH queries too, which go with the SELECT.
    follows = tree.HasField("on_conflict_clause") or tree.HasField("returning_clause")
    if tree.HasField("with_clause") and follows:
        return None
    query = query_of(tree)
    if query is None or any(
        kind_of(node) in CHANGING or kind_of(node) == "ParamRef" for node in walk(query)
    ):
        return None
    return render(query)


def staged(tree: Message, query: str, width: int) -> Staged:
    """The two statements; `width` is the number of columns that `query` gives."""
    columns = ", ".join(f"c{number}" for number in range(1, width + 1))
    return Staged(
        f"CREATE TEMPORARY TABLE {TABLE} ({columns}) ON COMMIT DROP AS {query}",
        insertion(tree, f"SELECT {columns} FROM pg_temp.{TABLE}"),
    )


def insertion(tree: Message, query: str) -> str:
    """The INSERT with another SELECT in the place of its own."""
    insert = copy_of(tree)
    insert.ClearField("with_clause")
    insert.select_stmt.CopyFrom(parse(query).stmts[0].stmt)
    return render(insert)
