"""Joins, subqueries and everything else that a split leaves whole around the driving relation."""

from __future__ import annotations

import pytest
from side_by_side import Case, both_ways, execute, pgfan, query, reused_dsn, split_both_ways

dsn = reused_dsn

SETUP = (
    "CREATE TABLE a (i int, k int, t text)",
    "CREATE TABLE b (k int, name text)",
    "CREATE TABLE c (i int, of int)",
    "INSERT INTO a SELECT g, NULLIF(g % 40, 7), md5(g::text) FROM generate_series(1, 700) g",
    "INSERT INTO a SELECT i, k, t FROM a WHERE i % 100 = 0",
    "INSERT INTO b SELECT NULLIF(g, 9), 'n' || g FROM generate_series(0, 30) g",
    "INSERT INTO b VALUES (3, 'again'), (NULL, 'none'), (77, 'nobody')",
    "INSERT INTO c SELECT g, g / 2 FROM generate_series(1, 60) g",
    "ANALYZE",
)

SOUND = {
    "inner": "SELECT a.i, b.name FROM a JOIN b ON a.k = b.k",
    "inner, other way": "SELECT a.i, b.name FROM b JOIN a ON a.k = b.k",
    "inner, by comma": "SELECT a.i, b.name FROM b, a WHERE a.k = b.k AND a.i % 2 = 0",
    "inner, by USING": "SELECT i, name FROM a JOIN b USING (k)",
    "inner, NATURAL": "SELECT i, name FROM a NATURAL JOIN b",
    "inner, by inequality": "SELECT a.i, b.name FROM a JOIN b ON a.k < b.k - 25",
    "left": "SELECT a.i, b.name FROM a LEFT JOIN b ON a.k = b.k",
    "left, filtered in ON": "SELECT a.i, b.name FROM a LEFT JOIN b ON a.k = b.k AND b.k > 9",
    "left, filtered after": "SELECT a.i, b.name FROM a LEFT JOIN b ON a.k = b.k WHERE b.k IS NULL",
    "left, small side kept": "SELECT a.i, b.name FROM b LEFT JOIN a ON a.k = b.k",
    "right": "SELECT a.i, b.name FROM b RIGHT JOIN a ON a.k = b.k",
    "right, small side kept": "SELECT a.i, b.name FROM a RIGHT JOIN b ON a.k = b.k",
    "left, then inner": ("SELECT a.i, b.name FROM a LEFT JOIN b ON a.k = b.k JOIN c ON c.i = a.k"),
    "inner inside a left": (
        "SELECT a.i, b.name FROM a LEFT JOIN (b JOIN c ON b.k = c.i) ON a.k = b.k"
    ),
    "left inside an inner": (
        "SELECT c.i, b.name FROM c JOIN (a LEFT JOIN b ON a.k = b.k) ON c.i = a.i"
    ),
    "full, under a cross": (
        "SELECT a.i, x.n FROM a, (SELECT COALESCE(b.k, c.i) AS n FROM b FULL JOIN c ON b.k = c.i) x"
        " WHERE x.n = a.k"
    ),
    "cross": "SELECT a.i, b.name FROM a CROSS JOIN b WHERE a.i <= 30",
    "self": "SELECT x.i, y.t FROM a x JOIN a y ON x.i = y.k",
    "self, left": "SELECT x.i, y.t FROM a x LEFT JOIN a y ON x.i = y.k",
    "self, unnamed once": "SELECT a.i, y.t FROM a JOIN a y ON a.i = y.k",
    "lateral": (
        "SELECT a.i, l.name FROM a, LATERAL (SELECT max(name) AS name FROM b WHERE b.k = a.k) l"
    ),
    "lateral left": (
        "SELECT a.i, l.name FROM a LEFT JOIN LATERAL (SELECT name FROM b WHERE b.k = a.k) l ON true"
    ),
    "EXISTS": "SELECT i, t FROM a WHERE EXISTS (SELECT FROM b WHERE b.k = a.k LIMIT 1)",
    "NOT EXISTS": "SELECT i, t FROM a WHERE NOT EXISTS (SELECT FROM b WHERE b.k = a.k)",
    "EXISTS on itself": "SELECT i, t FROM a WHERE EXISTS (SELECT FROM a z WHERE z.k = a.i)",
    "IN": "SELECT i, t FROM a WHERE k IN (SELECT k FROM b)",
    "NOT IN with NULLs": "SELECT i, t FROM a WHERE k NOT IN (SELECT k FROM b)",
    "NOT IN": "SELECT i, t FROM a WHERE k NOT IN (SELECT k FROM b WHERE k IS NOT NULL)",
    "= ALL": "SELECT i, t FROM a WHERE i < ALL (SELECT of * 50 FROM c WHERE of > 10)",
    "scalar": "SELECT i, (SELECT max(name) FROM b WHERE b.k = a.k) FROM a",
    "scalar over itself": "SELECT i, (SELECT count(*) FROM a z WHERE z.k = a.k)::text FROM a",
    "array": "SELECT i, ARRAY(SELECT b.k FROM b WHERE b.k = a.k)::text FROM a",
    "subquery in FROM": (
        "SELECT a.i, s.n::text FROM a JOIN (SELECT k, count(*) AS n FROM b GROUP BY k) s USING (k)"
    ),
    "DISTINCT in FROM": "SELECT a.i, s.name FROM a JOIN (SELECT DISTINCT name FROM b) s ON a.i < 9",
    "UNION in FROM": (
        "SELECT a.i, s.k::text FROM a JOIN (SELECT k FROM b UNION SELECT of FROM c) s ON s.k = a.k"
    ),
    "VALUES in FROM": "SELECT a.i, v.x FROM a JOIN (VALUES (1, 'p'), (2, 'q')) v(k, x) USING (k)",
    "unnest": "SELECT i, w FROM a, unnest(string_to_array(t, 'a')) AS w",
    "unnest in the target list": "SELECT i, unnest(string_to_array(t, 'a')) FROM a",
    "rows of a regexp": "SELECT i, (regexp_matches(t, '[0-9]+', 'g'))[1] FROM a",
    "sorted": "SELECT i, t FROM a ORDER BY t DESC, i NULLS FIRST",
    "sorted by a subquery": "SELECT i, t FROM a ORDER BY (SELECT max(b.k) FROM b WHERE b.k = a.k)",
    "CASE and casts": "SELECT i::bigint, CASE WHEN k > 20 THEN 'high' ELSE k::text END FROM a",
    "a series as well": "SELECT a.i, g::text FROM a CROSS JOIN generate_series(1, 4) g",
    "a series that each row makes": "SELECT a.i, g::text FROM a, generate_series(1, a.k) g",
    "a quoted alias": 'SELECT "A b"".".i, "A b"".".t FROM a AS "A b""."',
    "renamed columns": "SELECT p, r FROM a AS x(p, q, r) WHERE q IS NOT NULL",
    "row comparison": "SELECT i, t FROM a WHERE (i, k) IN (SELECT of, of % 40 FROM c)",
    "collation and pattern": "SELECT i, t FROM a WHERE t COLLATE \"C\" > 'b' AND t LIKE '%a_%'",
    "a name like a column": "SELECT i.i, i.t FROM a AS i",
    "GROUP BY": "SELECT k, min(t) FROM a GROUP BY k",
    "GROUP BY over a join": "SELECT a.k, min(name) FROM a JOIN b ON a.k = b.k GROUP BY b.k, a.k",
    "GROUP BY over an outer join": "SELECT b.k, min(t) FROM b LEFT JOIN a USING (k) GROUP BY b.k",
    "HAVING": "SELECT k, min(t) FROM a GROUP BY k HAVING count(*) > 18",
    "DISTINCT": "SELECT DISTINCT k, NULL FROM a",
    "DISTINCT text": "SELECT DISTINCT 1, t FROM a",
    "DISTINCT ON": "SELECT DISTINCT ON (k) i, t FROM a ORDER BY k, i, t",
    "rank": "SELECT rank() OVER (PARTITION BY k ORDER BY i), t FROM a",
    "window over groups": (
        "SELECT sum(count(*)) OVER (PARTITION BY k), max(t) FROM a GROUP BY k, i"
    ),
    "GROUP BY below": "SELECT s.k, s.t FROM (SELECT k, min(t) AS t FROM a GROUP BY k) s",
    "GROUP BY above": "SELECT s.z, min(s.t) FROM (SELECT k AS z, t FROM a) s GROUP BY s.z",
    "the newest of each": (
        "SELECT s.i, s.t FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY i, t) AS n "
        "FROM a) s WHERE s.n = 1"
    ),
    "WITH": "WITH w AS (SELECT * FROM a) SELECT i, t FROM w",
    "WITH that groups": (
        "WITH w (z, n) AS (SELECT k, count(*) FROM a GROUP BY k), v AS (SELECT max(i) AS m FROM a) "
        "SELECT w.z, w.n::text || v.m FROM w, v"
    ),
    "WITH read twice beside what is divided, with the name of its table": (
        "WITH b AS (SELECT k, name FROM b WHERE k > 3) "
        "SELECT a.i, x.name FROM a JOIN b x USING (k) JOIN b y USING (k)"
    ),
    "recursive WITH": (
        "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5), "
        "w AS (SELECT a.i, a.t, r.n FROM a JOIN r ON a.k = r.n) SELECT w.i + w.n, w.t FROM w"
    ),
    "WITH below, of the row around it": (
        "SELECT i, (WITH s AS (SELECT a.k + b.k AS n FROM b) SELECT max(x.n) FROM s x, s y)::text "
        "FROM a"
    ),
    "a rank in a subquery": (
        "SELECT a.i, s.r::text FROM a JOIN (SELECT k, rank() OVER (ORDER BY k) AS r FROM b) s "
        "USING (k)"
    ),
    "from a subquery": "SELECT s.i, s.t FROM (SELECT i, t FROM a) s",
}


@pytest.mark.parametrize("select", SOUND.values(), ids=list(SOUND))
def test_a_sound_split(dsn: str, select: str) -> None:
    case = Case(f"INSERT INTO {{target}} {select}", "i bigint, t text", SETUP, chunks_min=1)
    split_both_ways(dsn, case, chunk_rows=100)


UNSOUND = {
    "aggregate": ("SELECT count(*), max(t) FROM a", "aggregate"),
    "window": ("SELECT row_number() OVER (ORDER BY i, t), t FROM a", "window"),
    "named window": ("SELECT sum(i) OVER w, t FROM a WINDOW w AS (ORDER BY i)", "window"),
    "LIMIT": ("SELECT i, t FROM a ORDER BY i, t LIMIT 100", "limit"),
    "OFFSET": ("SELECT i, t FROM a ORDER BY i, t OFFSET 100", "limit"),
    "FETCH WITH TIES": ("SELECT i, t FROM a ORDER BY i FETCH FIRST 9 ROWS WITH TIES", "limit"),
    "UNION": ("SELECT i, t FROM a UNION SELECT k, name FROM b", "set-operation"),
    "EXCEPT": ("SELECT k, NULL FROM a EXCEPT SELECT k, NULL FROM b", "set-operation"),
    "full join": ("SELECT a.i, b.name FROM a FULL JOIN b ON a.k = b.k", "no-driving-relation"),
    "WITH read twice": (
        "WITH w AS (SELECT * FROM a) SELECT w.i, w.t FROM w JOIN w AS z USING (i)",
        "cte",
    ),
    "FOR UPDATE": ("SELECT i, t FROM a FOR UPDATE", "locking"),
    "TABLESAMPLE": ("SELECT i, t FROM a TABLESAMPLE BERNOULLI (100)", "tablesample"),
    "VALUES": ("VALUES (1, 'x'), (2, 'y')", "not-insert-select"),
    "a catalogue function": ("SELECT i, pg_get_viewdef('v') FROM a", "function-unstable"),
    "string_agg below": (
        "SELECT i, (SELECT string_agg(name, ',' ORDER BY name) FROM b) FROM a",
        "aggregate",
    ),
    "a volatile function of one's own": ("SELECT i, f(i) FROM a", "function-volatile"),
    "nextval below": (
        "SELECT a.i, s.n FROM a LEFT JOIN (SELECT nextval('q') * 0 || name AS n FROM b) s ON true",
        "volatile-subquery",
    ),
    "the time as a word": ("SELECT i, ('today'::date)::text FROM a", "special-datetime"),
    "a table without FROM": ("SELECT 1, 'x'", "no-driving-relation"),
}


@pytest.mark.parametrize(("select", "code"), UNSOUND.values(), ids=list(UNSOUND))
def test_what_is_not_split(dsn: str, select: str, code: str) -> None:
    setup = (
        *SETUP,
        "CREATE VIEW v AS SELECT * FROM a",
        "CREATE SEQUENCE q",
        "CREATE FUNCTION f(int) RETURNS text LANGUAGE sql AS 'SELECT md5($1::text)'",
    )
    case = Case(f"INSERT INTO {{target}} {select}", "i bigint, t text", setup)
    outcome = both_ways(dsn, case, chunk_rows=100)
    assert (outcome.last.verdict, outcome.last.chunks) == ("serial", 1)
    assert code in dict(outcome.last.reasons)


AROUND_INSERT = {
    "RETURNING": ("INSERT INTO {target} SELECT i, t FROM a RETURNING i", "returning"),
    "reads its target": (
        (
            "INSERT INTO {target} SELECT i, t FROM a; "
            "INSERT INTO {target} SELECT i + 1, t FROM {target}"
        ),
        "reads-target",
    ),
    "reads its target below": (
        (
            "INSERT INTO {target} SELECT i, t FROM a WHERE NOT EXISTS (SELECT FROM {target} z "
            "WHERE z.i = a.i)"
        ),
        "reads-target",
    ),
    "data-modifying WITH": (
        (
            "INSERT INTO {target} SELECT i, t FROM a; WITH d AS (DELETE FROM {target} WHERE i < 9 "
            "RETURNING i, t) INSERT INTO {target} SELECT -i, t FROM d"
        ),
        "cte",
    ),
    "in a transaction block": (
        "BEGIN; INSERT INTO {target} SELECT i, t FROM a; COMMIT",
        "transaction-block",
    ),
}


@pytest.mark.parametrize(("script", "code"), AROUND_INSERT.values(), ids=list(AROUND_INSERT))
def test_a_statement_that_is_not_split(dsn: str, script: str, code: str) -> None:
    outcome = both_ways(dsn, Case(script, "i bigint, t text", SETUP), chunk_rows=100)
    assert code in dict(outcome.last.reasons)


def test_random_rows_are_as_many_and_as_random(dsn: str) -> None:
    execute(dsn, *SETUP, "CREATE TABLE t (i int, r float8, u uuid, at timestamptz)")
    script = (
        "INSERT INTO t SELECT i, random(), gen_random_uuid(), clock_timestamp() FROM a "
        "WHERE random() < 2"
    )
    outcome = pgfan(dsn, script, chunk_rows=100)
    assert outcome.last.verdict == "split"
    assert query(
        dsn,
        "SELECT count(*), count(DISTINCT r), count(DISTINCT u), count(DISTINCT at) > 100, "
        "min(r) BETWEEN 0 AND 0.1, max(r) BETWEEN 0.9 AND 1, avg(r) BETWEEN 0.4 AND 0.6 FROM t",
    ) == [(707, 707, 707, True, True, True, True)]


def test_a_seed_is_no_reason_to_repeat_oneself(dsn: str) -> None:
    """Were setseed() carried to every connection, chunks would draw the same numbers."""
    execute(dsn, "CREATE TABLE t (r float8)")
    script = "SET seed = 0.5; INSERT INTO t SELECT random() FROM generate_series(1, 600)"
    assert pgfan(dsn, script, chunk_rows=100).result.ok
    assert query(dsn, "SELECT count(*), count(DISTINCT r) FROM t") == [(600, 600)]
