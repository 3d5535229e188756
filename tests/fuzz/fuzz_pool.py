"""Connections that are used again: a new server process takes most of a small run's time.

What it takes is not the fork, it is the catalogue, which each process reads into its own cache; and
the plans of pgfan's large queries of the catalogue, which take longer to make than to run (the one
of relations 25 ms against 1.3). A connection that is lent has both, and is otherwise as good as
new: left to itself the server would plan anew for each list of names, since it takes that to be
cheaper. Nothing else on it is a prepared statement with parameters.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING
from unittest import mock

import psycopg
from psycopg import pq

from pgfan.postgres import catalog, server, unseen
from pgfan.postgres.session import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

IDLE_MAX = 8
_KEEP_PLANS = "SET plan_cache_mode = force_generic_plan"
_RENEW = (
    "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; "
    "SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD SEQUENCES; DISCARD TEMP; "
    f"{_KEEP_PLANS}"
)
"""DISCARD ALL without the plans."""
_PREPARED: tuple[tuple[ModuleType, str, list[str]], ...] = (
    (catalog, "RELATIONS", ["pg_catalog.text[]"]),
    (catalog, "FUNCTIONS", ["pg_catalog.text"]),
    (catalog, "OPERATORS", ["pg_catalog.text"]),
    (unseen, "UNSEEN", []),
    (server, "_PROBE", []),
)
"""Where each query stands, and the type of its `{names}`."""


class Pool:
    """Lends connections to the sessions of one database, from whatever thread."""

    def __init__(self) -> None:
        self._idle: list[psycopg.Connection] = []
        self._lock = threading.Lock()
        prepare = []
        for module, query, types in _PREPARED:
            text = vars(module)[query].replace("{names}", "$1")
            prepare.append(f"PREPARE {_name(query)} {_listed(types)} AS {text}")
        self._prepare = "; ".join([*prepare, _KEEP_PLANS]).encode()
        self._connect = PostgresSession._reach  # what is put in its place asks it

    def lend(self, session: PostgresSession) -> psycopg.Connection:
        """A connection as good as new, or a new one."""
        while (connection := self._taken()) is not None:
            if connection.pgconn.exec_(_RENEW.encode()).status == pq.ExecStatus.COMMAND_OK:
                while connection.pgconn.notifies() is not None:
                    pass
                return connection
            connection.close()
        connection = self._connect(session)
        connection.pgconn.exec_(self._prepare)
        return connection

    def give_back(self, session: PostgresSession) -> None:
        """In the place of `PostgresSession.close`."""
        connection, session._connection = session._connection, None
        if connection is None:
            return
        connection.remove_notice_handler(session._take_notice)
        fine = connection.pgconn.transaction_status == pq.TransactionStatus.IDLE
        with self._lock:
            if fine and len(self._idle) < IDLE_MAX:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        while (connection := self._taken()) is not None:
            connection.close()

    def _taken(self) -> psycopg.Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None


@contextmanager
def pooled() -> Iterator[None]:
    """Sessions share their connections within; all of them must be to one database."""
    pool = Pool()

    def reach(session: PostgresSession) -> psycopg.Connection:
        return pool.lend(session)

    def close(session: PostgresSession) -> None:
        pool.give_back(session)

    with ExitStack() as stack:
        stack.callback(pool.close)
        stack.enter_context(mock.patch.object(PostgresSession, "_reach", reach))
        stack.enter_context(mock.patch.object(PostgresSession, "close", close))
        for module, query, types in _PREPARED:
            arguments = _listed(["{names}" for _ in types])
            text = f"EXECUTE {_name(query)} {arguments}"
            stack.enter_context(mock.patch.object(module, query, text))
        yield


def _name(query: str) -> str:
    return f"fuzz_{query.lower()}"


def _listed(parts: list[str]) -> str:
    return f"({', '.join(parts)})" if parts else ""
