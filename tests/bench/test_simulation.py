from __future__ import annotations

from pgfan.bench.simulation import ModelServer, ModelTask, simulate
from pgfan.plan.scheduler import SchedulerOptions
from pgfan.plan.sizing import SizingOptions


def test_a_simulated_run_is_the_same_each_time_and_ends_near_its_bound() -> None:
    tasks = [ModelTask(50_000, 1e-4, 0.005), ModelTask(1_000, 1e-4, after=frozenset({0}))]
    options = SchedulerOptions(SizingOptions(), batch_s=0.02)

    first, again = (simulate(tasks, 4, options, ModelServer(noise=0.2), seed=7) for _ in range(2))

    assert (first.makespan_s, first.chunks) == (again.makespan_s, again.chunks)
    assert 1.0 <= simulate(tasks, 4, options).ratio < 1.1
