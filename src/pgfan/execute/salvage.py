"""A chunk of a load that has bad rows: everything but those, in one transaction.

COPY says which line it refused. The records before it are copied on their own, that one is put
aside with the reason, and it goes on behind it, each step in a savepoint: every record is sent at
most twice, however many are bad. Where COPY names no line (a foreign key is checked at the end of
the statement) the records are halved until one is left. See "SAVEPOINT" in PostgreSQL's manual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.errors import DatabaseError, InternalError
from pgfan.load.feed import line_of
from pgfan.load.sources import FileError
from pgfan.ports import Rejected

if TYPE_CHECKING:
    from pgfan.load.record_index import RecordIndex
    from pgfan.plan.ranges import Range
    from pgfan.ports import PreparedTask, Rejects, Session

ROW_CLASSES = ("22", "23")
"""Data that no type takes, and constraints: errors of a row, not of the server."""
CONSTRAINTS = "23"
"""Some are checked at the end of the statement, and then no line is named."""
SAVEPOINT = "SAVEPOINT pgfan_salvage;"
RELEASE = ";RELEASE SAVEPOINT pgfan_salvage"
BACK = "ROLLBACK TO SAVEPOINT pgfan_salvage; RELEASE SAVEPOINT pgfan_salvage"


def is_row_error(error: DatabaseError) -> bool:
    """Whether it may be the fault of single rows: one that COPY names, or of a constraint."""
    if isinstance(error, FileError) or not error.sqlstate.startswith(ROW_CLASSES):
        return False
    return line_of(error) is not None or error.sqlstate.startswith(CONSTRAINTS)


def salvage(
    session: Session, task: PreparedTask, rejects: Rejects, piece: Range
) -> tuple[int, int]:
    """Copy what can be copied of `piece`, in the open transaction: rows loaded and rejected.

    The others are written to the journal by the same transaction. Raises DatabaseError when the
    error is not a row's, or there are more bad rows than the user allows.
    """
    if task.feed is None or task.plan.split is None:
        raise InternalError("there is nothing to salvage in a task that loads no files")
    index = task.feed.records(piece)
    command = task.plan.split.statement(piece)
    loaded, bad = 0, list[Rejected]()
    todo = [(0, len(index))]
    while todo:
        first, end = todo.pop()
        if first == end:
            continue
        error = _copied(session, command, index, (first, end))
        if isinstance(error, int):
            loaded += error
            continue
        line = line_of(error)
        at = index.record_at(first, line) if line is not None else None
        if end - first == 1:
            at = first
        if at is None or not first <= at < end:
            middle = (first + end) // 2
            todo += [(middle, end), (first, middle)]
            continue
        if end - first > 1:  # alone, the record may yet be good: a constraint looks at others too
            todo += [(at + 1, end), (at, at + 1), (first, at)]
            continue
        place = task.feed.place(piece, index.last_line(at))
        bad.append(Rejected(place, error.sqlstate, error.message, index.record(at)))
        rejects.check(len(bad))
    if loaded + len(bad) != len(index) and task.plan.verdict == "split":
        raise InternalError(f"{len(index)} rows read, {loaded} loaded, {len(bad)} rejected")
    session.execute(rejects.insert(task.key, piece.lo, bad))
    return loaded, len(bad)


def _copied(
    session: Session, command: str, index: RecordIndex, span: tuple[int, int]
) -> int | DatabaseError:
    """The rows that COPY took of some records, or why it took none."""
    try:
        results = session.copy_from(SAVEPOINT + command + RELEASE, index.blocks(*span))
    except DatabaseError as error:
        if not is_row_error(error):
            raise
        session.execute(BACK)
        return error
    return results[1].row_count or 0
