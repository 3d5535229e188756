"""Views on real servers: their definitions divided, and every way in which a view is more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from side_by_side import (
    SPLIT,
    Case,
    Recorder,
    both_ways,
    execute,
    pgfan,
    query,
    reused_dsn,
    split_both_ways,
    value,
)

from pgfan.postgres import analysis
from pgfan.sql.rewrite import Template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from side_by_side import Outcome

dsn = reused_dsn

SETUP = (
    "CREATE TABLE a (i int, k int, t text)",
    "CREATE TABLE b (k int, name varchar(9))",
    "INSERT INTO a SELECT g, NULLIF(g % 40, 7), md5(g::text) FROM generate_series(1, 900) g",
    "INSERT INTO a SELECT i, k, t FROM a WHERE i % 100 = 0",
    "INSERT INTO b SELECT NULLIF(g, 9), 'n' || g FROM generate_series(0, 30) g",
    "ANALYZE",
)


def views(*definitions: str) -> tuple[str, ...]:
    """The tables, and a view `v` for the last definition, `v1`, `v2`, ... for those before."""
    names = [*(f"v{number}" for number in range(1, len(definitions))), "v"]
    made = [f"CREATE VIEW {n} AS {d}" for n, d in zip(names, definitions, strict=True)]
    return (*SETUP, *made)


FILTER = "SELECT i, k, t FROM a WHERE i % 3 <> 0"
SOUND = {
    "plain": (views("TABLE a"), "SELECT i, t FROM v"),
    "filtered": (views(FILTER), "SELECT i, t FROM v WHERE k > 3"),
    "star": (views("SELECT i, t FROM a"), "SELECT * FROM v"),
    "renamed by the statement": (views(FILTER), "SELECT z.p, z.t FROM v AS z (p, q)"),
    "expressions": (
        views("SELECT i * 2 AS i, upper(t) || CASE k WHEN 3 THEN 'x' ELSE 'y' END AS t FROM a"),
        "SELECT i, t FROM v",
    ),
    "implied casts": (
        views(
            "SELECT i, NULLIF(t::varchar(2), 'ab') AS t FROM a "
            "WHERE t::varchar(1) IN ('a', 'b', '7')"
        ),
        "SELECT i, t FROM v",
    ),
    "a view on views": (
        views(FILTER, "SELECT v1.i, name FROM v1 LEFT JOIN b USING (k)", "SELECT * FROM v2"),
        "SELECT * FROM v",
    ),
    "two of one view": (views(FILTER), "SELECT v.i, z.t FROM v JOIN v AS z ON v.i = z.k"),
    "joined": (views(FILTER), "SELECT i, name FROM v JOIN b USING (k)"),
    "natural": (views(FILTER), "SELECT i, name FROM b NATURAL JOIN v"),
    "below": (views("SELECT k FROM b WHERE k > 4"), "SELECT i, t FROM a WHERE k IN (TABLE v)"),
    "a total below": (
        views("SELECT k, max(name) AS m FROM b GROUP BY k"),
        "SELECT i, (SELECT m FROM v WHERE v.k = a.k) FROM a",
    ),
    "joins in it": (
        views("SELECT a.i, b.name FROM a LEFT JOIN (b JOIN b z USING (k)) ON a.k = b.k"),
        "SELECT * FROM v",
    ),
    "USING in it": (
        views("SELECT i, k, name FROM a JOIN b USING (k)"),
        "SELECT i, name FROM v WHERE k > 2",
    ),
    "WITH in it": (
        views("WITH b AS (SELECT i, t FROM a) SELECT b.i, b.t FROM b"),
        "SELECT * FROM v",
    ),
    "WITH around it": (views(FILTER), "WITH w AS (SELECT i, t FROM v) SELECT * FROM w"),
    "GROUP BY": (
        views("SELECT k, count(*)::text AS n FROM a GROUP BY k"),
        "SELECT * FROM v",
    ),
    "HAVING": (
        views("SELECT k, min(t) AS t FROM a GROUP BY k HAVING count(*) > 22"),
        "SELECT * FROM v",
    ),
    "DISTINCT": (views("SELECT DISTINCT k, 'x' AS t FROM a"), "SELECT * FROM v"),
    "DISTINCT ON": (
        views("SELECT DISTINCT ON (k) k, t FROM a ORDER BY k, t"),
        "SELECT * FROM v",
    ),
    "window": (
        views("SELECT rank() OVER (PARTITION BY k ORDER BY i) AS n, t FROM a"),
        "SELECT * FROM v",
    ),
    "GROUP BY above": (views(FILTER), "SELECT k, min(t) FROM v GROUP BY k"),
    "UNION beside": (
        views("SELECT k FROM b UNION SELECT i FROM a WHERE i < 20"),
        "SELECT a.i, v.k::text FROM a JOIN v USING (k)",
    ),
    "a series": (
        views("SELECT g AS i, 'g' || g AS t FROM generate_series(1, 500) g"),
        "SELECT i, t FROM v",
    ),
    "odd names": (
        (
            *SETUP,
            'CREATE TABLE "T""b l.e" ("Col""1" int, "select" text)',
            'INSERT INTO "T""b l.e" SELECT i, t FROM a',
            'CREATE VIEW "V i.""ew" ("a b", "C""d") AS SELECT "Col""1", "select" FROM "T""b l.e"',
        ),
        'SELECT "V i.""ew"."a b", "C""d" FROM "V i.""ew"',
    ),
    "renamed columns": (
        (
            *views("SELECT i AS p, t AS q, k FROM a WHERE k IS NOT NULL", "SELECT p, q FROM v1"),
            "ALTER VIEW v1 RENAME COLUMN p TO r",
            "ALTER VIEW v1 RENAME COLUMN k TO p",
            "ALTER VIEW v RENAME COLUMN q TO i",
            "ALTER TABLE a RENAME COLUMN i TO u",
            "ALTER TABLE a RENAME COLUMN t TO i",
            "ALTER TABLE a RENAME TO renamed",
            "CREATE TABLE a (i int, t text)",
        ),
        "SELECT p, i FROM v",
    ),
    "an added column": (
        (*views("SELECT i, name FROM a JOIN b USING (k)"), "ALTER TABLE b ADD COLUMN i int"),
        "SELECT * FROM v",
    ),
    "constants of every style": (
        views(
            "SELECT i, concat(t, '2024-02-03'::date, '0.1'::float8 + 0.2::float8, "
            "timestamptz '2024-02-03 04:05:06.789+07', interval '-1 day +2:03:04', "
            "E'back\\\\slash ''quote''', '\\xdead'::bytea, '1.5'::money) AS t FROM a "
            "WHERE '2024-02-03'::date > '2024-01-04'"
        ),
        "SELECT * FROM v",
    ),
    "security_invoker": (
        (*SETUP, "CREATE VIEW v WITH (security_invoker) AS SELECT i, t FROM a"),
        "SELECT i, t FROM v",
    ),
}


@pytest.mark.parametrize(("setup", "select"), SOUND.values(), ids=list(SOUND))
def test_a_view_that_is_split(dsn: str, setup: tuple[str, ...], select: str) -> None:
    case = Case(f"INSERT INTO {{target}} {select}", "i bigint, t text", setup, chunks_min=1)
    outcome = split_both_ways(dsn, case, chunk_rows=100)
    assert value(dsn, f"SELECT count(*) FROM {SPLIT}") > 0
    assert outcome.last.chunks > 1 or outcome.last.key not in {"ctid", "series"}


UNSOUND = {
    "aggregate": (views("SELECT count(*) FROM a"), "SELECT count, 'x' FROM v", "aggregate"),
    "LIMIT": (views("SELECT i, t FROM a ORDER BY i, t LIMIT 90"), "SELECT * FROM v", "limit"),
    "UNION": (
        views("SELECT i, t FROM a UNION SELECT k, name FROM b"),
        "SELECT * FROM v",
        "no-driving-relation",
    ),
    "window": (
        views("SELECT row_number() OVER (ORDER BY i, t), t FROM a"),
        "SELECT * FROM v",
        "window",
    ),
    "recursive": (
        (
            *SETUP,
            "CREATE RECURSIVE VIEW v (i) AS VALUES (1) UNION ALL SELECT i + 1 FROM v WHERE i < 99",
        ),
        "SELECT i, 'x' FROM v",
        "cte",
    ),
    "security barrier": (
        (*SETUP, f"CREATE VIEW v WITH (security_barrier = yes) AS {FILTER}"),
        "SELECT i, t FROM v",
        "view",
    ),
    "temporary": (
        (*SETUP, "CREATE TABLE v AS TABLE a"),
        "SELECT i, t FROM v",
        "temporary-table",
    ),
    "whole row": (views("SELECT i, t FROM a"), "SELECT i, v::text FROM v", "view"),
    "whole row counted": (
        views("SELECT i, t FROM a"),
        "SELECT i, count(v)::text FROM v GROUP BY i",
        "view",
    ),
    "whole row as JSON": (views("SELECT i, t FROM a"), "SELECT i, row_to_json(v) FROM v", "view"),
    "system": (SETUP, "SELECT 1, schemaname FROM pg_catalog.pg_tables", "view"),
    "row security": (
        (*views(FILTER), "ALTER TABLE a ENABLE ROW LEVEL SECURITY"),
        "SELECT i, t FROM v",
        "row-security",
    ),
    "a rule": (
        (*views(FILTER), "CREATE RULE r AS ON INSERT TO v DO INSTEAD NOTHING"),
        "SELECT i, t FROM v",
        "rule",
    ),
    "an operator out of sight": (
        (
            *SETUP,
            "CREATE SCHEMA ops",
            (
                "CREATE FUNCTION ops.same(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE "
                "AS 'SELECT pg_catalog.upper($1) OPERATOR(pg_catalog.=) pg_catalog.upper($2)'"
            ),
            "CREATE OPERATOR ops.= (FUNCTION = ops.same, LEFTARG = text, RIGHTARG = text)",
            "SET search_path = ops, pg_catalog, public",
            "CREATE VIEW public.v AS SELECT i, NULLIF(t, upper(t)) AS t FROM public.a",
            "RESET search_path",
        ),
        "SELECT i, t FROM v",
        "operator-unknown",
    ),
}


@pytest.mark.parametrize(("setup", "select", "code"), UNSOUND.values(), ids=list(UNSOUND))
def test_a_view_that_is_not_split(dsn: str, setup: tuple[str, ...], select: str, code: str) -> None:
    script = f"INSERT INTO {{target}} {select}"
    if code == "temporary-table":
        script = f"CREATE TEMPORARY VIEW v AS TABLE a; {script}; DROP VIEW pg_temp.v"
        outcome = both_ways(dsn, Case(script, "i bigint, t text", setup), chunk_rows=100)
        assert outcome.tasks[1].verdict == "serial"
        assert code in dict(outcome.tasks[1].reasons)
        return
    outcome = both_ways(dsn, Case(script, "i bigint, t text", setup), chunk_rows=100)
    assert (outcome.last.verdict, outcome.last.chunks) == ("serial", 1)
    assert code in dict(outcome.last.reasons)


def test_a_view_of_the_target_is_not_read_in_chunks(dsn: str) -> None:
    script = (
        "INSERT INTO {target} SELECT i, t FROM a; CREATE VIEW v_{target} AS TABLE {target}; "
        "INSERT INTO {target} SELECT i + 1000, t FROM v_{target}"
    )
    outcome = both_ways(dsn, Case(script, "i bigint, t text", SETUP), chunk_rows=100)
    assert dict(outcome.last.reasons).keys() == {"reads-target"}


def test_a_delete_reads_its_own_rows_through_a_view_under_one_snapshot(dsn: str) -> None:
    script = (
        "INSERT INTO {target} SELECT i, t FROM a; CREATE VIEW v_{target} AS TABLE {target}; "
        "DELETE FROM {target} d WHERE EXISTS (SELECT FROM v_{target} v WHERE v.i = d.i + 1)"
    )
    outcome = both_ways(dsn, Case(script, "i bigint, t text", SETUP, rows=2), chunk_rows=100)
    assert outcome.last.verdict == "split", outcome.last.reasons
    assert outcome.last.chunks > 1
    assert outcome.last.key == "ctid"


def test_names_mean_what_they_mean_in_the_view(dsn: str) -> None:
    """Whatever search_path finds: other tables, functions, types and operators of those names."""
    setup = (
        *SETUP,
        "CREATE SCHEMA hidden",
        "CREATE SCHEMA first",
        "CREATE FUNCTION hidden.f(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || ''h'''",
        "CREATE DOMAIN hidden.d AS text",
        "CREATE TABLE hidden.a AS SELECT i, k, upper(t) AS t FROM a",
        "SET search_path = hidden, public",
        "CREATE VIEW public.v AS SELECT i, lower(t) || f(i) || ('x'::d) AS t FROM a",
        "RESET search_path",
        "CREATE FUNCTION first.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''no'''",
        "CREATE FUNCTION first.f(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''no'''",
        "CREATE DOMAIN first.d AS int",
        "CREATE TABLE first.a (i int, k int, t text)",
    )
    paths = ("public", "first, public", "first, pg_catalog, public", "public, first", "hidden")
    for path in paths:
        execute(dsn, "DROP SCHEMA IF EXISTS hidden, first CASCADE")
        execute(dsn, "DROP TABLE IF EXISTS a, b, by_one, by_many CASCADE")
        script = (
            f"SET search_path = {path}; INSERT INTO public.{{target}} SELECT i, t FROM public.v"
        )
        outcome = both_ways(dsn, Case(script, "i bigint, t text", setup, rows=909), chunk_rows=100)
        expected = "serial" if path.startswith("first, pg_catalog") else "split"
        assert outcome.last.verdict == expected, path


def test_settings_do_not_change_constants(dsn: str) -> None:
    execute(
        dsn,
        *views(
            "SELECT i, concat('2024-02-03'::date, ' ', 0.1::float8 + 0.2::float8, ' ', "
            "timestamptz '2024-02-03 04:05:06.789+07', interval '-1 day +2:03:04', '7'::money) "
            "AS t FROM a WHERE i < '1e2'::float8 * 0.3333333333333333::float8 * 3"
        ),
    )
    settings = (
        "SET datestyle = 'German, DMY'; SET intervalstyle = sql_standard; "
        "SET extra_float_digits = -5; SET timezone = 'America/New_York'; "
    )
    case = Case(f"{settings} INSERT INTO {{target}} SELECT i, t FROM v", "i bigint, t text")
    split_both_ways(dsn, case, chunk_rows=100)


@pytest.fixture
def role(dsn: str) -> Iterator[str]:
    execute(dsn, "CREATE ROLE viewer LOGIN", "GRANT ALL ON SCHEMA public TO viewer")
    try:
        yield f"{dsn} user=viewer"
    finally:
        execute(dsn, "DROP OWNED BY viewer", "DROP ROLE viewer")


def as_viewer(dsn: str, role: str, *grants: str) -> Outcome:
    execute(
        dsn,
        *views(FILTER),
        "CREATE SCHEMA inside",
        "CREATE TABLE inside.a AS TABLE a",
        "CREATE VIEW w AS SELECT i, t FROM inside.a",
        "CREATE TABLE t (i int, t text)",
        "GRANT ALL ON v, w, t TO viewer",
        *grants,
    )
    return pgfan(role, "INSERT INTO t SELECT i, t FROM v WHERE i < 300", journal_schema=None)


def test_a_role_that_may_read_the_tables_too(dsn: str, role: str) -> None:
    outcome = as_viewer(dsn, role, "GRANT SELECT ON a TO viewer")
    assert outcome.result.ok, outcome.result.error
    assert outcome.last.verdict == "split"
    assert value(dsn, "SELECT count(*) FROM t") == value(
        dsn, "SELECT count(*) FROM v WHERE i < 300"
    )


@pytest.mark.parametrize("grant", ["GRANT SELECT (i, k) ON a TO viewer", "SELECT 1"])
def test_a_role_that_may_read_the_view_alone(dsn: str, role: str, grant: str) -> None:
    outcome = as_viewer(dsn, role, grant)
    assert outcome.result.ok, outcome.result.error
    assert outcome.last.verdict == "serial"
    assert outcome.last.reasons == (("view", "the role may read v, but not a in it"),)
    assert value(dsn, "SELECT count(*) FROM t") > 0


def test_a_role_that_may_not_use_the_schema_of_a_table_in_the_view(dsn: str, role: str) -> None:
    as_viewer(dsn, role, "GRANT SELECT ON a, inside.a TO viewer")
    outcome = pgfan(role, "INSERT INTO t SELECT i, t FROM w", journal_schema=None)
    assert outcome.result.ok, outcome.result.error
    assert outcome.last.reasons == (("view", "the role may read w, but not inside.a in it"),)


def test_a_role_that_may_not_call_a_function_in_the_view(dsn: str, role: str) -> None:
    """One connection may not either: functions in a view are called by whoever reads it."""
    as_viewer(dsn, role, "GRANT SELECT ON a TO viewer")
    execute(
        dsn,
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END'",
        "REVOKE ALL ON FUNCTION f(int) FROM public",
        "CREATE VIEW x AS SELECT f(i) AS i, t FROM a",
        "GRANT SELECT ON x TO viewer",
    )
    outcome = pgfan(role, "INSERT INTO t SELECT i, t FROM x", journal_schema=None)
    assert not outcome.result.ok
    assert outcome.last.verdict == "serial"
    assert "permission denied for function f" in str(outcome.result.error)


def test_row_security_of_the_owner_is_kept(dsn: str, role: str) -> None:
    """The role passes the policies of the table, the view's owner does not."""
    as_viewer(dsn, role, "GRANT SELECT ON a TO viewer")
    execute(
        dsn,
        "ALTER TABLE a OWNER TO viewer",
        "CREATE ROLE other_owner",
        "GRANT SELECT ON a TO other_owner",
        "ALTER VIEW v OWNER TO other_owner",
        "ALTER TABLE a ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY p ON a USING (i % 10 = 0)",
        "GRANT SELECT ON v TO viewer",
        "TRUNCATE t",
    )
    try:
        outcome = pgfan(role, "INSERT INTO t SELECT i, t FROM v", journal_schema=None)
        assert outcome.result.ok, outcome.result.error
        assert dict(outcome.last.reasons).keys() == {"row-security"}
        assert value(dsn, "SELECT count(*) FROM t WHERE i % 10 <> 0") == 0
        assert value(dsn, "SELECT count(*) FROM t") > 0
    finally:
        execute(dsn, "DROP OWNED BY other_owner CASCADE", "DROP ROLE other_owner")


def test_a_view_replaced_while_chunks_run(dsn: str) -> None:
    execute(dsn, *views(FILTER), "CREATE TABLE t (i int, t text)")
    expected = value(dsn, "SELECT count(*) FROM v")

    def replace_view(number: int) -> None:
        if number == 1:
            execute(dsn, "CREATE OR REPLACE VIEW v AS SELECT i, k, 'other' AS t FROM a")
        if number == 2:
            execute(dsn, "DROP VIEW v")

    outcome = pgfan(
        dsn,
        "INSERT INTO t SELECT i, t FROM v",
        Recorder(at_chunk=replace_view),
        chunk_rows=100,
        jobs=1,
    )
    assert outcome.result.ok, outcome.result.error
    assert outcome.last.chunks > 2
    assert query(dsn, "SELECT count(*), count(*) FILTER (WHERE t = 'other') FROM t") == [
        (expected, 0)
    ]


@pytest.mark.parametrize("begun", [True, False])
def test_a_view_replaced_before_a_resume(dsn: str, begun: bool) -> None:
    """What has begun goes on with the definition that it began with."""
    execute(
        dsn,
        *views(FILTER),
        "CREATE TABLE t (i int, t text)",
        f"ALTER TABLE t ADD CONSTRAINT c CHECK ({'i <> 655' if begun else 'false'})",
        "SELECT pg_stat_force_next_flush()",
    )
    expected = value(dsn, "SELECT count(*) FROM v")
    script = "INSERT INTO t SELECT i, t FROM v"
    failed = pgfan(dsn, script, chunk_rows=100, jobs=1)
    assert (failed.states, failed.last.verdict) == (["failed"], "split")
    assert (value(dsn, "SELECT count(*) FROM t") > 0) == begun
    execute(
        dsn,
        "ALTER TABLE t DROP CONSTRAINT c",
        "CREATE OR REPLACE VIEW v AS SELECT i, k, 'other' AS t FROM a",
    )
    again = pgfan(dsn, script, chunk_rows=100, jobs=1)
    assert again.result.ok, again.result.error
    assert again.result.run == failed.result.run
    rows = (expected, 0) if begun else (909, 909)
    assert query(dsn, "SELECT count(*), count(*) FILTER (WHERE t = 'other') FROM t") == [rows]


def test_a_materialised_view_under_a_view(dsn: str) -> None:
    setup = (*SETUP, "CREATE MATERIALIZED VIEW m AS TABLE a", "CREATE VIEW v AS TABLE m")
    case = Case("INSERT INTO {target} SELECT i, t FROM v", "i bigint, t text", setup)
    assert split_both_ways(dsn, case, chunk_rows=100).last.key == "ctid"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t SELECT i, t FROM a",
        "INSERT INTO t SELECT g, 'x' FROM generate_series(1, 900) g",
        "INSERT INTO t SELECT k, min(t) FROM a GROUP BY k",
    ],
)
def test_a_chunk_that_the_server_refuses_is_not_begun(
    dsn: str, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """As it would after a fault in the deparser: the statement itself is run instead."""
    execute(dsn, *SETUP, "CREATE TABLE t (i int, t text)")
    original = vars(analysis)["template_of"]

    def broken(*arguments: object) -> Template:
        template: Template = original(*arguments)
        return Template(("no SQL: " + template.pieces[0], *template.pieces[1:]), template.columns)

    monkeypatch.setattr(analysis, "template_of", broken)
    outcome = pgfan(dsn, statement, chunk_rows=100)
    assert outcome.result.ok, outcome.result.error
    assert outcome.last.verdict == "serial"
    ((code, message),) = outcome.last.reasons
    assert code == "explain"
    assert "of a chunk" in message
    assert value(dsn, "SELECT count(*) FROM t") > 0
