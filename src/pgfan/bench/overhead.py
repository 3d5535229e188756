"""What pgfan costs where it cannot help: start-up, small statements, journaled chunks.

Three sections: `overhead` runs statements that are not split by psql and by pgfan in turn, `chunks`
runs thousands of chunks of one row, each journaled, `help` starts pgfan and nothing else.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from pgfan.bench.command import run_command
from pgfan.bench.tables import aligned
from pgfan.bench.ways import PGFAN, PgfanTask
from pgfan.errors import PgfanError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.bench.site import Site

ROUNDS_PER_REPEAT = 3
"""These take parts of a second: more rounds cost little and calm the medians."""
SERIES_MAX = 3_000_000
CHUNKS_MAX = 10_000
CHUNK_WORKERS = 4


class OverheadPair(Struct):
    """One statement by psql and by pgfan; times in seconds, paired by round."""

    statement: str
    psql_s: list[float] = field(default_factory=list)
    pgfan_s: list[float] = field(default_factory=list)

    @property
    def added_s(self) -> float:
        """The median of the differences."""
        return median(ours - theirs for ours, theirs in zip(self.pgfan_s, self.psql_s, strict=True))

    @property
    def added_share(self) -> float:
        """The same as a share of psql's median."""
        return self.added_s / median(self.psql_s)


class OverheadResult(Struct, frozen=True):
    """The section `overhead`."""

    pairs: tuple[OverheadPair, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values: every single time, and what they come to."""
        return {
            "results": [
                {
                    "statement": pair.statement,
                    "psql_seconds": [round(seconds, 6) for seconds in pair.psql_s],
                    "pgfan_seconds": [round(seconds, 6) for seconds in pair.pgfan_s],
                    "added_seconds": round(pair.added_s, 6),
                    "added_share": round(pair.added_share, 4),
                }
                for pair in self.pairs
            ]
        }

    def to_text(self) -> str:
        """The table for people."""
        columns = ("statement", "psql ms", "pgfan ms", "added ms", "added %")
        rows = [
            (
                pair.statement,
                f"{1e3 * median(pair.psql_s):.0f}",
                f"{1e3 * median(pair.pgfan_s):.0f}",
                f"{1e3 * pair.added_s:.0f}",
                f"{1e2 * pair.added_share:.1f}",
            )
            for pair in self.pairs
        ]
        return aligned(columns, rows)


class ChunksResult(Struct, frozen=True):
    """The section `chunks`. `command_s` are times of the whole command, `task_s` of its task."""

    chunks: int
    command_s: tuple[float, ...]
    task_s: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values: every single time, and what they come to."""
        return {
            "chunks": self.chunks,
            "workers": CHUNK_WORKERS,
            "command_seconds": [round(seconds, 6) for seconds in self.command_s],
            "task_seconds": [round(seconds, 6) for seconds in self.task_s],
            "command_us_per_chunk": round(self._us_per_chunk(self.command_s), 1),
            "task_us_per_chunk": round(self._us_per_chunk(self.task_s), 1),
        }

    def to_text(self) -> str:
        """The table for people."""
        columns = ("timed", "chunks", "workers", "median s", "us per chunk")
        rows = [
            (
                name,
                f"{self.chunks:,}",
                str(CHUNK_WORKERS),
                f"{median(times):.2f}",
                f"{self._us_per_chunk(times):.0f}",
            )
            for name, times in (("whole command", self.command_s), ("its task", self.task_s))
        ]
        return aligned(columns, rows)

    def _us_per_chunk(self, times: tuple[float, ...]) -> float:
        return 1e6 * median(times) / self.chunks


class HelpResult(Struct, frozen=True):
    """The section `help`: seconds of `pgfan --help`."""

    seconds: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values: every single time, and what they come to."""
        return {
            "seconds": [round(seconds, 6) for seconds in self.seconds],
            "median_seconds": round(median(self.seconds), 6),
        }

    def to_text(self) -> str:
        """The table for people."""
        low, middle, high = min(self.seconds), median(self.seconds), max(self.seconds)
        cells = tuple(f"{1e3 * seconds:.0f}" for seconds in (middle, low, high))
        return aligned(("command", "median ms", "min", "max"), [("pgfan --help", *cells)])


def run_overhead(
    site: Site, rows: int, repeat: int, *, say: Callable[[str], None]
) -> OverheadResult:
    """Run statements that cannot be split by psql and by pgfan in turn, once unmeasured."""
    series = f"SELECT count(*) FROM generate_series(1, {min(rows, SERIES_MAX)})"
    pairs = (OverheadPair("SELECT 1"), OverheadPair(series))
    for number in range(ROUNDS_PER_REPEAT * repeat + 1):
        for pair in pairs:
            # Who goes first takes turns. The round 0 makes the journal and warms what is cold.
            for ours in (bool(number % 2), not number % 2):
                seconds = _time_statement(site, pair.statement, ours=ours)
                if number:
                    (pair.pgfan_s if ours else pair.psql_s).append(seconds)
    for pair in pairs:
        say(f"overhead  {pair.statement}: {1e3 * pair.added_s:.0f} ms")
    return OverheadResult(pairs)


def run_chunks(site: Site, rows: int, repeat: int, *, say: Callable[[str], None]) -> ChunksResult:
    """Run an INSERT in chunks of one row each, `repeat` times. Raises PgfanError for a miscount."""
    chunks = min(rows, CHUNKS_MAX)
    sql = f"INSERT INTO numbers SELECT value FROM generate_series(1, {chunks}) AS value"
    options = ["--split", "always", "--chunk-rows", "1", "--jobs", str(CHUNK_WORKERS)]
    command_s, task_s = [], []
    for number in range(1, repeat + 1):
        site.control.execute("DROP TABLE IF EXISTS numbers; CREATE TABLE numbers (value integer)")
        site.checkpoint()
        command = [*PGFAN, "exec", "-d", site.dsn, "--json", *options, "-c", sql]
        seconds, output = timed("pgfan exec of chunks", command)
        task = PgfanTask.read(output)
        distinct = int(site.value("SELECT count(DISTINCT value) FROM numbers"))
        if (task.chunks, distinct) != (chunks, chunks):
            raise PgfanError(f"{task.chunks} chunks and {distinct} rows instead of {chunks} each")
        command_s.append(seconds)
        task_s.append(task.seconds)
        say(f"chunks  {number}/{repeat}  {seconds:.2f} s")
    site.control.execute("DROP TABLE numbers")
    return ChunksResult(chunks, tuple(command_s), tuple(task_s))


def run_help(repeat: int, *, say: Callable[[str], None]) -> HelpResult:
    """Time `pgfan --help`, once unmeasured."""
    times = [
        timed("pgfan --help", [*PGFAN, "--help"])[0] for _ in range(ROUNDS_PER_REPEAT * repeat + 1)
    ]
    result = HelpResult(tuple(times[1:]))
    say(f"help  {1e3 * median(result.seconds):.0f} ms")
    return result


def _time_statement(site: Site, statement: str, *, ours: bool) -> float:
    if ours:
        return timed("pgfan exec", [*PGFAN, "exec", "-d", site.dsn, "-c", statement])[0]
    return timed("psql", site.psql_command(statement))[0]


def timed(name: str, command: list[str]) -> tuple[float, str]:
    """Seconds and output. Raises PgfanError for a command that fails."""
    try:
        outcome = run_command(command)
    except OSError as error:
        raise PgfanError(f"{name} failed: {command[0]}: {error.strerror}") from error
    if outcome.code != 0:
        raise PgfanError(f"{name} failed: {outcome.complaint or f'exit code {outcome.code}'}")
    return outcome.seconds, outcome.output
