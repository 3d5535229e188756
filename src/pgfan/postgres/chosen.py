"""A candidate with what the server said of it, and the plan that it makes of a statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pgfan.plan.task import Blocks, SplitPlan
from pgfan.quoting import qualified
from pgfan.sql.rewrite import (
    Template,
    restrict_blocks,
    restrict_cells,
    restrict_column,
    restrict_series,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.events import Unit
    from pgfan.plan.keys import KeyCost
    from pgfan.plan.ranges import Range
    from pgfan.postgres.cells import SampledCells
    from pgfan.postgres.key_bounds import KeyBounds
    from pgfan.postgres.series import MeasuredSeries
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.distribute import Split
    from pgfan.sql.facts import CatalogFacts

PAGE_BYTES = 8192
"""PostgreSQL's default: good enough for what is only estimated."""
ROWS_PER_BLOCK = 100.0
"""A guess, for a table that was never analysed."""


class Chosen(Struct, frozen=True):
    """At most one of `series`, `bounds` and `cells` is there; without any, blocks are the key."""

    candidate: Candidate
    series: MeasuredSeries | None = None
    bounds: KeyBounds | None = None
    cells: SampledCells | None = None


class Cut(Struct, frozen=True):
    """A statement cut by what was chosen; `plan` lacks the key and the domain."""

    chosen: Chosen
    facts: CatalogFacts
    plan: Callable[..., SplitPlan]
    stored_apart: float = 0.0
    """Bytes of a row that are out of line, for what its chunks cost."""

    @property
    def largest(self) -> float:
        """The share of the rows in the largest piece that cannot be cut."""
        return self.chosen.bounds.largest if self.chosen.bounds else 0.0

    def share_of(self, piece: Range, total: int) -> float:
        """The share of the rows that lie in some of `total` ordinals."""
        bounds = self.chosen.bounds
        return sum(bounds.shares[piece.lo : piece.hi]) if bounds else len(piece) / total

    def estimated(self) -> SplitPlan:
        """As of the catalogue: blocks as many as there were a moment ago, and at least one."""
        relation = self.facts.relations.get(self.chosen.candidate.relation or ())
        blocks = relation.size_bytes // PAGE_BYTES if relation is not None else 0
        return self.measured(lambda _: max(1, blocks))

    def measured(
        self,
        blocks_of: Callable[[str], int],
        bytes_of: Callable[[str], int] = lambda _: 0,
        *,
        cost: KeyCost | None = None,
    ) -> SplitPlan:
        """With the domain; they tell blocks and bytes of a relation, by its quoted name.

        `cost` is that of the chunks; None when nobody knows.
        """
        plan = self._with_domain(blocks_of)
        if cost is not None:
            plan = replace(plan, expected=cost.expected(plan.total))
        relation = self.facts.relations.get(self.chosen.candidate.relation or ())
        if relation is None or not plan.total:
            return plan
        size = bytes_of(qualified((relation.schema, relation.name)))
        return replace(plan, bytes_per_unit=size / plan.total)

    def _with_domain(self, blocks_of: Callable[[str], int]) -> SplitPlan:
        series, bounds = self.chosen.series, self.chosen.bounds
        if series is not None:
            unit: Unit = "steps" if series.total != series.count else "rows"
            per_unit = series.count / series.total if series.total else 1.0
            return self.plan(
                key="series",
                unit=unit,
                total=series.total,
                bounds=series.bounds,
                rows_per_unit=per_unit,
            )
        if bounds is not None:
            return self.plan(
                key=key_name(self.chosen.candidate),
                unit="ranges",
                total=bounds.total,
                bounds=bounds.ranges,
                rows_per_unit=max(bounds.rows, 1.0) / bounds.total,
            )
        cells = self.chosen.cells
        if cells is not None:
            return self.plan(
                key=key_name(self.chosen.candidate),
                unit="cells",
                total=cells.bounds.total,
                bounds=cells.bounds,
                rows_per_unit=max(cells.rows, 1.0) / cells.bounds.total,
            )
        relation = self.facts.relations[self.chosen.candidate.relation or ()]
        blocks = blocks_of(qualified((relation.schema, relation.name)))
        per_unit = relation.rows / blocks if blocks and relation.rows > 0 else ROWS_PER_BLOCK
        return self.plan(
            key="ctid", unit="blocks", total=blocks, bounds=Blocks(), rows_per_unit=per_unit
        )


def key_name(candidate: Candidate) -> str:
    """The key as `--by` takes it."""
    return ",".join(one.stored_as or one.key for one in (candidate, *candidate.then))


def template_of(split: Split, chosen: Chosen, facts: CatalogFacts, frozen_at: str) -> Template:
    """The SQL around the bounds of a chunk; RenderError when there is none."""
    candidate = chosen.candidate
    if chosen.bounds is not None:
        return restrict_column(split, candidate, facts, frozen_at)
    if chosen.cells is not None:
        return restrict_cells(split, candidate, facts, frozen_at)
    if chosen.series is None:
        return restrict_blocks(split, candidate, facts, frozen_at)
    return restrict_series(split, candidate, chosen.series.spec, facts, frozen_at)
