"""The real scheduler on a virtual clock, against a server that is a few lines of arithmetic.

What is real: `pgfan.plan`, all of it. What is modelled: how long a chunk takes (a fixed cost, a
cost for each unit that may differ along the domain, noise), what happens when more workers are busy
than the server has cores, and how long the client's loop is held up by preparing a task. Nothing
sleeps, so a run of hours takes seconds, and a seed makes it the same each time.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush
from itertools import count
from random import Random
from time import thread_time
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct

from pgfan.plan import messages
from pgfan.plan.dag import TaskSpec
from pgfan.plan.priority import longest_paths
from pgfan.plan.scheduler import Scheduler, SchedulerOptions
from pgfan.plan.sizing import UNKNOWN, Costs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.plan.ranges import Range

EPOCH_S = 1.0
"""A monotonic clock does not begin at 0."""


class ModelTask(Struct, frozen=True):
    """A task of [0, `units`). Costs are seconds of a server that has nothing else to do."""

    units: int
    unit_s: float
    fixed_s: float = 0.0
    after: frozenset[int] = frozenset()
    hot: tuple[tuple[int, int, float], ...] = ()
    """(lo, hi, factor): units in [lo, hi) cost so many times as much; they do not overlap."""
    expected: Costs = UNKNOWN
    """What EXPLAIN says of the two costs."""
    known: bool = False
    """Whether an earlier run has told how long it takes."""

    def work_s(self, lo: int, hi: int) -> float:
        """The cost of the units in [lo, hi), without what every chunk pays."""
        found = (hi - lo) * self.unit_s
        for hot_lo, hot_hi, factor in self.hot:
            found += max(0, min(hi, hot_hi) - max(lo, hot_lo)) * self.unit_s * (factor - 1)
        return found

    @property
    def least_s(self) -> float:
        """What it costs in one chunk."""
        return self.fixed_s + self.work_s(0, self.units)

    def shortest_s(self, workers: int) -> float:
        """How long it takes with all workers on it, if nothing is lost."""
        chunks = min(workers, self.units)
        return self.fixed_s + self.work_s(0, self.units) / chunks if chunks else 0.0


class ModelServer(Struct, frozen=True):
    """`cores` busy workers get a core each; more share them all, and each more costs `contention`.

    `noise` is the deviation of the logarithm of a chunk's time. A cancel is answered after
    `cancel_s`; preparing or finishing a task holds up the client's loop for `prepare_s`.
    """

    cores: float = math.inf
    contention: float = 0.0
    noise: float = 0.0
    cancel_s: float = 0.003
    prepare_s: float = 0.0

    def slowdown(self, busy: int) -> float:
        """How many times longer a chunk takes when so many workers are busy."""
        over = max(0.0, busy - self.cores)
        return max(1.0, busy / self.cores) * (1 + self.contention * over)


class Simulated(Struct, frozen=True):
    """What became of a run. Times are seconds of the virtual clock, but for `scheduler_us`."""

    makespan_s: float
    bound_s: float
    """No schedule could be shorter: the critical path, or the work shared by all workers."""
    chunks: int
    cancelled: int
    scheduler_us: float
    """Microseconds of real time in the scheduler for each chunk."""

    @property
    def ratio(self) -> float:
        """The makespan as a multiple of its lower bound."""
        return self.makespan_s / self.bound_s if self.bound_s else 1.0


def simulate(
    tasks: Sequence[ModelTask],
    workers: int,
    options: SchedulerOptions,
    server: ModelServer | None = None,
    seed: int = 1,
) -> Simulated:
    """Run `tasks` with `workers`; every unit must be done once, or AssertionError is raised."""
    return _Simulation(tasks, workers, options, server or ModelServer(), seed).run()


class _Running(Struct):
    task: int
    pieces: tuple[Range, ...]
    seconds: tuple[float, ...]
    """Of each piece, if the server had nothing else to do."""
    began_s: float
    token: int


class _Simulation:
    """The state of one run."""

    def __init__(
        self,
        tasks: Sequence[ModelTask],
        workers: int,
        options: SchedulerOptions,
        server: ModelServer,
        seed: int,
    ) -> None:
        self.tasks, self.workers, self.server = tasks, workers, server
        self.specs = [
            TaskSpec(number, task.after, task.least_s if task.known else None)
            for number, task in enumerate(tasks)
        ]
        self.scheduler = Scheduler(self.specs, workers, options)
        self.random = Random(seed)  # noqa: S311  # a model's dice
        self.tokens = count()
        self.left = [task.units for task in tasks]
        self.clock_s = 0.0
        self.served_s = 0.0
        """What a worker that was busy from the beginning has been given of the server."""
        self.chunks = self.cancelled = 0
        self.scheduler_s = 0.0
        self.running: dict[int, _Running] = {}
        self.ends: list[tuple[float, int, int]] = []
        """(served_s at the end, token, worker): a heap."""
        self.cancels: list[tuple[float, int, int]] = []
        """(when, token, worker): a heap."""

    def run(self) -> Simulated:
        self._tell(messages.Begin())
        while not self.scheduler.is_over:
            self._step()
        if any(self.left):
            raise AssertionError("units were left out or done twice")
        work_s = sum(task.least_s for task in self.tasks)
        shortest = {at: task.shortest_s(self.workers) for at, task in enumerate(self.tasks)}
        path_s = max(longest_paths(self.specs, shortest).values(), default=0.0)
        bound_s = max(path_s, work_s / min(self.workers, self.server.cores))
        cost_us = self.scheduler_s * 1e6 / max(1, self.chunks)
        return Simulated(self.clock_s, bound_s, self.chunks, self.cancelled, cost_us)

    def _step(self) -> None:
        """To whatever comes next: a chunk's end, the answer to a cancel, or a Tick."""
        while self.ends and not self._is_running(*self.ends[0][1:]):
            heappop(self.ends)
        while self.cancels and not self._is_running(*self.cancels[0][1:]):
            heappop(self.cancels)  # it ended before its cancel came
        slowdown = self.server.slowdown(len(self.running))
        end_s = cancel_s = math.inf
        if self.ends:
            end_s = self.clock_s + max(0.0, self.ends[0][0] - self.served_s) * slowdown
        if self.cancels:
            cancel_s = self.cancels[0][0]
        due_s = self.scheduler.look_again_s
        if due_s is not None and due_s - EPOCH_S < min(end_s, cancel_s):
            self._advance(due_s - EPOCH_S)
            self._tell(messages.Tick())
        elif cancel_s < end_s:
            self._advance(cancel_s)
            _, _, worker = heappop(self.cancels)
            del self.running[worker]
            self.cancelled += 1
            self._tell(messages.ChunkFailed(worker, "cancelled"))
        else:
            self._advance(end_s)
            _, _, worker = heappop(self.ends)
            self._ended(worker, self.running.pop(worker))

    def _is_running(self, token: int, worker: int) -> bool:
        found = self.running.get(worker)
        return found is not None and found.token == token

    def _advance(self, to_s: float) -> None:
        passed_s = max(0.0, to_s - self.clock_s)
        self.clock_s += passed_s
        self.served_s += passed_s / self.server.slowdown(len(self.running))

    def _ended(self, worker: int, found: _Running) -> None:
        total_s = sum(found.seconds)
        slowdown = (self.clock_s - found.began_s) / total_s if total_s else 1.0
        for piece, seconds in zip(found.pieces, found.seconds, strict=True):
            self.chunks += 1
            self.left[found.task] -= len(piece)
            self._tell(messages.ChunkDone(worker, seconds * slowdown))

    def _tell(self, event: messages.Event) -> None:
        todo = self._handle(event)
        while todo:
            todo[:0] = self._obey(todo.pop(0))

    def _handle(self, event: messages.Event) -> list[messages.Command]:
        began_s = thread_time()
        found = self.scheduler.handle(event, self.clock_s + EPOCH_S)
        self.scheduler_s += thread_time() - began_s
        return found

    def _obey(self, command: messages.Command) -> list[messages.Command]:
        match command:
            case messages.Prepare(number):
                self._hold_up()
                task = self.tasks[number]
                return self._handle(messages.Prepared(number, task.units, expected=task.expected))
            case messages.Finish(number):
                self._hold_up()
                return self._handle(messages.Finished(number))
            case messages.StartChunk():
                self._start(command)
            case messages.CancelChunk(worker):
                token = self.running[worker].token
                at_s = self.clock_s + self.server.cancel_s
                heappush(self.cancels, (at_s, token, worker))
            case messages.Renew() | messages.Fail() | messages.LeaveOut():
                raise AssertionError(command)
            case _:
                assert_never(command)
        return []

    def _hold_up(self) -> None:
        self._advance(self.clock_s + self.server.prepare_s)

    def _start(self, command: messages.StartChunk) -> None:
        task = self.tasks[command.task]
        pieces = (command.piece, *command.more)
        seconds = tuple(
            (task.fixed_s + task.work_s(piece.lo, piece.hi)) * self._noise() for piece in pieces
        )
        token = next(self.tokens)
        self.running[command.worker] = _Running(command.task, pieces, seconds, self.clock_s, token)
        ends_s = self.served_s + command.delay_s + sum(seconds)
        heappush(self.ends, (ends_s, token, command.worker))

    def _noise(self) -> float:
        sigma = self.server.noise
        return self.random.lognormvariate(-sigma * sigma / 2, sigma) if sigma else 1.0
