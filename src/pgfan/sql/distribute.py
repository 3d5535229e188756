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

from functools import cached_property
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from pgfan.sql.branches import (
    BRANCHES_MAX,
    Branch,
    Branches,
    Query,
    branches_of,
)
from pgfan.sql.calls import once_objections
from pgfan.sql.candidates import Candidate, Occurrence, occurrences, target_series
from pgfan.sql.creation import Creation, creation_objection, creation_of, writes_unlogged
from pgfan.sql.hazards import hazards_of, reads_of
from pgfan.sql.index import TreeIndex
from pgfan.sql.inline import has_fences, inlined, is_with_query, objection
from pgfan.sql.meeting import meeting_of, meeting_of_series
from pgfan.sql.merge import merge_columns
from pgfan.sql.objections import objections_everywhere
from pgfan.sql.parsing import is_deeper
from pgfan.sql.path import Paths, key_objections, objections_to_expression, ungrouped
from pgfan.sql.reasons import Hazard, Reason
from pgfan.sql.render import LEVELS_MAX
from pgfan.sql.shape import Shape, may_be_split, shape_of
from pgfan.sql.target import DefaultColumn, TargetColumns, target_columns
from pgfan.sql.tree import Message, kind_of
from pgfan.sql.views import Expanded, expanded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pgfan.sql.facts import CatalogFacts, Name


class Split(Struct, frozen=True, dict=True):
    """The statement may be split on any one of `candidates`, or into the branches of a union.

    `made` gives what `tree` is. `reads` are the relations whose rows it
    reads: they need one snapshot for all chunks. `frozen_defaults` are columns whose default looks
    at the transaction's time. `rejected` are the candidates that are not sound, each with the
    reasons.
    """

    made: Callable[[], Message]
    candidates: tuple[Candidate, ...]
    reads: tuple[Name, ...]
    hazards: tuple[Hazard, ...]
    unlogged: bool
    frozen_defaults: tuple[DefaultColumn, ...] = ()
    rejected: Mapping[Candidate, tuple[Reason, ...]] = {}
    shared_snapshot: bool = False
    """Whether chunks need one snapshot although `reads` is empty."""
    unions: tuple[Branches, ...] = ()
    """The UNION ALLs that the statement distributes over."""

    @cached_property
    def tree(self) -> Message:
        """The statement as it is rewritten, WITH and views put in their places.

        For CREATE TABLE AS the INSERT into the table by its name as written.
        """
        return self.made()

    def with_tree(self, tree: Message) -> Split:
        """The same split of another tree."""
        return replace(self, made=lambda: tree)


class Serial(Struct, frozen=True):
    """The statement runs on one connection."""

    reasons: tuple[Reason, ...]
    rejected: Mapping[Candidate, tuple[Reason, ...]] = {}


Verdict: TypeAlias = Split | Serial


_NOT_OF_THIS_KIND = Reason("not-insert-select", "statements of this kind are not split")
_ROOTS = frozenset({"p", "r"})
_TOO_DEEP = Reason("deparse", "the statement is nested too deeply to be rewritten")


def distribute(tree: Message, facts: CatalogFacts) -> Verdict:
    """The verdict for one statement; `facts` must cover what `access.references` names."""
    if facts.server_refuses_split:
        return Serial((Reason("server", facts.server_refuses_split),))
    if not may_be_split(tree):
        return Serial((creation_objection(tree) or _NOT_OF_THIS_KIND,))
    creation = creation_of(tree)
    if creation is not None and is_deeper(tree, LEVELS_MAX):
        return Serial((_TOO_DEEP,))
    written = tree if creation is None else creation.insert()
    index = TreeIndex(written)
    if index.levels > LEVELS_MAX:
        return Serial((_TOO_DEEP,))
    if (why := objection(index.nodes)) is not None:
        return Serial((why,))
    found = _judged(inlined(written, index.nodes), written, index, creation, facts)
    if not has_fences(index.nodes):
        return found
    # A query that is MATERIALIZED is better left whole, unless what is best divided is in it.
    kept = inlined(written, index.nodes, fenced=True)
    fenced = _judged(kept, written, index, creation, facts)
    asked = _is_asked_for(found, facts) and not _is_asked_for(fenced, facts)
    stays = isinstance(fenced, Split) and _rows(fenced, facts) >= _rows(found, facts)
    return fenced if stays and not asked else found


def _judged(
    plain: Message,
    written: Message,
    index: TreeIndex,
    creation: Creation | None,
    facts: CatalogFacts,
) -> Verdict:
    """The verdict for a statement without WITH; `index` is of it as it was `written`."""
    whole = expanded(plain, facts, nodes=index.nodes if plain is written else None)
    known = index if whole.tree is written else None
    found = _verdict(whole, known, creation, facts)
    if kind_of(whole.tree) != "InsertStmt":
        return found
    if _is_asked_for(found, facts):
        return found
    # The leaves of a partitioned table may drive it, one after the other.
    apart = expanded(whole.tree, facts, _ROOTS, known.nodes if known is not None else None)
    if apart.tree is whole.tree:
        return found
    again = _verdict(replace(apart, refused=whole.refused), None, creation, facts)
    rows, more = _rows(found, facts), _rows(again, facts)
    by_column = isinstance(found, Split) and all(one.column for one in found.candidates)
    return again if more > rows or (by_column and more == rows) else found


def _is_asked_for(verdict: Verdict, facts: CatalogFacts) -> bool:
    """Whether the user named what a candidate divides by."""
    return isinstance(verdict, Split) and any(
        one.key == "expression" or one.stored_as in facts.wanted for one in verdict.candidates
    )


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


def _verdict(
    whole: Expanded, index: TreeIndex | None, creation: Creation | None, facts: CatalogFacts
) -> Verdict:
    """The verdict for a statement with its WITH and its views put in their places."""
    shape = shape_of(whole.tree, index, is_new=creation is not None)
    if shape is None:
        raise AssertionError("a statement that may be split has a shape")
    if shape.tree_index is None and is_deeper(shape.tree, LEVELS_MAX):
        return Serial((_TOO_DEEP,))
    columns, rewritten = TargetColumns(), shape.tree
    if shape.kind == "insert":
        columns = target_columns(shape.insert, shape.select, facts)
    elif shape.kind == "merge":
        written_out = merge_columns(rewritten, facts)
        columns, rewritten = written_out.columns, written_out.tree
    reasons = _unique((*objections_everywhere(shape, facts, whole.refused), *columns.reasons))
    paths = Paths(shape, facts)
    found, rejected = _judge(paths, Query((), (shape.select,)))
    divided, undivided = _judge_unions(paths)
    if reasons or not (found or divided):
        if not (found or divided):
            why = _why_not(paths, rejected, undivided)
            reasons += why or (() if reasons else (_no_candidate(shape, shape.select),))
        return Serial(_unique(reasons), rejected)
    return Split(
        made=lambda: rewritten,
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
    paths: Paths,
    rejected: Mapping[Candidate, tuple[Reason, ...]],
    undivided: tuple[Reason, ...],
) -> tuple[Reason, ...]:
    """What speaks against all that might drive the statement, if there is anything."""
    shape, facts = paths.shape, paths.facts
    if rejected:
        return (*min(rejected.values(), key=_vagueness), *undivided)
    if undivided:
        return undivided
    return paths.objections((shape.select,)) + ungrouped(shape.select, facts)


def _judge(
    paths: Paths, start: Query
) -> tuple[tuple[Candidate, ...], dict[Candidate, tuple[Reason, ...]]]:
    """The sound candidates in `start`, and the others with the reasons against them."""
    shape, facts = paths.shape, paths.facts
    found: list[Candidate] = []
    rejected: dict[Candidate, tuple[Reason, ...]] = {}
    by_path: dict[tuple[int, ...], tuple[Reason, ...]] = {}
    for occurrence in occurrences(shape, facts, start):
        path = occurrence.path
        if path not in by_path:
            selects = tuple(level.select for level in occurrence.levels)
            by_path[path] = paths.objections(selects)
        for candidate in occurrence.candidates():
            judged = _judge_candidate(candidate, occurrence, paths, by_path[path])
            if isinstance(judged, Candidate):
                found.append(judged)
            elif judged:
                rejected[candidate] = judged
        rejected |= {one: (*by_path[path], reason) for one, reason in occurrence.unordered()}
        asked = occurrence.by_expression()
        if asked is not None:
            against = (*by_path[path], *objections_to_expression(occurrence, asked, shape, facts))
            if against:
                rejected[asked] = _unique(against)
            else:
                found.append(asked)
    series = target_series(shape, start, facts)
    if series is not None:
        judged = _judge_series(series, paths, start)
        if isinstance(judged, Candidate):
            found.append(judged)
        else:
            rejected[series] = judged
    return tuple(found), rejected


def _judge_candidate(
    candidate: Candidate, occurrence: Occurrence, paths: Paths, on_path: tuple[Reason, ...]
) -> Candidate | tuple[Reason, ...]:
    """The candidate if it is sound, or the reasons; none for a column that nobody asks about."""
    shape, facts = paths.shape, paths.facts
    is_asked = candidate.stored_as in facts.wanted
    is_told = candidate.column is None or shape.kind == "update" or shape.meets or is_asked
    objections = key_objections(occurrence, candidate, shape)
    if not is_told and (on_path or next(objections, None) is not None):
        return ()
    against = _unique((*on_path, *objections))
    meeting = meeting_of(occurrence, candidate, occurrence.levels, shape, facts)
    if isinstance(meeting, Reason):
        against = _unique((*against, meeting))
    elif not against:
        return meeting
    return against if is_told else ()


def _judge_series(series: Candidate, paths: Paths, start: Query) -> Candidate | tuple[Reason, ...]:
    against = paths.objections(start.selects) + ungrouped(start.select, paths.facts)
    meeting = meeting_of_series(series, paths.shape, paths.facts)
    if isinstance(meeting, Reason):
        against = (*against, meeting)
    elif not against:
        return meeting
    return _unique(against)


def _judge_unions(paths: Paths) -> tuple[tuple[Branches, ...], tuple[Reason, ...]]:
    """The UNION ALLs that the statement distributes over, and the reasons against the others."""
    shape, facts = paths.shape, paths.facts
    found: list[Branches] = []
    reasons: list[Reason] = []
    for union in shape.unions:
        if shape.meets:
            why = "rows of several branches may meet on one row of the target"
            reasons.append(Reason("set-operation", why))
            continue
        branches = branches_of(union)
        if branches is None:
            why = f"more than {BRANCHES_MAX} branches: every chunk would carry all of them"
            reasons.append(Reason("set-operation", f"UNION ALL of {why}"))
            continue
        against = list(paths.objections(union.selects))
        if any(ungrouped(select, facts) for select in union.selects):
            why = "what groups the rows of a UNION ALL needs all of its branches at once"
            against.append(Reason("set-operation", why))
        for branch in branches:
            against += once_objections(branch.select, facts)
        if against:
            reasons += against
        else:
            found.append(tuple(_branch(paths, branch) for branch in branches))
    return tuple(found), _unique(reasons)


def _branch(paths: Paths, query: Query) -> Branch:
    found, rejected = _judge(paths, query)
    if found:
        return Branch(query.path, found, ())
    if rejected:
        return Branch(query.path, (), min(rejected.values(), key=len))
    reasons = paths.objections(query.selects) + ungrouped(query.select, paths.facts)
    return Branch(query.path, (), reasons or (_no_candidate(paths.shape, query.select),))


def _vagueness(reasons: tuple[Reason, ...]) -> tuple[int, bool]:
    """Of a MERGE's columns, one that ON equates to the target's tells more than all others."""
    return len(reasons), any(reason.code == "merge-key" for reason in reasons)


def _unique(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reasons))


def _no_candidate(shape: Shape, select: Message) -> Reason:
    if not select.from_clause:
        return Reason("no-driving-relation", "there is no FROM clause to divide")
    if any(map(is_with_query, shape.index.of("RangeVar", select))):
        why = "a query in WITH that is recursive, or read more than once, is not divided"
        return Reason("cte", why)
    return Reason(
        "no-driving-relation",
        "no heap table and no generate_series with constant bounds stands where every one of its "
        "rows counts once (the inner side of an outer join does not)",
    )
