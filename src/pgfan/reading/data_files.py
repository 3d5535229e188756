"""The content of the files that scripts load, as digests.

A file of the size and the time of change that it had is taken to hold what it held: hashing 100 GB
takes minutes. `touch` is enough to have it read again.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MISSING = "missing"
"""In place of the digest of a file that cannot be read: COPY will say why."""


class DataFile(Struct, frozen=True):
    """A file as it was when it was hashed; `changed_ns` is its st_mtime_ns."""

    size_bytes: int
    changed_ns: int
    sha256: str


def look_at(paths: Iterable[str], known: Mapping[str, DataFile]) -> dict[str, DataFile]:
    """The files by these paths; those that are as `known` are not read. Never raises OSError.

    What is no regular file (a pipe) is another one each time: reading it would take its content.
    """
    return {path: _look_at(Path(path), known.get(path)) for path in paths}


def _look_at(path: Path, known: DataFile | None) -> DataFile:
    try:
        found = path.stat()
        size_bytes, changed_ns = found.st_size, found.st_mtime_ns
        if not path.is_file():
            return DataFile(size_bytes, changed_ns, secrets.token_hex(32))
        if known is not None and (known.size_bytes, known.changed_ns) == (size_bytes, changed_ns):
            return known
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return DataFile(0, 0, MISSING)
    return DataFile(size_bytes, changed_ns, digest)
