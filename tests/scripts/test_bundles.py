"""Light statements run many at a time, and nobody can tell from what they leave and say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from conftest import fresh_database
from scripts_alike import by_pgfan, by_psql

from pgfan import api
from pgfan.execute.bundle import run_bundle
from pgfan.execute.clock import MonotonicClock
from pgfan.execute.worker import ChunkDoneReport
from pgfan.plan.task import TaskPlan
from pgfan.ports import Member, PreparedTask
from pgfan.postgres.journal import PostgresJournal
from pgfan.postgres.session import PostgresSession
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from pgfan.execute.outcome import RunResult
    from pgfan.postgres.embedded import EmbeddedServer
    from pgfan.sql.light import Shares

TABLES = """
CREATE TABLE plain (a int UNIQUE, b text);
CREATE TABLE numbered (id serial, a int CHECK (a <> 13), at timestamptz DEFAULT now());
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE UNLOGGED TABLE scratch (a int);
"""
MIXED = "\n".join(
    f"INSERT INTO plain VALUES ({n}, 'x;{n}');\nINSERT INTO numbered (a) VALUES ({n + 20});\n"
    f"INSERT INTO parent VALUES ({n});\nINSERT INTO child VALUES ({n});\n"
    f"INSERT INTO scratch VALUES ({n}), ({n});\n"
    f"INSERT INTO plain VALUES ({n}) ON CONFLICT DO NOTHING;"
    for n in range(30)
)
SETTINGS = "SET search_path = pg_catalog, public; INSERT INTO plain VALUES (99); RESET search_path;"


def test_it_leaves_and_says_what_psql_does(server: EmbeddedServer) -> None:
    script = f"{TABLES}{MIXED}{SETTINGS}\\echo done\nSELECT count(*) FROM plain;"
    with fresh_database(server) as serial, fresh_database(server) as parallel:
        expected = by_psql(serial, script.replace("at timestamptz DEFAULT now()", "at int"))
        found = by_pgfan(parallel, script.replace("at timestamptz DEFAULT now()", "at int"), 2)
    assert found.ok
    assert found == expected


CHANGES = "\n".join(
    text.format(n=n, x=n % 3, y=n % 5, other=n + 5, some=n % 7)
    for text in (
        "UPDATE known SET b = 'y{n}', n = n * 2 + {n} WHERE a = {some};",
        "UPDATE made SET at = 'x{n}' WHERE x = {x} AND y = {y};",
        "INSERT INTO made VALUES ({x}, {other}, 'new');",
        "DELETE FROM known WHERE a = {other};",
    )
    for n in range(30)
)


def test_changes_of_single_rows_leave_and_say_what_psql_does(dsn: str) -> None:
    script = (
        "DO $$ BEGIN EXECUTE 'CREATE TABLE known (a int PRIMARY KEY, b text, n numeric)'; END $$;\n"
        "INSERT INTO known SELECT i, '', 1 FROM generate_series(0, 40, 2) i;\n"
        "CREATE TABLE made (x int, y int, at text, UNIQUE (x, y) DEFERRABLE);\n"
        "INSERT INTO made SELECT x, y FROM generate_series(0, 2) x, generate_series(0, 4) y;\n"
        f"{CHANGES}\nSELECT * FROM known ORDER BY a;\nSELECT * FROM made ORDER BY x, y;\n"
    )
    expected = by_psql(dsn, script)
    assert expected.ok
    found = by_pgfan(dsn, script, 2)
    assert found.ok
    assert found == expected
    alone = "SELECT count(*) FROM pgfan.task WHERE key IN (SELECT task FROM pgfan.chunk) AND kind "
    assert query(dsn, alone + "IN ('update', 'delete')") == [(0,)]
    done = "SELECT kind, count(*), sum(rows) FROM pgfan.task WHERE kind IN ('update', 'delete')"
    assert query(dsn, f"{done} GROUP BY 1 ORDER BY 1") == [("delete", 30, 15), ("update", 60, 47)]


DEFINITIONS = "\n".join(
    f"CREATE TYPE e{n} AS ENUM ('a', 'b');\nCREATE TABLE d{n} (a serial PRIMARY KEY, b e{n});\n"
    f"COMMENT ON TABLE d{n} IS 'number {n}';\nINSERT INTO d{n} (b) VALUES ('a');\n"
    f"CREATE VIEW v{n} AS SELECT * FROM d{n};\nCOMMENT ON COLUMN v{n}.b IS 'a or b';"
    for n in range(40)
)


def test_definitions_leave_and_say_what_psql_does(server: EmbeddedServer) -> None:
    script = f"{DEFINITIONS}\nSELECT * FROM v7;"
    with fresh_database(server) as serial, fresh_database(server) as parallel:
        expected = by_psql(serial, script)
        found = by_pgfan(parallel, script, 2)
        assert found.ok
        assert found == expected
        # Chunks have those that were run alone.
        alone = "SELECT count(*) FROM pgfan.task WHERE key IN (SELECT task FROM pgfan.chunk)"
        assert query(parallel, alone) == [(0,)]
        done = "SELECT count(*), count(DISTINCT number) FROM pgfan.task WHERE state = 'done'"
        assert query(parallel, done) == [(241, 241)]


def test_a_definition_that_fails_is_named(dsn18: str) -> None:
    script = "".join(f"CREATE TABLE d{n} (a int);\n" for n in range(12))
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute("CREATE TABLE d7 ()")
        result = run(dsn18, script)
        states = [task.state for task in result.tasks]
        assert states == ["done"] * 7 + ["failed"] + ["not run"] * 4
        assert getattr(result.error, "sqlstate", None) == "42P07"
        assert str(getattr(result.error, "position", None)) == "s.sql:8:1"
        connection.execute("DROP TABLE d7")
    states = [task.state for task in run(dsn18, script).tasks]
    assert states == ["skipped"] * 7 + ["done"] * 5


def run(dsn: str, script: str) -> RunResult:
    program = Program.read_psql([Source("s.sql", script)], {}, lambda name: name)
    return api.run(dsn, program, api.ExecOptions(jobs=2))


def query(dsn: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(sql.encode()).fetchall()


def test_the_times_of_two_statements_differ(dsn18: str) -> None:
    assert run(dsn18, TABLES + "INSERT INTO numbered (a) VALUES (1);" * 20).ok
    assert query(dsn18, "SELECT count(DISTINCT at), max(id) FROM numbered") == [(20, 20)]
    assert query(dsn18, "SELECT count(DISTINCT xmin::text) FROM numbered") == [(20,)]


def test_those_that_nothing_can_tell_apart_share_a_transaction(dsn18: str) -> None:
    assert run(dsn18, TABLES + "".join(f"INSERT INTO plain VALUES ({n});" for n in range(20))).ok
    assert query(dsn18, "SELECT count(DISTINCT xmin::text), count(*) FROM plain") == [(1, 20)]
    journal = "SELECT count(*), sum(rows) FROM pgfan.task WHERE kind = 'insert' AND state = 'done'"
    assert query(dsn18, journal) == [(20, 20)]


FAILURES = {
    "a unique key": ("INSERT INTO plain VALUES (3);", "23505", 13),
    "a type": ("INSERT INTO plain VALUES ('x');", "22P02", 27),
    "a check": ("INSERT INTO numbered (a) VALUES (13);", "23514", 13),
    "a constraint that is checked at the end": ("INSERT INTO child VALUES (5);", "23503", 13),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_named_and_leaves_what_came_before(dsn: str, name: str) -> None:
    bad, sqlstate, _ = FAILURES[name]
    kind = {"numbered": "INSERT INTO numbered (a)", "child": "INSERT INTO parent"}
    before = kind.get(bad.split()[2], "INSERT INTO plain (a)")
    lines = [f"{before} VALUES ({n + 20});" for n in range(10)]
    if "(3)" in bad:
        lines[3] = lines[3].replace("23", "3")
    script = TABLES.strip() + "\n" + "\n".join([*lines, bad, *lines[:1]])
    result = run(dsn, script)
    states = [task.state for task in result.tasks]
    assert states[5:] == ["done"] * 10 + ["failed", "not run"]
    error = result.error
    assert error is not None
    assert getattr(error, "sqlstate", None) == sqlstate
    assert str(error.position).startswith("s.sql:16:")
    table = before.split()[2]
    assert query(dsn, f"SELECT count(*) FROM {table}") == [(10,)]
    if table == "numbered":  # no number was lost but that of the statement that failed
        assert query(dsn, "SELECT max(id) FROM numbered") == [(10,)]
    done = "SELECT count(*) FROM pgfan.task WHERE state = 'done' AND kind = 'insert'"
    assert query(dsn, done) == [(10,)]


def test_the_rest_goes_on_where_it_failed(dsn18: str) -> None:
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (a int UNIQUE)")
        connection.execute("INSERT INTO t VALUES (7)")
        script = "".join(f"INSERT INTO t VALUES ({n});\n" for n in range(20))
        states = [task.state for task in run(dsn18, script).tasks]
        assert states == ["done"] * 7 + ["failed"] + ["not run"] * 12
        connection.execute("DELETE FROM t WHERE a = 7")
    states = [task.state for task in run(dsn18, script).tasks]
    assert states == ["skipped"] * 7 + ["done"] * 13
    assert query(dsn18, "SELECT count(*), count(DISTINCT a) FROM t") == [(20, 20)]


def test_unlogged_tables_are_in_no_bundle(dsn18: str) -> None:
    assert run(dsn18, TABLES + "INSERT INTO scratch VALUES (1);" * 3).ok
    chunks = "SELECT count(*) FROM pgfan.chunk_unlogged"
    assert query(dsn18, chunks) == [(3,)]


SHARES: tuple[Shares, ...] = ("transaction", "message", "nothing")


def test_what_another_connection_has_done_is_not_done_again(dsn: str) -> None:
    """A connection was lost, and its server process went on: half of the members are in."""
    journal = PostgresJournal("pgfan")
    session = PostgresSession(dsn)
    try:
        journal.create(session)
        session.execute(
            "CREATE TABLE t (a int); INSERT INTO pgfan.run VALUES "
            "('r', '', '', 'running', '', '', '{}', '{}')"
        )
        for shares in SHARES:
            session.execute("DELETE FROM pgfan.task; TRUNCATE t")
            members = tuple(member(journal, number, shares=shares) for number in range(6))
            for done in (members[:3], members):
                reports = run_bundle(session, journal, done, MonotonicClock())
                assert len(reports) == len(done)
                assert all(isinstance(report, ChunkDoneReport) for report in reports)
            duplicates = [report.duplicate for report in reports]  # type: ignore[union-attr]
            assert duplicates == [True] * 3 + [False] * 3
            assert query(dsn, "SELECT count(*), count(DISTINCT a) FROM t") == [(6, 6)]
    finally:
        session.close()


def member(journal: PostgresJournal, number: int, *, shares: Shares) -> Member:
    plan = TaskPlan("serial")
    row = journal.task_row("r", number, ("s.sql:1", "insert"), plan, 1)
    text = f"INSERT INTO t VALUES ({number})"
    return Member(number, PreparedTask(0, plan, "BEGIN;", (text,), (), row=row), shares, 1)
