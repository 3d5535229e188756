"""The tasks of a run: what each waits for, where it stands, and which may begin.

Here is the life of a task and nothing of chunks or workers, which `pgfan.plan.scheduler` deals
with. Every event asks here, so nothing may take time for each task of a long script.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pgfan.plan.offers import Queue
    from pgfan.plan.parts import Remainder
    from pgfan.plan.ranges import Range

State: TypeAlias = Literal[
    "waiting", "preparing", "running", "renewing", "failing", "finishing", "done", "failed",
    "not run",
]  # fmt: skip
UNANSWERED: tuple[State, ...] = ("preparing", "renewing", "finishing")
"""Somebody outside has been asked, and the task goes on with the answer."""


class IllegalEventError(Exception):
    """An event that cannot happen in this state: a bug in pgfan, told with the events before it."""


class TaskSpec(Struct, frozen=True):
    """A task by number; it starts when all of `after` have ended well.

    With `keep_going` it is not run when one of them fails, or was a task of an earlier scheduler
    that has not ended well. `order_only`: nothing of theirs is needed, and it is run nevertheless.
    `work_s`: the seconds of all its chunks together in an earlier run, None when nobody knows;
    `divisible`: whether more workers make it shorter. `workers_max` of them may run its chunks at
    once; None: as many as there are.
    """

    task: int
    after: frozenset[int] = frozenset()
    work_s: float | None = None
    divisible: bool = True
    workers_max: int | None = None
    order_only: bool = False


class Retry(NamedTuple):
    """A range to run as it is; `expected_s` when it is known better than from its size."""

    piece: Range
    attempt: int
    expected_s: float | None = None


class Task:
    """A task's state. Written by the scheduler, but for `state`, which `Dag.move` writes.

    No Struct: it and its queue hold each other, and a copy of a Struct cannot follow such a ring.
    """

    __slots__ = (
        "doomed",
        "in_order",
        "left",
        "number",
        "priority",
        "queue",
        "retries",
        "running",
        "state",
        "target",
        "worker",
        "workers_max",
    )

    def __init__(self, number: int, priority: int, workers_max: int | None = None) -> None:
        self.number = number
        self.priority = priority
        """Lower ones go first; no two tasks have the same."""
        self.workers_max = workers_max
        """Of the task alone; None: no bound of its own."""
        self.state: State = "waiting"
        self.doomed = False
        """Failed while a Renew was out: it fails when that is answered."""
        self.left: Remainder | None = None
        self.retries: deque[Retry] = deque()
        self.running = 0
        """Workers that have chunks of it."""
        self.worker: int | None = None
        """The only worker that may run it."""
        self.queue: Queue | None = None
        """Where it stands in `pgfan.plan.offers`."""
        self.target: str | None = None
        """The table that its chunks write."""
        self.in_order = False
        """Whether one worker takes all ordinals that are left at once, each a chunk."""

    @property
    def has_work(self) -> bool:
        """Whether a worker could be given a range of it now."""
        if self.state != "running":
            return False
        return bool(self.retries) or (self.left is not None and self.left.units > 0)


class Dag:
    """A fixed list of tasks; with `keep_going` those that do not need a failed one still run."""

    def __init__(
        self, specs: Sequence[TaskSpec], rank: Mapping[int, float], *, keep_going: bool
    ) -> None:
        """`rank`: tasks with higher ones begin first, and earlier ones among equals."""
        self._order = [
            spec.task for spec in sorted(specs, key=lambda spec: rank[spec.task], reverse=True)
        ]
        """Task numbers by priority."""
        priority = {number: at for at, number in enumerate(self._order)}
        self._tasks = {
            spec.task: Task(spec.task, priority[spec.task], spec.workers_max) for spec in specs
        }
        self._keep_going = keep_going
        self._states: dict[State, int] = dict.fromkeys(get_args(State), 0)
        self._states["waiting"] = len(specs)
        self._blockers = {spec.task: len(spec.after) for spec in specs}
        self._dependents: dict[int, list[int]] = {}
        for spec in specs:
            for before in spec.after:
                self._dependents.setdefault(before, []).append(spec.task)
        self._order_only = {spec.task for spec in specs if spec.order_only}
        self._left_out: list[tuple[int, int]] = []
        self._startable = sorted(priority[spec.task] for spec in specs if not spec.after)
        """Priorities: a heap."""
        for spec in specs:
            for before in spec.after:
                if before not in self._tasks:
                    self._leave_out(spec.task, before)

    def __getitem__(self, number: int) -> Task:
        return self._tasks[number]

    def get(self, number: int) -> Task | None:
        """The task, or None for a number that no task has."""
        return self._tasks.get(number)

    def count(self, *states: State) -> int:
        """How many tasks are in one of `states`."""
        return sum(self._states[state] for state in states)

    @property
    def lost(self) -> frozenset[int]:
        """The tasks that failed, and those that are not run because of them."""
        ends = {"failed", "not run"}
        return frozenset(task.number for task in self._tasks.values() if task.state in ends)

    def left_out(self) -> Sequence[tuple[int, int]]:
        """Tasks that will not run and the one whose failure is why, since the last call."""
        if not self._left_out:
            return ()
        found, self._left_out = self._left_out, []
        return found

    @property
    def startable(self) -> int:
        """How many tasks may begin now; none after a failure."""
        if self._states["failed"] and not self._keep_going:
            return 0
        return len(self._startable)

    @property
    def preparing(self) -> int:
        """How many tasks are being prepared."""
        return self._states["preparing"]

    @property
    def coming(self) -> int:
        """How many tasks are being prepared, or may begin now."""
        return self._states["preparing"] + self.startable

    def start_next(self) -> Task:
        """Put the startable task of the highest rank into `preparing`."""
        task = self._tasks[self._order[heappop(self._startable)]]
        self.move(task, "preparing")
        return task

    def move(self, task: Task, state: State) -> None:
        """Put `task` into `state`; those that waited for it alone may begin when it has ended."""
        self._move(task, state)
        dependents = self._dependents.get(task.number, ())
        if state == "done":
            self._unblock(dependents)
        elif state == "failed" and self._keep_going:
            self._unblock([number for number in dependents if number in self._order_only])
            for number in dependents:
                if number not in self._order_only:
                    self._leave_out(number, task.number)

    def _move(self, task: Task, state: State) -> None:
        self._states[task.state] -= 1
        self._states[state] += 1
        task.state = state

    def _unblock(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._blockers[number] -= 1
            if not self._blockers[number] and self._tasks[number].state == "waiting":
                heappush(self._startable, self._tasks[number].priority)

    def _leave_out(self, number: int, failed: int) -> None:
        """A task that needs a failed one is not run, nor is what needs it."""
        todo = [number]
        while todo:
            task = self._tasks[todo.pop()]
            if task.state != "waiting":
                continue
            self._move(task, "not run")
            self._left_out.append((task.number, failed))
            for dependent in self._dependents.get(task.number, ()):
                if dependent in self._order_only:
                    self._unblock((dependent,))
                else:
                    todo.append(dependent)
