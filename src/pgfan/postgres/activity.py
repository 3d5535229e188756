"""What the server is doing now: one light query on pg_stat_activity, in a session of its own.

It never stands in the way of a commit, takes no lock and reads no table of anybody's. Sessions of
roles that this one may not look at have no state there ("The pg_stat_activity View" in PostgreSQL's
manual): they are counted as hidden, and as connections.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from pgfan.plan.scaling import ServerLoad
from pgfan.postgres.session import PostgresSession
from pgfan.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SESSIONS: LiteralString = """
SELECT pid, datid, usesysid, backend_type IS NULL AS hidden,
    COALESCE(state = 'active', false) AS active,
    COALESCE(wait_event_type = 'Lock' AND wait_event <> 'extend', false) AS locked,
    COALESCE(wait_event_type = 'IO' OR wait_event = 'extend' OR wait_event ILIKE 'wal%', false)
        AS saturated
FROM pg_catalog.pg_stat_activity
WHERE datid IS NOT NULL AND COALESCE(backend_type, 'client backend') = 'client backend'"""
"""Client sessions. `extend`: the lock under which files grow, which bulk writes queue for."""
CONNECTIONS_FREE: LiteralString = """
SELECT LEAST(
    pg_catalog.current_setting('max_connections')::pg_catalog.int4
        - pg_catalog.current_setting('superuser_reserved_connections')::pg_catalog.int4
        - COALESCE(pg_catalog.current_setting('reserved_connections', true), '0')::pg_catalog.int4
        - (SELECT pg_catalog.count(*) FROM session),
    CASE WHEN NOT r.rolsuper AND r.rolconnlimit >= 0 THEN
        r.rolconnlimit - (SELECT pg_catalog.count(*) FROM session WHERE usesysid = r.oid) END,
    CASE WHEN NOT r.rolsuper AND d.datconnlimit >= 0 THEN
        d.datconnlimit - (SELECT pg_catalog.count(*) FROM session WHERE datid = d.oid) END)
FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
WHERE r.rolname = SESSION_USER AND d.datname = pg_catalog.current_database()"""
"""How many more `session`s the server has room for: its own limit, the role's, the database's."""
_SAMPLE = f"""
WITH session AS MATERIALIZED ({SESSIONS})
SELECT pg_catalog.count(*) FILTER (WHERE worker AND active),
    pg_catalog.count(*) FILTER (WHERE worker AND active AND locked),
    pg_catalog.count(*) FILTER (WHERE worker AND active AND saturated),
    pg_catalog.count(*) FILTER (WHERE NOT ours AND active AND NOT locked),
    ({CONNECTIONS_FREE}) + pg_catalog.count(*) FILTER (WHERE worker),
    pg_catalog.count(*) FILTER (WHERE NOT ours AND hidden)
FROM (SELECT *, pid = ANY ({{workers}}) AS worker, pid = ANY ({{ours}}) AS ours FROM session) s"""
_SETTINGS = (
    "SET search_path = pg_catalog; SET statement_timeout = '5s'; SET lock_timeout = '5s'; "
    "SET application_name = 'pgfan sampler'"
)
PATIENCE_S = 0.0
"""A server that is away is waited for by the workers."""


class ActivitySampler:
    """Implements `pgfan.ports.Sampler`."""

    def __init__(
        self, dsn: str, workers: Sequence[PostgresSession], own: Sequence[PostgresSession]
    ) -> None:
        """`workers` run chunks, `own` are the run's other sessions; others count as others'."""
        self._session = PostgresSession(dsn, _settle, PATIENCE_S)
        self._workers = workers
        self._own = own

    def sample(self) -> ServerLoad:
        """See `pgfan.ports.Sampler.sample`."""
        workers = _pids(self._workers)
        _ = self._session.connection  # its own process is known from here on
        ours = [*workers, *_pids([*self._own, self._session])]
        sql = _SAMPLE.format(workers=_array(workers), ours=_array(ours))
        row = self._session.execute(sql)[0].rows[0]
        return ServerLoad(*(int(value or 0) for value in row))

    def cancel(self) -> None:
        """See `pgfan.ports.Sampler.cancel`."""
        self._session.cancel()

    def close(self) -> None:
        """See `pgfan.ports.Sampler.close`."""
        self._session.close()


def _settle(session: PostgresSession) -> None:
    session.execute(_SETTINGS)


def _pids(sessions: Iterable[PostgresSession]) -> list[int]:
    return [pid for session in sessions if (pid := session.last_pid) is not None]


def _array(pids: Iterable[int]) -> str:
    return literal("{" + ",".join(map(str, pids)) + "}") + "::pg_catalog.int4[]"
