"""Files that COPY TO wrote in its binary format: one piece each, the header looked at here.

The rows are sent as they are. What is around them, the signature and the trailer, is taken off:
whoever sends several files in one COPY puts them around all. See "COPY", Binary Format.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.load.copy_options import CopyOptions
from pgfan.load.sources import BLOCK_BYTES, IO_ERROR, FileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.load.sources import Identity

MAGIC = b"PGCOPY\n\xff\r\n\0"
SIGNATURE = MAGIC + bytes(8)
"""No flags, no header extension."""
TRAILER = b"\xff\xff"
OPTIONS = CopyOptions("binary", header=False)
_HEADER = struct.Struct(">11sII")
_HAS_OIDS = 1 << 16
_CRITICAL = 0xFFFF0000
"""Flags that a reader must know, or refuse the file."""


class BinaryCopyFile(Struct, frozen=True):
    """Implements `pgfan.load.sources.Source`."""

    identity: Identity
    pieces: int = 1
    columns: tuple[str, ...] | None = None
    copy_options: CopyOptions = OPTIONS
    line_end: bytes = b"\n"

    @property
    def name(self) -> str:
        """See Source."""
        return self.identity.path

    def stream(self, lo: int, hi: int) -> Iterator[bytes]:
        """See Source; without signature and trailer."""
        if lo >= hi:
            return
        try:
            with open(self.name, "rb", buffering=0) as file:  # noqa: PTH123
                at, end = self._begin(file.read(_HEADER.size)), self.identity.size - len(TRAILER)
                if at > end or os.pread(file.fileno(), len(TRAILER), end) != TRAILER:
                    raise FileError(f"{self.name} has no trailer: it is not complete")
                while at < end:
                    block = os.pread(file.fileno(), min(BLOCK_BYTES, end - at), at)
                    if not block:
                        raise FileError(f"{self.name} became shorter while it was read")
                    yield block
                    at += len(block)
                if os.fstat(file.fileno()).st_mtime_ns != self.identity.mtime_ns:
                    raise FileError(f"{self.name} was changed while it was loaded")
        except OSError as error:
            raise FileError(f"{self.name}: {error.strerror}", sqlstate=IO_ERROR) from error

    def place(self, lo: int, line: int) -> str:
        """See Source: the row, from 1."""
        del lo
        return f"{self.name}: row {line}"

    def _begin(self, header: bytes) -> int:
        """Where the rows begin."""
        if len(header) < _HEADER.size or not header.startswith(MAGIC):
            raise FileError(f"{self.name} does not begin like a file of COPY's binary format")
        _, flags, extension = _HEADER.unpack(header)
        if flags & _CRITICAL:
            what = "has OIDs, from a server before 12" if flags & _HAS_OIDS else "has unknown flags"
            raise FileError(f"{self.name} {what}", hint="write it again with COPY TO")
        return _HEADER.size + int(extension)
