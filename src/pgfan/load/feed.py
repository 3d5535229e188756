"""Sources lined up as one domain, as the scheduler counts it.

Sources that one COPY command understands (the same table, columns and options) are one part: a
chunk may reach over many small files, and never over two commands.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.load.sources import Source
    from pgfan.plan.ranges import Range


class Feed:
    """The records of any range of the domain. Used by several threads at once."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """`sources` in the order of the domain."""
        self.sources = tuple(sources)
        ends = list(accumulate(source.pieces for source in sources))
        self._begins = [0, *ends[:-1]]
        self.total = ends[-1]

    def blocks(self, piece: Range) -> Iterator[bytes]:
        """The bytes of the COPY for `piece`. Raises FileError."""
        for source, lo, hi in self._shares(piece):
            yield from source.stream(lo, hi)

    def place(self, piece: Range, line: int) -> str:
        """The file and the line in it of the `line`-th line of `blocks(piece)`, from 1."""
        shares = list(self._shares(piece))
        for source, lo, hi in shares[:-1]:
            last = source.line_end[-1:]
            lines = sum(block.count(last) for block in source.stream(lo, hi))
            if line <= lines:
                return source.place(lo, line)
            line -= lines
        source, lo, _ = shares[-1]
        return source.place(lo, line)

    def _shares(self, piece: Range) -> Iterator[tuple[Source, int, int]]:
        at = bisect_right(self._begins, piece.lo) - 1
        while at < len(self.sources) and self._begins[at] < piece.hi:
            begin, source = self._begins[at], self.sources[at]
            yield source, max(0, piece.lo - begin), min(source.pieces, piece.hi - begin)
            at += 1
