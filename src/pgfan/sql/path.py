"""What speaks against one driving relation: the SELECTs on the path to it, and one key of it.

The rules about the statement as a whole, whatever drives it, are in `pgfan.sql.objections`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.branches import is_union_all
from pgfan.sql.calls import JUDGED_KINDS, call_objections
from pgfan.sql.constructs import EXTENT_KINDS, extent_objections
from pgfan.sql.groups import carried_upwards, grouping_objections
from pgfan.sql.keys import Column, KeyType, Level
from pgfan.sql.levels import placed_nodes
from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.sql.candidates import Candidate, Occurrence
    from pgfan.sql.facts import CatalogFacts
    from pgfan.sql.shape import Shape

_KINDS = JUDGED_KINDS | EXTENT_KINDS | {"SelectStmt"}


def path_objections(
    shape: Shape, selects: Sequence[Message], facts: CatalogFacts
) -> tuple[Reason, ...]:
    """Why the SELECTs around the driving relation are not evaluated row by row."""
    found: list[Reason] = []
    for select in selects:
        if select.HasField("larg") and not is_union_all(select):
            found.append(Reason("set-operation", "UNION, INTERSECT and EXCEPT look at all rows"))
        if select.HasField("into_clause"):
            found.append(Reason("into", "SELECT INTO makes a table"))
    placed = placed_nodes(shape.index, selects, _KINDS)
    for each in placed:
        is_select = each.kind == "SelectStmt" and not any(each.node is one for one in selects)
        if is_select and _is_distinct_on(each.node):
            why = "DISTINCT ON in a subquery depends on the order of rows"
            found.append(Reason("distinct", why))
    if shape.unions:
        nodes = Nodes(each.node for each in placed)
        found += extent_objections(nodes)
    found += call_objections(shape, placed, facts)
    return tuple(dict.fromkeys(found))


def _is_distinct_on(select: Message) -> bool:
    return any(node.WhichOneof("node") for node in select.distinct_clause)


def key_objections(
    occurrence: Occurrence,
    candidate: Candidate,
    shape: Shape,
) -> Iterator[Reason]:
    """Why rows of several ranges of this very key may belong together."""
    levels = occurrence.levels
    carried, key = frozenset[Column](), KeyType("", "")
    if candidate.key == "series":
        value = levels[-1].only_column(candidate.ordinal)
        carried = frozenset({value}) if value is not None else carried
    if candidate.column is not None:
        if shape.kind == "update" and candidate.column in shape.assigned:
            yield Reason("key-assigned", f"the statement changes {candidate.column}")
        column = (candidate.ordinal, candidate.column)
        key = levels[-1].key_type(column) or key
        carried = levels[-1].carrying([column], key)
    ordinals = (*occurrence.path, candidate.ordinal)
    for depth in reversed(range(len(levels))):
        yield from grouping_objections(levels[depth], carried)
        if depth and ordinals[depth - 1] < 0:
            carried = frozenset()  # other branches have rows with the same key
        elif depth and carried:
            around = levels[depth - 1]
            carried = around.carrying(
                carried_upwards(around, ordinals[depth - 1], carried),
                key,
            )


def ungrouped(select: Message, facts: CatalogFacts) -> tuple[Reason, ...]:
    """Why rows of a SELECT are looked at together, whatever the key is."""
    return tuple(grouping_objections(Level(select, facts), frozenset()))
