"""psql's variables in SQL: what is replaced, what stays, how values are quoted."""

from __future__ import annotations

import pytest

from pgfan.errors import UsageError
from pgfan.sql.variables import interpolate, parse_assignment

VARIABLES = {
    "n": "42",
    "tab": "my table",
    "q": "it's",
    "back": "a\\b",
    "dq": 'we"ird',
    "select": "k",
    "1": "one",
    "year_2024": "2024",
    "é": "accent",
    "empty": "",
    "Upper": "U",
    "two": "a; b",
    "self": ":n",
}

CASES = [
    ("SELECT :n", "SELECT 42"),
    ("SELECT :n+:n,(:n)", "SELECT 42+42,(42)"),
    ("SELECT :'n'", "SELECT '42'"),
    ('SELECT * FROM :"tab"', 'SELECT * FROM "my table"'),
    ("SELECT :'q', :'tab'", "SELECT 'it''s', 'my table'"),
    ("SELECT :'back'", "SELECT  E'a\\\\b'"),
    ('SELECT :"dq"', 'SELECT "we""ird"'),
    ("SELECT :select, :1, :year_2024, :é", "SELECT k, one, 2024, accent"),
    ("SELECT :'é', :\"Upper\", :'empty'", "SELECT 'accent', \"U\", ''"),
    ("SELECT [:empty]", "SELECT []"),
    ("SELECT x::n, x:: n, :n::text", "SELECT x::n, x:: n, 42::text"),
    ("SELECT x:::n", "SELECT x::42"),
    ("SELECT a[1:n]", "SELECT a[142]"),
    ("SELECT a[1 : n]", "SELECT a[1 : n]"),
    ("SELECT f(a := n)", "SELECT f(a := n)"),
    # Not set, or not a name: as it stands.
    ("SELECT :missing, :'missing', :\"missing\"", "SELECT :missing, :'missing', :\"missing\""),
    ("SELECT :N", "SELECT :N"),
    ("SELECT : n", "SELECT : n"),
    ("SELECT :'no name'", "SELECT :'no name'"),
    ("SELECT :n$", "SELECT 42$"),
    ("SELECT :'n''n'", "SELECT '42''n'"),
    # Literals and comments are nobody's variables.
    ("SELECT ':n', \":n\", $$:n$$, E':n'", "SELECT ':n', \":n\", $$:n$$, E':n'"),
    ("SELECT 1 -- :n\n, :n", "SELECT 1 -- :n\n, 42"),
    ("SELECT /* :n /* :n */ */ :n", "SELECT /* :n /* :n */ */ 42"),
    ("SELECT 'é😀', :n, 'é', :n", "SELECT 'é😀', 42, 'é', 42"),
    # Values are put in once.
    ("SELECT :self, :two", "SELECT :n, a; b"),
    ("no colon", "no colon"),
    # The parser will say what is wrong.
    ("SELECT :n, 'unterminated", "SELECT :n, 'unterminated"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_variables_are_interpolated_as_psql_does(text: str, expected: str) -> None:
    assert interpolate(text, VARIABLES) == expected


def test_without_variables_nothing_is_read() -> None:
    assert interpolate("SELECT :n, 'unterminated", {}) == "SELECT :n, 'unterminated"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n=1", ("n", "1")),
        ("n=", ("n", "")),
        ("n=a=b", ("n", "a=b")),
        ("_x9= é ", ("_x9", " é ")),
        ("9=1", ("9", "1")),
    ],
)
def test_an_assignment(text: str, expected: tuple[str, str]) -> None:
    assert parse_assignment(text) == expected


@pytest.mark.parametrize("text", ["n", "=1", "", "a b=1", "a-b=1", " n=1", "a.b=1", "a'=1"])
def test_what_is_no_assignment(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_assignment(text)
    assert "--set" in (caught.value.hint or "")
