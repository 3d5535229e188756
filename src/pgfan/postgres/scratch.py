"""A schema for a while: made under a random name, dropped at the end, swept up after a crash.

The session that makes it keeps an advisory lock for as long as it lives. A schema with our comment
whose lock is free was left behind by a client that is gone, and is dropped by the next one. The
same session holds the locks that keep the tables which are read from changing ("Explicit Locking"
in PostgreSQL's manual).
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, LiteralString

from pgfan.errors import DatabaseError, PgfanError
from pgfan.plan.sqlstate import LOCK_NOT_AVAILABLE
from pgfan.postgres.fence import lock_key
from pgfan.postgres.session import PostgresSession
from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = "pgfan_verify_"
COMMENT = (
    "pgfan verify: scratch tables, dropped when it ends; the next pgfan verify drops left-overs"
)
LOCK_WAIT_MS = 10_000
DROP_WAIT_MS = 60_000
PATIENCE_S = 10.0
"""With a server that is away; what is left then is dropped by the next one."""
TRANSACTION_TIMEOUT_SINCE = 170000
INSUFFICIENT_PRIVILEGE = "42501"
_QUIET = (
    "SET statement_timeout = 0; SET client_min_messages = warning; "
    "SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off; "
    "SET extra_float_digits = 1"
)
_LEFT_OVER: LiteralString = """
SELECT n.nspname FROM pg_catalog.pg_namespace n
WHERE pg_catalog.starts_with(n.nspname, {prefix})
    AND pg_catalog.obj_description(n.oid, 'pg_namespace') = {comment}
    AND pg_catalog.pg_has_role(n.nspowner, 'USAGE')"""


class Scratch:
    """One scratch schema, `name`, and the `session` that guards it."""

    def __init__(self, dsn: str) -> None:
        self.session = PostgresSession(dsn, _settle, PATIENCE_S)
        self.name = PREFIX + secrets.token_hex(6)
        self._is_made = False

    def make(self) -> list[str]:
        """Make the schema, once; the names of left-overs that were dropped first."""
        if self._is_made:
            return []
        session = self.session
        dropped = self._sweep()
        session.execute(f"SELECT pg_catalog.pg_advisory_lock({_key(self.name)})")
        # From here on it may be there, whatever the answer to the next message.
        self._is_made = True
        try:
            session.execute(
                f"BEGIN; CREATE SCHEMA {identifier(self.name)}; "
                f"COMMENT ON SCHEMA {identifier(self.name)} IS {literal(COMMENT)}; COMMIT"
            )
        except DatabaseError as error:
            session.rollback()
            if error.sqlstate == INSUFFICIENT_PRIVILEGE:
                error.hint = "pgfan verify makes a scratch schema: GRANT CREATE ON DATABASE"
            raise
        return dropped

    def lock(self, relations: Sequence[str]) -> None:
        """Keep everybody from writing to `relations` (quoted names) until `unlock`.

        Raises DatabaseError when that takes longer than LOCK_WAIT_MS, or is not allowed.
        """
        self.session.execute("BEGIN")
        if not relations:
            return
        try:
            self.session.execute(
                f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}; "
                f"LOCK TABLE {', '.join(relations)} IN SHARE MODE"
            )
        except DatabaseError as error:
            self.session.rollback()
            takes = ""
            if error.sqlstate == LOCK_NOT_AVAILABLE:
                error.message = (
                    f"no lock on {', '.join(relations)} within {LOCK_WAIT_MS // 1000} s: "
                    "another session writes there"
                )
            elif error.sqlstate == INSUFFICIENT_PRIVILEGE:
                error.message = (
                    f"the role may not lock {', '.join(relations)}, which both runs read: "
                    f"{error.message}"
                )
                takes = "a lock takes the right to UPDATE, DELETE or TRUNCATE; "
            error.hint = (
                f"{takes}--no-lock runs without: nobody may write to these tables meanwhile"
            )
            raise

    def unlock(self) -> None:
        """Let the locks go. Raises ConnectionLostError when they were lost meanwhile."""
        self.session.execute("COMMIT")

    def drop(self) -> None:
        """Drop the schema and end the session; on a new connection if that one was lost."""
        try:
            if self._is_made:
                with contextlib.suppress(PgfanError):
                    self.session.rollback()
                self.session.execute(_drop(self.name))
        finally:
            self.session.close()

    def _sweep(self) -> list[str]:
        query = _LEFT_OVER.replace("{prefix}", literal(PREFIX))
        rows = self.session.execute(query.replace("{comment}", literal(COMMENT)))[0].rows
        dropped = []
        for name in (row[0] or "" for row in rows):
            key = _key(name)
            free = self.session.execute(f"SELECT pg_catalog.pg_try_advisory_lock({key})")
            if free[0].rows[0][0] != "t":
                continue  # another client works there
            try:
                self.session.execute(_drop(name))
                dropped.append(name)
            except DatabaseError:
                self.session.rollback()
            self.session.execute(f"SELECT pg_catalog.pg_advisory_unlock({key})")
        return dropped


def _settle(session: PostgresSession) -> None:
    session.execute(_QUIET)
    if session.connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
        session.execute("SET transaction_timeout = 0")


def _key(name: str) -> int:
    return lock_key("verify", name)


def _drop(name: str) -> str:
    return (
        f"BEGIN; SET LOCAL lock_timeout = {DROP_WAIT_MS}; SET LOCAL client_min_messages = warning; "
        f"DROP SCHEMA IF EXISTS {identifier(name)} CASCADE; COMMIT"
    )
