"""pgfan's own choice of chunks against the best that could have been chosen by hand, simulated.

By hand is a number of equal chunks and a number of workers that take them in order, fixed before
the first begins; the best of such a grid is known only after all of it has been tried. Both sides
are given the same modelled server (`pgfan.bench.simulation`), so that no machine is needed and the
figures are the same each time.
"""

from __future__ import annotations

from heapq import heapify, heapreplace
from itertools import product
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.bench.simulation import ModelServer, ModelTask, simulate
from pgfan.plan.sizing import UNKNOWN, Costs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.plan.scheduler import SchedulerOptions

FIXED_S = (0.0, 0.01, 0.2, 2.0)
WORK_S = (2.0, 20.0, 200.0)
WORKERS = (2, 4, 16, 64)
CORES = (2, 16)
UNIT_S = (1e-4, 1e-2)
WORKERS_BY_HAND = (1, 2, 4, 16, 64)
NOISE = 0.2
SKEWED_SHARE = 0.05
SKEW = 10.0
"""So much dearer than the others are the units of SKEWED_SHARE of the table, in its middle."""
CHUNKS_PER_WORKER = (1, 2, 3, 4, 6, 8, 16, 32)


class Case(Struct, frozen=True):
    """One statement on one server. `fixed_s` is paid by every chunk, `work_s` by all together."""

    fixed_s: float
    work_s: float
    workers: int
    cores: int
    skewed: bool
    unit_s: float
    told: tuple[float, float] | None = None
    """EXPLAIN's fixed cost as a multiple of the truth; None: nothing is known from it."""

    @property
    def task(self) -> ModelTask:
        """What is to be done."""
        units = round(self.work_s / self.unit_s)
        unit_s = self.unit_s
        hot: tuple[tuple[int, int, float], ...] = ()
        if self.skewed:
            unit_s /= 1 + SKEWED_SHARE * (SKEW - 1)
            lo = round(units * 0.43)
            hot = ((lo, lo + round(units * SKEWED_SHARE), SKEW),)
        told = UNKNOWN
        if self.told is not None:
            told = Costs(self.fixed_s * self.told[0], self.work_s / units * self.told[1])
        return ModelTask(units, unit_s, self.fixed_s, hot=hot, expected=told)

    @property
    def server(self) -> ModelServer:
        """Who does it."""
        return ModelServer(cores=self.cores, noise=NOISE)


class Found(Struct, frozen=True):
    """Means over the seeds: `seconds` of pgfan, and of the best point of the grid."""

    case: Case
    seconds: float
    chunks: float
    best_s: float
    best_chunks: int
    best_workers: int
    same_s: float
    """Of the best point with all the workers, as pgfan has them."""

    @property
    def ratio(self) -> float:
        """Against the best point with as many workers."""
        return self.seconds / self.same_s

    @property
    def ratio_any(self) -> float:
        """Against the best point with as many workers, or with fewer."""
        return self.seconds / self.best_s


def cases(told: tuple[float, float] | None = None) -> Iterator[Case]:
    """All of them, in a fixed order."""
    for unit_s, fixed_s, work_s, workers, cores, skewed in product(
        UNIT_S, FIXED_S, WORK_S, WORKERS, CORES, (False, True)
    ):
        yield Case(fixed_s, work_s, workers, cores, skewed, unit_s, told)


def compare(case: Case, options: SchedulerOptions, seeds: int) -> Found:
    """Measure pgfan, and every point of the grid, with so many seeds."""
    task, server = case.task, case.server
    runs = [simulate([task], case.workers, options, server, seed) for seed in range(1, seeds + 1)]
    grid = {
        (chunks, workers): fmean(
            by_hand(task, chunks, workers, server, seed) for seed in range(1, seeds + 1)
        )
        for chunks, workers in _points(case)
    }
    best = min(grid, key=grid.__getitem__)
    return Found(
        case,
        fmean(run.makespan_s for run in runs),
        fmean(run.chunks for run in runs),
        grid[best],
        *best,
        min(seconds for (_, workers), seconds in grid.items() if workers == case.workers),
    )


def by_hand(task: ModelTask, chunks: int, workers: int, server: ModelServer, seed: int) -> float:
    """Seconds of `chunks` equal chunks, taken in order by whoever of `workers` is free."""
    dice = Random(f"{seed}/{chunks}/{workers}")  # noqa: S311  # a model's dice
    sigma = server.noise
    ends = [0.0] * workers
    heapify(ends)
    for at in range(chunks):
        lo, hi = task.units * at // chunks, task.units * (at + 1) // chunks
        luck = dice.lognormvariate(-sigma * sigma / 2, sigma) if sigma else 1.0
        heapreplace(ends, ends[0] + (task.fixed_s + task.work_s(lo, hi)) * luck)
    # All who are busy are served alike: what differs is how fast, when some have ended.
    seconds = before_s = 0.0
    for ended, end_s in enumerate(sorted(ends)):
        seconds += (end_s - before_s) * server.slowdown(workers - ended)
        before_s = end_s
    return seconds


def _points(case: Case) -> Iterator[tuple[int, int]]:
    units = case.task.units
    for workers in WORKERS_BY_HAND:
        if workers > case.workers:
            return
        for each in CHUNKS_PER_WORKER:
            if workers * each <= units:
                yield workers * each, workers
