"""The journal read and tidied: which runs there are, which one to go on with, which to forget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import RunLockedError, UsageError
from pgfan.postgres.deferred import restore_indexes
from pgfan.postgres.fence import own
from pgfan.postgres.journal import UNFINISHED, PostgresJournal
from pgfan.postgres.new_tables import drop_unfinished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.postgres.records import RunRecord
    from pgfan.postgres.session import PostgresSession


class RunStatus(Struct, frozen=True):
    """A run in the journal. `tasks_done` of `tasks` statements are done; times are the server's."""

    id: str
    state: str
    title: str
    client: str
    started_at: str
    ended_at: str | None
    tasks: int
    tasks_done: int
    chunks: int
    rows: int


def list_runs(session: PostgresSession, journal: PostgresJournal) -> list[RunStatus]:
    """All runs, newest first; none without a journal."""
    if not journal.exists(session):
        return []
    return [_status(session, journal, run) for run in journal.runs(session)]


def find_unfinished(
    session: PostgresSession, journal: PostgresJournal, run: str | None
) -> RunRecord:
    """The run to resume. Raises UsageError when there is none."""
    if run is not None:
        found = journal.runs(session, run=run)
        if not found:
            raise UsageError(f"there is no run {run}", hint="`pgfan status` lists the runs")
        return found[0]
    found = journal.runs(session, states=UNFINISHED)
    if not found:
        raise UsageError("no run is unfinished", hint="`pgfan status` lists the runs")
    return found[0]


def forget_runs(
    session: PostgresSession, journal: PostgresJournal, runs: Sequence[str] | None
) -> list[str]:
    """Delete `runs`, or with None the journal and all of them; the ids deleted.

    Tables that they had begun to fill under hidden names are dropped.
    """
    if not journal.exists(session):
        return []
    known = {run.id: run for run in journal.runs(session)}
    unknown = [run for run in runs or () if run not in known]
    if unknown:
        raise UsageError(f"there is no run {unknown[0]}", hint="`pgfan status` lists the runs")
    chosen = list(known) if runs is None else list(runs)
    for run in chosen:
        if known[run].state == "running" and not own(session, run):
            raise RunLockedError(f"run {run} is being worked on by {known[run].client}")
    for run in chosen:
        drop_unfinished(session, journal, run)
        restore_indexes(session, journal, run)
    if runs is None:
        journal.drop(session)
    else:
        for run in chosen:
            journal.forget(session, run)
    return chosen


def _status(session: PostgresSession, journal: PostgresJournal, run: RunRecord) -> RunStatus:
    records = journal.tasks(session, run.id)
    rows = chunks = 0
    for record in records:
        if record.state == "done":
            rows, chunks = rows + (record.rows or 0), chunks + (record.chunks or 0)
        else:
            totals = journal.chunks(session, record.key, unlogged=record.plan.unlogged)
            rows, chunks = rows + totals.rows, chunks + totals.chunks
    return RunStatus(
        id=run.id,
        state=run.state,
        title=run.title,
        client=run.client,
        started_at=run.started_at,
        ended_at=run.ended_at,
        tasks=int(run.script["tasks"]),
        tasks_done=sum(record.state == "done" for record in records),
        chunks=chunks,
        rows=rows,
    )
