"""Where the SQL of a command comes from: -c, -f or standard input, and psql variables for it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pgfan.errors import Position, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfan.api import Source
    from pgfan.sql.program import Program


@Parameter(name="*")
@dataclass(frozen=True)
class Script:
    """What is run, or looked at."""

    # A statement may begin with a comment, which begins with hyphens.
    command: Annotated[
        tuple[str, ...],
        Parameter(name=["-c", "--command"], negative="", allow_leading_hyphen=True),
    ] = ()
    """SQL text; may be given more than once."""
    file: Annotated[
        tuple[Path, ...],
        Parameter(name=["-f", "--file"], negative="", allow_leading_hyphen=True),
    ] = ()
    """A file of SQL; may be given more than once; - is standard input."""
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = ()
    """NAME=VALUE of a psql variable, for -f and standard input."""

    @property
    def variables(self) -> dict[str, str]:
        """The psql variables. Raises UsageError for what is no NAME=VALUE."""
        from pgfan.sql.variables import parse_assignment

        return dict(parse_assignment(text) for text in self.set_)

    def read(self) -> list[Source]:
        """The SQL texts: of -c, then of -f, or else of standard input.

        Raises UsageError for a file that cannot be read or is not UTF-8, and on a terminal.
        """
        from pgfan.api import Source

        sources = [Source("-c", text) for text in self.command]
        sources += [read_source(path) for path in self.file]
        if not sources:
            if sys.stdin.isatty():
                raise UsageError("no SQL: give -c SQL, -f FILE, or standard input")
            sources.append(_decoded("<stdin>", sys.stdin.buffer.read()))
        return sources


def read_program(paths: Sequence[Path], variables: Mapping[str, str]) -> Program:
    """Psql scripts, one after the other; without any, standard input.

    Raises UsageError for a file that cannot be read, and for all that psql or pgfan would refuse.
    """
    from pgfan.sql.program import Program

    sources = [read_source(path) for path in paths or (Path("-"),)]
    return Program.read_psql(sources, variables, read_text)


def read_text(name: str) -> str:
    """The text of a file. Raises UsageError for one that cannot be read or is not UTF-8."""
    return read_source(Path(name)).text


def read_source(path: Path) -> Source:
    """A file of SQL, or standard input for -. Raises UsageError as `read_text`."""
    if str(path) == "-":
        return _decoded("<stdin>", sys.stdin.buffer.read())
    try:
        return _decoded(str(path), path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _decoded(name: str, raw: bytes) -> Source:
    from pgfan.api import Source

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
