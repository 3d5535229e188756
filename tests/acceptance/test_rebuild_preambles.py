"""`pgfan run --project` of scripts that begin with DROP ... IF EXISTS, as people's scripts do."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from side_by_side import execute, query
from test_orders_random import script_that_runs, statement
from test_rebuild import as_anew, build, ran, read, runs

from pgfan import api
from pgfan.errors import UsageError
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = int(os.environ.get("PGFAN_REBUILD_SCRIPTS", "3"))
EDITS_MAX = 8
SEED = int(os.environ.get("PGFAN_REBUILD_SEED", "1"))

SCRIPT = """
DROP TABLE IF EXISTS a, b CASCADE;
CREATE TABLE a (i int PRIMARY KEY);
INSERT INTO a SELECT i FROM generate_series(1, 10) i;
CREATE TABLE b (i int REFERENCES a);
INSERT INTO b SELECT i FROM a WHERE i > 5;
DROP TABLE IF EXISTS c CASCADE;
CREATE TABLE c AS SELECT i * 2 AS i FROM b;
DROP VIEW IF EXISTS v CASCADE;
CREATE VIEW v AS SELECT count(*) AS rows FROM c;
DROP FUNCTION IF EXISTS f(int);
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT $1 + 1';
"""
EDITS = [
    ("rows upstream", "(1, 10)", "(1, 11)", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ("a reader", "i * 2", "i * 3", [6, 7, 8, 9]),
    ("a preamble's words", "EXISTS v CASCADE", "EXISTS v", []),
    ("no preamble any more", "DROP TABLE IF EXISTS a, b CASCADE;", "", []),
    ("another preamble", "DROP VIEW", "DROP TABLE IF EXISTS zzz; DROP VIEW", [8]),
    ("another name", " v ", " w ", [8, 9]),
    ("neither of them", "DROP VIEW IF EXISTS v CASCADE;\nCREATE VIEW v", "CREATE VIEW w", [8]),
]


@pytest.mark.parametrize(("what", "old", "new", "expected"), EDITS, ids=[e[0] for e in EDITS])
def test_what_runs_after_an_edit(
    dsn: str, what: str, old: str, new: str, expected: list[int]
) -> None:
    assert ran(build(dsn, SCRIPT)) == list(range(1, 12)), what
    assert ran(build(dsn, SCRIPT)) == []
    edited = SCRIPT.replace(old, new)
    assert edited != SCRIPT
    assert ran(build(dsn, edited)) == expected
    assert ran(build(dsn, edited)) == []
    assert as_anew(dsn, edited)


def test_a_preamble_of_what_nobody_makes_may_come_change_and_go(dsn: str) -> None:
    build(dsn, "CREATE TABLE a (i int);")
    script = "DROP TABLE IF EXISTS gone CASCADE; CREATE TABLE a (i int);"
    execute(dsn, "CREATE TABLE gone (i int)")
    assert ran(build(dsn, script)) == [1]
    assert query(dsn, "SELECT to_regclass('gone')") == [(None,)]
    assert ran(build(dsn, script.replace(" CASCADE", ""))) == [1]
    assert ran(build(dsn, "CREATE TABLE a (i int);")) == []


def test_a_project_takes_over_where_psql_has_built_before(dsn: str) -> None:
    script = f"DROP SCHEMA IF EXISTS s CASCADE; CREATE SCHEMA s; CREATE TABLE s.t (i int);{SCRIPT}"
    execute(dsn, *script.split(";\n")[:-1])
    execute(dsn, "CREATE VIEW theirs AS TABLE a", "INSERT INTO b VALUES (1)")
    assert len(ran(build(dsn, script))) == 14
    assert query(dsn, "SELECT (SELECT count(*) FROM b), rows FROM v") == [(5, 5)]
    edited = script.replace("i * 2", "i * 3")
    assert ran(build(dsn, edited)) == [9, 10, 11, 12]
    edited = edited.replace("(1, 10)", "(1, 11)")
    assert ran(build(dsn, edited)) == list(range(4, 13))
    edited = edited.replace("s.t (i int)", "s.t (i text)")
    assert ran(build(dsn, edited)) == [3]
    edited = edited.replace("SCHEMA s;", "SCHEMA s AUTHORIZATION CURRENT_USER;")
    assert ran(build(dsn, edited)) == [1, 2, 3]
    assert as_anew(dsn, edited)


def test_what_somebody_has_put_in_its_place_is_dropped_by_the_script_alone(dsn: str) -> None:
    build(dsn, SCRIPT)
    execute(dsn, "DROP VIEW v", "CREATE VIEW v AS SELECT 'precious' AS rows")
    plan = api.plan_project(dsn, read(SCRIPT), api.ExecOptions(project="p"))
    assert [one.reason for one in plan.decisions if one.runs] == [
        "drops v, which the project did not make",
        "writes v, which is rebuilt",
    ]
    assert plan.drops == ()
    assert ran(build(dsn, SCRIPT)) == [8, 9]
    assert as_anew(dsn, SCRIPT)


def test_a_drop_further_down_protects_nobody_elses_table(dsn18: str) -> None:
    script = "CREATE TABLE a (i int);\nDROP TABLE IF EXISTS a;\nCREATE TABLE a (i int);"
    build(dsn18, script)
    execute(dsn18, "DROP TABLE a", "CREATE TABLE a AS SELECT 'precious' AS i")
    with pytest.raises(UsageError, match="was made by somebody else"):
        build(dsn18, script)
    assert query(dsn18, "TABLE a") == [("precious",)]


def test_a_folder_of_scripts_each_with_its_preamble(dsn: str) -> None:
    files = {
        "a.sql": "DROP TABLE IF EXISTS a CASCADE;\nCREATE TABLE a AS SELECT 1 AS i;",
        "b.sql": "DROP TABLE IF EXISTS b;\nCREATE TABLE b AS SELECT i FROM a;",
        "c.sql": "DROP VIEW IF EXISTS c CASCADE;\nCREATE VIEW c AS SELECT i FROM b;",
    }

    def build_folder() -> int:
        sources = [Source(name, text) for name, text in files.items()]
        program = Program.read_psql(sources, {}, lambda name: name)
        found = api.run(dsn, program, api.ExecOptions(jobs=2, project="p"))
        return len(ran(found))

    assert build_folder() == 6
    assert build_folder() == 0
    files["b.sql"] = files["b.sql"].replace("SELECT i", "SELECT i + 1 AS i")
    assert build_folder() == 4
    del files["c.sql"]
    assert build_folder() == 0
    assert query(dsn, "SELECT i, to_regclass('c') FROM b") == [(2, None)]


PREAMBLES = [
    *("DROP TABLE IF EXISTS {t}", "DROP TABLE IF EXISTS {t}, {t} CASCADE"),
    *("DROP VIEW IF EXISTS {v} CASCADE", "DROP FUNCTION IF EXISTS {f}(int) CASCADE"),
    *("DROP MATERIALIZED VIEW IF EXISTS mv", "DROP SEQUENCE IF EXISTS {t}_id_seq CASCADE"),
]


def preamble(choose: random.Random) -> str:
    """Of something that the script may make further down, or nobody does."""
    return statement(choose, PREAMBLES)


def edits(script: str, choose: random.Random) -> Iterator[str]:
    """The script with other preambles, and one other statement."""
    for _ in range(EDITS_MAX):
        lines = [one for one in script.split(";\n") if not one.startswith("DROP ")]
        drops = [one for one in script.split(";\n") if one.startswith("DROP ")]
        del drops[choose.randrange(len(drops) + 1) :]
        drops += [preamble(choose) for _ in range(choose.randrange(3))]
        lines[choose.randrange(len(lines))] = statement(choose)
        yield ";\n".join([*drops, *lines])


def test_random_edits_of_preambles_leave_what_a_fresh_build_leaves(dsn: str) -> None:
    compared = 0
    for seed in range(SEED, SEED + SCRIPTS):
        choose = random.Random(seed)  # noqa: S311  # reproducible
        body = script_that_runs(dsn, choose)
        script = ";\n".join([*(preamble(choose) for _ in range(3)), body])
        other = next(filter(lambda one: runs(dsn, one), edits(script, choose)), None)
        if other is None or not runs(dsn, script):
            continue
        execute(dsn, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        assert build(dsn, script, project=f"p{seed}").ok, (seed, script)
        try:
            built = build(dsn, other, project=f"p{seed}")
        except UsageError:  # what it did cannot be taken back
            continue
        assert built.ok, (seed, script, other, built.error)
        assert as_anew(dsn, other), (seed, script, other)
        compared += 1
    assert compared > SCRIPTS / 3
