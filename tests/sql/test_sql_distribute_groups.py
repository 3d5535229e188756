"""Groups: a split is sound when the split key, or a column equated to it, determines the group."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from sql_catalogue import catalogue, in_words, verdict_of

from pgfan.sql.facts import ColumnFacts, FunctionFacts

# What follows "INSERT INTO t ", and the candidates in order, or the reasons.
GROUP_CASES = [
    # The key is among the grouping columns.
    ("SELECT x, count(*) FROM b GROUP BY x", "column x b"),
    ("SELECT x, y, count(*) FROM b GROUP BY x, y", "column x b, column y b"),
    ("SELECT x, y, count(*) FROM b GROUP BY (x, y)", "column x b, column y b"),
    ("SELECT count(*) FROM b GROUP BY ROW (x, y)", "column x b, column y b"),
    ("SELECT y, count(*) FROM b GROUP BY (1, x + 1)", "column y b"),
    ("SELECT count(*) FROM b GROUP BY ROW (1, x)", "column x b"),
    ("SELECT y AS z, count(*) FROM b GROUP BY ROW (z)", "! group-by"),
    ("SELECT x AS k, count(*) FROM b GROUP BY k", "column x b"),
    ("SELECT y AS x, count(*) FROM b GROUP BY x, y", "column x b, column y b"),
    ("SELECT x, count(*) FROM b GROUP BY 1", "column x b"),
    ("SELECT count(*), x FROM b GROUP BY 2", "column x b"),
    ("SELECT count(*) FROM b GROUP BY 1", "! group-by"),
    ("SELECT b.x, sum(y) FROM b GROUP BY b.x HAVING sum(y) > 3", "column x b"),
    ("SELECT z.p, sum(q) FROM b z (p, q) GROUP BY z.p", "column p z"),
    ("SELECT x, count(*) FROM b WHERE y > 3 GROUP BY x ORDER BY 2", "column x b"),
    ("SELECT x, string_agg(y, ',' ORDER BY y) FROM b GROUP BY x", "column x b"),
    ("SELECT x, array_agg(y) FROM b GROUP BY x", "column x b"),
    ("SELECT x, percentile_disc(0.5) WITHIN GROUP (ORDER BY y) FROM b GROUP BY x", "column x b"),
    ("SELECT x, count(*) FILTER (WHERE y = 'a') FROM b GROUP BY x", "column x b"),
    ("SELECT x, product(y) FROM b GROUP BY x", "column x b"),
    ("SELECT x, (SELECT max(c.y) FROM c WHERE c.x = b.x) FROM b GROUP BY x", "column x b"),
    # It is not.
    ("SELECT x + 1, count(*) FROM b GROUP BY x + 1", "! group-by"),
    ("SELECT x + 1 AS x, count(*) FROM b GROUP BY 1", "! group-by"),
    ("SELECT lower(y), count(*) FROM b GROUP BY lower(y)", "! group-by"),
    ("SELECT count(*) FROM b GROUP BY ()", "! group-by"),
    ("SELECT x, count(*) FROM b GROUP BY ROLLUP (x)", "! group-by"),
    ("SELECT x, y, count(*) FROM b GROUP BY CUBE (x, y)", "! group-by"),
    ("SELECT x, y, count(*) FROM b GROUP BY GROUPING SETS ((x), (y))", "! group-by"),
    ("SELECT x, y, count(*) FROM b GROUP BY GROUPING SETS ((x, y), ())", "! group-by"),
    ("SELECT x, y, count(*) FROM b GROUP BY GROUPING SETS (x, ROLLUP (x, y))", "! group-by"),
    ("SELECT count(*) FROM b", "! aggregate"),
    ("SELECT count(*) FROM b HAVING count(*) > 1", "! aggregate"),
    ("SELECT (SELECT count(b.x)) FROM b", "! aggregate"),
    ("SELECT b.ctid, count(*) FROM b GROUP BY b.ctid", "! group-by"),
    # Grouping sets that all have the key; ROLLUP and CUBE have an empty one among theirs.
    ("SELECT x, y, count(*) FROM b GROUP BY GROUPING SETS ((x), (x, y))", "column x b"),
    ("SELECT x, y, n FROM b GROUP BY GROUPING SETS ((x, y), (x, n))", "column x b"),
    ("SELECT x, y, grouping(y) FROM b GROUP BY x, ROLLUP (y, n)", "column x b"),
    ("SELECT x, y FROM b GROUP BY GROUPING SETS ((x), (x, y)), ROLLUP (n)", "column x b"),
    ("SELECT x, y FROM b GROUP BY GROUPING SETS (GROUPING SETS (x), (x, y))", "column x b"),
    (
        "SELECT b.x FROM b JOIN c ON b.x = c.x GROUP BY GROUPING SETS ((b.x, c.x), (c.x))",
        "column x b, column x c",
    ),
    # A column that a set lacks is NULL there: it no longer carries the key upwards.
    (
        (
            "SELECT s.p FROM (SELECT b.x AS p, c.x AS q FROM b JOIN c ON b.x = c.x "
            "GROUP BY GROUPING SETS ((b.x, c.x), (c.x))) s GROUP BY s.p"
        ),
        "! group-by",
    ),
    (
        (
            "SELECT s.q FROM (SELECT b.x AS p, c.x AS q FROM b JOIN c ON b.x = c.x "
            "GROUP BY GROUPING SETS ((b.x, c.x), (c.x))) s GROUP BY s.q"
        ),
        "column x b, column x c",
    ),
    (
        "SELECT DISTINCT b.x FROM b JOIN c ON b.x = c.x GROUP BY GROUPING SETS ((b.x, c.x), (c.x))",
        "! distinct group-by",
    ),
    (
        (
            "SELECT sum(1) OVER (PARTITION BY b.x) FROM b JOIN c ON b.x = c.x "
            "GROUP BY GROUPING SETS ((b.x, c.x), (c.x))"
        ),
        "! group-by window",
    ),
    # The values of a series are all different.
    ("SELECT g, count(*) FROM generate_series(1, 10) g GROUP BY g", "series g"),
    ("SELECT g, count(*) FROM generate_series(1, 10) g, b GROUP BY g", "series g"),
    ("SELECT DISTINCT g, y FROM generate_series(1, 10) g, b", "series g, column y b"),
    ("SELECT DISTINCT * FROM b AS z (y)", "column n z, column age z, column count z"),
    ("SELECT DISTINCT g + 1 FROM generate_series(1, 10) g", "! distinct"),
    ("SELECT count(*) FROM generate_series(1, 10) AS g (v) GROUP BY v", "series g"),
    ("SELECT s.v FROM (SELECT v FROM generate_series(1, 9) v) s GROUP BY s.v", "series v"),
    ("SELECT DISTINCT generate_series(1, 10)", "! distinct"),
    # Through joins.
    (
        "SELECT b.x, count(*) FROM b JOIN c ON b.x = c.x GROUP BY b.x",
        "column x b, column x c",
    ),
    (
        "SELECT c.x, count(*) FROM b JOIN c ON c.x = b.x AND b.y < c.y GROUP BY c.x",
        "column x b, column x c",
    ),
    ("SELECT b.x, count(*) FROM b, c WHERE b.x = c.x GROUP BY b.x", "column x b, column x c"),
    ("SELECT x, count(*) FROM b JOIN c USING (x) GROUP BY x", "column x b, column x c"),
    ("SELECT b.x, count(*) FROM b JOIN c USING (x) GROUP BY b.x", "column x b, column x c"),
    (
        "SELECT b.x, count(*) FROM b NATURAL JOIN c GROUP BY b.x",
        "column x b, column x c",
    ),
    (
        "SELECT d.z, count(*) FROM b JOIN c ON b.x = c.x JOIN d ON d.z = c.x GROUP BY d.z",
        "column x b, column x c, column z d",
    ),
    ("SELECT b.x, count(*) FROM b JOIN c ON b.x < c.x GROUP BY b.x", "column x b"),
    ("SELECT b.x, count(*) FROM b JOIN c ON b.x = c.x OR b.y = c.y GROUP BY b.x", "column x b"),
    ("SELECT b.x, count(*) FROM b JOIN c ON b.x = c.x + 0 GROUP BY b.x", "column x b"),
    ("SELECT b.x, count(*) FROM b JOIN c ON NOT b.x = c.x GROUP BY b.x", "column x b"),
    ("SELECT b.x, count(*) FROM b JOIN c ON b.x IN (c.x) GROUP BY b.x", "column x b"),
    ("SELECT b.x, count(*) FROM b LEFT JOIN c ON b.x = c.x GROUP BY b.x", "column x b"),
    ("SELECT c.x, count(*) FROM b LEFT JOIN c ON b.x = c.x GROUP BY c.x", "! group-by"),
    ("SELECT c.x, count(*) FROM b RIGHT JOIN c ON b.x = c.x GROUP BY c.x", "column x c"),
    ("SELECT b.x, count(*) FROM b FULL JOIN c ON b.x = c.x GROUP BY b.x", "! group-by"),
    # ON of an outer join keeps the rows of the preserved side for which it is false.
    ("SELECT b.n, count(*) FROM b LEFT JOIN c ON b.x = b.n GROUP BY b.n", "column n b"),
    ("SELECT d.z FROM (b CROSS JOIN d) LEFT JOIN c ON b.x = d.z GROUP BY d.z", "column z d"),
    (
        "SELECT d.z FROM b JOIN (c LEFT JOIN d ON c.x = d.z) ON b.x = d.z GROUP BY d.z",
        "! group-by",
    ),
    ("SELECT x, count(*) FROM b LEFT JOIN c USING (x) GROUP BY x", "! group-by"),
    (
        "SELECT b.x, count(*) FROM b JOIN (c LEFT JOIN d ON c.x = d.z) ON b.x = d.z GROUP BY b.x",
        "column x b",
    ),
    ("SELECT j.x, count(*) FROM (b JOIN c USING (x)) AS j GROUP BY j.x", "! group-by"),
    ("SELECT c.x FROM b JOIN c ON b.x IS DISTINCT FROM c.x GROUP BY c.x", "column x c"),
    ("SELECT c.x FROM b JOIN c ON b.x = ANY (c.x) GROUP BY c.x", "column x c"),
    (
        "SELECT c.x FROM b JOIN c ON b.x OPERATOR(pg_catalog.=) c.x GROUP BY c.x",
        "column x b, column x c",
    ),
    ("SELECT c.x FROM b JOIN c ON b.x OPERATOR(app.=) c.x GROUP BY c.x", "column x c"),
    (
        "SELECT b.x FROM b, c WHERE b.x = c.x AND (b.y = c.y AND b.n = 3) GROUP BY b.x",
        "column x b, column x c",
    ),
    ("SELECT b.x FROM b, c WHERE b.x = c.x OR b.y = c.y GROUP BY b.x", "column x b"),
    # Numbers that no column has, or that a star hides.
    ("SELECT x FROM b GROUP BY 0", "! group-by"),
    ("SELECT x FROM b GROUP BY 3", "! group-by"),
    ("SELECT *, x FROM b GROUP BY 2", "! group-by"),
    # Beside functions, whose columns are known or not.
    ("SELECT y FROM b, generate_series(1, 9) AS x GROUP BY y", "column y b"),
    ("SELECT y FROM b, unnest(ARRAY[1]) u GROUP BY b.y", "column y b"),
    ("SELECT y FROM b, generate_series(1, 9) WITH ORDINALITY g GROUP BY y", "column y b"),
    # DISTINCT.
    ("SELECT DISTINCT x, y FROM b", "column x b, column y b"),
    ("SELECT DISTINCT x + 1, y FROM b", "column y b"),
    ("SELECT DISTINCT x + 1 AS x FROM b", "! distinct"),
    ("SELECT DISTINCT * FROM c", "column x c, column y c"),
    ("SELECT DISTINCT * FROM b JOIN c USING (x)", "! distinct"),
    ("SELECT DISTINCT c.* FROM b JOIN c USING (x)", "column x b, column x c, column y c"),
    ("SELECT DISTINCT * FROM (b JOIN c ON true) j", "! distinct"),
    ("SELECT DISTINCT public.c.* FROM c", "! distinct"),
    ("SELECT DISTINCT 1, c.* FROM c", "column x c, column y c"),
    ("SELECT DISTINCT s.*, c.y FROM c, unnest(ARRAY[1]) s", "! distinct"),
    (
        "SELECT DISTINCT b.* FROM b JOIN c ON b.x = c.x",
        "column x b, column y b, column n b, column age b, column count b, column x c",
    ),
    ("SELECT DISTINCT count(*) FROM b GROUP BY x", "! distinct group-by"),
    ("SELECT DISTINCT x, count(*) FROM b GROUP BY x, y", "column x b"),
    ("SELECT DISTINCT ON (x) x, y FROM b ORDER BY x, y", "column x b"),
    ("SELECT DISTINCT ON (y) x, y FROM b ORDER BY y", "column y b"),
    ("SELECT DISTINCT ON (x + 1) x FROM b", "! distinct"),
    ("SELECT DISTINCT ON (1) x FROM b", "column x b"),
    ("SELECT DISTINCT ON (x) y AS x FROM b", "column y b"),
    # Windows.
    ("SELECT rank() OVER (PARTITION BY x ORDER BY y) FROM b", "column x b"),
    ("SELECT lag(y) OVER w FROM b WINDOW w AS (PARTITION BY x ORDER BY y)", "column x b"),
    ("SELECT lag(y) OVER (w ORDER BY y) FROM b WINDOW w AS (PARTITION BY x)", "column x b"),
    ("SELECT lag(y) OVER v FROM b WINDOW w AS (PARTITION BY x), v AS (w ORDER BY y)", "column x b"),
    (
        "SELECT sum(x) OVER (PARTITION BY x), sum(x) OVER (PARTITION BY x, y) FROM b",
        "column x b",
    ),
    ("SELECT sum(x) OVER (PARTITION BY x), sum(x) OVER (PARTITION BY y) FROM b", "! window"),
    ("SELECT sum(x) OVER (PARTITION BY (x, y)) FROM b", "column x b, column y b"),
    ("SELECT sum(x) OVER (PARTITION BY (x + 1, lower(y))) FROM b", "! window"),
    ("SELECT sum(x) OVER (PARTITION BY x + 1) FROM b", "! window"),
    # Only windows that are defined before count; these end in errors of the server's.
    ("SELECT sum(x) OVER w FROM b WINDOW w AS (w)", "! window"),
    ("SELECT sum(x) OVER w FROM b WINDOW w AS (v), v AS (PARTITION BY x)", "! window"),
    ("SELECT row_number() OVER () FROM b", "! window"),
    ("SELECT row_number() OVER (ORDER BY x) FROM b", "! window"),
    ("SELECT x FROM b ORDER BY row_number() OVER (ORDER BY x)", "! window"),
    ("SELECT DISTINCT ON (x, row_number() OVER (ORDER BY y)) x FROM b", "! distinct window"),
    ("SELECT DISTINCT ON (x, row_number() OVER (PARTITION BY x)) x FROM b", "column x b"),
    ("SELECT sum(count(*)) OVER (PARTITION BY x) FROM b GROUP BY x, y", "column x b"),
    ("SELECT sum(count(*)) OVER (PARTITION BY y) FROM b GROUP BY x", "! group-by window"),
]

PATH_CASES = [
    ("SELECT s.x FROM (SELECT x FROM b WHERE y > 1) s", "ctid b"),
    ("SELECT s.x FROM (SELECT x FROM b WHERE random() < 0.5) s", "ctid b"),
    ("SELECT s.x FROM (SELECT x FROM (SELECT x FROM b) r) s", "ctid b"),
    ("SELECT s.x FROM (SELECT g AS x FROM generate_series(1, 9) g) s", "series g"),
    ("SELECT s.x FROM (SELECT x FROM b) s, c", "ctid c, ctid b"),
    ("SELECT s.x FROM (SELECT random() AS r, x FROM b) s, c", "ctid b"),
    ("SELECT s.x FROM c LEFT JOIN (SELECT x FROM b) s USING (x)", "ctid c"),
    ("SELECT s.x FROM c RIGHT JOIN (SELECT x FROM b) s USING (x)", "ctid b"),
    ("SELECT s.x FROM (SELECT x FROM b LIMIT 5) s", "! limit"),
    ("SELECT s.x FROM (SELECT count(*) AS x FROM b) s", "! aggregate"),
    ("SELECT s.x FROM (SELECT x FROM b UNION SELECT x FROM c) s", "! no-driving-relation"),
    (
        "SELECT s.x FROM (SELECT x FROM b UNION ALL SELECT x FROM c) s, d",
        "ctid d, (ctid b | ctid c)",
    ),
    ("SELECT s.x FROM (VALUES (1), (2)) s (x), d", "ctid d"),
    ("SELECT s.x FROM LATERAL (SELECT x FROM b) s", "! no-driving-relation"),
    ("SELECT s.x FROM (SELECT x, count(*) FROM b GROUP BY x) s", "column x b"),
    ("SELECT s.x FROM (SELECT x, count(*) FROM b GROUP BY x) s GROUP BY s.x", "column x b"),
    ("SELECT s.k FROM (SELECT x AS k, y FROM b) s GROUP BY s.k", "column x b"),
    ("SELECT s.k FROM (SELECT x, y FROM b) s (k) GROUP BY s.k", "column x b"),
    ("SELECT s.y FROM (SELECT x AS y, y AS x FROM b) s GROUP BY s.y", "column x b"),
    ("SELECT s.x FROM (SELECT x + 1 AS x FROM b) s GROUP BY s.x", "! group-by"),
    ("SELECT count(*) FROM (SELECT x, count(*) FROM b GROUP BY x) s", "! aggregate group-by"),
    ("SELECT s.n FROM (SELECT x, count(*) AS n FROM b GROUP BY x) s GROUP BY s.n", "! group-by"),
    (
        (
            "SELECT * FROM (SELECT *, rank() OVER (PARTITION BY x ORDER BY y) AS r FROM b) s "
            "WHERE r = 1"
        ),
        "column x b",
    ),
    ("SELECT s.x FROM (SELECT * FROM b) s GROUP BY s.x", "column x b"),
    ("SELECT s.x FROM (SELECT b.* FROM b, c) s GROUP BY s.x", "column x b"),
    ("SELECT s.x FROM (SELECT * FROM b, c) s GROUP BY s.x", "! group-by"),
    ("SELECT s.x FROM (SELECT x, x FROM b) s GROUP BY s.x", "! group-by"),
    (
        (
            "SELECT s.x FROM (SELECT x, max(y) AS y FROM b GROUP BY x) s JOIN c ON c.x = s.x "
            "GROUP BY c.x, s.x"
        ),
        "column x c, column x b",
    ),
    ("SELECT s.x FROM (SELECT c.x FROM b LEFT JOIN c ON b.x = c.x) s GROUP BY s.x", "! group-by"),
    ("SELECT s.x FROM (SELECT DISTINCT ON (x) x FROM b) s, c", "column x b"),
]


@pytest.mark.parametrize(("select", "expected"), GROUP_CASES, ids=[case[0] for case in GROUP_CASES])
def test_groups(select: str, expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {select}")) == expected


COUNTER = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 9)"
WITH_CASES = [
    ("WITH s AS (SELECT x FROM b) SELECT x FROM s", "ctid b"),
    ("WITH s AS MATERIALIZED (SELECT x FROM b) SELECT x FROM s", "ctid b"),
    # What is MATERIALIZED stays whole where the larger table is outside of it.
    ("WITH s AS MATERIALIZED (SELECT x FROM c) SELECT b.x FROM b JOIN s USING (x)", "ctid b"),
    ("WITH s AS MATERIALIZED (SELECT x FROM b) SELECT c.x FROM c JOIN s USING (x)", "ctid c"),
    ("WITH s AS MATERIALIZED (SELECT x, count(*) FROM b GROUP BY x) TABLE s", "column x b"),
    ("WITH s (k) AS (SELECT x FROM b) SELECT s.k, count(*) FROM s GROUP BY s.k", "column x b"),
    ("WITH s (k) AS (SELECT x FROM b) SELECT p FROM s z (p) GROUP BY p", "column x b"),
    ("WITH s AS (SELECT x FROM b), r AS (SELECT x FROM s) SELECT x FROM r", "ctid b"),
    ("WITH s AS (SELECT x FROM b), r AS (SELECT x FROM c) SELECT x FROM r", "ctid c"),
    ("WITH s AS (SELECT x FROM b) SELECT c.x FROM c WHERE x IN (SELECT x FROM s)", "ctid c"),
    ("WITH s AS (SELECT count(*) AS n FROM b) SELECT c.x FROM c, s", "ctid c"),
    ("WITH s AS (SELECT count(*) AS n FROM b) SELECT n FROM s", "! aggregate"),
    ("WITH s AS (SELECT random() AS r) SELECT c.x, r FROM c, s", "! volatile-subquery"),
    # Read twice, or recursive: nothing in it drives the statement, and every chunk has it whole.
    ("WITH s AS (SELECT x FROM b) SELECT s.x FROM s, s z", "! cte"),
    ("WITH s AS (SELECT x FROM b) SELECT c.x FROM c, s, s z", "ctid c"),
    (
        "WITH s AS (TABLE b) SELECT x FROM c WHERE x IN (SELECT x FROM s) AND EXISTS (TABLE s)",
        "ctid c",
    ),
    (f"{COUNTER} SELECT n FROM r", "! cte"),
    (f"{COUNTER} SELECT x, r.n FROM c JOIN r ON r.n = x", "ctid c"),
    (f"{COUNTER} SELECT x, count(*) FROM c JOIN r ON r.n = x GROUP BY x", "column x c"),
    (f"{COUNTER} SELECT r.n, count(*) FROM c JOIN r ON r.n = x GROUP BY r.n", "! group-by"),
    (f"{COUNTER}, s AS (SELECT x FROM c, r) SELECT x FROM s", "ctid c"),
    (f"{COUNTER} SELECT x FROM c LEFT JOIN r ON r.n = x", "ctid c"),
    (f"{COUNTER} SELECT x FROM c RIGHT JOIN r ON r.n = x", "! cte"),
    ("WITH RECURSIVE s AS (SELECT x FROM r), r AS (SELECT x FROM b) SELECT x FROM s", "! cte"),
    ("WITH RECURSIVE s AS (TABLE r), r AS (TABLE b) SELECT c.x FROM s, c", "ctid c"),
    # It must then give every chunk the same rows.
    ("WITH s AS (SELECT random() AS r) SELECT c.x, s.r FROM c, s, s z", "! volatile-subquery"),
    ("WITH s AS (SELECT x FROM b LIMIT 3) SELECT c.x FROM c, s, s z", "! limit"),
    ("WITH s AS (SELECT row_number() OVER () FROM b) SELECT c.x FROM c, s, s z", "! window"),
    ("WITH s AS (SELECT array_agg(x) FROM b) SELECT c.x FROM c, s, s z", "! aggregate"),
    ("WITH s AS (SELECT DISTINCT ON (x) y FROM b) SELECT c.x FROM c, s, s z", "! distinct"),
    ("WITH s AS (SELECT x FROM b FOR UPDATE) SELECT c.x FROM c, s, s z", "! locking"),
    ("WITH s AS (SELECT x FROM t) SELECT c.x FROM c, s, s z", "! reads-target"),
    ("WITH s AS (SELECT x FROM nowhere) SELECT c.x FROM c, s, s z", "! relation-unknown"),
    (
        (
            "WITH s AS (SELECT x FROM c) SELECT ARRAY(SELECT s.x FROM s WHERE s.x = b.x) FROM b "
            "WHERE EXISTS (TABLE s)"
        ),
        "! row-order",
    ),
    (
        ("SELECT ARRAY(WITH s AS (SELECT x FROM c) SELECT s.x FROM s WHERE s.x = b.x) FROM b"),
        "! row-order",
    ),
    # Writing, or with clauses that add columns; two queries of one name.
    (
        f"{COUNTER} SEARCH DEPTH FIRST BY n SET o SELECT x FROM c, r",
        "! cte relation-unknown unknown-construct",
    ),
    ("WITH s AS (TABLE b), s AS (TABLE c) SELECT x FROM d, s", "! cte"),
    # A name means the query nearest to it, and the table before its own query is over.
    ("WITH b AS (SELECT x FROM b) SELECT x FROM b", "ctid b"),
    ("WITH c AS (SELECT x FROM b), b AS (SELECT z FROM d) SELECT c.x FROM c, b", "ctid b, ctid d"),
    ("WITH c AS (SELECT x FROM b), b AS (SELECT z FROM d) SELECT c.x FROM c", "ctid b"),
    ("WITH b AS (SELECT x FROM c) SELECT p.x FROM b p, b q, d", "ctid d"),
    ("WITH b AS (SELECT x FROM c) SELECT p.x FROM b p, b q, public.b r", "ctid r"),
    # One that is not read is not run.
    ("WITH b AS (SELECT random() FROM b) SELECT x FROM c", "ctid c"),
    # Below the top.
    ("WITH s AS (SELECT x FROM (WITH r AS (TABLE b) TABLE r) z) SELECT x FROM s", "ctid b"),
    ("SELECT q.x FROM (WITH s AS (TABLE b) SELECT x FROM s GROUP BY x) q", "column x b"),
    ("SELECT x FROM b WHERE x IN (WITH s AS (SELECT x FROM c) SELECT x FROM s)", "ctid b"),
    ("SELECT (WITH s AS (SELECT random() AS r) SELECT r FROM s) FROM b", "! volatile-subquery"),
    ("SELECT q.x FROM c, LATERAL (WITH s AS (SELECT c.x) SELECT x FROM s) q", "ctid c"),
]


@pytest.mark.parametrize(("select", "expected"), WITH_CASES, ids=[case[0] for case in WITH_CASES])
def test_with(select: str, expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {select}")) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        # Nothing in it drives the statement: a table beside it may.
        ("INSERT INTO t SELECT p.x FROM b p, b q", "! cte"),
        ("INSERT INTO t SELECT p.x FROM b p, b q, d", "ctid d"),
        ("UPDATE t SET x = p.x FROM b p, b q WHERE p.x = t.id", "column id t, column y t"),
        ("DELETE FROM t USING b p, b q WHERE p.x = t.id", "ctid t"),
    ],
)
def test_with_before_a_statement_that_reads_it_twice(sql: str, expected: str) -> None:
    assert in_words(verdict_of(f"WITH b AS (SELECT x FROM c) {sql}")) == expected


@pytest.mark.parametrize(("select", "expected"), PATH_CASES, ids=[case[0] for case in PATH_CASES])
def test_subqueries_on_the_way_up(select: str, expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {select}")) == expected


CHANGE_CASES = [
    ("DELETE FROM t", "ctid t"),
    ("DELETE FROM t WHERE x > 3", "ctid t"),
    ("DELETE FROM t AS z WHERE z.x > 3", "ctid z"),
    ("DELETE FROM t USING b WHERE t.x = b.x", "ctid t"),
    ("DELETE FROM t WHERE EXISTS (SELECT FROM b WHERE b.x = t.x)", "ctid t"),
    ("DELETE FROM t WHERE x = (SELECT max(x) FROM t)", "ctid t"),
    ("DELETE FROM t WHERE random() < 0.5", "ctid t"),
    ("DELETE FROM t USING b WHERE random() < 0.5", "! volatile-subquery"),
    ("DELETE FROM t WHERE x IN (SELECT x FROM b LIMIT 3)", "! limit"),
    ("DELETE FROM t RETURNING x", "! returning"),
    ("DELETE FROM t WHERE CURRENT OF k", "! unknown-construct"),
    ("DELETE FROM part", "column x part, column y part"),
    ("DELETE FROM ONLY parent", "ctid parent"),
    ("DELETE FROM v", "! target-kind view"),
    ("DELETE FROM tree", "! target-references-itself"),
    ("DELETE FROM secret", "! row-security"),
    ("WITH s AS (SELECT 1) DELETE FROM t", "ctid t"),
    (
        "WITH s AS (SELECT x FROM b) UPDATE t SET y = 'a' FROM s WHERE s.x = t.x",
        "column id t, column x t",
    ),
    (
        "WITH s AS (TABLE b) UPDATE t SET y = 'a' FROM s, s z WHERE s.x = t.x AND z.x = t.x",
        "column id t, column x t",
    ),
    ("WITH s AS (TABLE t) DELETE FROM t USING s, s z WHERE s.x = t.x", "ctid t"),
    (
        "WITH s AS (SELECT random() AS r) DELETE FROM t USING s, s z WHERE s.r = z.r",
        "! volatile-subquery",
    ),
    (
        "WITH s AS (DELETE FROM b RETURNING x) DELETE FROM t USING s",
        "! cte relation-unknown unknown-construct",
    ),
    ("UPDATE t SET x = x + 1", "column id t, column y t"),
    ("UPDATE t SET x = x + 1, y = 'a', id = 3", "! key-assigned"),
    ("UPDATE t SET x = b.x FROM b WHERE b.y = t.y", "column id t, column y t"),
    ("UPDATE t SET x = (SELECT max(b.x) FROM b WHERE b.y = t.y)", "column id t, column y t"),
    ("UPDATE t SET x = random()", "column id t, column y t"),
    ("UPDATE t SET y = now()", "column id t, column x t"),
    ("UPDATE t SET x = DEFAULT", "! unknown-construct"),
    ("UPDATE t SET (x, y) = (1, 'a')", "! unknown-construct"),
    ("UPDATE t SET x = 1 RETURNING *", "! returning"),
    ("UPDATE part SET x = 1", "column y part"),
]


@pytest.mark.parametrize(("sql", "expected"), CHANGE_CASES, ids=[case[0] for case in CHANGE_CASES])
def test_changes_in_place(sql: str, expected: str) -> None:
    assert in_words(verdict_of(sql)) == expected


@pytest.mark.parametrize(
    ("assigned", "expected"),
    [("x", "column id t, column y t"), ("y", "column id t, column x t, column g t")],
)
def test_a_generated_column_changes_with_what_it_is_made_of(assigned: str, expected: str) -> None:
    facts = catalogue()
    columns = (*facts.relations["t",].columns, ColumnFacts("g", '(x * "X y")', generated=True))
    target = replace(facts.relations["t",], columns=columns)
    facts = replace(facts, relations={**facts.relations, ("t",): target})
    assert in_words(verdict_of(f"UPDATE t SET {assigned} = 1", facts)) == expected


def test_columns_of_other_types_are_not_taken_to_be_equal() -> None:
    facts = catalogue()
    other = tuple(replace(column, type="bigint") for column in facts.relations["c",].columns)
    relations = {**facts.relations, ("c",): replace(facts.relations["c",], columns=other)}
    sql = "INSERT INTO t SELECT b.x, count(*) FROM b JOIN c ON b.x = c.x GROUP BY b.x"
    assert in_words(verdict_of(sql, replace(facts, relations=relations))) == "column x b"


def test_an_equals_sign_of_somebody_elses_equates_nothing() -> None:
    facts = catalogue()
    facts = replace(facts, operators={**facts.operators, ("=",): (FunctionFacts("app"),)})
    sql = "INSERT INTO t SELECT c.x, count(*) FROM b JOIN c ON b.x = c.x GROUP BY c.x"
    assert in_words(verdict_of(sql, facts)) == "column x c"


def test_what_has_no_order_is_no_key() -> None:
    facts = catalogue()
    columns = (ColumnFacts("x", None, orderable=False), ColumnFacts("y", None))
    relations = {**facts.relations, ("b",): replace(facts.relations["b",], columns=columns)}
    sql = "INSERT INTO t SELECT x, y FROM b GROUP BY x, y"
    assert in_words(verdict_of(sql, replace(facts, relations=relations))) == "column y b"


def test_unique_columns_are_not_assigned() -> None:
    facts = catalogue()
    target = replace(facts.relations["t",], unique_columns=frozenset({"id"}))
    facts = replace(facts, relations={**facts.relations, ("t",): target})
    assert in_words(verdict_of("UPDATE t SET id = id + 1", facts)) == "! assigned-unique"
    assert in_words(verdict_of("UPDATE t SET x = 1", facts)) == "column id t, column y t"


def test_foreign_keys_that_act_on_a_change() -> None:
    facts = catalogue()
    target = replace(facts.relations["t",], cascades=True)
    facts = replace(facts, relations={**facts.relations, ("t",): target})
    assert in_words(verdict_of("DELETE FROM t", facts)) == "! foreign-key-action"
