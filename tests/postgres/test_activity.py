"""What a sample of the server counts: own and others, waits, what may not be seen, connections."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgfan.errors import PgfanError
from pgfan.postgres.activity import ActivitySampler
from pgfan.postgres.server import probe_server
from pgfan.postgres.session import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.plan.scaling import ServerLoad


LOOKS_MAX = 5_000
"""Each costs a millisecond or so."""


class Sessions:
    """Sessions of this client and of others, idle or in the middle of a statement."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._stack = ExitStack()

    def open(self, **connection: str) -> PostgresSession:
        session = PostgresSession(make_conninfo(self._dsn, **connection))
        self._stack.callback(session.close)
        session.execute("SELECT 1")
        return session

    def busy(self, session: PostgresSession, statement: str, state: str) -> None:
        """Have it run `statement` until the test ends; returns when it is in that state."""
        pid = session.backend_pid
        thread = threading.Thread(target=self._run, args=(session, statement), daemon=True)
        thread.start()
        self._stack.callback(thread.join, 10)
        self._stack.callback(session.cancel)
        with psycopg.connect(self._dsn, autocommit=True) as looking:
            found = f"SELECT {state} FROM pg_stat_activity WHERE pid = {pid}"
            for _ in range(LOOKS_MAX):
                if looking.execute(found.encode()).fetchone() == (True,):
                    return
        raise AssertionError(f"{statement} never got there")

    @staticmethod
    def _run(session: PostgresSession, statement: str) -> None:
        with suppress(PgfanError):  # it is cancelled in the end
            session.execute(statement)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def sessions(dsn: str) -> Iterator[Sessions]:
    found = Sessions(dsn)
    try:
        yield found
    finally:
        found.close()


def sample(
    dsn: str, workers: list[PostgresSession], own: list[PostgresSession] | None = None
) -> ServerLoad:
    sampler = ActivitySampler(dsn, workers, own or [])
    try:
        return sampler.sample()
    finally:
        sampler.close()


SLEEP = ("SELECT pg_sleep(60)", "wait_event = 'PgSleep'")
WAIT = ("SELECT FROM held", "wait_event_type = 'Lock'")


def test_active_sessions_are_counted_by_whose_they_are(dsn: str, sessions: Sessions) -> None:
    worker, owner, other, idle = (sessions.open() for _ in range(4))
    for session in (worker, owner, other):
        sessions.busy(session, *SLEEP)
    found = sample(dsn, [worker], [owner])
    assert (found.own, found.own_locked, found.own_saturated) == (1, 0, 0)
    assert (found.others, found.hidden) == (1, 0)
    assert idle.is_open


def test_a_session_that_waits_for_a_lock_is_no_load_and_a_worker_that_does_is_told(
    dsn: str, sessions: Sessions
) -> None:
    holder, worker, other = (sessions.open() for _ in range(3))
    holder.execute("CREATE TABLE held ()")
    holder.execute("BEGIN; LOCK TABLE held")
    for session in (worker, other):
        sessions.busy(session, *WAIT)
    found = sample(dsn, [worker])
    assert (found.own, found.own_locked, found.others) == (1, 1, 0)
    holder.execute("ROLLBACK")


def test_sessions_that_were_never_opened_are_nobody(dsn: str) -> None:
    assert sample(dsn, [PostgresSession(dsn)]).own == 0


def test_what_a_role_may_not_look_at_is_counted_as_hidden(dsn: str, sessions: Sessions) -> None:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute("CREATE ROLE looker LOGIN")
        try:
            other = sessions.open()
            sessions.busy(other, *SLEEP)
            blind = sample(make_conninfo(dsn, user="looker"), [])
            assert (blind.others, blind.hidden >= 2) == (0, True)  # `made` and `other`
            made.execute("GRANT pg_read_all_stats TO looker")
            seeing = sample(make_conninfo(dsn, user="looker"), [])
            assert (seeing.others, seeing.hidden) == (1, 0)
        finally:
            made.execute("DROP ROLE looker")


def free(dsn: str) -> int:
    session = PostgresSession(dsn)
    try:
        return probe_server(session).connections_free
    finally:
        session.close()


def test_connections_of_the_server_less_those_reserved_and_taken(
    dsn: str, sessions: Sessions
) -> None:
    before = free(dsn)
    with psycopg.connect(dsn) as looking:
        row = looking.execute(
            "SELECT current_setting('max_connections')::int "
            "- current_setting('superuser_reserved_connections')::int"
        ).fetchone()
    assert row is not None
    assert before <= row[0]
    worker, _other = sessions.open(), sessions.open()
    assert free(dsn) <= before - 2
    # The workers' own count as theirs; the sampler's does not.
    assert sample(dsn, [worker]).connections == sample(dsn, []).connections + 1


@pytest.mark.parametrize("limited", ["ROLE few", "DATABASE {database}"])
def test_the_limits_of_role_and_database_count(dsn: str, limited: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute("CREATE ROLE few LOGIN")
        try:
            what = limited.format(database=made.info.dbname)
            made.execute(f"ALTER {what} CONNECTION LIMIT 5".encode())
            taken = 1 if limited.startswith("DATABASE") else 0  # `made`
            assert free(make_conninfo(dsn, user="few")) == 5 - taken
            assert sample(make_conninfo(dsn, user="few"), []).connections == 4 - taken
            assert free(dsn) > 5  # superusers are exempt
        finally:
            made.execute("DROP ROLE few")
