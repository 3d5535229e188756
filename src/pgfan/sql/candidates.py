"""The occurrences of relations that may drive a statement, and the keys that cut each of them.

An occurrence stands in the FROM clause of the statement's SELECT, or of a subquery in it, and so
on down: its path. On every level it must be where each of its rows counts (not on the nullable side
of an outer join). Whether a key is sound is decided in `pgfan.sql.distribute`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pgfan.sql import functions
from pgfan.sql.access import relation_name
from pgfan.sql.keys import DEPTH_MAX, Level
from pgfan.sql.levels import placed_nodes
from pgfan.sql.tree import Message, inner, kind_of, names, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgfan.sql.facts import CatalogFacts, ColumnFacts, Name
    from pgfan.sql.shape import Shape
    from pgfan.sql.sources import FromItem


@dataclass(frozen=True)
class Candidate:
    """A driving relation that the statement may be split on, and by what.

    `ordinal` numbers the items of the FROM clause, joins taken apart, left to right from 0; -1 is
    a generate_series in the target list. `path` are the ordinals of the subqueries around it.
    `alias` is how the statement refers to it, `column` the name it has there.
    """

    key: Literal["series", "ctid", "column"]
    ordinal: int
    alias: tuple[str, ...]
    relation: Name | None = None
    path: tuple[int, ...] = ()
    column: str | None = None
    stored_as: str | None = None
    """The column's name in the catalogue."""


@dataclass(frozen=True)
class Occurrence:
    """One item of FROM, with the SELECTs around it, the statement's own first.

    `is_grouped`: whether rows are looked at together in any of them.
    """

    item: FromItem
    path: tuple[int, ...]
    levels: tuple[Level, ...]
    is_grouped: bool
    kind: str
    facts: CatalogFacts

    def candidates(self) -> Iterator[Candidate]:
        """The keys that cut it; columns only where something is grouped, or rows change place."""
        item, facts = self.item, self.facts
        if item.kind == "RangeFunction" and _is_series(item.node, facts):
            yield Candidate("series", item.ordinal, item.alias, path=self.path)
        if item.kind != "RangeVar":
            return
        name = relation_name(item.node)
        # A changed row may land in blocks that another chunk has yet to read.
        heap = _is_heap(item, facts) and self.kind != "update"
        if heap:
            yield Candidate("ctid", item.ordinal, item.alias, name, self.path)
        if (self.kind != "insert" and not heap) or self.is_grouped:
            for seen, column in self._columns():
                yield Candidate(
                    "column", item.ordinal, item.alias, name, self.path, seen, column.name
                )

    def _columns(self) -> Iterator[tuple[str, ColumnFacts]]:
        relation = self.facts.relations.get(relation_name(self.item.node))
        known = self.levels[-1].names[self.item.ordinal]
        if relation is None or known is None or relation.kind not in {"r", "p", "m"}:
            return
        for seen, column in zip(known, relation.columns, strict=False):
            if column.orderable and known.count(seen) == 1:
                yield seen, column


def occurrences(shape: Shape, facts: CatalogFacts) -> Iterator[Occurrence]:
    """Every item of FROM, at any depth, all of whose rows count."""
    top = Level(shape.select, facts)
    stack: list[tuple[tuple[int, ...], tuple[Level, ...], bool]] = [
        ((), (top,), _has_groups(shape.select, shape.select_nodes))
    ]
    while stack:
        path, levels, is_grouped = stack.pop(0)
        items = levels[-1].items
        aliases = Counter(item.alias for item in items)
        for item in items[:1] if shape.kind != "insert" else items:
            if not item.preserved or aliases[item.alias] > 1:
                continue
            if item.kind == "RangeSubselect" and not item.node.lateral:
                query = inner(item.node.subquery)
                if not query.HasField("larg") and not query.values_lists and len(path) < DEPTH_MAX:
                    below = (*levels, levels[-1].below(item.ordinal))
                    groups = is_grouped or _has_groups(query, walk(query))
                    stack.append(((*path, item.ordinal), below, groups))
                continue
            yield Occurrence(item, path, levels, is_grouped, shape.kind, facts)


def target_series(shape: Shape, facts: CatalogFacts) -> Candidate | None:
    """A generate_series in the target list of a SELECT without FROM."""
    select = shape.select
    if select.from_clause or select.HasField("larg"):
        return None
    return Candidate("series", -1, ()) if _is_target_series(shape, facts) else None


def _is_heap(item: FromItem, facts: CatalogFacts) -> bool:
    relation = facts.relations.get(relation_name(item.node))
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
    if functions.base_name(call) != "generate_series" or not functions.is_builtin(call, facts):
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


def _is_target_series(shape: Shape, facts: CatalogFacts) -> bool:
    """Whether a SELECT without FROM has a generate_series as its only set-returning call.

    Set-returning calls run side by side, in ORDER BY too. And WHERE is evaluated once for all of
    the series: it must give the same answer in every chunk.
    """
    calls = [
        found
        for found in placed_nodes(shape.insert, (shape.select,))
        if kind_of(found.node) == "FuncCall" and found.place in {"target", "where", "sort"}
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


def _has_groups(select: Message, nodes: Iterable[Message]) -> bool:
    """Whether rows of this SELECT are looked at together; `nodes` are all below it."""
    return bool(
        select.group_clause
        or select.distinct_clause
        or select.window_clause
        or any(kind_of(node) == "FuncCall" and node.HasField("over") for node in nodes)
    )
