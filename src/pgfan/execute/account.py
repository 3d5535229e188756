"""What became of each task, told as events while it happens and as a result at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from pgfan import events
from pgfan.errors import DatabaseError
from pgfan.execute.outcome import RunResult, TaskOutcome
from pgfan.sql.reasons import HAZARDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.errors import PgfanError
    from pgfan.execute.worker import ChunkDoneReport
    from pgfan.plan.ranges import Range
    from pgfan.plan.scaling import WorkersChange
    from pgfan.plan.task import TaskPlan
    from pgfan.ports import ChunksLost, Clock, PreparedTask, Progress

CRASH_SHUTDOWN = "57P02"
HEAVY_KINDS = frozenset({"insert", "update", "delete", "merge", "create table as"})
MAKES_TABLE = frozenset({"create table as", "select"})
"""Of statements that fill an unlogged table; a SELECT does so with INTO."""
QUIET_REASONS = frozenset({"not-insert-select", "small", "values"})
"""Nobody expects these to be split."""
NATIVELY = "by the server's own parallel plan, not split"


class TaskLabel(Struct, frozen=True):
    """How a task is named in events and results."""

    id: str
    source: str
    kind: str
    title: str


class RunningTask(Struct):
    """A task that was prepared: its totals so far, all runs together, and its first error."""

    prepared: PreparedTask
    began_s: float
    rows: int
    chunks: int
    counts: bool
    """Whether any of its statements counts rows."""
    error: PgfanError | None = None
    stragglers: int = 0
    """Chunks that were cancelled in this run so that idle workers could share them."""

    @property
    def rows_known(self) -> int | None:
        """Rows so far; None when its statements count none."""
        return self.rows if self.counts or self.prepared.plan.split else None


class RunAccount:
    """Keeps the books of one run. Called from the loop's thread alone."""

    def __init__(
        self,
        run_id: str,
        labels: Sequence[TaskLabel],
        progress: Progress,
        clock: Clock,
        order: Sequence[int] | None = None,
    ) -> None:
        """`labels` by number, and `order` for the result, may grow; None: as they are numbered."""
        self._run_id = run_id
        self._labels = labels
        self._order = order
        self._told = 0
        self._progress = progress
        self._clock = clock
        self._began_s = clock.now_s()
        self._tasks: dict[int, RunningTask] = {}
        self._outcomes: dict[int, TaskOutcome] = {}
        self._hazards_told: set[str] = set()

    def __getitem__(self, task: int) -> RunningTask:
        return self._tasks[task]

    def __contains__(self, task: int) -> bool:
        return task in self._tasks

    def has_ended(self, task: int) -> bool:
        """Whether it is known what became of a task."""
        return task in self._outcomes

    @property
    def is_well(self) -> bool:
        """Whether no task has failed so far."""
        return all(outcome.state in {"done", "skipped"} for outcome in self._outcomes.values())

    def at_s(self) -> float:
        """Seconds since the run began."""
        return self._clock.now_s() - self._began_s

    def say(self, level: Literal["debug", "info", "warning"], text: str) -> None:
        """Tell people something."""
        self._progress.emit(events.Message(level, text, self.at_s()))

    def run_started(self, jobs: int, *, resumed: bool) -> None:
        """The run begins."""
        self._told = len(self._labels)
        self._progress.emit(events.RunStarted(self._run_id, jobs, len(self._labels), resumed))

    def tasks_added(self) -> None:
        """Tasks may have appeared."""
        if len(self._labels) > self._told:
            self._told = len(self._labels)
            self._progress.emit(events.TasksAdded(self._told, self.at_s()))

    def workers_changed(self, change: WorkersChange) -> None:
        """There are more workers now, or fewer, or none."""
        self._progress.emit(events.WorkersChanged(change.workers, change.why, self.at_s()))

    def add(self, number: int, prepared: PreparedTask, began_s: float) -> None:
        """A task was prepared."""
        self._tasks[number] = RunningTask(
            prepared, began_s, prepared.rows_done, prepared.chunks_done, prepared.counts
        )

    def task_started(self, number: int, *, light: bool = False) -> None:
        """A task's chunks are about to start: say how it is run, and why so if it is not light."""
        label, prepared = self._labels[number], self._tasks[number].prepared
        split = prepared.plan.split
        self._progress.emit(
            events.TaskStarted(
                label.id,
                label.source,
                label.kind,
                label.title,
                prepared.plan.verdict,
                split.key if split else None,
                split.unit if split else "rows",
                prepared.plan.total,
                sum(len(piece) for piece in prepared.done),
                self.at_s(),
            )
        )
        if not light:
            self._explain(label, prepared.plan)

    def chunk_started(self, number: int, worker: int, piece: Range) -> None:
        """A worker takes a range."""
        label = self._labels[number]
        self._progress.emit(events.ChunkStarted(label.id, worker, piece.lo, piece.hi, self.at_s()))

    def chunk_done(self, number: int, worker: int, piece: Range, report: ChunkDoneReport) -> None:
        """A chunk is committed."""
        running, label = self._tasks[number], self._labels[number]
        running.chunks += 1
        if report.rows is not None:
            running.rows += report.rows
            running.counts = True
        self._progress.emit(
            events.ChunkFinished(
                label.id, worker, piece.lo, piece.hi, report.rows, report.seconds, self.at_s()
            )
        )

    def chunk_retried(
        self, number: int, worker: int, piece: Range, attempt: int, reason: str
    ) -> None:
        """A chunk failed in a way that may pass."""
        label = self._labels[number]
        self._progress.emit(
            events.ChunkRetried(
                label.id, worker, piece.lo, piece.hi, attempt, 0.0, reason, self.at_s()
            )
        )

    def chunk_cancelled(self, number: int, worker: int, piece: Range) -> None:
        """A straggler was cancelled, and idle workers share its range."""
        self._tasks[number].stragglers += 1
        label = self._labels[number]
        self._progress.emit(
            events.ChunkCancelled(label.id, worker, piece.lo, piece.hi, self.at_s())
        )

    def chunks_lost(self, number: int, lost: ChunksLost) -> None:
        """A crash of the server took chunks that were done."""
        running = self._tasks[number]
        running.rows, running.chunks = lost.rows, len(lost.done)
        self.say("warning", "the server crashed and lost chunks that were done: again with them")

    def notices(self, number: int, notices: Sequence[tuple[str, str]]) -> None:
        """What the server had to say with a chunk."""
        for severity, text in notices:
            self._progress.emit(events.Notice(self._labels[number].id, severity, text, self.at_s()))

    def refuse(self, number: int, error: PgfanError, began_s: float) -> None:
        """A task could not be prepared."""
        label = self._labels[number]
        seconds = self._clock.now_s() - began_s
        self._end(
            number,
            TaskOutcome(label.id, label.source, label.kind, "failed", seconds=seconds, error=error),
        )

    def leave_out(self, number: int, failed: int) -> None:
        """A task will not run, because one that it needs has failed."""
        label = self._labels[number]
        # A gate between them has no name.
        source = self._labels[failed].source if failed >= 0 else "a statement before it"
        reason = ("needs-failed", f"it waits for {source}, which was not done")
        self._end(
            number,
            TaskOutcome(label.id, label.source, label.kind, "not run", reasons=(reason,)),
        )

    def close(self, number: int, state: events.TaskState) -> None:
        """A task ended."""
        running, label = self._tasks[number], self._labels[number]
        plan = running.prepared.plan
        self._end(
            number,
            TaskOutcome(
                id=label.id,
                source=label.source,
                kind=label.kind,
                state=state,
                verdict=plan.verdict,
                key=plan.split.key if plan.split else None,
                reasons=plan.reasons,
                hazards=plan.hazards,
                chunks=running.chunks,
                rows=running.rows_known,
                seconds=self._clock.now_s() - running.began_s,
                stragglers=running.stragglers,
                error=running.error if state == "failed" else None,
            ),
        )

    def vanished(self, number: int) -> None:
        """A task that was done is no more. What it had made itself would be in its own way."""
        plan, kind = self._tasks[number].prepared.plan, self._labels[number].kind
        hint = "run the same command again: it does this statement anew"
        if plan.creates is not None or kind in MAKES_TABLE:
            hint = f"drop the table, which is empty now, then {hint}"
        self._tasks[number].error = DatabaseError(
            "a crash of the server has emptied the unlogged table that this statement had filled",
            sqlstate=CRASH_SHUTDOWN,
            hint=hint,
        )
        self.close(number, "failed")

    def conclude(self, jobs: int, *, interrupted: bool) -> RunResult:
        """The result; tasks that were stopped half way count as not run."""
        for number in self._tasks:
            if number not in self._outcomes:
                self.close(number, "not run")
        outcomes = []
        for number in self._order if self._order is not None else range(len(self._labels)):
            label = self._labels[number]
            not_run = TaskOutcome(label.id, label.source, label.kind, "not run")
            outcomes.append(self._outcomes.get(number, not_run))
        ok = all(outcome.state in {"done", "skipped"} for outcome in outcomes)
        stopped = interrupted and not ok
        seconds = self.at_s()
        left = sum(outcome.state == "not run" for outcome in outcomes)
        self._progress.emit(events.RunFinished(self._run_id, ok, stopped, seconds, left))
        return RunResult(self._run_id, ok, seconds, jobs, tuple(outcomes), stopped)

    def _end(self, number: int, outcome: TaskOutcome) -> None:
        self._outcomes[number] = outcome
        self._progress.emit(
            events.TaskFinished(
                outcome.id,
                outcome.source,
                outcome.state,
                outcome.rows,
                outcome.chunks,
                outcome.seconds,
                outcome.error.message if outcome.error else None,
                self.at_s(),
            )
        )

    def _explain(self, label: TaskLabel, plan: TaskPlan) -> None:
        """Why a statement that writes many rows is not split; what a split may change."""
        for code, text in plan.reasons:
            heavy = label.kind in HEAVY_KINDS and code not in QUIET_REASONS
            how = NATIVELY if plan.verdict == "native" else "on one connection"
            told = f"{label.source} {how}: {text} ({code})"
            self.say("info" if heavy else "debug", told)
        for code, text in plan.notes:
            self.say("warning", f"{label.source}: {text} ({code})")
        for hazard in plan.hazards:
            if hazard not in self._hazards_told:
                self._hazards_told.add(hazard)
                self.say("info", f"{hazard}: {HAZARDS.get(hazard, '')}")
