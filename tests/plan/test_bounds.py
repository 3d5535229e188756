"""The choice of bounds, on weights alone: what each range may hold, whatever statistics say."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgfan.plan.bounds import KnownValue, choose_bounds

SHARES = st.one_of(st.just(0.0), st.floats(0, 1), st.sampled_from([1e-9, 0.001, 0.5, 1.0]))
VALUES = st.lists(
    st.builds(KnownValue, frequency=SHARES, copies=st.sampled_from([0, 1, 1, 1, 2, 30])),
    max_size=60,
)
NONSENSE = st.lists(
    st.builds(
        KnownValue,
        frequency=st.floats(),
        copies=st.integers(0, 10_000),
        usable=st.booleans(),
    ),
    max_size=60,
)
PARTS = st.integers(2, 40)


def histogram(*copies: int) -> list[KnownValue]:
    return [KnownValue(copies=count) for count in copies]


def common(*frequencies: float) -> list[KnownValue]:
    return [KnownValue(frequency=frequency) for frequency in frequencies]


def test_equal_buckets_make_equal_ranges() -> None:
    assert choose_bounds(0.0, histogram(*[1] * 101), 4) == (25, 50, 75)
    assert choose_bounds(0.0, histogram(*[1] * 5), 4) == (1, 2, 3)


def test_no_more_ranges_than_buckets() -> None:
    assert choose_bounds(0.0, histogram(1, 1, 1), 100) == (1, 2)


@pytest.mark.parametrize("known", [[], histogram(1), common(1.0), histogram(100)])
def test_nothing_to_cut_gives_one_range(known: list[KnownValue]) -> None:
    assert choose_bounds(0.0, known, 8) == ()


def test_one_part_is_one_range() -> None:
    assert choose_bounds(0.0, histogram(*[1] * 101), 1) == ()
    assert choose_bounds(0.0, histogram(*[1] * 101), 0) == ()


def test_a_common_value_is_a_range_of_its_own() -> None:
    values = [*histogram(1, 1, 1), KnownValue(frequency=0.9), *histogram(1, 1, 1)]
    assert choose_bounds(0.0, values, 8) == (3, 4)


def test_a_common_value_inside_a_histogram_is_found_by_its_copies() -> None:
    assert choose_bounds(0.0, histogram(1, 1, 90, 1, 1), 8) == (2, 3)


def test_the_first_and_the_last_may_be_common() -> None:
    assert choose_bounds(0.0, common(0.8, 0.1, 0.1), 3) == (1,)
    assert choose_bounds(0.0, common(0.1, 0.1, 0.8), 3) == (2,)


def test_common_values_are_packed_when_there_are_more_than_parts() -> None:
    assert choose_bounds(0.0, common(*[0.125] * 8), 4) == (2, 4, 6)


def test_nulls_weigh_on_the_first_range() -> None:
    assert choose_bounds(0.5, histogram(*[1] * 101), 4) == (0, 50)
    assert choose_bounds(1.0, [], 4) == ()


def test_what_may_not_be_a_bound_belongs_to_the_range_before() -> None:
    values = [KnownValue(copies=1, usable=number % 10 == 0) for number in range(101)]
    bounds = choose_bounds(0.0, values, 4)
    assert bounds
    assert all(at % 10 == 0 for at in bounds)
    assert choose_bounds(0.0, [KnownValue(copies=1, usable=False)] * 50, 4) == ()


def loads(known: list[KnownValue], bounds: tuple[int, ...]) -> list[list[int]]:
    cuts = [0, *bounds, len(known)]
    return [list(range(lo, hi)) for lo, hi in itertools.pairwise(cuts)]


@settings(deadline=None, max_examples=300)
@given(st.lists(SHARES, max_size=60), SHARES, PARTS)
def test_a_range_of_several_values_holds_two_fair_shares_at_most(
    frequencies: list[float], nulls: float, parts: int
) -> None:
    total = sum(frequencies) + nulls
    if not total:
        return
    # Shares that add up to one leave no rest to spread.
    known = common(*(frequency / total for frequency in frequencies))
    bounds = choose_bounds(nulls / total, known, parts)
    for number, positions in enumerate(loads(known, bounds)):
        held = [known[at].frequency for at in positions]
        if number == 0:
            held.append(nulls / total)
        heavy = [share for share in held if share > 2.001 / parts]
        if heavy:
            assert sum(held) == pytest.approx(heavy[0], abs=1e-6)
        else:
            assert sum(held) <= 2.001 / parts + 1e-6


@settings(deadline=None, max_examples=300)
@given(st.one_of(VALUES, NONSENSE), st.floats(), st.integers(-1, 40))
def test_bounds_are_valid_whatever_statistics_say(
    known: list[KnownValue], nulls: float, parts: int
) -> None:
    bounds = choose_bounds(nulls, known, parts)
    assert len(bounds) <= max(parts - 1, 0)
    assert list(bounds) == sorted(set(bounds))
    assert all(0 <= at < len(known) and known[at].usable for at in bounds)


def test_figures_that_make_no_sense_count_as_nothing() -> None:
    sane = histogram(*[1] * 101)
    odd = [KnownValue(frequency, 1) for frequency in (math.nan, -1.0, math.inf)]
    assert choose_bounds(math.nan, [*odd, *sane[3:]], 4) == choose_bounds(0.0, sane, 4)
