"""Ordinals to bounds: the ranges of a series tile it exactly, however they are cut."""

from __future__ import annotations

import itertools
import json
import re
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pgfan.plan.column_ranges import ColumnRanges
from pgfan.plan.ranges import Range
from pgfan.plan.task import (
    Blocks,
    CalendarSeries,
    NewTable,
    NumberSeries,
    SplitPlan,
    TaskPlan,
    TimeSeries,
    interval_text,
    number_count,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

INT8 = (-(2**63), 2**63 - 1)
EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - PostgreSQL's epoch, without a zone


def generate_series(start: Decimal, stop: Decimal, step: Decimal) -> Iterator[Decimal]:
    """PostgreSQL's, for numbers."""
    with localcontext() as context:
        context.prec = 200
        value = start
        while (value <= stop) if step > 0 else (value >= stop):
            yield value
            value += step


def cuts(total: int, lengths: list[int]) -> Iterator[Range]:
    """[0, total) in pieces of these lengths, the last one cut or stretched to the end."""
    lo = 0
    for length in itertools.chain(lengths, itertools.repeat(total or 1)):
        if lo >= total:
            return
        yield Range(lo, min(total, lo + length))
        lo += length


def tiled(bounds: NumberSeries, total: int, lengths: list[int]) -> list[Decimal]:
    """The values that the chunks make, by what they say to the server."""
    values: list[Decimal] = []
    for piece in cuts(total, lengths):
        low, high = Decimal(bounds.low(piece.lo)), Decimal(bounds.high(piece.hi))
        values += generate_series(low, high, Decimal(bounds.step))
    return values


NUMBERS = [
    ("1", "10", "1"),
    ("10", "1", "-1"),
    ("10", "1", "-4"),
    ("1", "10", "4"),
    ("5", "5", "7"),
    ("-3", "3", "2"),
    ("0.5", "3", "0.25"),
    ("1.10", "2.3", "0.3"),
    ("3", "-3", "-0.7"),
    ("0", "0.000001", "0.0000003"),
    ("1", "2.5", "0.50"),
    (str(INT8[1] - 5), str(INT8[1]), "2"),
    (str(INT8[0] + 5), str(INT8[0]), "-2"),
    ("123456789012345678901234567890.5", "123456789012345678901234567899", "1.25"),
]


@pytest.mark.parametrize(("start", "stop", "step"), NUMBERS)
@pytest.mark.parametrize("lengths", [[], [1] * 50, [2, 1, 3], [3, 3]])
def test_ranges_of_numbers_tile_the_series(
    start: str, stop: str, step: str, lengths: list[int]
) -> None:
    whole = list(generate_series(Decimal(start), Decimal(stop), Decimal(step)))
    total = number_count(start, stop, step)
    assert total == len(whole)
    found = tiled(NumberSeries(start, step), total, lengths)
    assert found == whole
    # The scale too: 1.10 and 1.1 are equal, and not printed alike.
    assert [str(value) for value in found] == [str(value) for value in whole]


DECIMALS = st.decimals(-1000, 1000, places=3).map(lambda value: value.normalize())


@settings(max_examples=200, deadline=None)
@given(DECIMALS, DECIMALS, DECIMALS, st.lists(st.integers(1, 9), max_size=20))
def test_any_numeric_series_is_tiled(
    start: Decimal, stop: Decimal, step: Decimal, lengths: list[int]
) -> None:
    assume(step and abs((stop - start) / step) < 200)
    texts = [f"{value:f}" for value in (start, stop, step)]
    whole = list(generate_series(*(Decimal(text) for text in texts)))
    total = number_count(*texts)
    assert total == len(whole)
    assert tiled(NumberSeries(texts[0], texts[2]), total, lengths) == whole


COUNTS = [
    ("1", "0", "1", 0),
    ("0", "1", "-1", 0),
    ("1", "1", "-1", 1),
    ("1", "1", "1", 1),
    ("1", "20000000", "1", 20_000_000),
    (str(INT8[0]), str(INT8[1]), "1", 2**64),
    (str(INT8[1]), str(INT8[0]), "-1", 2**64),
    ("0", "1", "0.0000000001", 10**10 + 1),
    ("0", "1" + "0" * 60, "1", 10**60 + 1),
    ("0.1", "0.35", "0.1", 3),
    ("-0.1", "-0.35", "-0.1", 3),
]


@pytest.mark.parametrize(("start", "stop", "step", "count"), COUNTS)
def test_how_many_elements_a_series_has(start: str, stop: str, step: str, count: int) -> None:
    assert number_count(start, stop, step) == count


@pytest.mark.parametrize(
    ("start", "stop", "step"),
    [
        ("1", "2", "0"),
        ("1", "2", "0.00"),
        ("NaN", "1", "1"),
        ("1", "Infinity", "1"),
        ("1", "2", "NaN"),
    ],
)
def test_what_has_no_count(start: str, stop: str, step: str) -> None:
    with pytest.raises(ValueError, match="no series"):
        number_count(start, stop, step)


def test_digits_beyond_any_float_are_exact() -> None:
    series = NumberSeries("0." + "0" * 40 + "1", "1")
    assert series.low(10**30) == f"{10**30}." + "0" * 40 + "1"
    assert NumberSeries("1E+3", "1").low(0) == "1E+3"  # as the server wrote it
    assert NumberSeries("9223372036854775807", "-1").low(2**64 - 1) == str(INT8[0])
    assert "E" not in NumberSeries("1", "0.00000001").low(3)


def test_the_ends_of_int8() -> None:
    series = NumberSeries(str(INT8[0]), "1")
    assert (series.low(0), series.high(2**64)) == (str(INT8[0]), str(INT8[1]))


# Intervals -------------------------------------------------------------------------------------

INTERVAL = re.compile(r"(-?\d+) days \+(\d\d):(\d\d):(\d\d)\.(\d{6})")


def microseconds(text: str) -> int:
    """What PostgreSQL reads in an interval of days and a time, with every sign written out."""
    match = INTERVAL.fullmatch(text)
    assert match, text
    days, hours, minutes, seconds, fraction = (int(part) for part in match.groups())
    assert hours < 24
    assert minutes < 60
    assert seconds < 60
    whole = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return whole // timedelta(microseconds=1) + fraction


@given(st.integers(-(10**17), 10**17))
def test_an_interval_is_exact(value: int) -> None:
    assert microseconds(interval_text(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 days +00:00:00.000000"),
        (1, "0 days +00:00:00.000001"),
        (-1, "-1 days +23:59:59.999999"),
        (86_400_000_000, "1 days +00:00:00.000000"),
        (-86_400_000_000, "-1 days +00:00:00.000000"),
        (3_723_000_004, "0 days +01:02:03.000004"),
    ],
)
def test_intervals_in_words(value: int, text: str) -> None:
    assert interval_text(value) == text


@settings(max_examples=200, deadline=None)
@given(
    st.integers(-(10**16), 10**16),
    st.integers(-(10**12), 10**12).filter(bool),
    st.integers(1, 60),
    st.lists(st.integers(1, 9), max_size=20),
)
def test_ranges_of_times_tile_the_series(
    start_us: int, step_us: int, total: int, lengths: list[int]
) -> None:
    series = TimeSeries(start_us, step_us)
    found: list[int] = []
    for piece in cuts(total, lengths):
        value, last = microseconds(series.low(piece.lo)), microseconds(series.high(piece.hi))
        while (value <= last) if step_us > 0 else (value >= last):
            found.append(value)
            value += step_us
    assert found == [start_us + number * step_us for number in range(total)]


def test_a_time_is_counted_from_the_year_2000() -> None:
    moment = datetime(2024, 2, 29, 12, 30, 15, 250)  # noqa: DTZ001 - as above
    since = (moment - EPOCH) // timedelta(microseconds=1)
    assert interval_text(since) == "8825 days +12:30:15.000250"
    assert EPOCH + timedelta(microseconds=microseconds(interval_text(since))) == moment


def months(start: datetime, count: int, run: int) -> tuple[CalendarSeries, list[int]]:
    """A series by months, the first and last of every `run` elements kept; and its elements."""
    elements, value = [], start
    for _ in range(count):
        elements.append((value - EPOCH) // timedelta(microseconds=1))
        year, month = divmod(value.year * 12 + value.month, 12)
        value = value.replace(year=year, month=month + 1, day=min(value.day, 28))
    firsts = tuple(elements[::run])
    lasts = tuple(elements[min(at + run, count) - 1] for at in range(0, count, run))
    return CalendarSeries(firsts, lasts), elements


@pytest.mark.parametrize("count", [1, 2, 12, 13, 25])
@pytest.mark.parametrize("run", [1, 2, 5, 100])
@pytest.mark.parametrize("lengths", [[], [1] * 30, [2, 3]])
def test_ranges_of_a_calendar_tile_the_series(count: int, run: int, lengths: list[int]) -> None:
    series, elements = months(datetime(2024, 1, 31), count, run)  # noqa: DTZ001 - as above
    found: list[int] = []
    for piece in cuts(len(series.firsts_us), lengths):
        low, high = microseconds(series.low(piece.lo)), microseconds(series.high(piece.hi))
        found += [element for element in elements if low <= element <= high]
    assert found == elements


@given(st.integers(1, 100), st.lists(st.integers(1, 9), max_size=20))
def test_ranges_of_blocks_touch_and_do_not_overlap(total: int, lengths: list[int]) -> None:
    blocks = Blocks()
    bounds = [(blocks.low(piece.lo), blocks.high(piece.hi)) for piece in cuts(total, lengths)]
    assert bounds[0][0] == "(0,0)"
    assert bounds[-1][1] == f"({total},0)"
    assert all(left[1] == right[0] for left, right in itertools.pairwise(bounds))


# Plans -----------------------------------------------------------------------------------------

BOUNDS = [
    Blocks(),
    NumberSeries("1.50", "-0.25"),
    TimeSeries(-5, 3_600_000_000),
    CalendarSeries((1, 5), (4, 9)),
]


def plan_of(bounds: Blocks | NumberSeries | TimeSeries | CalendarSeries) -> TaskPlan:
    split = SplitPlan(
        "ctid", "blocks", 7, ("a ", " b ", " c 'é\"\\"), bounds, '"s"."t"', ('"x"."y"',), 12.5
    )
    return TaskPlan("split", (("small", "é"),), ("not-atomic",), unlogged=True, split=split)


@pytest.mark.parametrize("bounds", BOUNDS, ids=lambda bounds: bounds.kind)
def test_a_plan_outlives_its_client(
    bounds: Blocks | NumberSeries | TimeSeries | CalendarSeries,
) -> None:
    plan = plan_of(bounds)
    again = TaskPlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert again.split is not None
    assert plan.split is not None
    assert again.split.statement(Range(0, 1)) == plan.split.statement(Range(0, 1))


def test_a_serial_plan_outlives_its_client() -> None:
    plan = TaskPlan("serial", (("cte", "WITH"),))
    assert TaskPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value.pop("verdict"),
        lambda value: value.pop("split"),
        lambda value: value["split"].pop("bounds"),
        lambda value: value["split"]["bounds"].pop("kind"),
    ],
)
def test_what_is_no_plan_is_not_taken_for_one(spoil: object) -> None:
    value = json.loads(json.dumps(plan_of(Blocks()).to_json()))
    spoil(value)  # type: ignore[operator]  # a lambda above
    with pytest.raises((KeyError, TypeError)):
        TaskPlan.from_json(value)


def test_the_statement_of_a_chunk() -> None:
    plan = plan_of(NumberSeries("1", "2")).split
    assert plan is not None
    assert plan.statement(Range(0, 3)) == "a '1' b '5' c 'é\"\\"
    assert plan.statement(Range(3, 4)) == "a '7' b '7' c 'é\"\\"


def test_a_plan_that_makes_a_table_is_read_back() -> None:
    table = NewTable("S p", 'n"', "pgfan_1", 'CREATE TABLE "S p"."n""" AS SELECT', 4711)
    split = SplitPlan("ctid", "blocks", 9, ("a", "b", "c"), Blocks(), "t")
    plan = TaskPlan("split", split=replace(split, tag="SELECT", creates=table))
    assert TaskPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.creates == table


def test_a_plan_of_a_version_that_made_no_tables() -> None:
    split = SplitPlan("ctid", "blocks", 9, ("a", "b", "c"), Blocks(), "t")
    stored = TaskPlan("split", split=split).to_json()
    del stored["split"]["creates"], stored["split"]["tag"]
    assert TaskPlan.from_json(stored) == TaskPlan("split", split=split)


def test_ranges_of_several_columns_are_read_back() -> None:
    ranges = ColumnRanges((("a",), ("a", "(3,1)"), (None, "é"), ("b",)), (2, 0, 1, 3, 4), 1)
    split = SplitPlan(
        "k,ctid", "ranges", 5, ("x ", " y"), ranges, "t", columns=(('"k"', '"ctid"'),)
    )
    plan = TaskPlan("split", split=split, notes=(("hot-value", "one value"),))
    again = TaskPlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert again.split is not None
    assert again.split.statement(Range(1, 3)) == split.statement(Range(1, 3))


def test_a_plan_of_a_version_that_cut_by_one_column() -> None:
    pieces, columns = ("x ", " and ", "."), (("k",), ("c.k",))
    split = SplitPlan("k", "ranges", 3, pieces, ColumnRanges.of(("5", "7")), "t", columns=columns)
    stored = TaskPlan("split", split=split).to_json()
    stored["split"] |= {"bounds": {"kind": "column", "values": ["5", "7"]}, "columns": ["k", "c.k"]}
    del stored["notes"]
    again = TaskPlan.from_json(json.loads(json.dumps(stored)))
    assert again == TaskPlan("split", split=split)
    assert split.statement(Range(2, 3)) == (
        "x (k OPERATOR(pg_catalog.>=) '7') and (c.k OPERATOR(pg_catalog.>=) '7')."
    )
