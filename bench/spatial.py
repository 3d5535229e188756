"""Stations near municipalities, divided by provinces, cells or blocks: bench/spatial.py --help.

Makes provinces, municipalities and stations (the largest province has 14 % of them), on Debian's
PostgreSQL 15 with PostGIS unless --dsn names a server, and prints a table for a join by distance
and for an UPDATE. Beside seconds there are the blocks that all backends asked for, and the seconds
of processor time that they took, where the server is on this machine: these do not depend on what
else is going on. Every way must leave as many rows as one query, or the script ends with 1.
"""

from __future__ import annotations

import argparse
import queue
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psycopg

from pgfan import api
from pgfan.postgres.embedded import EmbeddedServer, ServerBinaries

if TYPE_CHECKING:
    from collections.abc import Callable

DEBIAN_15 = ServerBinaries(Path("/usr/lib/postgresql/15/bin"))
SETTINGS = {"fsync": "off", "shared_buffers": "256MB", "max_wal_size": "4GB"}
PROVINCES = 52
JOIN = """INSERT INTO near SELECT m.id, s.id, st_distance(m.area, s.place)
FROM municipalities m JOIN stations s ON st_dwithin(m.area, s.place, 0.02)"""
UPDATE = """UPDATE stations s SET municipality = m.id
FROM municipalities m WHERE st_intersects(m.area, s.place) AND m.id % 3 = 0"""
MAKE = """
CREATE EXTENSION IF NOT EXISTS postgis;
DROP TABLE IF EXISTS near, stations, municipalities, provinces;
SELECT setseed(0.5);
CREATE TABLE provinces AS SELECT p, 'province ' || p AS name, -9 + 12 * random() AS x,
    36 + 7.5 * random() AS y, sum((p + 1.2) ^ -0.95) OVER (ORDER BY p) AS upto
    FROM generate_series(1, {provinces}) p;
UPDATE provinces SET upto = upto / (SELECT max(upto) FROM provinces);
CREATE UNLOGGED TABLE municipalities AS SELECT g AS id, name AS province, st_buffer(st_setsrid(
    st_makepoint(x + random() - random(), y + random() - random()), 4326), 0.02 + random() / 20)
    AS area FROM generate_series(1, {municipalities}) g JOIN provinces ON p = 1 + g % {provinces};
CREATE UNLOGGED TABLE stations AS SELECT g AS id, name AS province, NULL::int AS municipality,
    st_setsrid(st_makepoint(x + random() - random(), y + random() - random()), 4326)
    ::geometry(Point, 4326) AS place, repeat('x', 80) AS remark
    FROM (SELECT g, random() AS r FROM generate_series(1, {stations}) g) d
    CROSS JOIN LATERAL (SELECT * FROM provinces WHERE upto >= r ORDER BY upto LIMIT 1) p;
CREATE INDEX ON municipalities USING gist (area);
CREATE INDEX ON municipalities (province);
CREATE INDEX stations_place ON stations USING gist (place);
CREATE INDEX ON stations (province);
ALTER TABLE municipalities ADD PRIMARY KEY (id);
ALTER TABLE stations ADD PRIMARY KEY (id);
CREATE UNLOGGED TABLE near (municipality int, station int, distance float8)"""


@dataclass
class Figures:
    """Of one run. `cpu_s` is None for a server elsewhere."""

    seconds: float
    rows: int
    blocks: int
    cpu_s: float | None
    chunks: int
    note: str = ""


@dataclass(frozen=True)
class Bench:
    """A server and how it is asked; `postmaster` is its process on this machine, if it is."""

    dsn: str
    jobs: int
    postmaster: int | None

    def measured(self, run: Callable[[], tuple[int, int, str]]) -> Figures:
        """`run` gives rows, chunks and a remark, with all its backends gone."""
        blocks, cpu_s, began_s = self._blocks(), self._cpu_s(), time.monotonic()
        rows, chunks, note = run()
        seconds = time.monotonic() - began_s
        time.sleep(0.3)  # for backends to end: their figures are added up then
        used_s = None if cpu_s is None else (self._cpu_s() or 0.0) - cpu_s
        return Figures(seconds, rows, self._blocks() - blocks, used_s, chunks, note)

    def one_query(self, sql: str) -> tuple[int, int, str]:
        """One connection, with the server's own parallel plan if it takes one."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(sql.encode()).rowcount, 1, ""

    def pool(self, sql: str) -> tuple[int, int, str]:
        """What the practice does: one query for each province, from a pool of connections."""
        names: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(1, PROVINCES + 1):
            names.put(number)
        counts: list[int] = []

        def work() -> None:
            with psycopg.connect(self.dsn, autocommit=True) as connection:
                while not names.empty():
                    mine = f"{sql} AND m.province = 'province {names.get()}'"
                    counts.append(connection.execute(mine.encode()).rowcount)

        workers = [threading.Thread(target=work) for _ in range(self.jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(counts), PROVINCES, ""

    def pgfan(self, sql: str, by: str | None) -> tuple[int, int, str]:
        """Split by `by`, or by what pgfan takes."""
        options = api.ExecOptions(jobs=self.jobs, by=by, journal_schema=None)
        result = api.exec(self.dsn, sql, options)
        task = result.tasks[-1]
        if result.error is not None:
            raise result.error
        why = task.key or ", ".join(code for code, _ in task.reasons)
        return task.rows or 0, task.chunks or 0, why

    def _blocks(self) -> int:
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(
                "SELECT blks_hit + blks_read FROM pg_stat_database "
                "WHERE datname = current_database()"
            ).fetchone()
            return int(row[0]) if row else 0

    def _cpu_s(self) -> float | None:
        """Of all backends that have ended."""
        if self.postmaster is None:
            return None
        fields = Path(f"/proc/{self.postmaster}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[13]) + int(fields[14])) / 100


def main() -> int:
    """Print both tables; 1 when a way lost or doubled rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stations", type=int, default=300_000)
    parser.add_argument("--municipalities", type=int, default=8_131)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--clustered", action="store_true", help="stations stored place by place")
    parser.add_argument("--dsn", help="a database with PostGIS, whose tables are replaced")
    options = parser.parse_args()
    with ExitStack() as stack:
        dsn, postmaster = options.dsn, None
        if dsn is None:
            folder = Path(".bench-postgis").absolute()
            server = EmbeddedServer(folder, binaries=DEBIAN_15, settings=SETTINGS)
            dsn = stack.enter_context(server).dsn
            (found,) = folder.rglob("postmaster.pid")
            postmaster = int(found.read_text().split()[0])
        make = MAKE.format(
            provinces=PROVINCES, municipalities=options.municipalities, stations=options.stations
        )
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(make.encode())
            if options.clustered:
                connection.execute("CLUSTER stations USING stations_place")
            connection.execute("VACUUM ANALYZE")
        bench = Bench(dsn, options.jobs, postmaster)
        print(f"{vars(options)}\n")
        return max([_table(bench, sql, options.repeat) for sql in (JOIN, UPDATE)])


def _table(bench: Bench, sql: str, repeat: int) -> int:
    ways: dict[str, Callable[[], tuple[int, int, str]]] = {
        "one query": lambda: bench.one_query(sql),
        "pool script, one query a province": lambda: bench.pool(sql),
        "pgfan": lambda: bench.pgfan(sql, None),
        "pgfan --by ctid": lambda: bench.pgfan(sql, "ctid"),
        "pgfan --by m.province": lambda: bench.pgfan(sql, "m.province"),
        "pgfan --by m.area": lambda: bench.pgfan(sql, "m.area"),
        "pgfan --by s.place": lambda: bench.pgfan(sql, "s.place"),
    }
    if sql is UPDATE:  # what is divided is s, and not by blocks
        ways = {way: run for way, run in ways.items() if not way.endswith(("ctid", "area"))}
        ways["pgfan --by s.id"] = lambda: bench.pgfan(sql, "s.id")
        del ways["pool script, one query a province"], ways["pgfan --by m.province"]
    found: dict[str, list[Figures]] = {way: [] for way in ways}
    for _ in range(repeat):
        for way, run in ways.items():
            with psycopg.connect(bench.dsn, autocommit=True) as connection:
                connection.execute("TRUNCATE near")
                connection.execute("VACUUM stations")
            found[way].append(bench.measured(run))
    print("| way | seconds | processor s | blocks | chunks | by |")
    print("| --- | --- | --- | --- | --- | --- |")
    for way, runs in found.items():
        cpu = median(run.cpu_s or 0.0 for run in runs)
        print(
            f"| {way} | {median(run.seconds for run in runs):.2f} | {cpu:.2f} | "
            f"{median(run.blocks for run in runs):,.0f} | {runs[-1].chunks} | {runs[-1].note} |"
        )
    counts = {run.rows for runs in found.values() for run in runs}
    print(f"\nrows: {', '.join(f'{count:,}' for count in sorted(counts))}\n")
    return int(len(counts) > 1)


if __name__ == "__main__":
    sys.exit(main())
