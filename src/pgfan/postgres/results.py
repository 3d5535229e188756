"""libpq's results: waiting for one, and what it says as values."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from psycopg import pq

from pgfan.ports import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.postgres.other_end import Silence

SIGNALS_MS = 500
"""A signal that comes between Python's last look and poll itself does not wake poll: look again."""

NUMERIC_OIDS = frozenset({20, 21, 23, 26, 700, 701, 790, 1700})


def next_result(
    pgconn: pq.abc.PGconn, begin: Callable[[], Silence | None]
) -> pq.abc.PGresult | None:
    """The next result of what was sent, None after the last; `begin` when it has to be waited for.

    libpq's PQgetResult would wait by itself, but psycopg calls it with the GIL held, and then no
    other worker's thread could run meanwhile. poll lets go of it, and lets signal handlers run.
    """
    if pgconn.is_busy():
        waiting, silence = select.poll(), begin()
        waiting.register(pgconn.socket, select.POLLIN)
        while pgconn.is_busy():
            heard = waiting.poll(SIGNALS_MS)
            pgconn.consume_input()
            if silence is not None:
                silence.broken() if heard else silence.goes_on()
    return pgconn.get_result()


def error_field(answer: pq.abc.PGresult, field: pq.DiagnosticField) -> str | None:
    """One field of an error, None when the server has not given it."""
    value = answer.error_field(field)
    return value.decode("utf-8", "replace") if value is not None else None


def result_of(answer: pq.abc.PGresult) -> Result:
    """What a statement has answered: its tag, and its rows as text."""
    tag = (answer.command_status or b"").decode()
    if answer.status != pq.ExecStatus.TUPLES_OK:
        return Result(tag)
    width = answer.nfields
    columns = tuple((answer.fname(i) or b"").decode("utf-8", "replace") for i in range(width))
    numeric = tuple(answer.ftype(i) in NUMERIC_OIDS for i in range(width))
    rows = [
        tuple(_text(answer.get_value(row, column)) for column in range(width))
        for row in range(answer.ntuples)
    ]
    return Result(tag, columns, numeric, rows)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
