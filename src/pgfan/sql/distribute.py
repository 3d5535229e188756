"""May this statement be split, on what, and why not.

A statement S is split on one occurrence R of a relation by restricting that occurrence, and no
other, to disjoint ranges that cover it. That is sound when S distributes over the bag union of
R's parts: S(R1 + R2) = S(R1) + S(R2). Every occurrence that may drive the statement
(`pgfan.sql.candidates`) is judged by walking from it to the top; whatever is not named here as
sound is refused with a reason.

Subqueries and joined relations off that path are read whole by every chunk, so they must give
every chunk the same rows: nothing volatile, nothing that depends on the order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from pgfan.sql import functions
from pgfan.sql.access import relation_name
from pgfan.sql.calls import call_objections
from pgfan.sql.candidates import Candidate, Occurrence, occurrences, target_series
from pgfan.sql.constructs import construct_objection
from pgfan.sql.groups import carried_upwards, grouping_objections
from pgfan.sql.inline import inlined
from pgfan.sql.keys import Column, KeyType, Level
from pgfan.sql.parsing import is_deeper
from pgfan.sql.reasons import Hazard, Reason
from pgfan.sql.render import LEVELS_MAX
from pgfan.sql.shape import Shape, may_be_split, shape_of
from pgfan.sql.target import DefaultColumn, TargetColumns, target_columns, target_objections
from pgfan.sql.tree import Message, inner, kind_of, walk
from pgfan.sql.views import expanded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pgfan.sql.facts import CatalogFacts, Name, RelationFacts


@dataclass(frozen=True)
class Split:
    """The statement may be split on any one of `candidates`.

    `tree` is the statement as it is rewritten, WITH and views put in their places. `reads` are the
    relations whose rows it reads: they need one snapshot for all chunks. `frozen_defaults` are
    columns whose default looks at the transaction's time. `rejected` are the candidates that are
    not sound, each with the reasons.
    """

    tree: Message
    candidates: tuple[Candidate, ...]
    reads: tuple[Name, ...]
    hazards: tuple[Hazard, ...]
    unlogged: bool
    frozen_defaults: tuple[DefaultColumn, ...] = ()
    rejected: Mapping[Candidate, tuple[Reason, ...]] = field(default_factory=dict)
    shared_snapshot: bool = False
    """Whether chunks need one snapshot although `reads` is empty."""


@dataclass(frozen=True)
class Serial:
    """The statement runs on one connection."""

    reasons: tuple[Reason, ...]
    rejected: Mapping[Candidate, tuple[Reason, ...]] = field(default_factory=dict)


Verdict: TypeAlias = Split | Serial

_EXISTS_SUBLINK = 1
_TOO_DEEP = Reason("deparse", "the statement is nested too deeply to be rewritten")


def distribute(tree: Message, facts: CatalogFacts) -> Verdict:
    """The verdict for one statement; `facts` must cover what `access.references` names."""
    if facts.server_refuses_split:
        return Serial((Reason("server", facts.server_refuses_split),))
    if not may_be_split(tree):
        return Serial((Reason("not-insert-select", "statements of this kind are not split"),))
    if is_deeper(tree, LEVELS_MAX):
        return Serial((_TOO_DEEP,))
    whole = expanded(inlined(tree), facts)
    shape = shape_of(whole.tree)
    if shape is None:
        raise AssertionError("WITH put in its place makes no other kind of statement")
    if is_deeper(shape.tree, LEVELS_MAX):
        return Serial((_TOO_DEEP,))
    columns = TargetColumns()
    if shape.kind == "insert":
        columns = target_columns(shape.insert, shape.select, facts)
    reasons = _unique((*_objections_everywhere(shape, facts, whole.refused), *columns.reasons))
    found, rejected = _judge(shape, facts)
    if reasons or not found:
        if not rejected and not found:
            rejected_reasons = _path_objections(shape, (shape.select,), facts)
            rejected_reasons += _ungrouped(shape.select, facts)
            reasons += rejected_reasons or (() if reasons else (_no_candidate(shape.select),))
        elif rejected and not found:
            reasons += min(rejected.values(), key=len)
        return Serial(_unique(reasons), rejected)
    return Split(
        tree=shape.tree,
        candidates=found,
        reads=_reads(shape),
        hazards=_hazards(shape, columns.defaults),
        unlogged=facts.relations[relation_name(shape.insert.relation)].persistence == "u",
        frozen_defaults=columns.frozen,
        rejected=rejected,
        shared_snapshot=shape.kind == "delete",
    )


def _objections_everywhere(
    shape: Shape, facts: CatalogFacts, views: Mapping[Name, Reason]
) -> Iterator[Reason]:
    """What speaks against a split whatever the driving relation is."""
    yield from _objections_to_statement(shape, facts)
    yield from _objections_below(shape)
    for node in shape.nodes:
        yield from construct_objection(node)
    yield from target_objections(shape.insert.relation, facts, shape.kind)
    yield from _objections_to_relations(shape, facts, views)
    if facts.unsafe_casts:
        yield Reason(
            "cast-function",
            f"the cast {facts.unsafe_casts[0]} calls a function that may look "
            "at other rows, and casts are applied unseen",
        )
    nodes = shape.nodes if shape.tree is shape.insert else walk(shape.tree)
    yield from functions.special_datetimes(nodes)


def _judge(
    shape: Shape, facts: CatalogFacts
) -> tuple[tuple[Candidate, ...], dict[Candidate, tuple[Reason, ...]]]:
    """The sound candidates, and the others with the reasons against them."""
    found: list[Candidate] = []
    rejected: dict[Candidate, tuple[Reason, ...]] = {}
    by_path: dict[tuple[int, ...], tuple[Reason, ...]] = {}
    for occurrence in occurrences(shape, facts):
        path = occurrence.path
        if path not in by_path:
            selects = tuple(level.select for level in occurrence.levels)
            by_path[path] = _path_objections(shape, selects, facts)
        for candidate in occurrence.candidates():
            against = _unique((*by_path[path], *_objections_to_key(occurrence, candidate, shape)))
            if not against:
                found.append(candidate)
            elif candidate.key != "column" or shape.kind == "update":
                rejected[candidate] = against
    series = target_series(shape, facts)
    if series is not None:
        against = _path_objections(shape, (shape.select,), facts)
        against += _ungrouped(shape.select, facts)
        if against:
            rejected[series] = _unique(against)
        else:
            found.append(series)
    return tuple(found), rejected


def _objections_to_key(
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
        if depth and carried:
            around = levels[depth - 1]
            carried = around.carrying(
                carried_upwards(around, ordinals[depth - 1], carried),
                key,
            )


def _ungrouped(select: Message, facts: CatalogFacts) -> tuple[Reason, ...]:
    return tuple(grouping_objections(Level(select, facts), frozenset()))


def _path_objections(
    shape: Shape, selects: tuple[Message, ...], facts: CatalogFacts
) -> tuple[Reason, ...]:
    """Why the SELECTs around the driving relation are not evaluated row by row."""
    found: list[Reason] = []
    for select in selects:
        if select.HasField("larg") or select.HasField("rarg"):
            found.append(Reason("set-operation", "UNION, INTERSECT and EXCEPT look at all rows"))
        if select.HasField("into_clause"):
            found.append(Reason("into", "SELECT INTO makes a table"))
    for node in shape.select_nodes:
        if kind_of(node) != "SelectStmt" or any(node is select for select in selects):
            continue
        if _is_distinct_on(node):
            found.append(
                Reason("distinct", "DISTINCT ON in a subquery depends on the order of rows")
            )
    found += call_objections(shape, selects, facts)
    return _unique(found)


def _is_distinct_on(select: Message) -> bool:
    return any(node.WhichOneof("node") for node in select.distinct_clause)


def _unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))


def _objections_to_statement(shape: Shape, facts: CatalogFacts) -> Iterator[Reason]:
    tree = shape.tree
    if tree.HasField("with_clause"):
        yield Reason("cte", "WITH is not analysed yet")
    if shape.kind == "insert" and tree.HasField("on_conflict_clause"):
        yield Reason("on-conflict", "ON CONFLICT may see rows of other chunks")
    if tree.HasField("returning_clause"):
        yield Reason("returning", "RETURNING gives one result, not one for each chunk")
    if shape.kind == "insert":
        return
    target = facts.relations.get(relation_name(tree.relation))
    if target is not None and target.cascades:
        yield Reason("foreign-key-action", "a foreign key of another table acts on each change")
    if target is not None and shape.kind == "update":
        unique = target.unique_columns & shape.assigned
        if unique or ("*" in target.unique_columns):
            what = ", ".join(sorted(unique)) or "columns of an index over expressions"
            yield Reason("assigned-unique", f"{what}: unique over all rows, and assigned")


def _objections_below(shape: Shape) -> Iterator[Reason]:
    """What no level may have, and what a subquery that every chunk repeats may not."""
    exists = [
        inner(node.subselect)
        for node in shape.select_nodes
        if kind_of(node) == "SubLink" and node.sub_link_type == _EXISTS_SUBLINK
    ]
    for node in shape.select_nodes:
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
            case _:
                pass


def _objections_to_relations(
    shape: Shape, facts: CatalogFacts, views: Mapping[Name, Reason]
) -> Iterator[Reason]:
    target = facts.relations.get(relation_name(shape.insert.relation))
    for node in shape.select_nodes:
        if kind_of(node) != "RangeVar":
            continue
        name = ".".join(relation_name(node))
        relation = facts.relations.get(relation_name(node))
        if relation is None or relation.kind == "?" or node.catalogname:
            yield Reason("relation-unknown", f"relation {name} is not in the catalogue")
            continue
        reads = target is not None and target.family & relation.family
        if reads and shape.kind == "insert":
            yield Reason("reads-target", f"{name} is read and written by the same statement")
        if relation.kind == "v":
            yield views.get(relation_name(node), Reason("view", f"{name} is a view"))
        yield from _objections_to_source(name, relation)


def _objections_to_source(name: str, relation: RelationFacts) -> Iterator[Reason]:
    if relation.has_rules:
        yield Reason("rule", f"{name} has a rule")
    if relation.persistence == "t":
        yield Reason("temporary-table", f"{name} is temporary: other connections cannot see it")
    if relation.row_security:
        yield Reason("row-security", f"row-level security is on for {name}")
    if relation.kind == "S":
        yield Reason("sequence-relation", f"{name} is a sequence: it has no snapshot")
    if relation.kind == "f" or relation.foreign_partitions:
        yield Reason("foreign-table", f"{name} is foreign: it has no snapshot here")


def _no_candidate(select: Message) -> Reason:
    if not select.from_clause:
        return Reason("no-driving-relation", "there is no FROM clause to divide")
    return Reason(
        "no-driving-relation",
        "no heap table and no generate_series with constant bounds stands where every one of its "
        "rows counts once (the inner side of an outer join does not)",
    )


def _reads(shape: Shape) -> tuple[Name, ...]:
    """What is read, but for the rows of its target that an UPDATE or a DELETE changes itself."""
    found = [relation_name(node) for node in shape.select_nodes if kind_of(node) == "RangeVar"]
    if shape.kind != "insert":
        found.remove(relation_name(shape.insert.relation))
    return tuple(sorted(set(found)))


def _hazards(shape: Shape, defaults: Iterable[Message]) -> tuple[Hazard, ...]:
    hazards: list[Hazard] = ["not-atomic"]
    if shape.select.sort_clause:
        hazards.append("physical-order")
    if any(
        kind_of(node) == "FuncCall" and functions.base_name(node) == "nextval"
        for node in chain(shape.nodes, *map(walk, defaults))
    ):
        hazards.append("sequence-order")
    return tuple(hazards)
