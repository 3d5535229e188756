"""libpq's results as values: `pgfan.ports.Result`, and the fields of an error."""

from __future__ import annotations

from psycopg import pq

from pgfan.ports import Result

NUMERIC_OIDS = frozenset({20, 21, 23, 26, 700, 701, 790, 1700})


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
