"""Connection strings: libpq's, with pgfan's defaults where the user has not said otherwise."""

from __future__ import annotations

import os

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgfan.errors import UsageError

CONNECT_TIMEOUT_S = 10
# Dead networks are noticed after about a minute, here and by the server (`other_end`); only where
# the user has not said otherwise.
NETWORK_DEFAULTS = {
    "connect_timeout": str(CONNECT_TIMEOUT_S),
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


def complete_dsn(dsn: str) -> str:
    """`dsn` with pgfan's connection defaults; what it or libpq's environment says wins.

    Raises UsageError when libpq cannot read it.
    """
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.Error as error:
        raise UsageError(f"unreadable connection string: {error}") from error
    defaults = {key: value for key, value in NETWORK_DEFAULTS.items() if key not in given}
    if "PGCONNECT_TIMEOUT" in os.environ:
        defaults.pop("connect_timeout", None)
    return make_conninfo(dsn, **defaults, client_encoding="UTF8", fallback_application_name="pgfan")


def on_embedded(embedded_dsn: str, dsn: str) -> str:
    """`dsn` on the embedded server: it may choose a database, a user or options, but no server.

    Raises UsageError when it names another server.
    """
    try:
        chosen = conninfo_to_dict(dsn)
    except psycopg.Error as error:
        raise UsageError(f"unreadable connection string: {error}") from error
    elsewhere = sorted({"host", "hostaddr", "port", "service"} & chosen.keys())
    if elsewhere:
        raise UsageError(
            f"--embedded and --dsn name two servers ({', '.join(elsewhere)} in --dsn)",
            hint='with --embedded, --dsn may choose a database: -d "dbname=mine"',
        )
    return make_conninfo(embedded_dsn, **chosen)
