"""A domain put together from parts: the SQL of each, borders, and what each part teaches."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgfan.plan.column_ranges import ColumnRanges
from pgfan.plan.messages import PartSize
from pgfan.plan.parts import PartedSizer
from pgfan.plan.ranges import Range, RangeSet
from pgfan.plan.sizing import SizingOptions
from pgfan.plan.task import Blocks, NumberSeries, Part, SplitPlan, TaskPlan, Whole

PARTS = (
    Part(1, ("whole",), Whole(), cost=9.5),
    Part(3, ("b ", " ", " e"), Blocks(), 50.0),
    Part(1, ("also whole",), Whole()),
    Part(2, ("c ", " and ", "."), ColumnRanges.of(("m",)), columns=(("x",), ("y",))),
    Part(4, ("s ", " ", ""), NumberSeries("1", "2")),
)
PLAN = SplitPlan("branches", "units", 11, (), Whole(), '"t"', ('"b"',), parts=PARTS)


def test_each_ordinal_belongs_to_the_part_that_holds_it() -> None:
    found = [PLAN.statement(Range(at, at + 1)) for at in range(PLAN.total)]
    assert found == [
        "whole",
        "b '(0,0)' '(1,0)' e",
        "b '(1,0)' '(2,0)' e",
        "b '(2,0)' '(3,0)' e",
        "also whole",
        (
            "c (x OPERATOR(pg_catalog.<) 'm' OR x IS NULL) and "
            "(y OPERATOR(pg_catalog.<) 'm' OR y IS NULL)."
        ),
        "c (x OPERATOR(pg_catalog.>=) 'm') and (y OPERATOR(pg_catalog.>=) 'm').",
        "s '1' '1'",
        "s '3' '3'",
        "s '5' '5'",
        "s '7' '7'",
    ]


def test_ranges_of_several_ordinals_are_counted_from_the_part_s_own_beginning() -> None:
    assert PLAN.statement(Range(1, 4)) == "b '(0,0)' '(3,0)' e"
    assert PLAN.statement(Range(5, 7)) == "c true and true."
    assert PLAN.statement(Range(8, 11)) == "s '3' '7'"


@pytest.mark.parametrize("piece", [(0, 2), (3, 5), (4, 6), (6, 8), (0, 11), (10, 12), (11, 12)])
def test_a_range_over_a_border_has_no_statement(piece: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="lies in no single part"):
        PLAN.statement(Range(*piece))


def test_parts_outlive_their_client() -> None:
    plan = TaskPlan("split", (), ("not-atomic",), split=PLAN)
    assert TaskPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_that_an_earlier_version_wrote_is_read() -> None:
    plan = TaskPlan("split", split=SplitPlan("ctid", "blocks", 7, ("a", "b", "c"), Blocks(), "t"))
    written = json.loads(json.dumps(plan.to_json()))
    del written["split"]["parts"]
    assert TaskPlan.from_json(written) == plan


# Sizes -----------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(0.001, 1000)), min_size=1, max_size=6),
    st.lists(st.tuples(st.booleans(), st.floats(1e-6, 10)), min_size=1, max_size=9),
    st.integers(1, 4),
)
def test_chunks_cover_every_part_and_reach_over_no_border(
    sizes: list[tuple[int, float]], answers: list[tuple[bool, float]], workers: int
) -> None:
    parts = [PartSize(units, cost=cost) for units, cost in sizes]
    borders = list(itertools.accumulate((part.units for part in parts), initial=0))
    sizer = PartedSizer(parts, SizingOptions(0.5))
    left = RangeSet([Range(0, borders[-1])])
    done = RangeSet()
    for given_back, seconds in itertools.islice(itertools.cycle(answers), 2000):
        if not left:
            break
        piece = left.take(sizer.next_units(left, workers))
        assert not any(piece.lo < border < piece.hi for border in borders)
        sizer.observe(piece, seconds)
        if given_back and len(piece) > 1:  # the second half failed
            first, second = piece.halves()
            left.add(second)
            done.add(first)
        else:
            done.add(piece)
    assert list(done) == [Range(0, borders[-1])]


def test_a_dear_part_does_not_make_the_chunks_of_the_next_one_small() -> None:
    sizer = PartedSizer([PartSize(1, cost=50), PartSize(100_000, cost=50)], SizingOptions(1.0))
    left = RangeSet([Range(1, 100_001)])
    first = sizer.next_units(left, 1)
    sizer.observe(Range(0, 1), 60.0)
    assert sizer.next_units(left, 1) == first


def test_only_the_end_of_the_task_has_a_tail() -> None:
    def units_at_end(behind: float) -> int:
        sizer = PartedSizer([PartSize(100, cost=1), PartSize(1, cost=behind)], SizingOptions(10.0))
        for lo in range(0, 20, 4):  # four units in a second, so forty in a chunk
            sizer.observe(Range(lo, lo + 4), 1.0)
        return sizer.next_units(RangeSet([Range(92, 101)]), 2)

    assert (units_at_end(0.001), units_at_end(1000)) == (2, 8)


def test_a_fixed_size_in_rows_is_another_number_of_units_in_each_part() -> None:
    parts = [PartSize(50, rows_per_unit=10), PartSize(50, rows_per_unit=1)]
    sizer = PartedSizer(parts, SizingOptions(fixed_units=20))
    assert sizer.next_units(RangeSet([Range(0, 100)]), 2) == 2
    assert sizer.next_units(RangeSet([Range(49, 100)]), 2) == 1
    assert sizer.next_units(RangeSet([Range(50, 100)]), 2) == 20
    assert sizer.left_beside(Range(0, 1), RangeSet([Range(4, 7), Range(40, 60)])) == 13


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 30)), st.integers(0, 30), st.integers(1, 10))
def test_how_many_of_a_range_are_in_a_set(members: set[int], lo: int, length: int) -> None:
    found = RangeSet(Range(at, at + 1) for at in members)
    assert found.units_in(Range(lo, lo + length)) == len(members & set(range(lo, lo + length)))
