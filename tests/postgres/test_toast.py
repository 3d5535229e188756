"""What of a statement's rows is stored out of line, where EXPLAIN does not look."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan import api
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.toast import read_stored_apart
from pgfan.sql.parsing import parse
from pgfan.sql.tree import inner

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = 4_000
TABLES = f"""
CREATE TABLE goal (id int, body text);
CREATE TABLE pages (id int, body text);
ALTER TABLE pages ALTER body SET STORAGE EXTERNAL;
INSERT INTO pages SELECT i, repeat(md5(i::text), 150) FROM generate_series(1, {ROWS}) i;
CREATE TABLE narrow (id int, name text);
INSERT INTO narrow SELECT i, 'name' FROM generate_series(1, {ROWS}) i;
CREATE TABLE odd (LIKE pages INCLUDING STORAGE, name text);
INSERT INTO odd SELECT * FROM pages;
ANALYZE"""

CASES = {  # kilobytes
    "INSERT INTO goal SELECT id, upper(p.body) FROM pages p": 5,
    "INSERT INTO goal TABLE pages": 5,
    "CREATE TABLE made AS SELECT id, body FROM pages": 5,
    "UPDATE pages SET body = upper(body)": 5,
    "INSERT INTO goal SELECT id, '' FROM pages": 0,
    "UPDATE pages SET id = id + 1": 0,
    "INSERT INTO goal SELECT id, name FROM narrow": 0,
    "INSERT INTO pages SELECT id, body FROM goal": 0,
    "INSERT INTO goal SELECT 1, 'none'": 0,
    "INSERT INTO goal SELECT id, body FROM nowhere": 0,
    # Nothing tells which of the two columns is wide.
    "INSERT INTO goal SELECT id, name FROM odd": 3,
}


@pytest.fixture
def wide(dsn: str) -> Iterator[PostgresSession]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLES)
    session = PostgresSession(dsn)
    yield session
    session.close()


def test_bytes_of_a_row_that_are_out_of_line(wide: PostgresSession) -> None:
    found = {sql: read_stored_apart(wide, inner(parse(sql).stmts[0].stmt)) for sql in CASES}

    assert {sql: round(size / 1_000) for sql, size in found.items()} == CASES


def test_wide_rows_are_worth_a_split_and_narrow_ones_of_the_same_table_are_not(
    wide: PostgresSession, dsn: str
) -> None:
    del wide
    bodies, numbers = (
        api.exec(dsn, sql, api.ExecOptions(jobs=2)).tasks[0]
        for sql in (
            "INSERT INTO goal SELECT id, body || 'x' FROM pages",
            "INSERT INTO goal SELECT id, '' FROM pages",
        )
    )

    assert (bodies.verdict, bodies.rows) == ("split", ROWS)
    assert [code for code, _ in numbers.reasons] == ["small"]
    with psycopg.connect(dsn) as connection:
        different = connection.execute(
            "SELECT count(*) FROM (SELECT id, body || 'x' FROM pages EXCEPT ALL "
            "SELECT id, body FROM goal WHERE body <> '') d"
        ).fetchone()
    assert different == (0,)
