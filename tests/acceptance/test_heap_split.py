"""Heap tables split by their blocks: whatever state the heap is in, and whoever changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from side_by_side import (
    Case,
    Recorder,
    both_ways,
    execute,
    pgfan,
    query,
    reused_dsn,
    split_both_ways,
    value,
)

from pgfan.events import TaskStarted

if TYPE_CHECKING:
    from collections.abc import Iterator

dsn = reused_dsn

COPY = "INSERT INTO {target} SELECT * FROM s"
ROWS = "INSERT INTO s SELECT g, md5(g::text) FROM generate_series(1, 3000) g"
TABLE = "CREATE TABLE s (i int, t text)"

HEAPS = {
    "plain": ((ROWS,), 3000),
    "analysed": ((ROWS, "ANALYZE s"), 3000),
    "empty": ((), 0),
    "empty after a rollback": (("BEGIN; " + ROWS + "; ROLLBACK",), 0),
    "one row": (("INSERT INTO s VALUES (1, 'one')",), 1),
    "one row far behind": ((ROWS, "DELETE FROM s WHERE i < 3000"), 1),
    "dead rows": ((ROWS, "DELETE FROM s WHERE i % 3 = 0"), 2000),
    "dead rows vacuumed": ((ROWS, "DELETE FROM s WHERE i % 3 = 0", "VACUUM s"), 2000),
    "HOT updates": (
        (
            "ALTER TABLE s SET (fillfactor = 40)",
            ROWS,
            "UPDATE s SET t = 'new' WHERE i % 2 = 0",
            "UPDATE s SET t = 'newer' WHERE i % 4 = 0",
        ),
        3000,
    ),
    "cold updates": (
        (ROWS, "CREATE INDEX ON s (t)", "UPDATE s SET t = 'new' || i WHERE i % 2 = 0"),
        3000,
    ),
    "holes": (
        (ROWS, "DELETE FROM s WHERE i BETWEEN 500 AND 2500", "VACUUM s"),
        999,
    ),
    "holes filled again": (
        (
            ROWS,
            "DELETE FROM s WHERE i BETWEEN 500 AND 2500",
            "VACUUM s",
            "INSERT INTO s SELECT -g, 'again' FROM generate_series(1, 700) g",
        ),
        1699,
    ),
    "end cut off": ((ROWS, "DELETE FROM s WHERE i > 1000", "VACUUM (TRUNCATE) s"), 1000),
    "statistics from before": (
        (ROWS, "ANALYZE s", "DELETE FROM s WHERE i > 100", "VACUUM FULL s"),
        100,
    ),
    "NULLs and duplicates": (
        (
            (
                "INSERT INTO s SELECT NULLIF(g % 5, 0), NULLIF('x', left(g::text, 1)) "
                "FROM generate_series(1, 3000) g"
            ),
            "INSERT INTO s SELECT NULL, NULL FROM generate_series(1, 500)",
        ),
        3500,
    ),
    "a column added later": (
        (ROWS, "ALTER TABLE s ADD c int DEFAULT 7", "ALTER TABLE s DROP c"),
        3000,
    ),
    "frozen": ((ROWS, "VACUUM FREEZE s"), 3000),
    "rewritten": ((ROWS, "CREATE INDEX k ON s (t)", "CLUSTER s USING k"), 3000),
}
"""What is done to `s`, and the rows in it then."""


@pytest.mark.parametrize(("setup", "rows"), HEAPS.values(), ids=list(HEAPS))
def test_a_heap(dsn: str, setup: tuple[str, ...], rows: int) -> None:
    case = Case(COPY, "i int, t text", (TABLE, *setup), chunks_min=0, rows=rows)
    outcome = split_both_ways(dsn, case, chunk_rows=300)
    assert outcome.last.key == "ctid"
    blocks = value(dsn, "SELECT pg_relation_size('s') / current_setting('block_size')::int")
    assert outcome.last.chunks <= blocks


def test_every_block_may_be_a_chunk(dsn: str) -> None:
    case = Case(COPY, "i int, t text", (TABLE, ROWS))
    outcome = split_both_ways(dsn, case, chunk_rows=1)
    assert outcome.last.chunks == value(
        dsn, "SELECT pg_relation_size('s') / current_setting('block_size')::int"
    )


def test_toasted_values(dsn: str) -> None:
    setup = (
        "CREATE TABLE s (i int, t text)",
        "ALTER TABLE s ALTER t SET STORAGE EXTERNAL",
        "INSERT INTO s SELECT g, repeat(md5(g::text), 300) FROM generate_series(1, 400) g",
    )
    assert split_both_ways(dsn, Case(COPY, "i int, t text", setup), chunk_rows=50).last.chunks > 2


KINDS = {
    "materialised view": (
        ("CREATE MATERIALIZED VIEW m AS SELECT * FROM s",),
        "INSERT INTO {target} SELECT * FROM m",
    ),
    "unlogged table": (
        ("CREATE UNLOGGED TABLE u AS SELECT * FROM s",),
        "INSERT INTO {target} SELECT * FROM u",
    ),
    "parent alone": (
        ("CREATE TABLE c () INHERITS (s)", "INSERT INTO c SELECT * FROM ONLY s"),
        "INSERT INTO {target} SELECT * FROM ONLY s",
    ),
    "child": (
        ("CREATE TABLE c () INHERITS (s)", "INSERT INTO c SELECT * FROM ONLY s"),
        "INSERT INTO {target} SELECT * FROM c",
    ),
    "one partition": (
        (
            "CREATE TABLE p (i int, t text) PARTITION BY HASH (i)",
            "CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
            "CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
            "INSERT INTO p SELECT * FROM s",
        ),
        "INSERT INTO {target} SELECT * FROM p1",
    ),
    "TABLE command": ((), "INSERT INTO {target} TABLE s"),
    "its own ctid in the WHERE": (
        (),
        "INSERT INTO {target} SELECT * FROM s WHERE ctid >= '(3,7)' AND ctid <> '(5,5)' OR i < 9",
    ),
    "OR in the WHERE": ((), "INSERT INTO {target} SELECT * FROM s WHERE i < 100 OR i > 2900"),
    "a tableoid": ((), "INSERT INTO {target} SELECT i, tableoid::regclass::text FROM s"),
}


@pytest.mark.parametrize(("setup", "script"), KINDS.values(), ids=list(KINDS))
def test_a_kind_of_relation(dsn: str, setup: tuple[str, ...], script: str) -> None:
    case = Case(script, "i int, t text", (TABLE, ROWS, *setup))
    assert split_both_ways(dsn, case, chunk_rows=300).last.key == "ctid"


WHOLE = {
    "inheritance tree": (
        ("CREATE TABLE c () INHERITS (s)", "INSERT INTO c SELECT * FROM ONLY s"),
        "INSERT INTO {target} SELECT * FROM s",
    ),
    "partitioned table": (
        (
            "CREATE TABLE p (i int, t text) PARTITION BY LIST (i)",
            "CREATE TABLE p0 PARTITION OF p DEFAULT",
            "INSERT INTO p SELECT * FROM s",
        ),
        "INSERT INTO {target} SELECT * FROM p",
    ),
}


@pytest.mark.parametrize(("setup", "script"), WHOLE.values(), ids=list(WHOLE))
def test_several_heaps_are_divided_by_leaves_or_a_column(
    dsn: str, setup: tuple[str, ...], script: str
) -> None:
    case = Case(script, "i int, t text", (TABLE, ROWS, *setup, "ANALYZE"))
    assert split_both_ways(dsn, case).last.key in {"branches", "i", "t"}


def test_one_value_in_every_row_is_one_chunk_where_a_split_is_asked_for(dsn: str) -> None:
    setup = (
        "CREATE TABLE p (i int, t text) PARTITION BY LIST (i)",
        "CREATE TABLE p0 PARTITION OF p DEFAULT",
        "INSERT INTO p SELECT 7, NULL FROM generate_series(1, 20)",
    )
    outcome = both_ways(dsn, Case("INSERT INTO {target} SELECT * FROM p", "i int, t text", setup))
    assert (outcome.last.verdict, outcome.last.chunks) == ("split", 1)


@pytest.fixture
def neighbour(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '200ms'")
        yield connection


def test_nobody_can_tear_the_result(dsn: str, neighbour: psycopg.Connection) -> None:
    """Rows come, go and move between two chunks; the result is one snapshot's."""

    def disturb(chunk: int) -> None:
        neighbour.execute(
            f"INSERT INTO s SELECT -g, 'late' FROM generate_series(1, {chunk * 40}) g"
        )
        neighbour.execute(f"DELETE FROM s WHERE i % 50 = {chunk % 50}")
        neighbour.execute(f"UPDATE s SET t = 'moved', i = i + 10000 WHERE i % 7 = {chunk % 7}")
        if chunk % 5 == 0:
            neighbour.execute("VACUUM (TRUNCATE) s")

    case = Case(COPY, "i int, t text", (TABLE, ROWS))
    outcome = split_both_ways(dsn, case, Recorder(disturb), chunk_rows=150)
    assert outcome.last.rows == 3000
    assert value(dsn, "SELECT count(*) FROM s WHERE t = 'late'") > 0


@pytest.mark.parametrize("command", ["TRUNCATE s", "DROP TABLE s", "VACUUM FULL s"])
def test_nobody_can_rewrite_the_source_meanwhile(
    dsn: str, neighbour: psycopg.Connection, command: str
) -> None:
    refused: list[str | None] = []

    def disturb(_: int) -> None:
        try:
            neighbour.execute(command.encode())
        except psycopg.errors.LockNotAvailable as error:
            refused.append(error.sqlstate)

    recorder = Recorder(lambda chunk: disturb(chunk) if chunk == 2 else None)
    split_both_ways(dsn, Case(COPY, "i int, t text", (TABLE, ROWS)), recorder, chunk_rows=500)
    assert refused == ["55P03"]
    execute(dsn, command)


def test_a_source_that_was_filled_just_before(dsn: str) -> None:
    """Filled by the statement before, in a session that has not told its statistics yet."""
    script = (
        "CREATE TABLE s (i int);"
        "INSERT INTO s SELECT g FROM generate_series(1, 20000) g LIMIT 20000;"
        "INSERT INTO t SELECT i FROM s;"
        "INSERT INTO s SELECT i + 20000 FROM s;"
        "INSERT INTO t SELECT i FROM s"
    )
    execute(dsn, "CREATE TABLE t (i int)")
    outcome = pgfan(dsn, script, chunk_rows=4000)
    verdicts = [task.verdict for task in outcome.tasks]
    assert verdicts == ["serial", "serial", "split", "serial", "split"]
    assert query(dsn, "SELECT count(*), count(DISTINCT i), max(i) FROM t") == [
        (60000, 40000, 40000)
    ]


def test_what_auto_does(dsn: str) -> None:
    """Small work stays on one connection, large work does not, unless told otherwise."""
    execute(dsn, TABLE, ROWS, "CREATE TABLE t (i int, t text)")
    small = pgfan(dsn, "INSERT INTO t SELECT * FROM s", split="auto")
    assert dict(small.last.reasons).keys() == {"small"}
    never = pgfan(dsn, "INSERT INTO t SELECT * FROM s", split="never")
    assert dict(never.last.reasons).keys() == {"asked-serial"}
    atomic = pgfan(dsn, "INSERT INTO t SELECT * FROM s", atomic=True)
    assert dict(atomic.last.reasons).keys() == {"atomic"}
    large = pgfan(
        dsn,
        "INSERT INTO t SELECT a.i, a.t FROM s a, s b WHERE a.i + b.i = 2",
        split="auto",
        chunk_rows=500,
    )
    assert (large.last.verdict, large.last.rows) == ("split", 1)
    assert value(dsn, "SELECT count(*) FROM t") == 9001


def test_the_key_that_is_asked_for(dsn: str) -> None:
    case = "INSERT INTO t SELECT s.i, g::text FROM s, generate_series(1, 5) g"
    execute(dsn, TABLE, ROWS, "CREATE TABLE t (i int, t text)")
    assert pgfan(dsn, case, by="ctid", chunk_rows=500).last.key == "ctid"
    recorder = Recorder()
    assert pgfan(dsn, case, recorder, by="series", chunk_rows=2).last.key == "series"
    assert recorder.of(TaskStarted)[0].total_units == 5
    whole = pgfan(dsn, "INSERT INTO t SELECT * FROM s", by="series")
    assert dict(whole.last.reasons).keys() == {"key-not-found"}
    assert value(dsn, "SELECT count(*) FROM t") == 33000
