"""The FROM clause taken apart: its items, and on which side of which join they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.sql.tree import Message, inner, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

JOIN_INNER = 1  # nodes/nodes.h, JoinType, as libpg_query numbers it
JOIN_LEFT = 2
JOIN_RIGHT = 4


class FromItem(Struct, frozen=True):
    """One item of FROM. `preserved`: every row of it counts, and its alias can be referred to.

    `ordinal` counts items from 0, left to right, joins taken apart.
    """

    ordinal: int
    node: Message
    preserved: bool
    alias: tuple[str, ...]

    @property
    def kind(self) -> str:
        """RangeVar, RangeFunction, RangeSubselect, ..."""
        return kind_of(self.node)


def select_of(tree: Message) -> Message | None:
    """The SELECT of an INSERT ... SELECT; None for anything else, INSERT ... VALUES included.

    VALUES may have a million rows: whoever asks here need not walk them.
    """
    if kind_of(tree) != "InsertStmt" or not tree.HasField("select_stmt"):
        return None
    select = tree.select_stmt.select_stmt
    return None if select.values_lists else select


def from_items(select: Message) -> Iterator[FromItem]:
    """The items of the FROM clause of `select`, not of its subqueries."""
    # (node, preserved) pairs still to visit; the last is the leftmost.
    stack = [(inner(node), True) for node in reversed(select.from_clause)]
    ordinal = 0
    while stack:
        node, preserved = stack.pop()
        if kind_of(node) == "JoinExpr":
            left, right = _preserved_sides(node)
            # An alias for the whole join hides the names inside it.
            reachable = preserved and not node.HasField("alias")
            stack.append((inner(node.rarg), reachable and right))
            stack.append((inner(node.larg), reachable and left))
            continue
        yield FromItem(ordinal, node, preserved, _alias(node))
        ordinal += 1


def _preserved_sides(join: Message) -> tuple[bool, bool]:
    match join.jointype:
        case x if x == JOIN_INNER:
            return True, True
        case x if x == JOIN_LEFT:
            return True, False
        case x if x == JOIN_RIGHT:
            return False, True
        case _:
            return False, False


def _alias(node: Message) -> tuple[str, ...]:
    if node.DESCRIPTOR.fields_by_name.get("alias") and node.HasField("alias"):
        return (node.alias.aliasname,)
    if kind_of(node) == "RangeVar":
        return (node.relname,)
    return ()
