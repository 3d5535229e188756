"""Which task a free worker takes a chunk of: the one with the highest rank that wants another.

A task wants so many workers at once and no more, as long as there are others for them: every
worker that joins a task pays its fixed cost, and learns nothing of the next task meanwhile. When
all have as many as they want, the first one gets more, because no worker idles while there is work.
A task that has as many as its caps allow stands nowhere.

Tasks are prepared when workers are about to be free for them, so that few stand here at a time,
and a chunk costs the same with one task and with thousands.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.plan.caps import Caps
    from pgfan.plan.dag import Task

Queue: TypeAlias = "list[tuple[int, Task]]"
"""Ordered by priority, which no two tasks share."""


class Offers:
    """Tasks with work, in queues: wanting workers, with enough of them, or for one worker only."""

    def __init__(self, caps: Caps, wanted: Callable[[], int]) -> None:
        """`wanted`: how many workers each task should have now, at least 1."""
        self._caps = caps
        self._wanted = wanted
        self._wanting: Queue = []
        self._enough: Queue = []
        self._pinned: dict[int, Queue] = {}

    @property
    def any(self) -> bool:
        """Whether any task stands here."""
        return bool(self._wanting or self._enough or self._pinned)

    @property
    def wanting(self) -> int:
        """How many tasks have fewer workers than they want."""
        return len(self._wanting)

    @property
    def free(self) -> int:
        """How many tasks that any worker may run have work."""
        return len(self._wanting) + len(self._enough)

    def update(self, task: Task, wanted: int | None = None) -> None:
        """Put `task` where it belongs now; `wanted` for those who have asked already."""
        queue = self._queue_for(task, wanted)
        if queue is task.queue:  # most chunks change nothing
            return
        if task.queue is not None:
            del task.queue[bisect_left(task.queue, (task.priority,))]
            if task.worker is not None and not task.queue:
                del self._pinned[task.worker]
        if queue is not None:
            insort(queue, (task.priority, task))
        task.queue = queue

    def started(self, task: Task, wanted: int) -> None:
        """One more worker has chunks of `task`, whose `running` counts it already."""
        self._caps.started(task)
        self.update(task, wanted)

    def ended(self, task: Task) -> None:
        """One worker less has; others may have waited for room on the same table."""
        for waiting in self._caps.ended(task):
            self.update(waiting)

    def best(self, worker: int) -> Task | None:
        """The task that `worker` should take from; it stays here."""
        while (task := self._first(worker)) is not None and not self._caps.has_room(task):
            self.update(task)  # others have filled its table since it came here
        return task

    def _first(self, worker: int) -> Task | None:
        free = self._wanting or self._enough
        own = self._pinned.get(worker)
        if own and free:
            return min(own[0], free[0])[1]
        return own[0][1] if own else free[0][1] if free else None

    def _queue_for(self, task: Task, wanted: int | None) -> Queue | None:
        if not task.has_work or not self._caps.has_room(task):
            return None
        if task.worker is not None:
            return self._pinned.setdefault(task.worker, [])
        if not task.running:  # at least one is wanted
            return self._wanting
        if wanted is None:
            wanted = self._wanted()
        return self._wanting if task.running < wanted else self._enough
