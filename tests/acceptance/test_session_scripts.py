"""Several statements in one run: their order, session and answers, and what a failure leaves."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from side_by_side import execute, pgfan, query, reused_dsn, value

from pgfan.events import Notice

dsn = reused_dsn

FIRST_TWO = """CREATE TABLE a AS SELECT g AS i FROM generate_series(1, 2000) g;
CREATE TABLE b (i int);
"""


def test_statements_run_in_order_and_each_sees_those_before(dsn: str) -> None:
    script = f"""{FIRST_TWO}
        INSERT INTO b SELECT i FROM a;
        DELETE FROM b WHERE i > 1000;
        INSERT INTO b SELECT i + (SELECT count(*) FROM a x WHERE x.i <= 1000) FROM a;
        CREATE INDEX ON b (i);
        INSERT INTO b SELECT g FROM generate_series(1, 100) g
    """
    outcome = pgfan(dsn, script, chunk_rows=300)
    assert outcome.states == ["done"] * 7
    assert [task.verdict for task in outcome.tasks if task.kind == "insert"] == ["split"] * 3
    assert query(dsn, "SELECT count(*), max(i) FROM b") == [(3100, 3000)]


def test_the_third_fails(dsn: str) -> None:
    outcome = pgfan(dsn, f"{FIRST_TWO}INSERT INTO nowhere SELECT i FROM a;\nDROP TABLE a; SELECT 1")
    assert outcome.states == ["done", "done", "failed", "not run", "not run"]
    assert not outcome.result.ok
    error = outcome.result.error
    assert error is not None
    assert (str(error.position), error.message) == (
        "-c:3:13",
        'relation "nowhere" does not exist',
    )
    assert query(dsn, "SELECT count(*) FROM a") == [(2000,)]


def test_keep_going(dsn: str) -> None:
    script = f"{FIRST_TWO}SELECT 1 / 0; INSERT INTO b SELECT i FROM a; SELECT nonsense; SELECT 2"
    outcome = pgfan(dsn, script, keep_going=True, chunk_rows=300)
    assert outcome.states == ["done", "done", "failed", "done", "failed", "done"]
    assert not outcome.result.ok
    assert value(dsn, "SELECT count(*) FROM b") == 2000


def test_the_rest_runs_once_the_third_is_mended(dsn: str) -> None:
    script = f"{FIRST_TWO}INSERT INTO c SELECT i FROM a; INSERT INTO b SELECT i FROM a"
    assert pgfan(dsn, script, chunk_rows=300).states == ["done", "done", "failed", "not run"]
    execute(dsn, "CREATE TABLE c (i int)")
    outcome = pgfan(dsn, script, chunk_rows=300)
    assert outcome.states == ["skipped", "skipped", "done", "done"]
    assert query(dsn, "SELECT (SELECT count(*) FROM b), (SELECT count(*) FROM c)") == [(2000, 2000)]


BLOCKS = {
    "committed": ("BEGIN; INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); COMMIT", ["done"], 2),
    "started": ("START TRANSACTION; INSERT INTO t VALUES (1); END", ["done"], 1),
    "rolled back": ("BEGIN; INSERT INTO t VALUES (1); ROLLBACK", ["done"], 0),
    "failing": ("BEGIN; INSERT INTO t VALUES (1); SELECT 1 / 0; COMMIT", ["failed"], 0),
    "with a savepoint": (
        (
            "BEGIN; INSERT INTO t VALUES (1); SAVEPOINT s; INSERT INTO t VALUES (2); "
            "ROLLBACK TO s; INSERT INTO t VALUES (3); COMMIT"
        ),
        ["done"],
        2,
    ),
    "with a level": (
        (
            "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO t SELECT 1 "
            "WHERE current_setting('transaction_isolation') = 'serializable'; COMMIT"
        ),
        ["done"],
        1,
    ),
    "empty": ("BEGIN; COMMIT", ["done"], 0),
    "split beside it": (
        (
            "BEGIN; INSERT INTO t SELECT generate_series(1, 20); COMMIT; "
            "INSERT INTO t SELECT generate_series(1, 20)"
        ),
        ["done", "done"],
        40,
    ),
}


@pytest.mark.parametrize(("script", "states", "rows"), BLOCKS.values(), ids=list(BLOCKS))
def test_a_transaction_block(dsn: str, script: str, states: list[str], rows: int) -> None:
    execute(dsn, "CREATE TABLE t (i int)")
    assert pgfan(dsn, script).states == states
    assert value(dsn, "SELECT count(*) FROM t") == rows


def test_an_error_in_a_block_is_placed(dsn: str) -> None:
    outcome = pgfan(dsn, "BEGIN;\nCREATE TABLE t (i int);\nSELECT 1,\n  wrong;\nCOMMIT")
    error = outcome.result.error
    assert error is not None
    assert (str(error.position), error.source_line) == ("-c:4:3", "  wrong;")


def test_settings_are_carried_to_every_connection(dsn: str) -> None:
    execute(
        dsn,
        "CREATE SCHEMA one",
        "CREATE SCHEMA two",
        "CREATE TABLE one.t (i int, zone text)",
        "CREATE TABLE two.t (i int, zone text)",
    )
    insert = "INSERT INTO t SELECT g, to_char('2024-07-01 12:00+00'::timestamptz, 'TZ HH24') FROM "
    script = f"""
        SET search_path = one; SET TimeZone = 'Asia/Tokyo'; {insert} generate_series(1, 40) g;
        SELECT set_config('search_path', 'two', false); {insert} generate_series(1, 50) g;
        RESET TimeZone; SET LOCAL search_path = nowhere; {insert} generate_series(51, 60) g;
        BEGIN; SET LOCAL search_path = one; {insert} generate_series(41, 60) g; COMMIT;
        BEGIN; SET search_path = one; COMMIT;
        {insert} generate_series(61, 100) g
    """
    outcome = pgfan(dsn, script)
    assert outcome.result.ok, outcome.result.error
    zones = "SELECT zone, count(*), count(DISTINCT i) FROM {}.t GROUP BY 1 ORDER BY 2"
    default = value(dsn, "SELECT to_char('2024-07-01 12:00+00'::timestamptz, 'TZ HH24')")
    assert query(dsn, zones.format("one")) == [("JST 21", 40, 40), (default, 60, 60)]
    assert query(dsn, zones.format("two")) == [(default, 10, 10), ("JST 21", 50, 50)]


def test_a_temporary_table_lives_through_the_run_and_hides_another(dsn: str) -> None:
    execute(dsn, "CREATE TABLE a AS SELECT -g AS i FROM generate_series(1, 3000) g")
    execute(dsn, "CREATE TABLE b (i int)")
    script = """
        CREATE TEMP TABLE a AS SELECT g AS i FROM generate_series(1, 500) g;
        INSERT INTO b SELECT i FROM a;
        INSERT INTO b SELECT i FROM public.a;
        INSERT INTO a SELECT g FROM generate_series(501, 510) g;
        CREATE TEMP TABLE b (i int);
        INSERT INTO b SELECT i FROM public.a;
        SELECT count(*) FROM a;
        INSERT INTO public.b SELECT count(*) FROM b
    """
    outcome = pgfan(dsn, script, chunk_rows=300)
    assert outcome.result.ok, outcome.result.error
    verdicts = [task.verdict for task in outcome.tasks]
    assert verdicts == ["serial", "serial", "split", *["serial"] * 5]
    assert "temporary-table" in dict(outcome.tasks[1].reasons)
    counts = "SELECT count(*) FILTER (WHERE i < 0), count(*) FILTER (WHERE i > 0), max(i) FROM b"
    assert query(dsn, counts) == [(3000, 501, 3000)]
    assert outcome.answers[-2].rows == [("510",)]


def test_prepared_statements_and_cursors_stay_in_their_session(dsn: str) -> None:
    script = """
        CREATE TABLE t (i int);
        PREPARE p (int) AS INSERT INTO t SELECT generate_series(1, $1);
        EXECUTE p (30);
        INSERT INTO t SELECT generate_series(1, 30);
        EXECUTE p (40);
        DEALLOCATE p
    """
    outcome = pgfan(dsn, script)
    assert outcome.result.ok, outcome.result.error
    assert value(dsn, "SELECT count(*) FROM t") == 100


OUTSIDE = {
    "VACUUM": ("VACUUM (ANALYZE) t", "SELECT reltuples = 9 FROM pg_class WHERE relname = 't'"),
    "CREATE INDEX CONCURRENTLY": (
        "CREATE INDEX CONCURRENTLY k ON t (i)",
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'k'::regclass",
    ),
    "CREATE DATABASE": (
        "CREATE DATABASE acceptance_child; DROP DATABASE acceptance_child",
        "SELECT count(*) = 0 FROM pg_database WHERE datname = 'acceptance_child'",
    ),
    "REINDEX CONCURRENTLY": ("REINDEX TABLE CONCURRENTLY t", "SELECT true"),
    "CALL that commits": ("CALL twice()", "SELECT count(*) = 11 FROM t"),
    "DO that commits": (
        "DO $$ BEGIN INSERT INTO t VALUES (1); COMMIT; INSERT INTO t VALUES (2); END $$",
        "SELECT count(*) = 11 FROM t",
    ),
}


@pytest.mark.parametrize(("script", "check"), OUTSIDE.values(), ids=list(OUTSIDE))
def test_a_statement_barred_from_transactions(dsn: str, script: str, check: str) -> None:
    execute(
        dsn,
        "CREATE TABLE t AS SELECT generate_series(1, 9) AS i",
        "CREATE PROCEDURE twice() LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO t VALUES (1); COMMIT; INSERT INTO t VALUES (2); END'",
    )
    outcome = pgfan(dsn, script)
    assert outcome.result.ok, outcome.result.error
    assert value(dsn, check) is True
    assert query(dsn, "SELECT DISTINCT state FROM pgfan.task WHERE error IS NULL") == [("done",)]


def test_such_a_statement_may_fail(dsn: str) -> None:
    execute(dsn, "CREATE TABLE t AS SELECT 1 AS i FROM generate_series(1, 2)")
    outcome = pgfan(dsn, "SELECT 1; CREATE UNIQUE INDEX CONCURRENTLY k ON t (i); SELECT 2")
    assert outcome.states == ["done", "failed", "not run"]
    assert "could not create unique index" in str(outcome.result.error)
    execute(dsn, "DROP INDEX k", "TRUNCATE t")
    again = pgfan(dsn, "SELECT 1; CREATE UNIQUE INDEX CONCURRENTLY k ON t (i); SELECT 2")
    assert again.states == ["skipped", "done", "done"]


def test_in_a_block_it_is_refused(dsn: str) -> None:
    outcome = pgfan(dsn, "BEGIN; CREATE TABLE t (i int); VACUUM t; COMMIT")
    assert outcome.states == ["failed"]
    assert "VACUUM cannot run inside a transaction block" in str(outcome.result.error)


def test_answers_come_in_order(dsn: str) -> None:
    execute(dsn, "CREATE TABLE t (i int)")
    script = """
        SELECT 1 AS one, 'x' AS "Two";
        INSERT INTO t SELECT generate_series(1, 40);
        UPDATE t SET i = 0 WHERE i > 38 RETURNING i;
        INSERT INTO t SELECT * FROM t;
        INSERT INTO t SELECT 1 FROM generate_series(1, 0);
        SET work_mem = '8MB';
        BEGIN; SELECT 5; SELECT 6 WHERE false; COMMIT;
        TABLE t LIMIT 0
    """
    outcome = pgfan(dsn, script)
    assert outcome.tags == [
        "SELECT 1",
        "INSERT 0 40",
        "UPDATE 2",
        "INSERT 0 40",
        "INSERT 0 0",
        "SET",
        "SELECT 1",
        "SELECT 0",
        "SELECT 0",
    ]
    assert (outcome.answers[0].columns, outcome.answers[0].rows) == (("one", "Two"), [("1", "x")])
    assert outcome.answers[2].rows == [("0",), ("0",)]
    assert [task.rows for task in outcome.tasks] == [1, 40, 2, 40, 0, None, None, 0]


def test_notices_and_warnings_are_passed_on(dsn: str) -> None:
    execute(
        dsn,
        "CREATE FUNCTION f(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN IF i = 33 THEN RAISE WARNING 'at %', i; END IF; RETURN i; END $$",
        "CREATE TABLE t (i int)",
    )
    script = """
        DROP TABLE IF EXISTS nothing;
        DO $$ BEGIN RAISE NOTICE 'one'; RAISE INFO 'two'; RAISE DEBUG 'three'; END $$;
        INSERT INTO t SELECT f(g) FROM generate_series(1, 60) g
    """
    outcome = pgfan(dsn, script)
    assert outcome.last.verdict == "split"
    notices = [(n.task_id, n.severity, n.message) for n in outcome.recorder.of(Notice)]
    assert notices == [
        ("1", "NOTICE", 'table "nothing" does not exist, skipping'),
        ("2", "NOTICE", "one"),
        ("2", "INFO", "two"),
        ("3", "WARNING", "at 33"),
    ]


def test_what_the_session_has_created_is_gone_with_it(dsn: str) -> None:
    assert pgfan(dsn, "CREATE TEMP TABLE gone AS SELECT 1; LISTEN news").result.ok
    with psycopg.connect(make_conninfo(dsn)) as connection, pytest.raises(psycopg.Error):
        connection.execute("TABLE pg_temp.gone")
