"""The server process at the other end of a connection, when the network stops forwarding.

Nobody closes anything then. The client's kernel gives the connection up after a while
(`pgfan.postgres.conninfo` has libpq's parameters), the server's after hours unless it is told
otherwise; until then its process keeps its transaction and its locks, and a chunk that is tried
again waits for the journal row of the first try. So the server is told to look as often as the
client does, and a session that connects again ends the process that it had before. See "TCP
Settings" and pg_terminate_backend in PostgreSQL's manual.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import psycopg

PARAMETERS = {
    "tcp_keepalives_idle": "keepalives_idle",
    "tcp_keepalives_interval": "keepalives_interval",
    "tcp_keepalives_count": "keepalives_count",
    "tcp_user_timeout": "tcp_user_timeout",
}
"""The server's setting, and the parameter of libpq that is the same thing at the other end."""


class Backend(Struct, frozen=True):
    """A server process that a session has had; `connected_s` is from time.monotonic()."""

    pid: int
    connected_s: float


def backend_of(connection: psycopg.Connection) -> Backend:
    """The one behind a connection that has just been made."""
    return Backend(connection.pgconn.backend_pid, time.monotonic())


def as_watchful(connection: psycopg.Connection) -> dict[str, str]:
    """Settings that have the server notice a dead connection when the client would.

    None for a Unix socket, and for what the user has left to libpq.
    """
    if connection.info.host.startswith(("/", "@")):
        return {}
    given = connection.info.get_parameters()
    return {name: given[key] for name, key in PARAMETERS.items() if given.get(key, "").isdigit()}


def end_sql(backend: Backend) -> str:
    """A query that ends `backend` where it is still there.

    Another process with its number has begun later than this session had its own; and it ends
    nobody but the same user's pgfan.
    """
    age_s = time.monotonic() - backend.connected_s
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
