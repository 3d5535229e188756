"""The folder of an unload: a file for each chunk, and a manifest when all of them are there.

A file has its name only when it is whole, and the manifest is the last to come: a folder without
one is of an unload that did not end. Names go by the place of the chunk in the domain, so a chunk
that is run again, whole or in halves, replaces what it left behind.
"""

from __future__ import annotations

import json
import os
import re
import threading
from typing import TYPE_CHECKING, Any

from msgspec import Struct, to_builtins

from pgfan.errors import UsageError
from pgfan.load.sources import IO_ERROR, FileError
from pgfan.unload.rows import writer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfan.plan.ranges import Range
    from pgfan.unload.rows import RowFormat, RowWriter

MANIFEST = "manifest.json"
PARTIAL = ".partial"
_OURS = re.compile(r"part-\d+\.(?:csv|parquet)(?:\.partial)?|manifest\.json(?:\.partial)?")


class WrittenFile(Struct, frozen=True):
    """A file of the manifest."""

    file: str
    rows: int
    bytes: int


class Folder:
    """Implements `pgfan.ports.Sink`. Used by several threads at once."""

    def __init__(self, path: Path, format_: RowFormat) -> None:
        """The folder is made when `clear` is called."""
        self.path = path
        self._format = format_
        self._digits = 1
        self._files: dict[int, WrittenFile] = {}
        self._lock = threading.Lock()

    def clear(self, *, overwrite: bool) -> None:
        """Make the folder, or see that it is empty. Raises UsageError.

        `overwrite`: files that an unload has written are deleted; others are still refused.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            names = sorted(entry.name for entry in self.path.iterdir())
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from error
        if names and not overwrite:
            raise UsageError(
                f"{self.path} is not empty: it has {names[0]}",
                hint="name another folder; --overwrite deletes the files of an earlier unload",
            )
        others = [name for name in names if not _OURS.fullmatch(name)]
        if others:
            raise UsageError(
                f"{self.path} has {others[0]}, which no unload wrote", hint="name another folder"
            )
        for name in names:
            (self.path / name).unlink()

    def expect(self, total: int) -> None:
        """There will be chunks in [0, `total`): names get so many digits."""
        self._digits = max(len(str(total - 1)), 1)

    def write(self, piece: Range, rows: Callable[[Callable[[bytes], None]], int]) -> int:
        """The file of a chunk. `rows` hands them to what it is given, and says how many they were.

        Raises FileError when the file cannot be written; whatever `rows` raises leaves no file.
        """
        name = f"part-{piece.lo:0{self._digits}}.{self._format.suffix}"
        partial = self.path / (name + PARTIAL)
        try:
            with open(partial, "wb") as file:  # noqa: PTH123
                writer: RowWriter = writer_of(self._format, file)
                try:
                    count = rows(writer.take)
                    writer.flush()
                finally:
                    writer.close()
                size = file.tell()
            os.replace(partial, self.path / name)  # noqa: PTH105
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise FileError(f"{partial}: {error.strerror}", sqlstate=IO_ERROR) from error
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        with self._lock:
            self._files[piece.lo] = WrittenFile(name, count, size)
        return count

    def finish(self) -> None:
        """Write the manifest. Raises FileError."""
        partial = self.path / (MANIFEST + PARTIAL)
        try:
            partial.write_text(json.dumps(self.to_json(), indent=2) + "\n")
            partial.replace(self.path / MANIFEST)
        except OSError as error:
            raise FileError(
                f"{self.path / MANIFEST}: {error.strerror}", sqlstate=IO_ERROR
            ) from error

    def to_json(self) -> dict[str, Any]:
        """The manifest."""
        files = list(self._in_order())
        return {
            "schema": 1,
            "format": self._format.suffix,
            "columns": [to_builtins(column) for column in self._format.columns],
            "rows": sum(file.rows for file in files),
            "files": [to_builtins(file) for file in files],
        }

    def _in_order(self) -> Iterator[WrittenFile]:
        yield from (self._files[lo] for lo in sorted(self._files))
