"""The server process at the other end of a connection, when the network stops forwarding.

Nobody closes anything then. The client's kernel gives the connection up after a while
(`pgfan.postgres.conninfo` has libpq's parameters), the server's after hours unless it is told
otherwise; until then its process keeps its transaction and its locks, and a chunk that is tried
again waits for the journal row of the first try. So the server is told to look as often as the
client does, and a session that connects again ends the process that it had before.

A proxy that hangs still acknowledges every packet, and no kernel gives anything up. So after a long
silence another connection is asked whether the process is at work at all. See "TCP Settings",
pg_terminate_backend and pg_stat_activity in PostgreSQL's manual.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psycopg
from msgspec import Struct

from pgfan.errors import ConnectionLostError

if TYPE_CHECKING:
    from typing import LiteralString

LOOK_AFTER_S = 60.0
"""So long nothing is heard before the process at the other end is looked at, and between looks."""
DRIFT = 0.01
STARTS_S = 1.0
"""Two clocks may count a time so much differently, and by a second more."""
STANDING: LiteralString = """
SELECT COALESCE((
    SELECT CASE WHEN state OPERATOR(pg_catalog.~) '^idle'
            OR wait_event_type OPERATOR(pg_catalog.=) 'Client'
        THEN state_change::pg_catalog.text ELSE 'at work' END
    FROM pg_catalog.pg_stat_activity WHERE pid OPERATOR(pg_catalog.=) %s
), 'gone')"""
"""Since when a process has been waiting for its client."""
PARAMETERS = {
    "tcp_keepalives_idle": "keepalives_idle",
    "tcp_keepalives_interval": "keepalives_interval",
    "tcp_keepalives_count": "keepalives_count",
    "tcp_user_timeout": "tcp_user_timeout",
}
"""The server's setting, and the parameter of libpq that is the same thing at the other end."""


class Backend(Struct, frozen=True):
    """A server process that a session has had.

    `connected_s` is from time.monotonic(); `remote`: behind a network, not a Unix socket.
    """

    pid: int
    connected_s: float
    remote: bool


def backend_of(connection: psycopg.Connection) -> Backend:
    """The one behind a connection that has just been made."""
    remote = not connection.info.host.startswith(("/", "@"))
    return Backend(connection.pgconn.backend_pid, time.monotonic(), remote)


def as_watchful(connection: psycopg.Connection) -> dict[str, str]:
    """Settings that have the server notice a dead connection when the client would.

    None for what the user has left to libpq.
    """
    given = connection.info.get_parameters()
    return {name: given[key] for name, key in PARAMETERS.items() if given.get(key, "").isdigit()}


def end_sql(backend: Backend) -> str:
    """A query that ends `backend` where it is still there.

    Another process with its number has begun later than this session had its own; and it ends
    nobody but the same user's pgfan.
    """
    age_s = (1 - DRIFT) * (time.monotonic() - backend.connected_s) - STARTS_S
    return (
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
        f"WHERE pid OPERATOR(pg_catalog.=) {backend.pid} "
        "AND usename OPERATOR(pg_catalog.=) session_user "
        "AND datname OPERATOR(pg_catalog.=) pg_catalog.current_database() "
        "AND application_name OPERATOR(pg_catalog.=) "
        "pg_catalog.current_setting('application_name') "
        "AND pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) backend_start "
        f"OPERATOR(pg_catalog.>=) pg_catalog.make_interval(secs => {age_s:.6f})"
    )


class Silence:
    """A connection on which nothing is heard while an answer is waited for."""

    def __init__(self, dsn: str, backend: Backend) -> None:
        """`dsn` is for looking at `backend`, the process that owes the answer."""
        self._dsn = dsn
        self._backend = backend
        self._seen: str | None = None
        self._since_s = time.monotonic()

    def broken(self) -> None:
        """Something was heard."""
        self._seen, self._since_s = None, time.monotonic()

    def goes_on(self) -> None:
        """Nothing was heard for a moment more.

        Raises ConnectionLostError when the process is found gone, or waiting for its client, in two
        looks with nothing between them.
        """
        if time.monotonic() - self._since_s < LOOK_AFTER_S:
            return
        seen = self._look()
        if seen is not None and seen == self._seen:
            raise ConnectionLostError(
                "the server has answered, or never heard the question: nothing arrives any more"
            )
        self._seen, self._since_s = seen, time.monotonic()

    def _look(self) -> str | None:
        """What the process has been doing without a change; None when it is at work, or unknown."""
        try:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                row = connection.execute(STANDING, [self._backend.pid]).fetchone()
        except psycopg.Error:
            return None  # if the server is away, its end will be heard
        return None if row is None or row[0] == "at work" else str(row[0])
