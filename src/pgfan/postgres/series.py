"""A generate_series measured by the server: the type of its values, its first one, how many.

Numbers and timestamps with a step of constant length are then cut by arithmetic. Steps of months,
and of days in a time zone, add up from element to element (31 January + 1 month + 1 month is 28
March), so the server lists the elements once and chunks begin and end at listed ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import DatabaseError
from pgfan.plan.task import (
    US_PER_DAY,
    Bounds,
    CalendarSeries,
    NumberSeries,
    TimeSeries,
    number_count,
)
from pgfan.quoting import literal
from pgfan.sql.rewrite import SeriesSpec
from pgfan.sql.tree import deparse_expression

if TYPE_CHECKING:
    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.tree import Message

NUMBERS = {20: "int8", 21: "int4", 23: "int4", 1700: "numeric"}
TIMES = {1114: "timestamp", 1184: "timestamptz"}
CALENDAR_RUNS = 4096
CALENDAR_ELEMENTS_MAX = 5_000_000
ORDINALS_MAX = 2**62
"""The journal's columns are bigint."""
EPOCH_2000_S = 946_684_800


class MeasuredSeries(Struct, frozen=True):
    """A series of `count` values in `total` ordinals, how they are written and how they are cut."""

    spec: SeriesSpec
    bounds: Bounds
    total: int
    count: int


def measure_series(session: PostgresSession, call: Message) -> MeasuredSeries | None:
    """Ask the server; None when the bounds are NULL, infinite, or of a type that is not cut.

    `call` is a generate_series with constant arguments and its time functions frozen.
    """
    arguments = [deparse_expression(argument) for argument in call.args]
    series = f"pg_catalog.generate_series({', '.join(arguments)})"
    try:
        (oid,) = session.describe(f"SELECT * FROM {series} AS g(v)")
        measured = None
        if oid in NUMBERS:
            measured = _numbers(session, arguments, NUMBERS[oid])
        elif oid in TIMES:
            measured = _times(session, series, arguments, TIMES[oid])
    except (DatabaseError, ValueError):
        session.rollback()
        return None
    return measured if measured is not None and measured.total <= ORDINALS_MAX else None


def _numbers(
    session: PostgresSession, arguments: list[str], type_name: str
) -> MeasuredSeries | None:
    values = [f"({argument})::pg_catalog.{type_name}::pg_catalog.text" for argument in arguments]
    start, stop, *rest = session.execute(f"SELECT {', '.join(values)}")[0].rows[0]
    step = rest[0] if rest else "1"
    if start is None or stop is None or step is None:
        return None
    count = number_count(start, stop, step)
    spec = SeriesSpec(f"pg_catalog.{type_name}", f"'{step}'::pg_catalog.{type_name}")
    return MeasuredSeries(spec, NumberSeries(start, step), count, count)


def _times(
    session: PostgresSession, series: str, arguments: list[str], type_name: str
) -> MeasuredSeries | None:
    start, stop, step = arguments
    by = f"({step})::pg_catalog.interval"
    clock_us = (
        f"EXTRACT(HOUR FROM {by}) * 3600000000 + EXTRACT(MINUTE FROM {by}) * 60000000"
        f" + EXTRACT(MICROSECONDS FROM {by})"
    )
    fields = ", ".join(
        (
            _microseconds(f"({start})::pg_catalog.{type_name}"),
            _microseconds(f"({stop})::pg_catalog.{type_name}"),
            f"(EXTRACT(YEAR FROM {by}) * 12 + EXTRACT(MONTH FROM {by}))::pg_catalog.int8",
            f"EXTRACT(DAY FROM {by})::pg_catalog.int8",
            f"({clock_us})::pg_catalog.int8",
        )
    )
    row = session.execute(f"SELECT {fields}")[0].rows[0]
    if any(value is None for value in row):
        return None
    start_us, stop_us, months, days, rest_us = (int(value or 0) for value in row)
    spec = SeriesSpec(type_name, _step_literal(months, days, rest_us), by_interval=True)
    if months or (days and type_name == "timestamptz"):
        mixed = min(months, days, rest_us) < 0 < max(months, days, rest_us)
        if mixed and not _is_monotonic(session, series):
            return None
        return _calendar(session, series, spec)
    step_us = days * US_PER_DAY + rest_us
    count = number_count(str(start_us), str(stop_us), str(step_us))
    return MeasuredSeries(spec, TimeSeries(start_us, step_us), count, count)


def _calendar(session: PostgresSession, series: str, spec: SeriesSpec) -> MeasuredSeries | None:
    counted = session.execute(f"SELECT pg_catalog.count(*) FROM {series}")[0].rows[0][0]
    count = int(counted or 0)
    if not 0 < count <= CALENDAR_ELEMENTS_MAX:
        return None
    run = -(-count // CALENDAR_RUNS)
    rows = session.execute(
        f"SELECT {_microseconds('v')}, (o - 1) % {run} = 0, o % {run} = 0 OR o = {count} "
        f"FROM {series} WITH ORDINALITY AS g(v, o) "
        f"WHERE (o - 1) % {run} = 0 OR o % {run} = 0 OR o = {count} ORDER BY o"
    )[0].rows
    firsts = tuple(int(us or 0) for us, is_first, _ in rows if is_first == "t")
    lasts = tuple(int(us or 0) for us, _, is_last in rows if is_last == "t")
    return MeasuredSeries(spec, CalendarSeries(firsts, lasts), len(firsts), count)


def _is_monotonic(session: PostgresSession, series: str) -> bool:
    """Whether the elements go one way; those of '1 mon -30 days' need not."""
    steps = f"SELECT v - lag(v) OVER (ORDER BY o) FROM {series} WITH ORDINALITY AS g(v, o)"
    row = session.execute(
        "SELECT count(*) FILTER (WHERE step <= '0'), count(*) FILTER (WHERE step >= '0') "
        f"FROM ({steps}) AS s(step)"
    )[0].rows[0]
    return "0" in row


def _microseconds(expression: str) -> str:
    """Microseconds since 2000-01-01, exact; an infinite timestamp is an error of the server's."""
    seconds = f"EXTRACT(EPOCH FROM {expression}) - {EPOCH_2000_S}"
    return f"(({seconds}) * 1000000)::pg_catalog.int8"


def _step_literal(months: int, days: int, rest_us: int) -> str:
    """The step with its three parts kept apart, every sign written out."""
    sign = "-" if rest_us < 0 else "+"
    seconds, fraction = divmod(abs(rest_us), 1_000_000)
    clock = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"
    return f"{literal(f'{months:+} mons {days:+} days {clock}')}::pg_catalog.interval"
