"""Sets of disjoint half-open integer ranges: what of a task is left.

A task's domain is [0, n): ordinals of a series, block numbers of a heap. Workers take pieces from
the front, failed pieces are given back, and a resume starts from the domain minus what the journal
holds. Adjacent ranges are always merged, so equality of sets is equality of their ranges.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Range(Struct, frozen=True, order=True):
    """The integers lo <= i < hi; never empty."""

    lo: int
    hi: int

    def __post_init__(self) -> None:
        if self.lo >= self.hi:
            raise ValueError(f"empty range [{self.lo}, {self.hi})")

    def __len__(self) -> int:
        return self.hi - self.lo

    def __str__(self) -> str:
        return f"[{self.lo}, {self.hi})"

    def divided(self, count: int) -> tuple[Range, ...]:
        """Up to `count` ranges of about equal length; fewer when it holds fewer integers."""
        count = max(1, min(count, len(self)))
        borders = [self.lo + len(self) * at // count for at in range(count + 1)]
        return tuple(Range(lo, hi) for lo, hi in pairwise(borders))

    def halves(self) -> tuple[Range, ...]:
        """Two ranges of about equal length, or the range itself when it holds one integer."""
        return self.divided(2)


class RangeSet:
    """A mutable set of integers kept as sorted, disjoint, non-adjacent ranges.

    `add` and `take` refuse what would make an integer count twice: that is how a chunk done twice
    would begin.
    """

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._los: list[int] = []
        self._his: list[int] = []
        self._size = 0
        for piece in ranges:
            self.add(piece)

    @property
    def units(self) -> int:
        """How many integers are in the set.

        Not its `len`: that ends at 2**63, and list() sets aside room for as many.
        """
        return self._size

    def units_in(self, piece: Range) -> int:
        """How many integers of `piece` are in the set."""
        first = bisect_right(self._his, piece.lo)
        last = bisect_left(self._los, piece.hi)
        within = zip(self._los[first:last], self._his[first:last], strict=True)
        return sum(min(hi, piece.hi) - max(lo, piece.lo) for lo, hi in within)

    def __bool__(self) -> bool:
        return self._size > 0

    def __iter__(self) -> Iterator[Range]:
        return (Range(lo, hi) for lo, hi in zip(self._los, self._his, strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return False
        return self._los == other._los and self._his == other._his

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"RangeSet({', '.join(map(str, self))})"

    def add(self, piece: Range) -> None:
        """Put `piece` in; ValueError when any of it is there already."""
        at = bisect_right(self._los, piece.lo)
        overlaps_left = at > 0 and self._his[at - 1] > piece.lo
        overlaps_right = at < len(self._los) and self._los[at] < piece.hi
        if overlaps_left or overlaps_right:
            raise ValueError(f"{piece} is in {self!r} already, in whole or in part")
        joins_left = at > 0 and self._his[at - 1] == piece.lo
        joins_right = at < len(self._los) and self._los[at] == piece.hi
        if joins_left and joins_right:
            self._his[at - 1] = self._his[at]
            del self._los[at], self._his[at]
        elif joins_left:
            self._his[at - 1] = piece.hi
        elif joins_right:
            self._los[at] = piece.lo
        else:
            self._los.insert(at, piece.lo)
            self._his.insert(at, piece.hi)
        self._size += piece.hi - piece.lo

    def remove(self, piece: Range) -> None:
        """Take every integer of `piece` out, whether or not all of them are there."""
        first = bisect_right(self._his, piece.lo)
        last = bisect_left(self._los, piece.hi)
        if first >= last:
            return
        keep: list[tuple[int, int]] = []
        if self._los[first] < piece.lo:
            keep.append((self._los[first], piece.lo))
        if self._his[last - 1] > piece.hi:
            keep.append((piece.hi, self._his[last - 1]))
        gone = sum(
            hi - lo for lo, hi in zip(self._los[first:last], self._his[first:last], strict=True)
        )
        self._size += sum(hi - lo for lo, hi in keep) - gone
        self._los[first:last] = [lo for lo, _ in keep]
        self._his[first:last] = [hi for _, hi in keep]

    def take(self, units_max: int) -> Range:
        """Take up to `units_max` integers off the front, never across a gap.

        Raises IndexError on an empty set, ValueError when `units_max` is not positive.
        """
        if units_max < 1:
            raise ValueError(f"cannot take {units_max} integers")
        piece = Range(self._los[0], min(self._his[0], self._los[0] + units_max))
        if piece.hi == self._his[0]:
            del self._los[0], self._his[0]
        else:
            self._los[0] = piece.hi
        self._size -= piece.hi - piece.lo
        return piece
