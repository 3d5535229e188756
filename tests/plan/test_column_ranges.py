"""Ranges of a column as SQL: every value, and NULL, lies in exactly one of them."""

from __future__ import annotations

import re

import pytest

from pgfan.plan.ranges import Range
from pgfan.plan.task import ColumnRanges

THREE = ColumnRanges(("10", "20", "o'clock"))
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
    assert THREE.condition("x", piece) == condition


@pytest.mark.parametrize("values", [(), ("1",), ("1", "2"), ("1", "3", "5", "7")])
def test_each_value_and_null_is_in_one_range(values: tuple[str, ...]) -> None:
    ranges = ColumnRanges(values)
    conditions = [ranges.condition("x", Range(at, at + 1)) for at in range(len(values) + 1)]
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
