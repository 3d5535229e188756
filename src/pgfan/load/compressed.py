"""Compressed CSV and text: one stream, decompressed once and dealt out to many connections.

Piece k is what the decompressor puts out for bytes [k * P, (k + 1) * P) of the compressed file, so
that the number of pieces is known at once, and where they lie as soon as the stream has come there.
Pieces are taken in ascending order, as the scheduler hands them out: each worker in turn moves the
stream on by its own pieces, keeps what came out (in memory, or in a temporary file when it is
much), and sends it while the next one decompresses. A worker that comes back to pieces before,
after an error, begins the stream anew.
"""

from __future__ import annotations

import tempfile
import threading
from typing import TYPE_CHECKING

from pgfan.load.delimited import read_beginning
from pgfan.load.flow import Flow, Layout, Stream, inflated
from pgfan.load.records import scanner_of
from pgfan.load.sources import BLOCK_BYTES, IO_ERROR, FileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Self

    from pgfan.load.delimited import Reading
    from pgfan.load.packing import Packing
    from pgfan.load.sources import Identity

PIECE_BYTES = 1 << 17
MEMORY_BYTES = 24 << 20
"""What one worker keeps in memory; the rest of its pieces goes to a temporary file."""
INFLATION = 4
"""About how much more comes out than goes in, as of gzip."""
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
        piece_bytes = min(PIECE_BYTES, max(1, reading.piece_bytes))
        if not reading.options.can_be_cut:
            piece_bytes = max(1, packing.end - packing.begin)
        self._stream = Stream(self.name, identity, packing, piece_bytes)
        self.pieces = self._stream.pieces
        begins = read_beginning(self.name, reading, self._look)
        self.columns = begins.columns
        self.line_end = begins.terminator
        size = INFLATION * (packing.end - packing.begin)
        scanner = scanner_of(reading.options, begins.terminator, size)
        self._layout = Layout(reading.options, scanner, begins.start, reading.marker_ends)
        self._turn = threading.Condition()
        self._lines_before: dict[int, int] = {}
        """Before pieces that were asked about: all bad rows of a chunk ask about the same."""
        self._flow: Flow | None = None

    def stream(self, lo: int, hi: int) -> Iterator[bytes]:
        """See Source."""
        with _Kept() as kept:
            with self._turn:
                self._turn.wait_for(lambda: self._place() >= lo, TURN_WAIT_S)
                try:
                    for block in self._flow_at(lo).records(hi):
                        kept.add(block)
                except BaseException:
                    self._drop()
                    raise
                if hi >= self.pieces:
                    self._drop()
                self._turn.notify_all()
            yield from kept.blocks()

    def place(self, lo: int, line: int) -> str:
        """See Source."""
        if lo not in self._lines_before:
            flow = Flow(self._stream, self._layout)
            last = self.line_end[-1:]
            try:
                before = flow.skipped.count(last)
                before += sum(block.count(last) for block in flow.records(lo)) if lo else 0
            finally:
                flow.close()
            self._lines_before[lo] = before
        return f"{self.name}:{self._lines_before[lo] + line}"

    def _place(self) -> int:
        return self._flow.piece if self._flow is not None else 0

    def _flow_at(self, piece: int) -> Flow:
        if self._flow is not None and self._flow.piece > piece:
            self._drop()
        if self._flow is None:
            self._flow = Flow(self._stream, self._layout)
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
        found, count = [], 0
        for block, _ in inflated(self._stream):
            found.append(block)
            count += len(block)
            if count >= size:
                break
        return b"".join(found)[:size]


class _Kept:
    """Blocks of bytes: some in memory, as they are, and the rest in a temporary file."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._room = MEMORY_BYTES
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, block: bytes) -> None:
        """Put a block behind the others. Raises FileError."""
        self._room -= len(block)
        if self._room >= 0:
            self._blocks.append(block)
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this object
            self._file.write(block)
            self._file.flush()
        except OSError as error:
            raise FileError(
                f"what comes out of the file goes through {tempfile.gettempdir()}: "
                f"{error.strerror}",
                sqlstate=IO_ERROR,
                hint="TMPDIR names another folder; an uncompressed file needs none",
            ) from error

    def blocks(self) -> Iterator[bytes]:
        """All of them, in order, once."""
        self._blocks.reverse()
        while self._blocks:
            yield self._blocks.pop()
        if self._file is not None:
            self._file.seek(0)
            while block := self._file.read(BLOCK_BYTES):
                yield block
