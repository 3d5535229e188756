"""What happens next: a state machine, events in, commands out.

The loop in `pgfan.execute.runner` tells it what happened (a chunk is done, a worker has no
connection, the user wants to stop) and carries out the commands it answers with. There is no
clock, no I/O and no randomness here but what is passed in, so every order of events can be played
by a test. An event that the state does not allow raises IllegalEventError with the history that
led there.

A task waits for those it comes after, is prepared (its verdict is known only when the tables that
earlier tasks made exist), hands out ranges until none is left, and is finished when the last of
them is done. Preparing waits until workers are about to be free, and goes by rank, so that a run of
thousands of tasks begins at once. When workers idle and nothing is left to hand out, the chunk
expected to end last may be cancelled and shared out (`pgfan.plan.stragglers`); what its worker
reports decides what becomes of it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct, field

from pgfan.plan.caps import Caps
from pgfan.plan.dag import UNANSWERED, Dag, IllegalEventError, Retry, State, Task
from pgfan.plan.dealing import Dealer
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
    LeaveOut,
    PartSize,
    Prepare,
    Prepared,
    PrepareFailed,
    Renew,
    Renewed,
    Reopened,
    Skipped,
    StartChunk,
    Tick,
    WorkersAllowed,
    WorkerUnavailable,
)
from pgfan.plan.offers import Offers
from pgfan.plan.parts import Remainder
from pgfan.plan.priority import priorities
from pgfan.plan.rescue import Rescue
from pgfan.plan.sizing import SizingOptions
from pgfan.plan.workers import Busy, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.plan.dag import TaskSpec
    from pgfan.plan.ranges import Range

ATTEMPTS_MAX = 10
HISTORY_MAX = 40
PREPARED_AHEAD = 1
"""Tasks that are prepared before a worker is free for them."""


class SchedulerOptions(Struct, frozen=True):
    """`keep_going`: a failed task keeps only those from running that need it.

    `batch_s`: chunks that together take about so many seconds are handed out at once; 0 never.
    `rescue`: whether stragglers are cancelled and shared out; not where the user fixed the size.
    `per_target_max`: so many workers may write one table at once; None: as many as there are.
    """

    sizing: SizingOptions = field(default_factory=SizingOptions)
    keep_going: bool = False
    batch_s: float = 0.0
    rescue: bool = True
    per_target_max: int | None = None


class Scheduler:
    """Decides for a fixed list of tasks and, at first, `workers` workers, numbered from 0."""

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        workers: int,
        options: SchedulerOptions | None = None,
        jitter: Callable[[], float] = lambda: 0.5,
    ) -> None:
        """`jitter` returns numbers in [0, 1) that spread retries apart."""
        self._options = options or SchedulerOptions()
        priority = priorities(tasks, max(1, workers))
        self._workers_wanted = priority.workers
        self._dag = Dag(tasks, priority.rank, keep_going=self._options.keep_going)
        self._workers = Workers(workers)
        self._caps = Caps(self._options.per_target_max)
        self._offers = Offers(self._caps, self._wanted_on_each)
        self._dealer = Dealer(self._options.batch_s, jitter)
        self._draining = False
        self._now_s = 0.0
        self._rescue = Rescue(self._dag, self._workers, self._offers, self._caps)
        self._history: deque[Event] = deque(maxlen=HISTORY_MAX)

    @property
    def is_over(self) -> bool:
        """Nothing runs and nothing will."""
        if self._workers.busy or self._dag.count(*UNANSWERED):
            return False
        return self._draining or not self._dag.count("running", "failing")

    @property
    def look_again_s(self) -> float | None:
        """The instant at which a Tick is due if no event comes before; None: at none."""
        return self._rescue.look_again_s

    @property
    def workers_busy(self) -> int:
        """How many workers run a chunk now."""
        return self._workers.busy

    @property
    def lost(self) -> frozenset[int]:
        """The tasks that failed, and those that are not run because of them."""
        return self._dag.lost

    def state(self, task: int) -> str:
        """Where a task stands; for messages and tests."""
        return self._dag[task].state

    def handle(self, event: Event, now_s: float = 0.0) -> list[Command]:
        """Take one event; the commands are to be carried out in order.

        `now_s` is a monotonic clock's. Whoever gives none has no stragglers cancelled.
        """
        self._history.append(event)
        self._now_s = max(self._now_s, now_s)
        self._rescue.look_again_s = None
        commands = self._apply(event)
        for found in self._dag.left_out():
            commands.append(LeaveOut(*found))  # nearly always there are none
        if not self._draining:
            commands += self._deal()
            commands += self._ready()
            if self._options.rescue:
                commands += self._rescue.look(self._now_s)
        return commands

    def _apply(self, event: Event) -> list[Command]:
        match event:
            case ChunkDone():  # the most frequent one
                return self._chunk_done(event)
            case Begin() | Tick() | Drain() | WorkersAllowed():
                self._direct(event)
                return []
            case Prepared():
                return self._prepared(event)
            case PrepareFailed() | FinishFailed():
                return self._refused(event)
            case Skipped():
                self._enter(event.task, {"preparing"}, "done")
                return []
            case ChunkFailed():
                return self._chunk_failed(event)
            case WorkerUnavailable():
                return self._unavailable(event)
            case Renewed():
                task = self._enter(event.task, {"renewing"}, "running")
                if task.doomed:
                    self._dag.move(task, "failing")
                return self._settle(task)
            case Finished():
                self._enter(event.task, {"finishing"}, "done").left = None
                return []
            case Reopened():
                return self._reopened(event)
            case _:
                assert_never(event)

    def _direct(self, event: Begin | Tick | Drain | WorkersAllowed) -> None:
        """What the user, or whoever watches the server, wants of the whole run."""
        if isinstance(event, WorkersAllowed):
            self._workers.allow(event.count)
        self._draining = self._draining or isinstance(event, Drain)

    # Tasks --------------------------------------------------------------------------------------

    def _ready(self) -> list[Command]:
        """Prepare tasks whose predecessors have ended, as many as free workers could take."""
        wanted = self._workers.idle_count + PREPARED_AHEAD
        wanted -= self._offers.wanting + self._dag.preparing
        if wanted <= 0:
            return []
        count = min(wanted, self._dag.startable)
        return [Prepare(self._dag.start_next().number) for _ in range(count)]

    def _prepared(self, event: Prepared) -> list[Command]:
        task = self._enter(event.task, {"preparing"}, "running")
        task.worker, task.target, task.in_order = event.worker, event.target, event.in_order
        size = PartSize(
            event.total,
            event.rows_per_unit,
            bytes_per_unit=event.bytes_per_unit,
            expected=event.expected,
        )
        parts = event.parts or ((size,) if event.total else ())
        task.left = Remainder(parts, self._options.sizing, event.done)
        return self._settle(task)

    def _reopened(self, event: Reopened) -> list[Command]:
        task = self._enter(event.task, {"finishing"}, "running")
        if task.left is not None:
            task.left.reset(event.done)
        return self._settle(task)

    def _refused(self, event: PrepareFailed | FinishFailed) -> list[Command]:
        ending = isinstance(event, FinishFailed)
        allowed: set[State] = {"finishing"} if ending else {"preparing", "renewing"}
        return self._settle(self._enter(event.task, allowed, "failing"))

    def _settle(self, task: Task) -> list[Command]:
        """Offer what a task has left; finish or fail one of which nothing is left to do."""
        self._offers.update(task)
        if task.running:
            return []
        if task.state == "failing":
            self._dag.move(task, "failed")
            return [Fail(task.number)]
        if task.state == "running" and not task.has_work:
            self._dag.move(task, "finishing")
            return [Finish(task.number)]
        return []

    # Chunks -------------------------------------------------------------------------------------

    def _deal(self) -> list[Command]:
        """Give every idle worker the next ranges of the first task that it may run."""
        commands: list[Command] = []
        if not self._offers.any:
            return commands
        for worker in self._workers.idle:
            task = self._offers.best(worker)
            if task is not None:
                commands.append(self._start(worker, task))
        return commands

    def _wanted_on_each(self) -> int:
        """Workers that should be on one task: more of them when there are few tasks left."""
        present = self._workers.present
        tasks = self._offers.free + self._dag.coming
        if tasks < 2:  # nobody else wants any
            return present
        return min(max(-(-present // tasks), self._workers_wanted), present)

    def _start(self, worker: int, task: Task) -> StartChunk:
        wanted = self._wanted_on_each()
        most = self._caps.most(task, wanted)
        hand = self._dealer.deal(task, most, lambda: self._workers.ends_s(task, self._now_s))
        pieces = list(hand.pieces)
        busy = Busy(task.number, pieces, hand.attempt, self._now_s + hand.delay_s, hand.expected_s)
        self._workers.start(worker, busy)
        task.running += 1
        self._offers.started(task, wanted)
        first, *more = hand.pieces
        return StartChunk(worker, task.number, first, hand.attempt, hand.delay_s, tuple(more))

    def _release(self, worker: int, *, failed: bool, count: int = 1) -> tuple[Busy, Range, Task]:
        """Take the worker's `count` oldest chunks back, and tell the last one of them.

        The worker is idle when it has no more.
        """
        busy = self._workers.get(worker)
        if busy is None:
            raise self._illegal(f"worker {worker} reports on a chunk that it does not have")
        task = self._dag[busy.task]
        del busy.pieces[: count - 1]
        piece = busy.pieces.pop(0)
        if failed and task.left is not None:  # those after it were not begun
            while busy.pieces:
                task.left.give_back(busy.pieces.pop())
        if not busy.pieces:
            task.running -= 1
            self._workers.end(worker)
            self._offers.ended(task)
            self._rescue.reported(worker)
        return busy, piece, task

    def _chunk_done(self, event: ChunkDone) -> list[Command]:
        _, piece, task = self._release(event.worker, failed=False, count=event.count)
        if task.left is not None and not task.in_order:
            task.left.observe(piece, event.seconds)
        self._workers.call_back()  # somebody's backend ended: there may be room again
        return self._settle(task)

    def _chunk_failed(self, event: ChunkFailed) -> list[Command]:
        busy, piece, task = self._release(event.worker, failed=True)
        match event.disposition:
            case "duplicate":
                pass  # done before, by a COMMIT whose answer was lost
            case "cancelled":
                if not busy.shares:
                    raise self._illegal(f"a chunk of task {task.number} was cancelled unasked")
                self._rescue.share_out(task, busy, piece, self._now_s)
            case "renew" if busy.attempt < ATTEMPTS_MAX:
                task.retries.append(Retry(piece, busy.attempt + 1))
                if task.state == "running":
                    self._dag.move(task, "renewing")
                    self._offers.update(task)
                    return [Renew(task.number)]
            # A piece that was tried before may be in doubt, and its halves would not meet its row.
            case "halve" if len(piece) > 1 and busy.attempt == 1:
                task.retries.extend(Retry(half, 1) for half in piece.halves())
                if task.left is not None:
                    task.left.too_large(piece)
            case "again" if busy.attempt < ATTEMPTS_MAX:
                task.retries.append(Retry(piece, busy.attempt + 1))
            case "halve" if busy.attempt in range(2, ATTEMPTS_MAX):
                task.retries.append(Retry(piece, busy.attempt + 1))
            case "fatal" | "again" | "halve" | "renew":
                self._doom(task)
            case _:
                assert_never(event.disposition)
        return self._settle(task)

    def _unavailable(self, event: WorkerUnavailable) -> list[Command]:
        busy, piece, task = self._release(event.worker, failed=True)
        if self._workers.busy:  # others go on; come back when one of them has ended a chunk
            task.retries.append(Retry(piece, busy.attempt))
            self._workers.send_away(event.worker)
        elif busy.attempt < ATTEMPTS_MAX:
            task.retries.append(Retry(piece, busy.attempt + 1))
        else:
            self._doom(task)
        return self._settle(task)

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
