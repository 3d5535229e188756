"""CSV and text files on disk: cut into pieces of equal length, on the ends of records.

The records of piece k are those after the first record's end at or behind byte k * piece_bytes of
the data. To find it the scanner's state there must be known: for CSV from every byte before, which
are read once, ahead of the workers, and then are in the page cache when they are sent; for text
from the last few bytes. The state at the beginning of each piece is kept, one byte for each.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.load import marker
from pgfan.load.advice import UTF16
from pgfan.load.line_ends import refuse_other_line_end
from pgfan.load.records import OUTSIDE, CsvScanner, fields_of, scanner_of
from pgfan.load.sources import BLOCK_BYTES, IO_ERROR, FileError, Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfan.load.copy_options import CopyOptions

PIECE_BYTES = 1_000_000
LOOK_BYTES = 1 << 14
LINE_BYTES_MAX = 1 << 26
"""How far a file's first line end is looked for."""
HEADER_BYTES_MAX = 1 << 20
"""1,600 names of 63 characters of 4 bytes, and what is around them, are less."""
UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class Reading(Struct, frozen=True):
    r"""How files are read. `has_header` is asked with the fields of a file's first record.

    `marker_ends`: whether the server takes the line `\.` for the end of the data.
    """

    options: CopyOptions
    has_header: Callable[[list[str]], bool]
    marker_ends: bool = True
    piece_bytes: int = PIECE_BYTES
    kind: str | None = None
    """A format that is none of COPY's, as told; see `pgfan.load.formats`."""
    widths: tuple[int, ...] = ()
    """Of columns, in characters; for fixed width."""
    layer: str | None = None
    """Of a geographic file."""


class Beginning(Struct, frozen=True):
    """What the first bytes of a file say: where its data begins, and the names of the columns."""

    start: int
    columns: tuple[str, ...] | None
    terminator: bytes


def read_beginning(name: str, reading: Reading, look: Callable[[int], bytes]) -> Beginning:
    """Look at a file's byte order mark and header. `look` gives its first so many bytes."""
    options, size = reading.options, LOOK_BYTES
    while True:
        head = look(size)
        start = _after_mark(name, options, head)
        scanner = scanner_of(options, head[start:])
        end = scanner.end(OUTSIDE, head, start)
        if end >= 0 and end < len(head):  # the byte behind a CR decides what it is
            break
        if len(head) < size or size >= LINE_BYTES_MAX:
            end = end if end >= 0 else len(head)
            break
        size *= 4
    if options.header is False or end == start:
        return Beginning(start, None, scanner.terminator)
    if end - start > HEADER_BYTES_MAX:
        if options.header:
            raise FileError(
                f"{name}:1: the header has more than a megabyte",
                hint="is a quote in it never closed? --no-header, where there is none",
            )
        return Beginning(start, None, scanner.terminator)
    try:
        fields = fields_of(options, head[start:end])
    except UnicodeDecodeError as error:
        raise FileError(
            f"{name}:1: the first line is not {options.encoding or 'UTF8'}: {error.reason}",
            hint="--encoding says in which encoding the file is, as COPY's ENCODING does",
        ) from error
    if not reading.has_header(fields):
        return Beginning(start, None, scanner.terminator)
    return Beginning(end, tuple(fields), scanner.terminator)


def _after_mark(name: str, options: CopyOptions, head: bytes) -> int:
    if head.startswith(UTF16_BOMS) or b"\0\0" in {head[:4:2], head[1:4:2]}:
        raise FileError(f"{name} is UTF-16, which PostgreSQL does not read", hint=UTF16)
    utf8 = (options.encoding or "UTF8").upper().replace("-", "") in {"UTF8", "UNICODE"}
    return len(UTF8_BOM) if utf8 and head.startswith(UTF8_BOM) else 0


class DelimitedFile:
    """Implements `pgfan.load.sources.Source`."""

    def __init__(self, identity: Identity, reading: Reading) -> None:
        """Read the beginning of the file. Raises FileError."""
        self.identity = identity
        self.name = identity.path
        self.copy_options = reading.options
        with self._open() as fd:
            begins = read_beginning(
                self.name, reading, lambda size: os.pread(fd, min(size, identity.size), 0)
            )
        self.columns = begins.columns
        self._marker_ends = reading.marker_ends
        self.line_end = begins.terminator
        self._scanner = scanner_of(reading.options, begins.terminator, identity.size)
        self._start, self._size = begins.start, identity.size
        whole = not reading.options.can_be_cut
        self._piece_bytes = max(1, self._size) if whole else reading.piece_bytes
        self.pieces = max(1, -(-(self._size - self._start) // self._piece_bytes))
        self._states = bytearray(1)
        self._lines_before: dict[int, int] = {}
        """Before pieces that were asked about: all bad rows of a chunk ask about the same."""
        self._lock = threading.Lock()

    def stream(self, lo: int, hi: int) -> Iterator[bytes]:
        """See Source."""
        with self._open() as fd:
            at, end = self._boundary(fd, lo), self._boundary(fd, hi)
            first, last, at_end = at, b"", end >= self._size
            while at < end:
                block = self._block(fd, at, end)
                if at == first:
                    refuse_other_line_end(self.name, self.copy_options, self._scanner, block)
                cut = self._marker(fd, block, at, first=at == first)
                if cut >= 0:
                    after = at + cut + len(marker.MARKER)
                    more = min(self._size, after + BLOCK_BYTES)
                    marker.refuse_after(self.name, self._read(fd, after, more))
                    block, end, at_end = block[:cut], at, False
                at += len(block)
                if block:
                    yield block
                    last = block
            complete = not at_end or not last or self._ends_line(fd)
            if not complete:
                yield self._scanner.terminator
            self._check_unchanged(fd, complete=complete)

    def place(self, lo: int, line: int) -> str:
        """See Source."""
        if lo not in self._lines_before:
            with self._open() as fd:
                at, end, before = 0, self._boundary(fd, lo), 0
                while at < end:
                    block = self._read(fd, at, min(end, at + BLOCK_BYTES))
                    before += block.count(self._scanner.terminator[-1:])
                    at += len(block)
            self._lines_before[lo] = before
        return f"{self.name}:{self._lines_before[lo] + line}"

    # Cuts ---------------------------------------------------------------------------------------

    def _boundary(self, fd: int, piece: int) -> int:
        """Where the records of `piece` begin."""
        at = self._start + piece * self._piece_bytes
        if piece <= 0:
            return min(self._start, self._size)
        if piece >= self.pieces:
            return self._size
        state = self._state_at(fd, piece)
        while at < self._size:
            block = self._read(fd, at, min(self._size, at + LOOK_BYTES))
            end = self._scanner.end(state, block)
            if end >= 0:
                return at + end
            state = self._scanner.advance(state, block)
            at += len(block)
        return self._size

    def _state_at(self, fd: int, piece: int) -> int:
        """The scanner's state at the beginning of `piece`."""
        if not isinstance(self._scanner, CsvScanner):
            return self._state_nearby(fd, self._start + piece * self._piece_bytes)
        with self._lock:
            while len(self._states) <= piece:
                at = self._start + (len(self._states) - 1) * self._piece_bytes
                state, end = self._states[-1], min(self._size, at + self._piece_bytes)
                while at < end:
                    block = self._read(fd, at, min(end, at + BLOCK_BYTES))
                    state = self._scanner.advance(state, block)
                    at += len(block)
                self._states.append(state)
            return self._states[piece]

    def _state_nearby(self, fd: int, at: int) -> int:
        """The state at a byte of a text file: what counts is the backslashes before it."""
        size = LOOK_BYTES
        while True:
            begin = max(self._start, at - size)
            block = self._read(fd, begin, at)
            if begin == self._start or block.strip(b"\\"):
                return self._scanner.advance(OUTSIDE, block)
            size *= 4

    def _state_here(self, fd: int, at: int) -> int:
        """The state at any byte."""
        piece = min(self.pieces - 1, (at - self._start) // self._piece_bytes)
        begin, state = self._start + piece * self._piece_bytes, self._state_at(fd, piece)
        return self._scanner.advance(state, self._read(fd, begin, at))

    # Bytes --------------------------------------------------------------------------------------

    @contextmanager
    def _open(self) -> Iterator[int]:
        try:
            fd = os.open(self.identity.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise FileError(f"{self.name}: {error.strerror}", sqlstate=IO_ERROR) from error
        try:
            yield fd
        finally:
            os.close(fd)

    def _read(self, fd: int, begin: int, end: int) -> bytes:
        """Exactly the bytes [begin, end). Raises FileError when the file has become shorter."""
        try:
            found = os.pread(fd, end - begin, begin)
            while len(found) < end - begin:
                more = os.pread(fd, end - begin - len(found), begin + len(found))
                if not more:
                    raise FileError(f"{self.name} became shorter while it was read")
                found += more
        except OSError as error:
            raise FileError(f"{self.name}: {error.strerror}", sqlstate=IO_ERROR) from error
        return found

    def _block(self, fd: int, at: int, end: int) -> bytes:
        block = self._read(fd, at, min(end, at + BLOCK_BYTES))
        while self._marker_ends and marker.splits_marker(block) and at + len(block) < end:
            more = at + len(block)
            block += self._read(fd, more, min(end, more + LOOK_BYTES))
        return block

    def _marker(self, fd: int, block: bytes, at: int, *, first: bool) -> int:
        """Where in the block at byte `at` the data ends; -1: nowhere."""
        if not self._marker_ends or b"\\" not in block or marker.MARKER not in block:
            return -1
        csv = isinstance(self._scanner, CsvScanner)
        state = OUTSIDE if first else self._state_here(fd, at)
        begins = first or self._read(fd, at - 1, at) in {b"\r", b"\n"}
        return marker.find_marker(self._scanner, state, block, csv=csv, begins=begins)

    # Checks -------------------------------------------------------------------------------------

    def _ends_line(self, fd: int) -> bool:
        """Whether the file's last record has a line end. Raises FileError for half a record."""
        last = self._read(fd, self._size - 1, self._size)
        before = self._state_here(fd, self._size - 1)
        if self._scanner.advance(before, last) != OUTSIDE:
            csv = isinstance(self._scanner, CsvScanner)
            raise FileError(
                f"{self._last_place(fd)}: unterminated CSV quoted field: a quote in the record "
                "that begins here, or in one before, was never closed"
                if csv
                else f"{self.name} ends in a backslash: its last line is not complete"
            )
        return before == OUTSIDE and last == self._scanner.terminator[-1:]

    def _last_place(self, fd: int) -> str:
        """Where the last record begins."""
        piece = self.pieces - 1
        while piece and self._boundary(fd, piece) == self._size:
            piece -= 1
        at, last = self._boundary(fd, piece), self.line_end[-1:]
        state, lines, begins = OUTSIDE, 0, 1
        while at < self._size:
            block, begin = self._read(fd, at, min(self._size, at + BLOCK_BYTES)), 0
            while (end := self._scanner.end(state, block, begin)) >= 0:
                lines += block.count(last, begin, end)
                begins, begin, state = lines + 1, end, OUTSIDE
            state = self._scanner.advance(state, block[begin:])
            lines += block.count(last, begin)
            at += len(block)
        return self.place(piece, begins)

    def _check_unchanged(self, fd: int, *, complete: bool) -> None:
        now = os.fstat(fd)
        grown = now.st_size > self._size
        if now.st_size < self._size or (not grown and now.st_mtime_ns != self.identity.mtime_ns):
            raise FileError(f"{self.name} was changed while it was loaded")
        if grown and not complete:
            raise FileError(
                f"{self.name} grows while it is loaded, and ended in the middle of a line",
                hint="begin anew with --restart when its last line is complete",
            )
