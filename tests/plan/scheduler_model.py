"""Every order of events that a small run can have, played to its end.

`Play` holds a scheduler and what an observer knows: which units run, which are done, which
commands await an answer. Its `moves` are all events that may come next; `explore` follows each of
them from each state that it has not seen. What must hold is checked at every step.
"""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from pgfan.plan import messages, scheduler
from pgfan.plan.dag import TaskSpec
from pgfan.plan.dealing import DELAY_S_MAX
from pgfan.plan.ranges import Range
from pgfan.plan.scheduler import Scheduler, SchedulerOptions
from pgfan.plan.sizing import SizingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

Unit: TypeAlias = tuple[int, int]
"""A task and an ordinal of its domain."""


@dataclass(frozen=True)
class Run:
    """A small run: tasks with the numbers of those before them, units of each, workers."""

    after: tuple[frozenset[int], ...]
    units: int
    workers: int
    outcomes: frozenset[str]
    trouble_max: int = 3
    """How many events other than success there may be."""
    pinned: frozenset[int] = frozenset()
    keep_going: bool = False
    order_only: frozenset[int] = frozenset()
    """Tasks that are run although one before them failed, with `keep_going`."""
    batch_s: float = 0.0
    chunk: int = 1
    """Units of a chunk."""
    per_target_max: int | None = None
    """All tasks write one table."""
    workers_max: int | None = None
    """Of each task."""
    parts: tuple[int, ...] = ()
    """Units of the parts that each task is put together from; `units` is their sum."""


@dataclass
class Play:
    """One way through a run so far."""

    run: Run
    scheduler: Scheduler
    running: dict[int, list[tuple[int, Range, int]]] = field(default_factory=dict)
    """The chunks of each worker: task, range, attempt; the first one is being run."""
    done: set[Unit] = field(default_factory=set)
    unanswered: list[messages.Command] = field(default_factory=list)
    ended: Counter[tuple[str, int]] = field(default_factory=Counter)
    state: dict[int, str] = field(default_factory=dict)
    away: set[int] = field(default_factory=set)
    allowed: int = 0
    known: int = 0
    """Workers are numbered below it."""
    draining: bool = False
    cancelled: set[int] = field(default_factory=set)
    """Workers that were asked to cancel what they run."""
    trouble: int = 0
    events: list[messages.Event] = field(default_factory=list)

    def key(self) -> str:
        """Equal for plays whose futures are equal."""
        inner = self.scheduler
        tasks = [
            (
                task.state,
                task.doomed,
                repr(task.left),
                [(retry.piece, retry.attempt) for retry in task.retries],
                task.running,
            )
            for task in inner._dag._tasks.values()
        ]
        return repr(
            (
                tasks,
                sorted(self.running.items()),
                inner._workers.idle,
                sorted(self.done),
                self.unanswered,
                sorted(self.cancelled),
                self.allowed,
                self.known,
                self.draining,
                self.trouble,
            )
        )

    def moves(self) -> Iterator[tuple[messages.Event, int]]:
        """Every event that may come next, and how much trouble it is."""
        for command in self.unanswered:
            yield from ((event, cost) for event, cost in self._answers(command))
        for worker in sorted(self.running):
            yield messages.ChunkDone(worker, 1e-9), 0
            for outcome in sorted(self.run.outcomes & FAILURES):
                yield messages.ChunkFailed(worker, outcome), 1  # type: ignore[arg-type]
            if worker in self.cancelled:
                yield messages.ChunkFailed(worker, "cancelled"), 0
            if "unavailable" in self.run.outcomes:
                yield messages.WorkerUnavailable(worker), 1
        if "allowed" in self.run.outcomes:
            for count in {0, 1, self.run.workers, self.run.workers + 1} - {self.allowed}:
                # The last one makes sure that a pause ends, and costs nothing.
                yield messages.WorkersAllowed(count), 0 if self.allowed == 0 else 1
        if "drain" in self.run.outcomes and not self.draining:
            yield messages.Drain(), 0

    def _answers(self, command: messages.Command) -> Iterator[tuple[messages.Event, int]]:
        match command:
            case messages.Prepare(task):
                pin = 0 if task in self.run.pinned else None
                parts = tuple(messages.PartSize(units) for units in self.run.parts)
                yield messages.Prepared(task, self.run.units, (), pin, 1.0, parts, target="t"), 0
                if "refused" in self.run.outcomes:
                    yield messages.PrepareFailed(task), 1
                    yield messages.Skipped(task), 1
            case messages.Renew(task):
                yield messages.Renewed(task), 0
                yield messages.PrepareFailed(task), 1
            case messages.Finish(task):
                yield messages.Finished(task), 0
                if "refused" in self.run.outcomes:
                    yield messages.FinishFailed(task), 1
                if "reopened" in self.run.outcomes:
                    yield messages.Reopened(task, (Range(0, 1),)), 1
            case _:
                raise AssertionError(command)

    def take(self, event: messages.Event, cost: int) -> None:
        """Tell the scheduler, carry out what it answers, and look at everything."""
        self.events.append(event)
        self.trouble += cost
        self._observe(event)
        for command in self.scheduler.handle(event, 1.0):
            self._obey(command)
        self._check()

    # What the observer knows --------------------------------------------------------------------

    def _observe(self, event: messages.Event) -> None:
        match event:
            case messages.ChunkDone(worker) | messages.ChunkFailed(worker, "duplicate"):
                task, piece, _ = self.running[worker].pop(0)
                units = {(task, unit) for unit in range(piece.lo, piece.hi)}
                assert not units & self.done, self
                self.done |= units
                if isinstance(event, messages.ChunkFailed) or not self.running[worker]:
                    del self.running[worker]
                    self.cancelled.discard(worker)
                if isinstance(event, messages.ChunkDone):
                    self.away.clear()
            case messages.ChunkFailed(worker, outcome):
                task, piece, attempt = self.running.pop(worker)[0]
                self.cancelled.discard(worker)
                too_small = outcome == "halve" and len(piece) == attempt == 1
                last = attempt == scheduler.ATTEMPTS_MAX and (
                    outcome != "halve" or attempt > 1 or len(piece) == 1
                )
                if outcome == "fatal" or too_small or last:
                    self.state[task] = "failing"
            case messages.WorkerUnavailable(worker):
                task, _, attempt = self.running.pop(worker)[0]
                self.cancelled.discard(worker)
                self.away.add(worker)
                if not self.running and attempt == scheduler.ATTEMPTS_MAX:
                    self.state[task] = "failing"
            case messages.Drain():
                self.draining = True
            case messages.WorkersAllowed(count):
                self.allowed, self.known = count, max(self.known, count)
            case messages.Begin():
                pass
            case _:
                self._answered(event)
        if not self.running:
            self.away.clear()

    def _answered(self, event: messages.Event) -> None:
        task = event.task  # type: ignore[union-attr]
        self.unanswered = [one for one in self.unanswered if one.task != task]
        match event:
            case messages.Skipped():
                self.state[task] = "ended"
            case messages.Finished():
                self.state[task] = "ended"
            case messages.Reopened(done=done):
                kept = {(task, unit) for piece in done for unit in range(piece.lo, piece.hi)}
                self.done = {unit for unit in self.done if unit[0] != task} | kept
                self.ended["finish", task] -= 1
                self.state[task] = "running"
            case messages.FinishFailed():
                self.ended["finish", task] -= 1
                self.state[task] = "failing"
            case messages.Prepared() | messages.Renewed():
                if self.state[task] != "failing":
                    self.state[task] = "running"
            case _:
                self.state[task] = "failing"

    def _obey(self, command: messages.Command) -> None:
        task = command.task
        match command:
            case messages.Prepare():
                assert not self.draining, self
                assert task not in self.state, self
                assert self._may_begin(task), self
                if not self.run.keep_going:
                    assert "failed" not in self.state.values(), self
                self.state[task] = "preparing"
                self.unanswered.append(command)
            case messages.StartChunk():
                self._start(command)
            case messages.CancelChunk():
                self._cancel(command)
            case messages.Renew():
                self.state[task] = "renewing"
                self.unanswered.append(command)
            case messages.Finish():
                self.ended["finish", task] += 1
                units = {(task, unit) for unit in range(self.run.units)}
                assert units <= self.done, self
                self.state[task] = "finishing"
                self.unanswered.append(command)
            case messages.LeaveOut():
                assert self.run.keep_going, self
                assert task not in self.state, self
                assert task in self._hopeless(), self
                assert self.state[command.failed] == "failed", self
                self.state[task] = "left out"
            case messages.Fail():
                self.ended["fail", task] += 1
                assert not any(one.task == task for one in self.unanswered), self
                self.state[task] = "failed"

    def _start(self, command: messages.StartChunk) -> None:
        task, worker = command.task, command.worker
        assert not self.draining, self
        assert self.state[task] == "running", self
        assert worker not in self.running, self
        assert len(self.running) < self.allowed, self
        assert worker < self.known, self
        assert self._room(task) > 0, self
        assert worker == 0 or task not in self.run.pinned, self
        assert 1 <= command.attempt <= scheduler.ATTEMPTS_MAX
        assert 0 <= command.delay_s <= DELAY_S_MAX * 1.5
        assert (command.delay_s > 0) == (command.attempt > 1)
        pieces = (command.piece, *command.more)
        busy = {unit for chunks in self.running.values() for one in chunks for unit in _units(one)}
        borders = set(itertools.accumulate(self.run.parts))
        for piece in pieces:
            assert not borders & set(range(piece.lo + 1, piece.hi)), self
            units = set(_units((task, piece, 0)))
            assert not units & (busy | self.done), self
            assert all(0 <= unit < self.run.units for _, unit in units), self
            busy |= units
        self.running[worker] = [(task, piece, command.attempt) for piece in pieces]

    def _cancel(self, command: messages.CancelChunk) -> None:
        """Only what may be cut, and only when somebody idles and no unit is left for him."""
        ((task, piece, attempt),) = self.running[command.worker]
        assert task == command.task, self
        assert len(piece) > 1, self
        assert attempt == 1, self
        assert task not in self.run.pinned, self
        assert not self.cancelled, self
        assert not self.draining, self
        assert len(self.running) < self.allowed, self
        assert len(self.running) + len(self.away) < self.known, self
        assert self._room(task) > 0, self
        self.cancelled.add(command.worker)

    def _room(self, task: int) -> int:
        """How many more workers its caps allow a task."""
        of_task = sum(1 for chunks in self.running.values() if chunks[0][0] == task)
        on_table = len(self.running)
        return min(
            (self.run.workers_max or self.known) - of_task,
            (self.run.per_target_max or self.known) - on_table,
        )

    def _may_begin(self, task: int) -> bool:
        """Whether all that it needs has ended well, and all that it follows has ended."""
        over = {"ended"}
        if task in self.run.order_only and self.run.keep_going:
            over = {"ended", "failed", "left out"}
        return all(self.state.get(before) in over for before in self.run.after[task])

    def _hopeless(self) -> set[int]:
        """Tasks that need one that failed, at once or through others."""
        found: set[int] = set()
        for task, after in enumerate(self.run.after):
            failed = any(self.state.get(one) == "failed" or one in found for one in after)
            if failed and task not in self.run.order_only:
                found.add(task)
        return found

    # What must hold -----------------------------------------------------------------------------

    def _check(self) -> None:
        assert self.scheduler.workers_busy == len(self.running), self
        assert all(count in {0, 1} for count in self.ended.values()), self
        if self.running or self.unanswered:
            assert not self.scheduler.is_over, self
        elif self.scheduler.is_over:
            self._check_end()
        else:
            assert self.allowed == 0, self
            assert "running" in self.state.values(), self
        if not self.draining:
            self._check_nobody_waits()

    def _check_nobody_waits(self) -> None:
        """No worker idles while a task that runs has units that nobody has, and caps let it."""
        if len(self.running) >= self.allowed:
            return
        idle = set(range(self.known)) - set(self.running) - self.away
        busy = {unit for chunks in self.running.values() for one in chunks for unit in _units(one)}
        for task, state in self.state.items():
            if state != "running":
                continue
            left = {(task, unit) for unit in range(self.run.units)} - self.done - busy
            able = idle & {0} if task in self.run.pinned else idle
            assert not (left and able and self._room(task) > 0), self
        if idle and not any(isinstance(one, messages.Prepare) for one in self.unanswered):
            assert not self._startable(), self

    def _startable(self) -> list[int]:
        """Tasks that nobody has asked to prepare, although they could begin."""
        if "failed" in self.state.values() and not self.run.keep_going:
            return []
        return [
            task
            for task in range(len(self.run.after))
            if task not in self.state and self._may_begin(task)
        ]

    def _check_end(self) -> None:
        for task in range(len(self.run.after)):
            outcome = self.ended["finish", task] + self.ended["fail", task]
            state = self.state.get(task)
            if state == "ended":
                assert self.ended["fail", task] == 0, self
            elif state == "failed":
                assert self.ended["finish", task] == 0, self
                assert outcome == 1, self
            elif state == "left out":
                assert outcome == 0, self
                assert task in self._hopeless(), self
            else:
                assert outcome == 0, self
                failed = "failed" in self.state.values() and not self.run.keep_going
                assert self.draining or failed, self


FAILURES = frozenset({"again", "halve", "renew", "duplicate", "fatal"})


def start(run: Run) -> Play:
    """A run that has just begun."""
    sizing = SizingOptions(fixed_units=run.chunk)
    options = SchedulerOptions(
        sizing, run.keep_going, run.batch_s, per_target_max=run.per_target_max
    )
    specs = [
        TaskSpec(task, after, workers_max=run.workers_max, order_only=task in run.order_only)
        for task, after in enumerate(run.after)
    ]
    play = Play(run, Scheduler(specs, run.workers, options), allowed=run.workers, known=run.workers)
    play.take(messages.Begin(), 0)
    return play


def explore(run: Run, states_max: int = 20_000) -> int:
    """Play every order of events; how many different states there are."""
    first = start(run)
    seen = {first.key()}
    todo = [first]
    while todo:
        play = todo.pop()
        for event, cost in play.moves():
            if play.trouble + cost > run.trouble_max:
                continue
            following = copy.deepcopy(play)
            following.take(event, cost)
            key = following.key()
            if key not in seen:
                assert len(seen) < states_max, "more states than a test should have"
                seen.add(key)
                todo.append(following)
    return len(seen)


def _units(chunk: tuple[int, Range, int]) -> Iterator[Unit]:
    task, piece, _ = chunk
    return ((task, unit) for unit in range(piece.lo, piece.hi))
