"""Which columns a comparison leaves out, and which statements cannot be compared."""

from __future__ import annotations

import pytest
from sql_catalogue import catalogue, tree_of

from pgfan.sql.repeatable import TargetColumn, unrepeatable

COLUMNS = (
    TargetColumn("id", identity=True),
    TargetColumn("a"),
    TargetColumn("r", "random()"),
    TargetColumn("b", "1"),
    TargetColumn("g", "(a * 2)", generated=True),
)

LEFT_OUT = [
    ("INSERT INTO t SELECT 1, 2, 3, 4 FROM b", 4, set()),
    ("INSERT INTO t SELECT 1, 2 FROM b", 2, {"r"}),
    ("INSERT INTO t (a) SELECT 1 FROM b", 1, {"id", "r"}),
    ("INSERT INTO t (id, r) SELECT 1, 1 FROM b", 2, set()),
    ("INSERT INTO t (a) OVERRIDING USER VALUE SELECT 1 FROM b", 1, {"id", "r"}),
    ("INSERT INTO t (id, r) OVERRIDING USER VALUE SELECT 1, 1 FROM b", 2, {"id"}),
    ("INSERT INTO t (id, a, r) SELECT 1, random(), 1 FROM b", 3, {"a", "g"}),
    ("INSERT INTO t (id, r, b) SELECT 1, 1, random() + now()::text::int FROM b", 3, {"b"}),
    ("INSERT INTO t (id, a, r, b) SELECT b.*, random() FROM b", 4, {"b"}),
    ("INSERT INTO t (id, a, r, b) SELECT random(), b.* FROM b", 4, {"id"}),
    ("INSERT INTO t (id, r) SELECT now(), current_date FROM b", 2, set()),
    ("UPDATE t SET b = random()", 0, {"b"}),
    ("UPDATE t SET a = random()", 0, {"a", "g"}),
    ("UPDATE t SET r = DEFAULT", 0, {"r"}),
    ("UPDATE t SET b = 2", 0, set()),
    ("DELETE FROM t WHERE a = 1", 0, set()),
    ("MERGE INTO t USING b ON a = x WHEN NOT MATCHED THEN INSERT (a) VALUES (x)", 0, {"id", "r"}),
]


@pytest.mark.parametrize(("sql", "given", "expected"), LEFT_OUT)
def test_columns_left_out(sql: str, given: int, expected: set[str]) -> None:
    found = unrepeatable(tree_of(sql), COLUMNS, given, catalogue())
    assert (found.nothing, found.counts_only) == (None, None)
    assert set(found.columns) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (a) SELECT x FROM b WHERE random() < 0.5",
        "INSERT INTO t (a) SELECT DISTINCT random() FROM b",
        "INSERT INTO t (a) SELECT random() FROM b GROUP BY 1",
        "INSERT INTO t (a) SELECT random() FROM b LIMIT 3",
        "INSERT INTO t (a) SELECT random() UNION SELECT 1",
        "INSERT INTO t (a) SELECT r FROM (SELECT random() AS r FROM b) q",
        "INSERT INTO t (a) SELECT generate_series(1, random()::int)",
        "INSERT INTO t (a) SELECT x FROM b ON CONFLICT DO NOTHING",
        "UPDATE t SET a = 1 WHERE random() < 0.5",
        "DELETE FROM t WHERE random() < 0.5",
        "DELETE FROM t WHERE xmin = '1'",
        "MERGE INTO t USING b ON a = x WHEN NOT MATCHED THEN INSERT (a) VALUES (random())",
    ],
)
def test_nothing_can_be_compared(sql: str) -> None:
    assert unrepeatable(tree_of(sql), COLUMNS, 1, catalogue()).nothing is not None


def test_numbers_of_rows_alone() -> None:
    sql = "INSERT INTO t SELECT b.*, random(), c.* FROM b, c"
    assert unrepeatable(tree_of(sql), COLUMNS, 5, catalogue()).counts_only == "random()"


def test_columns_of_a_new_table_are_told_by_position() -> None:
    found = unrepeatable(tree_of("CREATE TABLE n AS SELECT x, random() FROM b"), (), 2, catalogue())
    assert found.positions == {1: "random()"}
