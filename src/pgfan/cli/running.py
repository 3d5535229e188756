"""What the commands that run something share: the server, the display, signals, the exit code."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

from pgfan.errors import (
    EXIT_CONNECTION,
    EXIT_INTERRUPTED,
    EXIT_TASK_FAILED,
    ConnectionFailedError,
    ConnectionLostError,
    PgfanError,
)

QUERY_CANCELED = "57014"

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from pgfan.cli.options import Display, Server
    from pgfan.execute.outcome import RunResult
    from pgfan.execute.runner import Runner
    from pgfan.ports import Result
    from pgfan.report.lines import Display as Shown
    from pgfan.verify import Verification


@contextlib.contextmanager
def server(target: Server) -> Iterator[str]:
    """The connection string of the server that the options name; an embedded one is running."""
    from pgfan.report.safe_text import redact_dsn

    if target.dsn and target.dsn != redact_dsn(target.dsn):
        sys.stderr.write(
            "warning: a password on the command line is seen by every user of this machine; "
            "use .pgpass, a service file or PGPASSWORD\n"
        )
    if target.embedded is None:
        yield target.dsn
        return
    from pgfan.postgres.conninfo import on_embedded
    from pgfan.postgres.embedded import EmbeddedServer

    with EmbeddedServer(target.embedded) as started:
        yield on_embedded(started.dsn, target.dsn)


@contextlib.contextmanager
def progress(display: Display) -> Iterator[Shown]:
    """The display for this terminal, and the log file if one is asked for."""
    from pgfan.report.choose import choose_progress
    from pgfan.report.lines import MultiProgress

    shown: Shown = choose_progress(
        sys.stderr, quiet=display.quiet, verbose=display.verbose, environ=os.environ
    )
    if display.log_file is not None:
        from pgfan.report.log import open_log

        log = open_log(display.log_file, on_warning=_warn)
        shown = MultiProgress([shown, log])
    with shown:
        yield shown


def result_writer(display: Display, shown: Shown) -> Callable[[Sequence[Result]], None] | None:
    """Writes query results to stdout as psql does, between two frames; None with --json."""
    if display.json:
        return None
    from pgfan.report.rows import write_result

    tolerate_encoding(sys.stdout)

    def write(results: Sequence[Result]) -> None:
        wanted = [one for one in results if one.columns is not None or not display.quiet]
        if not wanted:
            return
        with shown.paused():
            for result in wanted:
                write_result(result, sys.stdout)
            sys.stdout.flush()

    return write


def tolerate_encoding(stream: TextIO) -> None:
    """Have characters that the stream's encoding lacks written as escapes."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def on_signals(runner: Runner | Verification) -> None:
    """Ctrl-C stops the run: once drains, twice cancels. SIGTERM counts as Ctrl-C."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: runner.interrupt())


def on_run_signals(runner: Runner) -> None:
    """The same, and SIGUSR1 for one worker more, SIGUSR2 for one less, as xargs -P has them."""
    on_signals(runner)
    signal.signal(signal.SIGUSR1, lambda *_: runner.ask_more_workers(1))
    signal.signal(signal.SIGUSR2, lambda *_: runner.ask_more_workers(-1))


def conclude(result: RunResult, display: Display, *, resumes: bool = True) -> int:
    """Print what there is to print about a run; its exit code.

    `resumes`: the journal has the run, and it can be gone on with.
    """
    if display.json:
        sys.stdout.write(json.dumps(result.to_json()) + "\n")
    for task in result.tasks:
        cancelled = result.interrupted and getattr(task.error, "sqlstate", None) == QUERY_CANCELED
        if task.error is not None and not cancelled:
            show_error(task.error)
    if result.interrupted:
        way = f"the same command, or pgfan resume {result.run}, goes on"
        sys.stderr.write(f"interrupted; {way if resumes else 'the same command begins anew'}\n")
        return EXIT_INTERRUPTED
    if result.ok:
        return 0
    error = result.error
    if isinstance(error, ConnectionFailedError | ConnectionLostError):
        return EXIT_CONNECTION
    return EXIT_TASK_FAILED


def show_error(error: PgfanError) -> None:
    """Write an error to stderr, for people."""
    from pgfan.report.ansi import wants_color
    from pgfan.report.failure import render_error

    sys.stderr.write(render_error(error, color=wants_color(sys.stderr, os.environ)))


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")
