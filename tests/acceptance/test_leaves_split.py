"""Partitioned tables, and tables that others inherit from, divided leaf by leaf."""

from __future__ import annotations

import pytest
from psycopg.conninfo import make_conninfo
from side_by_side import Case, both_ways, execute, pgfan, reused_dsn, split_both_ways, value

dsn = reused_dsn

SETUP = (
    "CREATE TABLE p (i int, k text, v numeric) PARTITION BY RANGE (i)",
    "CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (300)",
    # Columns in another order, one that was dropped, and a schema of its own.
    "CREATE SCHEMA elsewhere",
    'CREATE TABLE elsewhere."p High" (gone int, v numeric, k text, i int)',
    'ALTER TABLE elsewhere."p High" DROP COLUMN gone',
    'ALTER TABLE p ATTACH PARTITION elsewhere."p High" FOR VALUES FROM (300) TO (600)',
    "CREATE TABLE p_list PARTITION OF p DEFAULT PARTITION BY LIST (k)",
    "CREATE TABLE p_list_a PARTITION OF p_list FOR VALUES IN ('k1', 'k2')",
    "CREATE TABLE p_list_rest PARTITION OF p_list DEFAULT",
    "CREATE TABLE p_empty PARTITION OF p FOR VALUES FROM (5000) TO (6000)",
    "INSERT INTO p SELECT g, 'k' || g % 5, NULLIF(g % 9, 3) FROM generate_series(1, 900) g",
    "INSERT INTO p VALUES (NULL, NULL, NULL), (NULL, 'k1', 2), (7, 'k2', 2)",
    "CREATE TABLE parent (i int, k text)",
    "CREATE TABLE child (extra int) INHERITS (parent)",
    "CREATE TABLE grandchild () INHERITS (child)",
    "INSERT INTO parent SELECT g, 'p' FROM generate_series(1, 200) g",
    "INSERT INTO child SELECT g, 'c', g FROM generate_series(1, 300) g",
    "INSERT INTO grandchild SELECT g, 'g', g FROM generate_series(1, 100) g",
    "CREATE TABLE few (k text, n int)",
    "INSERT INTO few SELECT 'k' || g, g FROM generate_series(0, 3) g",
    "ANALYZE",
)
SPLIT = {
    "ranges": "SELECT i, k, v FROM p",
    "a star": "SELECT * FROM p WHERE v > 1 OR v IS NULL",
    "a star of an alias": "SELECT x.* FROM p AS x (a, b)",
    "with a small table": "SELECT p.i, p.k, few.n FROM few JOIN p USING (k)",
    "outer join": "SELECT p.i, few.k, p.v FROM p LEFT JOIN few ON few.k = p.k",
    "twice": "SELECT x.i, y.k, y.v FROM p x JOIN p y ON y.i = x.i + 1",
    "in a subquery": "SELECT s.i, s.k, 1 FROM (SELECT i + 1 AS i, k FROM p WHERE v < 7) s",
    "in UNION ALL": "SELECT i, k, v FROM p UNION ALL SELECT i, k, 0 FROM parent",
    "inherited": "SELECT i, k, NULL FROM parent",
    "a child alone": "SELECT i, k, extra FROM child",
    "read by WITH": "WITH w AS (SELECT * FROM p) SELECT i, k, v FROM w",
}
NOT_APART = {
    "the row": "SELECT max(i), max(p::text), 0 FROM p GROUP BY v",
    "grouped": "SELECT max(i), k, sum(v) FROM p GROUP BY k, v",
    "limited": "SELECT i, k, v FROM p WHERE i < 0 LIMIT 3",
}


@pytest.mark.parametrize("query", SPLIT.values(), ids=list(SPLIT))
def test_leaves_are_divided(dsn: str, query: str) -> None:
    case = Case(f"INSERT INTO {{target}} {query}", "i int, k text, v numeric", SETUP)
    assert split_both_ways(dsn, case).last.key == "branches"


@pytest.mark.parametrize("query", NOT_APART.values(), ids=list(NOT_APART))
def test_what_looks_at_all_leaves_together(dsn: str, query: str) -> None:
    case = Case(f"INSERT INTO {{target}} {query}", "i int, k text, v numeric", SETUP)
    assert both_ways(dsn, case).last.key != "branches"


@pytest.mark.parametrize("column", ["tableoid::regclass::text", "ctid::text", "p::text"])
def test_what_only_the_root_has(dsn: str, column: str) -> None:
    case = Case(
        f"INSERT INTO {{target}} SELECT i, p.{column}, v FROM p", "i int, k text, v numeric"
    )
    case = Case(case.script.replace("p.p::", "p::"), case.columns, SETUP)
    assert both_ways(dsn, case).last.key in {"i", "k", "v"}


def test_one_leaf_alone_is_a_table(dsn: str) -> None:
    case = Case("INSERT INTO {target} SELECT i, k FROM ONLY parent", "i int, k text", SETUP, 1)
    assert split_both_ways(dsn, case).last.key == "ctid"


def test_a_new_table_from_leaves(dsn: str) -> None:
    execute(dsn, *SETUP, "CREATE TABLE by_one AS SELECT * FROM p")
    outcome = pgfan(dsn, "CREATE TABLE by_many AS SELECT * FROM p")
    assert (outcome.last.verdict, outcome.last.key) == ("split", "branches")
    assert value(dsn, "SELECT count(*) FROM (TABLE by_one EXCEPT ALL TABLE by_many) x") == 0
    assert outcome.last.rows == value(dsn, "SELECT count(*) FROM by_one")


def test_more_leaves_than_a_statement_can_carry(dsn: str) -> None:
    leaves = [
        f"CREATE TABLE q{n} PARTITION OF q FOR VALUES FROM ({n}) TO ({n + 1})" for n in range(65)
    ]
    setup = (
        "CREATE TABLE q (i int) PARTITION BY RANGE (i)",
        *leaves,
        "INSERT INTO q SELECT g % 65 FROM generate_series(1, 500) g",
    )
    case = Case("INSERT INTO {target} SELECT i FROM q", "i int", setup)
    assert both_ways(dsn, case).last.key in {"i", "k", "v"}


@pytest.mark.parametrize("secured", [False, True], ids=["no right", "row security"])
def test_leaves_that_the_role_sees_otherwise_than_the_root(dsn: str, secured: bool) -> None:
    """The right to read the root is enough; policies of a leaf do not count there."""
    rights = ["GRANT SELECT ON p TO plain", "GRANT ALL ON t TO plain"]
    if secured:
        rights += [
            "GRANT SELECT ON ALL TABLES IN SCHEMA public, elsewhere TO plain",
            "ALTER TABLE p_low ENABLE ROW LEVEL SECURITY",
        ]
    execute(
        dsn,
        *SETUP,
        "CREATE TABLE t (i int)",
        "DROP ROLE IF EXISTS plain",
        "CREATE ROLE plain LOGIN",
    )
    try:
        execute(dsn, "GRANT USAGE ON SCHEMA public, elsewhere TO plain", *rights)
        conninfo = make_conninfo(dsn, user="plain")
        outcome = pgfan(conninfo, "INSERT INTO t SELECT i FROM p", journal_schema=None)
        assert outcome.result.ok, outcome.result.error
        assert outcome.last.key in {"i", "k", "v"}
        assert value(dsn, "SELECT count(*) FROM t") == 903
    finally:
        execute(dsn, "DROP OWNED BY plain", "DROP ROLE plain")
