"""`pgfan bench`: the reproducible comparisons of the README.

The comparisons are in `pgfan.bench`. Tables go to stdout, progress to stderr.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from pgfan.errors import EXIT_TASK_FAILED, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pgfan.bench.site import Site

DEFAULT_FOLDER = Path(".bench")

bench_ = App(name="bench", help="The reproducible comparisons of the README.")


@Parameter(name="*")
@dataclass(frozen=True)
class Place:
    """Which server."""

    dsn: Annotated[str, Parameter(name=["-d", "--dsn"])] = ""
    """Connection string or URI of a running server; the role needs CREATEDB and CHECKPOINT."""
    embedded: Path | None = None
    """Folder of the packaged server, .bench unless told otherwise."""

    def open(self) -> AbstractContextManager[Site]:
        """The server, with a database of its own for the comparison."""
        from pgfan.bench.sections import DATABASE
        from pgfan.bench.site import given_site, packaged_site

        if not self.dsn:
            return packaged_site(self.embedded or DEFAULT_FOLDER, DATABASE)
        if self.embedded is not None:
            raise UsageError("--embedded and --dsn name two servers", hint="give one of them")
        return given_site(self.dsn, DATABASE)


DEFAULT_PLACE = Place()


@bench_.command
def example(
    *,
    rows: int = 20_000_000,
    repeat: int = 3,
    only: str = "",
    sections: str = "",
    seed: int = 1,
    json: Path | None = None,
    place: Place = DEFAULT_PLACE,
) -> int:
    """Compare pgfan with one query, the pool script, xargs and CREATE TABLE AS, in rounds.

    The ways are one-query, pool-2, pool-4, pool-16, pool-200 (pool scripts of so many queries),
    xargs-16, ctas and pgfan; each on a logged and an unlogged table. Then what pgfan adds to
    statements that cannot be split, what a chunk costs, and how long --help takes.

    Parameters
    ----------
    rows
        How many random numbers.
    repeat
        How many rounds.
    only
        Names of the ways to run, separated by commas; all without it.
    sections
        Names out of example, overhead, chunks, script, analysis and help, separated by commas; all
        without it.
    seed
        What the order within each round is shuffled with.
    json
        Write every single time, and the machine, to this file.
    """
    from pgfan.bench.command import interruptible
    from pgfan.bench.sections import BenchOptions, BenchResult, run_bench

    options = BenchOptions.read(rows, repeat, seed, only, sections)
    if json is not None:
        BenchResult.check_writable(json)
    try:
        with interruptible(), place.open() as site:
            result = run_bench(site, options, say=_say)
    except KeyboardInterrupt:
        _say("interrupted: the benchmark has ended whatever it had started")
        raise
    sys.stdout.write(result.to_text())
    sys.stdout.flush()
    if json is not None:
        result.write_json(json)
    for failure in result.failures:
        _say(f"error: {failure}")
    return EXIT_TASK_FAILED if result.failures else 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
