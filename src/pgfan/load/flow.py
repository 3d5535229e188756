"""A compressed stream as it comes out: pieces in ascending order, cut on the ends of records."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.load import marker
from pgfan.load.line_ends import refuse_other_line_end
from pgfan.load.records import OUTSIDE, CsvScanner
from pgfan.load.sources import BLOCK_BYTES, IO_ERROR, FileError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pgfan.load.copy_options import CopyOptions
    from pgfan.load.packing import Packing
    from pgfan.load.records import Scanner
    from pgfan.load.sources import Identity


PUT_IN_BYTES = 1 << 14


class Stream(Struct, frozen=True):
    """A stretch of a file, compressed, and how finely it is cut."""

    name: str
    identity: Identity
    packing: Packing
    piece_bytes: int

    @property
    def pieces(self) -> int:
        """How many pieces it has: at least 1."""
        return max(1, -(-(self.packing.end - self.packing.begin) // self.piece_bytes))


class Layout(Struct, frozen=True):
    """What comes out: where records end, where the first one begins, and what ends the data."""

    options: CopyOptions
    scanner: Scanner
    start: int
    marker_ends: bool


class Flow:
    """The stream at the beginning of `piece`'s records, and what came out beyond."""

    def __init__(self, stream: Stream, layout: Layout) -> None:
        """Open the file at its first record."""
        self.piece = 0
        self._name = stream.name
        self._pieces = stream.pieces
        self._layout = layout
        self._blocks = inflated(stream)
        self._rest = b""
        self._at = self._out = 0
        self._ends: list[int] = [0]
        """Where in the output the pieces that came out begin, and the end of the last of them."""
        self._state = OUTSIDE
        """The scanner's at `_at`."""
        self._begins_line = True
        self._over = False
        self._begins = True
        """Whether nothing was emitted of the pieces that are asked for."""
        while len(self._rest) < layout.start and self._more():
            pass
        self.skipped = self._take(layout.start)

    def close(self) -> None:
        """Let go of the file."""
        self._blocks.close()

    def records(self, hi: int) -> Iterator[bytes]:
        """The records of pieces [piece, hi), and move on behind them."""
        scanner = self._layout.scanner
        while len(self._ends) <= hi and not self._over:  # all that came out is before piece `hi`
            held = marker.MARKER_BYTES if marker.splits_marker(self._rest) else 0
            yield from self._emit(max(0, len(self._rest) - held))
            self._more()
        if hi >= self._pieces or self._over:
            yield from self._finish()
        else:
            border = self._ends[hi] - self._at
            while border >= 0:
                state = scanner.advance(self._state, self._rest[:border])
                end = scanner.end(state, self._rest, border)
                if end >= 0:
                    yield from self._emit(end)
                    break
                if not self._more():
                    yield from self._finish()
                    break
        self.piece = hi
        self._begins = self._begins_line = True

    def _finish(self) -> Iterator[bytes]:
        """All that is left of the file, with the line end that may be missing."""
        while self._more():
            pass
        yield from self._emit(len(self._rest))
        if self._state != OUTSIDE:
            raise FileError(
                f"{self._name}: unterminated CSV quoted field, or a backslash at the end"
            )
        if not self._begins_line:
            self._begins_line = True
            yield self._layout.scanner.terminator

    def _emit(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes of what came out, looked at for the marker."""
        layout, block = self._layout, self._take(size)
        if layout.marker_ends and marker.MARKER in block:
            csv = isinstance(layout.scanner, CsvScanner)
            begins = not csv or self._begins_line
            found = marker.find_marker(layout.scanner, self._state, block, csv=csv, begins=begins)
            if found >= 0:
                rest = block[found + len(marker.MARKER) :] + self._rest
                while self._more() and len(rest) < BLOCK_BYTES:
                    rest += self._rest
                marker.refuse_after(self._name, rest)
                block, self._rest, self._over = block[:found], b"", True
        if block:
            if self._begins:
                refuse_other_line_end(self._name, layout.options, layout.scanner, block)
                self._begins = False
            before = self._state
            self._state = layout.scanner.advance(before, block)
            ends = self._state == OUTSIDE and block[-1:] == layout.scanner.terminator[-1:]
            if ends and block[-2:-1] == b"\\":  # a line end that belongs to a value, in text
                ends = layout.scanner.advance(before, block[:-1]) == OUTSIDE
            self._begins_line = ends
            yield block

    def _take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        self._at += len(taken)
        return taken

    def _more(self) -> bool:
        """Decompress as much as is held already, or a little; False at the end."""
        held, room = [self._rest], len(self._rest)
        while not self._over and room >= 0:
            found = next(self._blocks, None)
            if found is None:
                self._over = True
                break
            block, ends_piece = found
            held.append(block)
            room -= len(block) + 1
            self._out += len(block)
            if ends_piece:
                self._ends.append(self._out)
        self._rest = b"".join(held)
        return len(held) > 1


def inflated(stream: Stream) -> Generator[tuple[bytes, bool]]:
    """The output in blocks, and whether each is the last of its piece. Raises FileError.

    Little is put in at once: a kilobyte of gzip may become a megabyte.
    """
    packing, name = stream.packing, stream.name
    inflater, crc, fed = packing.decompressor(), 0, False
    try:
        with open(stream.identity.path, "rb", buffering=0) as file:  # noqa: PTH123
            fd = file.fileno()
            for at in range(packing.begin, packing.end, stream.piece_bytes):
                piece = _packed(stream, fd, at)
                for begin in range(0, len(piece), PUT_IN_BYTES):
                    data, out = piece[begin : begin + PUT_IN_BYTES], b""
                    while data:
                        if inflater.eof:
                            if not packing.joins or not data.strip(b"\0"):
                                break  # padding
                            packing.refuse_garbage(name, data)
                            inflater, fed = packing.decompressor(), False
                        out += inflater.decompress(data)
                        fed = True
                        data = (inflater.unused_data or b"") if inflater.eof else b""
                    crc = zlib.crc32(out, crc) if packing.crc is not None else 0
                    yield out, begin + PUT_IN_BYTES >= len(piece)
            now = os.fstat(fd)
    except OSError as error:
        raise FileError(f"{name}: {error.strerror or error}", sqlstate=IO_ERROR) from error
    except Exception as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{name} is not a sound {packing.codec} stream: {error}") from error
    if fed and not inflater.eof and packing.codec != "stored":
        raise FileError(f"{name} is truncated: its {packing.codec} stream has no end")
    if packing.crc is not None and crc != packing.crc:
        raise FileError(f"{name}: its checksum is wrong")
    if now.st_size < stream.identity.size or now.st_mtime_ns != stream.identity.mtime_ns:
        raise FileError(f"{name} was changed while it was loaded")


def _packed(stream: Stream, fd: int, at: int) -> bytes:
    """A piece of the file, at byte `at`, as it is there."""
    size = min(stream.piece_bytes, stream.packing.end - at)
    data = os.pread(fd, size, at)
    if len(data) < size:
        raise FileError(f"{stream.name} became shorter while it was read")
    return data
