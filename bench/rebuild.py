"""A project of 20,000 INSERTs into 50 tables and a reader of each: built, again, and edited.

    bench/rebuild.py [--statements 20000] [--repeat 3]

Whole commands are timed, start-up included: the first build, the same again with nothing changed,
and with one INSERT in the middle edited, of which only its table and the reader may be built anew.
A plain `pgfan run` of the same script and `psql -f` stand beside the first build. After each the
tables are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from pgfan.postgres.embedded import EmbeddedServer
from pgfan.postgres.session import PostgresSession

TABLES = 50


def script(count: int, *, edited: bool) -> str:
    """The project's one script; `edited`: the INSERT in its middle has another value."""
    lines = [f"CREATE TABLE t{n} (a int, b text);" for n in range(TABLES)]
    lines += [f"INSERT INTO t{n % TABLES} (a, b) VALUES ({n}, 'x{n}');" for n in range(count)]
    if edited:
        middle = TABLES + count // 2
        lines[middle] = lines[middle].replace("'x", "'edited ")
    lines += [f"CREATE TABLE s{n} AS SELECT count(*) AS n FROM t{n};" for n in range(TABLES)]
    return "\n".join(lines)


class Site:
    """A database, and the script in a file."""

    def __init__(self, server: EmbeddedServer, folder: Path, count: int) -> None:
        self._dsn = server.dsn
        self._session = PostgresSession(server.dsn)
        self._count = count
        self._file = folder / "build.sql"

    def begin(self) -> None:
        """An empty database."""
        self._session.execute("DROP SCHEMA IF EXISTS pgfan CASCADE")
        self._session.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CHECKPOINT")

    def psql(self) -> float:
        """The script by psql."""
        self._file.write_text(script(self._count, edited=False), "utf-8")
        return self._timed(["psql", "-Xq", "-d", self._dsn, "-f", str(self._file)])[0]

    def pgfan(self, *words: str, edited: bool = False) -> tuple[float, int, int]:
        """Seconds, and the tasks that ran and that were as built."""
        self._file.write_text(script(self._count, edited=edited), "utf-8")
        command = [sys.executable, "-m", "pgfan", "run", str(self._file), "-d", self._dsn]
        took_s, said = self._timed([*command, "--json", "-q", *words])
        found = json.loads(said)
        return took_s, len(found["tasks"]), found.get("as_built", 0)

    def _timed(self, command: list[str]) -> tuple[float, str]:
        start = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        took_s = time.perf_counter() - start
        counts = " + ".join(f"(SELECT n FROM s{n})" for n in range(TABLES))
        rows = self._session.execute(f"SELECT {counts}")[0].rows[0][0]
        if rows != str(self._count):
            raise SystemExit(f"{rows} rows, not {self._count}")
        return took_s, done.stdout


def main() -> None:
    """Measure, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--statements", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    project = ("--project", "bench")
    took: dict[str, list[tuple[float, int, int]]] = {}
    with tempfile.TemporaryDirectory(prefix="pgfan-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedServer(folder / "server") as server:
            site = Site(server, folder, asked.statements)
            for _ in range(asked.repeat):
                site.begin()
                took.setdefault("psql -f", []).append((site.psql(), 0, 0))
                site.begin()
                took.setdefault("pgfan run", []).append(site.pgfan())
                site.begin()
                took.setdefault("first build", []).append(site.pgfan(*project))
                took.setdefault("nothing changed", []).append(site.pgfan(*project))
                took.setdefault("one edited", []).append(site.pgfan(*project, edited=True))
    print(f"load average at the end {os.getloadavg()[0]:.1f}")
    for way, runs in took.items():
        times_s = [run[0] for run in runs]
        ran = f", {runs[-1][1]} tasks ran, {runs[-1][2]} as built" if any(runs[-1][1:]) else ""
        took_s = f"median {median(times_s):6.2f} s, {min(times_s):.2f} to {max(times_s):.2f}"
        print(f"{way:16} {took_s}{ran}")


if __name__ == "__main__":
    main()
