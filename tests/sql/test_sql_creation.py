"""CREATE TABLE AS and SELECT INTO: what may be split, the empty table, and the INSERT into it."""

from __future__ import annotations

import pytest
from sql_catalogue import catalogue, fill, in_words, split_of, tree_of, verdict_of

from pgfan.sql.creation import aimed_at, creation_objection, creation_of
from pgfan.sql.distribute import Split
from pgfan.sql.facts import CatalogFacts
from pgfan.sql.render import render
from pgfan.sql.rewrite import restrict_blocks

# A statement, and its candidates in order, or the reasons.
VERDICTS = [
    ("CREATE TABLE n AS SELECT * FROM b", "ctid b"),
    ("CREATE TABLE n AS TABLE b", "ctid b"),
    ("CREATE TABLE IF NOT EXISTS s.n (x) AS SELECT x FROM b", "ctid b"),
    ("CREATE UNLOGGED TABLE n WITH (fillfactor = 70) AS SELECT x FROM b", "ctid b"),
    ("SELECT x INTO n FROM b", "ctid b"),
    ("SELECT x INTO UNLOGGED TABLE n FROM b, c", "ctid b, ctid c"),
    ("CREATE TABLE n AS WITH q AS (SELECT x FROM b) SELECT * FROM q", "ctid b"),
    ("WITH q AS (SELECT x FROM b) SELECT * INTO n FROM q", "ctid b"),
    ("CREATE TABLE n AS SELECT x FROM b LEFT JOIN c USING (x)", "ctid b"),
    ("CREATE TABLE n AS SELECT b.x FROM c RIGHT JOIN b ON b.x = c.x", "ctid b"),
    ("CREATE TABLE n AS SELECT x, count(*) FROM b GROUP BY x", "column x b"),
    ("CREATE TABLE n AS SELECT DISTINCT x FROM b", "column x b"),
    ("CREATE TABLE n AS SELECT generate_series(1, 9)", "series"),
    ("CREATE TABLE n AS SELECT g FROM generate_series(1, 9) g", "series g"),
    ("CREATE TABLE n AS SELECT random(), now() FROM b", "ctid b"),
    ("CREATE TABLE n AS SELECT FROM b", "ctid b"),
    # What the name means now is no matter: it is the server's to say where the table is made.
    ("CREATE TABLE t AS SELECT x FROM b", "ctid b"),
    ("CREATE TABLE v AS SELECT x FROM b", "ctid b"),
    ("CREATE TABLE triggered AS SELECT x FROM b", "ctid b"),
    ("CREATE TABLE b AS SELECT x FROM b", "ctid b"),
    ("CREATE TABLE nowhere AS SELECT x FROM b", "ctid b"),
    # As for INSERT.
    ("CREATE TABLE n AS SELECT count(*) FROM b", "! aggregate"),
    ("CREATE TABLE n AS SELECT x FROM b LIMIT 3", "! limit"),
    ("CREATE TABLE n AS SELECT x FROM b UNION ALL SELECT x FROM c", "(ctid b | ctid c)"),
    ("SELECT x INTO n FROM b UNION SELECT x FROM c", "! set-operation"),
    ("CREATE TABLE n AS SELECT x FROM b FOR UPDATE", "! locking"),
    ("CREATE TABLE n AS SELECT x FROM v", "! view"),
    ("CREATE TABLE n AS SELECT x FROM nowhere", "! relation-unknown"),
    ("CREATE TABLE n AS SELECT (SELECT random()) FROM b", "! volatile-subquery"),
    ("CREATE TABLE n AS SELECT log_it(x) FROM b", "! function-volatile"),
    ("CREATE TABLE n AS SELECT 'now'::timestamptz FROM b", "! special-datetime"),
    ("CREATE TABLE n AS SELECT x FROM b WHERE x = $1", "! parameter"),
    ("CREATE TABLE n AS WITH b AS (SELECT x FROM c) SELECT * FROM b p, b q", "! cte"),
    ("CREATE TABLE n AS WITH b AS (SELECT x FROM c) SELECT p.x FROM b p, b q, d", "ctid d"),
    (
        "CREATE TABLE n AS WITH b AS (DELETE FROM c RETURNING x) SELECT * FROM b",
        "! cte unknown-construct",
    ),
    ("CREATE TABLE n AS SELECT x FROM temp", "! temporary-table"),
    # One connection's.
    ("CREATE TEMP TABLE n AS SELECT x FROM b", "! temporary-table"),
    ("CREATE TEMP TABLE n ON COMMIT DELETE ROWS AS SELECT x FROM b", "! temporary-table"),
    ("CREATE TABLE n ON COMMIT DROP AS SELECT x FROM b", "! temporary-table"),
    ("SELECT x INTO TEMP n FROM b", "! temporary-table"),
    ("SELECT x INTO LOCAL TEMPORARY TABLE n FROM b", "! temporary-table"),
    ("CREATE MATERIALIZED VIEW n AS SELECT x FROM b", "! not-insert-select"),
    ("CREATE TABLE n AS EXECUTE p", "! not-insert-select"),
    ("CREATE TABLE n AS SELECT x FROM b WITH NO DATA", "! not-insert-select"),
    ("CREATE TABLE n AS VALUES (1)", "! not-insert-select"),
    ("CREATE TABLE db.s.n AS SELECT x FROM b", "! relation-unknown"),
    ("SELECT x FROM b", "! not-insert-select"),
]


@pytest.mark.parametrize(("sql", "expected"), VERDICTS)
def test_verdicts(sql: str, expected: str) -> None:
    found = verdict_of(sql)
    if isinstance(found, Split) and "x b" in expected:
        assert expected in in_words(found)
    else:
        assert in_words(found) == expected


def test_half_a_table_is_no_hazard() -> None:
    assert split_of("CREATE TABLE n AS SELECT x FROM b").hazards == ()
    ordered = split_of("CREATE TABLE n AS SELECT nextval('seq') FROM b ORDER BY 1")
    assert ordered.hazards == ("physical-order", "sequence-order")


@pytest.mark.parametrize(
    ("sql", "unlogged"),
    [
        ("CREATE UNLOGGED TABLE t AS SELECT x FROM b", True),
        ("SELECT x INTO UNLOGGED t FROM b", True),
        ("CREATE TABLE u AS SELECT x FROM b", False),
    ],
)
def test_the_statement_says_whether_the_table_is_logged(sql: str, *, unlogged: bool) -> None:
    assert split_of(sql).unlogged is unlogged


# A statement, the one that makes the empty table in schema "S p", and the INSERT.
MADE = [
    (
        "CREATE TABLE n AS SELECT 1, 'x' AS a FROM b",
        "CREATE TABLE \"S p\".n AS SELECT 1, 'x' AS a FROM b WITH NO DATA",
        "INSERT INTO n SELECT 1, 'x' AS a FROM b",
    ),
    (
        (
            'CREATE UNLOGGED TABLE IF NOT EXISTS s."N n" (p, "Q") USING heap WITH (fillfactor=70, '
            "toast.autovacuum_enabled=off) TABLESPACE fast AS TABLE b WITH DATA"
        ),
        (
            'CREATE UNLOGGED TABLE "S p"."N n"(p, "Q") USING heap WITH (fillfactor=70, '
            "toast.autovacuum_enabled=off) TABLESPACE fast AS SELECT * FROM b WITH NO DATA"
        ),
        'INSERT INTO s."N n" SELECT * FROM b',
    ),
    (
        "SELECT x INTO UNLOGGED s.n FROM b UNION ALL SELECT 2",
        'CREATE UNLOGGED TABLE "S p".n AS SELECT x FROM b UNION ALL SELECT 2 WITH NO DATA',
        "INSERT INTO s.n SELECT x FROM b UNION ALL SELECT 2",
    ),
    (
        "WITH q AS (SELECT 1) SELECT INTO n FROM q",
        'CREATE TABLE "S p".n AS WITH q AS (SELECT 1) SELECT FROM q WITH NO DATA',
        "INSERT INTO n WITH q AS (SELECT 1) SELECT FROM q",
    ),
]


@pytest.mark.parametrize(("sql", "empty", "insert"), MADE)
def test_the_two_statements(sql: str, empty: str, insert: str) -> None:
    tree = tree_of(sql)
    before = tree.SerializeToString()
    creation = creation_of(tree)
    assert creation is not None
    assert render(creation.empty("S p")) == render(tree_of(empty))
    assert render(creation.insert()) == insert
    assert tree.SerializeToString() == before


def test_a_chunk_fills_the_hidden_table() -> None:
    split = split_of("CREATE TABLE s.n AS SELECT x FROM b")
    tree = aimed_at(split.tree, "S p", "pgfan_1")
    aimed = Split(lambda: tree, split.candidates, split.reads, (), unlogged=False)
    template = restrict_blocks(aimed, split.candidates[0], catalogue(), "2024-01-01")
    assert fill(template, "(0,0)", "(9,0)").startswith(
        "INSERT INTO \"S p\".pgfan_1 SELECT x FROM b WHERE b.ctid OPERATOR(pg_catalog.>=) '(0,0)'"
    )


@pytest.mark.parametrize("sql", ["SELECT 1", "INSERT INTO t SELECT 1", "CREATE TABLE t (x int)"])
def test_other_statements_are_none(sql: str) -> None:
    assert creation_of(tree_of(sql)) is None
    assert creation_objection(tree_of(sql)) is None


def test_a_server_that_is_not_to_split_does_not() -> None:
    sql = "CREATE TABLE n AS TABLE b"
    assert in_words(verdict_of(sql, CatalogFacts(server_refuses_split="Citus"))) == "! server"
