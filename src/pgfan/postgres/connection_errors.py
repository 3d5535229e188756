"""Why there is no connection, in words, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.errors import ConnectionFailedError
from pgfan.plan.sqlstate import TOO_MANY_CONNECTIONS

if TYPE_CHECKING:
    import psycopg


def connection_failure(error: psycopg.OperationalError) -> ConnectionFailedError:
    """A refused connection, with what to do about it."""
    text = str(error).strip()
    for said_twice in ("connection failed: ", "connection is bad: "):
        text = text.removeprefix(said_twice)
    hint = "check host, port and whether the server runs; or use --embedded DIR"
    if "password" in text or "authentication" in text:
        hint = "check user and password: pgfan reads .pgpass, PGPASSWORD and the service file"
    elif "definition of service" in text:
        hint = "check the name, and the service file: ~/.pg_service.conf, or PGSERVICEFILE's"
    elif 'FATAL:  role "' in text:
        hint = "check the user: -d user=NAME or PGUSER; without them it is that of the system"
    elif error.sqlstate == "3D000" or 'FATAL:  database "' in text:
        hint = "check the name, or create the database first"
    failure = ConnectionFailedError(text, hint=hint)
    failure.sqlstate = error.sqlstate or _guess_sqlstate(text)
    return failure


def _guess_sqlstate(text: str) -> str | None:
    # libpq gives no SQLSTATE for a failed connection; the texts are the server's English ones.
    if "too many clients" in text or "remaining connection slots" in text:
        return TOO_MANY_CONNECTIONS
    if "too many connections" in text:
        return TOO_MANY_CONNECTIONS
    return None
