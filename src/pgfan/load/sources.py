"""What a file must be able to do to be loaded in parallel, exactly once.

A source is cut into pieces, numbered from 0. Which records belong to pieces [lo, hi) never depends
on how the pieces are grouped: the records of [a, b) and [b, c) are those of [a, c), in this order.
That is all that the scheduler, the journal and a resume need; where the cuts lie is known to the
source alone, and it may find them as late as it likes. A source that cannot be cut has one piece.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from msgspec import Struct, to_builtins

from pgfan.errors import DatabaseError, ResumeRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.load.copy_options import CopyOptions

BLOCK_BYTES = 1 << 18
"""What is read and sent at once."""
SAMPLE_BYTES = 1 << 16
"""What is hashed at the beginning and at the end of a file."""
BAD_COPY_FILE = "22P04"
IO_ERROR = "58030"


class FileError(DatabaseError):
    """A file cannot be read, or its bytes are no records. A DatabaseError, since COPY fails.

    `sqlstate` is 58030 for the file and 22P04 for its content.
    """

    def __init__(
        self, message: str, *, sqlstate: str = BAD_COPY_FILE, hint: str | None = None
    ) -> None:
        super().__init__(message, sqlstate=sqlstate, hint=hint)


class Identity(Struct, frozen=True):
    """What tells a file from a changed one. `digest`: of its first and last bytes up to `size`."""

    path: str
    size: int
    mtime_ns: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        value: dict[str, Any] = to_builtins(self)
        return value

    @classmethod
    def of(cls, path: str, size: int | None = None) -> Identity:
        """The file as it is now, or its first `size` bytes. Raises FileError."""
        try:
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123  # 10,000 of them
                found = os.fstat(file.fileno())
                size = found.st_size if size is None else min(size, found.st_size)
                head = os.pread(file.fileno(), SAMPLE_BYTES, 0)[:size]
                at = max(len(head), size - SAMPLE_BYTES)
                tail = os.pread(file.fileno(), size - at, at) if at < size else b""
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}", sqlstate=IO_ERROR) from error
        digest = hashlib.blake2b(head + tail, digest_size=16).hexdigest()
        return cls(path, size, found.st_mtime_ns, digest)

    def refuse_if_changed(self) -> None:
        """Raise ResumeRefusedError when the file is not what it was; it may have grown."""
        try:
            now = os.stat(self.path)  # noqa: PTH116  # 10,000 of them
        except OSError as error:
            raise ResumeRefusedError(f"{self.path}: {error.strerror}") from error
        if (now.st_size, now.st_mtime_ns) == (self.size, self.mtime_ns):
            return
        grown = now.st_size > self.size and Identity.of(self.path, self.size).digest == self.digest
        if not grown:
            raise ResumeRefusedError(
                f"{self.path} was changed since the load began",
                hint="put the file back as it was; or begin anew with --restart, when what was "
                "loaded is out of the table",
            )


class Source(Protocol):
    """One file, or one member of an archive. Used by several threads at once."""

    @property
    def name(self) -> str:
        """How it is called in messages: a path, or `archive.zip:member`."""
        ...

    @property
    def identity(self) -> Identity:
        """What the journal keeps; see there."""
        ...

    @property
    def pieces(self) -> int:
        """How many pieces it is cut into: at least 1, and the same whenever the file is."""
        ...

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns in the order of the file; None when it has no header."""
        ...

    @property
    def copy_options(self) -> CopyOptions:
        """The options of the COPY that understands what `stream` yields."""
        ...

    @property
    def line_end(self) -> bytes:
        """LF, CR LF or CR: files that differ in it cannot go into one COPY."""
        ...

    def stream(self, lo: int, hi: int) -> Iterator[bytes]:
        """The records of pieces [lo, hi), in blocks of any size but not empty.

        Ends with a record's end, also where the file does not. Raises FileError, also for a file
        that became shorter or was written to; one that has grown is read to the size it had.
        """
        ...

    def place(self, lo: int, line: int) -> str:
        """Where in the file the `line`-th line (from 1) of stream(lo, ...) is: `data.csv:1204`."""
        ...


@runtime_checkable
class CountsRows(Protocol):
    """A source that knows how many rows its pieces have."""

    def rows(self, lo: int, hi: int) -> int:
        """Rows of pieces [lo, hi)."""
        ...
