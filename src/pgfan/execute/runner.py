"""The one loop: it carries out the scheduler's commands and tells it what came of them.

Everything it touches comes in through `pgfan.ports`. It runs in the caller's thread and waits in
one place only, the queue of the workers' answers, where a signal handler may speak to it too.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias, assert_never

from pgfan import events
from pgfan.errors import PgfanError
from pgfan.execute.outcome import RunResult, TaskOutcome
from pgfan.execute.threads import WorkerAnswer, WorkerThreads
from pgfan.execute.worker import ChunkDoneReport, ChunkErrorReport, run_chunk
from pgfan.plan import messages
from pgfan.ports import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.plan.ranges import Range
    from pgfan.plan.scheduler import Scheduler
    from pgfan.ports import Clock, Coordinator, Journal, PreparedTask, Progress, Session

Report: TypeAlias = ChunkDoneReport | ChunkErrorReport
Reports: TypeAlias = tuple[Report, ...]
STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class TaskLabel:
    """How a task is named in events and results."""

    id: str
    source: str
    kind: str
    title: str


@dataclass(frozen=True)
class RunContext:
    """What a run needs of the world. `sessions` has one session for each worker."""

    run_id: str
    sessions: Sequence[Session]
    journal: Journal | None
    coordinator: Coordinator
    progress: Progress
    clock: Clock
    on_result: Callable[[int, Sequence[Result]], None]
    on_error: Callable[[int, PgfanError, int], PgfanError]
    """Task, error, index of its statement: the error with its place in the user's source."""
    resumed: bool = False


@dataclass
class _Running:
    prepared: PreparedTask
    began_s: float
    rows: int
    chunks: int
    counts: bool = False
    error: PgfanError | None = None


@dataclass(frozen=True)
class _Chunk:
    task: int
    pieces: tuple[Range, ...]
    attempt: int


class Runner:
    """Runs the tasks `labels` stand for, once. `interrupt` may be called from a signal handler."""

    def __init__(
        self, context: RunContext, scheduler: Scheduler, labels: Sequence[TaskLabel]
    ) -> None:
        self._context = context
        self._scheduler = scheduler
        self._labels = labels
        self._answers: SimpleQueue[WorkerAnswer[Reports] | None] = SimpleQueue()
        self._threads: WorkerThreads[Reports] = WorkerThreads(self._answers)
        self._tasks: dict[int, _Running] = {}
        self._chunks: dict[int, _Chunk] = {}
        self._outcomes: dict[int, TaskOutcome] = {}
        self._began_s = 0.0
        self._interrupts = 0
        self._cancelling = threading.Event()

    def interrupt(self) -> None:
        """The user wants to stop: once, what runs is finished; twice, it is cancelled."""
        self._answers.put(None)

    def run(self) -> RunResult:
        """Run to the end, or to the interruption."""
        self._began_s = self._context.clock.now_s()
        jobs = len(self._context.sessions)
        self._emit(
            events.RunStarted(self._context.run_id, jobs, len(self._labels), self._context.resumed)
        )
        try:
            self._carry_out(self._scheduler.handle(messages.Begin()))
            while not self._scheduler.is_over:
                self._wait()
        finally:
            self._cancelling.set()
            self._threads.stop(STOP_TIMEOUT_S)
        return self._result(jobs)

    # Commands -----------------------------------------------------------------------------------

    def _carry_out(self, commands: Sequence[messages.Command]) -> None:
        todo = deque(commands)
        while todo:
            todo.extend(self._obey(todo.popleft()))

    def _obey(self, command: messages.Command) -> Sequence[messages.Command]:
        match command:
            case messages.Prepare():
                return self._prepare(command.task)
            case messages.StartChunk():
                self._start(command)
                return ()
            case messages.Renew():
                return self._renew(command.task)
            case messages.Finish():
                return self._finish(command.task)
            case messages.Fail():
                self._fail(command.task)
                return ()
            case _:
                assert_never(command)

    def _prepare(self, number: int) -> Sequence[messages.Command]:
        began_s = self._context.clock.now_s()
        try:
            prepared = self._context.coordinator.prepare(number)
        except PgfanError as error:
            self._refuse(number, error, began_s)
            return self._scheduler.handle(messages.PrepareFailed(number))
        running = _Running(prepared, began_s, prepared.rows_done, prepared.chunks_done)
        running.counts = bool(prepared.chunks_done)
        self._tasks[number] = running
        if prepared.skipped:
            self._close(number, "skipped")
            return self._scheduler.handle(messages.Skipped(number))
        split = prepared.plan.split
        total = split.total if split else 1
        label = self._labels[number]
        self._emit(
            events.TaskStarted(
                label.id,
                label.source,
                label.kind,
                label.title,
                prepared.plan.verdict,
                split.key if split else None,
                split.unit if split else "rows",
                total,
                sum(len(piece) for piece in prepared.done),
                self._at_s(),
            )
        )
        return self._scheduler.handle(
            messages.Prepared(
                number,
                total,
                prepared.done,
                None if split else 0,
                split.rows_per_unit if split else 1.0,
            )
        )

    def _start(self, command: messages.StartChunk) -> None:
        context = self._context
        prepared = self._tasks[command.task].prepared
        session = context.sessions[command.worker]
        pieces = (command.piece, *command.more)
        self._chunks[command.worker] = _Chunk(command.task, pieces, command.attempt)

        def job() -> Reports:
            if command.delay_s:
                self._cancelling.wait(command.delay_s)
            reports: list[Report] = []
            for piece in pieces:
                report = run_chunk(session, context.journal, prepared, piece, context.clock)
                reports.append(report)
                if isinstance(report, ChunkErrorReport):
                    break
            return tuple(reports)

        label = self._labels[command.task]
        self._emit(
            events.ChunkStarted(
                label.id, command.worker, command.piece.lo, command.piece.hi, self._at_s()
            )
        )
        self._threads.submit(command.worker, job)

    def _renew(self, number: int) -> Sequence[messages.Command]:
        running = self._tasks[number]
        try:
            begin = self._context.coordinator.renew(number)
        except PgfanError as error:
            running.error = error
            return self._scheduler.handle(messages.PrepareFailed(number))
        running.prepared = replace(running.prepared, begin=begin)
        return self._scheduler.handle(messages.Renewed(number))

    def _finish(self, number: int) -> Sequence[messages.Command]:
        running = self._tasks[number]
        seconds = self._context.clock.now_s() - running.began_s + running.prepared.seconds_done
        rows = running.rows if running.counts or running.prepared.plan.split else None
        self._context.coordinator.finish(number, rows, running.chunks, seconds)
        if running.prepared.plan.split is not None:
            self._context.on_result(number, (Result(f"INSERT 0 {rows or 0}"),))
        self._close(number, "done")
        return self._scheduler.handle(messages.Finished(number))

    def _fail(self, number: int) -> None:
        running = self._tasks.get(number)
        if running is None:  # it never came to run: `_prepare` has said why
            return
        self._context.coordinator.fail(number, running.error)
        self._close(number, "failed")

    # Answers ------------------------------------------------------------------------------------

    def _wait(self) -> None:
        answer = self._answers.get()
        if answer is None:
            self._stop_or_cancel()
            return
        if answer.crash is not None:
            raise answer.crash
        chunk = self._chunks.pop(answer.worker)
        for piece, report in zip(chunk.pieces, answer.answer or (), strict=False):
            if isinstance(report, ChunkDoneReport):
                event = self._done(answer.worker, chunk.task, piece, report)
            else:
                event = self._failed(answer.worker, chunk, piece, report)
            self._carry_out(self._scheduler.handle(event))

    def _done(
        self, worker: int, task: int, piece: Range, report: ChunkDoneReport
    ) -> messages.Event:
        running = self._tasks[task]
        running.chunks += 1
        if report.rows is not None:
            running.rows += report.rows
            running.counts = True
        label = self._labels[task]
        self._tell(label, report.notices)
        self._emit(
            events.ChunkFinished(
                label.id,
                worker,
                piece.lo,
                piece.hi,
                report.rows,
                report.seconds,
                self._at_s(),
            )
        )
        if running.prepared.plan.split is None:
            self._context.on_result(task, report.results)
        return messages.ChunkDone(worker, report.seconds)

    def _failed(
        self, worker: int, chunk: _Chunk, piece: Range, report: ChunkErrorReport
    ) -> messages.Event:
        label = self._labels[chunk.task]
        self._tell(label, report.notices)
        if self._interrupts > 1:  # cancelled by the user: nothing is wrong with the task
            return messages.ChunkFailed(worker, "again")
        if report.no_connection:
            text = f"worker {worker} got no connection: {report.error.message}"
            self._emit(events.Message("warning", text, self._at_s()))
            self._tasks[chunk.task].error = report.error
            return messages.WorkerUnavailable(worker)
        error = self._context.on_error(chunk.task, report.error, report.statement)
        running = self._tasks[chunk.task]
        if running.error is None or report.disposition == "fatal":
            running.error = error
        if report.disposition != "fatal":
            self._emit(
                events.ChunkRetried(
                    label.id,
                    worker,
                    piece.lo,
                    piece.hi,
                    chunk.attempt,
                    0.0,
                    report.error.message,
                    self._at_s(),
                )
            )
        return messages.ChunkFailed(worker, report.disposition)

    def _stop_or_cancel(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            text = "stopping after the chunks that run now; once more cancels them"
            self._emit(events.Message("warning", text, self._at_s()))
            self._carry_out(self._scheduler.handle(messages.Drain()))
            return
        self._cancelling.set()
        for worker in self._chunks:
            self._context.sessions[worker].cancel()

    # Results ------------------------------------------------------------------------------------

    def _refuse(self, number: int, error: PgfanError, began_s: float) -> None:
        """A task that could not be prepared."""
        error = self._context.on_error(number, error, 0)
        self._context.coordinator.fail(number, error)
        label = self._labels[number]
        seconds = self._context.clock.now_s() - began_s
        self._outcomes[number] = TaskOutcome(
            label.id, label.source, label.kind, "failed", seconds=seconds, error=error
        )
        self._emit(
            events.TaskFinished(
                label.id, label.source, "failed", None, 0, seconds, error.message, self._at_s()
            )
        )

    def _close(self, number: int, state: events.TaskState) -> None:
        running = self._tasks[number]
        label = self._labels[number]
        plan = running.prepared.plan
        seconds = self._context.clock.now_s() - running.began_s
        rows = running.rows if running.counts or (plan.split and state == "done") else None
        error = running.error if state == "failed" else None
        self._outcomes[number] = TaskOutcome(
            id=label.id,
            source=label.source,
            kind=label.kind,
            state=state,
            verdict=plan.verdict,
            key=plan.split.key if plan.split else None,
            reasons=plan.reasons,
            hazards=plan.hazards,
            chunks=running.chunks,
            rows=rows,
            seconds=seconds,
            error=error,
        )
        text = error.message if error else None
        self._emit(
            events.TaskFinished(
                label.id,
                label.source,
                state,
                rows,
                running.chunks,
                seconds,
                text,
                self._at_s(),
            )
        )

    def _result(self, jobs: int) -> RunResult:
        for number, running in self._tasks.items():
            if number not in self._outcomes and running.chunks:
                self._close(number, "not run")  # interrupted: part of it is in the journal
        outcomes = []
        for number, label in enumerate(self._labels):
            not_run = TaskOutcome(label.id, label.source, label.kind, "not run")
            outcomes.append(self._outcomes.get(number, not_run))
        ok = all(outcome.state in {"done", "skipped"} for outcome in outcomes)
        interrupted = bool(self._interrupts) and not ok
        seconds = self._at_s()
        self._emit(events.RunFinished(self._context.run_id, ok, interrupted, seconds))
        return RunResult(self._context.run_id, ok, seconds, jobs, tuple(outcomes), interrupted)

    def _tell(self, label: TaskLabel, notices: Sequence[tuple[str, str]]) -> None:
        for severity, text in notices:
            self._emit(events.Notice(label.id, severity, text, self._at_s()))

    def _emit(self, event: events.Event) -> None:
        self._context.progress.emit(event)

    def _at_s(self) -> float:
        return self._context.clock.now_s() - self._began_s
