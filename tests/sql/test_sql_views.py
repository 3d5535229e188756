"""Statements that read views: what of a definition may drive them, and when a view stays."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from sql_catalogue import catalogue, fill, in_words, split_of, tree_of, verdict_of

from pgfan.sql.distribute import Serial
from pgfan.sql.facts import ColumnFacts, RelationFacts, ViewFacts
from pgfan.sql.rewrite import restrict_blocks
from pgfan.sql.views import EXPANSIONS_MAX, definition_references, expanded

# What follows "INSERT INTO t ", and the candidates in order, or the reasons.
CASES = [
    ("SELECT * FROM plain_v", "ctid b"),
    ("TABLE plain_v", "ctid b"),
    ("SELECT * FROM public.plain_v", "ctid b"),
    ("SELECT z.p, z.y FROM plain_v AS z (p)", "ctid b"),
    ("SELECT plain_v.* FROM plain_v", "ctid b"),
    ("SELECT k, v FROM renamed_v", "ctid b"),
    ("SELECT renamed_v.k FROM renamed_v WHERE v = 'a'", "ctid b"),
    ("SELECT k FROM on_view", "ctid b"),
    ("SELECT * FROM joined_v", "ctid b"),
    ("SELECT * FROM twice_v", "ctid b, ctid b"),
    ("SELECT * FROM plain_v JOIN c USING (x)", "ctid c, ctid b"),
    ("SELECT * FROM c LEFT JOIN plain_v ON c.x = plain_v.x", "ctid c"),
    ("SELECT * FROM plain_v, plain_v AS other", "ctid b, ctid b"),
    ("SELECT x FROM c WHERE x IN (SELECT x FROM plain_v)", "ctid c"),
    ("SELECT x, (SELECT max(x) FROM plain_v) FROM c", "ctid c"),
    (
        "SELECT x FROM c WHERE EXISTS (SELECT plain_v.* FROM plain_v WHERE plain_v.x = c.x)",
        "ctid c",
    ),
    ("SELECT s.x FROM (SELECT x FROM plain_v) s", "ctid b"),
    ("WITH s AS (SELECT x FROM plain_v) SELECT x FROM s", "ctid b"),
    ("WITH plain_v AS (SELECT x FROM c) SELECT x FROM plain_v", "ctid c"),
    ('SELECT odd_v."Odd", c FROM odd_v', "ctid b"),
    ("SELECT g FROM series_v", "series g"),
    ("SELECT x FROM only_v", "ctid parent"),
    ("SELECT x, at FROM now_v", "ctid b"),
    ("SELECT r FROM random_v", "ctid b"),
    ("SELECT x FROM ruled_v", "! rule"),
    # Rows that belong together, in the view or around it.
    ("SELECT * FROM grouped_v", "column x b"),
    ("SELECT k FROM grouped_v WHERE n > 1", "column x b"),
    ("SELECT * FROM distinct_v", "column x b"),
    ("SELECT x, n FROM window_v", "column x b"),
    ("SELECT x, n FROM numbered_v", "! window"),
    ("SELECT k, count(*) FROM renamed_v GROUP BY k", "column x b"),
    ("SELECT count(*) FROM plain_v", "! aggregate"),
    ("SELECT x FROM c JOIN total_v ON n > x", "ctid c"),
    ("SELECT n FROM total_v", "! aggregate"),
    ("SELECT x FROM union_v", "! no-driving-relation"),
    ("SELECT c.x FROM c JOIN union_v USING (x)", "ctid c"),
    ("SELECT x FROM values_v", "! no-driving-relation"),
    ("SELECT x FROM limit_v", "! limit"),
    ("SELECT x FROM c WHERE x IN (SELECT x FROM limit_v)", "! limit"),
    ("SELECT x FROM c WHERE x IN (SELECT n FROM numbered_v)", "! window"),
    ("SELECT x FROM c, random_v", "ctid b"),
    ("SELECT x FROM lookup_v", "! function-volatile"),
    ("SELECT x FROM locking_v", "! locking"),
    # WITH in a definition, whose names are its own.
    ("SELECT x FROM with_v", "ctid c"),
    ("SELECT with_v.x FROM with_v JOIN b USING (x)", "ctid b, ctid c"),
    ("WITH b AS (TABLE c) SELECT b.x FROM b JOIN plain_v USING (x)", "ctid c, ctid b"),
    ("SELECT x FROM with_twice_v", "! cte"),
    ("SELECT n FROM recursive_v", "! cte"),
    ("SELECT c.x FROM c, with_twice_v", "ctid c"),
    ("SELECT c.x FROM c, recursive_v", "ctid c"),
    ("SELECT x FROM c WHERE x IN (WITH b AS (TABLE c) SELECT x FROM plain_v)", "ctid c"),
    # A query in WITH around the view has the name of the table in it.
    ("WITH b AS (TABLE d) SELECT plain_v.x FROM plain_v, b, b z", "ctid b"),
    # A subquery is not all that a view is.
    ("SELECT plain_v FROM plain_v", "! view"),
    ("SELECT z FROM plain_v AS z", "! view"),
    ("SELECT (z).x FROM plain_v AS z", "! view"),
    ("SELECT z.*::text FROM plain_v AS z", "! view"),
    ("SELECT count(z.*) FROM plain_v AS z GROUP BY z.x", "! group-by view"),
    ("SELECT lower(plain_v) FROM plain_v", "! view"),
    ("SELECT plain_v.lower FROM plain_v", "! view"),
    ("SELECT plain_v.ctid FROM plain_v", "! view"),
    ("SELECT public.plain_v.x FROM public.plain_v", "! view"),
    ("SELECT public.plain_v.* FROM public.plain_v", "! view"),
    ("SELECT x FROM c WHERE EXISTS (SELECT FROM plain_v WHERE plain_v IS NULL)", "! view"),
    ("SELECT r FROM row_v", "! view"),
    ("SELECT x FROM ONLY plain_v", "! view"),
    ("SELECT x FROM plain_v TABLESAMPLE SYSTEM (1)", "! tablesample"),
    ("SELECT x FROM plain_v FOR UPDATE", "! locking"),
    ("SELECT x FROM plain_v FOR SHARE OF plain_v", "! locking"),
    ("SELECT v.v FROM renamed_v AS v", "ctid b"),
    ("SELECT v FROM renamed_v AS v", "ctid b"),
    # What the catalogue says of the view.
    ("SELECT x FROM barred", "! view"),
    ("SELECT x FROM guarded", "! row-security"),
    ("SELECT x FROM forbidden", "! view"),
    ("SELECT x FROM hiding", "! operator-unknown"),
    ("SELECT x FROM with_rules", "! rule"),
    ("SELECT x FROM temp_view", "! temporary-table"),
    ("SELECT x FROM unreadable", "! view"),
    ("SELECT x FROM system_view", "! view"),
    ("SELECT x FROM itself", "! view"),
    ("SELECT x FROM c WHERE x IN (TABLE barred)", "! view"),
    ("SELECT x FROM other_database.public.plain_v", "! relation-unknown"),
    # What it says of the relations inside.
    ("SELECT x FROM secret_v", "! row-security"),
    ("SELECT x FROM temp_v", "! temporary-table"),
    ("SELECT x FROM far_v", "! foreign-table"),
    ("SELECT id FROM target_v", "! reads-target"),
    ("SELECT x FROM b WHERE x IN (SELECT id FROM target_v)", "! reads-target"),
]


@pytest.mark.parametrize(("select", "expected"), CASES)
def test_a_view_in_an_insert(select: str, expected: str) -> None:
    assert in_words(verdict_of(f"INSERT INTO t {select}")) == expected


CHANGES = [
    ("UPDATE t SET y = plain_v.y FROM plain_v WHERE plain_v.x = t.x", "column id t, column x t"),
    ("UPDATE t SET y = 'a' WHERE x IN (SELECT x FROM plain_v)", "column id t, column x t"),
    ("DELETE FROM t USING plain_v WHERE plain_v.x = t.x", "ctid t"),
    ("DELETE FROM t WHERE EXISTS (SELECT FROM target_v WHERE target_v.id > t.id)", "ctid t"),
    ("DELETE FROM t USING plain_v WHERE plain_v IS NULL", "! view"),
    ("DELETE FROM plain_v", "! target-kind view"),
    ("UPDATE plain_v SET x = 1", "! target-kind view"),
    ("INSERT INTO plain_v SELECT x FROM c", "! target-kind"),
]


@pytest.mark.parametrize(("sql", "expected"), CHANGES)
def test_a_view_in_a_change(sql: str, expected: str) -> None:
    assert in_words(verdict_of(sql)) == expected


def test_the_tables_inside_are_what_is_read() -> None:
    split = split_of("INSERT INTO t SELECT x FROM on_view, c WHERE x IN (SELECT z FROM joined_v)")
    assert split.reads == (("b",), ("c",), ("d",))
    split = split_of("DELETE FROM t WHERE EXISTS (SELECT FROM target_v WHERE target_v.id > t.id)")
    assert split.reads == (("t",),)


def test_the_text_of_a_chunk() -> None:
    split = split_of("INSERT INTO t SELECT z.a, v FROM renamed_v AS z (a)")
    template = restrict_blocks(split, split.candidates[0], catalogue(), "2024-02-29 12:00:00+00")
    assert fill(template, "(3,0)", "(7,0)") == (
        "INSERT INTO t SELECT z.a, v FROM (SELECT x AS k, y AS v FROM b "
        "WHERE b.ctid OPERATOR(pg_catalog.>=) '(3,0)'::pg_catalog.tid "
        "AND b.ctid OPERATOR(pg_catalog.<) '(7,0)'::pg_catalog.tid) z(a, v)"
    )


def test_time_in_a_view_is_frozen() -> None:
    split = split_of("INSERT INTO t SELECT x, at FROM now_v")
    template = restrict_blocks(split, split.candidates[0], catalogue(), "2024-02-29 12:00:00+00")
    text = fill(template, "(3,0)", "(7,0)")
    assert "now()" not in text
    assert "2024-02-29 12:00:00+00" in text


def test_the_statement_itself_is_not_changed() -> None:
    tree = tree_of("INSERT INTO t SELECT x FROM plain_v")
    before = str(tree)
    assert str(expanded(tree, catalogue()).tree) != before
    assert str(tree) == before


def test_a_statement_without_views_is_not_copied() -> None:
    facts = catalogue()
    tree = tree_of("INSERT INTO t SELECT x FROM b")
    tables = {name: one for name, one in facts.relations.items() if one.kind != "v"}
    assert expanded(tree, replace(facts, relations=tables)).tree is tree


def test_views_that_double_and_views_that_pile_up_are_left_alone() -> None:
    def tower(height: int, on: str) -> str:
        relations = dict(catalogue().relations)
        for number in range(height):
            below = f"w{number - 1}" if number else "b"
            relations[f"w{number}",] = RelationFacts(
                1000 + number,
                kind="v",
                columns=(ColumnFacts("x", None),),
                view=ViewFacts(f"SELECT l.x FROM {below} l{on.format(below)}"),
            )
        sql = f"INSERT INTO t SELECT x FROM w{height - 1}"
        return in_words(verdict_of(sql, replace(catalogue(), relations=relations)))

    assert tower(15, "") == "ctid l"
    assert tower(400, "") == "! view"
    doubling = " JOIN {} r ON l.x = r.x"
    assert tower(4, doubling).count("ctid") == 16
    assert EXPANSIONS_MAX < 2**6
    assert tower(15, doubling) == "! view"


def test_the_reason_names_the_view() -> None:
    verdict = verdict_of("INSERT INTO t SELECT x FROM forbidden")
    assert isinstance(verdict, Serial)
    assert verdict.reasons[0].message == "the role may read forbidden, but not hidden.b in it"


def test_what_definitions_name() -> None:
    found = definition_references(
        ["SELECT app.f(b.x) FROM s.b WHERE (b.x OPERATOR(app.@@@) 1);", "SELECT FROM FROM"]
    )
    assert found.relations == {("s", "b")}
    assert found.functions >= {("app", "f")}
    assert found.operators == {("app", "@@@")}
