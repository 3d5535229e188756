"""The occurrences of relations that may drive a statement, and the keys that cut each of them.

An occurrence stands in the FROM clause of the statement's SELECT, or of a subquery in it, and so
on down: its path. On every level it must be where each of its rows counts (not on the nullable side
of an outer join). Whether a key is sound is decided in `pgfan.sql.distribute`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from pgfan.sql import functions
from pgfan.sql.access import relation_name
from pgfan.sql.branches import Query
from pgfan.sql.keys import DEPTH_MAX, Level
from pgfan.sql.levels import placed_nodes
from pgfan.sql.reasons import Reason
from pgfan.sql.target import is_changed
from pgfan.sql.tree import Message, inner, kind_of, names, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.sql.facts import CatalogFacts, ColumnFacts, Name, RelationFacts
    from pgfan.sql.index import TreeIndex
    from pgfan.sql.shape import Kind, Shape
    from pgfan.sql.sources import FromItem


WITHOUT_CELLS = {
    "geography": "boxes of geography are on the globe: a column of geometry can be divided",
    "cube": "a NaN in an index of cube hides other rows: declare the column as earth",
    "point": "a NaN in an index of point hides other rows: a column of geometry can be divided",
}
"""Types of places that cells do not divide, each with the reason."""


class Candidate(Struct, frozen=True):
    """A driving relation that the statement may be split on, and by what.

    `ordinal` numbers the items of the FROM clause, joins taken apart, left to right from 0; -1 is
    a generate_series in the target list. `path` leads to the SELECT around it: ordinals of
    subqueries in FROM, and arms of UNION ALL.
    `alias` is how the statement refers to it, `column` the name it has there.
    """

    key: Literal["series", "ctid", "column", "expression", "cells"]
    ordinal: int
    alias: tuple[str, ...]
    relation: Name | None = None
    path: tuple[int, ...] = ()
    column: str | None = None
    stored_as: str | None = None
    """The column's name in the catalogue, or the expression as the server prints it."""
    then: tuple[Candidate, ...] = ()
    """Candidates of the same occurrence that divide rows which agree in this one."""
    meets: str | None = None
    """The column of a MERGE's target that may be cut into the same ranges."""
    may_wait: bool = False
    """Whether its chunks may wait for one another's rows (ON CONFLICT DO NOTHING)."""

    @property
    def is_by_value(self) -> bool:
        """Whether its ranges are those of values that rows have, or of places."""
        return self.key in {"column", "expression", "cells"}

    def is_beside(self, other: Candidate) -> bool:
        """Whether both divide the same occurrence."""
        return (self.path, self.ordinal) == (other.path, other.ordinal)


class Occurrence(Struct, frozen=True):
    """One item of FROM, with the SELECTs around it, the statement's own first.

    `is_grouped`: whether rows are looked at together in any of them.
    """

    item: FromItem
    path: tuple[int, ...]
    levels: tuple[Level, ...]
    is_grouped: bool
    kind: Kind
    facts: CatalogFacts
    meets: bool = False

    def candidates(self) -> Iterator[Candidate]:
        """The keys that cut it.

        Columns where blocks cannot, since rows belong together, or change place, or are those of
        several tables (partitions, children); where an index on one may spare reading the rest,
        because the statement compares it; and where the user asks for one.
        """
        item, facts = self.item, self.facts
        if item.kind == "RangeFunction" and _is_series(item.node, facts):
            yield Candidate("series", item.ordinal, item.alias, path=self.path)
        if item.kind != "RangeVar":
            return
        name = relation_name(item.node)
        # A changed row may land in blocks that another chunk has yet to read; and blocks of a
        # MERGE's source have no rows of the target for themselves.
        relation = self.levels[-1].relations[item.ordinal]
        heap = _is_heap(item, relation) and self.kind not in {"update", "merge"}
        if heap:
            yield Candidate("ctid", item.ordinal, item.alias, name, self.path)
        needed = not heap or self.meets or self.is_grouped
        for seen, column in self._columns():
            compared = column.indexed and seen in self.levels[-1].compared
            if needed or compared or column.name in facts.wanted:
                yield Candidate(
                    "column", item.ordinal, item.alias, name, self.path, seen, column.name
                )
        yield from self._cells(name, is_heap=heap)

    def _cells(self, name: Name, *, is_heap: bool) -> Iterator[Candidate]:
        """Where rows do not belong together: no column equals another as its place does."""
        item, facts = self.item, self.facts
        for seen, column in self._named():
            if column.space is None or self.kind == "merge":
                continue
            compared = column.space.indexed and seen in self.levels[-1].compared
            if not is_heap or compared or column.name in facts.wanted:
                yield Candidate(
                    "cells", item.ordinal, item.alias, name, self.path, seen, column.name
                )

    def by_expression(self) -> Candidate | None:
        """What cuts it by the expression that the user asked for."""
        if self.item.kind != "RangeVar" or not self.facts.expressions:
            return None
        name = relation_name(self.item.node)
        relation = self.facts.relations.get(name)
        found = self.facts.expressions.get(relation.oid) if relation is not None else None
        if found is None or any(self.key_by(column) is None for column in found.columns):
            return None
        item = self.item
        return Candidate(
            "expression", item.ordinal, item.alias, name, self.path, stored_as=found.sql
        )

    def unordered(self) -> Iterator[tuple[Candidate, Reason]]:
        """Columns that the user wants to divide by and that have no ranges, with the reason."""
        if self.item.kind != "RangeVar":
            return
        for _, column in self._named():
            candidate = self.key_by(column.name) if column.name in self.facts.wanted else None
            if candidate is None or column.orderable or column.space is not None:
                continue
            if (why := WITHOUT_CELLS.get(column.type.rpartition(".")[2])) is not None:
                yield candidate, Reason("key-without-cells", why)
            else:
                yield candidate, Reason("key-collation", _disorder(column))

    def key_by(self, stored: str) -> Candidate | None:
        """What cuts it by one of its columns; None when the statement has no name for it."""
        item, name = self.item, relation_name(self.item.node)
        for seen, column in self._named():
            if column.name == stored:
                return Candidate("column", item.ordinal, item.alias, name, self.path, seen, stored)
        return None

    def is_changed(self, candidate: Candidate, assigned: frozenset[str]) -> bool:
        """Whether its key gets another value: by name, or what it is generated from."""
        if candidate.column is None:
            return False
        relation = self.facts.relations[candidate.relation or ()]
        column = next(one for one in relation.columns if one.name == candidate.stored_as)
        return is_changed(column, relation, assigned)

    def _columns(self) -> Iterator[tuple[str, ColumnFacts]]:
        return ((seen, column) for seen, column in self._named() if column.orderable)

    def _named(self) -> Iterator[tuple[str, ColumnFacts]]:
        level, ordinal = self.levels[-1], self.item.ordinal
        relation, known = level.relations[ordinal], level.names[ordinal]
        if relation is None or known is None or relation.kind not in {"r", "p", "m"}:
            return
        for seen, column in zip(known, relation.columns, strict=False):
            if known.count(seen) == 1:
                yield seen, column


def _disorder(column: ColumnFacts) -> str:
    if column.type in {"text", "character varying", "character", "name"}:
        return f"the collation of {column.name} is not deterministic: equal values may differ"
    return f"{column.type} has no order of PostgreSQL's own to cut ranges of {column.name}"


class _Place(Struct, frozen=True):
    """A query on the way down, and what is known of it and of those around it."""

    query: Query
    levels: tuple[Level, ...]
    is_grouped: bool


def occurrences(shape: Shape, facts: CatalogFacts, start: Query) -> Iterator[Occurrence]:
    """Every item of FROM of `start`, at any depth, all of whose rows count."""
    for place in _places(shape, facts, start):
        path, levels, is_grouped = place.query.path, place.levels, place.is_grouped
        for item in shape.counted(levels[-1].items):
            if item.kind != "RangeSubselect" or item.node.lateral:
                yield Occurrence(item, path, levels, is_grouped, shape.kind, facts, shape.meets)


def _places(shape: Shape, facts: CatalogFacts, start: Query) -> Iterator[_Place]:
    """`start` and the subqueries in FROM, at any depth, all of whose rows count."""
    levels = tuple(
        Level(select, facts, has_windows=shape.has_windows, index=shape.index)
        for select in start.selects
    )
    is_grouped = any(_has_groups(select, shape) for select in start.selects)
    places = deque([_Place(start, levels, is_grouped)])
    while places:
        place = places.popleft()
        yield place
        query, level = place.query, place.levels[-1]
        if len(place.levels) > DEPTH_MAX:
            continue
        for item in shape.counted(level.items):
            if item.kind == "RangeSubselect" and not item.node.lateral:
                below = level.below(item.ordinal)
                if not below.select.values_lists:
                    inside = Query((*query.path, item.ordinal), (*query.selects, below.select))
                    grouped = place.is_grouped or _has_groups(below.select, shape)
                    places.append(_Place(inside, (*place.levels, below), grouped))


def target_series(shape: Shape, query: Query, facts: CatalogFacts) -> Candidate | None:
    """A generate_series in the target list of a SELECT without FROM."""
    select = query.select
    if select.from_clause or select.HasField("larg") or select.values_lists:
        return None
    found = _is_target_series(shape.index, select, facts)
    return Candidate("series", -1, (), path=query.path) if found else None


def _is_heap(item: FromItem, relation: RelationFacts | None) -> bool:
    if relation is None:
        return False
    whole = not relation.has_children or not item.node.inh
    # FROM b AS x (ctid) gives the name to a column of its own.
    if "ctid" in names(item.node.alias.colnames):
        return False
    return relation.kind in {"r", "m"} and relation.heap and whole


def _is_series(node: Message, facts: CatalogFacts) -> bool:
    """A plain generate_series(...) in FROM, with nothing from elsewhere in its arguments."""
    if node.ordinality or node.is_rowsfrom or len(node.functions) != 1 or node.coldeflist:
        return False
    call = inner(node.functions[0].list.items[0])
    return kind_of(call) == "FuncCall" and is_constant_series(call, facts)


def is_constant_series(call: Message, facts: CatalogFacts) -> bool:
    """Whether the call is pg_catalog's generate_series with arguments that the server can fold."""
    means = functions.meant(call, facts)
    if means.name != "generate_series" or not means.is_builtin:
        return False
    if len(call.args) not in {2, 3} or call.agg_order or call.HasField("agg_filter"):
        return False
    return all(_is_constant(argument, facts) for argument in call.args)


def _is_constant(argument: Message, facts: CatalogFacts) -> bool:
    for node in walk(argument):
        match kind_of(node):
            case "ColumnRef" | "SubLink" | "ParamRef" | "NamedArgExpr":
                return False
            case "FuncCall" if functions.is_volatile(node, facts) or functions.is_set_returning(
                node, facts
            ):
                return False
            case _:
                pass
    return True


def _is_target_series(index: TreeIndex, select: Message, facts: CatalogFacts) -> bool:
    """Whether a SELECT without FROM has a generate_series as its only set-returning call.

    Set-returning calls run side by side, in ORDER BY too. And WHERE is evaluated once for all of
    the series: it must give the same answer in every chunk.
    """
    calls = [
        found
        for found in placed_nodes(index, (select,), frozenset({"FuncCall"}))
        if found.place in {"target", "where", "sort"}
    ]
    if any(found.place == "where" and functions.is_volatile(found.node, facts) for found in calls):
        return False
    series = [found for found in calls if functions.base_name(found.node) == "generate_series"]
    sets = [found for found in calls if functions.is_set_returning(found.node, facts)]
    return (
        len(sets) == len(series) == 1
        and sets[0].place == "target"
        and is_constant_series(sets[0].node, facts)
    )


def _has_groups(select: Message, shape: Shape) -> bool:
    """Whether rows of this SELECT are looked at together."""
    if select.HasField("larg"):  # the arms are no level of it
        return False
    return bool(
        select.group_clause
        or select.distinct_clause
        or select.window_clause
        or (
            shape.has_windows
            and any(call.HasField("over") for call in shape.index.of("FuncCall", select))
        )
    )
