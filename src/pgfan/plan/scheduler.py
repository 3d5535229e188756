"""What happens next: a state machine, events in, commands out.

The loop in `pgfan.execute.runner` tells it what happened (a chunk is done, a worker has no
connection, the user wants to stop) and carries out the commands it answers with. There is no
clock, no I/O and no randomness here but what is passed in, so every order of events can be played
by a test. An event that the state does not allow raises IllegalEventError with the history that
led there.

A task waits for those it comes after, is prepared (its verdict is known only when the tables that
earlier tasks made exist), hands out ranges until none is left, and is finished when the last of
them is done. A range that failed in a way that may pass is kept whole and tried again before
anything else is taken: it may be in doubt (COMMIT sent, no answer), and only the same range start
meets the journal row that settles the doubt.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from pgfan.plan.dag import UNANSWERED, Dag, State, Task, TaskSpec
from pgfan.plan.messages import (
    Begin,
    ChunkDone,
    ChunkFailed,
    Command,
    Drain,
    Event,
    Fail,
    Finish,
    Finished,
    FinishFailed,
    PartSize,
    Prepare,
    Prepared,
    PrepareFailed,
    Renew,
    Renewed,
    Reopened,
    Skipped,
    StartChunk,
    WorkerUnavailable,
)
from pgfan.plan.parts import PartedSizer
from pgfan.plan.ranges import Range, RangeSet
from pgfan.plan.sizing import SizingOptions
from pgfan.plan.workers import Busy, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ATTEMPTS_MAX = 10
DELAY_S_FIRST = 0.1
DELAY_S_MAX = 5.0
HISTORY_MAX = 40
BATCH_MAX = 64
BATCH_SHARE = 4
"""A batch is at most this part of a worker's fair share of what is left."""
BATCH_TICK_S = 1e-4
"""No chunk is taken to be shorter than this."""


class IllegalEventError(Exception):
    """An event that cannot happen in this state: a bug in pgfan, told with the events before it."""


@dataclass(frozen=True)
class SchedulerOptions:
    """`keep_going`: a failed task does not keep those after it from running.

    `batch_s`: chunks that together take about so many seconds are handed out at once; 0 never.
    """

    sizing: SizingOptions = field(default_factory=SizingOptions)
    keep_going: bool = False
    batch_s: float = 0.0


class Scheduler:
    """Decides for a fixed list of tasks and `workers` workers, numbered from 0."""

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        workers: int,
        options: SchedulerOptions | None = None,
        jitter: Callable[[], float] = lambda: 0.5,
    ) -> None:
        """`jitter` returns numbers in [0, 1) that spread retries apart."""
        self._options = options or SchedulerOptions()
        self._dag = Dag(tasks, keep_going=self._options.keep_going)
        self._workers = Workers(workers)
        self._jitter = jitter
        self._draining = False
        self._open: list[int] = []
        self._history: deque[Event] = deque(maxlen=HISTORY_MAX)

    @property
    def is_over(self) -> bool:
        """Nothing runs and nothing will."""
        if self._workers.busy or self._dag.any_in(*UNANSWERED):
            return False
        return self._draining or not self._dag.any_in("running", "failing")

    @property
    def workers_busy(self) -> int:
        """How many workers run a chunk now."""
        return self._workers.busy

    def state(self, task: int) -> str:
        """Where a task stands; for messages and tests."""
        return self._dag[task].state

    def handle(self, event: Event) -> list[Command]:
        """Take one event; the commands are to be carried out in order."""
        self._history.append(event)
        commands = self._apply(event)
        if not self._draining:
            commands += self._ready()
            commands += self._deal()
        return commands

    def _apply(self, event: Event) -> list[Command]:
        match event:
            case Begin() | Drain():
                self._draining = self._draining or isinstance(event, Drain)
                return []
            case Prepared():
                return self._prepared(event)
            case PrepareFailed() | FinishFailed():
                return self._refused(event)
            case Skipped():
                self._enter(event.task, {"preparing"}, "done")
                return []
            case ChunkDone():
                return self._chunk_done(event)
            case ChunkFailed():
                return self._chunk_failed(event)
            case WorkerUnavailable():
                return self._unavailable(event)
            case Renewed():
                task = self._enter(event.task, {"renewing"}, "running")
                if task.doomed:
                    self._dag.move(task, "failing")
                return self._settle(event.task)
            case Finished():
                self._enter(event.task, {"finishing"}, "done")
                return []
            case Reopened():
                return self._reopened(event)
            case _:
                assert_never(event)

    # Tasks --------------------------------------------------------------------------------------

    def _ready(self) -> list[Command]:
        """Prepare every task whose predecessors have ended, in order."""
        ready = self._dag.take_startable()
        for number in ready:
            self._dag.move(self._dag[number], "preparing")
        return [Prepare(number) for number in ready]

    def _prepared(self, event: Prepared) -> list[Command]:
        task = self._enter(event.task, {"preparing"}, "running")
        task.total = event.total
        task.left = _all_but(event.total, event.done)
        task.worker = event.worker
        parts = event.parts or (PartSize(max(1, event.total), event.rows_per_unit),)
        task.sizer = PartedSizer(parts, self._options.sizing)
        self._open.append(event.task)
        return self._settle(event.task)

    def _reopened(self, event: Reopened) -> list[Command]:
        task = self._enter(event.task, {"finishing"}, "running")
        task.left = _all_but(task.total, event.done)
        self._open.append(event.task)
        return self._settle(event.task)

    def _refused(self, event: PrepareFailed | FinishFailed) -> list[Command]:
        ending = isinstance(event, FinishFailed)
        self._enter(event.task, {"finishing"} if ending else {"preparing", "renewing"}, "failing")
        return self._settle(event.task)

    def _settle(self, number: int) -> list[Command]:
        """Finish or fail a task of which nothing is left to do."""
        task = self._dag[number]
        if task.running:
            return []
        if task.state == "failing":
            self._dag.move(task, "failed")
            command: Command = Fail(number)
        elif task.state == "running" and not task.left and not task.retries:
            self._dag.move(task, "finishing")
            command = Finish(number)
        else:
            return []
        if number in self._open:
            self._open.remove(number)
        return [command]

    # Chunks -------------------------------------------------------------------------------------

    def _deal(self) -> list[Command]:
        """Give every idle worker the next range, earliest task first."""
        commands: list[Command] = []
        for number in self._open:
            task = self._dag[number]
            if task.state != "running":
                continue
            for worker in self._workers.idle:
                if task.worker is not None and worker != task.worker:
                    continue
                if not task.retries and not task.left:
                    break
                commands.append(self._start(worker, number, task))
            if not self._workers.any_idle:
                break
        return commands

    def _start(self, worker: int, number: int, task: Task) -> StartChunk:
        delay_s = 0.0
        more: tuple[Range, ...] = ()
        if task.retries:
            piece, attempt = task.retries.popleft()
            if attempt > 1:
                delay_s = min(DELAY_S_MAX, DELAY_S_FIRST * 2 ** (attempt - 2))
                delay_s *= 0.5 + self._jitter()
        else:
            if task.sizer is None:
                raise self._illegal(f"task {number} runs without a sizer")
            units = task.sizer.next_units(task.left, self._workers.present)
            piece, attempt = task.left.take(units), 1
            more = self._more(task, task.sizer, piece, units)
        self._workers.start(worker, Busy(number, deque((piece, *more)), attempt))
        task.running += 1
        return StartChunk(worker, number, piece, attempt, delay_s, more)

    def _more(self, task: Task, sizer: PartedSizer, first: Range, units: int) -> tuple[Range, ...]:
        """Chunks to hand out with the first one, when they are very short."""
        seconds = sizer.seconds_for(Range(first.lo, first.lo + units))
        if seconds is None or not self._options.batch_s:
            return ()
        left = sizer.left_beside(first, task.left)  # so none of them reaches over a border
        fair = left // (units * BATCH_SHARE * self._workers.present)
        count = min(BATCH_MAX, fair, int(self._options.batch_s / max(seconds, BATCH_TICK_S)))
        return tuple(task.left.take(units) for _ in range(count - 1))

    def _release(self, worker: int, *, failed: bool) -> tuple[Busy, Range, Task]:
        """Take the worker's oldest chunk back; the worker is idle when it has no more."""
        busy = self._workers.get(worker)
        if busy is None:
            raise self._illegal(f"worker {worker} reports on a chunk that it does not have")
        task = self._dag[busy.task]
        piece = busy.pieces.popleft()
        if failed:  # those after it were not begun
            while busy.pieces:
                task.left.add(busy.pieces.popleft())
        if not busy.pieces:
            task.running -= 1
            self._workers.end(worker)
        return busy, piece, task

    def _chunk_done(self, event: ChunkDone) -> list[Command]:
        busy, piece, task = self._release(event.worker, failed=False)
        if task.sizer is not None:
            task.sizer.observe(piece, event.seconds)
        self._workers.call_back()  # somebody's backend ended: there may be room again
        return self._settle(busy.task)

    def _chunk_failed(self, event: ChunkFailed) -> list[Command]:
        busy, piece, task = self._release(event.worker, failed=True)
        match event.disposition:
            case "duplicate":
                pass  # done before, by a COMMIT whose answer was lost
            case "renew" if busy.attempt < ATTEMPTS_MAX:
                task.retries.append((piece, busy.attempt + 1))
                if task.state == "running":
                    self._dag.move(task, "renewing")
                    return [Renew(busy.task)]
            # A piece that was tried before may be in doubt, and its halves would not meet its row.
            case "halve" if len(piece) > 1 and busy.attempt == 1:
                task.retries.extend((half, 1) for half in piece.halves())
            case "again" if busy.attempt < ATTEMPTS_MAX:
                task.retries.append((piece, busy.attempt + 1))
            case "halve" if busy.attempt in range(2, ATTEMPTS_MAX):
                task.retries.append((piece, busy.attempt + 1))
            case "fatal" | "again" | "halve" | "renew":
                self._doom(task)
            case _:
                assert_never(event.disposition)
        return self._settle(busy.task)

    def _unavailable(self, event: WorkerUnavailable) -> list[Command]:
        busy, piece, task = self._release(event.worker, failed=True)
        if self._workers.busy:  # others go on; come back when one of them has ended a chunk
            task.retries.append((piece, busy.attempt))
            self._workers.send_away(event.worker)
        elif busy.attempt < ATTEMPTS_MAX:
            task.retries.append((piece, busy.attempt + 1))
        else:
            self._doom(task)
        return self._settle(busy.task)

    def _doom(self, task: Task) -> None:
        if task.state == "renewing":
            task.doomed = True
        elif task.state == "running":
            self._dag.move(task, "failing")

    # ---------------------------------------------------------------------------------------------

    def _enter(self, number: int, allowed: set[State], state: State) -> Task:
        task = self._dag.get(number)
        if task is None or task.state not in allowed:
            now = task.state if task else "unknown"
            raise self._illegal(f"task {number} is {now}, and cannot become {state}")
        self._dag.move(task, state)
        return task

    def _illegal(self, what: str) -> IllegalEventError:
        events = "\n".join(f"  {event}" for event in self._history)
        return IllegalEventError(f"{what}; the last events were\n{events}")


def _all_but(total: int, done: tuple[Range, ...]) -> RangeSet:
    """[0, total) without what is done."""
    left = RangeSet([Range(0, total)] if total else ())
    for piece in done:
        left.remove(piece)
    return left
