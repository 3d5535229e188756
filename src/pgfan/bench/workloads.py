"""What `bench/grid.py` divides: one statement each, and the queries that people cut it into.

Four kinds of work, each with its own trap for who cuts by hand: rows that cost the same (any cut is
good, but for start-up), a hash table that every chunk builds again (few chunks), provinces of very
different sizes (a query for each is as unequal as they are), and wide rows (few blocks, many
bytes). Each comes in two forms: with work for the server's cores, and with waits in the server,
which as many connections share as there are.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from pgfan.bench.provinces import PEOPLE, SPAIN
from pgfan.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Name: TypeAlias = Literal["numbers", "join", "provinces", "wide"]
NAMES: tuple[Name, ...] = ("numbers", "join", "provinces", "wide")
BUILD_SHARE = 0.01
"""Waits for a hash table, as a share of all waits."""
BUILD_ROWS = 50


class Workload(Struct, frozen=True):
    """A statement with a hole, `{part}`, for what a query reads.

    `total` are the numbers of a series, or the rows of `table`, which is divided by its blocks.
    """

    name: Name
    title: str
    total: int
    columns: str
    """Of the table `goal`, which is written."""
    statement: str
    make: str = ""
    """What makes the tables that are read."""
    table: str | None = None
    repeatable: bool = True
    """Whether it writes the same rows each time; random numbers are only counted."""
    chunks_max: int = 1000
    """More queries would take minutes, to show what fewer have shown."""

    @property
    def whole(self) -> str:
        """The one plain statement."""
        return self.statement.format(part=self._part(1, self.total) if self.table is None else "")

    def queries(self, chunks: int, blocks: int) -> list[str]:
        """`chunks` queries that cover it, with about equal parts of the series, or of `blocks`."""
        total = self.total if self.table is None else blocks
        ends = [total * at // chunks for at in range(chunks + 1)]
        if self.table is not None:
            ends[-1] = max(total, 1)
        return [
            self.statement.format(part=self._part(lo + 1, hi))
            for lo, hi in pairwise(ends)
            if lo < hi
        ]

    def by_province(self) -> list[str]:
        """A query for each province; none where there are no provinces."""
        if self.name != "provinces":
            return []
        return [
            self.statement.format(part=f" WHERE province = {literal(province)}")
            for province in PEOPLE
        ]

    def _part(self, first: int, last: int) -> str:
        """Of the numbers, or the blocks, from `first` to `last`, counted from one."""
        if self.table is None:
            return f"generate_series({first}, {last})"
        return f" WHERE t.ctid >= '({first - 1},0)' AND t.ctid < '({last},0)'"


def workloads(scale: float, row_ms: float | None = None) -> dict[Name, Workload]:
    """The four by name. At `scale` 1 one query takes some seconds.

    With `row_ms` rows wait so long each, and at `scale` 1 a minute and a half together.
    """
    if row_ms is None:
        makers: Mapping[Name, Callable[[], Workload]] = {
            "numbers": lambda: _numbers(round(20_000_000 * scale)),
            "join": lambda: _join(round(10_000_000 * scale), round(600_000 * scale)),
            "provinces": lambda: _provinces(round(500_000 * scale)),
            "wide": lambda: _wide(round(24_000 * scale)),
        }
    else:
        ms, rows = row_ms, round(90_000 / row_ms * scale)
        makers = {
            "numbers": lambda: _waiting_numbers(rows, ms),
            "join": lambda: _waiting_join(rows, ms),
            "provinces": lambda: _waiting_provinces(rows, ms),
            "wide": lambda: _waiting_wide(rows, ms),
        }
    return {name: make() for name, make in makers.items()}


# Work for cores -----------------------------------------------------------------------------------


def _numbers(rows: int) -> Workload:
    return Workload(
        "numbers",
        f"{rows:,} random numbers",
        rows,
        "value float8",
        "INSERT INTO goal SELECT random() FROM {part}",
        repeatable=False,
    )


def _join(rows: int, prices: int) -> Workload:
    # Only after the join is known which rows are few: so the prices are what is hashed.
    return Workload(
        "join",
        f"a join of {rows:,} rows, with {prices:,} to hash",
        rows,
        "id int, total float8",
        "INSERT INTO goal SELECT t.id, t.amount * p.price FROM sold t JOIN prices p "
        "ON p.id = t.price AND t.amount * p.price > 0.8{part}",
        "CREATE TABLE prices AS SELECT i AS id, abs(sin(i)) AS price, md5(i::text) AS remark "
        f"FROM generate_series(1, {prices}) i; "
        f"CREATE TABLE sold AS SELECT i AS id, 1 + i * 7919::int8 % {prices} AS price, "
        f"abs(cos(i)) AS amount FROM generate_series(1, {rows}) i",
        "sold",
        chunks_max=64,
    )


def _provinces(rows: int) -> Workload:
    return Workload(
        "provinces",
        f"{rows:,} people of 52 provinces",
        rows,
        "id int, province text, mark text",
        "INSERT INTO goal SELECT t.id, t.province, md5(repeat(t.province || t.id, 100)) "
        "FROM people t{part}",
        _people(rows, "repeat('x', 40)"),
        "people",
    )


def _wide(rows: int) -> Workload:
    return Workload(
        "wide",
        f"{rows:,} rows of 6 kB",
        rows,
        "id int, body text",
        "INSERT INTO goal SELECT t.id, upper(t.body) FROM pages t{part}",
        "CREATE TABLE pages (id int, body text STORAGE EXTERNAL); "
        "INSERT INTO pages SELECT i, (SELECT string_agg(md5((i * 200 + j)::text), '') "
        f"FROM generate_series(1, 190) j) FROM generate_series(1, {rows}) i",
        "pages",
    )


# Waits --------------------------------------------------------------------------------------------


def wait_function(row_ms: float) -> str:
    """What waits. It says what it costs, as PostgreSQL wants it said: 25 ns for each 1."""
    return f"""
CREATE FUNCTION waited(value int, ms float8) RETURNS int LANGUAGE plpgsql IMMUTABLE
COST {row_ms * 40_000:.0f}
AS $$ BEGIN PERFORM pg_catalog.pg_sleep(ms / 1000); RETURN value; END $$"""


def _waiting_numbers(rows: int, ms: float) -> Workload:
    return Workload(
        "numbers",
        f"{rows:,} numbers",
        rows,
        "value int",
        f"INSERT INTO goal SELECT waited(i, {ms}) FROM {{part}} i",
    )


def _waiting_join(rows: int, ms: float) -> Workload:
    build_ms = rows * ms * BUILD_SHARE / BUILD_ROWS
    return Workload(
        "join",
        f"a join of {rows:,} rows, with {BUILD_SHARE:.0%} of all waits to hash",
        rows,
        "id int, price int",
        "INSERT INTO goal WITH p AS MATERIALIZED "
        f"(SELECT waited(id, {build_ms}) AS id FROM prices) SELECT waited(t.id, {ms}), p.id "
        "FROM sold t JOIN p ON p.id = t.price{part}",
        f"CREATE TABLE prices AS SELECT i AS id FROM generate_series(1, {BUILD_ROWS}) i; "
        "CREATE TABLE sold (id int, price int, remark text STORAGE PLAIN); "
        f"INSERT INTO sold SELECT i, 1 + i % {BUILD_ROWS}, repeat('x', 5000) "
        f"FROM generate_series(1, {rows}) i",
        "sold",
    )


def _waiting_provinces(rows: int, ms: float) -> Workload:
    return Workload(
        "provinces",
        f"{rows:,} people of 52 provinces",
        rows,
        "id int",
        f"INSERT INTO goal SELECT waited(t.id, {ms}) FROM people t{{part}}",
        _people(rows, "repeat('x', 5000)"),
        "people",
    )


def _waiting_wide(rows: int, ms: float) -> Workload:
    wide = _wide(rows)
    return Workload(
        "wide",
        wide.title,
        rows,
        "id int, body text",
        f"INSERT INTO goal SELECT waited(t.id, {ms}), upper(t.body) FROM pages t{{part}}",
        wide.make,
        "pages",
    )


def _people(rows: int, remark: str) -> str:
    """A table stored province by province, each with its share of the rows."""
    upto, shares = 0, []
    for province, people in PEOPLE.items():
        first, upto = upto, upto + people
        ends = f"{rows * first // SPAIN + 1}, {rows * upto // SPAIN}"
        shares.append(f"({literal(province)}, {ends})")
    return (
        "CREATE TABLE people (id int, province text, remark text STORAGE PLAIN); "
        f"INSERT INTO people SELECT i, province, {remark} FROM (VALUES {', '.join(shares)}) "
        "AS s(province, first, last) CROSS JOIN LATERAL generate_series(first, last) i; "
        "CREATE INDEX ON people (province)"
    )
