"""Statements made to write a copy: exact texts, names that are hidden, and what is refused."""

from __future__ import annotations

import pytest
from sql_catalogue import tree_of

from pgfan.sql.render import render
from pgfan.sql.retarget import (
    Retarget,
    RetargetError,
    Written,
    occurrences,
    query_of,
    retarget,
    sequence_texts,
    written_by,
)

TARGETS = frozenset({("t",), ("public", "t")})
CHANGE = Retarget(TARGETS, ("public", "t"), ("s", "copy"), {"q": "s.q_1"})

CASES = [
    ("INSERT INTO t SELECT 1", "INSERT INTO s.copy AS t SELECT 1"),
    ("INSERT INTO public.t SELECT 1", "INSERT INTO s.copy AS t SELECT 1"),
    (
        "INSERT INTO t SELECT other.t.x FROM other.t",
        "INSERT INTO s.copy AS t SELECT other.t.x FROM other.t",
    ),
    ("INSERT INTO t AS k SELECT 1", "INSERT INTO s.copy AS k SELECT 1"),
    ("INSERT INTO t (a, b) SELECT 1, 2", "INSERT INTO s.copy AS t (a, b) SELECT 1, 2"),
    ("INSERT INTO t SELECT x FROM b", "INSERT INTO s.copy AS t SELECT x FROM b"),
    ("INSERT INTO t SELECT x FROM t", "INSERT INTO s.copy AS t SELECT x FROM s.copy t"),
    ("INSERT INTO t SELECT k.x FROM t AS k", "INSERT INTO s.copy AS t SELECT k.x FROM s.copy k"),
    ("INSERT INTO t TABLE public.t", "INSERT INTO s.copy AS t SELECT * FROM s.copy t"),
    ("INSERT INTO t SELECT t.* FROM t", "INSERT INTO s.copy AS t SELECT t.* FROM s.copy t"),
    (
        "INSERT INTO t SELECT public.t.x FROM public.t",
        "INSERT INTO s.copy AS t SELECT t.x FROM s.copy t",
    ),
    (
        "INSERT INTO t SELECT public.t.* FROM public.t",
        "INSERT INTO s.copy AS t SELECT t.* FROM s.copy t",
    ),
    (
        "INSERT INTO t SELECT x FROM b WHERE EXISTS (SELECT FROM t WHERE t.x = b.x)",
        (
            "INSERT INTO s.copy AS t SELECT x FROM b WHERE EXISTS (SELECT FROM s.copy t "
            "WHERE t.x = b.x)"
        ),
    ),
    (
        "INSERT INTO t SELECT 1 ON CONFLICT (x) DO UPDATE SET x = t.x + excluded.x",
        "INSERT INTO s.copy AS t SELECT 1 ON CONFLICT (x) DO UPDATE SET x = t.x + excluded.x",
    ),
    (
        "INSERT INTO t WITH t AS (SELECT 1) SELECT * FROM t",
        "INSERT INTO s.copy AS t WITH t AS (SELECT 1) SELECT * FROM t",
    ),
    (
        "WITH t AS (SELECT x FROM t) INSERT INTO t SELECT * FROM t",
        "WITH t AS (SELECT x FROM s.copy t) INSERT INTO s.copy AS t SELECT * FROM t",
    ),
    (
        "WITH RECURSIVE t AS (SELECT 1 UNION SELECT * FROM t) INSERT INTO t SELECT * FROM public.t",
        (
            "WITH RECURSIVE t AS (SELECT 1 UNION SELECT * FROM t) INSERT INTO s.copy AS t "
            "SELECT * FROM s.copy t"
        ),
    ),
    (
        (
            "WITH a AS (SELECT * FROM t), t AS (SELECT 1), c AS (SELECT * FROM t) "
            "INSERT INTO t SELECT * FROM a"
        ),
        (
            "WITH a AS (SELECT * FROM s.copy t), t AS (SELECT 1), c AS (SELECT * FROM t) "
            "INSERT INTO s.copy AS t SELECT * FROM a"
        ),
    ),
    (
        (
            "INSERT INTO t SELECT x FROM b WHERE x IN (WITH t AS (SELECT 1) SELECT * FROM t) "
            "AND x IN (SELECT x FROM t)"
        ),
        (
            "INSERT INTO s.copy AS t SELECT x FROM b WHERE x IN (WITH t AS (SELECT 1) "
            "SELECT * FROM t) AND x IN (SELECT x FROM s.copy t)"
        ),
    ),
    (
        "INSERT INTO t SELECT nextval('q'), nextval('other')",
        "INSERT INTO s.copy AS t SELECT nextval('s.q_1'), nextval('other')",
    ),
    (
        "INSERT INTO t SELECT nextval('q'::regclass)",
        "INSERT INTO s.copy AS t SELECT nextval('s.q_1'::regclass)",
    ),
    ("UPDATE t SET x = t.y", "UPDATE s.copy t SET x = t.y"),
    ("UPDATE ONLY t SET x = 1", "UPDATE ONLY s.copy t SET x = 1"),
    ("UPDATE t AS k SET x = k.y", "UPDATE s.copy k SET x = k.y"),
    ("UPDATE public.t SET x = public.t.y", "UPDATE s.copy t SET x = t.y"),
    (
        "UPDATE t SET x = b.x FROM b WHERE b.y = t.y",
        "UPDATE s.copy t SET x = b.x FROM b WHERE b.y = t.y",
    ),
    (
        "UPDATE t SET x = 1 FROM t AS o WHERE o.y = t.y",
        "UPDATE s.copy t SET x = 1 FROM s.copy o WHERE o.y = t.y",
    ),
    ("DELETE FROM t WHERE t.x = 1", "DELETE FROM s.copy t WHERE t.x = 1"),
    ("DELETE FROM t USING b WHERE b.x = t.x", "DELETE FROM s.copy t USING b WHERE b.x = t.x"),
    (
        "MERGE INTO t USING b ON t.x = b.x WHEN MATCHED THEN DELETE",
        "MERGE INTO s.copy t USING b ON t.x = b.x WHEN MATCHED THEN DELETE ",
    ),
    (
        "MERGE INTO t AS k USING (SELECT * FROM t) o ON k.x = o.x WHEN MATCHED THEN DELETE",
        (
            "MERGE INTO s.copy k USING (SELECT * FROM s.copy t) o ON k.x = o.x "
            "WHEN MATCHED THEN DELETE "
        ),
    ),
]


@pytest.mark.parametrize(("sql", "expected"), CASES)
def test_a_copy_is_written_and_read(sql: str, expected: str) -> None:
    assert render(retarget(tree_of(sql), CHANGE)).rstrip() == expected.rstrip()


NEW_TABLES = [
    ("CREATE TABLE n AS SELECT * FROM t", "CREATE TABLE s.copy AS SELECT * FROM t"),
    ("CREATE TABLE public.n (a) AS SELECT 1", "CREATE TABLE s.copy(a) AS SELECT 1"),
    ("CREATE UNLOGGED TABLE n AS SELECT 1", "CREATE UNLOGGED TABLE s.copy AS SELECT 1"),
    ("SELECT x INTO n FROM t", "SELECT x INTO s.copy FROM t"),
    (
        "SELECT x INTO n FROM t UNION ALL SELECT x FROM b",
        "SELECT x INTO s.copy FROM t UNION ALL SELECT x FROM b",
    ),
]


@pytest.mark.parametrize(("sql", "expected"), NEW_TABLES)
def test_a_new_table_is_made_elsewhere(sql: str, expected: str) -> None:
    change = Retarget(frozenset(), ("", ""), ("s", "copy"), {})
    assert render(retarget(tree_of(sql), change)).rstrip() == expected


def test_names_are_quoted() -> None:
    change = Retarget(frozenset({('a"b',)}), ("S p", 'a"b'), ("Scratch", 'x"y'), {})
    changed = retarget(tree_of('UPDATE "a""b" SET x = "S p"."a""b"."select"'), change)
    assert render(changed) == 'UPDATE "Scratch"."x""y" "a""b" SET x = "a""b"."select"'


def test_the_statement_itself_is_left_alone() -> None:
    tree = tree_of("INSERT INTO t SELECT x FROM t")
    retarget(tree, CHANGE)
    assert render(tree) == "INSERT INTO t SELECT x FROM t"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET x = 1 FROM other.t WHERE other.t.y = public.t.y",
        "DELETE FROM t WHERE EXISTS (SELECT FROM other.t WHERE t.x = public.t.x)",
        "INSERT INTO t SELECT other.t.x FROM other.t, public.t",
    ],
)
def test_two_tables_of_one_name_are_refused(sql: str) -> None:
    with pytest.raises(RetargetError, match="two tables"):
        retarget(tree_of(sql), CHANGE)


def test_a_computed_sequence_is_refused() -> None:
    with pytest.raises(RetargetError, match="computed"):
        list(sequence_texts(tree_of("INSERT INTO t SELECT nextval(name) FROM b")))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", "writes no rows"),
        ("CREATE INDEX ON t (x)", "writes no rows"),
        ("TRUNCATE t", "writes no rows"),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1", "materialized view"),
        ("CREATE TEMP TABLE n AS SELECT 1", "temporary"),
        ("SELECT 1 INTO TEMP n", "temporary"),
        ("CREATE TABLE n AS EXECUTE p", "EXECUTE"),
        ("WITH d AS (DELETE FROM b RETURNING *) INSERT INTO t SELECT * FROM d", "WITH"),
        ("WITH d AS (INSERT INTO b SELECT 1 RETURNING *) SELECT * FROM d", "WITH"),
    ],
)
def test_what_is_not_verified(sql: str, expected: str) -> None:
    why = written_by(tree_of(sql))
    assert isinstance(why, str)
    assert expected in why


@pytest.mark.parametrize(
    ("sql", "effect", "name"),
    [
        ("INSERT INTO t SELECT 1", "insert", "t"),
        ("UPDATE t SET x = 1", "update", "t"),
        ("DELETE FROM t", "delete", "t"),
        ("MERGE INTO t USING b ON t.x = b.x WHEN MATCHED THEN DELETE", "merge", "t"),
        ("CREATE TABLE n AS SELECT 1", "create", "n"),
        ("SELECT 1 INTO n", "create", "n"),
    ],
)
def test_what_is_written(sql: str, effect: str, name: str) -> None:
    written = written_by(tree_of(sql))
    assert isinstance(written, Written)
    assert (written.effect, written.relation.relname) == (effect, name)


def test_a_new_table_and_a_lock_are_no_occurrences() -> None:
    tree = tree_of("CREATE TABLE n AS SELECT * FROM t FOR UPDATE OF t")
    assert [node.relname for node in occurrences(tree)] == ["t"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("INSERT INTO t SELECT 1", "SELECT 1"),
        ("WITH w AS (SELECT 1) INSERT INTO t SELECT * FROM w", "WITH w AS (SELECT 1) SELECT"),
        ("CREATE TABLE n AS SELECT 2", "SELECT 2"),
        ("SELECT 3 INTO n", "SELECT 3"),
    ],
)
def test_the_query_of_a_statement(sql: str, expected: str) -> None:
    query = query_of(tree_of(sql))
    assert query is not None
    assert render(query).strip().startswith(expected)
