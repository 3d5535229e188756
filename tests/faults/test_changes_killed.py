"""SIGKILL while rows are changed in place, merged or grouped: none is changed twice or left out."""

from __future__ import annotations

import random

import pytest
from pgfan_client import assert_holds, client, execute, finish, holding, query, watching

ROWS = 2000
FLUSH = "SELECT pg_stat_force_next_flush()"
WAIT = "pg_sleep(0.0005) IS NOT NULL"
# What is run on s(i, k, n), the row that nobody can pass while it is locked, and what it comes to.
CASES = {
    "update": (
        f"UPDATE s SET n = n + 1 WHERE {WAIT}",
        f"SELECT FROM s WHERE i = {ROWS} FOR UPDATE",
        "SELECT i, k, n FROM s",
        f"SELECT g, g % 50, 1 FROM generate_series(1, {ROWS}) g",
    ),
    "delete": (
        f"DELETE FROM s WHERE k <> 7 AND {WAIT}",
        f"SELECT FROM s WHERE i = {ROWS} FOR UPDATE",
        "SELECT i, k, n FROM s",
        f"SELECT g, 7, 0 FROM generate_series(1, {ROWS}) g WHERE g % 50 = 7",
    ),
    "branches": (
        (
            f"INSERT INTO t SELECT i, 1 FROM s WHERE {WAIT} UNION ALL SELECT -count(*), max(k) "
            f"FROM s UNION ALL SELECT i + {ROWS}, 2 FROM s WHERE {WAIT}"
        ),
        f"INSERT INTO t VALUES ({2 * ROWS}, 0)",
        "SELECT i, n FROM t",
        (
            f"SELECT g, 1 FROM generate_series(1, {ROWS}) g UNION ALL SELECT {-ROWS}, 49 "
            f"UNION ALL SELECT g + {ROWS}, 2 FROM generate_series(1, {ROWS}) g"
        ),
    ),
    "groups": (
        f"INSERT INTO t SELECT i, count(*) FROM s WHERE {WAIT} GROUP BY i",
        f"INSERT INTO t VALUES ({ROWS}, 0)",
        "SELECT i, n FROM t",
        f"SELECT g, 1 FROM generate_series(1, {ROWS}) g",
    ),
    "on conflict do update": (
        (
            f"INSERT INTO u SELECT i, 1 FROM s WHERE {WAIT} "
            "ON CONFLICT (i) DO UPDATE SET n = u.n + EXCLUDED.n"
        ),
        f"SELECT FROM u WHERE i = {ROWS} FOR UPDATE",
        "SELECT i, n FROM u",
        f"SELECT g, 1 + (g % 2 = 0)::int * 10 FROM generate_series(1, {ROWS}) g",
    ),
    "on conflict do nothing": (
        f"INSERT INTO u SELECT i, 1 FROM s WHERE {WAIT} ON CONFLICT DO NOTHING",
        f"DELETE FROM u WHERE i = {ROWS}",
        "SELECT i, n FROM u",
        f"SELECT g, 1 + (g % 2 = 0)::int * 9 FROM generate_series(1, {ROWS}) g",
    ),
    "merge": (
        (
            f"MERGE INTO u USING (SELECT i, k FROM s WHERE {WAIT}) q ON u.i = q.i "
            "WHEN MATCHED AND q.k = 4 THEN DELETE WHEN MATCHED THEN UPDATE SET n = u.n + 1 "
            "WHEN NOT MATCHED THEN INSERT (i, n) VALUES (q.i, 1)"
        ),
        f"SELECT FROM u WHERE i = {ROWS} FOR UPDATE",
        "SELECT i, n FROM u",
        f"SELECT g, 1 + (g % 2 = 0)::int * 10 FROM generate_series(1, {ROWS}) g WHERE g % 50 <> 4",
    ),
}


@pytest.mark.parametrize(("script", "hold", "found", "expected"), CASES.values(), ids=list(CASES))
def test_killed_again_and_again(
    dsn18: str, script: str, hold: str, found: str, expected: str
) -> None:
    execute(
        dsn18,
        "CREATE TABLE s (i int PRIMARY KEY, k int, n int)",
        f"INSERT INTO s SELECT g, g % 50, 0 FROM generate_series(1, {ROWS}) g",
        "CREATE TABLE t (i int PRIMARY KEY, n bigint)",
        "CREATE TABLE u (i int PRIMARY KEY, n bigint)",
        f"INSERT INTO u SELECT g, 10 FROM generate_series(2, {ROWS}, 2) g",
        "ANALYZE s, u",
        FLUSH,
    )
    chance = random.Random(script)  # noqa: S311  # the same moments each time
    with watching(dsn18) as watcher, holding(dsn18, hold):
        for moment in sorted(chance.randrange(1, 8) for _ in range(3)):
            with client(dsn18, script) as killed:
                watcher.wait_for_chunks(moment)
                killed.kill()
    ended = finish(dsn18, script)
    assert ended.report is not None
    assert ended.report["tasks"][0]["verdict"] == "split", ended.report
    execute(dsn18, f"CREATE TABLE result AS {found}")
    assert_holds(dsn18, "result", expected)
    assert query(dsn18, "SELECT state FROM pgfan.run") == [("done",)]
