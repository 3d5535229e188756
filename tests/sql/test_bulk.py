"""Which statements may write many rows at once, and which read many by a plan."""

from __future__ import annotations

import pytest

from pgfan.sql.bulk import fills, plans
from pgfan.sql.parsing import parse
from pgfan.sql.tree import inner

CASES = {
    "COPY t FROM STDIN": (True, False),
    "COPY t TO STDOUT": (False, False),
    "COPY (SELECT * FROM t) TO STDOUT": (False, True),
    "INSERT INTO t VALUES (1), (2)": (False, False),
    "INSERT INTO t DEFAULT VALUES": (False, False),
    "INSERT INTO t SELECT * FROM u": (True, True),
    "INSERT INTO t TABLE u": (True, True),
    "INSERT INTO t SELECT 1 UNION ALL SELECT i FROM u": (True, True),
    "CREATE TABLE t AS SELECT 1": (True, True),
    "CREATE MATERIALIZED VIEW t AS SELECT 1": (True, True),
    "REFRESH MATERIALIZED VIEW t": (True, True),
    "SELECT * INTO t FROM u": (True, True),
    "SELECT * FROM t": (False, True),
    "SELECT 1 UNION SELECT i FROM t": (False, True),
    "SELECT 1": (False, False),
    "UPDATE t SET i = 1": (True, True),
    "DELETE FROM t": (False, True),
    "MERGE INTO t USING u ON t.i = u.i WHEN MATCHED THEN DELETE": (True, True),
    "CREATE INDEX ON t (i)": (False, False),
    "CREATE VIEW v AS SELECT * FROM t": (False, False),
    "TRUNCATE t": (False, False),
}


@pytest.mark.parametrize(("sql", "expected"), CASES.items(), ids=list(CASES))
def test_fills_and_plans(sql: str, expected: tuple[bool, bool]) -> None:
    tree = inner(parse(sql).stmts[0].stmt)
    assert (fills(tree), plans(tree)) == expected
