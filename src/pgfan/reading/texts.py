"""Files of SQL as text: UTF-8 or refused, with the place of the byte that is not."""

from __future__ import annotations

import sys
from pathlib import Path

from pgfan.errors import Position, UsageError
from pgfan.sql.program import Source


def read_text(name: str) -> str:
    """The text of a file. Raises UsageError for one that cannot be read or is not UTF-8."""
    return read_source(Path(name)).text


def read_source(path: Path) -> Source:
    """A file of SQL, or standard input for -. Raises UsageError as `read_text`."""
    if str(path) == "-":
        return decoded("<stdin>", sys.stdin.buffer.read())
    try:
        return decoded(str(path), path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def decoded(name: str, raw: bytes) -> Source:
    """Bytes as a source of that name. Raises UsageError for what is not UTF-8."""
    try:
        return Source(name, raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before) - before.rfind(b"\n")
        raise UsageError(
            f"byte 0x{raw[error.start]:02x} is not UTF-8",
            position=Position(name, line, column),
            hint="convert the file: iconv -f LATIN1 -t UTF-8",
        ) from error
