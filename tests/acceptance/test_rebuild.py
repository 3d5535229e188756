"""`pgfan run --project`: what changed runs, what is as built does not, and all is as built anew.

PGFAN_REBUILD_SCRIPTS=300 PGFAN_REBUILD_SEED=7 edits more random scripts; without them a few.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import psycopg
import pytest
from side_by_side import execute, query
from test_orders import CONTENT, ROWS, result, sessions
from test_orders_random import script_that_runs, statement

from pgfan import api
from pgfan.errors import ConnectionLostError, RunLockedError, UnsupportedError, UsageError
from pgfan.postgres.fence import own
from pgfan.postgres.session import PostgresSession
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfan.execute.outcome import RunResult

SCRIPTS = int(os.environ.get("PGFAN_REBUILD_SCRIPTS", "6"))
EDITS_MAX = 8
SEED = int(os.environ.get("PGFAN_REBUILD_SEED", "1"))

SCRIPT = """
CREATE TABLE a (i int PRIMARY KEY);
INSERT INTO a SELECT i FROM generate_series(1, 10) i;
CREATE TABLE b AS SELECT i * 2 AS i FROM a;
CREATE TABLE c (i int);
INSERT INTO c VALUES (1);
CREATE INDEX c_i ON c (i);
CREATE VIEW v AS SELECT count(*) AS rows FROM c;
"""


def read(script: str) -> Program:
    return Program.read_psql([Source("s.sql", script)], {}, lambda name: name)


def build(dsn: str, script: str, **options: object) -> RunResult:
    asked = {"jobs": 2, "project": "p", **options}
    return api.run(dsn, read(script), api.ExecOptions(**asked))  # type: ignore[arg-type]


def ran(result: RunResult) -> list[int]:
    """The tasks that have run, counted from 1; all must be done."""
    assert result.ok, result.error
    return [int(task.id) for task in result.tasks]


def content(dsn: str) -> list[tuple[object, ...]]:
    """All tables' rows, and what the catalogue has."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found: list[tuple[object, ...]] = connection.execute(CONTENT, prepare=False).fetchall()
        for (rows,) in connection.execute(ROWS).fetchall():
            found += connection.execute(rows).fetchall()
        return found


def as_anew(dsn: str, script: str) -> bool:
    """Whether the database is as the script alone leaves an empty one, which it is afterwards."""
    found = content(dsn)
    items = read(script).items
    with sessions(dsn) as pair:
        return found == result(pair, items, range(len(items)), set())


def test_unchanged_nothing_runs(dsn: str) -> None:
    assert ran(build(dsn, SCRIPT)) == [1, 2, 3, 4, 5, 6, 7]
    oids = query(dsn, "SELECT oid FROM pg_class WHERE relname IN ('a', 'b', 'c', 'v')")
    again = build(dsn, SCRIPT)
    assert (ran(again), again.as_built) == ([], 7)
    assert query(dsn, "SELECT oid FROM pg_class WHERE relname IN ('a', 'b', 'c', 'v')") == oids
    assert as_anew(dsn, SCRIPT)


def test_an_edit_replays_its_tables_life_and_its_readers(dsn: str) -> None:
    build(dsn, SCRIPT)
    edited = SCRIPT.replace("(1, 10)", "(1, 11)")
    found = build(dsn, edited)
    assert (ran(found), found.as_built) == ([1, 2, 3], 4)
    assert ran(build(dsn, edited)) == []
    edited = edited.replace("CREATE INDEX c_i ON c (i)", "CREATE INDEX c_i ON c (i DESC)")
    assert ran(build(dsn, edited)) == [6]
    assert as_anew(dsn, edited)


def test_growth_at_the_end_drops_nothing(dsn18: str) -> None:
    build(dsn18, SCRIPT)
    grown = SCRIPT + "INSERT INTO c VALUES (2); CREATE TABLE d AS SELECT * FROM v;"
    assert ran(build(dsn18, grown)) == [8, 9]
    assert query(dsn18, "SELECT rows FROM d") == [(2,)]
    assert as_anew(dsn18, grown)


def test_what_no_statement_makes_any_more_is_dropped(dsn18: str) -> None:
    build(dsn18, SCRIPT)
    shorter = SCRIPT.replace("CREATE TABLE b AS SELECT i * 2 AS i FROM a;", "")
    assert ran(build(dsn18, shorter)) == []
    assert query(dsn18, "SELECT to_regclass('b')") == [(None,)]
    assert ran(build(dsn18, shorter)) == []
    assert as_anew(dsn18, shorter)


def test_full_builds_all_of_it_anew(dsn18: str) -> None:
    build(dsn18, SCRIPT)
    execute(dsn18, "INSERT INTO a VALUES (77)")
    assert ran(build(dsn18, SCRIPT, full=True)) == [1, 2, 3, 4, 5, 6, 7]
    assert as_anew(dsn18, SCRIPT)


def test_what_somebody_has_dropped_is_made_again(dsn18: str) -> None:
    build(dsn18, SCRIPT)
    execute(dsn18, "DROP TABLE b")
    assert ran(build(dsn18, SCRIPT)) == [3]
    assert as_anew(dsn18, SCRIPT)


def test_a_table_of_the_same_name_that_somebody_else_has_made_is_never_dropped(dsn: str) -> None:
    build(dsn, SCRIPT)
    execute(dsn, "DROP TABLE b", "CREATE TABLE b AS SELECT 'precious' AS i")
    for options in ({}, {"full": True}):
        with pytest.raises(UsageError, match=r"b is gone; the one that exists was made by some"):
            build(dsn, SCRIPT, **options)
    assert query(dsn, "TABLE b") == [("precious",)]
    assert query(dsn, "SELECT count(*) FROM a") == [(10,)]


def test_a_table_that_was_there_before_is_not_the_projects(dsn18: str) -> None:
    execute(dsn18, "CREATE TABLE a (i int)", "INSERT INTO a VALUES (0)")
    script = "CREATE TABLE IF NOT EXISTS a (i int);\nCREATE TABLE b AS TABLE a;"
    assert ran(build(dsn18, script)) == [1, 2]
    with pytest.raises(UsageError, match=r"a was written by s\.sql:1, which is no more"):
        build(dsn18, script.replace("a (i int)", "a (i bigint)"))
    assert query(dsn18, "TABLE a") == [(0,)]
    assert ran(build(dsn18, script)) == []


def test_somebodys_view_on_our_table_keeps_it_and_all_stays_as_it_was(dsn: str) -> None:
    build(dsn, SCRIPT)
    execute(dsn, "CREATE SCHEMA theirs", "CREATE VIEW theirs.w AS SELECT * FROM a")
    edited = SCRIPT.replace("(1, 10)", "(1, 11)")
    with pytest.raises(UsageError, match=r"cannot drop table a .*theirs\.w depends on table a"):
        build(dsn, edited)
    assert query(dsn, "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)") == [(10, 10)]
    assert query(dsn, "SELECT state FROM pgfan.run") == [("done",)]
    execute(dsn, "DROP VIEW theirs.w")
    assert ran(build(dsn, edited)) == [1, 2, 3]


def test_rows_in_somebody_elses_table_cannot_be_taken_back(dsn18: str) -> None:
    execute(dsn18, "CREATE TABLE theirs (i int)")
    build(dsn18, "INSERT INTO theirs VALUES (1);")
    with pytest.raises(UsageError, match=r"theirs was written by s\.sql:1"):
        build(dsn18, "INSERT INTO theirs VALUES (2);")
    assert ran(build(dsn18, "INSERT INTO theirs VALUES (1); INSERT INTO theirs VALUES (2);")) == [2]
    assert query(dsn18, "TABLE theirs") == [(1,), (2,)]


def test_a_changed_file_is_loaded_again(dsn18: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("1\n2\n", "utf-8")
    script = f"CREATE TABLE a (i int);\n\\copy a FROM '{path}'\nCREATE TABLE b (i int);"
    assert ran(build(dsn18, script)) == [1, 2, 3]
    os.utime(path, (1, 1))  # another time, the same content
    assert ran(build(dsn18, script)) == []
    path.write_text("1\n2\n3\n", "utf-8")
    assert ran(build(dsn18, script)) == [1, 2]
    assert query(dsn18, "SELECT count(*) FROM a") == [(3,)]


def test_what_a_crash_has_emptied_is_built_again(dsn18: str) -> None:
    script = "CREATE UNLOGGED TABLE u AS SELECT 1 AS i;\nCREATE TABLE a AS SELECT 2 AS i;"
    assert ran(build(dsn18, script)) == [1, 2]
    execute(dsn18, "TRUNCATE u, pgfan.built_unlogged")
    assert ran(build(dsn18, script)) == [1]
    assert ran(build(dsn18, script)) == []
    assert query(dsn18, "TABLE u") == [(1,)]


FAILING = SCRIPT + "CREATE TABLE d AS SELECT 1 / (SELECT count(*) FROM wanted) AS i;"


def test_a_failed_run_goes_on_or_is_mended_and_what_is_done_stays(dsn18: str) -> None:
    execute(dsn18, "CREATE SCHEMA other", "CREATE TABLE other.wanted (i int)")
    script = FAILING.replace("wanted", "other.wanted")
    failed = build(dsn18, script, keep_going=True)
    assert [task.state for task in failed.tasks] == ["done"] * 7 + ["failed"]
    mended = script.replace("1 / (", "1 + (")
    assert ran(build(dsn18, mended)) == [8]
    execute(dsn18, "DROP TABLE d")
    failed = build(dsn18, script)
    assert [(task.id, task.state) for task in failed.tasks] == [("8", "failed")]
    execute(dsn18, "INSERT INTO other.wanted VALUES (1)")
    assert ran(build(dsn18, script)) == [8]
    assert ran(build(dsn18, script)) == []


def test_lost_answers_do_nothing_twice(dsn18: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build(dsn18, SCRIPT)
    lost: list[str] = []
    plain = PostgresSession.execute

    def execute_and_lose(session: PostgresSession, sql: str, *more: object) -> object:
        found = plain(session, sql, *more)  # type: ignore[arg-type]
        begun = sql == "COMMIT" and "begun" not in lost
        ended = sql.endswith("; COMMIT") and 'UPDATE "pgfan".run' in sql and "ended" not in lost
        if begun or ended:
            lost.append("begun" if begun else "ended")
            session.close()
            raise ConnectionLostError("the answer to COMMIT was lost")
        return found

    monkeypatch.setattr(PostgresSession, "execute", execute_and_lose)
    edited = SCRIPT.replace("(1, 10)", "(1, 11)")
    assert ran(build(dsn18, edited)) == [1, 2, 3]
    assert lost == ["begun", "ended"]
    monkeypatch.undo()
    assert ran(build(dsn18, edited)) == []
    assert query(dsn18, "SELECT count(*) FROM b") == [(11,)]


def test_objects_that_need_each_other_are_dropped_in_any_order(dsn18: str) -> None:
    script = """
CREATE SCHEMA s;
CREATE FUNCTION s.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE s.a (id serial PRIMARY KEY, i int DEFAULT s.one());
CREATE TABLE s.b (a int REFERENCES s.a);
ALTER TABLE s.a ADD COLUMN b int;
CREATE OR REPLACE FUNCTION s.one() RETURNS int LANGUAGE sql AS 'SELECT 2';
CREATE STATISTICS s.st ON id, i FROM s.a;
INSERT INTO s.a (b) VALUES (1);
"""
    assert len(ran(build(dsn18, script))) == 8
    edited = script.replace("SELECT 1", "SELECT 3")
    assert ran(build(dsn18, edited)) == [2, 3, 4, 5, 6, 7, 8]
    assert ran(build(dsn18, script, full=True)) == list(range(1, 9))
    assert query(dsn18, "SELECT i FROM s.a") == [(2,)]


def test_after_a_statement_of_unknown_effect_a_script_may_only_grow(dsn18: str) -> None:
    script = """
CREATE TABLE a (i int);
DO $$ BEGIN EXECUTE 'CREATE TABLE hidden (i int)'; END $$;
INSERT INTO hidden VALUES (1);
"""
    assert ran(build(dsn18, script)) == [1, 2, 3]
    assert ran(build(dsn18, script)) == []
    grown = script + "INSERT INTO a SELECT i FROM hidden;"
    assert ran(build(dsn18, grown)) == [4]
    with pytest.raises(UsageError, match="cannot be taken back"):
        build(dsn18, grown.replace("(1)", "(2)"))
    assert query(dsn18, "TABLE a") == [(1,)]


def test_what_an_extension_brings_is_known_when_it_is_built(dsn18: str) -> None:
    script = """
CREATE EXTENSION citext;
CREATE TABLE a (i citext);
INSERT INTO a VALUES ('x');
CREATE TABLE b AS SELECT strpos(i, 'x') AS at FROM a;
"""
    assert ran(build(dsn18, script)) == [1, 2, 3, 4]
    assert ran(build(dsn18, script.replace("('x')", "('yx')"))) == [2, 3, 4]
    assert query(dsn18, "TABLE b") == [(2,)]


def test_what_cannot_be_a_project_is_said(dsn18: str) -> None:
    with pytest.raises(UnsupportedError, match="gexec in a project") as found:
        build(dsn18, "SELECT 1 AS x;\nSELECT 'SELECT 1' \\gexec")
    assert found.value.position is not None
    assert found.value.position.line == 2
    with pytest.raises(UsageError, match="load in a project"):
        build(dsn18, "CREATE TABLE t (i int);\n-- pgfan: load\n\\copy t FROM 'rows.csv'")
    for options in (
        {"publish": api.Publish("mart")},
        {"journal_schema": None},
        {"project": None, "full": True},
    ):
        with pytest.raises(UsageError, match="--"):
            build(dsn18, SCRIPT, **options)


def test_one_client_at_a_time(dsn18: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgfan.postgres.fence.OWNER_WAIT_MS", 10)
    build(dsn18, SCRIPT)
    other = PostgresSession(dsn18)
    try:
        assert own(other, "project pgfan p")
        with pytest.raises(RunLockedError, match="project p is being built"):
            build(dsn18, SCRIPT)
        assert ran(build(dsn18, "CREATE TABLE x (i int);", project="q")) == [1]
    finally:
        other.close()


def test_a_forgotten_run_and_a_forgotten_project(dsn18: str) -> None:
    script = FAILING.replace("wanted", "pg_class WHERE false")
    failed = build(dsn18, script, keep_going=True)
    assert not failed.ok
    api.forget(dsn18, [failed.run])
    # Nobody knows what it has done: all that it may have made is made anew.
    mended = script.replace("1 / (", "1 + (")
    assert ran(build(dsn18, mended)) == list(range(1, 9))
    assert as_anew(dsn18, mended)
    api.forget_project(dsn18, "p")
    with pytest.raises(UsageError, match="knows no project p"):
        api.forget_project(dsn18, "p")
    assert not build(dsn18, mended).ok  # its tables are there, and nobody's


def test_the_plan_says_why_and_changes_nothing(dsn18: str) -> None:
    options = api.ExecOptions(project="p")
    plan = api.plan_project(dsn18, read(SCRIPT), options)
    assert {one.reason for one in plan.decisions} == {"never built"}
    assert query(dsn18, "SELECT to_regnamespace('pgfan')") == [(None,)]
    build(dsn18, SCRIPT)
    assert not any(one.runs for one in api.plan_project(dsn18, read(SCRIPT), options).decisions)
    plan = api.plan_project(dsn18, read(SCRIPT.replace("(1, 10)", "(1, 11)")), options)
    assert [one.reason for one in plan.decisions[:4]] == [
        "writes a, which is rebuilt",
        "text changed",
        "reads a, which s.sql:3 changes",
        "unchanged",
    ]
    assert plan.drops == ("DROP TABLE public.b", "DROP TABLE public.a")
    execute(dsn18, "DROP TABLE b", "CREATE TABLE b ()")
    plan = api.plan_project(dsn18, read(SCRIPT), options)
    assert plan.refusals == ("public.b is gone; the one that exists was made by somebody else",)
    failed = build(dsn18, "SELECT 1 / 0;", project="q")
    plan = api.plan_project(dsn18, read("SELECT 1 / 0;"), api.ExecOptions(project="q"))
    assert plan.unfinished == failed.run
    plan = api.plan_project(dsn18, read("SELECT 1;"), api.ExecOptions(project="q"))
    assert [one.reason for one in plan.decisions] == ["never built"]
    assert query(dsn18, "SELECT state FROM pgfan.run WHERE state <> 'done'") == [("failed",)]


def edited(script: str, choose: random.Random) -> str:
    """The script with a statement more, one less, or another one."""
    lines = script.split(";\n")
    at = choose.randrange(len(lines))
    match choose.choice(["insert", "delete", "replace", "append"]):
        case "insert":
            lines.insert(at, statement(choose))
        case "delete":
            del lines[at]
        case "replace":
            lines[at] = statement(choose)
        case _:
            lines.append(statement(choose))
    return ";\n".join(lines)


def runs(dsn: str, script: str) -> bool:
    """Whether it does, in an empty database and as one connection runs it."""
    items = read(script).items
    with sessions(dsn) as pair:
        try:
            result(pair, items, range(len(items)), set())
        except psycopg.Error:
            return False
        return True


def test_random_edits_leave_what_a_fresh_build_leaves(dsn18: str) -> None:
    compared = 0
    for seed in range(SEED, SEED + SCRIPTS):
        choose = random.Random(seed)  # noqa: S311  # reproducible
        script = script_that_runs(dsn18, choose)
        other = next(filter(lambda one: runs(dsn18, one), edits(script, choose)), None)
        if other is None or not runs(dsn18, script):
            continue
        execute(dsn18, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        assert build(dsn18, script, project=f"p{seed}").ok, (seed, script)
        try:
            built = build(dsn18, other, project=f"p{seed}")
        except UsageError:  # what it did cannot be taken back
            continue
        assert built.ok, (seed, script, other, built.error)
        assert as_anew(dsn18, other), (seed, script, other)
        compared += 1
    assert compared > SCRIPTS / 3


def edits(script: str, choose: random.Random) -> Iterator[str]:
    for _ in range(EDITS_MAX):
        yield edited(script, choose)
