"""One chunk: its journal row, its work, its COMMIT, and what to make of an error in any of them.

Two round trips: BEGIN, the row and the statement; then the row's figures and COMMIT. An error in
the first leaves nothing behind. A connection that breaks in the second leaves a doubt, which the
same chunk run again settles: its row is there, or it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfan.errors import (
    ConnectionFailedError,
    ConnectionLostError,
    DatabaseError,
    InternalError,
    PgfanError,
)
from pgfan.plan.sqlstate import (
    NOT_IN_A_TRANSACTION_BLOCK,
    QUERY_CANCELED,
    TOO_MANY_CONNECTIONS,
    disposition_of,
)

if TYPE_CHECKING:
    from pgfan.plan.messages import Disposition
    from pgfan.plan.ranges import Range
    from pgfan.ports import Clock, Journal, PreparedTask, Result, Session

ROLLED_BACK = "25P02"
SEPARATOR = "\n;"
"""A statement's text may end in a line comment."""
AT_COMMIT = -1
_TIMEOUT = (
    "SELECT setting FROM pg_catalog.pg_settings "
    "WHERE name OPERATOR(pg_catalog.=) 'statement_timeout'"
)


@dataclass(frozen=True)
class ChunkDoneReport:
    """A chunk is committed, now or (`duplicate`) before."""

    rows: int | None
    seconds: float
    results: tuple[Result, ...] = ()
    notices: tuple[tuple[str, str], ...] = ()
    duplicate: bool = False


@dataclass(frozen=True)
class ChunkErrorReport:
    """A chunk is not committed, or in doubt; `no_connection` when the server had none to give."""

    error: PgfanError
    disposition: Disposition
    notices: tuple[tuple[str, str], ...] = ()
    no_connection: bool = False
    statement: int = 0
    """Which of the task's statements failed, from 0."""


def run_chunk(
    session: Session, journal: Journal | None, task: PreparedTask, piece: Range, clock: Clock
) -> ChunkDoneReport | ChunkErrorReport:
    """Run one chunk in `session`, whatever happens; only bugs of pgfan's own raise."""
    started_s = clock.now_s()
    try:
        session.prepare(task.settings)
        return _transaction(session, journal, task, piece, clock)
    except DatabaseError as error:
        return _refused(session, journal, task, piece, (error, clock.now_s() - started_s))
    except ConnectionLostError as error:
        # Outside of a journal nothing can settle the doubt.
        lost_for_good = error.in_doubt and (journal is None or not task.begin)
        return ChunkErrorReport(error, "fatal" if lost_for_good else "again")
    except ConnectionFailedError as error:
        full = error.sqlstate == TOO_MANY_CONNECTIONS
        return ChunkErrorReport(error, "again", no_connection=full)
    except PgfanError as error:
        return ChunkErrorReport(error, "fatal")


def _transaction(
    session: Session, journal: Journal | None, task: PreparedTask, piece: Range, clock: Clock
) -> ChunkDoneReport:
    split = task.plan.split
    body = (split.statement(piece),) if split else task.statements
    prefix = task.begin
    unlogged = task.plan.unlogged
    if journal is not None:
        prefix += journal.claim(task.key, piece.lo, piece.hi, unlogged=unlogged)
    started_s = clock.now_s()
    try:
        results = session.execute(prefix + SEPARATOR.join(body))
    except DatabaseError as error:
        _relocate(error, prefix, body)
        raise
    seconds = clock.now_s() - started_s
    answers = tuple(results[len(results) - len(body) :])
    rows = answers[0].row_count if len(answers) == 1 else None
    if task.rolls_back:
        session.rollback()
        return ChunkDoneReport(None, seconds, answers, _notices(session))
    closing = ""
    if journal is not None:
        closing = journal.settle(task.key, piece.lo, rows, seconds, unlogged=unlogged)
    commit(session, closing)
    return ChunkDoneReport(rows, seconds, answers, _notices(session))


def commit(session: Session, closing: str) -> None:
    """Send `closing` and COMMIT. Raises DatabaseError when COMMIT became ROLLBACK."""
    try:
        answers = session.execute(f"{closing}COMMIT")
    except ConnectionLostError as error:
        error.in_doubt = True
        raise
    except DatabaseError as error:
        error.completed = AT_COMMIT
        raise
    if answers[-1].tag != "COMMIT":
        raise DatabaseError(
            f"COMMIT was answered with {answers[-1].tag}: an error in the transaction had been "
            "swallowed, and nothing of it is stored",
            sqlstate=ROLLED_BACK,
        )


def _refused(
    session: Session,
    journal: Journal | None,
    task: PreparedTask,
    piece: Range,
    failure: tuple[DatabaseError, float],
) -> ChunkDoneReport | ChunkErrorReport:
    error, seconds = failure
    try:
        session.rollback()
        if journal is not None and journal.is_duplicate(error):
            return _duplicate(session, journal, task, piece)
        if task.plan.split is None and error.sqlstate in NOT_IN_A_TRANSACTION_BLOCK:
            return _outside(session, journal, task, piece)
        disposition = disposition_of(error.sqlstate)
        # BEGIN; SET TRANSACTION SNAPSHOT: the second one failed.
        if "SNAPSHOT" in task.begin and error.completed == 1:
            disposition = "renew"
        elif error.sqlstate == QUERY_CANCELED and not _timed_out(session, seconds):
            disposition = "fatal"
    except ConnectionLostError as lost:
        return ChunkErrorReport(lost, "again")
    except PgfanError as second:
        return ChunkErrorReport(second, "fatal")
    failed = max(0, error.completed - _prefix_length(task, journal))
    return ChunkErrorReport(error, disposition, _notices(session), statement=failed)


def _prefix_length(task: PreparedTask, journal: Journal | None) -> int:
    return task.begin.count(";") + (journal is not None)


def _duplicate(
    session: Session, journal: Journal, task: PreparedTask, piece: Range
) -> ChunkDoneReport:
    """The row was there: the work is done. A row with another end would mean work done twice."""
    hi, rows = journal.chunk_of(session, task.key, piece.lo, unlogged=task.plan.unlogged)
    if hi != piece.hi:
        raise InternalError(f"the journal has [{piece.lo}, {hi}) where {piece} was to be done")
    return ChunkDoneReport(rows, 0.0, duplicate=True)


def _outside(
    session: Session, journal: Journal | None, task: PreparedTask, piece: Range
) -> ChunkDoneReport | ChunkErrorReport:
    """A statement barred from transactions: nothing of it has run yet, so run it on its own.

    The journal says so first: if the client is lost now, nobody knows how it ended.
    """
    if len(task.statements) != 1:
        raise DatabaseError("the statement cannot run inside a transaction block", sqlstate="25001")
    try:
        if journal is not None:
            session.execute(journal.mark_outside(task.key))
        results = session.execute(task.statements[0])
        if journal is not None:
            session.execute(
                "BEGIN;" + journal.claim(task.key, piece.lo, piece.hi, unlogged=False) + "COMMIT"
            )
    except DatabaseError as error:
        return ChunkErrorReport(error, "fatal", _notices(session))
    except ConnectionLostError as error:
        error.in_doubt = True
        return ChunkErrorReport(error, "fatal")
    return ChunkDoneReport(results[-1].row_count, 0.0, tuple(results), _notices(session))


def _timed_out(session: Session, seconds: float) -> bool:
    """Whether statement_timeout explains a cancel after `seconds`."""
    timeout_ms = float(session.execute(_TIMEOUT)[0].rows[0][0] or 0)
    return timeout_ms > 0 and seconds * 1000 >= timeout_ms


def _relocate(error: DatabaseError, prefix: str, body: tuple[str, ...]) -> None:
    """Count the error's place from the start of its own statement."""
    if error.statement_offset is None:
        return
    offset = error.statement_offset - len(prefix)
    for text in body:
        if offset <= len(text):
            break
        offset -= len(text) + len(SEPARATOR)
    error.statement_offset = offset if offset >= 0 else None


def _notices(session: Session) -> tuple[tuple[str, str], ...]:
    return tuple(session.notices())
