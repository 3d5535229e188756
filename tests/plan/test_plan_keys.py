"""Which key is taken, by costs as the server gives them; and in which order ranges are done."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfan.plan.keys import KeyCost, best_of, cost_of, dealt, heaviest_first, in_words, is_hot

SCAN = 100_000.0
BLOCKS = KeyCost(10, SCAN)
SHARES = st.lists(st.floats(0.001, 1), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("why", "others", "jobs", "taken"),
    [
        ("nothing else", [], 4, 0),
        ("as good: blocks need no statistics", [KeyCost(0, SCAN)], 4, 0),
        ("nearly as good", [KeyCost(0, SCAN / 1.1)], 4, 0),
        ("an index spares most of the table", [KeyCost(10, SCAN / 50)], 4, 1),
        ("random pages", [KeyCost(10, SCAN * 8)], 4, 0),
        ("the best of several", [KeyCost(10, SCAN / 3), KeyCost(10, SCAN / 9)], 4, 2),
        ("one value has most rows", [KeyCost(10, SCAN / 2, largest=0.9)], 4, 0),
        ("it has them for one worker, too", [KeyCost(10, SCAN / 2, largest=0.9)], 1, 1),
        ("a value of 14 % is less than a part of four", [KeyCost(10, SCAN / 2, 0.14)], 4, 1),
        ("and more than one of sixteen", [KeyCost(10, SCAN / 2, 0.14)], 16, 0),
    ],
)
def test_the_key_whose_chunks_end_first_is_taken(
    why: str, others: list[KeyCost], jobs: int, taken: int
) -> None:
    assert best_of([BLOCKS, *others], jobs) == taken, why


def test_a_hash_table_for_every_chunk_makes_way_for_a_key_that_cuts_both_sides() -> None:
    hashed = KeyCost(repeated=SCAN / 2, divided=SCAN)
    assert best_of([hashed, KeyCost(20, SCAN * 1.3)], 8) == 1


@pytest.mark.parametrize(
    ("cost", "by_value", "jobs", "too_dear"),
    [
        (KeyCost(0, 100), False, 2, False),
        (KeyCost(0, 250), False, 2, True),  # where an index reads less than all
        (KeyCost(0, 250), False, 4, False),
        (KeyCost(60, 60), False, 2, False),
        (KeyCost(90, 60), False, 2, True),
        (KeyCost(0, 149), True, 2, False),
        (KeyCost(0, 151), True, 16, True),
        (KeyCost(10, 100), True, 2, True),
    ],
)
def test_what_is_worse_than_the_one_query_is_too_dear(
    cost: KeyCost, by_value: bool, jobs: int, too_dear: bool
) -> None:
    assert cost.is_too_dear(100, jobs, by_value=by_value) == too_dear


def test_what_is_hardly_dearer_is_not_said_to_cost_the_same() -> None:
    assert [in_words(times) for times in (1.001, 1.04, 1.06, 2.5)] == [
        *("more than", "more than"),
        *("1.1 times as much as", "2.5 times as much as"),
    ]


def test_two_chunks_tell_what_is_paid_again() -> None:
    cost = cost_of((0.01, 12), (0.1, 30), 0.5)
    assert (cost.repeated, cost.divided, cost.largest) == pytest.approx((10, 200, 0.5))
    assert cost_of((0.5, 70), (0.5, 70), 0.0) == KeyCost(0, 140, 0.0)
    assert cost_of((0.0, 70), (0.0, 70), 0.0) == KeyCost(0, 70, 0.0)
    # The larger chunk cheaper: the planner has another plan for it.
    assert cost_of((0.1, 50), (0.2, 40), 0.0) == KeyCost(50, 0, 0.0)


@given(st.floats(0, 1), st.floats(0, 1e9), st.floats(0, 1), st.floats(0, 1e9), st.integers(1, 64))
def test_costs_are_never_negative(
    small: float, low: float, large: float, high: float, jobs: int
) -> None:
    cost = cost_of((small, low), (large, high), 0.1)
    assert cost.repeated >= 0
    assert cost.longest(jobs) >= 0


def test_a_piece_is_hot_by_the_number_of_workers() -> None:
    assert [is_hot(0.14, jobs) for jobs in (1, 2, 4, 16)] == [False, False, True, True]


@given(SHARES)
def test_heavy_ranges_come_first_and_every_range_once(weights: list[float]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    order = heaviest_first(shares)
    heavy = [at for at, share in enumerate(shares) if share > 2 / len(shares)]
    assert bool(order) == bool(heavy)
    if order:
        assert sorted(order) == list(range(len(shares)))
        ahead = [shares[at] for at in order[: len(heavy)]]
        assert ahead == sorted(ahead, reverse=True)
        assert set(order[: len(heavy)]) == set(heavy)
        assert list(order[len(heavy) :]) == sorted(order[len(heavy) :])


# The 52 Spanish provinces by population, in thousands: Madrid and Barcelona hold a quarter.
PROVINCES = [
    *(7001, 5877, 2710, 1967, 1958, 1763, 1568, 1231, 1173, 1157, 1130, 1128, 1044, 974, 938, 921),
    *(834, 833, 793, 781, 770, 731, 726, 708, 667, 657, 631, 596, 588, 538, 520, 495, 449, 444),
    *(404, 391, 386, 360, 335, 327, 327, 326, 323, 305, 268, 225, 197, 169, 159, 134, 89, 84),
]


@pytest.mark.parametrize("workers", [2, 4])
def test_the_heaviest_province_first_leaves_little_idle_time(workers: int) -> None:
    total = sum(PROVINCES)
    by_name = sorted(PROVINCES, key=lambda people: people * 7919 % 1000)  # any other order
    shares = [people / total for people in by_name]
    order = heaviest_first(shares) or range(len(shares))
    ends = [0.0] * workers
    for at in order:
        ends[ends.index(min(ends))] += shares[at]
    assert max(ends) <= 1.1 / workers


def test_leaves_are_dealt_over_their_tablespaces() -> None:
    leaves = [("a", 0), ("b", 0), ("c", 0), ("d", 7), ("e", 7), ("f", 9)]
    found = dealt(leaves, lambda leaf: leaf[1])
    assert [name for name, _ in found] == ["a", "d", "f", "b", "e", "c"]
    assert dealt(leaves[:3], lambda leaf: leaf[1]) == leaves[:3]
    assert dealt([], id) == []


@given(st.lists(st.integers(0, 4), max_size=30))
def test_dealing_loses_nothing_and_keeps_each_place_in_order(places: list[int]) -> None:
    items = list(enumerate(places))
    found = dealt(items, lambda item: item[1])
    assert sorted(found) == items
    for _, group in itertools.groupby(sorted(found, key=lambda item: item[1]), lambda i: i[1]):
        numbers = [number for number, _ in group]
        assert numbers == sorted(numbers)
