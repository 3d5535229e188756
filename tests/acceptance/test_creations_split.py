"""CREATE TABLE AS and SELECT INTO over many connections, against one: the rows and the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from side_by_side import (
    Outcome,
    Recorder,
    differences,
    execute,
    execute_alone,
    pgfan,
    query,
    reused_dsn,
)
from side_by_side import value as value_of

from pgfan import api
from pgfan.errors import DatabaseError
from pgfan.events import ChunkFinished, Message, Notice

if TYPE_CHECKING:
    from collections.abc import Iterator

dsn = reused_dsn

SETUP = (
    'CREATE TABLE src (i int, k int, t text, n numeric(9,2), v varchar(20) COLLATE "C")',
    (
        "INSERT INTO src SELECT g, CASE WHEN g % 5 > 0 THEN g % 40 END, 'row ' || g, g / 7.0, "
        "'v' || g FROM generate_series(1, 900) g"
    ),
    "CREATE TABLE o AS SELECT g AS i, g % 7 AS k, 'o' || g AS t FROM generate_series(1, 90) g",
    "CREATE INDEX ON src (k)",
    "ANALYZE",
)
# Everything of a table that is not rows.
DEFINITION = """
SELECT c.relkind, c.relpersistence, c.relowner, c.relacl::text, c.reloptions, c.relam,
    c.reltablespace, c.relnamespace, c.relreplident, c.reltoastrelid <> 0, c.relhasindex,
    obj_description(c.oid, 'pg_class'),
    (SELECT reloptions FROM pg_class WHERE oid = c.reltoastrelid),
    (SELECT array_agg(x::text ORDER BY x.attnum) FROM (SELECT attnum, attname, atttypid, atttypmod,
        attnotnull, atthasdef, attcollation, attstorage, attcompression, attacl::text, attidentity
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0) x),
    (SELECT array_agg(t.typname = k.name ORDER BY k.name) FROM
        (VALUES (c.relname), ('_' || c.relname)) k (name), pg_type t
        WHERE t.oid = c.reltype OR t.typelem = c.reltype)
FROM pg_class c WHERE c.oid = {}::regclass"""
HIDDEN = r"SELECT count(*) FROM pg_class WHERE relname LIKE 'pgfan\_%' AND relkind = 'r'"


def definition(dsn: str, name: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(sql.SQL(DEFINITION).format(name)).fetchall()


@pytest.fixture(autouse=True)
def sources(dsn: str) -> Iterator[None]:
    execute(dsn, *SETUP)
    yield
    assert value_of(dsn, HIDDEN) == 0


def the_same_table(dsn: str, script: str, *names: str) -> Outcome:
    """Run `script` with each of two names in place of {t}, by one connection and by pgfan."""
    serial, split = names or ("by_one", "by_many")
    execute_alone(dsn, script.replace("{t}", serial))
    outcome = pgfan(dsn, script.replace("{t}", split))
    assert outcome.result.ok, outcome.result.error
    assert definition(dsn, serial) == definition(dsn, split)
    return outcome


CREATIONS = {
    "columns as they are": "CREATE TABLE {t} AS SELECT * FROM src",
    "TABLE": "CREATE TABLE {t} AS TABLE src WITH DATA",
    "unknown literals": "CREATE TABLE {t} AS SELECT i, 'x' a, NULL b, '1'::numeric(5,1) FROM src",
    "names of columns": 'CREATE TABLE {t} (a, "B b", "select") AS SELECT i, t, n, v FROM src',
    "UNLOGGED": "CREATE UNLOGGED TABLE {t} AS SELECT i FROM src",
    "storage": "CREATE TABLE {t} WITH (fillfactor = 40, toast.autovacuum_enabled = off) AS "
    "SELECT i, t FROM src",
    "access method and tablespace": "CREATE TABLE {t} USING heap TABLESPACE pg_default AS "
    "SELECT i FROM src",
    "IF NOT EXISTS": "CREATE TABLE IF NOT EXISTS {t} AS SELECT i FROM src",
    "no columns": "CREATE TABLE {t} AS SELECT FROM src WHERE k = 3",
    "whole rows": "CREATE TABLE {t} AS SELECT src, o.t FROM src JOIN o ON o.i = src.k",
    "collation": 'CREATE TABLE {t} AS SELECT v, t COLLATE "C" AS c, lower(v) FROM src',
    "arrays and ranges": "CREATE TABLE {t} AS SELECT ARRAY[i, k] a, int4range(i, i + 2) r, "
    "'{}'::json j FROM src",
    "left join": "CREATE TABLE {t} AS SELECT src.i, o.t FROM src LEFT JOIN o ON o.i = src.k",
    "WITH": "CREATE TABLE {t} AS WITH q AS (SELECT i, k FROM src WHERE k > 3) SELECT * FROM q",
    "UNION in a subquery": "CREATE TABLE {t} AS SELECT i, s.u FROM src JOIN "
    "(SELECT 1 AS k, NULL AS u UNION SELECT 2, 2.5) s ON s.k = src.k",
    "groups": "CREATE TABLE {t} AS SELECT k, count(*), sum(n) FROM src GROUP BY k",
    "DISTINCT": "CREATE TABLE {t} AS SELECT DISTINCT k, 'x' FROM src",
    "ORDER BY": "CREATE TABLE {t} AS SELECT i FROM src ORDER BY t",
    "series": "CREATE TABLE {t} AS SELECT g, g::text AS u FROM generate_series(1, 300) g",
    "series without FROM": "CREATE TABLE {t} AS SELECT generate_series(1, 300) AS g",
    "SELECT INTO": "SELECT i, 'x' AS a INTO {t} FROM src WHERE k > 2",
    "SELECT INTO UNLOGGED": "SELECT i INTO UNLOGGED TABLE {t} FROM src -- and a comment",
    "settings": "SET default_tablespace = 'pg_default'; SET default_toast_compression = 'pglz'; "
    "CREATE TABLE {t} AS SELECT i, t FROM src",
    "an arm of CASE that the planner drops": "CREATE TABLE {t} (x) AS SELECT CASE WHEN false "
    "THEN i ELSE n END, i FROM src",
    "COALESCE of constants": "CREATE TABLE {t} AS SELECT i, coalesce(NULL, 'ab'::varchar(7)) "
    'COLLATE "C" AS "a B", coalesce(n, 1.5) AS n FROM src',
    "columns of domains": "CREATE DOMAIN whole AS int; CREATE DOMAIN tenths AS numeric(4,1); "
    "CREATE TABLE {t} AS SELECT i::whole, n::tenths, ARRAY[i::whole] AS l FROM src; "
    "ALTER TABLE {t} ALTER i TYPE int, ALTER n TYPE numeric, ALTER l TYPE int[]; "
    "DROP DOMAIN whole, tenths",
    "a branch that the planner drops": "CREATE TABLE {t} AS SELECT i, n::numeric AS n FROM src "
    "WHERE false UNION ALL SELECT i, n FROM src",
    "no rows": "CREATE TABLE {t} AS SELECT * FROM src WHERE i < 0",
    "an empty source": "CREATE TABLE e (i int); CREATE TABLE {t} AS SELECT * FROM e; DROP TABLE e",
}


@pytest.mark.parametrize("script", CREATIONS.values(), ids=list(CREATIONS))
def test_the_same_table(dsn: str, script: str) -> None:
    outcome = the_same_table(dsn, script)
    at = next(n for n, task in enumerate(outcome.tasks) if task.kind.startswith(("cr", "se")))
    at = max(at, [task.verdict for task in outcome.tasks].index("split"))
    assert differences(dsn, "by_one", "by_many") == (0, 0)
    rows = value_of(dsn, "SELECT count(*) FROM by_many")
    assert outcome.tags[at] == f"SELECT {rows}"


def test_names_that_need_quotes(dsn: str) -> None:
    odd = '"A ""b\' %s {{t}}: \\ ;--{n}"'
    script = """CREATE SCHEMA IF NOT EXISTS "S ""'p"; SET search_path = "S ""'p", public;
        CREATE TABLE {t} ("select", "c ""%s") AS SELECT i, t FROM src"""
    names = [odd.replace("{n}", str(n)) for n in (1, 2)]
    outcome = the_same_table(
        make_conninfo(dsn, options='-c search_path="S\\ ""\'p",public'), script, *names
    )
    assert outcome.last.verdict == "split", outcome.last.reasons
    assert value_of(dsn, f"""SELECT count(*) FROM "S ""'p".{names[1]}""") == 900


def test_made_in_the_first_schema_though_another_has_one(dsn: str) -> None:
    execute(dsn, "CREATE SCHEMA one", "CREATE SCHEMA two")
    execute(dsn, "CREATE TABLE two.t AS SELECT 7 AS i FROM generate_series(1, 500)", "ANALYZE")
    outcome = pgfan(dsn, "SET search_path = one, two; CREATE TABLE t AS SELECT i FROM t")
    assert outcome.last.verdict == "split", outcome.last.reasons
    assert query(dsn, "SELECT count(*) FROM one.t") == query(dsn, "SELECT count(*) FROM two.t")


def test_default_privileges(dsn: str) -> None:
    execute(
        dsn,
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES REVOKE DELETE ON TABLES FROM CURRENT_USER",
    )
    try:
        the_same_table(dsn, "CREATE TABLE {t} AS SELECT i FROM src")
        assert value_of(dsn, "SELECT relacl IS NOT NULL FROM pg_class WHERE relname = 'by_many'")
    finally:
        execute(dsn, "ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO CURRENT_USER")


def test_all_rows_have_one_time(dsn: str) -> None:
    outcome = pgfan(dsn, "CREATE TABLE t AS SELECT i, now() AS at FROM src")
    assert outcome.last.verdict == "split"
    assert query(dsn, "SELECT count(*), count(DISTINCT at) FROM t") == [(900, 1)]


def test_nobody_sees_half_a_table(dsn: str) -> None:
    seen = []

    def look(chunk: int) -> None:
        seen.append(query(dsn, "SELECT to_regclass('t'), (" + HIDDEN + ")"))
        if chunk == 1:
            assert seen == [[(None, 1)]]

    outcome = pgfan(dsn, "CREATE TABLE t AS SELECT i FROM src", Recorder(look))
    assert len(seen) > 2
    assert {tuple(rows[0]) for rows in seen[:-1]} == {(None, 1)}
    assert outcome.last.hazards == ()


def test_atomic_is_no_objection(dsn: str) -> None:
    assert pgfan(dsn, "CREATE TABLE t AS SELECT i FROM src", atomic=True).last.verdict == "split"


def test_without_a_journal(dsn: str) -> None:
    outcome = pgfan(dsn, "CREATE TABLE t AS SELECT i FROM src", journal_schema=None)
    assert outcome.last.verdict == "split"
    assert value_of(dsn, "SELECT count(DISTINCT i) FROM t") == 900
    failed = pgfan(dsn, "CREATE TABLE u AS SELECT 1 / (800 - i) FROM src", journal_schema=None)
    assert failed.last.state == "failed"
    assert value_of(dsn, "SELECT to_regclass('u')") is None


def refused(dsn: str, script: str) -> DatabaseError:
    """The error of a script, the same from pgfan and from a plain connection."""
    with pytest.raises(psycopg.Error) as plain:
        execute_alone(dsn, script)
    outcome = pgfan(dsn, script)
    error = outcome.result.error
    assert isinstance(error, DatabaseError)
    assert (error.sqlstate, error.message) == (
        plain.value.sqlstate,
        plain.value.diag.message_primary,
    )
    assert not outcome.recorder.of(ChunkFinished)
    return error


ERRORS = {
    "a table of that name": "CREATE TABLE o AS SELECT i FROM src",
    "a view of that name": "SELECT i INTO seen FROM src",
    "a type of that name": "CREATE TABLE mood AS SELECT i FROM src",
    "the same column twice": "CREATE TABLE t AS SELECT i, i FROM src",
    "a system column": "CREATE TABLE t AS SELECT ctid FROM src",
    "a pseudo-type": "CREATE TABLE t AS SELECT ROW(i) FROM src",
    "too many names": "CREATE TABLE t (a, b) AS SELECT i FROM src",
    "no such option": "CREATE TABLE t WITH (nope = 1) AS SELECT i FROM src",
    "no such tablespace": "CREATE TABLE t TABLESPACE nope AS SELECT i FROM src",
    "no such schema": "CREATE TABLE nope.t AS SELECT i FROM src",
    "no such column": "CREATE TABLE t AS SELECT nope FROM src",
    "pg_catalog": "CREATE TABLE pg_catalog.t AS SELECT i FROM src",
}


@pytest.mark.parametrize("script", ERRORS.values(), ids=list(ERRORS))
def test_the_error_of_one_connection_before_any_work(dsn: str, script: str) -> None:
    execute(dsn, "CREATE VIEW seen AS SELECT 1", "CREATE TYPE mood AS ENUM ('ok')")
    error = refused(dsn, script)
    if "src" in script and "nope FROM" not in script:
        assert error.position is None or error.position.source == "-c"


def test_if_not_exists_says_what_postgresql_says(dsn: str) -> None:
    outcome = pgfan(dsn, "CREATE TABLE IF NOT EXISTS o AS SELECT i FROM src")
    assert outcome.result.ok
    assert [code for code, _ in outcome.last.reasons] == ["target-exists"]
    assert [said.message for said in outcome.recorder.of(Notice)] == [
        'relation "o" already exists, skipping'
    ]
    assert outcome.tags == ["CREATE TABLE AS"]
    assert value_of(dsn, "SELECT count(*) FROM o") == 90


def test_a_name_that_is_taken_meanwhile(dsn: str) -> None:
    script = "CREATE TABLE t AS SELECT i FROM src"

    def take(chunk: int) -> None:
        if chunk == 1:
            execute(dsn, "CREATE TABLE t (other int)")

    outcome = pgfan(dsn, script, Recorder(take))
    error = outcome.result.error
    assert isinstance(error, DatabaseError)
    assert (error.sqlstate, outcome.last.state) == ("42P07", "failed")
    assert value_of(dsn, HIDDEN) == 1
    assert any("pgfan_" in told.text for told in outcome.recorder.of(Message))
    again = pgfan(dsn, script)
    assert not again.result.ok
    assert not again.recorder.of(ChunkFinished)
    execute(dsn, "ALTER TABLE t RENAME TO theirs")
    last = pgfan(dsn, script)
    assert last.result.ok, last.result.error
    assert not last.recorder.of(ChunkFinished)
    assert query(dsn, "SELECT count(*), count(DISTINCT i) FROM t") == [(900, 900)]
    assert value_of(dsn, "SELECT count(*) FROM theirs") == 0


FAILING = "CREATE TABLE t AS SELECT 1 / (800 - i) AS x, i FROM src"


def test_a_failed_one_goes_on_from_its_hidden_table(dsn: str) -> None:
    outcome = pgfan(dsn, FAILING, jobs=1)
    assert outcome.last.state == "failed"
    name = value_of(dsn, HIDDEN.replace("count(*)", "relname"))
    assert any(name in told.text for told in outcome.recorder.of(Message))
    before = len(outcome.recorder.of(ChunkFinished))
    assert before > 0
    execute(dsn, "UPDATE src SET i = -1 WHERE i = 800")
    again = pgfan(dsn, FAILING, new_snapshot=True)
    assert again.result.ok, again.result.error
    assert value_of(dsn, "SELECT count(*) FROM t") == 900


def test_a_failed_one_without_rows_leaves_nothing(dsn: str) -> None:
    assert pgfan(dsn, "CREATE TABLE t AS SELECT i / 0 FROM src", jobs=1).last.state == "failed"


def test_restart_drops_the_hidden_table(dsn: str) -> None:
    assert pgfan(dsn, FAILING, jobs=1).last.state == "failed"
    first = value_of(dsn, HIDDEN.replace("count(*)", "relname"))
    execute(dsn, "DELETE FROM src WHERE i = 800")
    outcome = pgfan(dsn, FAILING, restart=True)
    assert outcome.result.ok, outcome.result.error
    assert value_of(dsn, f"SELECT to_regclass('{first}')") is None
    assert value_of(dsn, "SELECT count(*) FROM t") == 899


@pytest.mark.parametrize("every", [False, True])
def test_forget_drops_the_hidden_table_and_no_other(dsn: str, *, every: bool) -> None:
    failed = pgfan(dsn, FAILING, jobs=1)
    done = pgfan(dsn, "CREATE TABLE kept AS SELECT i FROM src")
    api.forget(dsn, [] if every else [failed.result.run, done.result.run], every=every)
    assert value_of(dsn, "SELECT count(*) FROM kept") == 900


def test_another_table_of_the_hidden_name_is_left_alone(dsn: str) -> None:
    failed = pgfan(dsn, FAILING, jobs=1)
    name = value_of(dsn, HIDDEN.replace("count(*)", "relname"))
    execute(dsn, f"DROP TABLE {name}", f"CREATE TABLE {name} AS SELECT 5 AS x")
    api.forget(dsn, [failed.result.run])
    assert value_of(dsn, f"SELECT x FROM {name}") == 5
    execute(dsn, f"DROP TABLE {name}")


def test_begins_anew_when_the_hidden_table_is_gone(dsn: str) -> None:
    assert pgfan(dsn, FAILING, jobs=1).last.state == "failed"
    name = value_of(dsn, HIDDEN.replace("count(*)", "relname"))
    execute(dsn, f"DROP TABLE {name}", "DELETE FROM src WHERE i = 800")
    outcome = pgfan(dsn, FAILING)
    assert outcome.result.ok, outcome.result.error
    assert query(dsn, "SELECT count(*), count(DISTINCT i) FROM t") == [(899, 899)]


SERIAL = {
    "CREATE TEMP TABLE t AS SELECT i FROM src": "temporary-table",
    "CREATE TABLE pg_temp.t AS SELECT i FROM src": "temporary-table",
    "SET search_path = pg_temp, public; CREATE TABLE t AS SELECT i FROM src": "temporary-table",
    "SELECT i INTO TEMP t FROM src": "temporary-table",
    "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT i FROM src": "temporary-table",
    "PREPARE p AS SELECT i FROM src; CREATE TABLE t AS EXECUTE p": "not-insert-select",
    "CREATE MATERIALIZED VIEW t AS SELECT i FROM src": "not-insert-select",
    "CREATE TABLE t AS SELECT i FROM src WITH NO DATA": "not-insert-select",
    "CREATE TABLE t AS VALUES (1), (2)": "not-insert-select",
    "CREATE TABLE t AS SELECT i FROM src LIMIT 3": "limit",
}


@pytest.mark.parametrize("script", SERIAL)
def test_what_one_connection_does(dsn: str, script: str) -> None:
    outcome = pgfan(dsn, script)
    assert outcome.result.ok, outcome.result.error
    assert (outcome.last.verdict, *dict(outcome.last.reasons)) == ("serial", SERIAL[script])


def test_an_event_trigger_sees_what_one_connection_shows_it(dsn: str) -> None:
    execute(
        dsn,
        "CREATE TABLE audit (tag text, object text)",
        "CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO "
        "audit SELECT command_tag, object_identity FROM pg_event_trigger_ddl_commands(); END $$",
        "CREATE EVENT TRIGGER noting ON ddl_command_end EXECUTE FUNCTION note()",
    )
    try:
        outcome = pgfan(dsn, "CREATE TABLE t AS SELECT i FROM src")
        assert dict(outcome.last.reasons).keys() == {"event-trigger"}
        assert query(dsn, "TABLE audit") == [("CREATE TABLE AS", "public.t")]
        execute(dsn, "ALTER EVENT TRIGGER noting DISABLE")
        assert pgfan(dsn, "CREATE TABLE u AS SELECT i FROM src").last.verdict == "split"
    finally:
        execute(dsn, "DROP EVENT TRIGGER noting")


def test_published_tables_are_filled_under_their_names(dsn: str) -> None:
    execute(dsn, "SET client_min_messages = error", "CREATE PUBLICATION p FOR ALL TABLES")
    try:
        logged = pgfan(dsn, "CREATE TABLE t AS SELECT i FROM src")
        assert dict(logged.last.reasons).keys() == {"published"}
        unlogged = pgfan(dsn, "CREATE UNLOGGED TABLE u AS SELECT i FROM src")
        assert unlogged.last.verdict == "split"
    finally:
        execute(dsn, "DROP PUBLICATION p")
