"""What is left of a task, in the parts that its domain is put together from.

Parts are the branches of a UNION ALL or the leaves of a partitioned table. A unit of one may cost a
thousand times what a unit of another does, so each has a sizer of its own, and no chunk reaches
over a border. Parts whose single units are dearest come first (longest processing time first,
Graham 1969): what cannot be cut must not be left for the end. What is left of the others is turned
into units of the part at hand by their estimated costs: only the end of the whole task has a tail.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from pgfan.plan.ranges import Range, RangeSet
from pgfan.plan.sizing import ChunkSizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgfan.plan.messages import PartSize
    from pgfan.plan.sizing import SizingOptions

LEFT_MAX = 2**62
"""A part whose units cost nothing by the estimates is as good as endless."""


class Remainder:
    """The ordinals of a task that nobody has yet; ValueError for a part without units.

    It is true while there are any. A range that was taken may be given back, whole or in pieces.
    """

    def __init__(
        self, parts: Sequence[PartSize], options: SizingOptions, done: Iterable[Range] = ()
    ) -> None:
        ends = list(accumulate(part.units for part in parts))
        self._begins = [0, *ends][:-1]
        self._extents = [Range(lo, hi) for lo, hi in zip(self._begins, ends, strict=True)]
        self._unit_costs = [part.cost / part.units for part in parts]
        self._sizers = [
            ChunkSizer(
                part.units,
                options.in_units(part.rows_per_unit),
                part.bytes_per_unit,
                part.expected,
            )
            for part in parts
        ]
        self._order = sorted(range(len(parts)), key=lambda at: -self._unit_costs[at])
        self._place = {at: place for place, at in enumerate(self._order)}
        self.reset(done)

    def reset(self, done: Iterable[Range]) -> None:
        """All ordinals but `done` are left again; what was learnt of sizes is kept."""
        self._left = [RangeSet([extent]) for extent in self._extents]
        for piece in done:
            for at in range(max(0, self._at(piece.lo)), len(self._extents)):
                if piece.hi <= self._begins[at]:
                    break
                self._left[at].remove(piece)
        self._units = sum(left.units for left in self._left)
        self._cost = sum(
            left.units * cost for left, cost in zip(self._left, self._unit_costs, strict=True)
        )
        self._first = 0

    def __bool__(self) -> bool:
        return self._units > 0

    def __repr__(self) -> str:
        return f"Remainder({', '.join(str(piece) for left in self._left for piece in left)})"

    def take(self, workers: int, others_s: Callable[[], Iterable[float]] = tuple) -> Range:
        """Take the next chunk, for `workers` that share what is left; IndexError when none is.

        `others_s`: see ChunkSizer.
        """
        while not self._left[self._order[self._first]]:
            self._first += 1
        at = self._order[self._first]
        units = self._left[at].units
        if len(self._extents) > 1:
            units = max(units, min(LEFT_MAX, round(self._cost / self._unit_costs[at])))
        return self._take(at, self._sizers[at].next_units(units, workers, others_s))

    def take_beside(self, piece: Range, count: int) -> tuple[Range, ...]:
        """Up to `count` more of the size of `piece`, off the same part."""
        at = self._at(piece.lo)
        found: list[Range] = []
        while len(found) < count and self._left[at]:
            found.append(self._take(at, len(piece)))
        return tuple(found)

    def take_units(self) -> tuple[Range, ...]:
        """Take all that is left of the first part, each ordinal by itself, in order."""
        found: list[Range] = []
        while self._left[0]:
            found.append(self._take(0, 1))
        return tuple(found)

    def units_beside(self, piece: Range) -> int:
        """How many units are left of the part that `piece` is in."""
        return self._left[self._at(piece.lo)].units

    def give_back(self, piece: Range) -> None:
        """Put back what was taken and not done; ValueError when any of it is there already."""
        at = self._at(piece.lo)
        self._left[at].add(piece)
        self._first = min(self._first, self._place[at])
        self._units += len(piece)
        self._cost += len(piece) * self._unit_costs[at]

    def observe(self, piece: Range, seconds: float) -> None:
        """See ChunkSizer."""
        self._sizers[self._at(piece.lo)].observe(piece.hi - piece.lo, seconds)

    def too_large(self, piece: Range) -> None:
        """See ChunkSizer."""
        self._sizers[self._at(piece.lo)].too_large(len(piece))

    def seconds_for(self, piece: Range) -> float | None:
        """See ChunkSizer."""
        return self._sizers[self._at(piece.lo)].seconds_for(piece.hi - piece.lo)

    def fixed_s(self, piece: Range) -> float:
        """Seconds that every chunk of the part pays, whatever its size."""
        return self._sizers[self._at(piece.lo)].fit()[0]

    def _take(self, at: int, units: int) -> Range:
        piece = self._left[at].take(units)
        taken = piece.hi - piece.lo
        self._units -= taken
        self._cost -= taken * self._unit_costs[at]
        return piece

    def _at(self, ordinal: int) -> int:
        return bisect_right(self._begins, ordinal) - 1
