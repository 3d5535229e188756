"""What an error code means for a chunk: try again, cut it in two, take a new snapshot, or give up.

Codes are from Appendix A of PostgreSQL's manual. Classes 22, 23 and 42 are never retried (but for
the journal's own unique violation): the same data would fail again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgfan.plan.messages import Disposition

UNIQUE_VIOLATION = "23505"
DUPLICATE_TABLE = "42P07"
DUPLICATE_COLUMN = "42701"
SYNTAX_ERROR = "42601"
UNDEFINED_TABLE = "42P01"
QUERY_CANCELED = "57014"
TOO_MANY_CONNECTIONS = "53300"
DEPENDENT_OBJECTS = "2BP01"
LOCK_NOT_AVAILABLE = "55P03"
NOT_SUPPORTED = "0A000"
NOT_IN_A_TRANSACTION_BLOCK = frozenset({"25001", "2D000"})
"""The statement is barred from transaction blocks, or ends transactions itself."""

# serialization failure, deadlock
_AGAIN = frozenset({"40001", "40P01"})
# out of memory, temp_file_limit, too many locks: less at a time may fit
_HALVE = frozenset({"53200", "53400"})
# terminated, crashed beside us, starting up, idle in transaction for too long
_CONNECTION_ENDED = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04"})


def ends_connection(sqlstate: str) -> bool:
    """Whether the server closes the connection with this error."""
    return sqlstate in _CONNECTION_ENDED or sqlstate.startswith("08")


def disposition_of(sqlstate: str) -> Disposition:
    """What to do about a chunk whose own statement failed with this error.

    57014 is "halve": the caller has made sure that it was statement_timeout, not somebody's cancel.
    """
    if sqlstate in _AGAIN:
        return "again"
    if sqlstate in _HALVE or sqlstate == QUERY_CANCELED:
        return "halve"
    return "fatal"
