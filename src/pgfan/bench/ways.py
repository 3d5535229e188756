"""The introduction's example, and the ways in which people do it: one measurement of one way.

The work is always the same: N random numbers in a new table. Before each way the table is new, the
journal is gone and a CHECKPOINT is done, so that all start alike; afterwards the rows are counted.
What is timed is the whole command, start-up included.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from pgfan.bench.command import run_command
from pgfan.bench.machine import server_cpu_s
from pgfan.bench.pool_script import make_queries
from pgfan.errors import DatabaseError, UsageError

if TYPE_CHECKING:
    from pgfan.bench.site import Site

POOL_SCRIPT = Path(__file__).with_name("pool_script.py")
# -P: a folder that happens to hold a json.py must not decide what is measured.
PYTHON = (sys.executable, "-P")
PGFAN = (*PYTHON, "-m", "pgfan")

ROWS_MAX = 10**12

Peer: TypeAlias = Literal["psql", "pool", "xargs", "ctas", "pgfan"]


class Work(Struct, frozen=True):
    """What every way has to do."""

    rows: int
    unlogged: bool = False

    @property
    def table(self) -> str:
        """Logged or unlogged."""
        return "unlogged" if self.unlogged else "logged"

    @property
    def create(self) -> str:
        """The table that the numbers go to."""
        return f"CREATE {'UNLOGGED ' if self.unlogged else ''}TABLE numbers (value float8)"

    @property
    def insert(self) -> str:
        """The one plain statement."""
        return f"INSERT INTO numbers SELECT random() FROM generate_series(1, {self.rows})"

    @property
    def create_as(self) -> str:
        """The same as CREATE TABLE AS."""
        kind = "UNLOGGED TABLE" if self.unlogged else "TABLE"
        query = f"SELECT random() AS value FROM generate_series(1, {self.rows})"
        return f"CREATE {kind} numbers AS {query}"


class Way(Struct, frozen=True):
    """One way to do the work; `queries` is how many it is cut into by hand, 0: pgfan decides."""

    name: str
    peer: Peer
    queries: int = 1

    def title(self, cores: int) -> str:
        """What it is called in tables."""
        match self.peer:
            case "psql":
                return "one query"
            case "pool":
                return f"pool script, {self.queries} queries"
            case "xargs":
                return f"xargs -P{cores} psql, {self.queries} queries"
            case "ctas":
                return "CREATE TABLE AS"
            case "pgfan":
                return "pgfan exec"

    def command(self, site: Site, work: Work) -> list[str]:
        """Its command line."""
        match self.peer:
            case "psql":
                return site.psql_command(work.insert)
            case "ctas":
                return site.psql_command(work.create_as)
            case "pool":
                return self._pool_command(site, work)
            case "xargs":
                one = site.psql_command("")[:-1]
                return ["xargs", "-0", "-n1", f"-P{site.cores}", *one]
            case "pgfan":
                return [*PGFAN, "exec", "-d", site.dsn, "--json", "-c", work.insert]

    def _pool_command(self, site: Site, work: Work) -> list[str]:
        options = [f"--rows={work.rows}", f"--queries={self.queries}", f"--processes={site.cores}"]
        return [*PYTHON, str(POOL_SCRIPT), site.dsn, *options]


ONE_QUERY = Way("one-query", "psql")
PGFAN_EXEC = Way("pgfan", "pgfan", 0)
WAYS = (
    ONE_QUERY,
    *(Way(f"pool-{queries}", "pool", queries) for queries in (2, 4, 16, 200)),
    Way("xargs-16", "xargs", 16),
    Way("ctas", "ctas"),
    PGFAN_EXEC,
)


class Measurement(Struct, frozen=True):
    """One run of one way. `queries` counts pgfan's chunks too; `error` None: it did the work.

    `server_cpu_s` is None where the server is not ours to look at. `reasons` are pgfan's, when it
    ran the statement on one connection.
    """

    way: str
    seconds: float
    queries: int
    client_cpu_s: float
    server_cpu_s: float | None
    error: str | None = None
    reasons: tuple[str, ...] = ()


class PgfanTask(Struct, frozen=True):
    """What `pgfan exec --json` says of its one statement; `reasons` are for one connection."""

    verdict: str
    chunks: int
    seconds: float
    reasons: tuple[str, ...]

    @classmethod
    def read(cls, output: str) -> PgfanTask:
        """From the JSON on stdout."""
        task = json.loads(output)["tasks"][0]
        reasons = tuple(str(reason["message"]) for reason in task["reasons"])
        return cls(str(task["verdict"]), int(task["chunks"]), float(task["seconds"]), reasons)


def check_rows(rows: int) -> None:
    """Raise UsageError for a number of rows that makes no sense."""
    if not 1 <= rows <= ROWS_MAX:
        raise UsageError(f"--rows {rows}: give a number from 1 to {ROWS_MAX:,}")


def measure(site: Site, way: Way, work: Work, *, show: bool = False) -> Measurement:
    """Run `way` once. What goes wrong with it is in the measurement; `show`: see `run_command`."""
    _start_alike(site, way, work)
    command = way.command(site, work)
    stdin = None
    if way.peer == "xargs":
        stdin = io.BytesIO("\0".join(make_queries(work.rows, way.queries)).encode())
    server_before_s = server_cpu_s(site.postmaster_pid)
    try:
        outcome = run_command(command, stdin=stdin, show=show)
    except OSError as error:
        return Measurement(way.name, 0.0, 0, 0.0, None, f"{command[0]}: {error.strerror}")
    done = Measurement(way.name, outcome.seconds, way.queries, outcome.cpu_s, None)
    if server_before_s is not None:
        server_s = (server_cpu_s(site.postmaster_pid) or server_before_s) - server_before_s
        done = replace(done, server_cpu_s=server_s)
    if outcome.code != 0:
        return replace(done, error=outcome.complaint or f"exit code {outcome.code}")
    if way.peer == "pgfan":
        ran = PgfanTask.read(outcome.output)
        done = replace(done, queries=ran.chunks, reasons=ran.reasons)
    return replace(done, error=_miscount(site, work.rows))


def _start_alike(site: Site, way: Way, work: Work) -> None:
    site.control.execute("DROP TABLE IF EXISTS numbers")
    # A run that failed would be resumed; and the first run is the one that newcomers see.
    site.control.execute("DROP SCHEMA IF EXISTS pgfan CASCADE")
    if way.peer != "ctas":
        site.control.execute(work.create)
    site.checkpoint()


def _miscount(site: Site, rows: int) -> str | None:
    """What is wrong with the number of rows, or None."""
    try:
        count = int(site.value("SELECT count(*) FROM numbers"))
    except DatabaseError as error:
        return error.message
    return None if count == rows else f"the table holds {count:,} rows, not {rows:,}"
