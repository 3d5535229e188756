"""Settings that a session was left with by code that nobody has read: a function, DO, EXECUTE.

SET is repeated on every connection. What a function sets stays in the session that it ran in, so
a statement that follows must not run on another one: it could find another search_path, and with
that other tables. Sessions are compared by what pg_settings says was set in them. That leaves out
names that PostgreSQL does not know (a.b): only current_setting() and SHOW ask for those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.errors import ConnectionLostError
from pgfan.postgres.other_end import PARAMETERS
from pgfan.postgres.session import SESSION_DEFAULTS
from pgfan.quoting import literal
from pgfan.sql.reasons import Reason

if TYPE_CHECKING:
    from pgfan.postgres.session import PostgresSession

OWN = ", ".join(map(literal, (*SESSION_DEFAULTS, *PARAMETERS)))
SET_HERE = f"""
SELECT pg_catalog.string_agg(name OPERATOR(pg_catalog.||) '=' OPERATOR(pg_catalog.||) setting, ' '
    ORDER BY name COLLATE "C")
FROM pg_catalog.pg_settings
WHERE source = 'session' AND name OPERATOR(pg_catalog.!~) '^(idle_in_)?transaction_'
    AND name OPERATOR(pg_catalog.<>) ALL (ARRAY[{OWN}])"""
"""But for what belongs to one transaction, and what pgfan sets itself, which RESET ALL undoes."""
OBJECTION = Reason(
    "session", "an earlier statement left a setting in the session that is not carried along"
)


def differ(one: PostgresSession, other: PostgresSession) -> bool:
    """Whether two sessions that were given the same SETs are at different settings."""
    return _set_here(one) != _set_here(other)


def are_in(script: PostgresSession | None, other: PostgresSession) -> bool:
    """Whether the connection of a script has such settings. `other` is given all that it was."""
    if script is None or not script.is_open:
        return False
    try:
        other.prepare(script.settings)
        return differ(script, other)
    except ConnectionLostError:
        return False  # they are lost with it


def _set_here(session: PostgresSession) -> str | None:
    return session.execute(SET_HERE)[0].rows[0][0]
