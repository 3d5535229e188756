"""What the scheduler makes of modelled servers: the simulated figures of docs/scheduling.md.

    bench/simulate.py [--only NAME,...] [--repeat N] [--json FILE]

The scheduler, its sizes, ranks and rescues are the real ones; the server is arithmetic and the
clock is virtual (pgfan.bench.simulation). `bound` is what no schedule could beat: the longest chain
of tasks, or all work shared by the workers. `us/chunk` is CPU time of this machine, the least of so
many repetitions; all else is the same each time.
"""

from __future__ import annotations

import argparse
import json
import math
import tracemalloc
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from msgspec import to_builtins

from pgfan.bench.simulation import ModelServer, ModelTask, Simulated, simulate
from pgfan.plan import messages
from pgfan.plan.dag import TaskSpec
from pgfan.plan.scheduler import Scheduler, SchedulerOptions
from pgfan.plan.sizing import SizingOptions

if TYPE_CHECKING:
    from collections.abc import Callable

AS_RUN = SchedulerOptions(SizingOptions(), batch_s=0.02)
ROW_S = 1e-4
FIXED_S = 0.005
CHUNKS_OPEN = 10_000


def project(seed: int = 3, tasks: int = 20_000, *, known: bool = False) -> list[ModelTask]:
    """100 GB in so many tasks: about 1 s of work each, a few of them 100 times as much."""
    dice, sigma = Random(seed), 1.5  # noqa: S311  # a model's dice
    found = []
    for at in range(tasks):
        seconds = dice.lognormvariate(-sigma * sigma / 2, sigma)
        before = range(max(0, at - 2000), at)
        after = frozenset(dice.sample(before, min(at, dice.randrange(3))))
        units = max(1, int(seconds / ROW_S))
        found.append(ModelTask(units, ROW_S, FIXED_S, after, known=known))
    return found


def table(seconds: float, fixed_s: float = FIXED_S) -> list[ModelTask]:
    """One statement with so many seconds of work."""
    return [ModelTask(round(seconds / ROW_S), ROW_S, fixed_s)]


def late(workers: int) -> list[ModelTask]:
    """A table of 4 s for all workers whose last chunk takes 50 times its estimate."""
    units = workers * 40_000
    return [ModelTask(units, ROW_S, FIXED_S, hot=((units - 250, units, 50.0),))]


SCENARIOS: dict[str, Callable[[], Simulated]] = {
    "20,000 tasks, 64 workers": lambda: simulate(project(), 64, AS_RUN),
    "the same, durations known": lambda: simulate(project(known=True), 64, AS_RUN),
    "the same, noise of 30 %": lambda: simulate(project(), 64, AS_RUN, ModelServer(noise=0.3)),
    "the same, 1 ms to prepare each": lambda: simulate(
        project(), 64, AS_RUN, ModelServer(prepare_s=0.001)
    ),
    "a chain of 200 tables, 16 workers": lambda: simulate(
        [
            ModelTask(100_000, ROW_S, FIXED_S, frozenset({at - 1} if at else ()))
            for at in range(200)
        ],
        16,
        AS_RUN,
        ModelServer(noise=0.2),
    ),
    "a table of 100 GB, 64 workers": lambda: simulate(
        table(1300.0, 0.02), 64, AS_RUN, ModelServer(noise=0.2)
    ),
    "a hash build of 1 s in each chunk": lambda: simulate(table(1300.0, 1.0), 16, AS_RUN),
    "1,000,000 chunks of one row": lambda: simulate(
        [ModelTask(1_000_000, ROW_S)], 64, SchedulerOptions(SizingOptions(fixed_units=1))
    ),
    "10,000 chunks of one row, 4 workers": lambda: simulate(
        [ModelTask(10_000, ROW_S)], 4, SchedulerOptions(SizingOptions(fixed_units=1))
    ),
    "a late chunk, 4 workers": lambda: simulate(late(4), 4, AS_RUN),
    "a late chunk, 16 workers": lambda: simulate(late(16), 16, AS_RUN),
    "a late chunk, 16 workers, left alone": lambda: simulate(
        late(16), 16, SchedulerOptions(SizingOptions(), batch_s=0.02, rescue=False)
    ),
}
for jobs in (1, 4, 8, 16, 64):
    SCENARIOS[f"8 cores, contention, {jobs} workers"] = partial(
        simulate, table(160.0), jobs, AS_RUN, ModelServer(cores=8, contention=0.01)
    )


def open_chunk_bytes() -> float:
    """Memory that the scheduler holds for each chunk that runs."""
    options = SchedulerOptions(SizingOptions(fixed_units=1000))
    scheduler = Scheduler([TaskSpec(0)], CHUNKS_OPEN, options)
    scheduler.handle(messages.Begin())
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    commands = scheduler.handle(messages.Prepared(0, 1000 * CHUNKS_OPEN), 1.0)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    if len(commands) != CHUNKS_OPEN:
        raise AssertionError(f"{len(commands)} chunks were handed out")
    return (after - before) / CHUNKS_OPEN


def main() -> None:
    """Play the scenarios, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", help="scenarios whose names contain one of these words", default=""
    )
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    words = [word for word in options.only.split(",") if word]
    record: dict[str, dict[str, float]] = {}
    print(f"{'':38}{'makespan':>10} {'bound':>8} {'ratio':>6} {'chunks':>9} {'shared':>6} us/chunk")
    for name, play in SCENARIOS.items():
        if words and not any(word in name for word in words):
            continue
        began_s = monotonic()
        found = min((play() for _ in range(options.repeat)), key=lambda one: one.scheduler_us)
        print(
            f"{name:38}{found.makespan_s:>8.1f} s {found.bound_s:>6.1f} s {found.ratio:>6.3f} "
            f"{found.chunks:>9,} {found.cancelled:>6} {found.scheduler_us:>8.1f}",
            flush=True,
        )
        record[name] = to_builtins(found) | {"ratio": found.ratio, "took_s": monotonic() - began_s}
    size = open_chunk_bytes()
    print(f"memory for an open chunk: {math.ceil(size)} bytes")
    record["open chunk"] = {"bytes": size}
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
