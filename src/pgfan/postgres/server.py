"""What kind of server this is: its version, whether it can be written to, how much room it has.

A server that pgfan does not support on purpose is refused or run serially, never taken for plain
PostgreSQL by accident.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import UsageError
from pgfan.postgres.activity import CONNECTIONS_FREE, SESSIONS

if TYPE_CHECKING:
    from pgfan.postgres.session import PostgresSession

VERSION_MIN = 140000
_FORKS = re.compile(r"-YB-|Greenplum|Redshift|CockroachDB|Materialize|Aurora DSQL", re.IGNORECASE)
_PROBE = f"""
WITH session AS MATERIALIZED ({SESSIONS})
SELECT pg_catalog.version(), pg_catalog.current_setting('server_version_num'),
    pg_catalog.pg_is_in_recovery(), pg_catalog.pg_backend_pid(),
    pg_catalog.current_setting('standard_conforming_strings'),
    EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'citus'),
    ({CONNECTIONS_FREE}) + 1,
    pg_catalog.current_database(), CURRENT_USER"""
_TRANSACTION_TIME = (
    "SELECT pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.now()), "
    "'YYYY-MM-DD HH24:MI:SS.US') || '+00'"
)


class ServerFacts(Struct, frozen=True):
    """`connections_free` counts this session's own; `refuses_split` says why nothing is split."""

    version_num: int
    connections_free: int
    database: str
    user: str
    refuses_split: str | None


def probe_server(session: PostgresSession) -> ServerFacts:
    """Look at the server; raises UsageError for one that pgfan cannot work on."""
    row = session.execute(_PROBE)[0].rows[0]
    version, number, standby, pid, strings, citus, free, database, user = (
        value or "" for value in row
    )
    if int(number) < VERSION_MIN:
        raise UsageError(
            f"the server is {version.split(' on ')[0]}; pgfan needs PostgreSQL 14 or newer",
            hint="ctid ranges, which pgfan splits on, came with PostgreSQL 14",
        )
    if standby == "t":
        raise UsageError("the server is a standby: it cannot be written to", hint="use its primary")
    if int(pid) != session.backend_pid:
        raise UsageError(
            "a connection pooler stands between pgfan and the server",
            hint="connect to the server itself: locks and snapshots belong to a session",
        )
    if strings != "on":
        raise UsageError(
            "standard_conforming_strings is off: SQL text means something else than pgfan reads",
            hint="ALTER ROLE ... SET standard_conforming_strings = on",
        )
    return ServerFacts(int(number), int(free), database, user, _refusal(version, citus == "t"))


def transaction_time(session: PostgresSession) -> str:
    """The server's now(), as text that every session reads alike: to the microsecond, in UTC."""
    return session.execute(_TRANSACTION_TIME)[0].rows[0][0] or ""


def _refusal(version: str, citus: bool) -> str | None:
    if citus:
        return "the database has Citus: pgfan does not split statements there yet"
    if _FORKS.search(version) or not version.startswith("PostgreSQL "):
        return f"the server is not plain PostgreSQL: {version[:60]}"
    return None
