"""Which chunk is worth cancelling: by the numbers, and by what it does to the end of a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfan.bench.simulation import ModelServer, ModelTask, Simulated, simulate
from pgfan.plan.scheduler import SchedulerOptions
from pgfan.plan.sizing import SizingOptions
from pgfan.plan.stragglers import GAIN_S_MIN, LATE_FACTOR, LOOK_EVERY_S, Candidate, Rescue, choose


def chunk(
    began_s: float, expected_s: float, *, fixed_s: float = 0.0, worker: int = 0, units: int = 1000
) -> Candidate:
    return Candidate(worker, units, began_s, expected_s, fixed_s)


def test_nothing_is_cancelled_when_nobody_idles_or_nothing_runs() -> None:
    assert choose([chunk(0, 1)], 0, 100.0) == (None, None)
    assert choose([], 3, 100.0) == (None, None)


def test_a_chunk_on_time_near_its_end_is_left_alone() -> None:
    found, again_s = choose([chunk(0, 2.0)], 15, 1.95)
    assert found is None
    assert again_s == pytest.approx(LATE_FACTOR * 2.0)


def test_a_chunk_a_little_late_is_left_alone() -> None:
    assert choose([chunk(0, 2.0)], 15, 2.8)[0] is None


def test_a_long_chunk_that_has_just_begun_is_shared_before_it_is_late() -> None:
    assert choose([chunk(0, 10.0)], 4, 1.0)[0] == Rescue(0, 5)


def test_a_large_fixed_cost_keeps_a_chunk_together() -> None:
    assert choose([chunk(0, 10.0, fixed_s=9.5)], 4, 1.0)[0] is None


def test_a_late_chunk_is_shared_by_all_who_idle() -> None:
    assert choose([chunk(0, 0.1)], 15, 1.0) == (Rescue(0, 16), None)
    assert choose([chunk(0, 0.1)], 1, 1.0) == (Rescue(0, 2), None)
    assert choose([chunk(0, 0.1, units=3)], 15, 1.0) == (Rescue(0, 3), None)


def test_the_one_that_ends_last_goes_first_and_leaves_helpers_for_the_other() -> None:
    late = [chunk(0, 0.1, worker=1), chunk(0.5, 0.1, worker=2), chunk(0.9, 0.2, worker=3)]
    assert choose(late, 6, 1.0)[0] == Rescue(1, 4)


@given(
    st.floats(1e-3, 100), st.floats(0, 1), st.integers(1, 64), st.integers(2, 1000),
    st.floats(0, 200),
)  # fmt: skip
def test_the_instant_to_look_again_is_the_first_that_pays(
    expected_s: float, fixed_share: float, idle: int, units: int, elapsed_s: float
) -> None:
    one = chunk(0.0, expected_s, fixed_s=fixed_share * expected_s, units=units)
    found, again_s = choose([one], idle, elapsed_s)
    pieces = min(1 + idle, units)
    if found is not None:
        assert one.gain_s(elapsed_s, found.pieces) >= GAIN_S_MIN * 0.999
        return
    assert again_s is not None
    assert again_s >= elapsed_s + LOOK_EVERY_S
    if again_s > elapsed_s + LOOK_EVERY_S:
        middle_s = elapsed_s + (again_s - elapsed_s) * 0.99
        assert not one.is_worth_it(middle_s, pieces)
    assert one.is_worth_it(again_s * 1.001 + 1e-6, pieces)


# At the end of a run --------------------------------------------------------------------------


def ended(hot: tuple[tuple[int, int, float], ...], workers: int, *, rescue: bool) -> Simulated:
    """A run of 8 s with 5 ms of fixed cost in each chunk."""
    task = ModelTask(workers * 80_000, 1e-4, 0.005, hot=hot)
    options = SchedulerOptions(SizingOptions(), rescue=rescue)
    return simulate([task], workers, options, ModelServer(noise=0.1))


@pytest.mark.parametrize("workers", [4, 16, 64])
def test_a_chunk_fifty_times_slower_at_the_end_costs_little(workers: int) -> None:
    """A tail chunk of 25 ms that takes 1.25 s: the last units, and some a little before."""
    units = workers * 80_000
    for lo in (units - 250, units - 2_000):
        hot = ((lo, lo + 250, 50.0),)
        without = ended((), workers, rescue=True)
        rescued = ended(hot, workers, rescue=True)
        left = ended(hot, workers, rescue=False)
        assert rescued.cancelled >= 1
        assert rescued.makespan_s <= 1.15 * without.makespan_s
        if workers > 4:  # fewer helpers win less than the noise is
            assert left.makespan_s > rescued.makespan_s


def test_noise_alone_costs_few_cancels() -> None:
    task = ModelTask(1_000_000, 1e-4, 0.005)
    found = [
        simulate([task], 16, SchedulerOptions(SizingOptions()), ModelServer(noise=0.3), seed)
        for seed in range(5)
    ]
    assert sum(one.cancelled for one in found) <= 10
    assert max(one.ratio for one in found) < 1.1
