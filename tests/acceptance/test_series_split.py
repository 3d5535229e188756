"""generate_series, split and whole: every type, step and end, in FROM and in the target list."""

from __future__ import annotations

import pytest
from side_by_side import Case, both_ways, execute, pgfan, query, reused_dsn, split_both_ways

dsn = reused_dsn

FROM = "INSERT INTO {target} SELECT v FROM generate_series(%s) AS g(v)"

NUMBERS = {
    "int4": ("1, 100", 100, 5),
    "int4 by 7": ("1, 100, 7", 15, 2),
    "int4 down": ("100, 1, -3", 34, 5),
    "int4 one": ("5, 5", 1, 1),
    "int4 empty": ("1, 0", 0, 0),
    "int4 empty down": ("1, 5, -1", 0, 0),
    "int4 step past the end": ("1, 10, 1000", 1, 1),
    "int4 high end": ("2147483600, 2147483647", 48, 5),
    "int4 high end by 13": ("2147483500, 2147483647, 13", 12, 2),
    "int4 low end": ("-2147483600, -2147483648, -1", 49, 5),
    "int2 and int4": ("1::smallint, 50", 50, 5),
    "int8": ("10000000000, 10000000099", 100, 5),
    "int8 high end": ("9223372036854775750, 9223372036854775807", 58, 5),
    "int8 high end by 11": ("9223372036854775700, 9223372036854775807, 11", 10, 2),
    "int8 low end": ("'-9223372036854775808'::int8, '-9223372036854775750'::int8", 59, 5),
    "int8 end to end": (
        "'-9223372036854775808'::int8, 9223372036854775807, 400000000000000000",
        47,
        5,
    ),
    "an expression": ("length('abc'), 5 * 10", 48, 5),
    "numeric": ("0.1, 4.0, 0.1", 40, 4),
    "numeric keeps its scale": ("1.10, 9, 0.500", 16, 2),
    "numeric down": ("5, -5, -0.25", 41, 4),
    "numeric wide": ("1e25, 1e25 + 40", 41, 4),
    "numeric thin": ("0.00000000000000000001, 0.00000000000000000030, 1e-20", 30, 3),
    "numeric and int": ("1, 20, 0.5", 39, 4),
}
"""Arguments, how many values they give, and at least how many chunks of 7 rows."""

TIMES = {
    "hours": ("timestamp '2024-02-28', '2024-03-02', '1 hour'", 73),
    "days": ("timestamp '2024-02-20 10:30', '2024-04-01', '1 day'", 41),
    "days and hours": ("timestamp '2024-02-20', '2024-04-01', '1 day 01:00'", 40),
    "back": ("timestamp '2024-03-10', '2024-03-01', '-5 hours'", 44),
    "microseconds": ("timestamp '2024-01-01', '2024-01-01 00:00:00.00005', '1 microsecond'", 51),
    "months": ("timestamp '2020-01-15', '2023-12-31', '1 mon'", 48),
    "months from the 31st": ("timestamp '2020-01-31', '2023-12-31', '1 mon'", 48),
    "months back from the 31st": ("timestamp '2023-12-31', '2020-01-01', '-1 mon'", 48),
    "years from a leap day": ("timestamp '2020-02-29', '2060-03-01', '1 year'", 41),
    "months, days and hours": ("timestamp '2020-01-31', '2024-01-01', '1 mon 1 day 01:01'", 46),
    "before our era": ("timestamp '4000-01-01 BC', '3999-01-01 BC', '10 days'", 37),
    "far ahead": ("timestamp '200000-01-01', '200000-02-01', '1 day'", 32),
    "with zone": ("timestamptz '2024-03-30 12:00', '2024-04-01 12:00', '1 hour'", None),
    "days into summer": ("timestamptz '2024-03-20 02:30', '2024-04-20', '1 day'", None),
    "days into winter": ("timestamptz '2024-10-20 02:30', '2024-11-20', '1 day'", None),
    "hours into winter": ("timestamptz '2024-10-26 20:00', '2024-10-28 20:00', '30 min'", None),
    "days back over summer": ("timestamptz '2024-04-20 02:30', '2024-03-20', '-1 day'", None),
    "months with zone": ("timestamptz '2020-01-31 02:30', '2023-12-31', '1 mon'", None),
    "a day less an hour": ("timestamptz '2024-03-20 02:30', '2024-04-20', '1 day -1 hour'", None),
    "24 hours": ("timestamptz '2024-03-20 02:30', '2024-04-20', '24 hours'", None),
    "dates": ("date '2024-03-01', date '2024-04-30', '1 day'", None),
}


@pytest.mark.parametrize(("arguments", "count", "chunks"), NUMBERS.values(), ids=list(NUMBERS))
def test_a_series_of_numbers(dsn: str, arguments: str, count: int, chunks: int) -> None:
    script = (FROM % arguments).replace("SELECT v", "SELECT v::text")
    outcome = split_both_ways(dsn, Case(script, "v text", rows=count, chunks_min=chunks))
    assert outcome.last.key == "series"


@pytest.mark.parametrize(("arguments", "count"), TIMES.values(), ids=list(TIMES))
def test_a_series_of_times(dsn: str, arguments: str, count: int | None) -> None:
    typed = "timestamptz" if count is None else "timestamp"
    script = f"SET TimeZone = 'Europe/Madrid'; {FROM % arguments}"
    outcome = split_both_ways(dsn, Case(script, f"v {typed}", rows=count, chunks_min=3))
    assert outcome.last.key == "series"


@pytest.mark.parametrize(
    ("style", "interval"),
    [("SQL, DMY", "sql_standard"), ("German", "iso_8601"), ("Postgres, YMD", "postgres_verbose")],
)
def test_date_and_interval_styles_have_no_say(dsn: str, style: str, interval: str) -> None:
    script = (
        f"SET DateStyle = '{style}'; SET IntervalStyle = '{interval}'; "
        "INSERT INTO {target} SELECT v, v - timestamp '2000-01-01', v::text FROM generate_series("
        "timestamp '2024-01-31', timestamp '2024-02-10', '-1 day +25:00:00.5') AS g(v)"
    )
    columns = "v timestamp, d interval, s text"
    split_both_ways(dsn, Case(script, columns, chunks_min=3))


TARGET_LISTS = {
    "alone": "SELECT generate_series(1, 60)",
    "with a constant": "SELECT generate_series(1, 60)::bigint, 'x'",
    "inside an expression": "SELECT generate_series(1, 60) * 2 + 1",
    "bigint": "SELECT generate_series(10000000001, 10000000060)",
    "beside another column": "SELECT 1 - 1, generate_series(-30, 30)::text",
    "sorted": "SELECT generate_series(60, 1, -1) ORDER BY 1",
}


@pytest.mark.parametrize("select", TARGET_LISTS.values(), ids=list(TARGET_LISTS))
def test_a_series_in_the_target_list(dsn: str, select: str) -> None:
    case = Case(f"INSERT INTO {{target}} {select}", "i bigint, s text", chunks_min=3)
    assert split_both_ways(dsn, case).last.key == "series"


AROUND = {
    "filter": "SELECT v FROM generate_series(1, 90) AS g(v) WHERE v % 3 = 0",
    "two series": "SELECT a * 100 + b FROM generate_series(1, 40) AS a, generate_series(1, 3) AS b",
    "joined series": (
        "SELECT a FROM generate_series(1, 60) AS a JOIN generate_series(1, 200, 2) AS b ON a = b"
    ),
    "left join": (
        "SELECT a + COALESCE(b, 0) FROM generate_series(1, 60) AS a "
        "LEFT JOIN generate_series(1, 200, 7) AS b ON a = b"
    ),
    "lateral": "SELECT a + b FROM generate_series(1, 30) AS a, LATERAL generate_series(1, a) AS b",
    "whole row": "SELECT g FROM generate_series(1, 60) g",
    "exists": (
        "SELECT v FROM generate_series(1, 60) AS g(v) "
        "WHERE EXISTS (SELECT FROM generate_series(1, 9) AS h(w) WHERE h.w = v % 10)"
    ),
    "scalar subquery": (
        "SELECT v + (SELECT sum(w) FROM generate_series(1, 9) h(w)) FROM generate_series(1, 60) v"
    ),
    "a set for each row": "SELECT v + generate_series(1, v % 3) FROM generate_series(1, 60) v",
    "sorted": "SELECT v FROM generate_series(1, 60) AS g(v) ORDER BY v DESC",
}


@pytest.mark.parametrize("select", AROUND.values(), ids=list(AROUND))
def test_what_may_stand_around_a_series(dsn: str, select: str) -> None:
    split_both_ways(dsn, Case(f"INSERT INTO {{target}} {select}", chunks_min=3))


WHOLE = {
    "no end": ("SELECT v FROM generate_series(1, NULL::int) AS g(v)", "series-bounds"),
    "numbered": (
        "SELECT o FROM generate_series(1, 50) WITH ORDINALITY AS g(v, o)",
        "no-driving-relation",
    ),
    "two in the target list": (
        "SELECT generate_series(1, 20) + generate_series(1, 10)",
        "no-driving-relation",
    ),
    "rows from": (
        "SELECT a FROM ROWS FROM (generate_series(1, 20), generate_series(1, 30)) AS r(a, b)",
        "no-driving-relation",
    ),
    "bounds from a subquery": (
        "SELECT v FROM generate_series(1, (SELECT count(*) FROM pg_am)) AS g(v)",
        "no-driving-relation",
    ),
    "both sides of a full join": (
        "SELECT a FROM generate_series(1, 20) a FULL JOIN generate_series(10, 30) b ON a = b",
        "no-driving-relation",
    ),
    "starts at infinity": (
        "SELECT 1 FROM generate_series(timestamp 'infinity', '2024-01-01', '1 day') AS g(v)",
        "series-bounds",
    ),
}


@pytest.mark.parametrize(("select", "code"), WHOLE.values(), ids=list(WHOLE))
def test_a_series_that_is_left_whole(dsn: str, select: str, code: str) -> None:
    outcome = both_ways(dsn, Case(f"INSERT INTO {{target}} {select}"))
    assert code in dict(outcome.last.reasons)


def test_a_series_of_ones_own_is_not_postgresqls(dsn: str) -> None:
    shadow = (
        "CREATE SCHEMA s",
        (
            "CREATE FUNCTION s.generate_series(int, int) RETURNS SETOF int IMMUTABLE LANGUAGE sql "
            "AS 'SELECT 1 UNION ALL SELECT 1'"
        ),
    )
    script = (
        "SET search_path = s, pg_catalog, public; "
        "INSERT INTO public.{target} SELECT generate_series(1, 50)"
    )
    outcome = both_ways(dsn, Case(script, setup=shadow, rows=2))
    assert outcome.last.verdict == "serial"


def test_bounds_from_the_time_are_one_time(dsn: str) -> None:
    execute(dsn, "CREATE TABLE t (v timestamptz, at timestamptz)")
    outcome = pgfan(
        dsn,
        "INSERT INTO t SELECT v, now() FROM "
        "generate_series(now() - interval '99 min', now(), interval '1 min') AS g(v)",
    )
    assert outcome.last.verdict == "split"
    facts = "SELECT count(*), count(DISTINCT v), max(v) - min(v) = '99 min', max(v) = max(at)"
    assert query(dsn, f"{facts}, count(DISTINCT at) FROM t") == [(100, 100, True, True, 1)]


def test_a_step_of_zero_fails_as_it_does_alone(dsn: str) -> None:
    execute(dsn, "CREATE TABLE t (v int)")
    outcome = pgfan(dsn, "INSERT INTO t SELECT generate_series(1, 10, 0)")
    assert outcome.states == ["failed"]
    assert "step size cannot equal zero" in str(outcome.result.error)
