"""Locks that a session takes when it connects outlive statements that release all of them."""

from __future__ import annotations

import psycopg
import pytest

from pgfan.errors import RunLockedError
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


def test_whoever_took_it_meanwhile_has_it(dsn18: str, other: psycopg.Connection) -> None:
    session = PostgresSession(dsn18, guard)
    session.prepare(())
    session.execute("DISCARD ALL")
    assert may_take(other)
    with pytest.raises(RunLockedError):
        session.prepare(())
    session.close()
    other.close()
