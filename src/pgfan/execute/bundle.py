"""The light tasks of a bundle in one session: few messages, and each with the result of psql.

A message holds the transactions of several members, in order. Members that nothing can tell apart
share a transaction (`pgfan.sql.light`); every transaction begins with the journal's rows of its
members. Only the last COMMIT of all waits for the disk: the WAL is flushed in order, so everything
before it is durable then, and nothing is reported before that.

When something fails, those committed before it are done. The members of the transaction that failed
are run again, each on its own (`pgfan.execute.worker`), which finds out whose mistake it was, or
that an earlier client's connection had done them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pgfan.errors import ConnectionLostError, DatabaseError, PgfanError
from pgfan.execute.cancelling import CancelGate
from pgfan.execute.generating import SEPARATOR
from pgfan.execute.worker import (
    ChunkDoneReport,
    ChunkErrorReport,
    lost,
    run_chunks,
    unreachable,
)
from pgfan.plan.ranges import Range

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.execute.worker import Report
    from pgfan.ports import Clock, Journal, Member, Result, Session

ALL = Range(0, 1)
"""The domain of a task that is not split."""
NO_FLUSH = "SET LOCAL synchronous_commit = off;"


def run_bundle(
    session: Session,
    journal: Journal | None,
    members: Sequence[Member],
    clock: Clock,
    gate: CancelGate | None = None,
) -> tuple[Report, ...]:
    """Run `members`, which have the same settings, in order until one fails.

    One report for each that was begun; whatever happens is in a report, as of `run_chunks`.
    """
    gate = gate or CancelGate(session)
    return _Bundle(session, journal, clock, gate).run(members)


class _Bundle:
    def __init__(
        self, session: Session, journal: Journal | None, clock: Clock, gate: CancelGate
    ) -> None:
        self._session = session
        self._journal = journal
        self._clock = clock
        self._gate = gate
        self._reports: list[Report] = []

    def run(self, members: Sequence[Member]) -> tuple[Report, ...]:
        left, singly = list(transactions(members)), len(members) == 1
        while left:
            if not singly:
                committed, singly = self._together(left)
                del left[:committed]
                if self._has_failed:
                    break
            if left:
                self._one_by_one(left.pop(0))
                if self._has_failed:
                    break
        return tuple(self._reports)

    @property
    def _has_failed(self) -> bool:
        return bool(self._reports) and isinstance(self._reports[-1], ChunkErrorReport)

    def _together(self, left: Sequence[tuple[Member, ...]]) -> tuple[int, bool]:
        """Send all that is left; how many transactions are done, and whether to go on singly."""
        session, journal, began_s = self._session, self._journal, self._clock.now_s()
        failure: DatabaseError | None = None
        answers: list[Result] = []
        try:
            session.prepare(left[0][0].task.settings)
            self._gate.open()
            for message in messages(left):
                answers += session.execute(
                    "".join(self._text(each, is_last=each is left[-1]) for each in message)
                )
        except DatabaseError as error:
            failure = error
            answers += error.answers
        except ConnectionLostError as error:
            error.in_doubt = True
            self._reports.append(lost(error, journal, left[0][0].task))
            return 0, False
        except PgfanError as error:
            self._reports.append(unreachable(error))
            return 0, False
        finally:
            self._gate.close()
        reports = list(self._done(left, answers, self._clock.now_s() - began_s))
        try:
            if failure is not None:
                session.rollback()
                self._flush(left, reports)
        except PgfanError as error:
            again = ConnectionLostError(error.message)
            again.in_doubt = True
            self._reports.append(lost(again, journal, left[0][0].task))
            return 0, False
        self._correct(left, reports)
        for done in reports:
            self._reports += done
        # A message that was refused as a whole, or work that another connection has done.
        nothing = failure is not None and not failure.completed
        known = failure is not None and journal is not None and journal.is_duplicate(failure)
        return len(reports), nothing or known

    def _text(self, members: tuple[Member, ...], *, is_last: bool) -> str:
        claim = _claim(self._journal, members)
        work = SEPARATOR.join(text for member in members for text in member.task.statements)
        # Without a journal nobody could tell what a crash has taken.
        flush = "" if is_last or self._journal is None else NO_FLUSH
        return f"BEGIN;{claim}{work}{SEPARATOR}{flush}COMMIT;"

    def _done(
        self, left: Sequence[tuple[Member, ...]], answers: Sequence[Result], seconds: float
    ) -> Iterator[list[ChunkDoneReport]]:
        """The reports of each transaction that was committed."""
        journaled, at, share_s = self._journal is not None, 0, seconds / sum(map(len, left))
        for members in left:
            first = at + 1 + journaled
            at = first + len(members) + (journaled and members is not left[-1]) + 1
            if at > len(answers):
                return
            reports: list[ChunkDoneReport] = []
            for number in range(len(members)):
                answer = answers[first + number]
                notices = tuple(self._session.notices())  # the first one's, whosoever they are
                reports.append(ChunkDoneReport(answer.row_count, share_s, (answer,), notices))
            yield reports

    def _flush(
        self, left: Sequence[tuple[Member, ...]], done: Sequence[Sequence[ChunkDoneReport]]
    ) -> None:
        """Have what was committed on the disk; raises ConnectionLostError when it is not there."""
        row = left[len(done) - 1][-1].task.row if done else None
        if row is None or self._journal is None:
            return
        last = done[-1][-1]
        settle = self._journal.settle_task(row, last.rows, last.seconds)
        if self._session.execute(settle)[0].row_count != 1:
            raise ConnectionLostError("a crash of the server has taken what was done")

    def _correct(
        self, left: Sequence[tuple[Member, ...]], done: Sequence[Sequence[ChunkDoneReport]]
    ) -> None:
        """Where fewer rows were written than the text has, say so in the journal."""
        journal, corrections = self._journal, ""
        for members, reports in zip(left, done, strict=False):
            for member, report in zip(members, reports, strict=True):
                if journal is not None and member.task.row and report.rows != member.rows:
                    corrections += journal.settle_task(member.task.row, report.rows, report.seconds)
        if corrections:
            with contextlib.suppress(PgfanError):  # a figure, and nothing depends on it
                self._session.execute(corrections)

    def _one_by_one(self, members: tuple[Member, ...]) -> None:
        for member in members:
            self._reports += run_chunks(
                self._session, self._journal, member.task, (ALL,), self._clock, self._gate
            )
            if self._has_failed:
                return


def transactions(members: Sequence[Member]) -> Iterator[tuple[Member, ...]]:
    """The members in order, neighbours that share a transaction together."""
    sharing: list[Member] = []
    for member in members:
        if member.shares == "transaction":
            sharing.append(member)
            continue
        if sharing:
            yield tuple(sharing)
            sharing = []
        yield (member,)
    if sharing:
        yield tuple(sharing)


def messages(
    transactions: Sequence[tuple[Member, ...]],
) -> Iterator[tuple[tuple[Member, ...], ...]]:
    """Transactions in order; what shares nothing begins a message, whose time now() is."""
    message: list[tuple[Member, ...]] = []
    for each in transactions:
        if message and each[0].shares == "nothing":
            yield tuple(message)
            message = []
        message.append(each)
    yield tuple(message)


def _claim(journal: Journal | None, members: Sequence[Member]) -> str:
    rows = [member.task.row for member in members if member.task.row is not None]
    return journal.claim_tasks(rows) if journal is not None and rows else ""
