"""The names in a statement: relations, functions, operators, those that syntax implies included."""

from __future__ import annotations

import pytest
from sql_catalogue import tree_of

from pgfan.sql.access import (
    References,
    expression_references,
    made_relations,
    may_define,
    references,
)

# A statement, and its relations, functions and operators as space-separated names.
CASES = [
    ("INSERT INTO t SELECT * FROM s.b", "t s.b", "", ""),
    ('INSERT INTO "T x" SELECT lower(y) FROM b', '"T x" b', "lower", ""),
    ("SELECT a.b(1), pg_catalog.now(), COUNT(*)", "", "a.b pg_catalog.now count", ""),
    ("SELECT 1 + 2 OPERATOR(s.@@) 3", "", "", "+ s.@@"),
    ("SELECT x IN (SELECT 1), x = ANY (SELECT 1), x <> ALL (SELECT 1)", "", "", "= <>"),
    ("SELECT x BETWEEN 1 AND 2", "", "", ">= <="),
    ("SELECT x NOT BETWEEN SYMMETRIC 1 AND 2", "", "", "< >"),
    ("SELECT NULLIF(x, 1), x IS DISTINCT FROM 2, x IN (1)", "", "", "="),
    ("SELECT y LIKE 'a', y !~* 'b', y NOT ILIKE 'c'", "", "", "~~ !~* !~~*"),
    ("SELECT CASE x WHEN 1 THEN 2 END, CASE WHEN true THEN 1 END", "", "", "="),
    ("SELECT CASE WHEN true THEN 1 END", "", "", ""),
    ("SELECT 1 FROM a JOIN b USING (x)", "a b", "", "="),
    ("SELECT 1 FROM a ORDER BY x USING <, y", "a", "", "<"),
    ("SELECT a.x, s.a.y, (a).z, (f(1)).g.h, a.*, (a).* FROM a", "a", "x y z f g h", ""),
    ("SELECT x FROM a", "a", "", ""),
    ("SELECT x AT TIME ZONE 'UTC'", "", "pg_catalog.timezone", ""),
    ("SELECT extract(year FROM x)", "", "pg_catalog.extract", ""),
    ("SELECT 1 FROM a, (SELECT 2 FROM b WHERE EXISTS (TABLE c)) s", "a b c", "", "="),
    ("SELECT 1 FROM generate_series(1, 2), ROWS FROM (f(), g())", "", "generate_series f g", ""),
    ("SELECT sum(x) FILTER (WHERE f(y)) OVER (PARTITION BY g(z)) FROM a", "a", "sum f g", ""),
    ("SELECT 1 FROM db.s.a", "s.a", "", ""),
]


def names(text: str) -> frozenset[tuple[str, ...]]:
    if text.startswith('"'):
        return frozenset({("T x",), ("b",)})
    return frozenset(tuple(name.split(".")) for name in text.split())


@pytest.mark.parametrize(("sql", "relations", "functions", "operators"), CASES)
def test_the_names_in_a_statement(sql: str, relations: str, functions: str, operators: str) -> None:
    expected = References(names(relations), names(functions), names(operators))
    assert references(tree_of(sql)) == expected


def test_the_names_in_expressions() -> None:
    found = expression_references(["now() + 1", "s.f(x)", "not an expression", "'a'::text"])
    assert found == References(frozenset(), names("now s.f"), names("+"))


def test_names_add_up() -> None:
    one, two = References(names("a")), References(names("b"), names("f"), names("+"))
    assert one | two == References(names("a b"), names("f"), names("+"))


@pytest.mark.parametrize(
    ("sql", "made"),
    [
        ("CREATE TABLE x (i int)", ("x",)),
        ("CREATE TABLE s.x PARTITION OF b DEFAULT", ("s", "x")),
        ("CREATE UNLOGGED TABLE x AS SELECT 1", ("x",)),
        ("SELECT 1 INTO s.x", ("s", "x")),
        ("CREATE VIEW x AS SELECT 1", ("x",)),
        ("CREATE MATERIALIZED VIEW x AS SELECT 1", ("x",)),
        ("CREATE FOREIGN TABLE x (i int) SERVER s", ("x",)),
        ("ALTER TABLE s.b RENAME TO x", ("s", "x")),
        ("ALTER TABLE b SET SCHEMA s", ("s", "b")),
        ("ALTER TABLE b RENAME i TO x", None),
        ("ALTER SCHEMA s RENAME TO x", None),
        ("DROP TABLE x", None),
        ("CREATE INDEX x ON t (i)", None),
    ],
)
def test_what_a_statement_makes(sql: str, made: tuple[str, ...] | None) -> None:
    assert made_relations(tree_of(sql)) == ((made,) if made else ())
    assert may_define(tree_of(sql))


@pytest.mark.parametrize(
    "sql",
    [
        *("SELECT 1", "INSERT INTO t SELECT 1", "DELETE FROM t", "UPDATE t SET i = 1"),
        *("SET x.y = 1", "BEGIN", "COPY t TO STDOUT", "VACUUM t", "ANALYZE"),
    ],
)
def test_what_defines_nothing(sql: str) -> None:
    assert not may_define(tree_of(sql))
