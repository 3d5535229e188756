"""What speaks against one driving relation: the SELECTs on the path to it, and one key of it.

The rules about the statement as a whole, whatever drives it, are in `pgfan.sql.objections`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.sql.branches import is_union_all
from pgfan.sql.calls import (
    CONTEXT_KINDS,
    Context,
    call_objections,
    kinds_to_judge,
    queries_per_row,
)
from pgfan.sql.conflict import conflict_items
from pgfan.sql.constructs import EXTENT_KINDS, extent_objections
from pgfan.sql.groups import carried_upwards, grouping_objections
from pgfan.sql.keys import Column, KeyType, Level
from pgfan.sql.levels import is_from_kind, other_arms, placed, places_for
from pgfan.sql.meeting import meeting_of
from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from pgfan.sql.candidates import Candidate, Occurrence
    from pgfan.sql.facts import CatalogFacts
    from pgfan.sql.shape import Shape

EXACT_TYPES = frozenset(
    {
        *("smallint", "integer", "bigint", "oid", "uuid", "boolean", "date", "text"),
        *("character varying", "timestamp without time zone", "timestamp with time zone"),
    }
)
"""Types of which equal values are the same in every way (under a deterministic collation)."""


class Paths:
    """The paths through one statement: what speaks against a SELECT on them is found once."""

    def __init__(self, shape: Shape, facts: CatalogFacts) -> None:
        self.shape = shape
        self.facts = facts
        self._nodes: dict[tuple[range, ...], _Nodes] = {}

    def objections(self, selects: Sequence[Message]) -> tuple[Reason, ...]:
        """Why the SELECTs around the driving relation are not evaluated row by row."""
        found: list[Reason] = []
        for select in selects:
            if select.HasField("larg") and not is_union_all(select):
                why = "UNION, INTERSECT and EXCEPT look at all rows"
                found.append(Reason("set-operation", why))
            if select.HasField("into_clause"):
                found.append(Reason("into", "SELECT INTO makes a table"))
        index = self.shape.index
        on_path = {index.number(select) for select in selects}
        left_out = other_arms(index, selects)
        if left_out not in self._nodes:
            self._nodes[left_out] = _Nodes(self.shape, selects, self.facts, self._judged)
        nodes = self._nodes[left_out]
        if not nodes.distinct_on <= on_path:
            why = "DISTINCT ON in a subquery depends on the order of rows"
            found.append(Reason("distinct", why))
        if self.shape.unions:
            found += nodes.extent
        found += nodes.call_objections(on_path)
        return tuple(dict.fromkeys(found))

    @cached_property
    def _judged(self) -> frozenset[str]:
        return kinds_to_judge(self.shape.nodes.of("ColumnRef"), self.facts)


class _Nodes:
    """The nodes that some paths have in common: those that leave out the same arms."""

    def __init__(
        self,
        shape: Shape,
        selects: Sequence[Message],
        facts: CatalogFacts,
        judged: frozenset[str],
    ) -> None:
        self._index = shape.index
        self._top = selects[0]
        self._judged = judged
        self._places = places_for(shape.index, selects, judged | CONTEXT_KINDS | EXTENT_KINDS)
        from_nodes = [place.node for place in self._places if is_from_kind(place.kind)]
        self._context = Context(facts, from_nodes + conflict_items(shape.insert))
        self._found: dict[tuple[int, bool], list[int]] = {}
        self.distinct_on = frozenset(
            place.number
            for place in self._places
            if place.kind == "SelectStmt" and _is_distinct_on(place.node)
        )

    @cached_property
    def extent(self) -> tuple[Reason, ...]:
        """Why some of them give some of their rows."""
        return tuple(extent_objections(Nodes(place.node for place in self._places)))

    def call_objections(self, on_path: AbstractSet[int]) -> Iterator[Reason]:
        """Why their calls do not give the same rows, with these SELECTs on the path; in order."""
        suspects: list[tuple[int, bool]] = []
        for select in self._by_select:
            is_on_path = select < 0 or select in on_path
            judged = self._suspects(select, is_on_path=is_on_path)
            suspects += [(at, is_on_path) for at in judged]
        if not suspects:
            return
        per_row = [query for one in (-1, *on_path) for query in self._queries_per_row(one)]
        context = replace(self._context, per_row=per_row)
        for at, is_on_path in sorted(suspects):
            yield from self._objections(at, context, is_on_path=is_on_path)

    def _suspects(self, select: int, *, is_on_path: bool) -> list[int]:
        """The nodes right below a SELECT that there are objections to.

        Judged as if nothing were evaluated per row: what is sound then is sound on every path.
        """
        key = select, is_on_path
        if key not in self._found:
            self._found[key] = [
                at
                for at in self._by_select[select]
                if self._places[at].kind in self._judged
                and self._objections(at, self._context, is_on_path=is_on_path)
            ]
        return self._found[key]

    def _objections(self, at: int, context: Context, *, is_on_path: bool) -> tuple[Reason, ...]:
        node = placed(self._index, self._places[at], self._top, is_on_path=is_on_path)
        return tuple(call_objections(node, context))

    def _queries_per_row(self, select: int) -> list[Message]:
        """The subqueries of a SELECT on the path that its rows evaluate again."""
        return [
            query
            for at in self._by_select.get(select, ())
            if self._places[at].kind == "SubLink"
            for query in queries_per_row(
                placed(self._index, self._places[at], self._top, is_on_path=True)
            )
        ]

    @cached_property
    def _by_select(self) -> dict[int, list[int]]:
        """The nodes by the innermost SELECT around them; -1 for those outside of all."""
        found: dict[int, list[int]] = {}
        for at, place in enumerate(self._places):
            found.setdefault(place.around, []).append(at)
        return found


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
    if shape.kind == "update" and occurrence.is_changed(candidate, shape.assigned):
        yield Reason("key-assigned", f"the statement changes {candidate.column}")
    if candidate.key == "column" and candidate.column is not None:
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


def objections_to_expression(
    occurrence: Occurrence, candidate: Candidate, shape: Shape, facts: CatalogFacts
) -> tuple[Reason, ...]:
    """Why rows in which an expression differs may belong together, or change what it comes to.

    Rows that belong together agree in some columns. They agree in an expression of these, too,
    where values that are equal are the same: 1.0 and 1.00 are not, and are two texts.
    """
    relation = facts.relations[candidate.relation or ()]
    columns = facts.expressions[relation.oid].columns
    keys = [key for key in map(occurrence.key_by, columns) if key is not None]
    by_rows = tuple(key_objections(occurrence, candidate, shape))
    by_keys = [reason for key in keys for reason in key_objections(occurrence, key, shape)]
    if not by_rows and not shape.meets:
        return tuple(reason for reason in by_keys if reason.code == "key-assigned")
    found = [(key, meeting_of(occurrence, key, occurrence.levels, shape, facts)) for key in keys]
    by_keys += [meeting for _, meeting in found if isinstance(meeting, Reason)]
    inexact = [
        column.name
        for column in relation.columns
        if column.name in columns and column.type not in EXACT_TYPES
    ]
    if inexact:
        why = f"equal values of {inexact[0]} may differ in {candidate.stored_as}"
        by_keys.append(Reason("key-expression", why))
    return tuple(by_keys)
