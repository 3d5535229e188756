"""MERGE over many connections, against one connection: rows, tags and errors."""

from __future__ import annotations

import psycopg
import pytest
from side_by_side import (
    SERIAL,
    SPLIT,
    assert_split_alike,
    connected,
    differences,
    execute,
    make_targets,
    pgfan,
    reused_dsn,
    tag_of,
)

dsn = reused_dsn

COLUMNS = "id int PRIMARY KEY, v int, t text, at timestamptz DEFAULT now()"
FILL = "INSERT INTO {target} SELECT g, -g, 'old', '2001-01-01' FROM generate_series(1, 900, 3) g"
SOURCES = (
    "CREATE TABLE s (id int PRIMARY KEY, k int, v int, pad text)",
    (
        "INSERT INTO s SELECT g * 7919 % 1000, g * 7919 % 50, g, repeat('x', 200) "
        "FROM generate_series(1, 999) g"
    ),
    "CREATE INDEX ON s (k)",
    "ANALYZE s",
)
NEW = "WHEN NOT MATCHED THEN INSERT (id, v, at) VALUES (s.id, s.v, '2002-02-02')"
BY_ID = "MERGE INTO {target} t USING s ON t.id = s.id "

# What is split, and by what.
SAME = {
    "update and insert": (f"{BY_ID} WHEN MATCHED THEN UPDATE SET v = t.v + s.v {NEW}", "id"),
    "delete": (f"{BY_ID} WHEN MATCHED AND s.k < 25 THEN DELETE", "id"),
    "all three": (
        (
            f"{BY_ID} AND t.v < -9 WHEN MATCHED AND s.k = 7 THEN DELETE "
            "WHEN MATCHED AND s.k = 8 THEN DO NOTHING "
            "WHEN MATCHED THEN UPDATE SET v = 0, t = s.pad "
            "WHEN NOT MATCHED AND s.k > 3 AND s.id % 3 <> 1 THEN "
            "INSERT (v, t, id, at) VALUES (s.v, 'new', s.id, NULL)"
        ),
        "id",
    ),
    "insert only": (f"{BY_ID} {NEW}", "id"),
    "columns in their order": (
        f"{BY_ID} WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v, 'new', NULL)",
        "id",
    ),
    "a source with an alias": (
        (
            "MERGE INTO {target} AS t USING public.s AS z (a, b) ON z.a = t.id "
            "WHEN MATCHED THEN UPDATE SET v = b"
        ),
        "id",
    ),
    "groups": (
        (
            "MERGE INTO {target} t USING (SELECT k, sum(v) AS v FROM s GROUP BY k) q ON q.k = t.id "
            "WHEN MATCHED THEN UPDATE SET v = q.v "
            "WHEN NOT MATCHED THEN INSERT (id, v, at) VALUES (q.k, q.v, NULL)"
        ),
        "k",
    ),
    "WITH": (
        (
            "WITH q AS (SELECT id, v FROM s WHERE k < 40) MERGE INTO {target} t USING q "
            "ON q.id = t.id WHEN MATCHED THEN DELETE"
        ),
        "id",
    ),
    "series": (
        (
            "MERGE INTO {target} t USING generate_series(1, 1500) AS g ON t.id = g "
            "WHEN MATCHED THEN UPDATE SET v = g "
            "WHEN NOT MATCHED THEN INSERT (id, v, at) VALUES (g, g, NULL)"
        ),
        "series",
    ),
    "a subquery in an action": (
        f"{BY_ID} WHEN MATCHED THEN UPDATE SET v = (SELECT max(o.v) FROM s o WHERE o.k = s.k)",
        "id",
    ),
    "now()": (
        (
            f"{BY_ID} WHEN MATCHED THEN UPDATE SET v = EXTRACT(year FROM now()) * 0 "
            "WHEN NOT MATCHED AND now() IS NULL THEN INSERT (id) VALUES (s.id)"
        ),
        "id",
    ),
    "an unqualified name": (
        "MERGE INTO {target} USING s ON {target}.id = s.id WHEN MATCHED THEN UPDATE SET t = pad",
        "id",
    ),
}


def make(dsn: str, columns: str = COLUMNS, fill: str = FILL) -> None:
    make_targets(dsn, SOURCES, columns, fill)


@pytest.mark.parametrize(("statement", "key"), SAME.values(), ids=list(SAME))
def test_the_same_rows_and_the_same_tag(dsn: str, statement: str, key: str) -> None:
    make(dsn)
    assert_split_alike(dsn, statement, key)


TARGETS = {
    "with a longer key": (COLUMNS.replace("id int", "id bigint"), FILL),
    "without an index": (COLUMNS.replace(" PRIMARY KEY", ""), FILL),
    "with equal keys": (
        COLUMNS.replace(" PRIMARY KEY", ""),
        FILL.replace("SELECT g,", "SELECT g % 90,"),
    ),
    "with NULLs": (
        COLUMNS.replace(" PRIMARY KEY", ""),
        FILL.replace("SELECT g,", "SELECT NULLIF(g % 90, 1),"),
    ),
    "generated and identity columns": (
        (
            "id int UNIQUE, v int, t text, at timestamptz, "
            "n int GENERATED ALWAYS AS (v * 2) STORED, "
            "CHECK (v < 5000)"
        ),
        FILL,
    ),
}


@pytest.mark.parametrize(("columns", "fill"), TARGETS.values(), ids=list(TARGETS))
def test_a_target(dsn: str, columns: str, fill: str) -> None:
    make(dsn, columns, fill)
    statement = f"{BY_ID} WHEN MATCHED THEN UPDATE SET v = t.v + s.v {NEW}"
    tag = tag_of(dsn, statement.replace("{target}", SERIAL))
    outcome = pgfan(dsn, statement.replace("{target}", SPLIT), chunk_rows=40)
    assert (outcome.last.verdict, outcome.tags) == ("split", [tag]), outcome.last
    assert differences(dsn, SERIAL, SPLIT) == (0, 0)


def test_a_source_with_equal_keys_and_nulls(dsn: str) -> None:
    """Rows that match nothing are all inserted, in whatever range they are."""
    execute(
        dsn,
        "CREATE TABLE s (id int, v int)",
        "INSERT INTO s SELECT NULLIF(g % 300, 7), g FROM generate_series(1, 999) g",
        "CREATE INDEX ON s (id)",
        "ANALYZE s",
    )
    for name in (SERIAL, SPLIT):
        execute(dsn, f"CREATE TABLE {name} (id int, v int)", f"INSERT INTO {name} VALUES (8, 0)")
    statement = (
        "MERGE INTO {target} t USING s ON t.id = s.id "
        "WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v)"
    )
    tag = tag_of(dsn, statement.replace("{target}", SERIAL))
    outcome = pgfan(dsn, statement.replace("{target}", SPLIT), chunk_rows=40)
    assert (outcome.last.verdict, outcome.tags) == ("split", [tag]), outcome.last
    assert differences(dsn, SERIAL, SPLIT) == (0, 0)


def test_a_partitioned_target(dsn: str) -> None:
    execute(dsn, *SOURCES)
    for name in (SERIAL, SPLIT):
        execute(
            dsn,
            f"CREATE TABLE {name} (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
            f"CREATE TABLE {name}_1 PARTITION OF {name} FOR VALUES FROM (MINVALUE) TO (500)",
            f"CREATE TABLE {name}_2 PARTITION OF {name} DEFAULT",
            f"INSERT INTO {name} SELECT g, 0 FROM generate_series(1, 900, 3) g",
        )
    statement = (
        f"{BY_ID} WHEN MATCHED AND s.k < 9 THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v "
        "WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, 1)"
    )
    tag = tag_of(dsn, statement.replace("{target}", SERIAL))
    outcome = pgfan(dsn, statement.replace("{target}", SPLIT), chunk_rows=40)
    assert (outcome.last.verdict, outcome.tags) == ("split", [tag]), outcome.last
    assert differences(dsn, SERIAL, SPLIT) == (0, 0)


def test_rows_that_are_inserted_have_one_time(dsn: str) -> None:
    make(dsn)
    statement = f"MERGE INTO {SPLIT} t USING s ON t.id = s.id "
    statement += "WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.v)"
    outcome = pgfan(dsn, statement, chunk_rows=40)
    assert outcome.last.verdict == "split"
    times = f"SELECT count(DISTINCT at) FROM {SPLIT} WHERE v > 0"
    assert connected(dsn).execute(times.encode()).fetchall() == [(1,)]


def test_two_rows_that_meet_are_an_error(dsn: str) -> None:
    make(dsn)
    statement = "MERGE INTO {target} t USING s ON t.id = s.k WHEN MATCHED THEN UPDATE SET v = s.v"
    with pytest.raises(psycopg.errors.CardinalityViolation, match="a second time"):
        execute(dsn, statement.replace("{target}", SERIAL))
    outcome = pgfan(dsn, statement.replace("{target}", SPLIT), chunk_rows=40)
    assert outcome.last.verdict == "split"
    assert getattr(outcome.result.error, "sqlstate", "") == "21000"


REFUSED = {
    "another row may be met": (
        "MERGE INTO {target} t USING s ON t.v = s.id + 1 WHEN MATCHED THEN UPDATE SET t = 'x'"
    ),
    "the key is changed": f"{BY_ID} WHEN MATCHED THEN UPDATE SET id = -s.id",
    "rows with another key": f"{BY_ID} {NEW.replace('(s.id,', '(s.id + 5000,')}",
    "a whole row": f"{BY_ID} WHEN MATCHED THEN UPDATE SET t = s::text",
    "the target in the source": (
        "MERGE INTO {target} t USING (SELECT id FROM {target}) s ON t.id = s.id "
        "WHEN MATCHED THEN DELETE"
    ),
}


@pytest.mark.parametrize("statement", REFUSED.values(), ids=list(REFUSED))
def test_what_is_not_split_is_as_before(dsn: str, statement: str) -> None:
    make(dsn)
    tag = tag_of(dsn, statement.replace("{target}", SERIAL))
    outcome = pgfan(dsn, statement.replace("{target}", SPLIT), chunk_rows=40)
    assert (outcome.last.verdict, outcome.tags) == ("serial", [tag]), outcome.last
    assert differences(dsn, SERIAL, SPLIT) == (0, 0)


def test_rights_on_some_columns_only(dsn: str) -> None:
    """A chunk reads every column of the source: without the right to, it is not split."""
    make(dsn)
    execute(
        dsn,
        "DROP ROLE IF EXISTS merger",
        "CREATE ROLE merger",
        "GRANT USAGE ON SCHEMA public TO merger",
        f"GRANT ALL ON {SPLIT} TO merger",
        "GRANT SELECT (id) ON s TO merger",
    )
    statement = f"MERGE INTO {SPLIT} t USING s ON t.id = s.id WHEN MATCHED THEN DELETE"
    outcome = pgfan(f"{dsn} options='-c role=merger'", statement, journal_schema=None)
    execute(dsn, "DROP OWNED BY merger", "DROP ROLE merger")
    assert outcome.result.ok, outcome.result.error
    assert outcome.last.verdict == "serial"
