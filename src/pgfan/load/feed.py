"""Sources lined up as one domain, as the scheduler counts it.

Sources that one COPY command understands (the same columns, options and line ends) are a group: a
chunk may reach over many small files, and never over two groups.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from pgfan.load.advice import advice_for
from pgfan.load.binary_copy import SIGNATURE, TRAILER
from pgfan.load.record_index import RecordIndex
from pgfan.load.records import record_scanner
from pgfan.load.sources import CountsRows, FileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfan.errors import DatabaseError
    from pgfan.load.sources import Source
    from pgfan.plan.ranges import Range

_CONTEXT = re.compile(r"COPY .*?, line (\d+)(?:, column (.*?))?(?:: \"(.*)\")?$", re.MULTILINE)
VALUE_CHARS_MAX = 200


def line_of(error: DatabaseError) -> int | None:
    """The line of the COPY that the server refused, from 1; None when it names none."""
    found = _CONTEXT.search(error.context or "")
    return int(found[1]) if found is not None else None


class Feed:
    """The records of any range of the domain. Implements `pgfan.ports.Feed`."""

    def __init__(
        self,
        groups: Sequence[Sequence[Source]],
        *,
        whole: bool = False,
        hint: Callable[[str, str], str | None] | None = None,
        advice: str | None = None,
    ) -> None:
        """`groups` in the order of the domain. `whole`: a group is one unit, and so one COPY.

        `hint`: what to do about a column that refused a value; `advice`: about any bad row.
        """
        self._whole = whole
        self._hint = hint
        self._advice = advice
        self._sources = [source for group in groups for source in group]
        pieces = [source.pieces for source in self._sources]
        self._begins = [0, *accumulate(pieces)]
        ends = list(accumulate(len(group) for group in groups))
        self._group_ends = [0, *(self._begins[end] for end in ends)]
        sizes = zip(self._group_ends[:-1], self._group_ends[1:], strict=True)
        self.parts = tuple(1 if whole else hi - lo for lo, hi in sizes)
        """Units in each group."""

    def blocks(self, piece: Range) -> Iterator[bytes]:
        """See `pgfan.ports.Feed`. Raises FileError."""
        shares = list(self._shares(piece))
        is_binary = any(source.copy_options.format == "binary" for source, _, _ in shares)
        if is_binary:
            yield SIGNATURE
        for source, lo, hi in shares:
            yield from source.stream(lo, hi)
        if is_binary:
            yield TRAILER

    def place(self, piece: Range, line: int) -> str:
        """The file and the line in it of the `line`-th line of `blocks(piece)`, from 1."""
        shares = list(self._shares(piece))
        for source, lo, hi in shares[:-1]:
            lines = _lines(source, lo, hi)
            if line <= lines:
                return source.place(lo, line)
            line -= lines
        source, lo, _ = shares[-1]
        return source.place(lo, line)

    def explained(self, piece: Range, error: DatabaseError) -> DatabaseError:
        """See `pgfan.ports.Feed`."""
        error.statement_offset = None
        found = _CONTEXT.search(error.context or "")
        if found is None:
            return error
        try:
            place = self.place(piece, int(found[1]))
        except FileError:
            return error
        what = f", column {found[2]}" if found[2] else ""
        value = f": {found[3][:VALUE_CHARS_MAX]!r}" if found[3] is not None else ""
        error.message = f"{place}{what}{value}: {error.message}"
        error.args = (error.message,)
        if self._hint is not None and found[2] and found[3] is not None:
            error.hint = self._hint(found[2], found[3])
            if error.hint is not None:
                return error
        if self._advice is not None:
            own = advice_for(error, found[3], next(self._shares(piece))[0].copy_options)
            error.hint = own or error.hint or self._advice
        return error

    def records(self, piece: Range) -> RecordIndex:
        """See `pgfan.ports.Feed`."""
        source = next(self._shares(piece))[0]
        if source.copy_options.format == "binary":
            raise FileError(f"{source.name}: rows of this format cannot be put aside one by one")
        scanner = record_scanner(source.copy_options, source.line_end)
        return RecordIndex(scanner, self.blocks(piece))

    def names(self, piece: Range) -> list[str]:
        """The files that a range has records of."""
        return [source.name for source, _, _ in self._shares(piece)]

    def _shares(self, piece: Range) -> Iterator[tuple[Source, int, int]]:
        lo, hi = piece.lo, piece.hi
        if self._whole:
            lo, hi = self._group_ends[lo], self._group_ends[hi]
        at = bisect_right(self._begins, lo) - 1
        while at < len(self._sources) and self._begins[at] < hi:
            begin, source = self._begins[at], self._sources[at]
            yield source, max(0, lo - begin), min(source.pieces, hi - begin)
            at += 1


def _lines(source: Source, lo: int, hi: int) -> int:
    """How many lines, or in a binary COPY rows, the server has counted after stream(lo, hi)."""
    if isinstance(source, CountsRows) and source.copy_options.format == "binary":
        return source.rows(lo, hi)
    last = source.line_end[-1:]
    return sum(block.count(last) for block in source.stream(lo, hi))
