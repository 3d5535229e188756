"""What is called, or looked at, where no call by name stands."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from sql_catalogue import catalogue, functions, in_words, verdict_of

from pgfan.sql.facts import CatalogFacts, ColumnFacts, FunctionFacts

CHECKED = replace(catalogue(), unsafe_types=frozenset({"dom"}))
TEMPORARY = replace(catalogue(), temporary_types=frozenset({"dom"}))
CYCLING = replace(catalogue(), cycling_sequences=("q",))
CASES: list[tuple[CatalogFacts, str, str]] = [
    # A type whose CHECK may look at other rows.
    (CHECKED, "INSERT INTO t SELECT x::dom FROM b", "! cast-function"),
    (CHECKED, "INSERT INTO t SELECT CAST(x AS app.dom[]) FROM b", "! cast-function"),
    (
        CHECKED,
        "INSERT INTO t SELECT x FROM b WHERE x = (SELECT y::dom FROM c)",
        "! cast-function",
    ),
    (CHECKED, "INSERT INTO t SELECT k FROM b, json_to_recordset(y) AS r(k dom)", "! cast-function"),
    (CHECKED, "UPDATE t SET x = y::dom", "! cast-function"),
    (CHECKED, "CREATE TABLE k AS SELECT x::dom FROM b", "! cast-function"),
    (CHECKED, "INSERT INTO t SELECT app.clean(x) FROM b", "! cast-function"),  # its argument's
    (CHECKED, "INSERT INTO t SELECT lower(x)::text FROM b", "ctid b"),
    (TEMPORARY, "INSERT INTO t SELECT x::dom FROM b", "! temporary-table"),
    (TEMPORARY, "INSERT INTO t SELECT x::text FROM b", "ctid b"),
    # A sequence of the database that cycles.
    (CYCLING, "INSERT INTO t SELECT nextval('q') FROM b", "! function-volatile"),
    (CYCLING, "INSERT INTO t SELECT x FROM b", "ctid b"),
    # Rows that chunks lock, and the name of a table that is not there yet.
    (catalogue(), "INSERT INTO t SELECT b.xmax FROM b", "! function-unstable"),
    (catalogue(), "INSERT INTO t SELECT x FROM b WHERE xmax = 0", "! function-unstable"),
    (catalogue(), "INSERT INTO t SELECT b.xmin, b.cmin, b.ctid FROM b", "ctid b"),
    (catalogue(), "CREATE TABLE k AS SELECT x::regclass FROM b", "! function-unstable"),
    (catalogue(), "CREATE TABLE k AS SELECT 'b'::regclass, tableoid::regclass FROM b", "ctid b"),
    (catalogue(), "INSERT INTO t SELECT x::regclass FROM b", "ctid b"),
]


@pytest.mark.parametrize(("facts", "sql", "expected"), CASES, ids=[case[1] for case in CASES])
def test_what_no_name_tells(facts: CatalogFacts, sql: str, expected: str) -> None:
    assert in_words(verdict_of(sql, facts)) == expected


def test_a_default_that_names_such_a_type_or_draws_from_such_a_sequence() -> None:
    for default, changes in (("'1'::dom", CHECKED), ("nextval('q')", CYCLING)):
        facts = catalogue(t={"id": None, "z": default})
        known = replace(changes, relations=facts.relations)
        assert in_words(verdict_of("INSERT INTO t (id) SELECT x FROM b", known)) == (
            "! default-function"
        )


@pytest.mark.parametrize("type_", ["dom", "dom[]", 'app."dom"'])
def test_a_column_made_of_such_a_type(type_: str) -> None:
    target = replace(CHECKED.relations["t",], columns=(ColumnFacts("id", None, type=type_),))
    facts = replace(CHECKED, relations={**CHECKED.relations, ("t",): target})
    assert in_words(verdict_of("INSERT INTO t SELECT ROW(x) FROM b", facts)) == "! cast-function"


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("json_value(y, '$.a')", "json_value"),
        ("json_query(y, '$.a')", "json_query"),
        ("json_exists(y, '$.a')", "json_exists"),
        ("json_scalar(x)", "json_scalar"),
        ("json_serialize(y)", "json_serialize"),
        ("json(y)", "json"),
        ("json_array(x, y)", "json_array"),
    ],
)
def test_older_servers_call_functions_of_users_by_these_names(call: str, name: str) -> None:
    sql = f"INSERT INTO t SELECT {call} FROM b"
    assert in_words(verdict_of(sql)) == "ctid b"
    known = {**functions(), (name,): (FunctionFacts("app", "v"),)}
    found = verdict_of(sql, replace(catalogue(), functions=known))
    assert in_words(found) == "! function-volatile"
