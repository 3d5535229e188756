"""Groups, grouping sets and outer joins over a key that determines them, on real servers."""

from __future__ import annotations

import pytest
from side_by_side import Case, reused_dsn, split_both_ways

dsn = reused_dsn

SETUP = (
    "CREATE TABLE a (k int, v int, t text)",
    "CREATE TABLE b (k int, name text)",
    "INSERT INTO a SELECT NULLIF(g % 53, 5), g % 7, md5(g::text) FROM generate_series(1, 900) g",
    "INSERT INTO a VALUES (NULL, NULL, NULL), (NULL, 3, 'x')",
    "INSERT INTO b SELECT NULLIF(g % 40, 9), 'n' || g FROM generate_series(0, 90) g",
    "INSERT INTO b VALUES (NULL, 'none'), (99, 'nobody')",
    "CREATE INDEX ON a (k); CREATE INDEX ON b (k)",
    "ANALYZE",
)
GROUPED = {
    "a row": "SELECT a.k, sum(v), max(t) FROM a GROUP BY (k, t)",
    "a composite value": "SELECT max(k), sum(v), max(t) FROM a GROUP BY ROW (k, t)",
    "grouping sets": "SELECT k, v, t FROM a GROUP BY GROUPING SETS ((k, v), (t, k), (k))",
    "a key and ROLLUP": "SELECT k, grouping(v, t), max(t) FROM a GROUP BY k, ROLLUP (v, t)",
    "a key and CUBE": "SELECT k, v, count(*) FROM a GROUP BY CUBE (v, t), k HAVING count(*) < 9",
    "sets of a join": (
        "SELECT b.k, count(a.k), max(name) FROM a JOIN b USING (k) "
        "GROUP BY GROUPING SETS ((a.k, b.k), (a.k))"
    ),
    "groups of groups": (
        "SELECT k, count(v), string_agg(n::text, ',' ORDER BY n) FROM (SELECT k, v, count(*) AS n "
        "FROM a GROUP BY GROUPING SETS ((k, v), (k))) s GROUP BY k"
    ),
    "a window over rows": "SELECT k, rank() OVER (PARTITION BY (k, t) ORDER BY v), t FROM a",
    "left join": "SELECT a.k, count(b.k), max(name) FROM a LEFT JOIN b ON a.k = b.k GROUP BY a.k",
    "left join, filtered": (
        "SELECT a.k, count(b.k), max(name) FROM a LEFT JOIN b ON b.k = a.k AND b.name > 'n4' "
        "WHERE a.v > 1 OR a.v IS NULL GROUP BY a.k"
    ),
    "right join": "SELECT b.k, count(a.k), max(t) FROM a RIGHT JOIN b ON a.k = b.k GROUP BY b.k",
    "left joins in a row": (
        "SELECT a.k, count(b.k), max(c.name) FROM a LEFT JOIN b ON a.k = b.k "
        "LEFT JOIN b AS c ON c.k = a.k AND c.k < 30 GROUP BY a.k"
    ),
    "left join of a join": (
        "SELECT a.k, count(b.k), max(c.t) FROM a LEFT JOIN (b JOIN a AS c ON b.k = c.k) "
        "ON a.k = c.k GROUP BY a.k"
    ),
    "anti join": ("SELECT DISTINCT a.k, v, name FROM a LEFT JOIN b ON a.k = b.k WHERE b.k IS NULL"),
    "values of a series": (
        "SELECT g, count(*), max(t) FROM generate_series(-20, 70) g, a WHERE a.k < g GROUP BY g"
    ),
    "values of a series, in a subquery": (
        "SELECT DISTINCT s.g, s.w, NULL FROM (SELECT g, sum(v) OVER (PARTITION BY g) AS w "
        "FROM generate_series(1, 60) g JOIN a ON a.k = g) s"
    ),
}


@pytest.mark.parametrize("query", GROUPED.values(), ids=list(GROUPED))
def test_groups_that_the_key_determines(dsn: str, query: str) -> None:
    case = Case(f"INSERT INTO {{target}} {query}", "k int, n bigint, t text", SETUP)
    if "text" not in query and "GROUPING SETS ((k, v)" in query:
        case = Case(case.script, "k int, v int, t text", SETUP)
    split_both_ways(dsn, case, chunk_rows=20)
