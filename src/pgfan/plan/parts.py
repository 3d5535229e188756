"""Sizes of chunks in a domain that is put together from parts, such as the branches of a UNION ALL.

A unit of one part may cost a thousand times what a unit of another does, so each part has a sizer
of its own, and no chunk reaches over a border. What is left of the parts behind is turned into
units of the part at hand by their estimated costs: only the end of the whole task has a tail.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from pgfan.plan.ranges import Range
from pgfan.plan.sizing import ChunkSizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.plan.messages import PartSize
    from pgfan.plan.ranges import RangeSet
    from pgfan.plan.sizing import SizingOptions

LEFT_MAX = 2**62
"""A part whose units cost nothing by the estimates is as good as endless."""


class PartedSizer:
    """A ChunkSizer for each part; ValueError for a part without units."""

    def __init__(self, parts: Sequence[PartSize], options: SizingOptions) -> None:
        ends = list(accumulate(part.units for part in parts))
        self._begins = [0, *ends[:-1]]
        self._extents = [Range(lo, hi) for lo, hi in zip(self._begins, ends, strict=True)]
        self._unit_costs = [part.cost / part.units for part in parts]
        self._sizers = [
            ChunkSizer(part.units, options.in_units(part.rows_per_unit)) for part in parts
        ]

    def observe(self, piece: Range, seconds: float) -> None:
        """See ChunkSizer."""
        self._sizers[self._at(piece.lo)].observe(len(piece), seconds)

    def seconds_for(self, piece: Range) -> float | None:
        """See ChunkSizer."""
        return self._sizers[self._at(piece.lo)].seconds_for(len(piece))

    def left_beside(self, piece: Range, left: RangeSet) -> int:
        """How many units are left of the part that `piece` is in."""
        return left.units_in(self._extents[self._at(piece.lo)])

    def next_units(self, left: RangeSet, workers: int) -> int:
        """Units of the next chunk off the front of `left`, which is not empty."""
        first = next(iter(left)).lo
        at = self._at(first)
        units = self._sizers[at].next_units(self._left_from(at, left), workers)
        return min(units, self._extents[at].hi - first)

    def _at(self, ordinal: int) -> int:
        return bisect_right(self._begins, ordinal) - 1

    def _left_from(self, at: int, left: RangeSet) -> int:
        """What is left of the part and of those behind it, in units of the part."""
        if len(self._extents) == 1:
            return left.units
        found = float(left.units_in(self._extents[at]))
        for later in range(at + 1, len(self._extents)):
            cost = left.units_in(self._extents[later]) * self._unit_costs[later]
            found += cost / self._unit_costs[at]
        return min(LEFT_MAX, round(found))
