"""SET is in force for what follows it, and for nothing before it, whatever ran first."""

from __future__ import annotations

import psycopg
import pytest
from scripts_alike import by_exec, by_pgfan, by_psql, clean

LATER = {
    "set": "SET work_mem = '9MB';",
    "set_config": "SELECT set_config('work_mem', '9MB', false);",
    "a block": "BEGIN; SET work_mem = '9MB'; COMMIT;",
}


@pytest.mark.parametrize("later", LATER.values(), ids=list(LATER))
def test_what_ran_before_its_turn_leaves_nothing_to_earlier_statements(
    dsn18: str, later: str
) -> None:
    script = f"""
        CREATE TABLE slow AS SELECT 1 AS i FROM pg_sleep(0.2);
        CREATE TABLE early AS SELECT current_setting('work_mem') AS found FROM slow;
        CREATE TABLE also AS SELECT current_setting('work_mem') AS found FROM slow;
        {later}
        CREATE TABLE late AS SELECT current_setting('work_mem') AS found FROM slow;
        """
    assert by_pgfan(dsn18, script, jobs=2).ok
    with psycopg.connect(dsn18) as connection:
        rows = connection.execute(
            "SELECT current_setting('work_mem') UNION ALL TABLE early UNION ALL TABLE also "
            "UNION ALL TABLE late"
        ).fetchall()
    default, early, also, late = (row[0] for row in rows)
    assert (early, also, late) == (default, default, "9MB")


BY_CODE = {
    "a function": "SELECT public.path_is_two();",
    "a text that is put together": "DO 'BEGIN EXECUTE ''SET search'' || ''_path = two''; END';",
    "CREATE TABLE AS": "CREATE TABLE y AS SELECT set_config('search_path', 'two', false);",
    "a query that also writes": (
        "WITH w AS (INSERT INTO seen VALUES (1) RETURNING 'two' AS path) "
        "SELECT set_config('search_path', path, false), nextval('public.drawn') FROM w;"
    ),
}


@pytest.mark.parametrize("command", ["exec", "run"])
@pytest.mark.parametrize("statement", BY_CODE.values(), ids=list(BY_CODE))
def test_what_code_has_set_holds_for_all_that_follows(
    dsn18: str, statement: str, command: str
) -> None:
    script = f"""
        CREATE SCHEMA two; CREATE TABLE t (i int, x text); CREATE TABLE two.t (i int, x text);
        CREATE TABLE big AS SELECT g AS i FROM generate_series(1, 300) g; ANALYZE big;
        CREATE TABLE seen (i int); CREATE SEQUENCE drawn;
        CREATE FUNCTION path_is_two() RETURNS text LANGUAGE plpgsql AS
            'BEGIN RETURN set_config(''search_path'', ''two'', false); END';
        DO 'BEGIN EXECUTE ''SET a.b'' || '' = 7''; END';
        INSERT INTO t SELECT i FROM public.big;
        {statement}
        INSERT INTO t SELECT i FROM public.big;
        INSERT INTO t VALUES (301); INSERT INTO t VALUES (302); CREATE TABLE small (i int);
        UPDATE t SET x = current_setting('a.b');
        """
    expected = by_psql(dsn18, script)
    assert expected.ok, expected.said
    clean(dsn18)
    left = by_exec(dsn18, script) if command == "exec" else by_pgfan(dsn18, script, jobs=2)
    assert left.ok, left.said
    assert (left.rows, left.catalogue) == (expected.rows, expected.catalogue)
