"""Statements that are too long, too wide or too deep: a verdict, in bounded time, never a crash."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
from sql_catalogue import catalogue, in_words, split_of, tree_of, verdict_of

from pgfan.sql.distribute import Serial, Split, distribute
from pgfan.sql.keys import DEPTH_MAX
from pgfan.sql.rewrite import restrict_blocks, restrict_column

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = "2024-02-29 12:00:00.5+00"
# Half a minute on a busy machine; each takes a second or two.
pytestmark = pytest.mark.timeout(120)


def nested(times: int, before: str, core: str, after: str) -> str:
    return before * times + core + after * times


def joined(count: int, join: str) -> str:
    joins = (f" {join.format(at, at - 1)}" for at in range(1, count))
    return f"INSERT INTO t SELECT b0.x FROM b b0{''.join(joins)} GROUP BY b0.x"


def chained(count: int) -> str:
    queries = [f"w{at} AS (SELECT x FROM w{at - 1})" for at in range(1, count)]
    return f"WITH w0 AS (SELECT x FROM b), {', '.join(queries)} SELECT x FROM w{count - 1}"


def listed(count: int) -> str:
    numbers = ",".join(map(str, range(count)))
    return f"INSERT INTO t SELECT x FROM b WHERE x IN ({numbers})"


WINDOWS = ", ".join(["w0 AS (PARTITION BY x)", *(f"w{at} AS (w{at - 1})" for at in range(1, 400))])
WIDE = {
    "two megabytes of a literal": (f"SELECT x, '{'x' * 2_000_000}' FROM b", "ctid b"),
    "five thousand conditions": (
        f"SELECT x FROM b WHERE {' OR '.join(['x = 1'] * 5_000)}",
        "ctid b",
    ),
    "a long list": (f"SELECT x FROM b WHERE x IN ({','.join(['123456'] * 20_000)})", "ctid b"),
    "five thousand columns": (f"SELECT {', '.join(['x'] * 5000)} FROM b", "ctid b"),
    "ten thousand branches": (" UNION ALL ".join(["SELECT x FROM b"] * 10_000), "! deparse"),
    "two thousand queries in WITH": (
        f"WITH {', '.join(f'w{at} AS (TABLE b)' for at in range(2000))} SELECT x FROM w7",
        "! cte",
    ),
    "windows upon windows": (f"SELECT sum(x) OVER w399 FROM b WINDOW {WINDOWS}", "column x b"),
}


@pytest.mark.parametrize(("select", "expected"), WIDE.values(), ids=list(WIDE))
def test_wide_statements(select: str, expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {select}")) == expected


@pytest.mark.parametrize(
    "sql",
    [
        listed,
        partial(joined, join="NATURAL JOIN b b{0}"),
        partial(joined, join="JOIN b b{0} USING (x)"),
        partial(joined, join="JOIN b b{0} ON b{0}.x = b{1}.x"),
        partial(joined, join=", b b{0}"),
    ],
    ids=["a list", "NATURAL", "USING", "ON", "a cross join"],
)
def test_twice_the_statement_is_twice_the_work(sql: Callable[[int], str]) -> None:
    facts = catalogue()
    steps = [_steps(partial(distribute, tree_of(sql(count)), facts)) for count in (40, 80, 160)]
    once, twice, four_times = steps
    assert four_times - twice < 2.5 * (twice - once)


def _steps(work: Callable[[], object]) -> int:
    """How many lines of Python `work` runs, each turn of a loop counted."""
    steps = 0

    def trace(_frame: object, event: str, _argument: object) -> object:
        nonlocal steps
        steps += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        work()
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize("join", ["JOIN b b{0} ON b{0}.x = b{1}.x", "JOIN b b{0} USING (x)"])
def test_a_hundred_joins(join: str) -> None:
    verdict = verdict_of(joined(100, join))
    assert isinstance(verdict, Split)
    assert "column x b0" in in_words(verdict)


DEEP = {
    "EXISTS": nested(120, "EXISTS (SELECT 1 FROM c WHERE ", "true", ")"),
    "CASE": nested(200, "CASE WHEN x > 1 THEN ", "true", " END"),
    "scalar subqueries": nested(120, "(SELECT ", "true", ")"),
    "operators": " || ".join(["y"] * 400) + " = 'a'",
    "arrays": f"{nested(300, 'ARRAY[', '1', ']')} = '{{}}'",
    "NOT": nested(300, "NOT (", "x = 1", ")"),
}


@pytest.mark.parametrize("where", DEEP.values(), ids=list(DEEP))
@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t SELECT x FROM b WHERE {} AND x > 0",
        "INSERT INTO t SELECT s.x FROM (SELECT x FROM b WHERE {}) s",
        "WITH s AS (SELECT x, y FROM b WHERE {}) INSERT INTO t SELECT x FROM s",
        "DELETE FROM t USING (SELECT x, y FROM b WHERE {}) s WHERE s.x = t.x",
        "UPDATE t SET x = 1 WHERE {} AND id > 0",
    ],
)
def test_deep_expressions_are_rewritten_as_others_are(sql: str, where: str) -> None:
    split = split_of(sql.format(where))
    candidate = split.candidates[0]
    restrict = restrict_column if candidate.key == "column" else restrict_blocks
    template = restrict(split, candidate, catalogue(), NOW)
    assert len(template.pieces) > 1


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (DEPTH_MAX, "ctid b"),
        (DEPTH_MAX + 1, "! no-driving-relation"),
        (200, "! no-driving-relation"),
    ],
)
def test_subqueries_in_from_are_looked_into_to_a_depth(depth: int, expected: str) -> None:
    select = nested(depth, "SELECT * FROM (", "SELECT x FROM b", ") s")
    assert in_words(verdict_of(f"INSERT INTO t {select}")) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(20, "ctid b"), (150, "! no-driving-relation"), (400, "! cte")],
)
def test_a_chain_of_queries_in_with(count: int, expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {chained(count)}")) == expected


def test_a_refusal_of_many_queries_in_with_says_how_many_may_be() -> None:
    verdict = verdict_of(f"INSERT INTO t {chained(250)}")
    assert isinstance(verdict, Serial)
    assert [reason.message for reason in verdict.reasons] == [
        "250 queries in WITH, and 200 are analysed: put some results into tables"
    ]


@pytest.mark.parametrize("name", ['"b"".""c"', '"select"', '"größe"', '"a b"', f'"{"n" * 63}"'])
def test_names_that_need_quotes_come_back_as_they_were(name: str) -> None:
    split = split_of(f"INSERT INTO t SELECT {name}.x FROM b AS {name} GROUP BY {name}.x")
    template = restrict_column(split, split.candidates[0], catalogue(), NOW)
    assert template.columns == ((f'{name}."x"',),)
    assert name.strip('"') in template.pieces[0]


@pytest.mark.parametrize(("name", "cut"), [("n" * 70, "n" * 63), ("ü" * 40, "ü" * 31)])
def test_names_over_63_bytes_are_cut_where_the_server_cuts_them(name: str, cut: str) -> None:
    split = split_of(f'INSERT INTO t SELECT "{name}".x FROM b AS "{name}" GROUP BY "{name}".x')
    template = restrict_column(split, split.candidates[0], catalogue(), NOW)
    assert template.columns == ((f'"{cut}"."x"',),)


UNKNOWN = [
    ("INSERT INTO t SELECT no_such_function(x) FROM b", "! function-unknown"),
    ("INSERT INTO t SELECT no_such_schema.lower(y) FROM b", "! function-unknown"),
    ("INSERT INTO t SELECT x FROM no_such_table", "! relation-unknown"),
    ("INSERT INTO no_such_table SELECT x FROM b", "! relation-unknown"),
    ("DELETE FROM no_such_table", "! relation-unknown"),
    # A column of two relations is an error of the server's: no key follows from it.
    ("INSERT INTO t SELECT x FROM b LEFT JOIN c ON true GROUP BY x", "! group-by"),
    ("INSERT INTO t WITH RECURSIVE r AS (TABLE b UNION TABLE r) TABLE r", "! cte"),
]


@pytest.mark.parametrize(("sql", "expected"), UNKNOWN)
def test_names_that_mean_nothing(sql: str, expected: str) -> None:
    assert in_words(verdict_of(sql)) == expected
