"""The joins of a FROM clause, the items in their arms, and conditions taken apart."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from pgfan.sql.tree import Message, inner, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.sql.sources import FromItem


_AND = 1  # nodes/primnodes.h, BoolExprType, as libpg_query numbers it


class Join(NamedTuple):
    """A join, and the ordinals of the items in its arms."""

    node: Message
    left: range
    right: range


def joins_of(select: Message, items: Sequence[FromItem]) -> list[Join]:
    """The joins of the FROM clause; one comes before those in its arms."""
    nodes: list[Message] = []
    stack = [inner(node) for node in select.from_clause]
    while stack:
        node = stack.pop()
        if kind_of(node) == "JoinExpr":
            nodes.append(node)
            stack.extend((inner(node.larg), inner(node.rarg)))
    arms = {id(item.node): range(item.ordinal, item.ordinal + 1) for item in items}
    found: list[Join] = []
    for node in reversed(nodes):
        left, right = arms[id(inner(node.larg))], arms[id(inner(node.rarg))]
        arms[id(node)] = range(left.start, right.stop)
        found.append(Join(node, left, right))
    return found[::-1]


def within(ordinals: Sequence[int], arm: range) -> Sequence[int]:
    """Those of sorted `ordinals` that are in an arm."""
    return ordinals[bisect_left(ordinals, arm.start) : bisect_left(ordinals, arm.stop)]


def conjuncts(condition: Message) -> list[Message]:
    """The parts of a condition that AND holds together."""
    stack, found = [inner(condition)], []
    while stack:
        node = stack.pop()
        if kind_of(node) == "BoolExpr" and node.boolop == _AND:
            stack.extend(inner(argument) for argument in node.args)
        else:
            found.append(node)
    return found
