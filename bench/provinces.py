"""Skewed provinces and a late straggler, with work that is waiting: the figures of scheduling.md.

    bench/provinces.py [--dsn DSN] [--jobs 16] [--row-ms 10] [--people-per-row 5000] [--json FILE]

A row stands for some thousand people and takes `--row-ms` of pg_sleep, so the server's cores do not
matter. Without --dsn a packaged server is started in a temporary folder. What is measured:

* one INSERT by pgfan against the sum of all waits divided by the workers;
* one query for each of the 52 provinces, from a pool of as many connections, in INE's order;
* the same INSERT with ten rows at its end that wait 50 times as long.

Populations are INE's (pgfan.bench.provinces).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from pgfan import api
from pgfan.bench.provinces import PEOPLE
from pgfan.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable

HOT_ROWS, HOT_FACTOR = 10, 50
SETUP = """
DROP TABLE IF EXISTS pgfan_people, pgfan_worked;
CREATE TABLE pgfan_people (id int, province text, ms float8, filler text STORAGE PLAIN);
CREATE TABLE pgfan_worked (id int);
CREATE OR REPLACE FUNCTION pgfan_work(id int, ms float8) RETURNS int LANGUAGE plpgsql IMMUTABLE
  AS $$ BEGIN PERFORM pg_catalog.pg_sleep(ms / 1000); RETURN id; END $$
"""
INSERT = "INSERT INTO pgfan_worked SELECT pgfan_work(id, ms) FROM pgfan_people"


def main() -> None:
    """Make the tables, run each way `--repeat` times in turn, print and write medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn")
    parser.add_argument("--jobs", type=int, default=16)
    parser.add_argument("--row-ms", type=float, default=10.0)
    parser.add_argument("--people-per-row", type=int, default=5000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.dsn:
        figures = measure(options.dsn, options)
    else:
        with tempfile.TemporaryDirectory(prefix="pgfan-provinces-") as folder:
            Path(folder).chmod(0o711)
            with EmbeddedServer(Path(folder) / "server") as server:
                figures = measure(server.dsn, options)
    for name, value in figures.items():
        print(f"{name:32} {value:8.3f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def measure(dsn: str, options: argparse.Namespace) -> dict[str, float]:
    """Medians in seconds, and their ratios."""
    rows = fill(dsn, options)
    ideal_s = rows * options.row_ms / 1000 / options.jobs
    ways: dict[str, Callable[[], float]] = {
        "pgfan": lambda: by_pgfan(dsn, options.jobs),
        "a query per province": lambda: by_province(dsn, options.jobs),
        "pgfan, late straggler": lambda: with_straggler(dsn, options, rows),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeat):
        for name, run in ways.items():
            taken[name].append(run())
    figures = {"work / workers": ideal_s}
    for name, seconds in taken.items():
        figures[name] = statistics.median(seconds)
    slow_ms = HOT_ROWS * (HOT_FACTOR - 1) * options.row_ms
    figures["pgfan / (work / workers)"] = figures["pgfan"] / ideal_s
    figures["provinces / (work / workers)"] = figures["a query per province"] / ideal_s
    figures["straggler / without"] = figures["pgfan, late straggler"] / figures["pgfan"]
    figures["straggler not shared out"] = (figures["pgfan"] + slow_ms / 1000) / figures["pgfan"]
    return figures


def fill(dsn: str, options: argparse.Namespace) -> int:
    """One row in each block, province after province; how many."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(SETUP)
        first = 1
        for province, people in PEOPLE.items():
            count = round(people / options.people_per_row)
            connection.execute(
                "INSERT INTO pgfan_people SELECT i, %s, %s, repeat('x', 5000) "
                "FROM generate_series(%s::int, %s::int) i",
                (province, options.row_ms, first, first + count - 1),
            )
            first += count
        connection.execute("ANALYZE pgfan_people")
        return first - 1


def by_pgfan(dsn: str, jobs: int) -> float:
    """One INSERT, split."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE pgfan_worked")
    began_s = time.monotonic()
    result = api.exec(dsn, INSERT, api.ExecOptions(jobs=jobs, restart=True))
    seconds = time.monotonic() - began_s
    check(dsn, result.error)
    (task,) = result.tasks
    print(f"  pgfan: {seconds:.3f} s, {task.chunks} chunks, {task.stragglers} shared out")
    return seconds


def by_province(dsn: str, jobs: int) -> float:
    """An INSERT for each province, from a pool."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE pgfan_worked")

    def run(province: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"{INSERT} WHERE province = %s".encode(), (province,))

    began_s = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, PEOPLE))
    seconds = time.monotonic() - began_s
    check(dsn, None)
    print(f"  a query per province: {seconds:.3f} s")
    return seconds


def with_straggler(dsn: str, options: argparse.Namespace, rows: int) -> float:
    """As `by_pgfan`, with the last rows slower than any estimate."""
    replace_last(dsn, rows, HOT_FACTOR * options.row_ms)
    try:
        return by_pgfan(dsn, options.jobs)
    finally:
        replace_last(dsn, rows, options.row_ms)


def replace_last(dsn: str, rows: int, ms: float) -> None:
    """Have the last rows take `ms` each, where they are."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM pgfan_people WHERE id > %s", (rows - HOT_ROWS,))
        connection.execute("VACUUM pgfan_people")
        connection.execute(
            "INSERT INTO pgfan_people SELECT i, 'Melilla', %s, repeat('x', 5000) "
            "FROM generate_series(%s::int, %s::int) i",
            (ms, rows - HOT_ROWS + 1, rows),
        )


def check(dsn: str, error: Exception | None) -> None:
    """Every row must have been worked on once."""
    if error is not None:
        raise error
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT count(*) FROM (SELECT id FROM pgfan_people EXCEPT ALL SELECT id FROM "
            "pgfan_worked UNION ALL (SELECT id FROM pgfan_worked EXCEPT ALL SELECT id FROM "
            "pgfan_people)) differing"
        ).fetchone()
    if found != (0,):
        raise AssertionError(f"{found} rows were left out or done twice")


if __name__ == "__main__":
    main()
