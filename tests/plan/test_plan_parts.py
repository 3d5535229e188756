"""A domain put together from parts: the SQL of each, borders, and what each part teaches."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgfan.plan.column_ranges import ColumnRanges
from pgfan.plan.messages import PartSize
from pgfan.plan.parts import Remainder
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
    left = Remainder(parts, SizingOptions(0.5))
    done = RangeSet()
    for given_back, seconds in itertools.islice(itertools.cycle(answers), 2000):
        if not left:
            break
        piece = left.take(workers)
        assert not any(piece.lo < border < piece.hi for border in borders)
        left.observe(piece, seconds)
        if given_back and len(piece) > 1:  # the second half failed
            first, second = piece.halves()
            left.give_back(second)
            done.add(first)
        else:
            done.add(piece)
    assert list(done) == [Range(0, borders[-1])]


def test_a_dear_part_does_not_make_the_chunks_of_the_next_one_small() -> None:
    def second(seconds: float | None) -> Range:
        left = Remainder([PartSize(1, cost=50), PartSize(100_000, cost=50)], SizingOptions(1.0))
        dear = left.take(1)
        assert dear == Range(0, 1)
        if seconds is not None:
            left.observe(dear, seconds)
        return left.take(1)

    assert second(60.0) == second(None)


def test_what_cannot_be_cut_comes_first_the_dearest_before_the_others() -> None:
    parts = [PartSize(100, cost=900), PartSize(1, cost=10), PartSize(2, cost=60)]
    left = Remainder(parts, SizingOptions())
    taken = [left.take(2) for _ in range(4)]
    assert taken == [Range(101, 102), Range(102, 103), Range(100, 101), Range(0, 1)]


def test_what_is_given_back_to_an_earlier_part_comes_before_the_later_ones() -> None:
    left = Remainder([PartSize(1, cost=9), PartSize(1, cost=5), PartSize(1)], SizingOptions())
    first, _ = left.take(1), left.take(1)
    left.give_back(first)
    assert [left.take(1), left.take(1)] == [first, Range(2, 3)]
    assert not left


def test_only_the_end_of_the_task_has_a_tail() -> None:
    def units_at_end(behind: float) -> int:
        parts = [PartSize(100, cost=1), PartSize(100, cost=behind)]
        left = Remainder(parts, SizingOptions(10.0), [Range(0, 92)])
        for lo in range(0, 20, 4):  # four units in a second, so forty in a chunk
            left.observe(Range(lo, lo + 4), 1.0)
        return len(left.take(2))

    assert (units_at_end(0.001), units_at_end(0.9)) == (2, 8)


def test_a_fixed_size_in_rows_is_another_number_of_units_in_each_part() -> None:
    parts = [PartSize(50, rows_per_unit=10), PartSize(50, rows_per_unit=1)]
    options = SizingOptions(fixed_units=20)
    assert len(Remainder(parts, options).take(2)) == 2
    assert len(Remainder(parts, options, [Range(0, 49)]).take(2)) == 1
    assert len(Remainder(parts, options, [Range(0, 50)]).take(2)) == 20


def test_more_of_a_size_are_taken_off_the_same_part() -> None:
    left = Remainder([PartSize(7), PartSize(50)], SizingOptions(fixed_units=2), [Range(2, 4)])
    first = left.take(1)
    assert left.units_beside(first) == 3
    assert left.take_beside(first, 9) == (Range(4, 6), Range(6, 7))


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 30)), st.integers(0, 30), st.integers(1, 10))
def test_how_many_of_a_range_are_in_a_set(members: set[int], lo: int, length: int) -> None:
    found = RangeSet(Range(at, at + 1) for at in members)
    assert found.units_in(Range(lo, lo + length)) == len(members & set(range(lo, lo + length)))
