"""Chunks in one session: journal row, work, COMMIT, and what to make of an error in any of them.

A chunk takes two messages: BEGIN, its row and the statement; then the row's figures and COMMIT.
An error in the first leaves nothing behind. A connection that breaks in the second leaves a doubt,
which the same chunk run again settles: its row is there, or it is not. In a batch the closing of
one chunk travels with the opening of the next, so that a short chunk costs one round trip.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from pgfan.errors import (
    ConnectionFailedError,
    ConnectionLostError,
    DatabaseError,
    InternalError,
    PgfanError,
)
from pgfan.execute.cancelling import CancelGate
from pgfan.execute.generating import SEPARATOR, run_generating, said
from pgfan.execute.salvage import is_row_error, salvage
from pgfan.plan.sqlstate import (
    NOT_IN_A_TRANSACTION_BLOCK,
    QUERY_CANCELED,
    TOO_MANY_CONNECTIONS,
    disposition_of,
)
from pgfan.ports import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.plan.messages import Disposition
    from pgfan.plan.ranges import Range
    from pgfan.ports import Clock, Journal, PreparedTask, Rejects, Session

ROLLED_BACK = "25P02"
SNAPSHOT = "SET TRANSACTION SNAPSHOT"
_TIMEOUT = (
    "SELECT setting FROM pg_catalog.pg_settings "
    "WHERE name OPERATOR(pg_catalog.=) 'statement_timeout'"
)


class ChunkDoneReport(Struct, frozen=True):
    """A chunk is committed, now or (`duplicate`) before."""

    rows: int | None
    seconds: float
    results: tuple[Result, ...] = ()
    notices: tuple[tuple[str, str], ...] = ()
    duplicate: bool = False


class ChunkErrorReport(Struct, frozen=True):
    """A chunk is not committed, or in doubt; `no_connection` when the server had none to give."""

    error: PgfanError
    disposition: Disposition
    notices: tuple[tuple[str, str], ...] = ()
    no_connection: bool = False
    statement: int = 0
    """Which of the task's statements failed, from 0."""


Report: TypeAlias = ChunkDoneReport | ChunkErrorReport


def run_chunks(
    session: Session,
    journal: Journal | None,
    task: PreparedTask,
    pieces: Sequence[Range],
    clock: Clock,
    gate: CancelGate | None = None,
) -> tuple[Report, ...]:
    """Run `pieces` one after the other, each in its own transaction, until one fails.

    One report for each piece that was begun, in order; whatever happens is in a report, and only
    bugs of pgfan's own raise. While the pieces run they may be cancelled through `gate`.
    """
    gate = gate or CancelGate(session)
    try:
        return _Batch(session, journal, task, clock, gate).run(pieces)
    finally:
        gate.close()


class _Worked(Struct, frozen=True):
    """A chunk whose work is done and whose COMMIT has not been sent."""

    piece: Range
    report: ChunkDoneReport
    closing: str
    """The statements that end it, each with its semicolon, COMMIT last."""


class _Batch:
    def __init__(
        self,
        session: Session,
        journal: Journal | None,
        task: PreparedTask,
        clock: Clock,
        gate: CancelGate,
    ) -> None:
        self._session = session
        self._gate = gate
        self._journal = journal
        self._task = task
        self._clock = clock
        self._reports: list[Report] = []
        # Statements in the opening of a chunk (BEGIN, its snapshot, its row), and in its closing.
        journaled = journal is not None
        self._opening_length = 1 + (SNAPSHOT in task.begin) + journaled
        self._closing_length = 1 + journaled

    def run(self, pieces: Sequence[Range]) -> tuple[Report, ...]:
        worked: _Worked | None = None
        for piece in pieces:
            worked = self._work(piece, worked)
            if worked is None:
                self._settle_settings()
                return tuple(self._reports)
        if worked is not None:
            self._commit(worked)
        self._settle_settings()
        return tuple(self._reports)

    def _settle_settings(self) -> None:
        """A SET outlasts its task; the session must know, to undo it for tasks that come before."""
        task = self._task
        last = self._reports[-1]
        # A duplicate was done on another connection.
        if task.leaves and isinstance(last, ChunkDoneReport) and not last.duplicate:
            self._session.assume(task.settings + task.leaves)

    def _work(self, piece: Range, before: _Worked | None) -> _Worked | None:
        """Commit the chunk `before` and do the work of `piece`; None when the batch ends here."""
        task, journal = self._task, self._journal
        body = (task.plan.split.statement(piece),) if task.plan.split else task.statements
        closing = before.closing if before is not None else ""
        opening = task.begin
        if journal is not None and task.row is not None:
            opening += journal.claim_tasks((task.row,))
        elif journal is not None:
            opening += journal.claim(task.key, piece.lo, piece.hi, unlogged=task.plan.unlogged)
        began_s = self._clock.now_s()
        try:
            self._session.prepare(task.settings)
            self._gate.open()
            results = self._send(closing + opening, body, piece)
        except ConnectionLostError as error:
            error.in_doubt = before is not None
            self._reports.append(self._lost(error))
            return None
        except DatabaseError as error:
            error.completed -= self._closing_length if before is not None else 0
            if error.completed < 0:
                self._reports.append(self._refused_commit(error))
                return None
            if before is not None:
                self._reports.append(before.report)
            _relocate(error, closing + opening, body)
            failed = max(0, error.completed - self._opening_length)
            if task.plan.statements:  # the user's text has no such place
                failed, error.statement_offset = 0, None
            seconds = self._clock.now_s() - began_s
            self._reports.append(self._refused(piece, error, failed, seconds))
            # A duplicate is done, and the batch could go on; it is too rare to be worth it.
            return None
        except PgfanError as error:
            self._reports.append(unreachable(error))
            return None
        if before is not None and not self._take_commit(before, results[self._closing_length - 1]):
            self._gate.close()
            with contextlib.suppress(PgfanError):
                self._session.rollback()
            return None
        return self._worked(piece, results, len(body), self._clock.now_s() - began_s)

    def _send(self, opening: str, body: Sequence[str], piece: Range) -> list[Result]:
        feed, sink, session = self._task.feed, self._task.sink, self._session
        if self._task.makes:
            return run_generating(session, self._task, opening)
        text = opening + SEPARATOR.join(body)
        if feed is not None:
            return session.copy_from(text, feed.blocks(piece))
        if sink is None:
            copies = (self._task.copies,) if self._task.copies else ()
            return session.execute(text, *copies)
        results: list[Result] = []

        def rows(take: Callable[[bytes], None]) -> int:
            results.extend(session.copy_to(text, take))
            return results[-1].row_count or 0

        sink.write(piece, rows)
        return results

    def _worked(
        self, piece: Range, results: list[Result], statements: int, seconds: float
    ) -> _Worked:
        task, journal = self._task, self._journal
        shown = 1 if task.plan.verdict == "native" else statements
        answers = tuple(results[len(results) - shown :])
        kept = task.keep(answers[-1].rows) if task.keep is not None else ""
        rows = answers[0].row_count if len(answers) == 1 else None
        if task.keep is not None:  # as psql, which shows the rows of such a query to nobody
            answers = tuple(Result(said(one)) for one in answers if said(one))
        report = ChunkDoneReport(rows, seconds, answers, self._notices())
        closing = "COMMIT;"
        if task.rolls_back:
            closing = "ROLLBACK;"
        elif journal is not None and task.row is not None:
            closing = journal.settle_task(task.row, rows, seconds) + closing
        elif journal is not None:
            unlogged = task.plan.unlogged
            closing = journal.settle(task.key, piece.lo, rows, seconds, unlogged=unlogged) + closing
        return _Worked(piece, report, kept + closing)

    def _commit(self, worked: _Worked) -> None:
        try:
            answers = self._session.execute(worked.closing)
        except ConnectionLostError as error:
            error.in_doubt = True
            self._reports.append(self._lost(error))
            return
        except DatabaseError as error:
            self._reports.append(self._refused_commit(error))
            return
        self._take_commit(worked, answers[-1])

    def _take_commit(self, worked: _Worked, answer: Result) -> bool:
        """Report a chunk by the tag that its COMMIT was answered with; whether it is done."""
        if answer.tag == "COMMIT" or self._task.rolls_back:
            self._reports.append(worked.report)
            return True
        failure = DatabaseError(
            f"COMMIT was answered with {answer.tag}: an error in the transaction had been "
            "swallowed, and nothing of it is stored",
            sqlstate=ROLLED_BACK,
        )
        self._reports.append(ChunkErrorReport(failure, "fatal", self._notices()))
        return False

    # Errors -------------------------------------------------------------------------------------

    def _lost(self, error: ConnectionLostError) -> ChunkErrorReport:
        return replace(lost(error, self._journal, self._task), notices=self._notices())

    def _refused_commit(self, error: DatabaseError) -> ChunkErrorReport:
        """An error in the closing of a chunk (a deferred constraint): all of it is rolled back."""
        disposition = disposition_of(error.sqlstate)
        cancelled = self._gate.close() and error.sqlstate == QUERY_CANCELED
        try:
            self._session.rollback()
            if cancelled:
                disposition = "cancelled"
            elif error.sqlstate == QUERY_CANCELED and not self._timed_out(math.inf):
                disposition = "fatal"
        except ConnectionLostError as lost:
            return self._lost(lost)
        except PgfanError as second:
            return unreachable(second)
        error.statement_offset = None
        return ChunkErrorReport(error, disposition, self._notices())

    def _refused(self, piece: Range, error: DatabaseError, failed: int, seconds: float) -> Report:
        """An error in the opening or the work of `piece`, in the task's statement `failed`."""
        task, journal = self._task, self._journal
        cancelled = self._gate.close() and error.sqlstate == QUERY_CANCELED
        try:
            self._session.rollback()
            if journal is not None and journal.is_duplicate(error):
                return self._duplicate(journal, piece)
            if task.plan.split is None and error.sqlstate in NOT_IN_A_TRANSACTION_BLOCK:
                return self._outside(piece, error)
            if task.rejects is not None and is_row_error(error):
                return self._salvaged(task.rejects, piece)
            disposition = disposition_of(error.sqlstate)
            # BEGIN; SET TRANSACTION SNAPSHOT: the second one failed.
            if cancelled:
                disposition = "cancelled"
            elif SNAPSHOT in task.begin and error.completed == 1:
                disposition = "renew"
            elif error.sqlstate == QUERY_CANCELED and not self._timed_out(seconds):
                disposition = "fatal"
        except ConnectionLostError as lost:
            return self._lost(lost)
        except PgfanError as second:
            return unreachable(second)
        if task.feed is not None:
            error = task.feed.explained(piece, error)
        return ChunkErrorReport(error, disposition, self._notices(), statement=failed)

    def _salvaged(self, rejects: Rejects, piece: Range) -> Report:
        """The chunk again, without its bad rows. Raises what the loop above knows about."""
        task, journal = self._task, self._journal
        if journal is None:
            raise InternalError("bad rows are kept in the journal, and there is none")
        began_s, unlogged = self._clock.now_s(), task.plan.unlogged
        claim = journal.claim(task.key, piece.lo, piece.hi, unlogged=unlogged)
        try:
            self._session.execute(task.begin + claim)
            loaded, rejected = salvage(self._session, task, rejects, piece)
        except DatabaseError as error:
            self._session.rollback()
            explained = task.feed.explained(piece, error) if task.feed else error
            return ChunkErrorReport(explained, disposition_of(error.sqlstate), self._notices())
        seconds = self._clock.now_s() - began_s
        report = ChunkDoneReport(loaded, seconds, (), self._notices())
        settle = journal.settle(task.key, piece.lo, loaded, seconds, unlogged=unlogged)
        self._commit(_Worked(piece, report, settle + "COMMIT;"))
        outcome = self._reports.pop()
        if isinstance(outcome, ChunkDoneReport):
            rejects.committed(rejected)
        return outcome

    def _duplicate(self, journal: Journal, piece: Range) -> ChunkDoneReport:
        """The row was there: the work is done. Another end would mean that it is done twice."""
        task = self._task
        if task.row is not None:
            return ChunkDoneReport(journal.rows_of(self._session, task.row), 0.0, duplicate=True)
        hi, rows = journal.chunk_of(self._session, task.key, piece.lo, unlogged=task.plan.unlogged)
        if hi != piece.hi:
            raise InternalError(f"the journal has [{piece.lo}, {hi}) where {piece} was to be done")
        return ChunkDoneReport(rows, 0.0, duplicate=True)

    def _outside(self, piece: Range, refusal: DatabaseError) -> Report:
        """A statement barred from transactions: nothing of it has run yet, so run it on its own.

        The journal says so first: if the client is lost now, nobody knows how it ended.
        """
        task, journal, session = self._task, self._journal, self._session
        if task.is_block or len(task.statements) != 1 or task.keep is not None:
            return ChunkErrorReport(refusal, "fatal", self._notices())
        try:
            if journal is not None:
                session.execute(journal.mark_outside(task.key))
            results = session.execute(task.statements[0])
            if journal is not None:
                claim = journal.claim(task.key, piece.lo, piece.hi, unlogged=task.plan.unlogged)
                session.execute(f"BEGIN;{claim}COMMIT")
        except DatabaseError as error:
            session.rollback()
            return ChunkErrorReport(error, "fatal", self._notices())
        except ConnectionLostError as error:
            error.in_doubt = True
            return ChunkErrorReport(error, "fatal")
        return ChunkDoneReport(results[-1].row_count, 0.0, tuple(results), self._notices())

    def _timed_out(self, seconds: float) -> bool:
        """Whether statement_timeout explains a cancel after `seconds`."""
        timeout_ms = float(self._session.execute(_TIMEOUT)[0].rows[0][0] or 0)
        return timeout_ms > 0 and seconds * 1000 >= timeout_ms

    def _notices(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._session.notices())


def lost(
    error: ConnectionLostError, journal: Journal | None, task: PreparedTask
) -> ChunkErrorReport:
    """What a lost connection means for work that may be in doubt."""
    # Without a journal nothing settles the doubt, nor tells what a crash took from a table.
    for_good = journal is None and (error.in_doubt or task.plan.unlogged)
    return ChunkErrorReport(error, "fatal" if for_good else "again")


def unreachable(error: PgfanError) -> ChunkErrorReport:
    """What it means that there is no connection."""
    if not isinstance(error, ConnectionFailedError):
        return ChunkErrorReport(error, "fatal")
    full = error.sqlstate == TOO_MANY_CONNECTIONS
    return ChunkErrorReport(error, "again" if full else "fatal", no_connection=full)


def _relocate(error: DatabaseError, prefix: str, body: Sequence[str]) -> None:
    """Count the error's place from the start of its own statement."""
    if error.statement_offset is None:
        return
    offset = error.statement_offset - len(prefix)
    for text in body:
        if offset <= len(text):
            break
        offset -= len(text) + len(SEPARATOR)
    error.statement_offset = offset if offset >= 0 else None
