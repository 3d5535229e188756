"""Ranges of a column as SQL: every value, and NULL, lies in exactly one of them."""

from __future__ import annotations

import itertools
import re
import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgfan.plan.column_ranges import ColumnRanges
from pgfan.plan.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.plan.column_ranges import Bound

THREE = ColumnRanges.of(("10", "20", "o'clock"))
CONDITIONS = [
    (Range(0, 1), "(x OPERATOR(pg_catalog.<) '10' OR x IS NULL)"),
    (Range(0, 3), "(x OPERATOR(pg_catalog.<) 'o''clock' OR x IS NULL)"),
    (Range(1, 2), "(x OPERATOR(pg_catalog.>=) '10' AND x OPERATOR(pg_catalog.<) '20')"),
    (Range(1, 3), "(x OPERATOR(pg_catalog.>=) '10' AND x OPERATOR(pg_catalog.<) 'o''clock')"),
    (Range(2, 4), "(x OPERATOR(pg_catalog.>=) '20')"),
    (Range(3, 4), "(x OPERATOR(pg_catalog.>=) 'o''clock')"),
    (Range(0, 4), "true"),
]


@pytest.mark.parametrize(("piece", "condition"), CONDITIONS)
def test_a_range_begins_at_its_bound_and_ends_before_the_next(piece: Range, condition: str) -> None:
    assert THREE.condition(("x",), piece) == condition


@pytest.mark.parametrize("values", [(), ("1",), ("1", "2"), ("1", "3", "5", "7")])
def test_each_value_and_null_is_in_one_range(values: tuple[str, ...]) -> None:
    ranges = ColumnRanges.of(values)
    conditions = [ranges.condition(("x",), Range(at, at + 1)) for at in range(len(values) + 1)]
    for value in (None, *range(9)):
        assert sum(_holds(condition, value) for condition in conditions) == 1, value


def _holds(condition: str, value: int | None) -> bool:
    """What SQL would say of the row, for numbers of one digit."""
    if condition == "true":
        return True
    if value is None:
        return "IS NULL" in condition
    bounds = re.findall(r"OPERATOR\(pg_catalog\.(>=?|<=?)\) '(\d)'", condition)
    truth = {">=": int.__ge__, ">": int.__gt__, "<": int.__lt__, "<=": int.__le__}
    return all(truth[operator](value, int(bound)) for operator, bound in bounds)


VALUES: tuple[str | None, ...] = (None, "1", "2", "3")
PARTS = ("a", "b", "c")
ROWS = list(itertools.product((*VALUES, "15"), VALUES, VALUES))


def keys(parts: int) -> st.SearchStrategy[list[Bound]]:
    """Ascending bounds of a key of so many parts, whole rows and beginnings of rows."""
    bound = st.lists(st.sampled_from(VALUES), min_size=1, max_size=parts).map(tuple)
    return st.lists(bound, unique=True, max_size=7).map(lambda found: sorted(found, key=_ordered))


def _ordered(bound: Sequence[str | None]) -> tuple[tuple[bool, str], ...]:
    return tuple((value is not None, value or "") for value in bound)


def _selected(condition: str) -> frozenset[tuple[str | None, ...]]:
    """The rows for which a database says that the condition is true; SQLite has row values too."""
    plain = re.sub(r"OPERATOR\(pg_catalog\.([<>=]+)\)", r"\1", condition).replace("ROW(", "(")
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE t (a text, b text, c text)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?)", ROWS)
        return frozenset(connection.execute(f"SELECT * FROM t WHERE {plain}").fetchall())


@settings(deadline=None, max_examples=150)
@given(st.data(), st.integers(1, 3), st.booleans())
def test_each_row_of_several_columns_is_in_one_range(
    data: st.DataObject, parts: int, ordered: bool
) -> None:
    bounds = data.draw(keys(parts))
    order = tuple(data.draw(st.permutations(range(len(bounds) + 1)))) if ordered else ()
    ranges = ColumnRanges(tuple(bounds), order)
    found = [
        _selected(ranges.condition(PARTS[:parts], Range(at, at + 1)))
        for at in range(len(bounds) + 1)
    ]
    assert sum(map(len, found)) == len(ROWS)
    assert frozenset().union(*found) == frozenset(ROWS)
    for number, rows in zip(order or range(len(found)), found, strict=True):
        below = sum(_ordered(bound) <= _ordered(row) for bound in bounds for row in list(rows)[:1])
        assert not rows or below == number
    lo = data.draw(st.integers(0, len(bounds)))
    hi = data.draw(st.integers(lo + 1, len(bounds) + 1))
    together = _selected(ranges.condition(PARTS[:parts], Range(lo, hi)))
    assert together == frozenset().union(*found[lo:hi])


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_what_knows_fewer_columns_lets_all_partners_through(data: st.DataObject) -> None:
    bounds = data.draw(keys(3))
    ranges = ColumnRanges(tuple(bounds))
    lo = data.draw(st.integers(0, len(bounds)))
    piece = Range(lo, data.draw(st.integers(lo + 1, len(bounds) + 1)))
    whole = _selected(ranges.condition(PARTS, piece))
    for parts in (1, 2):
        seen = _selected(ranges.condition(PARTS[:parts], piece))
        assert whole <= seen
