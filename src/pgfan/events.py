"""What a run tells the world while it goes on: frozen values, emitted in order by the one loop.

Here belong the event types only. Whoever shows them (a terminal, a log, a live page) lives in
`pgfan.report` and receives them through `pgfan.ports.Progress`. Times are seconds of the run's
monotonic clock since the run began; `units` are rows of a series or blocks of a heap.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

TaskState: TypeAlias = Literal["planned", "done", "skipped", "failed", "not run"]
Unit: TypeAlias = Literal[
    "rows", "blocks", "steps", "ranges", "cells", "units", "files", "MB", "pieces"
]


class RunStarted(Struct, frozen=True):
    """A run begins, or goes on: `resumed` means that the journal already held some of it."""

    run_id: str
    jobs: int
    tasks: int
    resumed: bool


class TasksAdded(Struct, frozen=True):
    """Tasks appeared while the run goes on: it has so many now."""

    tasks: int
    at_s: float


class TaskStarted(Struct, frozen=True):
    """A task's verdict is known and its first chunk is about to start.

    `total_units` is 1 for a serial task; `done_units` is what the journal already holds.
    """

    task_id: str
    source: str
    kind: str
    title: str
    verdict: Literal["split", "native", "serial"]
    key: str | None
    unit: Unit
    total_units: int
    done_units: int
    at_s: float


class ChunkStarted(Struct, frozen=True):
    """A worker takes [lo, hi) of a task."""

    task_id: str
    worker: int
    lo: int
    hi: int
    at_s: float


class ChunkFinished(Struct, frozen=True):
    """A chunk is committed. `rows`: what the statement touched; None where it has no count."""

    task_id: str
    worker: int
    lo: int
    hi: int
    rows: int | None
    seconds: float
    at_s: float


class ChunkRetried(Struct, frozen=True):
    """A chunk failed in a way that may pass; it runs again after `delay_s`."""

    task_id: str
    worker: int
    lo: int
    hi: int
    attempt: int
    delay_s: float
    reason: str
    at_s: float


class ChunkCancelled(Struct, frozen=True):
    """A straggler was cancelled and rolled back; idle workers do its range in pieces."""

    task_id: str
    worker: int
    lo: int
    hi: int
    at_s: float


class TaskFinished(Struct, frozen=True):
    """A task ended: done, skipped (the journal had it), failed, or not run."""

    task_id: str
    source: str
    state: TaskState
    rows: int | None
    chunks: int
    seconds: float
    error: str | None
    at_s: float


class Notice(Struct, frozen=True):
    """A NOTICE or WARNING that the server sent with a statement of `task_id`."""

    task_id: str
    severity: str
    message: str
    at_s: float


class Message(Struct, frozen=True):
    """Something a person should know: a hazard, a wait for the server, a change of workers."""

    level: Literal["debug", "info", "warning"]
    text: str
    at_s: float


class WorkersChanged(Struct, frozen=True):
    """From now on so many workers may be busy, none in a pause; `why` is a word or two."""

    workers: int
    why: str
    at_s: float


class RunFinished(Struct, frozen=True):
    """The run ended; `ok` is true when every task is done or skipped.

    `not_run` counts the tasks that were not run, those of which no event has told too.
    """

    run_id: str
    ok: bool
    interrupted: bool
    seconds: float
    not_run: int = 0


Event: TypeAlias = (
    RunStarted
    | TasksAdded
    | TaskStarted
    | ChunkStarted
    | ChunkFinished
    | ChunkRetried
    | ChunkCancelled
    | TaskFinished
    | Notice
    | Message
    | WorkersChanged
    | RunFinished
)
