"""What the events of a run add up to so far: per task, and in all.

Whoever draws keeps one `RunTally`, applies every event to it and reads it whenever it draws.
Nothing here formats or writes. Applying an event costs about a microsecond: a run may emit
thousands of them in a second.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct, field

from pgfan.events import (
    ChunkCancelled,
    ChunkFinished,
    ChunkRetried,
    ChunkStarted,
    Notice,
    RunFinished,
    RunStarted,
    TaskFinished,
    TasksAdded,
    TaskStarted,
    WorkersChanged,
)
from pgfan.report.safe_text import clean, redact_dsn

if TYPE_CHECKING:
    from pgfan.events import Event

_RATE_WINDOW_S = 10.0
_SOURCE_CHARS_MAX = 200
_TITLE_CHARS_MAX = 100


class Rate:
    """Units per second over an exponentially decayed window.

    Each chunk adds its units and the time since the chunk before it; both sums fade by 1/e per
    window, so that a change of pace shows after a few chunks and one odd chunk does not.
    """

    def __init__(self, at_s: float) -> None:
        self._last_s = at_s
        self._gap_s = 0.0
        self._units = 0.0
        self._time_s = 0.0

    def add(self, units: int, at_s: float) -> None:
        """Count `units` as done between the call before and `at_s`."""
        gap_s = max(0.0, at_s - self._last_s)
        keep = math.exp(-gap_s / _RATE_WINDOW_S)
        self._units = self._units * keep + units
        self._time_s = self._time_s * keep + gap_s
        self._last_s, self._gap_s = at_s, gap_s

    def per_second(self, now_s: float) -> float | None:
        """The pace; None before anything was done. It sinks while nothing arrives."""
        silent_s = max(0.0, now_s - self._last_s)
        time_s = self._time_s + max(0.0, silent_s - 2 * self._gap_s)
        return self._units / time_s if self._units and time_s > 0 else None

    def eta_s(self, units_left: int, now_s: float) -> float | None:
        """Seconds to go; None before anything was done. It counts down between two chunks."""
        pace = self.per_second(now_s)
        if pace is None:
            return None
        silent_s = max(0.0, now_s - self._last_s)
        return max(0.0, units_left / pace - min(silent_s, 2 * self._gap_s))


class TaskTally(Struct, dict=True):
    """One task that has begun."""

    started: TaskStarted
    done_units: int
    rate: Rate
    rows: int = 0
    chunks: int = 0
    retries: int = 0
    shared: int = 0
    """Chunks that were cancelled so that idle workers could share them."""
    workers: set[int] = field(default_factory=set)
    """The workers that are busy with it."""

    @cached_property
    def source(self) -> str:
        """Where it stands, safe to show. Most tasks of a run with many are never shown."""
        return clean(self.started.source, _SOURCE_CHARS_MAX)

    @cached_property
    def title(self) -> str:
        """What it says, safe to show."""
        return safe_title(self.started.title or self.started.kind.upper())

    @property
    def label(self) -> str:
        """How the task is called in a line: `file.sql:3 INSERT INTO t`."""
        return f"{self.source} {self.title}".rstrip()

    @property
    def has_progress(self) -> bool:
        """Whether there is more to show than that it runs: a task of one unit has no middle."""
        return self.started.total_units > 1

    @property
    def fraction(self) -> float:
        """How much of it is done, from 0 to 1."""
        total = self.started.total_units
        return min(1.0, self.done_units / total) if total > 0 else 0.0

    def eta_s(self, now_s: float) -> float | None:
        """Seconds until it is done; None while that is anyone's guess."""
        left = max(0, self.started.total_units - self.done_units)
        return self.rate.eta_s(left, now_s) if self.has_progress else None


class RunTally:
    """All tasks: those running, in the order of their start, and how the others ended."""

    def __init__(self) -> None:
        self.run_id = ""
        self.tasks = 0
        self.over = False
        self.ended: Counter[str] = Counter()
        self.running: dict[str, TaskTally] = {}
        self.paused: str | None = None
        """Why nothing is begun at the moment; None while chunks may begin."""
        self._jobs = 0
        self._worker_task: dict[int, TaskTally] = {}

    @property
    def busy(self) -> int:
        """Workers that have a chunk in hand."""
        return len(self._worker_task)

    @property
    def jobs(self) -> int:
        """Workers that there are; more than that while those too many end their chunks."""
        return max(self._jobs, self.busy)

    def apply(self, event: Event) -> TaskTally | None:
        """Count `event`; returns the task that it belongs to, also when it has just ended."""
        match event:
            case ChunkStarted():
                return self._chunk_started(event)
            case ChunkFinished() | ChunkRetried() | ChunkCancelled():
                return self._chunk_ended(event)
            case TaskStarted():
                return self._task_started(event)
            case TaskFinished():
                return self._task_finished(event)
            case Notice():
                return self.running.get(event.task_id)
            case RunStarted():
                self.run_id, self._jobs, self.tasks = event.run_id, event.jobs, event.tasks
            case TasksAdded():
                self.tasks = event.tasks
            case WorkersChanged():
                self._jobs = event.workers
                self.paused = None if event.workers else event.why
            case RunFinished():
                self.over = True
        return None

    def _task_started(self, event: TaskStarted) -> TaskTally:
        task = TaskTally(event, event.done_units, Rate(event.at_s))
        self.running[event.task_id] = task
        return task

    def _chunk_started(self, event: ChunkStarted) -> TaskTally | None:
        before = self._worker_task.pop(event.worker, None)
        if before is not None:
            # Its chunk ended without an event of its own: cancelled and given back.
            before.workers.discard(event.worker)
        task = self.running.get(event.task_id)
        if task is not None:
            task.workers.add(event.worker)
            self._worker_task[event.worker] = task
        return task

    def _chunk_ended(
        self, event: ChunkFinished | ChunkRetried | ChunkCancelled
    ) -> TaskTally | None:
        task = self.running.get(event.task_id)
        if task is None:
            return None
        if event.worker in task.workers:
            task.workers.discard(event.worker)
            del self._worker_task[event.worker]
        if isinstance(event, ChunkRetried):
            task.retries += 1
            return task
        if isinstance(event, ChunkCancelled):
            task.shared += 1
            return task
        units = event.hi - event.lo
        task.done_units += units
        task.rows += event.rows or 0
        task.chunks += 1
        task.rate.add(units, event.at_s)
        return task

    def _task_finished(self, event: TaskFinished) -> TaskTally | None:
        self.ended[event.state] += 1
        task = self.running.pop(event.task_id, None)
        if task is not None:
            for worker in task.workers:
                self._worker_task.pop(worker, None)
        return task


def safe_title(title: str) -> str:
    """The first words of a title, without secrets, line breaks and runs of blanks."""
    shown = clean(redact_dsn(title), 4 * _TITLE_CHARS_MAX)
    return clean(" ".join(shown.split()), _TITLE_CHARS_MAX)
