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
        self._begins = [0, *accumulate(part.units for part in parts)][:-1]
        self._parts = [
            _Part(lo, part, options) for lo, part in zip(self._begins, parts, strict=True)
        ]
        self._order = sorted(self._parts, key=lambda part: -part.unit_cost)
        for place, part in enumerate(self._order):
            part.place = place
        self.reset(done)

    def reset(self, done: Iterable[Range]) -> None:
        """All ordinals but `done` are left again; what was learnt of sizes is kept."""
        for part in self._parts:
            part.left = RangeSet([part.extent])
        for piece in done:
            first = max(0, bisect_right(self._begins, piece.lo) - 1)
            for at in range(first, len(self._parts)):
                if piece.hi <= self._begins[at]:
                    break
                self._parts[at].left.remove(piece)
        self.units = sum(part.left.units for part in self._parts)
        """How many ordinals are left."""
        self._cost = sum(part.left.units * part.unit_cost for part in self._parts)
        self._first = 0

    def __bool__(self) -> bool:
        return self.units > 0

    def __repr__(self) -> str:
        return f"Remainder({', '.join(str(piece) for part in self._parts for piece in part.left)})"

    def take(self, workers: int, others_s: Callable[[], Iterable[float]] = tuple) -> Range:
        """Take the next chunk, for `workers` that share what is left; IndexError when none is.

        `others_s`: see ChunkSizer.
        """
        while not (units := self._order[self._first].left.units):
            self._first += 1
        part = self._order[self._first]
        if len(self._parts) > 1:
            units = max(units, min(LEFT_MAX, round(self._cost / part.unit_cost)))
        return self._take(part, part.sizer.next_units(units, workers, others_s))

    def take_beside(self, piece: Range, count: int) -> tuple[Range, ...]:
        """Up to `count` more of the size of `piece`, off the same part."""
        part = self._part_of(piece)
        found: list[Range] = []
        while len(found) < count and part.left:
            found.append(self._take(part, len(piece)))
        return tuple(found)

    def take_units(self) -> tuple[Range, ...]:
        """Take all that is left of the first part, each ordinal by itself, in order."""
        part = self._parts[0]
        found: list[Range] = []
        while part.left:
            found.append(self._take(part, 1))
        return tuple(found)

    def units_beside(self, piece: Range) -> int:
        """How many units are left of the part that `piece` is in."""
        return self._part_of(piece).left.units

    def give_back(self, piece: Range) -> None:
        """Put back what was taken and not done; ValueError when any of it is there already."""
        part = self._part_of(piece)
        part.left.add(piece)
        self._first = min(self._first, part.place)
        self.units += len(piece)
        self._cost += len(piece) * part.unit_cost

    def observe(self, piece: Range, seconds: float) -> None:
        """See ChunkSizer."""
        self._part_of(piece).sizer.observe(piece.hi - piece.lo, seconds)

    def too_large(self, piece: Range) -> None:
        """See ChunkSizer."""
        self._part_of(piece).sizer.too_large(len(piece))

    def seconds_for(self, piece: Range) -> float | None:
        """See ChunkSizer."""
        return self._part_of(piece).sizer.seconds_for(piece.hi - piece.lo)

    def fixed_s(self, piece: Range) -> float:
        """Seconds that every chunk of the part pays, whatever its size."""
        return self._part_of(piece).sizer.fit()[0]

    def _take(self, part: _Part, units: int) -> Range:
        piece = part.left.take(units)
        taken = piece.hi - piece.lo
        self.units -= taken
        self._cost -= taken * part.unit_cost
        return piece

    def _part_of(self, piece: Range) -> _Part:
        return self._parts[bisect_right(self._begins, piece.lo) - 1]


class _Part:
    """The ordinals from `lo` on that are of one kind."""

    __slots__ = ("extent", "left", "place", "sizer", "unit_cost")

    def __init__(self, lo: int, size: PartSize, options: SizingOptions) -> None:
        self.extent = Range(lo, lo + size.units)
        self.left = RangeSet()
        self.unit_cost = size.cost / size.units
        self.sizer = ChunkSizer(
            size.units,
            options.in_units(size.rows_per_unit),
            size.bytes_per_unit,
            size.expected,
        )
        self.place = 0
        """Among the parts, by the order in which they are taken."""
