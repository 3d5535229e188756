"""How many workers may run chunks of one task, or write one table, at once.

The number of workers of the whole run is not decided here, but in `pgfan.plan.scaling`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgfan.plan.dag import Task


class Caps:
    """Counts the workers on each target table; `per_target_max` None is no cap."""

    def __init__(self, per_target_max: int | None) -> None:
        self._per_target_max = per_target_max
        self._on_target: Counter[str] = Counter()
        self._waiting: dict[str, dict[int, Task]] = {}
        """Tasks that found their table taken, until somebody leaves it."""

    def started(self, task: Task) -> None:
        """One more worker has chunks of `task`, whose `running` counts it already."""
        if task.target is not None:
            self._on_target[task.target] += 1

    def ended(self, task: Task) -> list[Task]:
        """One less; the tasks that had waited for room on its table."""
        if task.target is None:
            return []
        self._on_target[task.target] -= 1
        return list(self._waiting.pop(task.target, {}).values())

    def has_room(self, task: Task) -> bool:
        """Whether one more worker may take chunks of `task` now; if not, it waits for its table."""
        if task.workers_max is not None and task.running >= task.workers_max:
            return False
        if self._per_target_max is None or task.target is None:
            return True
        if self._on_target[task.target] < self._per_target_max:
            return True
        self._waiting.setdefault(task.target, {})[task.number] = task
        return False

    def most(self, task: Task, workers: int) -> int:
        """How many of `workers` may run chunks of `task` at once, at least 1."""
        if task.workers_max is None and self._per_target_max is None:
            return max(1, workers)
        caps = [workers]
        if task.workers_max is not None:
            caps.append(task.workers_max)
        if self._per_target_max is not None and task.target is not None:
            caps.append(self._per_target_max)
        return max(1, min(caps))
