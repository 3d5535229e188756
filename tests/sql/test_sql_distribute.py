"""Which driving relations a statement has: joins, subqueries, names, every shape of a series."""

from __future__ import annotations

import pytest
from sql_catalogue import in_words, verdict_of

# What follows "INSERT INTO t ", and the candidates in order, or the reasons.
FROM_CASES = [
    ("SELECT * FROM b", "ctid b"),
    ("TABLE b", "ctid b"),
    ("(SELECT * FROM b)", "ctid b"),
    ("SELECT * FROM public.b", "ctid b"),
    ('SELECT * FROM "b"', "ctid b"),
    ("SELECT * FROM B", "ctid b"),
    ('SELECT * FROM "B"', "! relation-unknown"),
    ("SELECT * FROM b AS z", "ctid z"),
    ("SELECT * FROM b z (p, q)", "ctid z"),
    # The alias takes the name of the system column for one of the table's own.
    (
        "SELECT p FROM b z (p, ctid)",
        "column p z, column ctid z, column n z, column age z, column count z",
    ),
    ("SELECT b.ctid, b.xmin, b.tableoid FROM b", "ctid b"),
    ("SELECT b FROM b", "ctid b"),
    ("SELECT (b).x, (b.*)::text FROM b", "ctid b"),
    ("SELECT * FROM b WHERE ctid > '(1,1)' OR x IS NULL", "ctid b"),
    # Joins.
    ("SELECT * FROM b, c", "ctid b, ctid c"),
    ("SELECT * FROM b CROSS JOIN c", "ctid b, ctid c"),
    ("SELECT * FROM b JOIN c ON b.x = c.x", "ctid b, ctid c"),
    ("SELECT * FROM b JOIN c USING (x)", "ctid b, ctid c"),
    ("SELECT * FROM b JOIN c USING (x) AS j", "ctid b, ctid c"),
    ("SELECT * FROM b NATURAL JOIN c", "ctid b, ctid c"),
    ("SELECT * FROM b LEFT JOIN c ON b.x = c.x", "ctid b"),
    ("SELECT * FROM b RIGHT JOIN c ON b.x = c.x", "ctid c"),
    ("SELECT * FROM b FULL JOIN c ON b.x = c.x", "! no-driving-relation"),
    ("SELECT * FROM b FULL JOIN c USING (x), d", "ctid d"),
    ("SELECT * FROM (b LEFT JOIN c USING (x)) LEFT JOIN d ON d.z = b.x", "ctid b"),
    ("SELECT * FROM b LEFT JOIN (c JOIN d ON true) ON b.x = c.x", "ctid b"),
    ("SELECT * FROM b RIGHT JOIN (c LEFT JOIN d ON true) ON b.x = c.x", "ctid c"),
    ("SELECT * FROM (b JOIN c USING (x)) RIGHT JOIN d ON true", "ctid d"),
    ("SELECT * FROM (b JOIN c USING (x)) FULL JOIN d ON true", "! no-driving-relation"),
    ("SELECT * FROM (b FULL JOIN c USING (x)) JOIN d ON true", "ctid d"),
    ("SELECT * FROM (b LEFT JOIN c USING (x)) RIGHT JOIN d ON true", "ctid d"),
    # An alias for a join hides the names inside it.
    ("SELECT * FROM (b JOIN c USING (x)) AS j", "! no-driving-relation"),
    ("SELECT * FROM (b JOIN c USING (x)) AS j, d", "ctid d"),
    ("SELECT * FROM (b JOIN c USING (x)) AS j, b", "! no-driving-relation"),
    # The same relation twice.
    ("SELECT * FROM b AS p JOIN b AS q ON p.x = q.n", "ctid p, ctid q"),
    ("SELECT * FROM b JOIN b AS q ON b.x = q.n", "ctid b, ctid q"),
    ("SELECT * FROM b, public.b", "! no-driving-relation"),
    ("SELECT * FROM b WHERE x IN (SELECT n FROM b)", "ctid b"),
    # LATERAL and subqueries.
    ("SELECT * FROM b, LATERAL (SELECT c.x FROM c WHERE c.x = b.x) s", "ctid b"),
    ("SELECT * FROM b LEFT JOIN LATERAL (SELECT c.x FROM c WHERE c.x = b.x) s ON true", "ctid b"),
    ("SELECT * FROM (SELECT x FROM b) s", "ctid b"),
    ("SELECT * FROM (SELECT x FROM b) s JOIN c USING (x)", "ctid c, ctid b"),
    ("SELECT * FROM (VALUES (1), (2)) s(x)", "! no-driving-relation"),
    ("SELECT * FROM (VALUES (1), (2)) s(x) JOIN c USING (x)", "ctid c"),
    ("SELECT * FROM b, unnest(ARRAY[1, b.x]) WITH ORDINALITY AS s(v, o)", "ctid b"),
    ("SELECT * FROM b, ROWS FROM (unnest(ARRAY[1]), unnest(ARRAY[2, 3])) AS s(v, o)", "ctid b"),
    ("SELECT * FROM b, json_to_recordset(b.y::json) AS s(k int, l text)", "ctid b"),
    ("SELECT x, (SELECT c.y FROM c WHERE c.x = b.x) FROM b", "ctid b"),
    ("SELECT x FROM b WHERE EXISTS (SELECT 1 FROM c WHERE c.x = b.x)", "ctid b"),
    ("SELECT x FROM b WHERE EXISTS (SELECT 1 FROM c WHERE c.x = b.x LIMIT 1)", "ctid b"),
    ("SELECT x FROM b WHERE EXISTS (SELECT 1 FROM (SELECT x FROM c LIMIT 1) s)", "! limit"),
    ("SELECT x FROM b WHERE NOT EXISTS (TABLE c)", "ctid b"),
    ("SELECT x FROM b WHERE x = ANY (SELECT x FROM c) AND x <> ALL (VALUES (1))", "ctid b"),
    ("SELECT x FROM b WHERE (x, y) = (SELECT x, y FROM c)", "ctid b"),
    ("SELECT x FROM b WHERE x IN (SELECT DISTINCT x FROM c)", "ctid b"),
    ("SELECT x FROM b WHERE x IN (SELECT x FROM c UNION SELECT z FROM d)", "ctid b"),
    ("SELECT x FROM b WHERE x IN (SELECT DISTINCT ON (y) x FROM c)", "! distinct"),
    ("SELECT x FROM b JOIN c USING (x) WHERE b.y = (SELECT 'k' FROM d LIMIT 1)", "! limit"),
    # What no level may have.
    ("SELECT DISTINCT x FROM b", "column x b"),
    ("SELECT DISTINCT ON (x) x FROM b", "column x b"),
    ("SELECT x FROM b UNION SELECT x FROM c", "! set-operation"),
    ("SELECT x FROM b EXCEPT SELECT x FROM c", "! set-operation"),
    ("(SELECT x FROM b INTERSECT SELECT x FROM c)", "! set-operation"),
    ("VALUES (1, 2, 'x')", "! not-insert-select"),
    ("DEFAULT VALUES", "! not-insert-select"),
    ("SELECT x FROM b LIMIT 5", "! limit"),
    ("SELECT x FROM b LIMIT ALL", "! limit"),
    ("SELECT x FROM b OFFSET 0", "! limit"),
    ("SELECT x FROM b ORDER BY x FETCH FIRST 3 ROWS WITH TIES", "! limit"),
    ("(SELECT x FROM b) LIMIT 5", "! limit"),
    ("SELECT x FROM (SELECT x FROM b OFFSET 3) s, c", "! limit"),
    ("SELECT x FROM b FOR UPDATE", "! locking"),
    ("SELECT x FROM b, c FOR KEY SHARE OF c SKIP LOCKED", "! locking"),
    ("SELECT x FROM b WHERE x IN (SELECT x FROM c FOR SHARE)", "! locking"),
    ("SELECT x FROM b TABLESAMPLE BERNOULLI (10)", "! tablesample"),
    ("SELECT x FROM b, c TABLESAMPLE SYSTEM (1) REPEATABLE (7)", "! tablesample"),
    ("WITH s AS (SELECT 1) SELECT * FROM b, s", "ctid b"),
    ("SELECT x FROM b WHERE x IN (WITH s AS (SELECT 1) SELECT x FROM c)", "ctid b"),
    ("WITH s AS (DELETE FROM c RETURNING x) SELECT x FROM b", "! cte unknown-construct"),
    ("SELECT x INTO z FROM b", "! into relation-unknown"),
    ("SELECT x, $1 FROM b", "! parameter"),
    ("SELECT x FROM b ORDER BY y, x DESC NULLS LAST", "ctid b"),
    ("SELECT x FROM b ORDER BY x USING <", "ctid b"),
    ("SELECT x FROM b ON CONFLICT (id) DO NOTHING", "! on-conflict"),
    ("SELECT x FROM b ON CONFLICT (id) DO UPDATE SET x = EXCLUDED.x", "! on-conflict"),
    ("SELECT x FROM b RETURNING *", "! returning"),
    ("SELECT x FROM b RETURNING WITH (OLD AS o) o.id", "! returning"),
]

SERIES_CASES = [
    ("SELECT g FROM generate_series(1, 10) g", "series g"),
    ("SELECT * FROM generate_series(1, 10)", "series"),
    ("SELECT g FROM pg_catalog.generate_series(1, 10) AS g(x)", "series g"),
    ('SELECT g FROM "generate_series"(1, 10) g', "series g"),
    ("SELECT g FROM GENERATE_SERIES(1, 10) g", "series g"),
    ("SELECT g FROM generate_series(10, 1, -3) g", "series g"),
    ("SELECT g FROM generate_series(1::bigint, 1 + 4 * 2) g", "series g"),
    ("SELECT g FROM generate_series(0.5, 10, 0.25) g", "series g"),
    ("SELECT g FROM generate_series('2024-01-01'::date, '2024-02-01', '1 day') g", "series g"),
    ("SELECT g FROM generate_series(now() - '1 day'::interval, now(), '1 hour') g", "series g"),
    (
        "SELECT g FROM generate_series(1, CASE WHEN true THEN 3 ELSE abs(9) END) g",
        "series g",
    ),
    ("SELECT g FROM generate_series(1, NULL) g", "series g"),
    ("SELECT g FROM generate_series(1, 10) g, b", "series g, ctid b"),
    ("SELECT g FROM b LEFT JOIN generate_series(1, 10) g ON g = b.x", "ctid b"),
    ("SELECT g FROM generate_series(1, 10) g LEFT JOIN b ON g = b.x", "series g"),
    (
        "SELECT 1 FROM generate_series(1, 3) g, generate_series(1, 4) h",
        "series g, series h",
    ),
    ("SELECT 1 FROM generate_series(1, 3) g, generate_series(1, g) h", "series g"),
    ("SELECT 1 FROM b, generate_series(1, b.x) g", "ctid b"),
    # Bounds that the server cannot fold to one value.
    ("SELECT g FROM generate_series(1, (SELECT max(x) FROM c)) g", "! no-driving-relation"),
    ("SELECT g FROM generate_series(1, (random() * 9)::int) g", "! volatile-subquery"),
    ("SELECT g FROM generate_series(1, $1) g", "! parameter"),
    ("SELECT g FROM generate_series(1, 9, 1, 'UTC') g", "! no-driving-relation"),
    ("SELECT g FROM generate_series(VARIADIC ARRAY[1, 9]) g", "! no-driving-relation"),
    ("SELECT g FROM generate_series(start => 1, stop => 9) g", "! no-driving-relation"),
    ("SELECT g FROM generate_series(1, unnest(ARRAY[2, 3])) g", "! no-driving-relation"),
    ("SELECT g FROM generate_series(1, 9) WITH ORDINALITY AS g(v, o)", "! no-driving-relation"),
    ("SELECT g FROM ROWS FROM (generate_series(1, 9)) AS g", "! no-driving-relation"),
    (
        "SELECT g FROM ROWS FROM (generate_series(1, 9), unnest(y)) g",
        "! no-driving-relation",
    ),
    ("SELECT g FROM generate_series(1, 9) AS g(x int)", "! no-driving-relation"),
    ("SELECT g FROM generate_subscripts(ARRAY[1, 2], 1) g", "! no-driving-relation"),
    ("SELECT g FROM app.generate_series(1, 9) g", "! function-unknown"),
    ("SELECT g FROM (SELECT generate_series(1, 9) AS g) s", "! no-driving-relation"),
    # In the target list of a SELECT without FROM, and only there.
    ("SELECT generate_series(1, 10)", "series"),
    ("SELECT 7, -generate_series(1, 10) * 2, 'k' || 'l'", "series"),
    ("SELECT generate_series(1, 10), random(), nextval('s')", "series"),
    ("SELECT (SELECT count(*) FROM generate_series(1, 3)), generate_series(1, 10)", "series"),
    ("SELECT generate_series(1, 10) WHERE EXISTS (SELECT 1 FROM c)", "series"),
    ("SELECT generate_series(1, 10) ORDER BY 1", "series"),
    ("SELECT generate_series(1, 10) FROM b", "ctid b"),
    ("SELECT generate_series(1, 10) FROM (VALUES (1)) s", "! no-driving-relation"),
    ("SELECT generate_series(1, 3), generate_series(1, 9)", "! no-driving-relation"),
    ("SELECT generate_series(1, generate_series(1, 3))", "! no-driving-relation"),
    ("SELECT generate_series(1, 3), unnest(ARRAY[1, 2])", "! no-driving-relation"),
    ("SELECT unnest(ARRAY[1, 2]), generate_series(1, 3)", "! no-driving-relation"),
    ("SELECT generate_series(1, 3), app.pieces('a')", "! no-driving-relation"),
    ("SELECT generate_series(1, 9) ORDER BY generate_series(1, 9)", "! no-driving-relation"),
    ("SELECT generate_series(1, 9) ORDER BY unnest(ARRAY[1, 2])", "! no-driving-relation"),
    # WHERE is evaluated once for all of the series.
    ("SELECT generate_series(1, 9) WHERE random() < 0.5", "! no-driving-relation"),
    ("SELECT 1 WHERE generate_series(1, 9) > 3", "! no-driving-relation"),
    # A series in a subquery is not the statement's own.
    ("SELECT (SELECT generate_series(1, 1))", "! no-driving-relation"),
    ("SELECT (SELECT sum(g) FROM generate_series(1, 9) g)", "! no-driving-relation"),
    ("SELECT 1 WHERE 3 IN (SELECT generate_series(1, 9))", "! no-driving-relation"),
    ("SELECT 1 ORDER BY generate_series(1, 9)", "! no-driving-relation"),
    ("SELECT 1", "! no-driving-relation"),
    ("SELECT", "! no-driving-relation"),
]


@pytest.mark.parametrize(("query", "expected"), FROM_CASES + SERIES_CASES)
def test_the_driving_relations_of_an_insert(query: str, expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {query}")) == expected


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM b",
        "CREATE MATERIALIZED VIEW n AS SELECT * FROM b",
        "COPY t FROM '/f'",
        "EXPLAIN INSERT INTO t SELECT * FROM b",
        "WITH i AS (INSERT INTO t SELECT * FROM b RETURNING id) SELECT * FROM i",
        "PREPARE p AS INSERT INTO t SELECT * FROM b",
    ],
)
def test_other_statements_are_not_split(statement: str) -> None:
    assert in_words(verdict_of(statement)) == "! not-insert-select"
