"""The journal's rows as values, and how they are read from text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from pgfan.plan.task import TaskPlan

if TYPE_CHECKING:
    from pgfan.plan.ranges import Range


class ResumeOptions(Struct, frozen=True):
    """What the user said about going on.

    `new_snapshot`: though the sources may have changed. `unknown`: what to do about a statement of
    unknown outcome: refuse, take it as done, or run it again.
    """

    new_snapshot: bool = False
    unknown: Literal["refuse", "done", "again"] = "refuse"


class RunRecord(Struct, frozen=True):
    """A run as the journal holds it; times are text as the server prints them."""

    id: str
    fingerprint: str
    title: str
    state: str
    client: str
    script: dict[str, Any]
    session: dict[str, str]
    started_at: str
    ended_at: str | None


class TaskRecord(Struct, frozen=True):
    """A task as the journal holds it."""

    key: int
    number: int
    state: str
    plan: TaskPlan
    sources: dict[str, Any] | None
    rows: int | None
    chunks: int | None
    seconds: float | None
    error: str | None


class ChunkTotals(Struct, frozen=True):
    """What the chunks of a task add up to."""

    done: tuple[Range, ...]
    rows: int
    seconds: float

    @property
    def chunks(self) -> int:
        """How many there are."""
        return len(self.done)


def run_record(row: tuple[str | None, ...]) -> RunRecord:
    """A row of the table `run`, in the order of RunRecord's fields."""
    run, fingerprint, title, state, client, script, settings, started_at, ended_at = row
    return RunRecord(
        id=run or "",
        fingerprint=fingerprint or "",
        title=title or "",
        state=state or "",
        client=client or "",
        script=json.loads(script or "{}"),
        session=json.loads(settings or "{}"),
        started_at=started_at or "",
        ended_at=ended_at,
    )


def task_record(row: tuple[str | None, ...]) -> TaskRecord:
    """A row of the table `task`, in the order of TaskRecord's fields."""
    key, number, state, plan, sources, rows, chunks, seconds, error = row
    return TaskRecord(
        key=int(key or 0),
        number=int(number or 0),
        state=state or "",
        plan=TaskPlan.from_json(json.loads(plan or "{}")),
        sources=json.loads(sources) if sources else None,
        rows=int(rows) if rows is not None else None,
        chunks=int(chunks) if chunks is not None else None,
        seconds=float(seconds) if seconds is not None else None,
        error=error,
    )
