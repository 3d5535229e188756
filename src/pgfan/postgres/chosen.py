"""A candidate that was taken, with what the server said of it, and the SQL that it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfan.sql.rewrite import Template, restrict_blocks, restrict_column, restrict_series

if TYPE_CHECKING:
    from pgfan.postgres.bounds import ColumnBounds
    from pgfan.postgres.series import MeasuredSeries
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.distribute import Split
    from pgfan.sql.facts import CatalogFacts


@dataclass(frozen=True)
class Chosen:
    """At most one of `series` and `column` is there; with neither, blocks are the key."""

    candidate: Candidate
    series: MeasuredSeries | None = None
    column: ColumnBounds | None = None


def template_of(split: Split, chosen: Chosen, facts: CatalogFacts, frozen_at: str) -> Template:
    """The SQL around the bounds of a chunk; RenderError when there is none."""
    candidate = chosen.candidate
    if chosen.column is not None:
        return restrict_column(split, candidate, facts, frozen_at)
    if chosen.series is None:
        return restrict_blocks(split, candidate, facts, frozen_at)
    return restrict_series(split, candidate, chosen.series.spec, facts, frozen_at)
