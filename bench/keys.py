"""How long it takes to choose key and bounds for a table of a billion rows: bench/keys.py --help.

The table has 60,000 rows, again and again: the first gigabyte of its file is full of copies of
their pages, and the other 151 are the same file under other names. The catalogue says a billion
rows, with the statistics that ANALYZE made (--target as many values). So the planner and pgfan see
what they would see of a real one of 152 GB; reading it would take minutes. Prints, for each
statement, the milliseconds of the choice alone and of the whole judgement (catalogue, rules,
EXPLAIN, choice, snapshot), the key or the reason, and how often the table was scanned.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from unittest import mock

from pgfan.postgres.analysis import Analyst
from pgfan.postgres.choosing import Chooser, SplitOptions
from pgfan.postgres.embedded import EmbeddedServer, ServerBinaries
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.sql.program import Program, Source
from pgfan.sql.requested import read_request

if TYPE_CHECKING:
    from pgfan.postgres.analysis import Analysis

ROWS = 1_000_000_000
SEGMENT_BYTES = 1 << 30
SEGMENTS = 152
PAGES = SEGMENTS * SEGMENT_BYTES // 8192
# A page's checksum holds its number.
SETTINGS = {
    "ignore_checksum_failure": "on",
    "client_min_messages": "error",
    "log_min_messages": "error",
}
SETUP = """
CREATE TABLE people (id bigint, province int, town text, born date, seen timestamptz, key uuid)
    WITH (autovacuum_enabled = off);
INSERT INTO people SELECT g, LEAST(52, (exp(random() * 4))::int),
    'town ' || (random() ^ 3 * 8000)::int, date '1930-01-01' + (random() * 30000)::int,
    timestamptz '2020-01-01 00:00+00' + g * interval '1 min', gen_random_uuid()
    FROM generate_series(1, 60000) g;
CREATE INDEX ON people (id);
CREATE INDEX ON people (province, town);
CREATE INDEX ON people (lower(town));
CREATE INDEX ON people (key);
CREATE TABLE goal (a text, b text, n bigint);
"""
STATEMENTS: tuple[tuple[str, str | None], ...] = (
    ("INSERT INTO goal SELECT town, born, id FROM people", None),
    ("INSERT INTO goal SELECT key, '', count(*) FROM people GROUP BY key", None),
    ("INSERT INTO goal SELECT province, '', count(*) FROM people GROUP BY province", None),
    ("INSERT INTO goal SELECT province, town, count(*) FROM people GROUP BY 1, 2", None),
    ("UPDATE people SET born = born + 1 WHERE town > 'town 2'", None),
    ("INSERT INTO goal SELECT a.town, b.town, 1 FROM people a JOIN people b USING (id)", None),
    ("INSERT INTO goal SELECT town, born, id FROM people", "province"),
    ("INSERT INTO goal SELECT town, born, id FROM people", "province,town"),
    ("INSERT INTO goal SELECT town, born, id FROM people", "lower(town)"),
    ("INSERT INTO goal SELECT town, born, id FROM people", "seen"),
)


def main() -> int:
    """Make the table and judge each statement some times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", type=Path, help="another server's bin folder")
    parser.add_argument("--target", type=int, default=100, help="default_statistics_target")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=16)
    options = parser.parse_args()
    packaged = options.binaries is None
    binaries = ServerBinaries.packaged() if packaged else ServerBinaries(options.binaries)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with EmbeddedServer(
            Path(folder) / "server", binaries=binaries, settings=SETTINGS
        ) as server:
            session = PostgresSession(server.dsn)
            _make(session, options.target)
            version = session.execute("SHOW server_version")[0].rows[0][0]
            print(f"PostgreSQL {version}, statistics target {options.target}, {options.jobs} jobs")
            print(f"{'choice ms':>10} {'whole ms':>9}  {'key':<14} scans  statement")
            for sql, by in STATEMENTS:
                print(_line(session, server.dsn, sql, by, options.repeat, options.jobs))
            session.execute("DROP TABLE people")
            session.close()
    return 0


def _make(session: PostgresSession, target: int) -> None:
    """A table of a billion rows, as far as the catalogue and the files' sizes tell."""
    session.execute(SETUP)
    session.execute(f"SET default_statistics_target = {target}; ANALYZE people")
    (folder, path), *_ = session.execute(
        "SELECT current_setting('data_directory'), pg_relation_filepath('people')"
    )[0].rows
    session.execute("CHECKPOINT")
    first = Path(folder or "") / (path or "")
    pages = first.read_bytes()
    with first.open("r+b") as file:
        for _ in range(SEGMENT_BYTES // len(pages)):
            file.write(pages)
        file.write(pages[: SEGMENT_BYTES - file.tell()])
    for number in range(1, SEGMENTS):
        os.link(first, first.with_name(f"{first.name}.{number}"))
    session.execute(
        f"UPDATE pg_class SET reltuples = {ROWS}, relpages = {PAGES} WHERE relname = 'people';"
        # Values that were counted in the rows that are there are as many more as there are rows.
        "UPDATE pg_statistic SET stadistinct = -1 WHERE starelid = 'people'::regclass "
        "AND stadistinct < -0.5"
    )


def _line(
    session: PostgresSession, dsn: str, sql: str, by: str | None, repeat: int, jobs: int
) -> str:
    (item,) = Program.read([Source("-c", sql)], {}).items
    choices: list[float] = []
    wholes: list[float] = []
    before = _scans(session)
    own, snapshots = PostgresSession(dsn), SnapshotHolder(dsn)
    request = read_request(by) if by else None
    analyst = Analyst(own, snapshots, SplitOptions(by=request, jobs=jobs), None)
    for _ in range(repeat + 1):
        with _timed_choice() as times:
            began_s = time.perf_counter()
            found: Analysis = analyst.analyse(item)
            wholes.append(time.perf_counter() - began_s)
        choices.append(sum(times))
        snapshots.close()
    own.close()
    snapshots.end()
    key = found.plan.split.key if found.plan.split else found.plan.reasons[0][0]
    scans = _scans(session) - before
    asked = f" --by {by}" if by else ""
    return (
        f"{1e3 * median(choices[1:]):10.1f} {1e3 * median(wholes[1:]):9.1f}  {key:<14} "
        f"{scans:5}  {sql}{asked}"
    )


class _timed_choice:  # noqa: N801  # reads as a function
    """Seconds of every choice that is made inside."""

    def __enter__(self) -> list[float]:
        times: list[float] = []
        original = Chooser.choose

        def choose(*arguments: object, **named: object) -> object:
            began_s = time.perf_counter()
            try:
                return original(*arguments, **named)  # type: ignore[arg-type]
            finally:
                times.append(time.perf_counter() - began_s)

        self._patch = mock.patch.object(Chooser, "choose", choose)
        self._patch.start()
        return times

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


def _scans(session: PostgresSession) -> int:
    """Sequential scans of the table so far."""
    session.execute("SELECT pg_stat_force_next_flush()")
    rows = session.execute(
        "SELECT pg_stat_clear_snapshot(), seq_scan FROM pg_stat_user_tables "
        "WHERE relname = 'people'"
    )[0].rows
    return int(rows[0][1] or 0)


if __name__ == "__main__":
    raise SystemExit(main())
