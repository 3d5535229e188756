"""What only the catalogue tells: statements whose chunks would differ from one connection.

Each was once split, with other rows or another error than one connection gives. Here the facts
are the server's own; the rules have their tables in tests/sql.
"""

from __future__ import annotations

import pytest
from side_by_side import execute, pgfan, reused_dsn

dsn = reused_dsn

GENERATED = """CREATE TABLE t (
    id int PRIMARY KEY, a int, g int GENERATED ALWAYS AS (a * 2) STORED UNIQUE);
INSERT INTO t SELECT 101 - i, i FROM generate_series(100, 1, -1) i"""
MOVING = """CREATE TABLE p (id int, r int) PARTITION BY LIST (r);
CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1) PARTITION BY LIST ((id % 2));
CREATE TABLE p10 PARTITION OF p1 FOR VALUES IN (0);
CREATE TABLE p11 PARTITION OF p1 FOR VALUES IN (1);
CREATE INDEX ON p (id);
INSERT INTO p SELECT i, i % 2 FROM generate_series(1, 100) i"""
TRIGGER = """CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER seen BEFORE INSERT ON p0 FOR EACH ROW EXECUTE FUNCTION seen()"""
# What is made before, the statement, and the reason why it runs on one connection.
REFUSED = [
    (GENERATED, "UPDATE t SET a = a + 1", "assigned-unique"),
    (
        f"{GENERATED}; CREATE TABLE s AS SELECT id, 0 FROM t",
        "INSERT INTO t (id, a) TABLE s ON CONFLICT (id) DO UPDATE SET a = t.a + 1",
        "assigned-unique",
    ),
    (f"{MOVING};{TRIGGER}", "UPDATE p SET r = 1 - r", "trigger"),
    (f"{MOVING};{TRIGGER}", "UPDATE p SET id = id + 1", "trigger"),
    (f"{MOVING}; CREATE UNIQUE INDEX ON p0 (id)", "UPDATE p SET r = 1 - r", "assigned-unique"),
    (
        "CREATE TABLE t (id int); CREATE RULE nothing AS ON DELETE TO t DO INSTEAD NOTHING",
        "DELETE FROM t",
        "rule",
    ),
]


@pytest.mark.parametrize(("setup", "statement", "code"), REFUSED)
def test_runs_on_one_connection(dsn: str, setup: str, statement: str, code: str) -> None:
    execute(dsn, setup)
    outcome = pgfan(dsn, statement)
    assert outcome.result.ok, outcome.result.error
    assert code in {found for found, _ in outcome.last.reasons}


def test_rows_that_stay_in_their_partition_are_not_inserted_there(dsn: str) -> None:
    execute(
        dsn,
        "CREATE TABLE p (id int, r int, note text) PARTITION BY LIST (r);"
        "CREATE TABLE p0 PARTITION OF p DEFAULT; CREATE INDEX ON p (id);"
        f"INSERT INTO p SELECT i, i FROM generate_series(1, 100) i; {TRIGGER}",
    )
    outcome = pgfan(dsn, "UPDATE p SET note = 'new'")
    assert (outcome.last.verdict, outcome.tags) == ("split", ["UPDATE 100"])


def test_a_child_generates_its_columns_its_own_way(dsn18: str) -> None:
    execute(
        dsn18,
        "CREATE TABLE p (a int, b int, g int GENERATED ALWAYS AS (a * 2) STORED);"
        "CREATE TABLE c (g int GENERATED ALWAYS AS (b * 3) STORED) INHERITS (p);"
        "INSERT INTO p SELECT i, 0 FROM generate_series(1, 60) i;"
        "INSERT INTO c SELECT 0, i FROM generate_series(1, 60) i;"
        "CREATE INDEX ON p (g); CREATE INDEX ON c (g); ANALYZE",
    )
    outcome = pgfan(dsn18, "UPDATE p SET b = b + 1000", by="g")
    assert outcome.result.ok
    assert outcome.tags == ["UPDATE 120"]
