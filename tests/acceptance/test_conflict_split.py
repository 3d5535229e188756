"""INSERT ... ON CONFLICT over many connections, against one connection: rows, tags and errors."""

from __future__ import annotations

import psycopg
import pytest
from side_by_side import (
    SERIAL,
    SPLIT,
    Recorder,
    assert_split_alike,
    differences,
    execute,
    make_targets,
    pgfan,
    query,
    reused_dsn,
    tag_of,
)

from pgfan.events import ChunkRetried

dsn = reused_dsn

COLUMNS = "id int PRIMARY KEY, v int, at timestamptz DEFAULT '2001-01-01', u text UNIQUE"
FILL = "INSERT INTO {target} SELECT g, -g, '2001-01-01', 'u' || g FROM generate_series(1, 900, 3) g"
SOURCES = (
    "CREATE TABLE s (id int PRIMARY KEY, k int, v int, pad text)",
    # Out of order, so that equal k are in many blocks.
    (
        "INSERT INTO s SELECT g * 7919 % 1000, g * 7919 % 50, g, repeat('x', 200) "
        "FROM generate_series(1, 999) g"
    ),
    "CREATE INDEX ON s (k)",
    "ANALYZE s",
)
UPSERT = "ON CONFLICT (id) DO UPDATE SET v = {target}.v + EXCLUDED.v"

# What is split, and by what.
SAME = {
    "unique source": (f"INSERT INTO {{target}} SELECT id, v FROM s {UPSERT}", "ctid"),
    "joined with others": (
        (
            f"INSERT INTO {{target}} SELECT s.id, max(o.v) FROM s JOIN s o USING (k) GROUP BY s.id "
            f"{UPSERT}"
        ),
        "id",
    ),
    "groups": (
        (
            "INSERT INTO {target} AS z SELECT k, count(*) FROM s GROUP BY k ON CONFLICT (id) "
            "DO UPDATE SET v = z.v * 2 + EXCLUDED.v WHERE z.v <> EXCLUDED.v"
        ),
        "k",
    ),
    "a constraint by name": (
        (
            "INSERT INTO {target} SELECT id, v FROM s ON CONFLICT ON CONSTRAINT {target}_pkey "
            "DO UPDATE SET v = 7"
        ),
        "ctid",
    ),
    "columns in another order": (
        (
            "INSERT INTO {target} (v, u, id) SELECT v, 'new' || id, id FROM s WHERE k > 9 "
            "ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v"
        ),
        "ctid",
    ),
    "series": (
        f"INSERT INTO {{target}} SELECT g, g FROM generate_series(1, 1500) g {UPSERT}",
        "series",
    ),
    "series in the target list": (
        f"INSERT INTO {{target}} SELECT generate_series(1, 1500), 5 {UPSERT}",
        "series",
    ),
    "nothing, by a column": (
        "INSERT INTO {target} (id, v) SELECT id, v FROM s ON CONFLICT (id) DO NOTHING",
        "ctid",
    ),
    "nothing, equal rows": (
        "INSERT INTO {target} (id, v) SELECT k, 1 FROM s ON CONFLICT (id) DO NOTHING",
        "k",
    ),
    "nothing, without relations": (
        (
            "INSERT INTO {target} (id, v) SELECT g % 40, 1 FROM generate_series(1, 1500) g "
            "ON CONFLICT (id) DO NOTHING"
        ),
        "series",
    ),
    "now()": (
        (
            "INSERT INTO {target} (id) SELECT id FROM s ON CONFLICT (id) DO UPDATE "
            "SET v = EXTRACT(year FROM now()) - EXTRACT(year FROM CURRENT_DATE)"
        ),
        "ctid",
    ),
}


def make(dsn: str, columns: str = COLUMNS, fill: str = FILL) -> None:
    make_targets(dsn, SOURCES, columns, fill)


@pytest.mark.parametrize(("statement", "key"), SAME.values(), ids=list(SAME))
def test_the_same_rows_and_the_same_tag(dsn: str, statement: str, key: str) -> None:
    make(dsn)
    assert_split_alike(dsn, statement, key)


PARTITIONED = "id int PRIMARY KEY, v int) PARTITION BY RANGE (id"


def test_a_partitioned_target(dsn: str) -> None:
    execute(dsn, *SOURCES)
    for name in (SERIAL, SPLIT):
        execute(
            dsn,
            f"CREATE TABLE {name} ({PARTITIONED})",
            f"CREATE TABLE {name}_1 PARTITION OF {name} FOR VALUES FROM (MINVALUE) TO (500)",
            f"CREATE TABLE {name}_2 PARTITION OF {name} DEFAULT",
            f"INSERT INTO {name} SELECT g, 0 FROM generate_series(1, 900, 3) g",
        )
    statement = f"INSERT INTO {{target}} SELECT id, v FROM s {UPSERT}"
    tag = tag_of(dsn, statement.replace("{target}", SERIAL))
    outcome = pgfan(dsn, statement.replace("{target}", SPLIT), chunk_rows=40)
    assert (outcome.last.verdict, outcome.tags) == ("split", [tag])
    assert differences(dsn, SERIAL, SPLIT) == (0, 0)


REFUSED = {
    "a key that is not given": "INSERT INTO {target} (id, v) SELECT k + 0, 1 FROM s "
    "WHERE id < 50 ON CONFLICT (id) DO UPDATE SET v = 2",
    "nothing, and a second unique column": "INSERT INTO {target} (id, v, u) "
    "SELECT id, v, 'u' || k FROM s ON CONFLICT DO NOTHING",
    "nothing, and a relation without the key": "INSERT INTO {target} (id, v) "
    "SELECT k + 1, 1 FROM s ON CONFLICT DO NOTHING",
}


@pytest.mark.parametrize("statement", REFUSED.values(), ids=list(REFUSED))
def test_what_is_not_split_is_as_before(dsn: str, statement: str) -> None:
    make(dsn)
    tag = tag_of(dsn, statement.replace("{target}", SERIAL))
    outcome = pgfan(dsn, statement.replace("{target}", SPLIT), chunk_rows=40)
    assert outcome.last.verdict == "serial"
    assert "on-conflict" in dict(outcome.last.reasons)
    assert outcome.tags == [tag]
    assert differences(dsn, SERIAL, SPLIT) == (0, 0)


def test_two_rows_that_meet_are_an_error(dsn: str) -> None:
    make(dsn)
    statement = (
        "INSERT INTO {target} (id, v) SELECT k, v FROM s ON CONFLICT (id) DO UPDATE SET v = 0"
    )
    with pytest.raises(psycopg.errors.CardinalityViolation, match="a second time"):
        execute(dsn, statement.replace("{target}", SERIAL))
    outcome = pgfan(dsn, statement.replace("{target}", SPLIT), chunk_rows=40)
    assert outcome.last.verdict == "split"
    assert outcome.result.error is not None
    assert getattr(outcome.result.error, "sqlstate", "") == "21000"
    # Nothing of a chunk that failed is there: every k has twenty rows, so all of them failed.
    assert differences(dsn, SERIAL, SPLIT) == (0, 0)


def test_a_conflict_in_another_unique_column_is_an_error(dsn: str) -> None:
    make(dsn)
    statement = (
        "INSERT INTO {target} (id, v, u) SELECT id, v, 'u' || k FROM s "
        "ON CONFLICT (id) DO UPDATE SET v = 0"
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        execute(dsn, statement.replace("{target}", SERIAL))
    outcome = pgfan(dsn, statement.replace("{target}", SPLIT), chunk_rows=40)
    assert outcome.last.verdict == "split"
    assert getattr(outcome.result.error, "sqlstate", "") == "23505"


def test_rounded_keys_meet(dsn: str) -> None:
    """1.001 and 1.002 are different keys, and one value in numeric(10, 2)."""
    execute(
        dsn,
        "CREATE TABLE s (n numeric PRIMARY KEY, pad text)",
        "INSERT INTO s SELECT g / 1000.0, repeat('x', 200) FROM generate_series(1, 500) g",
        f"CREATE TABLE {SPLIT} (n numeric(10, 2) PRIMARY KEY)",
    )
    statement = f"INSERT INTO {SPLIT} SELECT n FROM s ON CONFLICT DO NOTHING"
    outcome = pgfan(dsn, statement, chunk_rows=20)
    assert outcome.last.verdict == "serial"
    assert query(dsn, f"SELECT count(*) FROM {SPLIT}") == [(51,)]


def test_many_equal_rows_that_deadlock_come_to_an_end(dsn: str) -> None:
    """Each chunk inserts the same keys in an order of its own, and waits for the others' rows."""
    execute(dsn, f"CREATE TABLE {SPLIT} (id int PRIMARY KEY, n serial)")
    statement = (
        f"SET deadlock_timeout = '20ms'; INSERT INTO {SPLIT} (id) "
        "SELECT CASE WHEN g / 100 % 2 = 0 THEN g % 100 ELSE 99 - g % 100 END "
        "FROM generate_series(0, 1999) g WHERE pg_sleep(0.001) IS NOT NULL ON CONFLICT DO NOTHING"
    )
    recorder = Recorder()
    outcome = pgfan(dsn, statement, recorder, chunk_rows=100, jobs=4)
    assert outcome.result.ok, outcome.result.error
    assert (outcome.last.verdict, outcome.last.chunks) == ("split", 20)
    assert any("deadlock" in event.reason for event in recorder.of(ChunkRetried))
    assert outcome.last.rows == 100
    assert query(dsn, f"SELECT count(*), min(id), max(id) FROM {SPLIT}") == [(100, 0, 99)]


def test_chunks_that_would_wait_are_not_chosen_unasked(dsn: str) -> None:
    execute(dsn, f"CREATE TABLE {SPLIT} (id int PRIMARY KEY)")
    statement = (
        f"INSERT INTO {SPLIT} SELECT g % 9 FROM generate_series(1, 900000) g "
        "WHERE g < 50 ON CONFLICT DO NOTHING"
    )
    outcome = pgfan(dsn, statement, split="auto", chunk_rows=None)
    assert dict(outcome.last.reasons).keys() == {"on-conflict"}
