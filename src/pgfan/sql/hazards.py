"""What a statement that is split reads, and in what a split run of it may differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql import functions
from pgfan.sql.access import relation_name
from pgfan.sql.inline import is_with_query
from pgfan.sql.shape import ADDING
from pgfan.sql.tree import Nodes, walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfan.sql.facts import Name
    from pgfan.sql.reasons import Hazard
    from pgfan.sql.shape import Shape
    from pgfan.sql.tree import Message


def reads_of(shape: Shape) -> tuple[Name, ...]:
    """What is read, but for the rows of its target that an UPDATE or a DELETE changes itself."""
    found = [
        relation_name(node) for node in shape.select_nodes.of("RangeVar") if not is_with_query(node)
    ]
    if shape.kind not in ADDING:
        found.remove(relation_name(shape.insert.relation))
    return tuple(sorted(set(found)))


def hazards_of(shape: Shape, defaults: Iterable[Message]) -> tuple[Hazard, ...]:
    """The codes; `defaults` are the expressions of columns that are left out."""
    hazards: list[Hazard] = [] if shape.kind == "create" else ["not-atomic"]
    if shape.select.sort_clause:
        hazards.append("physical-order")
    if any(
        functions.base_name(node) == "nextval"
        for nodes in (shape.nodes, *map(Nodes, map(walk, defaults)))
        for node in nodes.of("FuncCall")
    ):
        hazards.append("sequence-order")
    return tuple(hazards)
