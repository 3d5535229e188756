"""The tasks of a run: what each waits for, where it stands, and which may begin.

Here is the life of a task and nothing of chunks or workers, which `pgfan.plan.scheduler` deals
with. Every event asks here, so nothing may take time for each task of a long script.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from pgfan.plan.ranges import Range, RangeSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.plan.parts import PartedSizer

State: TypeAlias = Literal[
    "waiting", "preparing", "running", "renewing", "failing", "finishing", "done", "failed"
]
UNANSWERED: tuple[State, ...] = ("preparing", "renewing", "finishing")
"""Somebody outside has been asked, and the task goes on with the answer."""


@dataclass(frozen=True)
class TaskSpec:
    """A task by number; it starts when all of `after` have ended well."""

    task: int
    after: frozenset[int] = frozenset()


@dataclass
class Task:
    """A task's state. Written by the scheduler, but for `state`, which `Dag.move` writes."""

    spec: TaskSpec
    state: State = "waiting"
    doomed: bool = False
    """Failed while a Renew was out: it fails when that is answered."""
    left: RangeSet = field(default_factory=RangeSet)
    retries: deque[tuple[Range, int]] = field(default_factory=deque)
    """Ranges to run as they are, each with the attempt that this will be."""
    total: int = 0
    running: int = 0
    """Workers that have chunks of it."""
    worker: int | None = None
    """The only worker that may run it."""
    sizer: PartedSizer | None = None

    @property
    def has_work(self) -> bool:
        """Whether a worker could be given a range of it now."""
        return self.state == "running" and bool(self.retries or self.left)


class Dag:
    """A fixed list of tasks; with `keep_going` those after a failed one run all the same."""

    def __init__(self, specs: Sequence[TaskSpec], *, keep_going: bool) -> None:
        self._tasks = {spec.task: Task(spec) for spec in specs}
        self._keep_going = keep_going
        self._states: Counter[State] = Counter({"waiting": len(specs)})
        self._order = {spec.task: at for at, spec in enumerate(specs)}
        self._blockers = {spec.task: len(spec.after) for spec in specs}
        self._dependents: dict[int, list[int]] = {}
        for spec in specs:
            for before in spec.after:
                self._dependents.setdefault(before, []).append(spec.task)
        self._startable = [spec.task for spec in specs if not spec.after]

    def __getitem__(self, number: int) -> Task:
        return self._tasks[number]

    def get(self, number: int) -> Task | None:
        """The task, or None for a number that no task has."""
        return self._tasks.get(number)

    def any_in(self, *states: State) -> bool:
        """Whether any task is in one of `states`."""
        return any(self._states[state] for state in states)

    def take_startable(self) -> list[int]:
        """The tasks that may begin now, in order, each told once; none after a failure."""
        if self._states["failed"] and not self._keep_going:
            return []
        ready, self._startable = self._startable, []
        return ready

    def move(self, task: Task, state: State) -> None:
        """Put `task` into `state`; those that waited for it alone may begin when it has ended."""
        self._states[task.state] -= 1
        self._states[state] += 1
        task.state = state
        if state == "done" or (state == "failed" and self._keep_going):
            for number in self._dependents.get(task.spec.task, ()):
                self._blockers[number] -= 1
                if not self._blockers[number]:
                    insort(self._startable, number, key=self._order.__getitem__)
