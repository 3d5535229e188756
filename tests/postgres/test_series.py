from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgfan.plan.ranges import Range
from pgfan.plan.task import SplitPlan
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.series import measure_series
from pgfan.postgres.session import PostgresSession
from pgfan.sql.tree import inner, parse_expression

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = [
    "1, 10",
    "1, 10, 3",
    "10, 1, -3",
    "5, 5",
    "1::bigint, 10",
    "9223372036854775800, 9223372036854775807, 3",
    "-9223372036854775808, -9223372036854775800, 5",
    "2147483640, 2147483647",
    "1.0, 3, 0.5",
    "1, 3, 0.25",
    "0.000001, 0.00001, 0.000002",
    "date '2024-01-29', date '2024-06-01', interval '1 month'",
    "timestamp '2024-01-31', timestamp '2025-01-31', interval '1 mon'",
    "timestamp '2024-01-01', timestamp '2024-01-10', interval '1 day 3 hours'",
    "timestamp '2024-01-10', timestamp '2024-01-01', interval '-7 hours'",
    "timestamptz '2024-03-30 02:30+01', timestamptz '2024-04-02 02:30+02', interval '1 day'",
    "timestamptz '2024-10-26 02:30+02', timestamptz '2024-10-29', interval '1 day'",
    "timestamptz '2024-03-30', timestamptz '2024-04-01', interval '90 minutes'",
    "timestamp '0044-03-15 BC', timestamp '0040-01-01 BC', interval '100 days'",
    "timestamp '1999-12-31 23:59:59.999998', timestamp '2000-01-01', interval '1 microsecond'",
]


@pytest.fixture
def session(dsn: str) -> Iterator[PostgresSession]:
    opened = PostgresSession(complete_dsn(dsn))
    opened.execute("SET TimeZone = 'Europe/Madrid'; SET IntervalStyle = sql_standard")
    yield opened
    opened.close()


def values(session: PostgresSession, query: str) -> list[str | None]:
    return [row[0] for row in session.execute(f"SELECT v::text FROM {query} AS g(v)")[0].rows]


@pytest.mark.parametrize("arguments", CASES)
def test_ranges_tile_the_series(session: PostgresSession, arguments: str) -> None:
    call = inner(parse_expression(f"generate_series({arguments})"))
    measured = measure_series(session, call)
    assert measured is not None
    whole = values(session, f"generate_series({arguments})")
    assert measured.count == len(whole)
    type_name, spec = measured.spec.type_name, measured.spec
    low, high = f"::{type_name}", f"::{type_name}"
    before = after = ""
    if spec.by_interval:
        before, low = "(timestamp '2000-01-01' + ", "::interval)"
        high = low
        if type_name == "timestamptz":
            before, low = "timezone('UTC', timestamp '2000-01-01' + ", "::interval)"
            high = low
    pieces = (f"generate_series({before}", f"{low}, {before}", f"{high}{after}, {spec.step})")
    plan = SplitPlan("series", "rows", measured.total, pieces, measured.bounds, "t")
    for size in (1, 2, 3):
        cut = []
        for lo in range(0, measured.total, size):
            piece = Range(lo, min(lo + size, measured.total))
            cut += values(session, plan.statement(piece))
        assert cut == whole, size


@pytest.mark.parametrize(
    "arguments",
    [
        "NULL::integer, 10",
        "1, 10, 0",
        "1, 'NaN'::numeric",
        "timestamp '2024-01-01', timestamp 'infinity', interval '1 day'",
        "timestamp '2024-01-01', timestamp '2024-01-02', interval '0'",
        "1, 2, 3, 4",
        "1/0, 5",
    ],
)
def test_what_cannot_be_cut_is_left_alone(session: PostgresSession, arguments: str) -> None:
    call = inner(parse_expression(f"generate_series({arguments})"))
    try:
        measured = measure_series(session, call)
    except ValueError:  # four arguments never come here: the analysis refuses them
        assert arguments == "1, 2, 3, 4"
        return
    assert measured is None
    assert session.execute("SELECT 1")[0].rows == [("1",)]


def test_an_empty_series_has_no_ordinals(session: PostgresSession) -> None:
    measured = measure_series(session, inner(parse_expression("generate_series(10, 1)")))
    assert measured is not None
    assert measured.total == 0
