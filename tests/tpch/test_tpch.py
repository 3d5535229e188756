"""TPC-H's queries, each run by a plain connection and by pgfan in chunks: the same rows remain.

PGFAN_TPCH_SCALE is the scale factor; `make tpch` runs these tests at 0.1, `make test` at 0.01.
Sums and averages are of numeric, so the two results are equal to the last digit or differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from conftest import fresh_database
from psycopg import sql
from tpch_data import SCALE_TESTED, load, scale_asked
from tpch_queries import QUERIES
from tpch_verdicts import PAGE, cut, table, table_in

from pgfan import api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tpch_queries import TpchQuery

    from pgfan.execute.outcome import TaskOutcome
    from pgfan.postgres.embedded import EmbeddedServer

CHUNKS = 8
SCALE = scale_asked()

DIFFERENT_ROWS = """
WITH serial AS (SELECT serial_row::text FROM serial.{name} AS serial_row),
    split AS (SELECT split_row::text FROM {schema}.{name} AS split_row)
SELECT
    (SELECT count(*) FROM serial),
    (SELECT count(*) FROM (TABLE serial EXCEPT ALL TABLE split) AS lost),
    (SELECT count(*) FROM (TABLE split EXCEPT ALL TABLE serial) AS found)
"""
COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod), attcollation, attnotnull, attnum
FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum
"""


class Database:
    """TPC-H's rows on one server. Tables of results go into three schemas, one for each way."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        load(dsn, SCALE)
        self.connection = psycopg.connect(dsn, autocommit=True)
        for schema in ("serial", "split", "inserted"):
            self.execute(f"CREATE SCHEMA {schema}")

    def execute(self, statement: str) -> None:
        self.connection.execute(statement.encode())

    def run_alone(self, query: TpchQuery) -> None:
        """The query by a plain connection, once for all that is compared with it."""
        found = self.connection.execute("SELECT to_regclass(%s)", [f"serial.{query.name}"])
        if found.fetchone() == (None,):
            self.execute(query.create("serial", SCALE))

    def run_in_chunks(self, statement: str) -> TaskOutcome:
        """The statement by pgfan, in about CHUNKS chunks if it is split at all."""
        plan = cut(self.dsn, statement)
        rows = plan.total * plan.rows_per_unit if plan else 1
        options = api.ExecOptions(jobs=3, split="always", chunk_rows=max(1, int(rows / CHUNKS)))
        result = api.exec(self.dsn, statement, options)
        assert result.ok, result.error
        (task,) = result.tasks
        assert (task.verdict == "split") is (plan is not None)
        if plan is not None:
            assert task.chunks >= min(2, plan.total)
        return task

    def columns(self, name: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(COLUMNS, [name]).fetchall()

    def compare(self, schema: str, query: TpchQuery) -> int:
        """Fail unless the two tables hold equal rows, spelling and duplicates counted; how many."""
        names = {"schema": sql.Identifier(schema), "name": sql.Identifier(query.name)}
        row = self.connection.execute(sql.SQL(DIFFERENT_ROWS).format(**names)).fetchone()
        assert row is not None
        rows, lost, found = row
        assert (lost, found) == (0, 0)
        mine, other = f"{schema}.{query.name}", f"serial.{query.name}"
        assert self.columns(mine) == self.columns(other)
        return int(rows)


@pytest.fixture(scope="module")
def database(server: EmbeddedServer) -> Iterator[Database]:
    with fresh_database(server) as dsn:
        made = Database(dsn)
        try:
            yield made
        finally:
            made.connection.close()


by_query = pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)


@by_query
def test_create_table_as_gives_the_rows_of_one_connection(
    database: Database, query: TpchQuery
) -> None:
    database.run_alone(query)
    database.run_in_chunks(query.create("split", SCALE))
    rows = database.compare("split", query)
    assert rows, "nothing was compared"


@by_query
def test_insert_select_gives_the_rows_of_one_connection(
    database: Database, query: TpchQuery
) -> None:
    database.run_alone(query)
    database.execute(query.create_empty("inserted", SCALE))
    task = database.run_in_chunks(query.insert("inserted", SCALE))
    assert database.compare("inserted", query) == task.rows


def test_the_documented_verdicts_are_those_that_pgfan_gives(database: Database) -> None:
    if SCALE != SCALE_TESTED:
        pytest.skip(
            f"the page's table is of scale {SCALE_TESTED}: costs decide otherwise elsewhere"
        )
    written = table_in(PAGE.read_text(encoding="utf-8")).splitlines()
    assert table(database.dsn, SCALE).splitlines() == written, "renew the page: make tpch-docs"
