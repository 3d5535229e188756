"""Who may work on a run: one client, and never a backend that an earlier client left behind.

Two session-level advisory locks belong to a run. The owner's is held by the client's own idle
connection: it is free as soon as the client is gone. The workers' is held shared by every
connection that runs chunks: only when it can be had exclusively has the last orphan ended. A new
owner first changes the token in the run's row, so that a worker of the old client that connects
again meets either the lock or the wrong token.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from pgfan.errors import (
    ConnectionFailedError,
    DatabaseError,
    ResumeRefusedError,
    RunLockedError,
)
from pgfan.plan.sqlstate import LOCK_NOT_AVAILABLE, UNDEFINED_TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.session import PostgresSession

NO_TIMEOUTS = "SET statement_timeout = 0; SET lock_timeout = 0"
"""For sessions that run pgfan's own SQL only: the user's limits are for the user's statements."""
OWNER_WAIT_MS = 3000
"""A killed client's connection ends within milliseconds; a live client keeps it."""
ORPHANS_WAIT_MS = 5000
"""Orphans notice within client_connection_check_interval (1 s) that nobody listens."""
TERMINATED_WAIT_MS = 60_000


def no_timeouts(session: PostgresSession) -> None:
    """What the owner's session does first, before there is a run."""
    session.execute(NO_TIMEOUTS)


def lock_key(purpose: str, run: str) -> int:
    """The 64-bit key of an advisory lock."""
    digest = hashlib.sha256(f"pgfan {purpose} {run}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def own(session: PostgresSession, run: str) -> bool:
    """Take the owner's lock for the life of the session; False when another client has it."""
    return _lock(session, f"pg_advisory_lock({lock_key('owner', run)})", OWNER_WAIT_MS)


def disown(session: PostgresSession, run: str) -> None:
    """Give the owner's lock back."""
    session.execute(f"SELECT pg_catalog.pg_advisory_unlock({lock_key('owner', run)})")


def drive_out_workers(session: PostgresSession, run: str) -> int:
    """Make sure that no backend works on the run; the number that had to be terminated.

    Call it as the owner, after the token was changed. Raises ConnectionFailedError when a backend
    does not go.
    """
    key = lock_key("worker", run)
    take = f"pg_advisory_lock({key})"
    terminated = 0
    if not _lock(session, take, ORPHANS_WAIT_MS):
        high, low = (key >> 32) & 0xFFFF_FFFF, key & 0xFFFF_FFFF
        rows = session.execute(
            "SELECT l.pid, pg_catalog.pg_terminate_backend(l.pid) FROM pg_catalog.pg_locks l "
            "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
            f"AND l.classid = '{high}' AND l.objid = '{low}' "
            "AND l.database = (SELECT oid FROM pg_catalog.pg_database "
            "WHERE datname = pg_catalog.current_database())"
        )[0].rows
        terminated = len(rows)
        if not _lock(session, take, TERMINATED_WAIT_MS):
            pids = ", ".join(str(row[0]) for row in rows)
            raise ConnectionFailedError(
                f"backends of an earlier client still work on run {run} (pid {pids})",
                hint="SELECT pg_terminate_backend(pid) for them, then run the same command again",
            )
    session.execute(f"SELECT pg_catalog.pg_advisory_unlock({key})")
    return terminated


def worker_guard(
    journal: PostgresJournal | None, run: str, owner: str
) -> Callable[[PostgresSession], None]:
    """What a worker's session does first: take the shared lock, then check the token."""

    def guard(session: PostgresSession) -> None:
        if journal is None:
            return
        key = lock_key("worker", run)
        taken = session.execute(f"SELECT pg_catalog.pg_try_advisory_lock_shared({key})")[0].rows
        _still_owned(journal, session, run, owner, locked=taken[0][0] == "t")
        # What follows may read a table that an earlier statement filled and a crash has emptied.
        if session.reconnected and journal.vanished(session, run):
            raise ResumeRefusedError(
                "a crash of the server has emptied an unlogged table that this run had filled",
                hint="run the same command again: it fills the table anew and goes on from there; "
                "drop the table first if CREATE TABLE AS or SELECT INTO had made it",
            )

    return guard


def owner_guard(
    journal: PostgresJournal, run: str, owner: str
) -> Callable[[PostgresSession], None]:
    """What the owner's session does when it connects again: take its lock back, if it may."""

    def guard(session: PostgresSession) -> None:
        session.execute(NO_TIMEOUTS)
        _still_owned(journal, session, run, owner, locked=own(session, run))

    return guard


def _still_owned(
    journal: PostgresJournal, session: PostgresSession, run: str, owner: str, *, locked: bool
) -> None:
    """Raise RunLockedError when another client has the run, ResumeRefusedError when nobody can."""
    found: str | None = None
    if locked:
        try:
            found = journal.owner_of(session, run)
        except DatabaseError as error:
            if error.sqlstate != UNDEFINED_TABLE:
                raise
    if locked and found is None:
        raise ResumeRefusedError(
            f"run {run} is not in the journal of this server: it has been forgotten, or this is "
            "a standby that was promoted before the run had come to it",
            hint="run the same command again: a standby without the run has no rows of it either",
        )
    if found != owner:
        raise RunLockedError(f"another client has taken over run {run}")


def _lock(session: PostgresSession, call: str, wait_ms: int) -> bool:
    try:
        session.execute(
            f"BEGIN; SET LOCAL lock_timeout = {wait_ms}; SELECT pg_catalog.{call}; COMMIT"
        )
    except DatabaseError as error:
        session.rollback()
        if error.sqlstate == LOCK_NOT_AVAILABLE:
            return False
        raise
    return True
