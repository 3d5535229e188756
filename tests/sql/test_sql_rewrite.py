"""The SQL of a chunk: exact texts, frozen times, defaults written out, names that need quotes."""

from __future__ import annotations

import re

import postgast
import pytest
from msgspec.structs import replace
from sql_catalogue import catalogue, fill, relation, split_of, tree_of

from pgfan.plan.ranges import Range
from pgfan.plan.task import Blocks, SplitPlan
from pgfan.sql.freeze import freeze_time
from pgfan.sql.render import RenderError, same_tree
from pgfan.sql.rewrite import (
    SeriesSpec,
    Template,
    restrict_blocks,
    restrict_column,
    restrict_series,
    series_call,
)
from pgfan.sql.tree import copy_of, deparse_statement, wrap

NOW = "2024-02-29 12:00:00.5+00"
LITERAL = f"'{NOW}'::timestamp with time zone"
INT4 = SeriesSpec("pg_catalog.int4", "'2'::pg_catalog.int4")
CTID = (
    "{0}.ctid OPERATOR(pg_catalog.>=) '(3,0)'::pg_catalog.tid"
    " AND {0}.ctid OPERATOR(pg_catalog.<) '(7,0)'::pg_catalog.tid"
)


def blocks_sql(query: str, insert: str = "INSERT INTO t") -> str:
    sql = f"{insert} {query}"
    split = split_of(sql)
    (candidate, *_) = split.candidates
    template = restrict_blocks(split, candidate, catalogue(), NOW)
    return fill(template, "(3,0)", "(7,0)").removeprefix(f"{insert} ")


def series_template(sql: str, spec: SeriesSpec = INT4) -> Template:
    split = split_of(sql)
    candidate = next(one for one in split.candidates if one.key == "series")
    return restrict_series(split, candidate, spec, catalogue(), NOW)


BLOCKS = [
    ("SELECT x FROM b", "SELECT x FROM b WHERE " + CTID.format("b")),
    ("TABLE b", "SELECT * FROM b WHERE " + CTID.format("b")),
    ("SELECT x FROM public.b", "SELECT x FROM public.b WHERE " + CTID.format("b")),
    ("SELECT x FROM ONLY b AS k", "SELECT x FROM ONLY b k WHERE " + CTID.format("k")),
    ("SELECT x FROM b WHERE x > 1", "SELECT x FROM b WHERE x > 1 AND " + CTID.format("b")),
    (
        "SELECT x FROM b WHERE x > 1 OR y IS NULL",
        "SELECT x FROM b WHERE (x > 1 OR y IS NULL) AND " + CTID.format("b"),
    ),
    (
        "SELECT x FROM b WHERE x > 1 AND n < 2 ORDER BY x",
        "SELECT x FROM b WHERE x > 1 AND n < 2 AND " + CTID.format("b") + " ORDER BY x",
    ),
    (
        "SELECT b.x FROM c LEFT JOIN b USING (x)",
        "SELECT b.x FROM c LEFT JOIN b USING (x) WHERE " + CTID.format("c"),
    ),
    (
        "WITH s AS MATERIALIZED (SELECT x FROM c) SELECT b.x FROM b, s",
        "WITH pgfan_with_1 AS MATERIALIZED (SELECT x FROM c) SELECT b.x FROM b, pgfan_with_1 s "
        "WHERE " + CTID.format("b"),
    ),
    # WITH that stays, inside of the SELECT and under a name of its own; c is the table in it.
    (
        "WITH c AS (SELECT x FROM c WHERE x > 1) SELECT b.x FROM b, c, c z",
        "WITH pgfan_with_1 AS (SELECT x FROM c WHERE x > 1) SELECT b.x FROM b, pgfan_with_1 c, "
        "pgfan_with_1 z WHERE " + CTID.format("b"),
    ),
    (
        (
            "WITH RECURSIVE r (n) AS (SELECT 1 UNION SELECT n + 1 FROM r) SELECT q.x FROM "
            "(WITH r AS (SELECT 2, n FROM r) SELECT b.x FROM b, r, r AS pgfan_with_1) q"
        ),
        "WITH RECURSIVE pgfan_with_2(n) AS (SELECT 1 UNION SELECT n + 1 FROM pgfan_with_2 r) "
        "SELECT q.x FROM (WITH pgfan_with_3 AS (SELECT 2, n FROM pgfan_with_2 r) SELECT b.x "
        "FROM b, pgfan_with_3 r, pgfan_with_3 pgfan_with_1 WHERE " + CTID.format("b") + ") q",
    ),
    (
        "SELECT (WITH s AS (SELECT b.x FROM c) SELECT count(*) FROM d AS b, s) FROM b",
        "SELECT (WITH pgfan_with_1 AS (SELECT b.x FROM c) SELECT count(*) FROM d b, "
        "pgfan_with_1 s) FROM b WHERE " + CTID.format("b"),
    ),
    (
        'SELECT 1 FROM b AS "We""ird ctid"',
        'SELECT 1 FROM b "We""ird ctid" WHERE ' + CTID.format('"We""ird ctid"'),
    ),
    ('SELECT 1 FROM b AS "Upper"', 'SELECT 1 FROM b "Upper" WHERE ' + CTID.format('"Upper"')),
    ("SELECT 1 FROM b AS größe", 'SELECT 1 FROM b "größe" WHERE ' + CTID.format('"größe"')),
    ('SELECT 1 FROM b AS "select"', 'SELECT 1 FROM b "select" WHERE ' + CTID.format('"select"')),
    ('SELECT 1 FROM b AS "1"', 'SELECT 1 FROM b "1" WHERE ' + CTID.format('"1"')),
]


@pytest.mark.parametrize(("query", "expected"), BLOCKS)
def test_a_heap_is_restricted_to_blocks(query: str, expected: str) -> None:
    assert blocks_sql(query) == expected


SERIES = [
    (
        "INSERT INTO t SELECT g FROM generate_series(1, 9, 2) AS g",
        INT4,
        (
            "INSERT INTO t SELECT g FROM "
            "generate_series('5'::pg_catalog.int4, '7'::pg_catalog.int4, '2'::pg_catalog.int4) g"
        ),
    ),
    (
        "INSERT INTO t SELECT pg_catalog.generate_series(1, 9) + 1, random()",
        SeriesSpec("pg_catalog.numeric", "'-1'::pg_catalog.numeric"),
        (
            "INSERT INTO t SELECT pg_catalog.generate_series('5'::pg_catalog.numeric, "
            "'7'::pg_catalog.numeric, '-1'::pg_catalog.numeric) + 1, random()"
        ),
    ),
    (
        "INSERT INTO t SELECT 1 FROM c JOIN generate_series(1, 9) AS g (k) ON c.x = k WHERE k > 2",
        INT4,
        (
            "INSERT INTO t SELECT 1 FROM c JOIN generate_series('5'::pg_catalog.int4, "
            "'7'::pg_catalog.int4, '2'::pg_catalog.int4) g(k) ON c.x = k WHERE k > 2"
        ),
    ),
    (
        "INSERT INTO t SELECT g FROM generate_series('2024-01-01', now(), '1 hour') g",
        SeriesSpec("timestamp", "'1 hour'::pg_catalog.interval", by_interval=True),
        (
            "INSERT INTO t SELECT g FROM generate_series("
            "'2000-01-01'::timestamp OPERATOR(pg_catalog.+) '5'::pg_catalog.interval, "
            "'2000-01-01'::timestamp OPERATOR(pg_catalog.+) '7'::pg_catalog.interval, "
            "'1 hour'::pg_catalog.interval) g"
        ),
    ),
    (
        "INSERT INTO t SELECT g FROM generate_series('2024-01-01', now(), '1 hour') g",
        SeriesSpec("timestamptz", "'1 hour'::pg_catalog.interval", by_interval=True),
        (
            "INSERT INTO t SELECT g FROM generate_series("
            "pg_catalog.timezone('UTC', "
            "'2000-01-01'::timestamp OPERATOR(pg_catalog.+) '5'::pg_catalog.interval), "
            "pg_catalog.timezone('UTC', "
            "'2000-01-01'::timestamp OPERATOR(pg_catalog.+) '7'::pg_catalog.interval), "
            "'1 hour'::pg_catalog.interval) g"
        ),
    ),
    (
        "INSERT INTO t SELECT (SELECT max(q) FROM generate_series(1, 3) q), generate_series(1, 9)",
        INT4,
        (
            "INSERT INTO t SELECT (SELECT max(q) FROM generate_series(1, 3) q), "
            "generate_series('5'::pg_catalog.int4, '7'::pg_catalog.int4, '2'::pg_catalog.int4)"
        ),
    ),
]


@pytest.mark.parametrize(("sql", "spec", "expected"), SERIES)
def test_a_series_is_restricted_to_its_bounds(sql: str, spec: SeriesSpec, expected: str) -> None:
    assert _sql(fill(series_template(sql, spec), "5", "7")) == _sql(expected)


def _sql(text: str) -> str:
    """Spaces and parentheses as the deparser writes them."""
    return str(postgast.deparse(postgast.parse(text)))


def test_the_second_candidate_is_restricted_alone() -> None:
    sql = "INSERT INTO t SELECT 1 FROM generate_series(1, 3) a, generate_series(4, 6) b"
    split = split_of(sql)
    tree = tree_of(sql)
    template = restrict_series(split, split.candidates[1], INT4, catalogue(), NOW)
    assert template.pieces[0].endswith("generate_series(1, 3) a, generate_series(")
    assert [c.ordinal for c in split.candidates] == [0, 1]
    assert series_call(tree, split.candidates[1]).args[0].a_const.ival.ival == 4


# An expression, and what it is in every chunk. `{}` is the frozen time.
FROZEN = [
    ("now()", "{} AS now"),
    ("pg_catalog.now()", "{} AS now"),
    ("NOW() AS k", "{} AS k"),
    ("transaction_timestamp()", "{} AS transaction_timestamp"),
    ("statement_timestamp()", "{} AS statement_timestamp"),
    ("current_timestamp", '{} ::pg_catalog.timestamptz AS "current_timestamp"'),
    ("current_timestamp(3)", '{} ::pg_catalog.timestamptz(3) AS "current_timestamp"'),
    ("CURRENT_DATE", '{} ::pg_catalog.date AS "current_date"'),
    ("current_time", '{} ::pg_catalog.timetz AS "current_time"'),
    ("current_time(0)", '{} ::pg_catalog.timetz(0) AS "current_time"'),
    ("localtime", '{} ::pg_catalog.time AS "localtime"'),
    ("localtime(6)", '{} ::pg_catalog.time(6) AS "localtime"'),
    ("localtimestamp", '{} ::pg_catalog.timestamp AS "localtimestamp"'),
    ("localtimestamp(2)", '{} ::pg_catalog.timestamp(2) AS "localtimestamp"'),
    ("now()::date", "{}::date AS now"),
    ('current_date::text COLLATE "C"', '{} ::pg_catalog.date::text COLLATE "C" AS "current_date"'),
    ("now() - interval '1 day'", "{} - '1 day'::interval"),
    ("CASE WHEN x > 1 THEN y ELSE now() END", "CASE WHEN x > 1 THEN y ELSE {} END AS now"),
    ("CASE WHEN x > 1 THEN now() ELSE y END", "CASE WHEN x > 1 THEN {} ELSE y END"),
    ("CASE WHEN x > 1 THEN now() END", "CASE WHEN x > 1 THEN {} END"),
    ("COALESCE(y, now())", "COALESCE(y, {})"),
    ("ARRAY[now(), ROW(current_date)]", "ARRAY[{}, ROW({} ::pg_catalog.date)]"),
    ("to_char(now(), 'HH24')", "to_char({}, 'HH24')"),
    ("(SELECT now())", "(SELECT {} AS now)"),
    ("(SELECT max(q.now) FROM (SELECT now()) q)", "(SELECT max(q.now) FROM (SELECT {} AS now) q)"),
    # These stay: every chunk and every row has its own, or all have the same.
    ("clock_timestamp(), random()", "clock_timestamp(), random()"),
    ("current_user, session_user", "current_user, session_user"),
]


@pytest.mark.parametrize(("expression", "expected"), FROZEN)
def test_the_transactions_time_is_one_for_all_chunks(expression: str, expected: str) -> None:
    sql = f"SELECT {expected.replace('{}', LITERAL)} FROM b WHERE {CTID.format('b')}"
    assert _sql(blocks_sql(f"SELECT {expression} FROM b")) == _sql(sql)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            "SELECT x FROM b WHERE now() > y::date",
            f"SELECT x FROM b WHERE {LITERAL} > y::date AND {CTID.format('b')}",
        ),
        (
            "SELECT x FROM b JOIN c USING (x) WHERE c.y IN (SELECT now()) ORDER BY now(), x",
            (
                f"SELECT x FROM b JOIN c USING (x) WHERE c.y IN (SELECT {LITERAL} AS now) AND "
                f"{CTID.format('b')} ORDER BY {LITERAL}, x"
            ),
        ),
        (
            "SELECT x FROM b JOIN c ON now() > c.y, LATERAL (VALUES (current_date)) v",
            (
                f"SELECT x FROM b JOIN c ON {LITERAL} > c.y, "
                f"LATERAL (VALUES ({LITERAL}::pg_catalog.date)) v WHERE {CTID.format('b')}"
            ),
        ),
    ],
)
def test_the_time_is_frozen_in_every_clause(query: str, expected: str) -> None:
    assert _sql(blocks_sql(query)) == _sql(expected)


@pytest.mark.parametrize("item", ["now()", "current_date AS d", "ROWS FROM (now())"])
def test_a_time_in_from_cannot_be_written_as_a_constant(item: str) -> None:
    with pytest.raises(RenderError):
        blocks_sql(f"SELECT x FROM b, {item}")


def test_freezing_leaves_the_users_tree_alone() -> None:
    sql = "INSERT INTO t SELECT now() FROM b WHERE x > 1"
    tree = tree_of(sql)
    before = copy_of(tree)
    split = split_of(sql)
    restrict_blocks(split, split.candidates[0], catalogue(), NOW)
    assert tree == before
    freeze_time(tree, NOW, catalogue())
    assert tree != before


DEFAULTS = [
    ("INSERT INTO t SELECT x", "INSERT INTO t (id, at, on_day) SELECT x"),
    ("INSERT INTO t (id) SELECT x", "INSERT INTO t (id, at, on_day) SELECT x"),
    ("INSERT INTO public.t AS k SELECT x", "INSERT INTO public.t AS k (id, at, on_day) SELECT x"),
    ("INSERT INTO t (y, id) SELECT x, x", "INSERT INTO t (y, id, at, on_day) SELECT x, x"),
]


@pytest.mark.parametrize(("statement", "start"), DEFAULTS)
def test_defaults_that_look_at_the_time_are_written_out(statement: str, start: str) -> None:
    columns = {"id": None, "at": "now()", "y": "random()", "on_day": "(CURRENT_DATE + 1)"}
    facts = catalogue(t=columns)
    sql = f"{statement} FROM b"
    split = split_of(sql, facts)
    template = restrict_blocks(split, split.candidates[0], facts, NOW)
    assert _sql(fill(template, "(3,0)", "(7,0)")) == _sql(
        f"{start}, {LITERAL} AS now, {LITERAL}::pg_catalog.date + 1 FROM b WHERE {CTID.format('b')}"
    )


@pytest.mark.parametrize("name", ['we"ird', "Upper", "größe", "select", "a b", "$900001"])
def test_names_are_quoted_where_columns_are_written_out(name: str) -> None:
    facts = catalogue(t={name: None, "at": "now()"})
    sql = "INSERT INTO t SELECT x FROM b"
    split = split_of(sql, facts)
    template = restrict_blocks(split, split.candidates[0], facts, NOW)
    insert = tree_of(fill(template, "(3,0)", "(7,0)"))
    assert [column.res_target.name for column in insert.cols] == [name, "at"]


LITERALS = [
    "'$900001'",
    "'$900001 $900002 $900003 $900004'",
    "E'\\\\$900001\\''",
    "$tag$ $900001 $tag$",
    '"$900001"',
    "'it''s $1'",
    "900001",
    "900002.5",
    "B'101'",
    "U&'\\0024900001'",
    "'%s {0} {} \\'",
    "'\n\t'",
]


@pytest.mark.parametrize("literal", LITERALS)
def test_the_places_of_the_bounds_are_not_mistaken(literal: str) -> None:
    chunk = tree_of("INSERT INTO t " + blocks_sql(f"SELECT {literal} FROM b"))
    whole = tree_of(f"INSERT INTO t SELECT {literal} FROM b")
    selects = [tree.select_stmt.select_stmt.target_list[0] for tree in (chunk, whole)]
    assert same_tree(selects[0], selects[1])


def test_the_text_of_a_default_is_not_mistaken_for_a_bound() -> None:
    facts = catalogue(t={"id": None, "z": "concat('$900001'::text, now())"})
    sql = "INSERT INTO t SELECT x FROM b"
    split = split_of(sql, facts)
    template = restrict_blocks(split, split.candidates[0], facts, NOW)
    assert "'$900001'" in template.pieces[0]
    assert template.pieces[1].startswith("::pg_catalog.tid AND ")


def test_what_does_not_come_back_from_the_deparser_is_refused() -> None:
    sql = "INSERT INTO t SELECT x FROM b"
    split = split_of(sql)
    # A tree that no text gives: the deparser writes the name, the parser reads two.
    select = split.tree.select_stmt.select_stmt
    select.target_list[0].res_target.indirection.add().a_star.SetInParent()
    with pytest.raises(RenderError):
        restrict_blocks(split, split.candidates[0], catalogue(), NOW)


def test_trees_are_compared_without_their_places_in_the_text() -> None:
    assert same_tree(tree_of("SELECT  a ,b"), tree_of("SELECT a, b"))
    assert not same_tree(tree_of("SELECT a, b"), tree_of("SELECT b, a"))
    assert not same_tree(tree_of("SELECT 1"), tree_of("SELECT 1.0"))


def test_a_plan_quotes_the_bounds_of_a_chunk() -> None:
    plan = SplitPlan("ctid", "blocks", 9, ("a ", " b ", " c"), Blocks(), "t")
    assert plan.statement(Range(1, 7)) == "a '(1,0)' b '(7,0)' c"


def test_facts_of_the_catalogue_name_the_given_columns() -> None:
    facts = catalogue()
    narrow = replace(relation("t"), columns=relation("t").columns[:1])
    facts = replace(facts, relations={**facts.relations, ("t",): narrow})
    assert split_of("INSERT INTO t SELECT x FROM b", facts).frozen_defaults == ()
    assert deparse_statement(wrap("insert_stmt", tree_of("INSERT INTO t SELECT 1"))) == (
        "INSERT INTO t SELECT 1"
    )


COLUMN_CASES = [
    ("SELECT x FROM b GROUP BY x", "SELECT x FROM b WHERE <b.x> GROUP BY x"),
    (
        "SELECT x FROM b WHERE y > 1 OR n > 1 GROUP BY x",
        "SELECT x FROM b WHERE (y > 1 OR n > 1) AND <b.x> GROUP BY x",
    ),
    (
        "SELECT b.x FROM b JOIN c ON b.x = c.x GROUP BY b.x",
        "SELECT b.x FROM b JOIN c ON b.x = c.x WHERE <b.x> AND <c.x> GROUP BY b.x",
    ),
    # In ON, a row of b without a match is kept as it is.
    (
        "SELECT b.x FROM b LEFT JOIN c ON b.x = c.x GROUP BY b.x",
        "SELECT b.x FROM b LEFT JOIN c ON b.x = c.x AND <c.x> WHERE <b.x> GROUP BY b.x",
    ),
    (
        "SELECT b.x FROM c RIGHT JOIN b ON c.x = b.x OR c.y = b.y GROUP BY b.x",
        "SELECT b.x FROM c RIGHT JOIN b ON c.x = b.x OR c.y = b.y WHERE <b.x> GROUP BY b.x",
    ),
    (
        "SELECT b.x FROM c RIGHT JOIN b ON c.x = b.x AND c.y = b.y GROUP BY b.x",
        (
            "SELECT b.x FROM c RIGHT JOIN b ON c.x = b.x AND c.y = b.y AND <c.x> WHERE <b.x> "
            "GROUP BY b.x"
        ),
    ),
    (
        "SELECT b.x FROM b JOIN d ON b.x = d.z LEFT JOIN c ON d.z = c.x GROUP BY b.x",
        (
            "SELECT b.x FROM b JOIN d ON b.x = d.z LEFT JOIN c ON d.z = c.x AND <c.x> "
            "WHERE <b.x> AND <d.z> GROUP BY b.x"
        ),
    ),
    (
        "SELECT b.x FROM b LEFT JOIN (c JOIN d ON c.x = d.z) ON b.x = d.z GROUP BY b.x",
        (
            "SELECT b.x FROM b LEFT JOIN (c JOIN d ON c.x = d.z) ON b.x = d.z AND <d.z> "
            "WHERE <b.x> GROUP BY b.x"
        ),
    ),
    # Another type, a second reader of one name, an expression: read whole.
    (
        "SELECT b.x FROM b LEFT JOIN c ON b.x = c.y::int GROUP BY b.x",
        "SELECT b.x FROM b LEFT JOIN c ON b.x = c.y::int WHERE <b.x> GROUP BY b.x",
    ),
    (
        "SELECT x FROM b LEFT JOIN c USING (x) GROUP BY b.x",
        "SELECT x FROM b LEFT JOIN c USING (x) WHERE <b.x> GROUP BY b.x",
    ),
]


@pytest.mark.parametrize(("query", "expected"), COLUMN_CASES, ids=[q for q, _ in COLUMN_CASES])
def test_a_range_goes_to_every_column_that_joins_equate(query: str, expected: str) -> None:
    split = split_of(f"INSERT INTO t {query}")
    candidate = next(one for one in split.candidates if (one.alias, one.column) == (("b",), "x"))
    template = restrict_column(split, candidate, catalogue(), NOW)
    holes = [f"{column} IN (1)" for (column,) in template.columns]
    text = "".join(
        part for pair in zip(template.pieces, [*holes, ""], strict=True) for part in pair
    )
    written = re.sub(r"<(.)\.(.)>", r'"\1"."\2" IN (1)', expected)
    assert _sql(text) == _sql(f"INSERT INTO t {written}")
