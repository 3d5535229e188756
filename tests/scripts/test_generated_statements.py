r"""Statements that a query makes (`\gexec`): what psql leaves and says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from scripts_alike import by_pgfan, by_psql

from pgfan import api
from pgfan.errors import DatabaseError, UnsupportedError
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from pgfan.execute.outcome import RunResult

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
IN_A_BLOCK = {
    "in order, in the transaction": (
        "\\echo before\nCREATE TABLE t (i int);\nBEGIN;\nINSERT INTO t VALUES (1);\n"
        "SELECT format('INSERT INTO t VALUES (%s)', g), 'SELECT sum(i) FROM t', NULL "
        "FROM generate_series(2, 4) g \\gexec\n\\echo between\nSELECT count(*) FROM t;\n"
        "SELECT 'CREATE TABLE u AS SELECT 7 AS i', 'TABLE u' \\gexec\nCOMMIT;\n"
        "\\echo after\nSELECT count(*) FROM t, u;\n"
    ),
    "nothing else": "BEGIN;\nSELECT 'CREATE TABLE t ()', '' \\gexec\nCOMMIT;\nTABLE t;\n",
    "none is made": "BEGIN;\nSELECT 'x' WHERE false \\gexec\nCREATE TABLE t ();\nCOMMIT;\n",
    "rolled back": (
        "CREATE TABLE t (i int);\nBEGIN;\nSELECT 'INSERT INTO t VALUES (1)', "
        "'CREATE TABLE u ()' \\gexec\nROLLBACK;\nSELECT count(*) FROM t;\nCREATE TABLE u ();\n"
    ),
    "settings and temporary tables stay in the session": (
        "CREATE SCHEMA s;\nBEGIN;\nSELECT 'SET search_path = s', 'SET work_mem = 2000', "
        "'CREATE TEMP TABLE m AS SELECT 5 AS i', 'CREATE TABLE there ()' \\gexec\nCOMMIT;\n"
        "SHOW search_path;\nCREATE TABLE here AS TABLE m;\nSHOW work_mem;\nTABLE here;\n"
    ),
    "savepoints, and several statements in a cell": (
        "CREATE TABLE t (i int);\nBEGIN;\nSELECT 'SAVEPOINT a', 'INSERT INTO t VALUES (1)', "
        "'RELEASE a', 'INSERT INTO t VALUES (2); INSERT INTO t VALUES (3)' \\gexec\n"
        "COMMIT;\nSELECT sum(i) FROM t;\n"
    ),
    "rows of a statement that writes": (
        "CREATE TABLE t (i int);\nBEGIN;\nINSERT INTO t VALUES (7) "
        "RETURNING 'SELECT ' || i \\gexec\nCREATE TABLE u () \\gexec\nCOMMIT;\n"
    ),
    "sequence values": (
        "CREATE SEQUENCE q;\nBEGIN;\n"
        "SELECT 'SELECT nextval(''q'')', 'SELECT currval(''q'')' \\gexec\nCOMMIT;\n"
    ),
    "after what others wrote, before what others read": (
        "CREATE TABLE t AS SELECT 1 AS i;\nCREATE TABLE u (i int);\nINSERT INTO t VALUES (2);\n"
        "BEGIN;\nSELECT 'INSERT INTO u SELECT count(*) FROM t' \\gexec\nCOMMIT;\n"
        "UPDATE t SET i = 3;\nINSERT INTO t SELECT i FROM u;\nSELECT sum(i) FROM t;\n"
    ),
}
FAILING = {
    "in a block": (
        "CREATE TABLE t (i int);\nBEGIN;\nINSERT INTO t VALUES (1);\n"
        "SELECT 'INSERT INTO t VALUES (2)', 'SELECT 1 / 0' \\gexec\nCOMMIT;\nCREATE TABLE u ();"
    ),
    "after it in a block": (
        "BEGIN;\nSELECT 'CREATE TABLE t ()' \\gexec\nSELECT 1,\n  nothing;\nCOMMIT;"
    ),
    "no statement in a block": "BEGIN;\nSELECT 'CREATE TABLE t ()', 'SELEC' \\gexec\nCOMMIT;",
    "barred from a block": "BEGIN;\nSELECT 'VACUUM' \\gexec\nCOMMIT;\nCREATE TABLE u ();",
    "the same as it stands": "BEGIN;\nVACUUM;\nCOMMIT;\nCREATE TABLE u ();",
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


@pytest.mark.parametrize("script", IN_A_BLOCK.values(), ids=list(IN_A_BLOCK))
def test_in_a_block_psql_leaves_and_says_the_same(dsn: str, script: str) -> None:
    expected, found = by_psql(dsn, script), by_pgfan(dsn, script, jobs=3)
    assert expected.ok
    assert found == expected


PLACES = {
    "BEGIN;\nSELECT 1;\nSELECT 'SELECT 1', 'SELECT 1 / 0' \\gexec\nCOMMIT;": (
        "division by zero\nin the statement that \\gexec made: SELECT 1 / 0",
        (3, 1),
    ),
    "BEGIN;\nSELECT 'SELECT 1' \\gexec\nSELECT 1,\n  nothing;\nCOMMIT;": (
        'column "nothing" does not exist',
        (4, 3),
    ),
    "BEGIN;\nSELECT 'SELECT 1' \\gexec\nSELECT 'COMMIT' \\gexec\nCOMMIT;": (
        "the block must end with its own COMMIT, and not with one that is made\nin the statement ",
        (3, 1),
    ),
    "BEGIN;\nSELECT 'SET ROLE postgres' \\gexec\nCOMMIT;": (
        "SET ROLE and SET SESSION AUTHORIZATION are not supported",
        (2, 1),
    ),
    "CREATE SEQUENCE q;\nBEGIN;\nSELECT 'SELECT curr' || 'val(''q'')' \\gexec\nCOMMIT;": (
        "currval() or lastval() in a generated statement",
        (3, 1),
    ),
}


@pytest.mark.parametrize("script", PLACES, ids=range(len(PLACES)))
def test_errors_in_a_block_have_their_place_and_leave_nothing(dsn18: str, script: str) -> None:
    message, place = PLACES[script]
    found = run(dsn18, script)
    assert not found.ok
    error = found.error
    assert isinstance(error, DatabaseError)
    assert error.message.startswith(message)
    assert error.position is not None
    assert (error.position.line, error.position.column) == place


def test_a_block_that_failed_asks_its_queries_again(dsn18: str) -> None:
    script = (
        "CREATE TABLE done AS SELECT 1 AS i;\nBEGIN;\n"
        "SELECT format('INSERT INTO done SELECT %s FROM wanted', i) FROM todo \\gexec\nCOMMIT;"
    )
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute("CREATE TABLE todo AS SELECT 2 AS i; CREATE SCHEMA s")
        first = run(dsn18, script)
        assert [task.state for task in first.tasks] == ["done", "failed"]
        connection.execute("INSERT INTO todo VALUES (3); CREATE TABLE wanted AS SELECT 1 AS one")
        again = run(dsn18, script)
        assert (again.ok, again.run) == (True, first.run)
        assert connection.execute("SELECT i FROM done ORDER BY i").fetchall() == [(1,), (2,), (3,)]


def run(dsn: str, script: str) -> RunResult:
    program = Program.read_psql([Source("a.sql", script)], {}, lambda name: name)
    return api.run(dsn, program, api.ExecOptions(jobs=2))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("BEGIN;\n\\copy t from stdin\n1\n\\.\nTABLE t \\gexec\nCOMMIT;", "in one block"),
        ("BEGIN;\n-- pgfan: for each i in (SELECT 1)\nSELECT :i;\nCOMMIT;", "for each inside of"),
    ],
)
def test_what_a_block_cannot_have_is_refused_before_anything_runs(
    script: str, message: str
) -> None:
    with pytest.raises(UnsupportedError, match=message) as refused:
        Program.read_psql([Source("a.sql", script)], {}, lambda name: name)
    assert refused.value.position is not None
