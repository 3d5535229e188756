"""INSERT ... SELECT through a temporary table: its two statements, and what has none."""

from __future__ import annotations

import pytest
from sql_catalogue import tree_of

from pgfan.sql.staging import staged, staged_query

# A statement, and the query that is staged.
STAGED = [
    ("INSERT INTO t SELECT count(*) FROM b", "SELECT count(*) FROM b"),
    ("INSERT INTO t (x) TABLE b", "SELECT * FROM b"),
    ("INSERT INTO t SELECT x FROM b UNION VALUES (1)", "SELECT x FROM b UNION VALUES (1)"),
    ("WITH s AS (TABLE b) INSERT INTO t TABLE s", "WITH s AS (SELECT * FROM b) SELECT * FROM s"),
    (
        "WITH s AS (TABLE b) INSERT INTO t WITH r AS (TABLE s) TABLE r",
        "WITH s AS (SELECT * FROM b), r AS (SELECT * FROM s) SELECT * FROM r",
    ),
    ("INSERT INTO t SELECT x FROM b ON CONFLICT DO NOTHING", "SELECT x FROM b"),
    ("INSERT INTO t SELECT x FROM b RETURNING id", "SELECT x FROM b"),
    # The query alone goes with its own WITH.
    (
        (
            "INSERT INTO t WITH s AS (SELECT 1 AS x) SELECT x FROM s "
            "ON CONFLICT (id) DO UPDATE SET x = 2"
        ),
        "WITH s AS (SELECT 1 AS x) SELECT x FROM s",
    ),
]
NOT_STAGED = [
    "INSERT INTO t VALUES (1)",
    "INSERT INTO t DEFAULT VALUES",
    "UPDATE t SET x = 1",
    "CREATE TABLE n AS TABLE b",
    "SELECT x INTO n FROM b",
    # What follows the SELECT may read the statement's WITH.
    (
        "WITH s AS (TABLE b) INSERT INTO t TABLE s "
        "ON CONFLICT (id) DO UPDATE SET x = (SELECT max(x) FROM s)"
    ),
    "WITH s AS (TABLE b) INSERT INTO t TABLE s RETURNING (SELECT max(x) FROM s)",
    # CREATE TABLE AS may not change rows, nor has it a value for a parameter.
    "WITH s AS (DELETE FROM b RETURNING x) INSERT INTO t TABLE s",
    "INSERT INTO t WITH s AS (INSERT INTO c VALUES (1) RETURNING x) TABLE s",
    "INSERT INTO t SELECT x FROM b WHERE x = $1",
]


@pytest.mark.parametrize(("sql", "query"), STAGED, ids=[case[0] for case in STAGED])
def test_the_query_is_a_statement_of_its_own(sql: str, query: str) -> None:
    assert staged_query(tree_of(sql)) == query


@pytest.mark.parametrize("sql", NOT_STAGED)
def test_what_is_not_staged(sql: str) -> None:
    assert staged_query(tree_of(sql)) is None


def test_the_insert_keeps_all_but_the_query_and_its_with() -> None:
    tree = tree_of("WITH s AS (TABLE b) INSERT INTO t (y, x) OVERRIDING USER VALUE TABLE s")
    query = staged_query(tree)
    assert query is not None
    found = staged(tree, query, 2)
    assert found.create == (
        f"CREATE TEMPORARY TABLE pgfan_staged (c1, c2) ON COMMIT DROP AS {query}"
    )
    assert found.insert == (
        "INSERT INTO t (y, x) OVERRIDING USER VALUE SELECT c1, c2 FROM pg_temp.pgfan_staged"
    )
    conflict = tree_of("INSERT INTO t SELECT x FROM b ON CONFLICT (id) DO UPDATE SET x = 1")
    assert staged(conflict, "SELECT x FROM b", 1).insert == (
        "INSERT INTO t SELECT c1 FROM pg_temp.pgfan_staged ON CONFLICT (id) DO UPDATE SET x = 1"
    )
