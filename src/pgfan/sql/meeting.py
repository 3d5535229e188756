"""Whether rows of several chunks may meet on one row of the target, for one candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.sql.conflict import may_wait, meeting_objections
from pgfan.sql.determinants import Determinant, determinants, series_determinants
from pgfan.sql.merge import meeting_column
from pgfan.sql.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.sql.candidates import Candidate, Occurrence
    from pgfan.sql.facts import CatalogFacts
    from pgfan.sql.keys import Level
    from pgfan.sql.shape import Shape


def meeting_of(
    occurrence: Occurrence,
    candidate: Candidate,
    levels: Sequence[Level],
    shape: Shape,
    facts: CatalogFacts,
) -> Candidate | Reason:
    """The candidate, with what a rewrite has to know of it; or why rows may meet."""
    if not shape.meets:
        return candidate
    if shape.kind != "merge":
        return _of_insert(
            candidate, determinants(occurrence, candidate, levels, facts), shape, facts
        )
    found = determinants(occurrence, candidate, levels, facts)
    column = meeting_column(shape.tree, levels[0], found, facts)
    return column if isinstance(column, Reason) else replace(candidate, meets=column.ranged)


def meeting_of_series(
    candidate: Candidate, shape: Shape, facts: CatalogFacts
) -> Candidate | Reason:
    """The same for a generate_series in the target list."""
    if not shape.meets:
        return candidate
    return _of_insert(candidate, series_determinants(shape.select), shape, facts)


def _of_insert(
    candidate: Candidate, found: Sequence[Determinant], shape: Shape, facts: CatalogFacts
) -> Candidate | Reason:
    reason = next(meeting_objections(shape.insert, found, facts), None)
    if reason is None:
        return candidate
    if may_wait(shape.insert, shape.select, facts):
        return replace(candidate, may_wait=True)
    return reason
