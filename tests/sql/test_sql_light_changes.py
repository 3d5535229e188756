"""Which UPDATEs and DELETEs go into bundles: those of one row, found by a key."""

from __future__ import annotations

import pytest
from accesses_known import KNOWN

from pgfan.sql.accesses import ScriptAccesses
from pgfan.sql.light_changes import is_light_change
from pgfan.sql.script import read_script

TABLES = """
CREATE TABLE keyed (id int PRIMARY KEY, a int, b text UNIQUE);
CREATE TABLE pair (x int, y int, b text, UNIQUE (x, y));
CREATE TABLE bare (id int, b text);
CREATE UNIQUE INDEX part_of ON bare (id) WHERE b = 'x';
CREATE TABLE indexed (id int, b text);
CREATE UNIQUE INDEX ON indexed (id) INCLUDE (b);
CREATE TABLE dropped (id int, b text);
CREATE UNIQUE INDEX gone ON dropped (id);
DROP INDEX gone;
CREATE TABLE parent (id int PRIMARY KEY, b text);
CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent);
CREATE TABLE parts (id int PRIMARY KEY, b text) PARTITION BY LIST (id);
CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);
CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TABLE watched (id int PRIMARY KEY, b text);
CREATE TRIGGER w BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION g();
CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT count(*)::int FROM bare';
CREATE SEQUENCE q;
"""
CASES = {
    "UPDATE keyed SET b = 'y' WHERE id = 5": True,
    "UPDATE keyed SET a = a + 1, b = NULL WHERE id = -5 AND a = 3": True,
    "UPDATE keyed SET a = 1 WHERE b = 'x'": True,
    "UPDATE keyed SET a = 1 WHERE id = 3000000000": True,
    "DELETE FROM keyed WHERE id = 5": True,
    "DELETE FROM pair WHERE x = 1 AND y = 2": True,
    "UPDATE indexed SET b = 'y' WHERE id = 5": True,
    # Not one row, or not by the index.
    "UPDATE keyed SET a = 1": False,
    "UPDATE keyed SET b = 'y' WHERE a = 5": False,
    "UPDATE keyed SET b = 'y' WHERE id > 5": False,
    "UPDATE keyed SET b = 'y' WHERE id = 5 OR a = 3": False,
    "UPDATE keyed SET b = 'y' WHERE id = 5.5": False,
    "UPDATE keyed SET b = 'y' WHERE id = a": False,
    "DELETE FROM pair WHERE x = 1": False,
    "UPDATE bare SET b = 'y' WHERE id = 5": False,
    "UPDATE dropped SET b = 'y' WHERE id = 5": False,
    # It runs or touches something else.
    "UPDATE keyed SET a = f(1) WHERE id = 5": False,
    "UPDATE keyed SET a = nextval('q') WHERE id = 5": False,
    "UPDATE keyed SET a = DEFAULT WHERE id = 5": False,
    "UPDATE keyed SET a = (SELECT 1) WHERE id = 5": False,
    "UPDATE keyed SET a = 1 FROM bare WHERE keyed.id = 5": False,
    "WITH w AS (SELECT 1) UPDATE keyed SET a = 1 WHERE id = 5": False,
    "UPDATE keyed SET a = 1 WHERE id = 5 RETURNING a": False,
    "DELETE FROM keyed USING bare WHERE keyed.id = 5": False,
    "DELETE FROM parent WHERE id = 5": False,
    "UPDATE child SET p = 1 WHERE id = 5": False,
    "UPDATE parts SET b = 'y' WHERE id = 1": False,
    "UPDATE part SET b = 'y' WHERE id = 1": False,
    "UPDATE watched SET b = 'y' WHERE id = 1": False,
    "BEGIN; UPDATE keyed SET a = 1 WHERE id = 5; COMMIT": False,
    "INSERT INTO keyed VALUES (1)": False,
}


@pytest.mark.parametrize("sql", CASES)
def test_which_changes_go_into_bundles(sql: str) -> None:
    accesses = ScriptAccesses(KNOWN)
    for item in read_script(f"{TABLES};{sql}", "-c"):
        found = accesses.read([statement.tree for statement in item.statements])
    assert is_light_change(item, found, accesses.definitions) == CASES[sql]
