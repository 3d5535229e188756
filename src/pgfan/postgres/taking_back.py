"""What a load that did not end leaves in its table: how much, how to be rid of it, and not twice.

Ranges of files commit one by one, so those before a bad row stay, where one COPY would leave
nothing. They are not deleted unasked: going on from them is what a large load wants. Who would
rather mend the file and begin anew is given one statement. A chunk's row in the journal is written
by the transaction that writes its rows, so they have the same xmin ("System Columns" in
PostgreSQL's manual), by which these rows and no others are found. The statement deletes both, and
then the task is one that has not begun. Not so where bad rows were put aside (`--reject`):
savepoints have transaction ids of their own. Nor in a database that was restored from a dump, or
once transaction ids have wrapped around: so the user runs it, and not pgfan.

Another load of the same files into the same table (with other options, with --restart, by a script
that was edited) does not go on from there: it would put these rows there twice, and is refused.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pgfan.errors import DatabaseError, ResumeRefusedError
from pgfan.postgres.journal import EQ

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.plan.task import TaskPlan
    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.records import TaskRecord
    from pgfan.postgres.session import PostgresSession

PUTS_ASIDE = "puts_aside"
"""In what the journal keeps of a load: whether bad rows may have been put aside."""


def left_by(
    session: PostgresSession,
    journal: PostgresJournal,
    key: int,
    plan: TaskPlan,
    *,
    plain: bool = True,
) -> str | None:
    """What a load that failed has left, in words; None when it has left nothing.

    `plain`: no bad rows were put aside.
    """
    if _target(plan) is None:
        return None
    totals = journal.chunks(session, key, unlogged=plan.unlogged)
    if not totals.rows:
        return None
    rows = "1 row" if totals.rows == 1 else f"{totals.rows:,} rows"
    left = f"{rows} of other ranges stay in the table: the same command loads the rest"
    return f"{left}. {_way_back(journal, key, plan)}" if plain else left


@contextmanager
def offered(journal: PostgresJournal, record: TaskRecord) -> Iterator[None]:
    """Add the way back, where there is one, to the hint of a ResumeRefusedError."""
    try:
        yield
    except ResumeRefusedError as error:
        if _target(record.plan) is not None and _is_plain(record.sources):
            error.hint = f"{error.hint}.\n{_way_back(journal, record.key, record.plan)}"
        raise


def refuse_twice(
    session: PostgresSession, journal: PostgresJournal, key: int | None, kept: dict[str, Any]
) -> None:
    """Raise ResumeRefusedError if rows of the files are there from a load that was not done.

    `key` and `kept` are those of the task that is about to begin; None: its run has not begun.
    """
    paths = {file["path"] for file in kept["files"]}
    for run, other in journal.unfinished_loads(session, key, kept["oid"]):
        sources = other.sources or {}
        both = paths & {file["path"] for file in sources.get("files", ())}
        totals = journal.chunks(session, other.key, unlogged=other.plan.unlogged)
        if both and totals.rows and _has_left_rows(session, journal, other):
            raise ResumeRefusedError(
                f"{min(both)}: {totals.rows:,} rows of a load that was not done are in the table, "
                "and would be there twice",
                hint=_ways_out(journal, run, other),
            )


def _ways_out(journal: PostgresJournal, run: str, other: TaskRecord) -> str:
    hint = f"pgfan resume {run} goes on with that one; pgfan forget {run} lets its rows be"
    if not _is_plain(other.sources):
        return hint
    return f"{hint}.\n{_way_back(journal, other.key, other.plan)}"


def _has_left_rows(session: PostgresSession, journal: PostgresJournal, record: TaskRecord) -> bool:
    target = _target(record.plan)
    if target is None:
        return False
    table = journal.chunk_table(unlogged=record.plan.unlogged)
    chunks = f"SELECT FROM {table} c WHERE c.task {EQ} '{record.key}' AND"
    query = f"{chunks} EXISTS (SELECT FROM {target})"
    if _is_plain(record.sources):
        query = f"SELECT FROM {target} t WHERE EXISTS ({chunks} c.xmin {EQ} t.xmin)"
    try:
        return session.execute(f"SELECT EXISTS ({query})")[0].rows == [("t",)]
    except DatabaseError:  # a role that may not read the table
        return True


def _way_back(journal: PostgresJournal, key: int, plan: TaskPlan) -> str:
    return (
        "This takes the rows out again, and then the same command begins anew:\n"
        f"WITH gone AS (DELETE FROM {journal.chunk_table(unlogged=plan.unlogged)} "
        f"WHERE task = {key} RETURNING xmin)\n"
        f"DELETE FROM {_target(plan)} WHERE xmin IN (SELECT xmin FROM gone)"
    )


def _target(plan: TaskPlan) -> str | None:
    """The table that files are loaded into, quoted; None for another task, or a table beside it."""
    split = plan.split
    if split is None or split.key != "file" or split.creates is not None:
        return None
    return split.target


def _is_plain(kept: dict[str, Any] | None) -> bool:
    return not (kept or {}).get(PUTS_ASIDE)
