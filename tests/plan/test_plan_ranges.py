"""Interval sets against Python's sets of integers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgfan.plan.ranges import Range, RangeSet

ENDS = st.integers(-30, 30)
PIECES = st.tuples(ENDS, ENDS).filter(lambda ends: ends[0] < ends[1]).map(lambda e: Range(*e))
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PIECES),
        st.tuples(st.just("remove"), PIECES),
        st.tuples(st.just("take"), st.integers(1, 20)),
    ),
    max_size=40,
)


def integers(piece: Range) -> set[int]:
    return set(range(piece.lo, piece.hi))


def held(ranges: RangeSet) -> set[int]:
    return {unit for piece in ranges for unit in range(piece.lo, piece.hi)}


def check(ranges: RangeSet, model: set[int]) -> None:
    assert held(ranges) == model
    assert ranges.units == len(model)
    assert bool(ranges) is bool(model)
    listed = list(ranges)
    # Sorted, disjoint, and never two that touch.
    assert all(left.hi < right.lo for left, right in itertools.pairwise(listed))
    assert RangeSet(reversed(listed)) == ranges


@settings(max_examples=300, deadline=None)
@given(ACTIONS)
def test_a_set_of_ranges_is_a_set_of_integers(
    actions: list[tuple[str, Range | int]],
) -> None:
    ranges, model = RangeSet(), set[int]()
    for action, what in actions:
        if isinstance(what, int):
            take(ranges, model, what)
        elif action == "remove":
            ranges.remove(what)
            model -= integers(what)
        elif model & integers(what):
            with pytest.raises(ValueError, match="in whole or in part"):
                ranges.add(what)
        else:
            ranges.add(what)
            model |= integers(what)
        check(ranges, model)


def take(ranges: RangeSet, model: set[int], units_max: int) -> None:
    if not model:
        with pytest.raises(IndexError):
            ranges.take(units_max)
        return
    piece = ranges.take(units_max)
    taken = integers(piece)
    assert piece.lo == min(model)
    assert taken <= model
    assert len(taken) <= units_max
    # As much as there is up to the next gap.
    assert len(taken) == units_max or piece.hi not in model
    model -= taken


@given(st.lists(PIECES, max_size=10), st.integers(1, 7))
def test_taking_everything_gives_each_integer_once(pieces: list[Range], units_max: int) -> None:
    ranges, model = RangeSet(), set[int]()
    for piece in pieces:
        ranges.remove(piece)
        ranges.add(piece)
        model |= integers(piece)
    taken: list[int] = []
    while ranges:
        piece = ranges.take(units_max)
        taken += range(piece.lo, piece.hi)
    assert taken == sorted(model)


@pytest.mark.parametrize("units_max", [0, -1])
def test_nothing_cannot_be_taken(units_max: int) -> None:
    ranges = RangeSet([Range(0, 5)])
    with pytest.raises(ValueError, match="cannot take"):
        ranges.take(units_max)
    assert ranges.units == 5


@pytest.mark.parametrize(("lo", "hi"), [(0, 0), (1, 0), (5, -5)])
def test_a_range_is_never_empty(lo: int, hi: int) -> None:
    with pytest.raises(ValueError, match="empty range"):
        Range(lo, hi)


@given(PIECES)
def test_halves_are_the_whole(piece: Range) -> None:
    halves = piece.halves()
    assert [unit for half in halves for unit in range(half.lo, half.hi)] == sorted(integers(piece))
    assert len(halves) == (1 if len(piece) == 1 else 2)
    assert max(map(len, halves)) - min(map(len, halves)) <= 1


def test_ranges_are_as_large_as_a_bigint_series() -> None:
    ranges = RangeSet([Range(0, 2**70)])
    assert ranges.units == 2**70
    assert ranges.take(10**15) == Range(0, 10**15)
    ranges.remove(Range(2**62, 2**62 + 1))
    assert list(ranges) == [Range(10**15, 2**62), Range(2**62 + 1, 2**70)]
    assert sum(piece.hi - piece.lo for piece in ranges) == 2**70 - 10**15 - 1


def test_words_for_people() -> None:
    assert repr(RangeSet([Range(4, 6), Range(0, 3)])) == "RangeSet([0, 3), [4, 6))"
    assert RangeSet([Range(0, 1)]) != RangeSet([Range(0, 2)])
    assert RangeSet() != [1]
    with pytest.raises(TypeError):
        hash(RangeSet())
