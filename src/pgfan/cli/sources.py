"""Where the SQL of a command comes from: -c, -f or standard input, and psql variables for it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pgfan.errors import UsageError

if TYPE_CHECKING:
    from pgfan.api import Source


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
        from pgfan.reading.texts import decoded, read_source

        sources = [Source("-c", text) for text in self.command]
        sources += [read_source(path) for path in self.file]
        if not sources:
            if sys.stdin.isatty():
                raise UsageError("no SQL: give -c SQL, -f FILE, or standard input")
            sources.append(decoded("<stdin>", sys.stdin.buffer.read()))
        return sources
