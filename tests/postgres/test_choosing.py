"""Which key is taken, where the server's own plan of one query decides it."""

from __future__ import annotations

import psycopg
import pytest

from pgfan.postgres.analysis import Analyst
from pgfan.postgres.choosing import SplitOptions
from pgfan.postgres.explain import explain
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.sql.program import Program, Source

TABLES = """
CREATE TABLE towns (id int, low int, high int, remark text);
INSERT INTO towns SELECT i, i * 20, i * 20 + 25, repeat('x', 900) FROM generate_series(1, 400) i;
CREATE TABLE few (LIKE towns); INSERT INTO few SELECT id, low, high FROM towns;
CREATE TABLE stations (id int, place int, remark text);
INSERT INTO stations SELECT i, i, repeat('x', 200) FROM generate_series(1, 8000) i;
CREATE INDEX ON stations (place); CREATE TABLE near (town int, station int); ANALYZE"""
NEAR = "INSERT INTO near SELECT t.id, s.id FROM {} t JOIN stations s ON "
WITHIN = "s.place BETWEEN t.low AND t.high"


def driving(dsn: str, sql: str, jobs: int) -> tuple[str, ...]:
    session, snapshots = PostgresSession(dsn), SnapshotHolder(dsn)
    try:
        (item,) = Program.read([Source("-c", sql)], {}).items
        found = Analyst(session, snapshots, SplitOptions("always", jobs=jobs), None).analyse(item)
        assert found.driving is not None, found.plan.reasons
        return (found.driving.key, *(found.driving.relation or ()))
    finally:
        snapshots.end()
        session.close()


@pytest.fixture
def towns(dsn: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLES)
    return dsn


def test_the_table_that_one_query_starts_from_is_divided_and_not_the_larger_one(towns: str) -> None:
    looks_up, hashes = NEAR.format("towns") + WITHIN, NEAR.format("towns") + "s.id = t.id"

    assert driving(towns, looks_up, jobs=2) == ("ctid", "towns")
    assert driving(towns, hashes, jobs=2) == ("ctid", "stations")


def test_a_table_of_few_blocks_is_not_divided_though_one_query_starts_from_it(towns: str) -> None:
    with psycopg.connect(towns) as connection:  # where costs are close, the planner may hash too
        for join in ("hash", "merge"):
            database = f"ALTER DATABASE {connection.info.dbname} SET enable_{join}join = off"
            connection.execute(database.encode())
    at, at_few = (NEAR.format(table) + "s.place = t.low" for table in ("towns", "few"))

    assert driving(towns, at, jobs=2) == ("ctid", "towns")
    assert driving(towns, at, jobs=16) == ("ctid", "stations")
    assert driving(towns, at_few, jobs=2) == ("ctid", "stations")


def test_the_table_that_looks_others_up_is_told_by_the_plan(towns: str) -> None:
    below = "SELECT count(*) FROM (SELECT * FROM towns OFFSET 0) t JOIN stations s ON " + WITHIN
    cases = {
        NEAR.format("towns") + WITHIN: "t",
        NEAR.format("towns") + "s.id = t.id": "",
        below: "towns",
        "SELECT * FROM towns CROSS JOIN few": "",
        "SELECT 1": "",
    }
    session = PostgresSession(towns)
    found = {sql: explain(session, sql).looks_up_from for sql in cases}
    session.close()

    assert found == cases
