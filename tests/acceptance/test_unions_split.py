"""UNION ALL cut into its branches: types, duplicates, what runs once, what stands above."""

from __future__ import annotations

import json
from typing import Any

import pytest
from side_by_side import Case, both_ways, execute, pgfan, query, reused_dsn, split_both_ways, value

from pgfan import api
from pgfan.plan.ranges import Range
from pgfan.plan.task import TaskPlan

dsn = reused_dsn

SETUP = (
    "CREATE TABLE a (i int, k int, t text)",
    "CREATE TABLE b (k int, name text)",
    "CREATE TABLE empty (i int, t text)",
    "CREATE TABLE indexed (i int, t text)",
    "CREATE DOMAIN word AS text",
    "CREATE TABLE words (w word, v varchar(5), c char(4), n numeric(6,2))",
    "INSERT INTO a SELECT g, NULLIF(g % 40, 7), md5(g::text) FROM generate_series(1, 700) g",
    "INSERT INTO a SELECT i, k, t FROM a WHERE i % 100 = 0",
    "INSERT INTO b SELECT NULLIF(g, 9), 'n' || g FROM generate_series(0, 30) g",
    "INSERT INTO b VALUES (3, 'again'), (NULL, 'none'), (3, 'again')",
    "INSERT INTO indexed SELECT g % 90, 'x' FROM generate_series(1, 500) g",
    "CREATE INDEX ON indexed (i)",
    "INSERT INTO words SELECT g, g, g, g / 7.0 FROM generate_series(1, 60) g",
    "ANALYZE",
)
# The columns of the target, and the SELECT.
SOUND = {
    "two tables": ("i bigint, t text", "SELECT i, t FROM a UNION ALL SELECT k, name FROM b"),
    "one table twice": ("i bigint, t text", "SELECT i, t FROM a UNION ALL SELECT k, t FROM a"),
    "the same rows twice": ("i int", "SELECT k FROM b UNION ALL SELECT k FROM b"),
    "an empty table": ("i int, t text", "TABLE empty UNION ALL SELECT k, name FROM b"),
    "an empty table last": ("i int, t text", "SELECT k, name FROM b UNION ALL TABLE empty"),
    "three, nested left": (
        "i int",
        "(SELECT i FROM a UNION ALL SELECT k FROM b) UNION ALL SELECT i FROM indexed",
    ),
    "three, nested right": (
        "i int",
        "SELECT i FROM a UNION ALL (SELECT k FROM b UNION ALL SELECT i FROM indexed)",
    ),
    "integers and numeric": ("n text", "SELECT 1 UNION ALL SELECT 2.5 UNION ALL SELECT i FROM a"),
    "a type that the target does not have": (
        "n text",
        "SELECT i FROM a UNION ALL SELECT n FROM words UNION ALL SELECT 1e3::float8",
    ),
    "unknown literals": ("t text", "SELECT 'x' UNION ALL SELECT NULL UNION ALL SELECT name FROM b"),
    "a literal that is a number there": ("n int", "SELECT '7' UNION ALL SELECT i FROM a"),
    "NULL first": ("n int, t text", "SELECT NULL, NULL UNION ALL SELECT i, t FROM a"),
    "domains, varchar and char": (
        "t text, u text",
        "SELECT w, c FROM words UNION ALL SELECT v, v FROM words UNION ALL SELECT c, '' FROM words",
    ),
    "numeric with another scale": (
        "n text",
        "SELECT n FROM words UNION ALL SELECT n / 3 FROM words UNION ALL SELECT 5",
    ),
    "arrays and rows": (
        "n text",
        "SELECT ARRAY[i, k]::text FROM a UNION ALL SELECT b::text FROM b",
    ),
    "VALUES": (
        "i int, t text",
        "VALUES (1, 'p'), (NULL, NULL), (1, 'p') UNION ALL SELECT i, t FROM a",
    ),
    "only VALUES": ("i int", "VALUES (1), (2) UNION ALL VALUES (2), (NULL)"),
    "aggregates": (
        "i bigint",
        "SELECT count(*) FROM a UNION ALL SELECT sum(k) FROM b UNION ALL SELECT i FROM a",
    ),
    "an aggregate of nothing": (
        "i bigint",
        "SELECT count(*) FROM empty UNION ALL SELECT max(i) FROM empty UNION ALL SELECT k FROM b",
    ),
    "HAVING": (
        "i bigint",
        (
            "SELECT count(*) FROM a HAVING count(*) > 5 UNION ALL SELECT 1 HAVING false "
            "UNION ALL SELECT 2 HAVING true UNION ALL SELECT k FROM b"
        ),
    ),
    "grouping sets": (
        "k int, n bigint",
        "SELECT k, count(*) FROM a GROUP BY ROLLUP (k) UNION ALL SELECT k, 0 FROM b",
    ),
    "groups by an indexed column": (
        "i int, n bigint",
        "SELECT i, count(*) FROM indexed GROUP BY i UNION ALL SELECT k, count(*) FROM a GROUP BY k",
    ),
    "DISTINCT": ("k int", "SELECT DISTINCT k FROM a UNION ALL SELECT DISTINCT i FROM indexed"),
    "windows": (
        "i int, n bigint",
        "SELECT i, row_number() OVER (ORDER BY i, t) FROM a UNION ALL SELECT k, 1 FROM b",
    ),
    "UNION in a branch": (
        "k int",
        "(SELECT k FROM a UNION SELECT k FROM b) UNION ALL SELECT k FROM b",
    ),
    "EXCEPT in a branch": (
        "k int",
        "SELECT k FROM a EXCEPT SELECT k FROM b UNION ALL SELECT k FROM b",
    ),
    "INTERSECT ALL in a branch": (
        "k int",
        "SELECT k FROM b UNION ALL SELECT k FROM a INTERSECT ALL SELECT k FROM b",
    ),
    "LIMIT in a branch": (
        "i int",
        (
            "(SELECT i FROM a ORDER BY i LIMIT 30) UNION ALL (SELECT i FROM a ORDER BY i OFFSET "
            "690) UNION ALL (SELECT k FROM b ORDER BY k FETCH FIRST 4 ROWS WITH TIES)"
        ),
    ),
    "ORDER BY in a branch": (
        "i int, t text",
        "(SELECT i, t FROM a ORDER BY t) UNION ALL SELECT k, name FROM b",
    ),
    "ORDER BY above": ("i int, t text", "SELECT i, t FROM a UNION ALL TABLE b ORDER BY 2, 1"),
    "series": (
        "i numeric",
        (
            "SELECT g FROM generate_series(1, 300) g UNION ALL SELECT generate_series(0.5, 9, "
            "0.25) UNION ALL SELECT i FROM a"
        ),
    ),
    "set-returning calls beside each other": (
        "i int, n int",
        "SELECT generate_series(1, 3), generate_series(1, 5) UNION ALL SELECT i, k FROM a",
    ),
    "joins": (
        "i int, t text",
        (
            "SELECT a.i, b.name FROM a JOIN b USING (k) UNION ALL SELECT a.i, b.name FROM a "
            "LEFT JOIN b ON a.k = b.k WHERE b.k IS NULL UNION ALL SELECT i, 'f' FROM a "
            "FULL JOIN b ON a.i = b.k"
        ),
    ),
    "subqueries in WHERE": (
        "i int",
        (
            "SELECT i FROM a WHERE k IN (SELECT k FROM b) UNION ALL SELECT k FROM b WHERE NOT "
            "EXISTS (SELECT FROM a WHERE a.i = b.k) OR k = (SELECT max(k) FROM a)"
        ),
    ),
    "OR in WHERE": ("i int", "SELECT i FROM a WHERE i < 9 OR k = 3 UNION ALL SELECT 1 WHERE true"),
    "in FROM": (
        "i int, t text",
        "SELECT s.x, s.y FROM (SELECT i, t FROM a UNION ALL SELECT k, name FROM b) s (x, y)",
    ),
    "in FROM, joined": (
        "i int, t text",
        (
            "SELECT s.i, b.name FROM (SELECT i, k FROM a UNION ALL SELECT i, i FROM indexed UNION "
            "ALL SELECT 5, 3) s LEFT JOIN b ON b.k = s.k WHERE s.i % 3 = 0"
        ),
    ),
    "in FROM, deeper": (
        "i bigint",
        (
            "SELECT q.i + 1 FROM (SELECT s.i FROM (SELECT i FROM a UNION ALL SELECT count(*) FROM "
            "b) s WHERE s.i > 3) q, b WHERE b.k = q.i % 5"
        ),
    ),
    "in WITH": (
        "i int",
        "WITH w AS (SELECT i FROM a UNION ALL SELECT k FROM b) SELECT i FROM w WHERE i > 5",
    ),
}


@pytest.mark.parametrize(("columns", "select"), SOUND.values(), ids=list(SOUND))
def test_a_sound_split_into_branches(dsn: str, columns: str, select: str) -> None:
    case = Case(f"INSERT INTO {{target}} {select}", columns, SETUP, chunks_min=1)
    outcome = split_both_ways(dsn, case, chunk_rows=100)
    assert outcome.last.key == "branches"


def test_the_larger_relation_drives_beside_a_small_union(dsn: str) -> None:
    select = "SELECT a.i, s.name FROM a, (TABLE b UNION ALL SELECT 1, 'x') s WHERE s.k = a.k"
    case = Case(f"INSERT INTO {{target}} {select}", "i int, t text", SETUP)
    assert split_both_ways(dsn, case, chunk_rows=100).last.key == "ctid"


REFUSED = {
    "UNION": ("SELECT i, t FROM a UNION SELECT k, name FROM b", "set-operation"),
    "a group over all branches": (
        "SELECT s.k, count(*)::text FROM (SELECT k FROM a UNION ALL SELECT k FROM b) s GROUP BY 1",
        "set-operation",
    ),
    "65 branches": (" UNION ALL ".join(["SELECT i, t FROM a"] * 65), "set-operation"),
    "a function that sees rows": (
        "SELECT i, t FROM a UNION ALL SELECT seen(), 'x'",
        "function-volatile",
    ),
}


@pytest.mark.parametrize(("select", "code"), REFUSED.values(), ids=list(REFUSED))
def test_a_union_that_is_not_taken_apart(dsn: str, select: str, code: str) -> None:
    setup = (
        *SETUP,
        "CREATE FUNCTION seen() RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM a'",
    )
    outcome = both_ways(dsn, Case(f"INSERT INTO {{target}} {select}", "i bigint, t text", setup))
    assert outcome.last.verdict == "serial"
    assert code in dict(outcome.last.reasons)


def test_a_branch_that_reads_the_target(dsn: str) -> None:
    script = (
        "INSERT INTO {target} SELECT i, t FROM a; "
        "INSERT INTO {target} SELECT k, name FROM b UNION ALL SELECT i + 1, t FROM {target}"
    )
    outcome = both_ways(dsn, Case(script, "i bigint, t text", SETUP))
    assert dict(outcome.last.reasons).keys() == {"reads-target"}


def test_small_branches_share_a_chunk_beside_a_large_one(dsn: str) -> None:
    large = "SELECT g FROM generate_series(1, 1500000) g WHERE g % 100000 = 0"
    others = "SELECT i FROM a UNION ALL SELECT count(*) FROM b"
    select = f"SELECT 7 UNION ALL {large} UNION ALL {others}"
    case = Case(f"INSERT INTO {{target}} {select}", "i bigint", SETUP)
    assert split_both_ways(dsn, case, split="auto", chunk_rows=500_000).last.chunks == 4
    split = stored_plan(dsn).split
    assert split is not None
    assert [part.total for part in split.parts] == [1, 1_500_000]


def test_the_plan_of_a_union_shows_a_chunk_of_it(dsn: str) -> None:
    execute(dsn, *SETUP, "CREATE TABLE t (i bigint)")
    sql = "INSERT INTO t SELECT i FROM a UNION ALL SELECT 1"
    (statement,) = api.plan(dsn, sql, api.ExecOptions(split="always"))
    assert statement.by is not None
    assert statement.by.key == "branches"
    assert statement.example is not None
    assert "a.ctid" in statement.example.sql


def test_every_branch_has_the_time_of_one_transaction(dsn: str) -> None:
    execute(dsn, *SETUP, "CREATE TABLE t (i int, at timestamptz, made timestamptz DEFAULT now())")
    script = (
        "INSERT INTO t SELECT i, now() FROM a UNION ALL VALUES (1, now()), (2, now()) "
        "UNION ALL SELECT count(*), current_timestamp FROM b"
    )
    assert pgfan(dsn, script).last.verdict == "split"
    assert query(dsn, "SELECT count(*), count(DISTINCT at), count(DISTINCT made) FROM t") == [
        (710, 1, 1)
    ]


def test_random_numbers_are_drawn_once_for_each_row(dsn: str) -> None:
    execute(dsn, *SETUP, "CREATE TABLE t (r float8)", "CREATE SEQUENCE q")
    script = (
        "INSERT INTO t SELECT random() FROM a UNION ALL SELECT nextval('q') FROM b "
        "UNION ALL SELECT random() UNION ALL SELECT nextval('q') WHERE random() < 2"
    )
    assert pgfan(dsn, script).last.verdict == "split"
    assert query(dsn, "SELECT count(*), count(DISTINCT r) FROM t") == [(743, 743)]
    assert value(dsn, "SELECT last_value FROM q") == 35


def stored_plan(dsn: str) -> TaskPlan:
    found = value(dsn, "SELECT plan FROM pgfan.task ORDER BY key DESC LIMIT 1")
    return TaskPlan.from_json(json.loads(found) if isinstance(found, str) else found)


def test_branches_that_are_empty_cost_nothing(dsn: str) -> None:
    """Neither scans, nor joins, nor sorts of theirs are in the plan, or they are never run."""
    execute(dsn, *SETUP, "CREATE TABLE t (i bigint)")
    others = (
        "SELECT a.i FROM a JOIN a z ON a.t < z.t",
        "SELECT count(*) FROM a, a z",
        "SELECT i FROM a GROUP BY i HAVING count(*) > 1",
        "SELECT a.i FROM a FULL JOIN b USING (k) WHERE a.t IN (SELECT t FROM a)",
        "(SELECT k FROM a UNION SELECT k FROM b)",
        "(SELECT i FROM a ORDER BY t LIMIT 3)",
        "VALUES (1), (2)",
        "SELECT generate_series(1, 40)",
    )
    script = f"INSERT INTO t SELECT k FROM b UNION ALL {' UNION ALL '.join(others)}"
    assert pgfan(dsn, script, chunk_rows=100).last.verdict == "split"
    split = stored_plan(dsn).split
    assert split is not None
    assert len(split.parts) == 1 + len(others)
    own = sum(part.total for part in split.parts) - 1
    statement = next(
        text
        for at in range(own + 1)
        for text in [split.statement(Range(at, at + 1))]
        if "b.ctid" in text
    )
    (plan,) = value(dsn, f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING off) {statement}")
    run = [node for node in nodes(plan["Plan"]) if node["Actual Loops"]]
    assert {node.get("Relation Name") for node in run} == {None, "b", "t"}


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for each in plan.get("Plans", ()) for node in nodes(each))]
