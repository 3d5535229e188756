"""Locks that a session takes when it connects outlive statements that release all of them."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from pgfan.errors import ResumeRefusedError, RunLockedError
from pgfan.postgres.fence import owner_guard, worker_guard
from pgfan.postgres.journal import PostgresJournal
from pgfan.postgres.session import PostgresSession

KEY = 4711


def guard(session: PostgresSession) -> None:
    taken = session.execute(f"SELECT pg_try_advisory_lock_shared({KEY})")[0].rows
    if taken[0][0] != "t":
        raise RunLockedError("somebody else has it")


@pytest.fixture
def other(dsn18: str) -> psycopg.Connection:
    return psycopg.connect(dsn18, autocommit=True)


def may_take(other: psycopg.Connection) -> bool:
    row = other.execute(f"SELECT pg_try_advisory_lock({KEY})").fetchone()
    assert row is not None
    return bool(row[0])


@pytest.mark.parametrize("statement", ["DISCARD ALL", "SELECT pg_advisory_unlock_all()"])
def test_it_is_taken_again_before_the_next_task(
    dsn18: str, other: psycopg.Connection, statement: str
) -> None:
    session = PostgresSession(dsn18, guard)
    session.prepare(())
    session.execute(statement)
    session.prepare(())
    assert not may_take(other)
    session.prepare((statement, "SET work_mem = '9MB'"))  # replayed for a later task
    assert not may_take(other)
    session.close()
    other.close()


@pytest.mark.parametrize("made", [False, True], ids=["no journal", "no row"])
def test_a_server_that_never_heard_of_the_run_is_told_from_another_client(
    dsn18: str, *, made: bool
) -> None:
    """As a standby may be that is promoted before everything has come to it."""
    journal = PostgresJournal("pgfan")
    if made:
        with closing(PostgresSession(dsn18)) as session:
            journal.create(session)
    for fence in (worker_guard, owner_guard):
        session = PostgresSession(dsn18, fence(journal, "some run", "me"))
        with pytest.raises(ResumeRefusedError, match="promoted before the run had come to it"):
            session.execute("SELECT 1")


def test_whoever_took_it_meanwhile_has_it(dsn18: str, other: psycopg.Connection) -> None:
    session = PostgresSession(dsn18, guard)
    session.prepare(())
    session.execute("DISCARD ALL")
    assert may_take(other)
    with pytest.raises(RunLockedError):
        session.prepare(())
    session.close()
    other.close()
