"""Which statements go into bundles, and what they may share there."""

from __future__ import annotations

import pytest
from accesses_known import KNOWN

from pgfan.sql.accesses import ScriptAccesses
from pgfan.sql.light import (
    Unlogged,
    is_light_definition,
    rows_of_light,
    shared_without_clock,
    unless_clock,
)
from pgfan.sql.script import read_script

TABLES = """
CREATE TABLE plain (a int, b text);
CREATE TABLE keyed (a int PRIMARY KEY, b text UNIQUE);
CREATE TABLE stamped (a int, b timestamptz DEFAULT now());
CREATE TABLE numbered (a serial, b text);
CREATE TABLE checked (a int CHECK (a > 0));
CREATE TABLE child (a int REFERENCES keyed);
CREATE TABLE generated (a int, b int GENERATED ALWAYS AS (a + 1) STORED);
CREATE TABLE parts (a int) PARTITION BY LIST (a);
CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);
CREATE VIEW seen AS SELECT a, b FROM plain;
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM plain';
CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE watched (a int);
CREATE TRIGGER w BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION g();
"""
CASES = {
    "INSERT INTO plain VALUES (1, 'x')": "transaction",
    "INSERT INTO plain VALUES (1, 'x'), (2, NULL)": "transaction",
    "INSERT INTO plain (a) VALUES (1)": "transaction",
    "INSERT INTO keyed VALUES (1, 'x')": "transaction",
    "INSERT INTO stamped VALUES (1, '2026-01-01')": "transaction",
    # It could be told by the time, a sequence, other rows, or a constraint that waits.
    "INSERT INTO stamped (a) VALUES (1)": "nothing",
    "INSERT INTO stamped VALUES (1, DEFAULT)": "nothing",
    "INSERT INTO stamped VALUES (1, now())": "nothing",
    "INSERT INTO stamped VALUES (1, 'Now')": "nothing",
    "INSERT INTO stamped VALUES (1, current_timestamp)": "nothing",
    "INSERT INTO numbered (b) VALUES ('x')": "message",
    "INSERT INTO checked VALUES (1)": "transaction",
    "INSERT INTO child VALUES (1)": "message",
    "INSERT INTO generated (a) VALUES (1)": "transaction",
    "INSERT INTO parts VALUES (1)": "message",
    "INSERT INTO part VALUES (1)": "message",
    "INSERT INTO seen VALUES (1, 'x')": "nothing",
    "INSERT INTO keyed VALUES (1, 'x') ON CONFLICT DO NOTHING": "message",
    "INSERT INTO plain VALUES (1 + 1, lower('X'))": "message",
    "INSERT INTO nowhere VALUES (1)": "nothing",
    # It may take any time, or is no INSERT of values.
    "INSERT INTO plain VALUES (f(1), 'x')": "no",
    "INSERT INTO plain VALUES (1, pg_sleep(9)::text)": "no",
    "INSERT INTO plain VALUES ((SELECT count(*) FROM keyed), 'x')": "no",
    "INSERT INTO plain VALUES (1, 'x') RETURNING a": "no",
    "WITH c AS (SELECT 1) INSERT INTO plain VALUES (1, 'x')": "no",
    "INSERT INTO keyed VALUES (1, 'x') ON CONFLICT (a) DO UPDATE SET b = (SELECT 'y')": "no",
    "INSERT INTO plain SELECT 1, 'x'": "no",
    "INSERT INTO plain DEFAULT VALUES": "no",
    "INSERT INTO watched VALUES (1)": "no",
    "INSERT INTO plain VALUES (1, '" + 9000 * "x" + "')": "no",
    "UPDATE plain SET b = 'y' WHERE a = 1": "no",
    "BEGIN; INSERT INTO plain VALUES (1, 'x'); COMMIT": "no",
    "CREATE TEMP TABLE plain (a int); INSERT INTO plain VALUES (1)": "no",
}


@pytest.mark.parametrize("sql", CASES, ids=lambda sql: sql[:80])
def test_what_goes_into_bundles(sql: str) -> None:
    accesses = ScriptAccesses(KNOWN)
    for item in read_script(f"{TABLES};{sql}", "-c"):
        found = accesses.read([statement.tree for statement in item.statements])
    verdict = "no"
    if rows_of_light(item, found):
        shares = shared_without_clock(item, found, accesses.definitions)
        verdict = unless_clock(shares, item.first.text)
    assert verdict == CASES[sql]


DEFINITIONS = {
    "CREATE TABLE t (a int PRIMARY KEY, b text DEFAULT 'x' CHECK (b <> ''))": True,
    "CREATE UNLOGGED TABLE t (a serial)": True,
    "CREATE VIEW w AS SELECT a FROM plain": True,
    "CREATE SEQUENCE s": True,
    "CREATE SCHEMA s": True,
    "CREATE TYPE e AS ENUM ('x')": True,
    "COMMENT ON TABLE plain IS 'x'": True,
    "COMMENT ON COLUMN plain.a IS NULL": True,
    # It may have a notice, wait for a lock, run code, take long, or belong to a session.
    "CREATE TABLE IF NOT EXISTS plain (a int)": False,
    "CREATE TABLE t (a int REFERENCES keyed)": False,
    "CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES keyed)": False,
    "CREATE TABLE t () INHERITS (plain)": False,
    "CREATE TABLE t PARTITION OF parts FOR VALUES IN (2)": False,
    "CREATE TABLE t (LIKE plain)": False,
    "CREATE TABLE t (a int DEFAULT f(1))": False,
    "CREATE TEMP TABLE t (a int)": False,
    "CREATE TABLE t AS SELECT 1": False,
    "CREATE TABLE t (a text DEFAULT '" + 9000 * "x" + "')": False,
    "CREATE OR REPLACE VIEW seen AS SELECT a, b FROM plain": False,
    "CREATE VIEW w AS SELECT f(1)": False,
    "CREATE MATERIALIZED VIEW m AS SELECT 1": False,
    "CREATE SEQUENCE IF NOT EXISTS s": False,
    "CREATE SEQUENCE s OWNED BY plain.a": False,
    "CREATE TEMP SEQUENCE s": False,
    "CREATE SCHEMA IF NOT EXISTS s": False,
    "CREATE SCHEMA s CREATE TABLE t (a int)": False,
    "COMMENT ON DATABASE d IS 'x'": False,
    "CREATE INDEX ON plain (a)": False,
    "ALTER TABLE plain ADD c int": False,
    "GRANT SELECT ON plain TO PUBLIC": False,
    "DROP TABLE plain": False,
    "BEGIN; CREATE TABLE t (a int); COMMIT": False,
}


@pytest.mark.parametrize("sql", DEFINITIONS, ids=lambda sql: sql[:80])
def test_which_definitions_go_into_bundles(sql: str) -> None:
    accesses = ScriptAccesses(KNOWN)
    for item in read_script(f"{TABLES};{sql}", "-c"):
        found = accesses.read([statement.tree for statement in item.statements])
    assert is_light_definition(item, found) == DEFINITIONS[sql]


UNLOGGED = {
    "CREATE UNLOGGED TABLE u (a int)": {"u"},
    "CREATE TABLE u (a int)": set(),
    "CREATE UNLOGGED TABLE u AS SELECT 1": {"u"},
    "SELECT 1 AS a INTO UNLOGGED u": {"u"},
    "ALTER TABLE u SET UNLOGGED": {"u"},
    "BEGIN; CREATE UNLOGGED TABLE v (a int); ALTER TABLE v RENAME TO u; COMMIT": {"u", "v"},
}


@pytest.mark.parametrize("sql", UNLOGGED)
def test_names_of_unlogged_tables(sql: str) -> None:
    names = Unlogged(())
    (made,) = read_script(sql, "-c")
    names.read(made)
    written = {
        name
        for name in ("u", "v")
        if names.is_written(read_script(f"INSERT INTO {name} VALUES (1)", "-c")[0])
    }
    assert written == UNLOGGED[sql]
