r"""Statements that a query makes (`\gexec`): what psql leaves and says."""

from __future__ import annotations

import pytest
from scripts_alike import by_pgfan, by_psql

ALIKE = {
    "cells row by row": (
        "\\echo before\nCREATE SCHEMA s;\n"
        "SELECT format('CREATE TABLE c%s AS SELECT %s AS i', g, g), NULL, '', "
        "format('SELECT i FROM c%s', g) FROM generate_series(1, 3) g \\gexec\n"
        "\\echo after\nSELECT count(*) FROM c2;\n\\echo end\n"
    ),
    "settings hold from there on": (
        "CREATE SCHEMA s;\nSELECT 'SET search_path = s', 'CREATE TABLE there ()' \\gexec\n"
        "SHOW search_path;\nSET work_mem = '1MB';\nSHOW search_path;\n"
    ),
    "blocks, and several statements in a cell": (
        "CREATE TABLE t (i int);\nSELECT 'BEGIN', 'INSERT INTO t VALUES (1)', 'ROLLBACK', "
        "'INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)' \\gexec\nSELECT sum(i) FROM t;\n"
    ),
    "rows of a statement that writes": (
        "CREATE TABLE t (i int);\n"
        "WITH n AS (INSERT INTO t VALUES (7) RETURNING i) SELECT 'SELECT ' || i FROM n \\gexec\n"
        "CREATE TABLE u () \\gexec\n"
    ),
    "one that makes none": "SELECT 'SELECT 1' WHERE false \\gexec\nSELECT 2;\n",
    "a query of the session's own": (
        "CREATE TEMP TABLE m AS SELECT 'INSERT INTO m VALUES (''SELECT 1'')' AS q;\n"
        "TABLE m \\gexec\nTABLE m \\gexec\nSELECT count(*) FROM m;\n"
    ),
    "sequence values": (
        "CREATE SEQUENCE q;\nSELECT 'SELECT nextval(''q'')', 'SELECT currval(''q'')' \\gexec\n"
    ),
    "the text is no script": "SELECT 'SELECT '':x'', $$\\$$' \\gexec\n",
}
FAILING = {
    "no statement": "SELECT 'CREATE TABLE t ()', 'SELEC 1', 'CREATE TABLE u ()' \\gexec\nTABLE t;",
    "refused by the server": "SELECT 'CREATE TABLE t ()', 'TABLE nowhere' \\gexec\nTABLE t;",
    "refused query": "CREATE TABLE t ();\nSELECT 1 / 0 \\gexec\nCREATE TABLE u ();",
}


@pytest.mark.parametrize("script", ALIKE.values(), ids=list(ALIKE))
def test_psql_leaves_and_says_the_same(dsn18: str, script: str) -> None:
    expected, found = by_psql(dsn18, script), by_pgfan(dsn18, script, jobs=3)
    assert expected.ok
    assert found == expected


@pytest.mark.parametrize("script", FAILING.values(), ids=list(FAILING))
def test_it_stops_where_psql_does(dsn18: str, script: str) -> None:
    expected, found = by_psql(dsn18, script), by_pgfan(dsn18, script, jobs=2)
    assert (found.ok, found.catalogue) == (False, expected.catalogue)
    assert not expected.ok
