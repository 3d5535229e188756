"""Verdicts kept by shape: which statements share one, and that facts must be equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sql_catalogue import catalogue, tree_of, verdict_of

from pgfan.sql import judged as module
from pgfan.sql.distribute import Serial, Split, Verdict, distribute
from pgfan.sql.judged import Judged, shape

if TYPE_CHECKING:
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.tree import Message

ALIKE = {
    "a comparison with a number": ("x = 1", "x = 234567890"),
    "without blanks": ("x=1", "x=2"),
    "every comparison": (
        "x < 1 OR x > 1 OR x <= 1 OR x >= 1 OR x <> 1 OR x != 1",
        "x < 2 OR x > 3 OR x <= 4 OR x >= 5 OR x <> 6 OR x != 7",
    ),
    "a comparison with a string": ("x = 'a'", "x = 'it is (5) = 6'"),
    "in parentheses": ("(x = 'a')", "(x = 'b')"),
    "strings before other operands": ("x = 'a' AND y <> 'b'", "x = 'c' AND y <> ''"),
    "decimals": ("x > 1.5", "x > 23.75"),
    "arithmetic": ("x + 1 > y * 2 / 3 % 4", "x + 5 > y * 6 / 7 % 8"),
    "subtraction": ("(x) - 1 > 0 AND b1 - 2 > y[1] - 3", "(x) - 4 > 7 AND b1 - 5 > y[1] - 6"),
    "a constant that is subtracted": ("x > 1 - 7::numeric / 100", "x > 1 - 8::numeric / 50"),
    "beside a name that looks like one": ('"x = 1" = 1', '"x = 1" = 2'),
    "beside a string that looks like one": ("x IN ('= 1') AND y = 1", "x IN ('= 1') AND y = 2"),
}
UNLIKE = {
    "another type of number": ("x = 1", "x = 1.0"),
    "a number and a string": ("x = 1", "x = '1'"),
    "a number beyond integer": ("x = 1", "x = 12345678901"),
    "a sign": ("x = 1", "x = -1"),
    "signs": ("x = -1", "x = -2"),
    "a sign after a word": ("CASE WHEN y THEN -1 END = x", "CASE WHEN y THEN -2 END = x"),
    "an exponent": ("x = 1", "x = 1e5"),
    "the time": ("x = 'a'", "x = 'now'"),
    "the time within": ("x = 'a'", "x = '12:00 today'"),
    "two times": ("x = 'now'", "x = 'today'"),
    "the time in pieces": ("x = 'a'", "x = 'no'\n'w'"),
    "strings that are cast": ("x = 'b'::regtype", "x = 'c'::regtype"),
    "strings put together": ("x = 'no' || 'a'", "x = 'no' || 'w'"),
    "strings with quotes": ("x = 'a'", "x = 'a''b'"),
    "escapes": ("x = E'a'", "x = E'b'"),
    "escapes with backslashes": (r"x = E'no\167'", r"x = E'no\170'"),
    "typed strings": ("x = date '2020-01-01'", "x = date '2020-01-02'"),
    "patterns": ("x LIKE 'a'", "x LIKE 'b'"),
    "lists": ("x IN (1)", "x IN (2)"),
    "arguments": ("abs(1) = x", "abs(2) = x"),
    "arguments by name": ("f(a => 1)", "f(a => 2)"),
    "lengths": ("x::numeric(10) = y", "x::numeric(20) = y"),
    "other operators": ("x @> 1", "x @> 2"),
    "operators that end like comparisons": ("x #= 1", "x #= 2"),
    "jsonb paths": ("x -> 1 = y", "x -> 2 = y"),
    "another operator": ("x = 1", "x <> 1"),
    "what is compared": ("x = 1", "y = 1"),
    "parameters": ("x = $1", "x = $2"),
    "after a comment": ("/* ' */ x = 1", "/* ' */ x = 2"),
    "after a line comment": ("x = -- '\n 1", "x = -- '\n 2"),
    "dollar quotes": ("x = $$'$$ AND y = 1", "x = $$'$$ AND y = 2"),
    "bounds of a series": (
        "x IN (SELECT * FROM generate_series(1 + 1, 2))",
        "x IN (SELECT * FROM generate_series(1 + 2, 2))",
    ),
    "names that WITH queries get": ("x = 'pgfan_with_1'", "x = 'pgfan_with_2'"),
}
WHOLE = {
    "entries of GROUP BY": "SELECT x, y FROM b GROUP BY {}, 2",
    "entries of ORDER BY": "SELECT x, y FROM b ORDER BY {}",
    "entries of DISTINCT ON": "SELECT DISTINCT ON ({}) x, y FROM b",
    "LIMIT": "SELECT x FROM b LIMIT {}",
    "OFFSET": "SELECT x FROM b OFFSET {}",
    "TABLESAMPLE": "SELECT x FROM b TABLESAMPLE system (1 + {})",
    "a sequence by name": "SELECT nextval('s{}'), x FROM b WHERE y = 1",
    "outputs": "SELECT {}, x FROM b",
    "a negative entry": "SELECT x FROM b GROUP BY -{}",
}


@pytest.mark.parametrize(("one", "other"), ALIKE.values(), ids=list(ALIKE))
def test_constants_that_decide_nothing_are_no_part_of_the_shape(one: str, other: str) -> None:
    before = "INSERT INTO t SELECT x FROM b WHERE "
    assert shape(before + one) == shape(before + other)


@pytest.mark.parametrize(("one", "other"), UNLIKE.values(), ids=list(UNLIKE))
def test_all_else_is_part_of_the_shape(one: str, other: str) -> None:
    before = "INSERT INTO t SELECT x FROM b WHERE "
    assert shape(before + one) != shape(before + other)


@pytest.mark.parametrize("select", WHOLE.values(), ids=list(WHOLE))
def test_constants_of_clauses_are_part_of_the_shape(select: str) -> None:
    assert shape(f"INSERT INTO t {select.format(1)}") != shape(f"INSERT INTO t {select.format(2)}")


def candidate_list(verdict: Verdict) -> list[Candidate]:
    assert isinstance(verdict, Split)
    return list(verdict.candidates)


def test_a_statement_of_a_known_shape_is_not_parsed_until_its_tree_is_wanted() -> None:
    judged, facts = Judged(), catalogue()
    wanted: list[str] = []

    def verdict(sql: str) -> Verdict:
        def tree() -> Message:
            wanted.append(sql)
            return tree_of(sql)

        return judged.verdict(sql, tree, facts)

    one, other = (f"INSERT INTO t SELECT x FROM b WHERE x = {n}" for n in (1, 2))
    candidates = [
        candidate_list(each) for each in (verdict(one), verdict(other), verdict_of(other))
    ]
    assert candidates[0]
    assert candidates[0] == candidates[1] == candidates[2]
    assert wanted == [one]
    found = verdict(other)
    assert isinstance(found, Split)
    rewritten = found.tree.select_stmt.select_stmt
    assert rewritten.where_clause.a_expr.rexpr.a_const.ival.ival == 2
    assert wanted == [one, other]


def test_serial_verdicts_are_kept_too() -> None:
    judged, facts = Judged(), catalogue()
    found = [
        judged.verdict(sql, lambda sql=sql: tree_of(sql), facts)  # type: ignore[misc]
        for sql in (f"INSERT INTO t SELECT count(*) FROM b WHERE x = {n}" for n in (1, 2))
    ]
    assert isinstance(found[0], Serial)
    assert found[0] is found[1]


def test_other_facts_are_judged_anew() -> None:
    judged = Judged()
    sql = "INSERT INTO t SELECT x FROM b WHERE x = 1"

    def verdict(**changes: dict[str, str | None]) -> Verdict:
        return judged.verdict(sql, lambda: tree_of(sql), catalogue(**changes))

    assert isinstance(verdict(), Split)
    assert isinstance(verdict(t={"id": None, "x": None, "y": "app.lookup(1)"}), Serial)
    assert isinstance(verdict(), Split)


def test_equal_facts_read_again_are_the_same_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = Judged()
    sql = "INSERT INTO t SELECT x FROM b WHERE x = 1"
    before = judged.verdict(sql, lambda: tree_of(sql), catalogue())
    monkeypatch.setattr(module, "distribute", None)
    again = judged.verdict(sql, lambda: tree_of(sql), catalogue())
    assert candidate_list(again) == candidate_list(before)


def test_the_latest_verdicts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def counting(*arguments: object) -> Verdict:
        nonlocal count
        count += 1
        return distribute(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "distribute", counting)
    judged, facts = Judged(verdicts_max=2), catalogue()
    for column in ("x", "y", "x", "n", "x", "y"):
        sql = f"INSERT INTO t SELECT {column} FROM b"
        judged.verdict(sql, lambda sql=sql: tree_of(sql), facts)  # type: ignore[misc]
    assert count == 4
