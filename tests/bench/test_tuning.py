"""The grid by hand on modelled servers: its arithmetic, and what it is compared with."""

from __future__ import annotations

import pytest

from pgfan.bench.simulation import ModelServer, ModelTask, simulate
from pgfan.bench.tuning import Case, by_hand, cases, compare
from pgfan.plan.scheduler import SchedulerOptions
from pgfan.plan.sizing import SizingOptions


@pytest.mark.parametrize(
    ("chunks", "workers", "cores", "seconds"),
    [
        (1, 1, 16, 11.0),  # 10 s, and 1 s for a chunk
        (2, 2, 16, 6.0),
        (4, 2, 16, 7.0),
        (3, 2, 16, 2 * (1 + 10 / 3)),
        (2, 2, 1, 12.0),
        (4, 4, 2, 2 * 3.5),
        (3, 2, 1, 3 * (1 + 10 / 3)),  # the last one has the core to itself
    ],
)
def test_equal_chunks_by_hand_take_what_arithmetic_says(
    chunks: int, workers: int, cores: int, seconds: float
) -> None:
    task, server = ModelTask(1200, 10 / 1200, 1.0), ModelServer(cores=cores)
    assert by_hand(task, chunks, workers, server, 1) == pytest.approx(seconds)
    if chunks % workers == 0:  # the scheduler with a size of the user's is no different
        options = SchedulerOptions(SizingOptions(fixed_units=1200 // chunks), rescue=False)
        found = simulate([task], workers, options, server)
        assert found.makespan_s == pytest.approx(seconds)


def test_workers_that_come_later_slow_those_that_run() -> None:
    """A worker alone for half of its chunk, on one core: the other half takes twice as long."""
    tasks = [ModelTask(1, 1.0), ModelTask(1, 0.5), ModelTask(1, 1.0, after=frozenset({1}))]
    found = simulate(tasks, 2, SchedulerOptions(SizingOptions()), ModelServer(cores=1))
    assert found.makespan_s == pytest.approx(2.5)


def test_every_case_is_compared_with_the_best_of_its_grid() -> None:
    assert len({*cases()}) == 384
    case = Case(2.0, 20.0, 4, 16, skewed=False, unit_s=0.01, told=(1.0, 1.0))
    found = compare(case, SchedulerOptions(SizingOptions()), 2)
    assert found.best_s <= found.same_s
    assert found.best_workers <= 4
    assert found.chunks == 4  # as many as the best has; each side has its own luck
    assert found.ratio <= 1.5
