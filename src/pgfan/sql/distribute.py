"""May this statement be split, on what, and why not.

A statement S is split on one occurrence R of a relation by restricting that occurrence, and no
other, to disjoint ranges that cover it. That is sound when S distributes over the bag union of
R's parts: S(R1 + R2) = S(R1) + S(R2). This module holds a first, conservative part of the rules:
INSERT ... SELECT whose driving relation is a generate_series with constant bounds or a heap table,
under joins and filters that keep every one of its rows independent. Whatever is not named here as
sound is refused with a reason.

Subqueries and joined relations are read whole by every chunk, so they must give every chunk the
same rows: nothing volatile, nothing that depends on the order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgfan.sql import functions
from pgfan.sql.access import relation_name
from pgfan.sql.calls import call_objections
from pgfan.sql.constructs import construct_objection
from pgfan.sql.levels import placed_nodes
from pgfan.sql.parsing import is_deeper
from pgfan.sql.reasons import Hazard, Reason
from pgfan.sql.sources import FromItem, from_items, select_of
from pgfan.sql.target import DefaultColumn, target_columns, target_objections
from pgfan.sql.tree import Message, inner, kind_of, names, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgfan.sql.facts import CatalogFacts, Name, RelationFacts


@dataclass(frozen=True)
class Candidate:
    """A driving relation that the statement may be split on.

    `ordinal` numbers the items of the FROM clause, joins taken apart, left to right from 0; -1 is
    a generate_series in the target list. `alias` is how the statement refers to it.
    """

    key: Literal["series", "ctid"]
    ordinal: int
    alias: tuple[str, ...]
    relation: Name | None = None


@dataclass(frozen=True)
class Split:
    """The statement may be split on any one of `candidates`.

    `reads` are the relations whose rows it reads: they need one snapshot for all chunks.
    `frozen_defaults` are columns whose default looks at the transaction's time.
    """

    candidates: tuple[Candidate, ...]
    reads: tuple[Name, ...]
    hazards: tuple[Hazard, ...]
    unlogged: bool
    frozen_defaults: tuple[DefaultColumn, ...] = ()


@dataclass(frozen=True)
class Serial:
    """The statement runs on one connection."""

    reasons: tuple[Reason, ...]


Verdict: TypeAlias = Split | Serial

LEVELS_MAX = 1000
"""libpg_query's deparser overflows an 8 MB stack at about 20,000 levels."""
_EXISTS_SUBLINK = 1


def distribute(tree: Message, facts: CatalogFacts) -> Verdict:
    """The verdict for one statement; `facts` must cover what `access.references` names."""
    if facts.server_refuses_split:
        return Serial((Reason("server", facts.server_refuses_split),))
    select = select_of(tree)
    if select is None:
        return Serial((Reason("not-insert-select", "only INSERT ... SELECT is split so far"),))
    if is_deeper(tree, LEVELS_MAX):
        return Serial((Reason("deparse", "the statement is nested too deeply to be rewritten"),))
    reasons = _unique(
        (
            *_objections_to_insert(tree),
            *_objections_to_select(select),
            *_objections_below(select),
            *_objections_to_constructs(tree),
            *target_objections(tree.relation, facts),
            *_objections_to_relations(tree, select, facts),
            *call_objections(tree, select, facts),
            *_objections_to_casts(facts),
            *functions.special_datetimes(tree),
        )
    )
    columns = target_columns(tree, select, facts)
    reasons += columns.reasons
    if reasons:
        return Serial(reasons)
    found = tuple(_candidates(tree, select, facts))
    if not found:
        return Serial((_no_candidate(select),))
    reads = {relation_name(node) for node in walk(select) if kind_of(node) == "RangeVar"}
    target = facts.relations[relation_name(tree.relation)]
    return Split(
        candidates=found,
        reads=tuple(sorted(reads)),
        hazards=_hazards(tree, select, columns.defaults),
        unlogged=target.persistence == "u",
        frozen_defaults=columns.frozen,
    )


def _unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))


def _objections_to_insert(insert: Message) -> Iterator[Reason]:
    if insert.HasField("with_clause"):
        yield Reason("cte", "WITH is not analysed yet")
    if insert.HasField("on_conflict_clause"):
        yield Reason("on-conflict", "ON CONFLICT may see rows of other chunks")
    if insert.HasField("returning_clause"):
        yield Reason("returning", "RETURNING gives one result, not one for each chunk")


def _objections_to_select(select: Message) -> Iterator[Reason]:
    """What the top level must not have: anything that looks at more than one row."""
    if _is_set_operation(select):
        yield Reason("set-operation", "UNION, INTERSECT and EXCEPT look at all rows")
    if select.HasField("into_clause"):
        yield Reason("into", "SELECT INTO is not analysed yet")
    if select.distinct_clause:
        yield Reason("distinct", "DISTINCT looks at all rows")
    if select.group_clause:
        yield Reason("group-by", "GROUP BY looks at all rows of a group")
    if select.HasField("having_clause"):
        yield Reason("aggregate", "HAVING looks at all rows")
    if select.window_clause:
        yield Reason("window", "window functions look at other rows")


def _is_set_operation(select: Message) -> bool:
    return bool(select.HasField("larg") or select.HasField("rarg"))


def _objections_below(select: Message) -> Iterator[Reason]:
    """What no level may have, and what a subquery that every chunk repeats may not."""
    exists = [
        inner(node.subselect)
        for node in walk(select)
        if kind_of(node) == "SubLink" and node.sub_link_type == _EXISTS_SUBLINK
    ]
    for node in walk(select):
        match kind_of(node):
            case "WithClause":
                yield Reason("cte", "WITH is not analysed yet")
            case "LockingClause":
                yield Reason("locking", "FOR UPDATE and FOR SHARE lock rows for one transaction")
            case "RangeTableSample":
                yield Reason("tablesample", "TABLESAMPLE looks at the whole table")
            case "ParamRef":
                yield Reason("parameter", f"there is no value for parameter ${node.number}")
            case "SelectStmt":
                limited = node.HasField("limit_count") or node.HasField("limit_offset")
                if limited and not any(node is one for one in exists):
                    yield Reason("limit", "LIMIT and OFFSET look at all rows")
                if node is not select and _is_distinct_on(node):
                    yield Reason("distinct", "DISTINCT ON in a subquery depends on row order")
            case _:
                pass


def _objections_to_constructs(insert: Message) -> Iterator[Reason]:
    for node in walk(insert):
        if node is not insert:
            yield from construct_objection(node)


def _is_distinct_on(select: Message) -> bool:
    return any(node.WhichOneof("node") for node in select.distinct_clause)


def _objections_to_relations(
    insert: Message, select: Message, facts: CatalogFacts
) -> Iterator[Reason]:
    target = facts.relations.get(relation_name(insert.relation))
    for node in walk(select):
        if kind_of(node) != "RangeVar":
            continue
        name = ".".join(relation_name(node))
        relation = facts.relations.get(relation_name(node))
        if relation is None or relation.kind == "?" or node.catalogname:
            yield Reason("relation-unknown", f"relation {name} is not in the catalogue")
            continue
        if target is not None and target.family & relation.family:
            yield Reason("reads-target", f"{name} is read and written by the same statement")
        yield from _objections_to_source(name, relation)


def _objections_to_source(name: str, relation: RelationFacts) -> Iterator[Reason]:
    if relation.kind == "v":
        yield Reason("view", f"{name} is a view; views are not expanded yet")
    elif relation.has_rules:
        yield Reason("rule", f"{name} has a rule")
    if relation.persistence == "t":
        yield Reason("temporary-table", f"{name} is temporary: other connections cannot see it")
    if relation.row_security:
        yield Reason("row-security", f"row-level security is on for {name}")
    if relation.kind == "S":
        yield Reason("sequence-relation", f"{name} is a sequence: it has no snapshot")
    if relation.kind == "f" or relation.foreign_partitions:
        yield Reason("foreign-table", f"{name} is foreign: it has no snapshot here")


def _objections_to_casts(facts: CatalogFacts) -> Iterator[Reason]:
    if facts.unsafe_casts:
        yield Reason(
            "cast-function",
            f"the cast {facts.unsafe_casts[0]} calls a function that may look "
            "at other rows, and casts are applied unseen",
        )


def _candidates(insert: Message, select: Message, facts: CatalogFacts) -> Iterator[Candidate]:
    items = list(from_items(select))
    aliases = [item.alias for item in items]
    for item in items:
        if not item.preserved or aliases.count(item.alias) > 1:
            continue
        if item.kind == "RangeVar" and _is_heap(item, facts):
            name = relation_name(item.node)
            yield Candidate("ctid", item.ordinal, item.alias, name)
        elif item.kind == "RangeFunction" and _is_series(item.node, facts):
            yield Candidate("series", item.ordinal, item.alias)
    if not items and _is_target_series(insert, select, facts):
        yield Candidate("series", -1, ())


def _is_heap(item: FromItem, facts: CatalogFacts) -> bool:
    relation = facts.relations[relation_name(item.node)]
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


def _is_target_series(insert: Message, select: Message, facts: CatalogFacts) -> bool:
    """Whether a SELECT without FROM has a generate_series as its only set-returning call.

    Set-returning calls run side by side, in ORDER BY too. And WHERE is evaluated once for all of
    the series: it must give the same answer in every chunk.
    """
    calls = [
        found
        for found in placed_nodes(insert, select)
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


def _no_candidate(select: Message) -> Reason:
    if not select.from_clause:
        return Reason("no-driving-relation", "there is no FROM clause to divide")
    return Reason(
        "no-driving-relation",
        "no heap table and no generate_series with constant bounds stands where every one of its "
        "rows counts once (the inner side of an outer join does not)",
    )


def _hazards(insert: Message, select: Message, defaults: Iterable[Message]) -> tuple[Hazard, ...]:
    hazards: list[Hazard] = ["not-atomic"]
    if select.sort_clause:
        hazards.append("physical-order")
    if any(
        kind_of(node) == "FuncCall" and functions.base_name(node) == "nextval"
        for tree in (insert, *defaults)
        for node in walk(tree)
    ):
        hazards.append("sequence-order")
    return tuple(hazards)
