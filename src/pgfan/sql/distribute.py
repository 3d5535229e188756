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

from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from pgfan.sql.branches import (
    BRANCHES_MAX,
    Branch,
    Branches,
    Query,
    branches_of,
    is_union_all,
)
from pgfan.sql.calls import call_objections, once_objections
from pgfan.sql.candidates import Candidate, Occurrence, occurrences, target_series, unions
from pgfan.sql.constructs import extent_objections
from pgfan.sql.creation import Creation, creation_objection, creation_of, writes_unlogged
from pgfan.sql.effects import hazards_of, reads_of
from pgfan.sql.groups import carried_upwards, grouping_objections
from pgfan.sql.inline import inlined, is_with_query
from pgfan.sql.keys import Column, KeyType, Level
from pgfan.sql.levels import placed_nodes
from pgfan.sql.meeting import meeting_of, meeting_of_series
from pgfan.sql.merge import merge_columns
from pgfan.sql.objections import objections_everywhere
from pgfan.sql.parsing import is_deeper
from pgfan.sql.reasons import Hazard, Reason
from pgfan.sql.render import LEVELS_MAX
from pgfan.sql.shape import Shape, may_be_split, shape_of
from pgfan.sql.target import DefaultColumn, TargetColumns, target_columns
from pgfan.sql.tree import Message, Nodes, kind_of, walk
from pgfan.sql.views import Expanded, expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pgfan.sql.facts import CatalogFacts, Name


@dataclass(frozen=True)
class Split:
    """The statement may be split on any one of `candidates`, or into the branches of a union.

    `tree` is the statement as it is rewritten, WITH and views put in their places; for CREATE TABLE
    AS the INSERT into the table by its name as written. `reads` are the relations whose rows it
    reads: they need one snapshot for all chunks. `frozen_defaults` are columns whose default looks
    at the transaction's time. `rejected` are the candidates that are not sound, each with the
    reasons.
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
    unions: tuple[Branches, ...] = ()
    """The UNION ALLs that the statement distributes over."""


@dataclass(frozen=True)
class Serial:
    """The statement runs on one connection."""

    reasons: tuple[Reason, ...]
    rejected: Mapping[Candidate, tuple[Reason, ...]] = field(default_factory=dict)


Verdict: TypeAlias = Split | Serial

EXACT_TYPES = frozenset(
    {
        *("smallint", "integer", "bigint", "oid", "uuid", "boolean", "date", "text"),
        *("character varying", "timestamp without time zone", "timestamp with time zone"),
    }
)
"""Types of which equal values are the same in every way (under a deterministic collation)."""

_NOT_OF_THIS_KIND = Reason("not-insert-select", "statements of this kind are not split")
_ROOTS = frozenset({"p", "r"})
_TOO_DEEP = Reason("deparse", "the statement is nested too deeply to be rewritten")


def distribute(tree: Message, facts: CatalogFacts) -> Verdict:
    """The verdict for one statement; `facts` must cover what `access.references` names."""
    if facts.server_refuses_split:
        return Serial((Reason("server", facts.server_refuses_split),))
    if not may_be_split(tree):
        return Serial((creation_objection(tree) or _NOT_OF_THIS_KIND,))
    if is_deeper(tree, LEVELS_MAX):
        return Serial((_TOO_DEEP,))
    creation = creation_of(tree)
    whole = expanded(inlined(tree if creation is None else creation.insert()), facts)
    found = _verdict(whole, creation, facts)
    if kind_of(whole.tree) != "InsertStmt":
        return found
    if isinstance(found, Split) and any(map(_is_asked(facts), found.candidates)):
        return found
    # The leaves of a partitioned table may drive it, one after the other.
    apart = expanded(whole.tree, facts, _ROOTS)
    if apart.tree is whole.tree:
        return found
    again = _verdict(replace(apart, refused=whole.refused), creation, facts)
    rows, more = _rows(found, facts), _rows(again, facts)
    by_column = isinstance(found, Split) and all(one.column for one in found.candidates)
    return again if more > rows or (by_column and more == rows) else found


def _is_asked(facts: CatalogFacts) -> Callable[[Candidate], bool]:
    """Whether the user named what a candidate divides by."""
    return lambda one: one.key == "expression" or one.stored_as in facts.wanted


def _rows(verdict: Verdict, facts: CatalogFacts) -> float:
    """About how many rows the best that a statement may be split on has; -1 for none."""
    if isinstance(verdict, Serial):
        return -1.0

    def most(candidates: tuple[Candidate, ...]) -> float:
        # A column is taken only where there is nothing else.
        taken = [one for one in candidates if one.column is None] or candidates
        relations = [facts.relations.get(one.relation or ()) for one in taken]
        return max((one.estimated_rows if one else inf for one in relations), default=0.0)

    unions = (sum(most(branch.candidates) for branch in union) for union in verdict.unions)
    return max(most(verdict.candidates), *unions, 0.0)


def _verdict(whole: Expanded, creation: Creation | None, facts: CatalogFacts) -> Verdict:
    """The verdict for a statement with its WITH and its views put in their places."""
    shape = shape_of(whole.tree, is_new=creation is not None)
    if shape is None:
        raise AssertionError("a statement that may be split has a shape")
    if is_deeper(shape.tree, LEVELS_MAX):
        return Serial((_TOO_DEEP,))
    columns, rewritten = TargetColumns(), shape.tree
    if shape.kind == "insert":
        columns = target_columns(shape.insert, shape.select, facts)
    elif shape.kind == "merge":
        written_out = merge_columns(rewritten, facts)
        columns, rewritten = written_out.columns, written_out.tree
    reasons = _unique((*objections_everywhere(shape, facts, whole.refused), *columns.reasons))
    found, rejected = _judge(shape, Query((), (shape.select,)), facts)
    divided, undivided = _judge_unions(shape, facts)
    if reasons or not (found or divided):
        if not (found or divided):
            why = _why_not(shape, rejected, undivided, facts)
            reasons += why or (() if reasons else (_no_candidate(shape.select),))
        return Serial(_unique(reasons), rejected)
    return Split(
        tree=rewritten,
        candidates=found,
        reads=reads_of(shape),
        hazards=hazards_of(shape, columns.defaults),
        unlogged=writes_unlogged(shape.tree, creation, facts),
        frozen_defaults=columns.frozen,
        rejected=rejected,
        shared_snapshot=shape.kind == "delete",
        unions=divided,
    )


def _why_not(
    shape: Shape,
    rejected: Mapping[Candidate, tuple[Reason, ...]],
    undivided: tuple[Reason, ...],
    facts: CatalogFacts,
) -> tuple[Reason, ...]:
    """What speaks against all that might drive the statement, if there is anything."""
    if rejected:
        return (*min(rejected.values(), key=_vagueness), *undivided)
    if undivided:
        return undivided
    return _path_objections(shape, (shape.select,), facts) + _ungrouped(shape.select, facts)


def _judge(
    shape: Shape, start: Query, facts: CatalogFacts
) -> tuple[tuple[Candidate, ...], dict[Candidate, tuple[Reason, ...]]]:
    """The sound candidates in `start`, and the others with the reasons against them."""
    found: list[Candidate] = []
    rejected: dict[Candidate, tuple[Reason, ...]] = {}
    by_path: dict[tuple[int, ...], tuple[Reason, ...]] = {}
    for occurrence in occurrences(shape, facts, start):
        path = occurrence.path
        if path not in by_path:
            selects = tuple(level.select for level in occurrence.levels)
            by_path[path] = _path_objections(shape, selects, facts)
        for candidate in occurrence.candidates():
            against = _unique((*by_path[path], *_objections_to_key(occurrence, candidate, shape)))
            meeting = meeting_of(occurrence, candidate, occurrence.levels, shape, facts)
            if not against and not isinstance(meeting, Reason):
                found.append(meeting)
                continue
            if isinstance(meeting, Reason):
                against = _unique((*against, meeting))
            is_asked = candidate.stored_as in facts.wanted
            if candidate.column is None or shape.kind == "update" or shape.meets or is_asked:
                rejected[candidate] = against
        rejected |= {one: (*by_path[path], reason) for one, reason in occurrence.unordered()}
        asked = occurrence.by_expression()
        if asked is not None:
            against = (*by_path[path], *_objections_to_expression(occurrence, asked, shape, facts))
            if against:
                rejected[asked] = _unique(against)
            else:
                found.append(asked)
    series = target_series(shape, start, facts)
    if series is not None:
        judged = _judge_series(series, shape, start, facts)
        if isinstance(judged, Candidate):
            found.append(judged)
        else:
            rejected[series] = judged
    return tuple(found), rejected


def _judge_series(
    series: Candidate, shape: Shape, start: Query, facts: CatalogFacts
) -> Candidate | tuple[Reason, ...]:
    against = _path_objections(shape, start.selects, facts) + _ungrouped(start.select, facts)
    meeting = meeting_of_series(series, shape, facts)
    if isinstance(meeting, Reason):
        against = (*against, meeting)
    elif not against:
        return meeting
    return _unique(against)


def _judge_unions(
    shape: Shape, facts: CatalogFacts
) -> tuple[tuple[Branches, ...], tuple[Reason, ...]]:
    """The UNION ALLs that the statement distributes over, and the reasons against the others."""
    found: list[Branches] = []
    reasons: list[Reason] = []
    for union in unions(shape, facts):
        if shape.meets:
            why = "rows of several branches may meet on one row of the target"
            reasons.append(Reason("set-operation", why))
            continue
        branches = branches_of(union)
        if branches is None:
            why = f"more than {BRANCHES_MAX} branches: every chunk would carry all of them"
            reasons.append(Reason("set-operation", f"UNION ALL of {why}"))
            continue
        against = list(_path_objections(shape, union.selects, facts))
        if any(_ungrouped(select, facts) for select in union.selects):
            why = "what groups the rows of a UNION ALL needs all of its branches at once"
            against.append(Reason("set-operation", why))
        for branch in branches:
            against += once_objections(branch.select, facts)
        if against:
            reasons += against
        else:
            found.append(tuple(_branch(shape, branch, facts) for branch in branches))
    return tuple(found), _unique(reasons)


def _branch(shape: Shape, query: Query, facts: CatalogFacts) -> Branch:
    found, rejected = _judge(shape, query, facts)
    if found:
        return Branch(query.path, found, ())
    if rejected:
        return Branch(query.path, (), min(rejected.values(), key=len))
    reasons = _path_objections(shape, query.selects, facts) + _ungrouped(query.select, facts)
    return Branch(query.path, (), reasons or (_no_candidate(query.select),))


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


def _objections_to_expression(
    occurrence: Occurrence, candidate: Candidate, shape: Shape, facts: CatalogFacts
) -> tuple[Reason, ...]:
    """Why rows in which an expression differs may belong together, or change what it comes to.

    Rows that belong together agree in some columns. They agree in an expression of these, too,
    where values that are equal are the same: 1.0 and 1.00 are not, and are two texts.
    """
    relation = facts.relations[candidate.relation or ()]
    columns = facts.expressions[relation.oid].columns
    keys = [key for key in map(occurrence.key_by, columns) if key is not None]
    by_rows = tuple(_objections_to_key(occurrence, candidate, shape))
    by_keys = [reason for key in keys for reason in _objections_to_key(occurrence, key, shape)]
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


def _ungrouped(select: Message, facts: CatalogFacts) -> tuple[Reason, ...]:
    return tuple(grouping_objections(Level(select, facts), frozenset()))


def _path_objections(
    shape: Shape, selects: tuple[Message, ...], facts: CatalogFacts
) -> tuple[Reason, ...]:
    """Why the SELECTs around the driving relation are not evaluated row by row."""
    found: list[Reason] = []
    for select in selects:
        if select.HasField("larg") and not is_union_all(select):
            found.append(Reason("set-operation", "UNION, INTERSECT and EXCEPT look at all rows"))
        if select.HasField("into_clause"):
            found.append(Reason("into", "SELECT INTO makes a table"))
    placed = list(placed_nodes(shape.insert, selects))
    for each in placed:
        is_select = each.kind == "SelectStmt" and not any(each.node is one for one in selects)
        if is_select and _is_distinct_on(each.node):
            why = "DISTINCT ON in a subquery depends on the order of rows"
            found.append(Reason("distinct", why))
    if any(True for _ in unions(shape, facts)):
        nodes = Nodes(each.node for each in placed)
        found += extent_objections(nodes)
    found += call_objections(shape, placed, facts)
    return _unique(found)


def _vagueness(reasons: tuple[Reason, ...]) -> tuple[int, bool]:
    """Of a MERGE's columns, one that ON equates to the target's tells more than all others."""
    return len(reasons), any(reason.code == "merge-key" for reason in reasons)


def _is_distinct_on(select: Message) -> bool:
    return any(node.WhichOneof("node") for node in select.distinct_clause)


def _unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))


def _no_candidate(select: Message) -> Reason:
    if not select.from_clause:
        return Reason("no-driving-relation", "there is no FROM clause to divide")
    if any(map(is_with_query, Nodes(walk(select)).of("RangeVar"))):
        why = "a query in WITH that is recursive, or read more than once, is not divided"
        return Reason("cte", why)
    return Reason(
        "no-driving-relation",
        "no heap table and no generate_series with constant bounds stands where every one of its "
        "rows counts once (the inner side of an outer join does not)",
    )
