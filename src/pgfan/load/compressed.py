"""Compressed CSV and text: one stream, decompressed once and dealt out to many connections.

Piece k is what the decompressor puts out for bytes [k * P, (k + 1) * P) of the compressed file, so
that the number of pieces is known at once, and where they lie as soon as the stream has come there.
Pieces are taken in ascending order, as the scheduler hands them out: each worker in turn moves the
stream on by its own pieces, keeps what came out (in memory, or in a temporary file when it is
much), and sends it while the next one decompresses. A worker that comes back to pieces before,
after an error, begins the stream anew.
"""

from __future__ import annotations

import os
import tempfile
import threading
import zlib
from typing import TYPE_CHECKING

from pgfan.load import marker
from pgfan.load.delimited import read_beginning
from pgfan.load.records import OUTSIDE, CsvScanner, scanner_of
from pgfan.load.sources import BLOCK_BYTES, IO_ERROR, FileError, Identity

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pgfan.load.delimited import Reading
    from pgfan.load.packing import Packing

PIECE_BYTES = 1 << 17
MEMORY_BYTES = 24 << 20
"""What one worker keeps in memory; the rest of its pieces goes to a temporary file."""
TURN_WAIT_S = 0.5
"""How long to wait for whoever has the pieces before; then they are skipped."""


class CompressedFile:
    """Implements `pgfan.load.sources.Source`; `member` is the name of a file in an archive."""

    def __init__(
        self, identity: Identity, reading: Reading, packing: Packing, member: str | None = None
    ) -> None:
        """Decompress the beginning. Raises FileError."""
        self.identity = identity
        self.name = identity.path if member is None else f"{identity.path}:{member}"
        self.copy_options = reading.options
        self._packing = packing
        self._marker_ends = reading.marker_ends
        self._piece_bytes = min(PIECE_BYTES, max(1, reading.piece_bytes))
        self.pieces = max(1, -(-(packing.end - packing.begin) // self._piece_bytes))
        if not reading.options.can_be_cut:
            self.pieces = 1
            self._piece_bytes = max(1, packing.end - packing.begin)
        begins = read_beginning(self.name, reading, self._look)
        self.columns = begins.columns
        self._begins = begins
        self.line_end = begins.terminator
        self._scanner = scanner_of(reading.options, begins.terminator)
        self._turn = threading.Condition()
        self._flow: _Flow | None = None

    def stream(self, lo: int, hi: int) -> Iterator[bytes]:
        """See Source."""
        with tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES) as kept:
            with self._turn:
                self._turn.wait_for(lambda: self._place() >= lo, TURN_WAIT_S)
                try:
                    for block in self._flow_at(lo).records(hi):
                        kept.write(block)
                except BaseException:
                    self._drop()
                    raise
                if hi >= self.pieces:
                    self._drop()
                self._turn.notify_all()
            kept.seek(0)
            while block := kept.read(BLOCK_BYTES):
                yield block

    def place(self, lo: int, line: int) -> str:
        """See Source."""
        flow = _Flow(self)
        last = self._scanner.terminator[-1:]
        try:
            before = flow.skipped.count(last)
            before += sum(block.count(last) for block in flow.records(lo)) if lo else 0
        finally:
            flow.close()
        return f"{self.name}:{before + line}"

    def _place(self) -> int:
        return self._flow.piece if self._flow is not None else 0

    def _flow_at(self, piece: int) -> _Flow:
        if self._flow is not None and self._flow.piece > piece:
            self._drop()
        if self._flow is None:
            self._flow = _Flow(self)
        if self._flow.piece < piece:
            for _ in self._flow.records(piece):
                pass
        return self._flow

    def _drop(self) -> None:
        if self._flow is not None:
            self._flow.close()
            self._flow = None

    def _look(self, size: int) -> bytes:
        """The first `size` bytes that come out."""
        found = b""
        for block in _inflated(self.name, self.identity, self._packing, self._piece_bytes):
            found += block
            if len(found) >= size:
                break
        return found[:size]


class _Flow:
    """The stream at the beginning of `piece`'s records, and what came out beyond."""

    def __init__(self, file: CompressedFile) -> None:
        self.piece = 0
        self._file = file
        self._blocks = _inflated(file.name, file.identity, file._packing, file._piece_bytes)
        self._rest = b""
        self._at = 0
        self._ends: list[int] = [0]
        """Where in the output the pieces that came out begin, and the end of the last of them."""
        self._state = OUTSIDE
        """The scanner's at `_at`."""
        self._begins_line = True
        self._over = False
        while len(self._rest) < file._begins.start and self._more():
            pass
        self.skipped = self._take(file._begins.start)

    def close(self) -> None:
        """Let go of the file."""
        self._blocks.close()

    def records(self, hi: int) -> Iterator[bytes]:
        """The records of pieces [piece, hi), and move on behind them."""
        file, scanner = self._file, self._file._scanner
        while len(self._ends) <= hi and not self._over:  # all that came out is before piece `hi`
            held = marker.MARKER_BYTES if marker.splits_marker(self._rest) else 0
            yield from self._emit(max(0, len(self._rest) - held))
            self._more()
        if hi >= file.pieces or self._over:
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
        self._begins_line = True

    def _finish(self) -> Iterator[bytes]:
        """All that is left of the file, with the line end that may be missing."""
        while self._more():
            pass
        yield from self._emit(len(self._rest))
        if self._state != OUTSIDE:
            raise FileError(f"{self._file.name}: unterminated field at the end of the file")
        if not self._begins_line:
            self._begins_line = True
            yield self._file._scanner.terminator

    def _emit(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes of what came out, looked at for the marker."""
        file, block = self._file, self._take(size)
        if file._marker_ends and marker.MARKER in block:
            csv = isinstance(file._scanner, CsvScanner)
            begins = not csv or self._begins_line
            found = marker.find_marker(file._scanner, self._state, block, csv=csv, begins=begins)
            if found >= 0:
                rest = block[found + len(marker.MARKER) :] + self._rest
                while self._more() and len(rest) < BLOCK_BYTES:
                    rest += self._rest
                marker.refuse_after(file.name, rest)
                block, self._rest, self._over = block[:found], b"", True
        if block:
            before, last = file._scanner.advance(self._state, block[:-1]), block[-1:]
            self._state = file._scanner.advance(before, last)
            self._begins_line = before == OUTSIDE and last == self._file.line_end[-1:]
            yield block

    def _take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        self._at += len(taken)
        return taken

    def _more(self) -> bool:
        """Decompress one piece more; False at the end."""
        block = None if self._over else next(self._blocks, None)
        if block is None:
            self._over = True
            return False
        self._rest += block
        self._ends.append(self._ends[-1] + len(block))
        return True


def _inflated(
    name: str, identity: Identity, packing: Packing, piece_bytes: int
) -> Generator[bytes]:
    """The output for each piece of the compressed bytes, which may be empty. Raises FileError."""
    inflater, crc, fed = packing.decompressor(), 0, False
    try:
        with open(identity.path, "rb", buffering=0) as file:  # noqa: PTH123
            fd = file.fileno()
            for at in range(packing.begin, packing.end, piece_bytes):
                data = os.pread(fd, min(piece_bytes, packing.end - at), at)
                if len(data) < min(piece_bytes, packing.end - at):
                    raise FileError(f"{name} became shorter while it was read")
                out = b""
                while data:
                    if inflater.eof:
                        if not packing.joins or not data.strip(b"\0"):
                            break  # padding
                        inflater, fed = packing.decompressor(), False
                    out += inflater.decompress(data)
                    fed = True
                    data = (inflater.unused_data or b"") if inflater.eof else b""
                crc = zlib.crc32(out, crc) if packing.crc is not None else 0
                yield out
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
    if now.st_size < identity.size or now.st_mtime_ns != identity.mtime_ns:
        raise FileError(f"{name} was changed while it was loaded")
