"""Beginning a run, or taking over one that another client left unfinished.

A run is found again by the fingerprint of its script, its database and its user. Whoever works on
it holds the owner's lock (`pgfan.postgres.fence`); whoever comes second is told who is first.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import secrets
import socket
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from pgfan.errors import ResumeRefusedError, RunEndedError, RunLockedError, UsageError
from pgfan.postgres.deferred import restore_indexes
from pgfan.postgres.fence import disown, drive_out_workers, lock_key, own
from pgfan.postgres.journal import UNFINISHED, PostgresJournal
from pgfan.postgres.new_tables import drop_unfinished
from pgfan.postgres.records import RunRecord, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.postgres.server import ServerFacts
    from pgfan.postgres.session import PostgresSession

GONE = ("abandoned",)
# What changes the meaning of a statement without being in its text.
SESSION_SETTINGS = ("TimeZone", "DateStyle", "IntervalStyle", "search_path", "extra_float_digits")


class NewScript(Struct, frozen=True):
    """A script to run: its statements' texts tell it from others, `record` is kept to resume it.

    `run` is the id of the run that it begins. The same one may be begun again, when the connection
    was lost and nobody knows whether it has begun.
    """

    title: str
    texts: tuple[str, ...]
    record: dict[str, Any]
    run: str


class OpenRun(Struct, frozen=True):
    """A run that this client owns; `tasks` are those that had begun before, by number."""

    id: str
    owner: str
    tasks: dict[int, TaskRecord]
    resumed: bool
    terminated: int = 0
    """Backends of an earlier client that had to be ended."""


def fingerprint_of(texts: Sequence[str], server: ServerFacts) -> str:
    """SHA-256 over the exact texts of the statements, the database and the user."""
    parts = [*texts, server.database, server.user]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def client_name() -> str:
    """Who this client is, for people: user@host, process id."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no entry in the password database
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"


def begin_or_resume(
    session: PostgresSession,
    journal: PostgresJournal,
    script: NewScript,
    server: ServerFacts,
    *,
    restart: bool,
    first: Callable[[], None] | None = None,
) -> OpenRun:
    """The unfinished run of the same script, or a new one; this client owns it afterwards.

    `first`: what the transaction that begins a new run does besides. Raises RunLockedError when
    another client works on it, ResumeRefusedError when it began with other settings of the session.
    """
    fingerprint = fingerprint_of(script.texts, server)
    settings = session_settings(session)
    run, owner = script.run, secrets.token_hex(8)
    # Before its row is seen: whoever finds the row must meet the lock.
    own(session, run)
    # Two clients that start the same script at once: the second one sees the first one's row.
    # No flush: whatever the run does later is behind its row in the WAL, and is lost with it.
    session.execute(
        "BEGIN; SET LOCAL synchronous_commit = off; "
        f"SELECT pg_catalog.pg_advisory_xact_lock({lock_key('fingerprint', fingerprint)})"
    )
    found = journal.runs(session, fingerprint=fingerprint, states=UNFINISHED)
    own_row = [record for record in found if record.id == run]
    if own_row:  # of a COMMIT whose answer was lost
        session.execute("COMMIT")
        opened = take_over(session, journal, own_row[0], settings)
        if restart:
            _clear(session, journal, journal.runs(session, fingerprint=fingerprint, states=GONE))
        return replace(opened, resumed=False)
    if found and not restart:
        session.execute("COMMIT")
        try:
            return take_over(session, journal, found[0], settings)
        except RunEndedError:
            # What was to be resumed has ended meanwhile: this is a new run of the same script.
            return begin_or_resume(session, journal, script, server, restart=False)
    for record in found:
        _abandon(session, journal, record)
    record = RunRecord(
        id=run,
        fingerprint=fingerprint,
        title=script.title,
        state="running",
        client=client_name(),
        script=script.record,
        session=settings,
        started_at="",
        ended_at=None,
    )
    journal.insert_run(session, record, owner)
    if first is not None:
        first()
    session.execute("COMMIT")
    _clear(session, journal, found)
    return OpenRun(run, owner, {}, resumed=False)


def abandon(session: PostgresSession, journal: PostgresJournal, run: RunRecord) -> None:
    """Give an unfinished run up, for good; what was abandoned before is only cleared up again.

    Raises RunLockedError when another client works on it.
    """
    if run.state in UNFINISHED:
        session.execute("BEGIN")
        _abandon(session, journal, run)
        session.execute("COMMIT")
    _clear(session, journal, [run])


def _clear(session: PostgresSession, journal: PostgresJournal, runs: Sequence[RunRecord]) -> None:
    """Make sure that nobody works on abandoned runs, and drop the tables they had not finished."""
    for record in runs:
        drive_out_workers(session, record.id)
        drop_unfinished(session, journal, record.id)
        restore_indexes(session, journal, record.id)


def take_over(
    session: PostgresSession,
    journal: PostgresJournal,
    run: RunRecord,
    settings: dict[str, str] | None = None,
) -> OpenRun:
    """Become the owner of an unfinished run, and make sure that nobody else works on it.

    Raises RunLockedError when another client works on it, RunEndedError when one has ended it.
    """
    if run.state not in UNFINISHED:
        raise UsageError(f"run {run.id} is {run.state}", hint="`pgfan status` lists the runs")
    if not own(session, run.id):
        raise _locked(run)
    # Whoever had the lock until now may have ended the run.
    if not journal.runs(session, run=run.id, states=UNFINISHED):
        disown(session, run.id)
        raise RunEndedError(
            f"run {run.id} has ended meanwhile", hint="`pgfan status` lists the runs"
        )
    now = settings if settings is not None else session_settings(session)
    for name, value in run.session.items():
        if now.get(name, value) != value:
            raise ResumeRefusedError(
                f"run {run.id} began with {name} = {value!r}, and this session has {now[name]!r}",
                hint=f'set {name} as it was (PGOPTIONS="-c {name}=..."), or use --restart',
            )
    owner = secrets.token_hex(8)
    journal.take_over(session, run.id, owner, client_name())
    terminated = drive_out_workers(session, run.id)
    tasks = {task.number: task for task in journal.tasks(session, run.id)}
    return OpenRun(run.id, owner, tasks, resumed=True, terminated=terminated)


def session_settings(session: PostgresSession) -> dict[str, str]:
    """The settings of the connection that can change what a statement means."""
    values = ", ".join(f"pg_catalog.current_setting('{name}')" for name in SESSION_SETTINGS)
    row = session.execute(f"SELECT {values}")[0].rows[0]
    return {name: value or "" for name, value in zip(SESSION_SETTINGS, row, strict=True)}


def _abandon(session: PostgresSession, journal: PostgresJournal, run: RunRecord) -> None:
    key = lock_key("owner", run.id)
    taken = session.execute(f"SELECT pg_catalog.pg_try_advisory_xact_lock({key})")[0].rows
    if taken[0][0] != "t":
        session.rollback()
        raise _locked(run)
    journal.end_run(session, run.id, "abandoned")


def _locked(run: RunRecord) -> RunLockedError:
    return RunLockedError(
        f"run {run.id} is being worked on by {run.client} (since {run.started_at})",
        hint="wait for it, or stop that process; then run the same command again",
    )


def new_run_id() -> str:
    """Sorts by time, is short enough to type, and is unique without asking anybody."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + "-" + secrets.token_hex(4)
