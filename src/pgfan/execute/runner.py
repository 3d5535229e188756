"""The one loop: it carries out the scheduler's commands and tells it what came of them.

Everything it touches comes in through `pgfan.ports`. It runs in the caller's thread and waits in
one place only, the queue of the workers' answers, where a signal handler may speak to it too.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

from pgfan.errors import DatabaseError, InterruptedRunError, PgfanError
from pgfan.execute.account import RunAccount, TaskLabel
from pgfan.execute.bundle import run_bundle
from pgfan.execute.bundle_account import BundleAccount
from pgfan.execute.cancelling import CancelGate
from pgfan.execute.pinned import PinnedTasks, is_pinned
from pgfan.execute.sizes import sized
from pgfan.execute.staffing import LOOK_S, Staffing
from pgfan.execute.threads import WorkerAnswer, WorkerThreads
from pgfan.execute.upkeep import UpkeepSteps
from pgfan.execute.worker import ChunkDoneReport, ChunkErrorReport, Report, run_chunks
from pgfan.plan import messages
from pgfan.plan.scaling import Scaling, ScalingOptions
from pgfan.ports import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgfan.execute.context import RunContext
    from pgfan.execute.outcome import RunResult
    from pgfan.plan.ranges import Range
    from pgfan.plan.scheduler import Scheduler

STOP_TIMEOUT_S = 5.0
CANCEL_EVERY_S = 0.5
"""A worker that was still connecting, or between two messages, has not seen a cancel request."""
CANCELS_MAX = 2


class _Batch(Struct, frozen=True, eq=False):
    task: int
    pieces: tuple[Range, ...]
    attempt: int


class Runner:
    """Runs the tasks that `labels` name, once. `interrupt` may be called by a signal handler."""

    def __init__(
        self, context: RunContext, scheduler: Scheduler, labels: Sequence[TaskLabel]
    ) -> None:
        self._context = context
        self._scheduler = scheduler
        self._labels = labels
        self._account = RunAccount(
            context.run_id, labels, context.progress, context.clock, context.order
        )
        self._answers: SimpleQueue[WorkerAnswer[tuple[Report, ...]] | None] = SimpleQueue()
        self._threads: WorkerThreads[tuple[Report, ...]] = WorkerThreads(self._answers)
        most = len(context.sessions)
        scaling = context.scaling or Scaling(ScalingOptions(most, most, most))
        self._staffing = Staffing(
            scaling, self._account, context.clock, context.sampler, context.control
        )
        self._allowed = scaling.workers
        self._upkeep = UpkeepSteps(context, self._account)
        self._pinned = PinnedTasks(context.script_session or context.sessions[0])
        self._batches: dict[int, _Batch] = {}
        self._bundles = BundleAccount(
            self._account, context.clock, context.on_result, context.on_end
        )
        self._gates = [CancelGate(session) for session in context.sessions]
        self._asked = 0
        self._interrupts = 0
        self._cancelling = threading.Event()

    def interrupt(self) -> None:
        """The user wants to stop: once, what runs is finished; twice, it is cancelled.

        Three times, the loop is left at once: the journal holds what was done.
        """
        self._asked += 1
        self._answers.put(None)
        if self._asked > 1:  # the loop itself may be waiting for the server
            self._context.coordinator.cancel()

    def ask_more_workers(self, count: int) -> None:
        """The user wants so many more workers, or fewer; from a signal handler."""
        self._staffing.ask_more(count)

    def run(self) -> RunResult:
        """Run to the end, or to the interruption."""
        self._account.run_started(self._staffing.workers, resumed=self._context.resumed)
        for note in self._context.notes:
            self._account.say("warning", note)
        try:
            self._staffing.begin()
            self._staff()
            self._tell(messages.Begin())
            lost: frozenset[int] = frozenset()
            while True:
                while not self._scheduler.is_over:
                    self._wait()
                if self._asked or not (self._context.keep_going or self._account.is_well):
                    break
                lost |= self._scheduler.lost
                following = self._context.next_scheduler(max(1, self._allowed), lost)
                if following is None:
                    break
                self._account.tasks_added()
                self._scheduler = following
                self._tell(messages.WorkersAllowed(self._allowed))
                self._tell(messages.Begin())
        finally:
            self._cancelling.set()
            self._threads.stop(STOP_TIMEOUT_S)
            self._staffing.stop()
        for number in self._context.coordinator.vanished():
            self._account.vanished(number)
        result = self._account.conclude(self._staffing.workers_most, interrupted=self._asked > 0)
        return replace(result, analysed=tuple(self._upkeep.analysed))

    # Commands -----------------------------------------------------------------------------------

    def _tell(self, event: messages.Event) -> None:
        """Tell the scheduler and carry out what it answers.

        What follows from a command comes before the next one: a task that is prepared has its
        chunks started before another one is prepared.
        """
        todo = deque(self._handle(event))
        while todo:
            todo.extendleft(reversed(self._obey(todo.popleft())))

    def _handle(self, event: messages.Event) -> Sequence[messages.Command]:
        return self._scheduler.handle(event, self._context.clock.now_s())

    def _obey(self, command: messages.Command) -> Sequence[messages.Command]:
        match command:
            case messages.Prepare():
                return self._prepare(command.task)
            case messages.StartChunk():
                self._start(command)
                return ()
            case messages.CancelChunk():
                self._cancel(command.worker)
                return ()
            case messages.Renew():
                return self._renew(command.task)
            case messages.Finish():
                return self._finish(command.task)
            case messages.Fail():
                self._fail(command.task)
                return ()
            case messages.LeaveOut():
                self._leave_out(command)
                return ()
            case _:
                assert_never(command)

    def _prepare(self, number: int) -> Sequence[messages.Command]:
        if number < 0:  # a gate, which is nothing but an order between others, or upkeep
            has_work = self._upkeep.begin(number)
            return self._handle(
                messages.Prepared(number, 1) if has_work else messages.Skipped(number)
            )
        context, began_s = self._context, self._context.clock.now_s()
        try:
            prepared = context.coordinator.prepare(number)
        except PgfanError as error:
            placed = self._placed(number, error)
            context.coordinator.fail(number, placed)
            self._account.refuse(number, placed, began_s)
            context.on_end(number)
            return self._handle(messages.PrepareFailed(number))
        if prepared.members:
            self._bundles.add(number, prepared)
            return self._handle(sized(number, prepared))
        self._account.add(number, prepared, began_s)
        if prepared.skipped:
            self._account.close(number, "skipped")
            context.on_end(number)
            return self._handle(messages.Skipped(number))
        self._account.task_started(number)
        self._staffing.task_prepared(number, prepared.plan.split)
        return self._handle(sized(number, prepared))

    def _start(self, command: messages.StartChunk) -> None:
        context, session = self._context, self._context.sessions[command.worker]
        pieces, gate = (command.piece, *command.more), self._gates[command.worker]
        batch = _Batch(command.task, pieces, command.attempt)
        self._batches[command.worker] = batch
        if command.task < 0:
            self._threads.submit(command.worker, self._upkeep.job(command.task, session))
            return
        work: Callable[[], tuple[Report, ...]]
        if command.task in self._bundles:
            members = self._bundles.members(command.task, pieces)
            work = partial(run_bundle, session, context.journal, members, context.clock, gate)
        else:
            prepared = self._account[command.task].prepared
            session = self._pinned.session if is_pinned(prepared) else session
            work = partial(
                run_chunks, session, context.journal, prepared, pieces, context.clock, gate
            )
            if is_pinned(prepared):
                work = partial(self._pinned.run, command.task, prepared.needs, work)
            self._account.chunk_started(command.task, command.worker, command.piece)

        def job() -> tuple[Report, ...]:
            if command.delay_s:
                self._cancelling.wait(command.delay_s)
            if self._cancelling.is_set():
                return (ChunkErrorReport(InterruptedRunError("cancelled"), "again"),)
            gate.begin(batch)
            return work()

        self._staffing.chunk_started(command.worker, command.attempt)
        self._threads.submit(command.worker, job)

    def _cancel(self, worker: int) -> None:
        """Send the request from a thread of its own: it is a connection, and may take seconds."""
        request = self._gates[worker].cancel
        threading.Thread(target=request, args=(self._batches[worker],), daemon=True).start()

    def _renew(self, number: int) -> Sequence[messages.Command]:
        running = self._account[number]
        try:
            begin = self._context.coordinator.renew(number)
        except PgfanError as error:
            running.error = self._placed(number, error)
            return self._handle(messages.PrepareFailed(number))
        running.prepared = replace(running.prepared, begin=begin)
        return self._handle(messages.Renewed(number))

    def _finish(self, number: int) -> Sequence[messages.Command]:
        if number < 0 or number in self._bundles:  # its members' rows say so already
            return self._handle(messages.Finished(number))
        running = self._account[number]
        rows, seconds = running.rows_known, self._context.clock.now_s() - running.began_s
        try:
            lost = self._context.coordinator.finish(number, rows, running.chunks, seconds)
        except DatabaseError as error:
            running.error = self._placed(number, error)
            return self._handle(messages.FinishFailed(number))
        if lost is not None:
            self._account.chunks_lost(number, lost)
            return self._handle(messages.Reopened(number, lost.done))
        split = running.prepared.plan.split
        if split is not None:
            self._context.on_result(number, (Result(f"{split.tag} {rows or 0}"),))
        self._account.close(number, "done")
        self._context.on_end(number)
        return self._handle(messages.Finished(number))

    def _fail(self, task: int) -> None:
        for number in self._bundles.failed(task):
            self._end_failed(number)

    def _end_failed(self, number: int) -> None:
        if number in self._account:  # otherwise `_prepare` has said why
            left = self._context.coordinator.fail(number, self._account[number].error)
            if left is not None:
                self._account.say("warning", left)
            self._account.close(number, "failed")
            self._context.on_end(number)

    def _leave_out(self, command: messages.LeaveOut) -> None:
        if command.task >= 0:
            self._account.leave_out(command.task, command.failed)
            self._context.on_end(command.task)

    def _placed(self, number: int, error: PgfanError) -> PgfanError:
        """An error of the coordinator's, whose SQL the user has not written, at the statement."""
        if isinstance(error, DatabaseError):
            error.statement_offset = None
        return self._context.on_error(number, error, 0)

    # Answers ------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """For an answer, an interruption, or until something is due."""
        try:
            answer = self._answers.get(timeout=self._patience_s())
        except Empty:
            since_s = self._context.clock.now_s()
            if self._cancelling.is_set():
                self._cancel_batches()
            else:
                self._tell(messages.Tick())
        else:
            since_s = self._context.clock.now_s()
            if answer is None:
                self._stop_or_cancel()
            else:
                self._take_answer(answer)
        self._staffing.look()
        self._staff()
        self._staffing.staffed(since_s, self._scheduler.workers_busy)

    def _staff(self) -> None:
        """Have the scheduler know of a new number of workers."""
        if self._allowed != self._staffing.workers:
            self._allowed = self._staffing.workers
            self._tell(messages.WorkersAllowed(self._allowed))

    def _take_answer(self, answer: WorkerAnswer[tuple[Report, ...]]) -> None:
        if answer.crash is not None:
            raise answer.crash
        batch, reports = self._batches.pop(answer.worker), answer.answer or ()
        if batch.task < 0:
            self._tell(messages.ChunkDone(answer.worker, self._upkeep.ended(reports[0])))
            return
        self._staffing.batch_ended(answer.worker, batch.task, batch.pieces, reports)
        if batch.task in self._bundles:
            done = self._bundles.take(batch.task, answer.worker, batch.pieces, reports)
            if done:
                self._tell(messages.ChunkDone(answer.worker, 0.0, done))
            batch, reports = replace(batch, pieces=batch.pieces[done:]), reports[done:]
        for piece, report in zip(batch.pieces, reports, strict=False):
            number = self._bundles.task_of(batch.task, piece)
            self._account.notices(number, report.notices)
            if isinstance(report, ChunkDoneReport):
                event = self._done(answer.worker, batch.task, piece, report)
            else:
                event = self._failed(answer.worker, batch, piece, report)
                self._staff()
            self._tell(event)

    def _patience_s(self) -> float:
        """How long to wait for an answer before something is due."""
        if self._cancelling.is_set():
            return CANCEL_EVERY_S
        due_s = self._scheduler.look_again_s
        if due_s is None:
            return LOOK_S
        return min(LOOK_S, max(0.0, due_s - self._context.clock.now_s()))

    def _done(
        self, worker: int, task: int, piece: Range, report: ChunkDoneReport
    ) -> messages.Event:
        self._account.chunk_done(task, worker, piece, report)
        if self._account[task].prepared.plan.split is None:
            self._context.on_result(task, report.results)
        return messages.ChunkDone(worker, report.seconds)

    def _failed(
        self, worker: int, batch: _Batch, piece: Range, report: ChunkErrorReport
    ) -> messages.Event:
        task = self._bundles.task_of(batch.task, piece)
        if batch.task in self._bundles:
            self._bundles.begin(batch.task, piece, 0.0)
        running = self._account[task]
        if self._interrupts > 1:  # cancelled by the user: nothing is wrong with the task
            running.error = running.error or report.error
            return messages.ChunkFailed(worker, "again")
        if report.disposition == "cancelled":
            self._account.chunk_cancelled(task, worker, piece)
            return messages.ChunkFailed(worker, "cancelled")
        error = self._context.on_error(task, report.error, report.statement)
        if running.error is None or report.disposition == "fatal":
            running.error = error
        if report.no_connection:
            self._account.say("warning", f"worker {worker} gets no connection: {error.message}")
            self._staffing.refused(self._scheduler.workers_busy - 1)
            return messages.WorkerUnavailable(worker)
        if isinstance(report.error, DatabaseError):
            self._staffing.chunk_failed(report.error.sqlstate)
        if report.disposition != "fatal":
            self._account.chunk_retried(task, worker, piece, batch.attempt, error.message)
        return messages.ChunkFailed(worker, report.disposition)

    def _stop_or_cancel(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            self._account.say(
                "warning", "stopping after the chunks that run now; once more cancels them"
            )
            self._tell(messages.Drain())
            return
        self._cancelling.set()
        if self._interrupts > CANCELS_MAX:
            raise InterruptedRunError("interrupted while waiting for the server")
        self._cancel_batches()

    def _cancel_batches(self) -> None:
        self._cancel_sessions(self._batches)

    def _cancel_sessions(self, workers: Iterable[int]) -> None:
        for worker in workers:
            self._context.sessions[worker].cancel()
        if self._context.script_session is not None:
            self._context.script_session.cancel()
