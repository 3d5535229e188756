"""SQL that goes through the deparser and back: nothing of the user's statement may change.

The check here is not the one that the rewrite makes itself: the restriction is taken out of the
parsed chunk again, and what is left must be the user's tree.
"""

from __future__ import annotations

import pytest
from sql_catalogue import catalogue, fill, split_of, tree_of

from pgfan.sql.freeze import looks_at_time
from pgfan.sql.render import RenderError, same_tree
from pgfan.sql.rewrite import restrict_blocks
from pgfan.sql.tree import Message, copy_of, walk

SHAPES = [
    "SELECT x FROM b",
    "SELECT b.* FROM b",
    "SELECT 'it''s', E'a\\\\b\\n', U&'\\00e9', $$q$q$$, $tag$ $$ $tag$, 'é😀', '' FROM b",
    (
        "SELECT B'101', X'1F', 1e10, .5, 1_000_000, 0x1F, 0b11, 9223372036854775808, -1, - "
        "-1, +x FROM b"
    ),
    "SELECT true, false, NULL, unknown IS NULL FROM b",
    "SELECT x + 1 * 2 - (3 - 4) / 5 % 6 ^ 7 FROM b",
    "SELECT (x + 1) * 2, -(-x), (-x)::text, -x::text FROM b",
    "SELECT x AND y OR NOT n, (x OR y) AND n, NOT (x AND y) FROM b",
    (
        "SELECT x BETWEEN 1 AND 2, x NOT BETWEEN SYMMETRIC 2 AND 1, (x BETWEEN 1 AND 2) AND "
        "true FROM b"
    ),
    "SELECT x IN (1, 2), x NOT IN (1), (x, y) IN ((1, 'a'), (2, 'b')) FROM b",
    ("SELECT y LIKE 'a%' ESCAPE '!', y NOT ILIKE 'b', y SIMILAR TO 'c', y ~ 'd', y !~* 'e' FROM b"),
    "SELECT x IS DISTINCT FROM n, x IS NOT DISTINCT FROM NULL FROM b",
    "SELECT CASE x WHEN 1 THEN 'a' ELSE 'b' END, CASE WHEN x > 1 THEN 2 END FROM b",
    "SELECT COALESCE(x, 1), NULLIF(x, 1), GREATEST(x, 2), LEAST(x, 3) FROM b",
    (
        "SELECT ARRAY[1, x], ARRAY[[1, 2], [3, 4]], ARRAY[]::int[], (ARRAY[x])[1], "
        "(ARRAY[x])[1:2], y[2][3] FROM b"
    ),
    "SELECT x = ANY (ARRAY[1, 2]), x <> ALL ('{1,2}'::int[]), y LIKE ANY (ARRAY['a%']) FROM b",
    "SELECT ROW(x, y), (x, y), ROW(), ROW(x) = ROW(1), (b).x, (b).*, (ROW(1, 2)).f1 FROM b",
    (
        "SELECT x::int, CAST(x AS numeric(10, 2)), x::varchar(5)[], int '7', x::public.mood, "
        "'a'::\"char\" FROM b"
    ),
    (
        "SELECT interval '1 day', '1 year'::interval year to month, interval(3) '1 s', "
        "x::interval day to second(2) FROM b"
    ),
    (
        "SELECT date '2024-01-01', timestamp with time zone '2024-01-01 00:00+02', time(2) "
        "'10:00' FROM b"
    ),
    (
        "SELECT x::bit(3), x::bit varying, x::character(4), x::double precision, x::time(3) "
        "with time zone FROM b"
    ),
    (
        "SELECT y AT TIME ZONE 'UTC', y AT LOCAL, y COLLATE \"C\", y COLLATE "
        'pg_catalog."de_DE" FROM b'
    ),
    ("SELECT x OPERATOR(pg_catalog.+) 1, x OPERATOR(app.***) 2, OPERATOR(pg_catalog.-) x FROM b"),
    (
        "SELECT y::jsonb -> 'a' ->> 'b', y::jsonb #>> '{a,b}', y::jsonb @> '{}', y::jsonb ? "
        "'k' FROM b"
    ),
    "SELECT extract(epoch FROM x), extract(year FROM now()) FROM b",
    "SELECT lower(y), pg_catalog.lower(y), format('%s', VARIADIC ARRAY[y]) FROM b",
    "SELECT format(formatstr => '%s') FROM b",
    "SELECT JSON_OBJECT('a' : x, 'b' VALUE y NULL ON NULL WITH UNIQUE KEYS) FROM b",
    (
        "SELECT JSON_ARRAY(x, y ABSENT ON NULL RETURNING jsonb), JSON('{}'), JSON_SCALAR(x), "
        "JSON_SERIALIZE(y) FROM b"
    ),
    (
        "SELECT JSON_VALUE(y, '$.a' RETURNING int DEFAULT 1 ON EMPTY), JSON_QUERY(y, '$' "
        "WITH WRAPPER), JSON_EXISTS(y, '$') FROM b"
    ),
    "SELECT y IS JSON, y IS NOT JSON ARRAY WITH UNIQUE KEYS FROM b",
    (
        "SELECT x, q.k FROM b, JSON_TABLE(y::jsonb, '$[*]' COLUMNS (k int PATH '$.k', o FOR "
        "ORDINALITY)) q"
    ),
    (
        "SELECT x, q.k FROM b, XMLTABLE('/r' PASSING y COLUMNS k int PATH 'k' DEFAULT "
        "1 NOT NULL, o FOR ORDINALITY) q"
    ),
    (
        "SELECT xmlelement(name r, xmlattributes(x AS a), y), xmlforest(x, y AS z), "
        "xmlroot(y::xml, version '1.0') FROM b"
    ),
    (
        "SELECT xmlserialize(CONTENT y::xml AS text), xmlparse(DOCUMENT y), y::xml IS "
        "DOCUMENT, xmlpi(name p) FROM b"
    ),
    "SELECT b.x FROM b JOIN c ON b.x = c.x LEFT JOIN d ON d.z = c.x AND d.z > 1",
    "SELECT b.x FROM b JOIN c USING (x) LEFT JOIN d ON true CROSS JOIN u",
    "SELECT b.x FROM b JOIN (c JOIN d ON c.x = d.z) ON b.x = c.x",
    "SELECT b.x FROM b NATURAL LEFT JOIN c",
    "SELECT b.x FROM b JOIN c USING (x) AS j",
    "SELECT k.x FROM b AS k (x, y), LATERAL (SELECT c.y FROM c WHERE c.x = k.x) AS s (z)",
    ("SELECT b.x FROM b LEFT JOIN LATERAL unnest(ARRAY[b.x]) WITH ORDINALITY AS u2 (v, o) ON true"),
    (
        "SELECT b.x FROM b, ROWS FROM (unnest(ARRAY[1]), unnest(ARRAY[2])) WITH ORDINALITY "
        "AS q (i, j, o)"
    ),
    'SELECT b.x FROM b, json_to_recordset(y::json) AS q (k int, l text COLLATE "C")',
    "SELECT b.x FROM ONLY b, (VALUES (1, 'a'), (2, NULL)) AS q (i, j)",
    "SELECT b.x FROM b WHERE x > 1 AND y = 'a' OR n IS NULL",
    "SELECT b.x FROM b WHERE NOT (x > 1 AND y = 'a')",
    "SELECT b.x FROM b WHERE (x > 1 AND n < 2) AND y = 'a'",
    (
        "SELECT b.x FROM b WHERE x IN (SELECT x FROM c UNION ALL (SELECT z FROM d EXCEPT "
        "SELECT 1) ORDER BY 1)"
    ),
    "SELECT b.x FROM b WHERE EXISTS (SELECT FROM c WHERE c.x = b.x OFFSET 1 LIMIT 2)",
    (
        "SELECT b.x FROM b WHERE x > ALL (SELECT x FROM c) AND (x, y) = (SELECT x, y FROM c "
        "WHERE x = 1)"
    ),
    (
        "SELECT (SELECT count(*) FILTER (WHERE c.x > 1) FROM c GROUP BY GROUPING SETS "
        "((c.x), ()) HAVING grouping(c.x) = 0) FROM b"
    ),
    "SELECT (SELECT count(DISTINCT c.x) FROM c GROUP BY CUBE (c.x, c.y), ROLLUP (c.x)) FROM b",
    (
        "SELECT (SELECT max(c.x) FROM c WHERE c.x = b.x), ARRAY(SELECT c.x FROM c WHERE c.x "
        "= b.x ORDER BY 1 DESC NULLS LAST) FROM b"
    ),
    "SELECT (SELECT string_agg(c.y, ',' ORDER BY c.y DESC) FROM c WHERE c.x = b.x) FROM b",
    (
        "SELECT (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY c.x) FROM c WHERE c.x = "
        "b.x) FROM b"
    ),
    (
        'SELECT x FROM b WHERE x IN (SELECT DISTINCT x FROM c) ORDER BY y COLLATE "C" DESC '
        "NULLS FIRST, x USING >"
    ),
    (
        "SELECT now(), current_date, current_time(2), localtime, localtimestamp(0), "
        "current_timestamp FROM b"
    ),
    "SELECT CURRENT_USER, session_user, current_catalog, current_schema, user FROM b",
    'SELECT x AS "select", y AS "We""ird", n AS "Größe" FROM b AS "Order"',
    'SELECT "Order"."x" FROM b AS "Order"',
    'SELECT "we""ird".x FROM b AS "we""ird" WHERE "we""ird".x > 1',
    'SELECT "größe".x, "größe"."X Y" FROM b AS "größe"',
    "SELECT x FROM public.b",
    "SELECT public.b.x FROM public.b",
    (
        "SELECT trim(both 'x' from y), substring(y from 1 for 2), position('a' in y), "
        "overlay(y placing 'a' from 1) FROM b"
    ),
    "SELECT x::text || 'a' || 'b', x || y FROM b",
    "SELECT '$900001', '$900002', 900003 FROM b",
    "SELECT (x, y) OVERLAPS (n, y) FROM b",
    "SELECT random() * 10, gen_random_uuid(), nextval('s') FROM b",
    "TABLE b",
    "SELECT b FROM b",
    "SELECT FROM b",
    "SELECT x FROM b WHERE x = 1 AND (y = 'a' AND n = 2)",
    "SELECT x FROM b JOIN c USING (x) WHERE true",
    "SELECT x::int::text::varchar FROM b",
    "SELECT cast('1' as int) + 2, '{\"a\":1}'::jsonb || '{}' FROM b",
    "SELECT DATE_BIN('15 minutes', x, TIMESTAMP '2001-01-01') FROM b",
    "SELECT normalize(y, NFC), y IS NFC NORMALIZED FROM b",
    "SELECT b.x, g FROM b, generate_series(1, b.x) AS g WHERE g % 2 = 0",
    "SELECT x FROM b WHERE (SELECT true)",
    "SELECT x FROM b WHERE (x > 1) IS NOT FALSE",
    "SELECT (x).a.b[1].c FROM b",
    "SELECT x[1], (y).z FROM b",
    "SELECT (x = 1) IS TRUE, (x = 1) = (y = 'a'), (x IS NULL) IS NULL FROM b",
    "SELECT substring(y from 'a' for '#'), substring(y similar 'a' escape '#') FROM b",
    "SELECT -x ^ 2, (-x) ^ 2, 2 ^ 3 ^ 2, 2 ^ (3 ^ 2), x - (1 - 2), @ x, x % -2, x - -1 FROM b",
    "SELECT y || 'a' COLLATE \"C\", (y || 'a') COLLATE \"C\", (x || y)::text FROM b",
    "SELECT x::char, x::char(3), x::bpchar, x::varchar, x::bit, x::varbit, x::name FROM b",
    (
        "SELECT '1'::interval year, '1'::interval second(3), '1'::interval minute to "
        "second(2) FROM b"
    ),
    (
        "SELECT JSON_QUERY(y, '$' OMIT QUOTES NULL ON ERROR), JSON_QUERY(y, '$' EMPTY ARRAY "
        "ON EMPTY) FROM b"
    ),
    "SELECT JSON_OBJECT('a' : x ABSENT ON NULL RETURNING jsonb), JSON_OBJECT() FROM b",
    "SELECT CASE WHEN x > 1 THEN 1 END + 1, CASE x + 1 WHEN 1 THEN 'a' END || 'b' FROM b",
    "SELECT 1 FROM b NATURAL JOIN c NATURAL LEFT JOIN u",
    "SELECT 1 FROM b, (c JOIN d USING (x) AS k) AS j (p, q)",
    'SELECT 1 FROM b, json_to_recordset(\'{"a":1}\') AS r (a int, z text COLLATE "C")',
]

# libpg_query's deparser writes other SQL, or none: such a statement runs on one connection.
NOT_DEPARSED = [
    "SELECT q.k FROM b, XMLTABLE('/r' PASSING (y::xml) COLUMNS k int PATH 'k') q",
    "SELECT xmlparse(CONTENT y PRESERVE WHITESPACE) FROM b",
]


def chunk_of(query: str) -> Message:
    sql = f"INSERT INTO t {query}"
    split = split_of(sql)
    candidate = next(one for one in split.candidates if one.key == "ctid")
    template = restrict_blocks(split, candidate, catalogue(), "2024-02-29 12:00+00")
    return tree_of(fill(template, "(0,0)", "(9,0)"))


def without_restriction(chunk: Message) -> Message:
    """The tree of a chunk with its last two conditions taken out."""
    copy = copy_of(chunk)
    where = copy.select_stmt.select_stmt.where_clause
    conditions = list(where.bool_expr.args)[:-2]
    if len(conditions) > 1:
        del where.bool_expr.args[-2:]
    elif conditions:
        where.CopyFrom(copy_of(conditions[0]))
    else:
        copy.select_stmt.select_stmt.ClearField("where_clause")
    return copy


@pytest.mark.parametrize("query", [shape for shape in SHAPES if "now()" not in shape])
def test_a_chunk_is_the_users_statement_but_for_its_restriction(query: str) -> None:
    whole = tree_of(f"INSERT INTO t {query}")
    assert same_tree(without_restriction(chunk_of(query)), whole)


@pytest.mark.parametrize("query", [shape for shape in SHAPES if "now()" in shape])
def test_a_chunk_with_the_time_frozen_can_be_written(query: str) -> None:
    assert any(looks_at_time(node, catalogue()) for node in walk(tree_of(f"INSERT INTO t {query}")))
    assert not any(looks_at_time(node, catalogue()) for node in walk(chunk_of(query)))


@pytest.mark.parametrize("query", NOT_DEPARSED)
def test_what_cannot_be_written_back_is_refused(query: str) -> None:
    with pytest.raises(RenderError):
        chunk_of(query)


def test_there_are_many_shapes() -> None:
    assert len(set(SHAPES)) > 80
