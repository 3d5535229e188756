"""How many workers there should be.

`auto` is the server's cores when the server runs on this machine (a Unix socket or a loopback
address), because a bulk write keeps one core busy per backend; elsewhere the cores cannot be seen
over the wire, and 4 is a start that no server minds. Never more than the server has room for.
"""

from __future__ import annotations

import ipaddress

REMOTE_JOBS = 4
JOBS_MAX = 10_000
SPARE_CONNECTIONS = 2
"""The run's own: one that holds the lock and writes the journal, one that holds the snapshot."""


def is_local_host(host: str) -> bool:
    """Whether libpq's `host` names this machine: a socket folder, loopback, or nothing at all."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def jobs_wanted(asked: int | None, host: str, cores: int) -> int:
    """Workers for `--jobs`: the number `asked` for, or None for auto."""
    if asked is not None:
        return asked
    return cores if is_local_host(host) else REMOTE_JOBS


def jobs_allowed(wanted: int, connections_free: int) -> int:
    """`wanted`, bounded by the connections the server can still give; at least 1."""
    return max(1, min(wanted, connections_free - SPARE_CONNECTIONS))
