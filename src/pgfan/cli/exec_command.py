"""`pgfan exec`: statements from -c, -f or standard input, in order, each split where it may be.

Only options and files are handled here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pgfan.cli.options import Display, Running, Target
from pgfan.errors import Position, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.api import Source

# A statement may begin with a comment, which begins with hyphens.
SQL_TEXT = Parameter(name=["-c", "--command"], negative="", allow_leading_hyphen=True)
SQL_FILE = Parameter(name=["-f", "--file"], negative="", allow_leading_hyphen=True)
DEFAULT_TARGET = Target()
DEFAULT_DISPLAY = Display()
DEFAULT_RUNNING = Running()


def exec_(
    *,
    command: Annotated[tuple[str, ...], SQL_TEXT] = (),
    file: Annotated[tuple[Path, ...], SQL_FILE] = (),
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    running: Running = DEFAULT_RUNNING,
    target: Target = DEFAULT_TARGET,
    display: Display = DEFAULT_DISPLAY,
) -> int:
    """Run statements, each split over many connections where that is safe and worth it.

    Statements come from -c, -f or standard input and run in order; a failed one ends the run.
    Run the same command again after an interruption or a crash, and it goes on where it was.

    Parameters
    ----------
    command
        SQL text; may be given more than once.
    file
        A file of SQL; may be given more than once; - is standard input.
    dry_run
        Say of each statement how it would be run, as the database is now; run nothing.
    """
    from pgfan import api
    from pgfan.cli import running as shared

    options = running.to_options(target)
    sources = read_sources(command, file)
    if dry_run:
        with shared.server(target) as dsn:
            return shared.show_plan(api.plan(dsn, sources, options), display)
    with shared.server(target) as dsn, shared.progress(display) as progress:
        result = api.exec(
            dsn,
            sources,
            options,
            progress=progress,
            on_result=shared.result_writer(display, progress),
            on_start=shared.on_signals,
        )
    return shared.conclude(result, display)


def read_sources(commands: Sequence[str], files: Sequence[Path]) -> list[Source]:
    """The SQL texts: of -c, then of -f, or else of standard input."""
    from pgfan.api import Source

    sources = [Source("-c", text) for text in commands]
    sources += [_read(path) for path in files]
    if not sources:
        if sys.stdin.isatty():
            raise UsageError("no SQL: give -c SQL, -f FILE, or standard input")
        sources.append(_decoded("<stdin>", sys.stdin.buffer.read()))
    return sources


def _read(path: Path) -> Source:
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
