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
LOGGED = """CREATE TABLE s AS SELECT i AS id FROM generate_series(1, 60) i;
CREATE TABLE t (id int, x int); CREATE TABLE log (n bigint);
CREATE FUNCTION logged(int, int DEFAULT 0) RETURNS int LANGUAGE plpgsql VOLATILE AS
    'BEGIN INSERT INTO log SELECT count(*) FROM log; RETURN $1 + $2; END'"""
DOMAIN = f"{LOGGED}; CREATE DOMAIN dom AS int CHECK (logged(VALUE) > 0)"
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
    (
        f"{LOGGED}; CREATE AGGREGATE added (int) (sfunc = logged, stype = int, initcond = '0')",
        "INSERT INTO t SELECT id % 9, added(id) FROM s GROUP BY id % 9",
        "function-volatile",
    ),
    (DOMAIN, "INSERT INTO t SELECT id, id::dom FROM s", "cast-function"),
    (
        f"{DOMAIN}; CREATE TYPE pair AS (a int, b dom)",
        "INSERT INTO t SELECT id, (ROW(1, id)::pair).a FROM s",
        "cast-function",
    ),
    (
        f"{LOGGED}; CREATE SEQUENCE q MAXVALUE 40 CYCLE CACHE 7",
        "INSERT INTO t (id) SELECT nextval('q') FROM s",
        "function-volatile",
    ),
    (
        "CREATE TABLE s AS SELECT i FROM generate_series(1, 60) i",
        "CREATE TABLE made AS SELECT i, to_regclass('made') AS found FROM s",
        "function-unstable",
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


def test_a_function_that_newer_servers_read_as_syntax(dsn: str) -> None:
    """PostgreSQL 18 calls its own JSON_SCALAR, and 15 that of the user; both on one connection."""
    execute(
        dsn,
        f'{LOGGED}; CREATE FUNCTION "json_scalar"(int) RETURNS int LANGUAGE sql '
        "AS 'SELECT logged($1)'",
    )
    outcome = pgfan(dsn, "CREATE TABLE made AS SELECT id, json_scalar(id) AS x FROM s")
    assert [code for code, _ in outcome.last.reasons] == ["function-volatile"]


def test_a_temporary_type_is_one_sessions_own(dsn: str) -> None:
    execute(dsn, LOGGED)
    outcome = pgfan(
        dsn,
        "CREATE DOMAIN pg_temp.short AS varchar(1);"
        "CREATE TABLE made AS SELECT id::text::short AS x FROM s",
    )
    assert outcome.result.ok
    assert [code for code, _ in outcome.last.reasons] == ["temporary-table"]


def test_values_of_an_identity_column_come_in_another_order(dsn: str) -> None:
    execute(dsn, f"{LOGGED}; CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY, x int)")
    outcome = pgfan(dsn, "INSERT INTO made (x) SELECT id FROM s")
    assert outcome.last.verdict == "split"
    assert "sequence-order" in outcome.last.hazards
