"""A script of one-row INSERTs into 50 tables, by psql and by pgfan: bench/small_statements.py.

Ways, in turn, on one server with fsync on: `psql -f` of the whole file, without a journal;
`xargs -P2` with a psql for each statement, of a sample that is scaled to all; `pgfan run` with its
journal. Start-up counts for all of them. After each way the rows are counted, and pgfan's journal.
`--now` gives every row now(), so that none may share a message with another. Before that, how long
the graph of all tasks takes without a server, and the peak of memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from pgfan.plan.bundles import Light, bundled
from pgfan.plan.dag import TaskSpec
from pgfan.plan.graph import Sequencer
from pgfan.postgres.embedded import EmbeddedServer
from pgfan.postgres.session import PostgresSession
from pgfan.sql.accesses import ScriptAccesses
from pgfan.sql.known import KnownObjects
from pgfan.sql.light import rows_of_light
from pgfan.sql.psql_script import read_psql

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES = 50
WORKERS = 2


def statements(count: int, *, now: bool) -> list[str]:
    """One-row INSERTs."""
    at = "now()" if now else "'2026-11-23 20:26'"
    return [
        f"INSERT INTO t{n % TABLES} (a, b, c) VALUES ({n}, 'x{n}', {at});" for n in range(count)
    ]


def graph(texts: list[str]) -> None:
    """Print how long the tasks' graph takes, and the memory of it all."""
    tables = [f"CREATE TABLE t{n} (a int, b text, c timestamptz);" for n in range(TABLES)]
    start = time.perf_counter()
    items = read_psql([("s.sql", "\n".join(tables + texts))], {}, lambda name: name).items
    read = time.perf_counter()
    accesses, sequencer = ScriptAccesses(KnownObjects()), Sequencer[int]()
    specs: list[TaskSpec] = []
    light: dict[int, Light] = {}
    for number, item in enumerate(items):
        trees = [statement.skeleton for statement in item.statements]
        found = accesses.read(trees, form=item.form)
        specs += [
            TaskSpec(step.number, frozenset(step.after)) for step in sequencer.add(number, found)
        ]
        if rows_of_light(item, found):
            light[specs[-1].task] = Light("", len(item.first.text))
    made = bundled(specs, light)
    ended = time.perf_counter()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"graph: {len(items)} tasks read in {read - start:.2f} s, ordered in {ended - read:.2f} s, "
        f"{len(made.specs)} tasks with {len(made.members)} bundles; peak {peak_mb:.0f} MB"
    )


class Ways:
    """The ways to run the statements against one database."""

    def __init__(self, server: EmbeddedServer, folder: Path, texts: list[str], sample: int) -> None:
        self._dsn = server.dsn
        self._session = PostgresSession(server.dsn)
        self._texts = texts
        self._sample = min(sample, len(texts))
        self._file = folder / "s.sql"
        self._file.write_text("\n".join(texts), "utf-8")
        self._lines = folder / "lines"
        lines = "\n".join(map(shlex.quote, texts[: self._sample]))
        self._lines.write_text(lines, "utf-8")

    def psql(self) -> float:
        """The whole file."""
        return self._timed(["psql", "-Xq", "-d", self._dsn, "-f", str(self._file)])

    def xargs(self) -> float:
        """A psql for each statement of the sample, scaled."""
        command = ["xargs", "-a", str(self._lines), "-P", str(WORKERS), "-n", "1"]
        command += ["psql", "-Xq", "-d", self._dsn, "-c"]
        took_s = self._timed(command, self._sample)
        return took_s * len(self._texts) / self._sample

    def pgfan(self) -> float:
        """The whole file, with a journal."""
        command = [sys.executable, "-m", "pgfan", "run", str(self._file), "-q", "-d", self._dsn]
        took_s = self._timed([*command, "--jobs", str(WORKERS)])
        self._expect("SELECT count(*) FROM pgfan.task WHERE state = 'done'", len(self._texts))
        return took_s

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def _timed(self, command: list[str], count: int | None = None) -> float:
        self._session.execute("DROP SCHEMA IF EXISTS pgfan CASCADE")
        for n in range(TABLES):
            self._session.execute(f"DROP TABLE IF EXISTS t{n}")
            self._session.execute(f"CREATE TABLE t{n} (a int, b text, c timestamptz)")
        self._session.execute("CHECKPOINT")
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took_s = time.perf_counter() - start
        rows = " UNION ALL ".join(f"SELECT a FROM t{n}" for n in range(TABLES))
        self._expect(f"SELECT count(DISTINCT a) FROM ({rows}) t", count or len(self._texts))
        self._expect(f"SELECT count(*) FROM ({rows}) t", count or len(self._texts))
        return took_s

    def _expect(self, query: str, count: int) -> None:
        found = self._session.execute(query)[0].rows[0][0]
        if found != str(count):
            raise SystemExit(f"{query[:60]}: {found}, not {count}")


def main() -> None:
    """Measure, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--statements", type=int, default=20_000)
    parser.add_argument("--sample", type=int, default=500, help="statements of xargs")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--now", action="store_true", help="every row has now()")
    asked = parser.parse_args()
    texts = statements(asked.statements, now=asked.now)
    graph(texts)
    with tempfile.TemporaryDirectory(prefix="pgfan-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedServer(folder / "server") as server:
            ways = Ways(server, folder, texts, asked.sample)
            timed: dict[str, Callable[[], float]] = {
                "psql -f": ways.psql,
                f"xargs -P{WORKERS} psql": ways.xargs,
                "pgfan run": ways.pgfan,
            }
            took_s: dict[str, list[float]] = {way: [] for way in timed}
            for _ in range(asked.repeat):
                for way, run in timed.items():
                    took_s[way].append(run())
            ways.close()
    best_s = median(took_s["pgfan run"])
    print(f"load average at the end {os.getloadavg()[0]:.1f}")
    for way, times_s in took_s.items():
        middle_s = median(times_s)
        scaled = f" ({asked.sample} statements, scaled)" if way.startswith("xargs") else ""
        print(
            f"{way:16} median {middle_s:7.2f} s, {min(times_s):.2f} to {max(times_s):.2f}, "
            f"{middle_s / best_s:5.2f} x pgfan{scaled}"
        )


if __name__ == "__main__":
    main()
