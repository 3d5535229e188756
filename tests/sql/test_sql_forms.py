"""INSERTs of constants are parsed once for all that differ in nothing else, and none other is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgfan.errors import PgfanError, UsageError
from pgfan.sql import psql_lexer
from pgfan.sql.accesses import ScriptAccesses
from pgfan.sql.forms import PLAIN, form_of
from pgfan.sql.known import KnownObjects
from pgfan.sql.psql_script import read_psql
from pgfan.sql.tree import Message, copy_of, kind_of, walk

FIRST = "INSERT INTO t (a, b) VALUES (1, 'x');"


def form(text: str) -> str | None:
    """That of a text."""
    found = PLAIN.match(text)
    return None if found is None else form_of(found)


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t (a, b) VALUES (22, 'it''s; -- \\ \"x\" $$ :a');",
        "INSERT INTO t (a, b) VALUES (-1.5, '');",
        "\n INSERT INTO t (a, b) VALUES ('a\nb', 99999999999999999999);",
    ],
)
def test_what_differs_in_constants_alone_has_one_form(text: str) -> None:
    assert form(text) == form(FIRST)


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t (a, b) VALUES (1, null);",
        "INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y');",
        "INSERT INTO t (a, b) VALUES (1);",
        "INSERT INTO t (b, a) VALUES (1, 'x');",
        "INSERT INTO T (a, b) VALUES (1, 'x');",
        "INSERT INTO s.t (a, b) VALUES (1, 'x');",
        "INSERT INTO t1 (a, b) VALUES (1, 'x');",
        "INSERT INTO t VALUES (1, 'x');",
    ],
)
def test_anything_else_that_differs_is_another_form(text: str) -> None:
    assert form(text) not in {None, form(FIRST)}


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t (a, b) VALUES (1, E'x');",
        "INSERT INTO t (a, b) VALUES (1, U&'x');",
        "INSERT INTO t (a, b) VALUES (1, B'1');",
        "INSERT INTO t (a, b) VALUES (1, 'x' 'y');",
        "INSERT INTO t (a, b) VALUES (1, 'x'\n'y');",
        "INSERT INTO t (a, b) VALUES (1, $$x$$);",
        "INSERT INTO t (a, b) VALUES (1, :x);",
        "INSERT INTO t (a, b) VALUES (1, 'x'::text);",
        "INSERT INTO t (a, b) VALUES (1, date '2026-11-23');",
        "INSERT INTO t (a, b) VALUES (1, now());",
        "INSERT INTO t (a, b) VALUES (1, current_date);",
        "INSERT INTO t (a, b) VALUES (1, DEFAULT);",
        "INSERT INTO t (a, b) VALUES (1, 2 + 3);",
        "INSERT INTO t (a, b) VALUES (1, - 3);",
        "INSERT INTO t (a, b) VALUES (1, --3\n 4);",
        "INSERT INTO t (a, b) VALUES (1, +3);",
        "INSERT INTO t (a, b) VALUES (1, 1a);",
        "INSERT INTO t (a, b) VALUES (1, 0x1F);",
        "INSERT INTO t (a, b) VALUES (1, 1e5);",
        "INSERT INTO t (a, b) VALUES (1, (SELECT 2));",
        "INSERT INTO t (a, b) VALUES (1, 'x') RETURNING a;",
        "INSERT INTO t (a, b) VALUES (1, 'x') ON CONFLICT DO NOTHING;",
        "INSERT INTO t (a, b) VALUES (1, 'x') -- of two\n;",
        "INSERT INTO t (a, b) VALUES (1, 'x;",
        'INSERT INTO "t" (a, b) VALUES (1, 2);',
        "INSERT INTO t AS u (a, b) VALUES (1, 2);",
        "INSERT INTO t (a[1], b) VALUES (1, 2);",
        "INSERT INTO t (a, b) OVERRIDING SYSTEM VALUE VALUES (1, 2);",
        "INSERT INTO t (a, b) SELECT 1, 2;",
        "INSERT INTO t (a) VALUES\u00a0(1);",
        f"INSERT INTO t (a) VALUES ('{'x' * 9000}');",
        "UPDATE t SET a = 1;",
    ],
)
def test_what_a_second_look_might_see_otherwise_has_none(text: str) -> None:
    assert form(text) is None


STRINGS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).map(
    lambda text: "'" + text.replace("'", "''") + "'"
)
NUMBERS = st.integers().map(str) | st.decimals(allow_nan=False, allow_infinity=False).map(
    lambda value: f"{value:f}"
)
VALUES = STRINGS | NUMBERS
ROWS = st.tuples(VALUES, VALUES).map(lambda row: f"({row[0]}, {row[1]})")


@given(st.lists(ROWS, min_size=2, max_size=5))
def test_the_trees_of_one_form_are_equal_but_for_constants(rows: list[str]) -> None:
    texts = [f"INSERT INTO s.t (a, b) VALUES {row}, (0, NULL)" for row in rows]
    script = read_psql([("s.sql", ";\n".join(texts) + ";")], {}, str)
    first = script.items[0].first
    assert [item.first.text for item in script.items] == texts
    assert {item.form for item in script.items} == {first.form}
    assert first.form is not None
    for item in script.items:
        assert item.first.skeleton is first.skeleton
        assert without_constants(item.first.tree) == without_constants(first.skeleton)


def without_constants(tree: Message) -> Message:
    """A copy in which all constants are equal, and stand nowhere."""
    copy = copy_of(tree)
    for node in walk(copy):
        if kind_of(node) == "A_Const" and not node.isnull:
            node.Clear()
        if "location" in node.DESCRIPTOR.fields_by_name:
            node.location = 0
    return copy


def test_each_has_its_own_tree_when_it_is_asked_for() -> None:
    script = read_psql([("s.sql", FIRST + FIRST.replace("1", "2"))], {}, str)
    values = [
        item.first.tree.select_stmt.select_stmt.values_lists[0].list.items[0].a_const.ival.ival
        for item in script.items
    ]
    assert values == [1, 2]


def test_a_syntax_error_is_found_in_the_first_of_a_form() -> None:
    with pytest.raises(UsageError, match="syntax error"):
        read_psql([("s.sql", "INSERT INTO select (a) VALUES (1);")], {}, str)


TABLES = "CREATE SCHEMA a; CREATE TABLE t (x int); CREATE TABLE u (x int);"
TRIGGER = (
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN DELETE FROM u; RETURN NEW; END';"
    "CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f();"
)
IN_BETWEEN = {
    "CREATE TABLE a.t (x int);": True,
    "SET search_path = a;": True,
    TRIGGER: True,
    "DROP TABLE t; CREATE VIEW t AS SELECT * FROM u;": True,
    "BEGIN; SELECT 1; ROLLBACK;": True,
    "UPDATE u SET x = 1;": False,
    "INSERT INTO u VALUES (1);": False,
}
"""Whether another look is taken after it."""


@pytest.mark.parametrize("between", IN_BETWEEN)
def test_a_form_is_looked_at_again_when_names_may_mean_others(between: str) -> None:
    insert = "INSERT INTO t VALUES (1);"
    script = read_psql([("s.sql", f"{TABLES}{insert}{insert}{between}{insert}")], {}, str)
    accesses, plain = ScriptAccesses(KnownObjects()), ScriptAccesses(KnownObjects())
    found = []
    for item in script.items:
        trees = [statement.skeleton for statement in item.statements]
        found.append(accesses.read(trees, rolls_back=item.rolls_back, form=item.form))
        assert found[-1] == plain.read(trees, rolls_back=item.rolls_back)
    assert found[3] is found[4]
    assert (found[-1] is not found[4]) == IN_BETWEEN[between]


PIECES = st.sampled_from(
    [
        *("INSERT INTO t (a, b) VALUES (1, 'x')", "INSERT INTO t VALUES ", "(1, 'y')", "(2)", ","),
        *("'", "''", "E'", '"', "(", ")", ";", ";\n", "\n", " ", "-1", "1.5", "1e5", "NULL", "x"),
        *(
            "-- c\n",
            "/* c */",
            "\\",
            "\\echo z\n",
            "\\r\n",
            "\\;",
            "$$",
            ":v",
            ":w",
            ":'w'",
            "\u00a0",
        ),
        *("\\if false\n", "\\endif\n", "RETURNING a", "BEGIN;", "COMMIT;"),
    ]
)
VARIABLES = {"v": "1); INSERT INTO t VALUES (2", "w": "it's"}


def items_or_error(text: str) -> object:
    """What a script is read as, or why not."""
    try:
        found = read_psql([("s.sql", text)], VARIABLES, str, may_be_empty=True)
    except PgfanError as error:
        return error.message, error.position, error.source_line
    return found.items, found.ends_with


@given(st.lists(PIECES, max_size=12).map("".join))
@settings(max_examples=200)
def test_a_script_is_cut_as_it_is_without_forms(text: str) -> None:
    found = items_or_error(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psql_lexer, "PLAIN", re.compile(r"(?!)"))
        assert found == items_or_error(text)
