"""The records of one chunk, one by one: for finding the bad ones among them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from pgfan.load.records import OUTSIDE
from pgfan.load.sources import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgfan.load.records import Scanner


class RecordIndex:
    """Where each record of some bytes begins, and which lines it is made of as COPY counts."""

    def __init__(self, scanner: Scanner, blocks: Iterable[bytes]) -> None:
        """Holds all of `blocks` in memory: a chunk."""
        self._data = b"".join(blocks)
        self._begins = array("Q", [0])
        self._lines = array("Q", [0])
        """Lines before each record."""
        at, lines, last = 0, 0, scanner.terminator[-1:]
        while at < len(self._data):
            end = scanner.end(OUTSIDE, self._data, at)
            end = end if end >= 0 else len(self._data)
            lines += self._data.count(last, at, end)
            at = end
            self._begins.append(at)
            self._lines.append(lines)

    def __len__(self) -> int:
        return len(self._begins) - 1

    def record_at(self, first: int, line: int) -> int:
        """The record with the `line`-th line, from 1, of the records from `first` on."""
        return bisect_left(self._lines, self._lines[first] + line) - 1

    def last_line(self, record: int) -> int:
        """The last line of a record, from 1, counted from the first record's."""
        return self._lines[record + 1]

    def record(self, record: int) -> bytes:
        """The bytes of one record, with its line end."""
        return self._data[self._begins[record] : self._begins[record + 1]]

    def blocks(self, first: int, end: int) -> Iterator[bytes]:
        """The bytes of records [first, end)."""
        at, stop = self._begins[first], self._begins[end]
        while at < stop:
            yield self._data[at : min(stop, at + BLOCK_BYTES)]
            at += BLOCK_BYTES
