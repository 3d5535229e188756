"""Text to statements: spans, transaction blocks, settings carried along, refusals with a place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pgfan.errors import Position, UnsupportedError, UsageError
from pgfan.sql.places import excerpt, locate
from pgfan.sql.script import read_script

if TYPE_CHECKING:
    from pgfan.sql.script import ScriptItem


def read(text: str) -> tuple[ScriptItem, ...]:
    return read_script(text, "f.sql")


def texts(text: str) -> list[str]:
    return [statement.text for item in read(text) for statement in item.statements]


# A script, and the text, line and column of each of its statements.
SPANS = [
    ("SELECT 1", [("SELECT 1", 1, 1)]),
    ("SELECT 1;", [("SELECT 1", 1, 1)]),
    (";;; SELECT 1 ;; SELECT 2;;", [("SELECT 1", 1, 5), ("SELECT 2", 1, 17)]),
    ("\n\n  SELECT 1 ;\n\tSELECT 2", [("SELECT 1", 3, 3), ("SELECT 2", 4, 2)]),
    ("SELECT 1;\r\nSELECT\r\n2;\r\n", [("SELECT 1", 1, 1), ("SELECT\r\n2", 2, 1)]),
    ("-- é\nSELECT 'é😀'; SELECT 2", [("SELECT 'é😀'", 2, 1), ("SELECT 2", 2, 14)]),
    ("SELECT 'é\né'; SELECT 2", [("SELECT 'é\né'", 1, 1), ("SELECT 2", 2, 5)]),
    ("/* a /* b; */ ; */ SELECT /* ; */ 1", [("SELECT /* ; */ 1", 1, 20)]),
    ("SELECT 1 -- ; no\n; SELECT 2", [("SELECT 1 -- ; no", 1, 1), ("SELECT 2", 2, 3)]),
    ("SELECT $$;$$; SELECT $é$ ; $$ $é$", [("SELECT $$;$$", 1, 1), ("SELECT $é$ ; $$ $é$", 1, 15)]),
    ("SELECT E'\\';'; SELECT ';'", [("SELECT E'\\';'", 1, 1), ("SELECT ';'", 1, 16)]),
    ('SELECT ";" FROM t; SELECT 1', [('SELECT ";" FROM t', 1, 1), ("SELECT 1", 1, 20)]),
    ("SELECT 1;\u00a0SELECT 2", None),
]


@pytest.mark.parametrize(("script", "expected"), SPANS)
def test_statements_and_their_places(
    script: str, expected: list[tuple[str, int, int]] | None
) -> None:
    if expected is None:
        with pytest.raises(UsageError):
            read(script)
        return
    found = [item.first for item in read(script)]
    assert [(one.text, one.position.line, one.position.column) for one in found] == expected
    lines = script.split("\n")
    for one in found:
        start = lines[one.position.line - 1][one.position.column - 1 :]
        assert start.startswith(one.text.split("\n")[0].rstrip("\r"))


def test_a_function_body_is_part_of_its_statement() -> None:
    body = (
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; "
        "SELECT CASE WHEN true THEN 2 END; END"
    )
    dollars = "CREATE FUNCTION g() RETURNS int LANGUAGE sql AS $f$ SELECT 1; SELECT 2; $f$"
    assert texts(f"{body}; {dollars}; SELECT 3") == [body, dollars, "SELECT 3"]
    assert texts("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3") == [
        "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)",
        "SELECT 3",
    ]


KINDS = [
    ("INSERT INTO t SELECT 1", "insert"),
    ("UPDATE t SET a = 1", "update"),
    ("DELETE FROM t", "delete"),
    ("MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", "merge"),
    ("VALUES (1)", "select"),
    ("CREATE TABLE t AS SELECT 1", "create table as"),
    ("CREATE MATERIALIZED VIEW t AS SELECT 1", "create table as"),
    ("SET a.b = 1", "set"),
    ("RESET ALL", "set"),
    ("BEGIN; COMMIT", "transaction"),
    ("SAVEPOINT s", "transaction"),
    ("VACUUM t", "vacuum"),
    ("CREATE INDEX i ON t (a)", "index"),
    ("CHECKPOINT", "check point"),
    ("DO $$ $$", "do"),
]


@pytest.mark.parametrize(("script", "kind"), KINDS)
def test_a_statement_has_a_kind_in_words(script: str, kind: str) -> None:
    (item,) = read(script)
    assert item.kind == kind


def test_the_digest_is_of_the_exact_text() -> None:
    found = {item.first.digest for item in read("SELECT 1; SELECT  1; SELECT 2; SELECT 1 ;")}
    assert len(found) == 3


BLOCKS = [
    ("BEGIN; SELECT 1; COMMIT", [(3, True, False)]),
    ("START TRANSACTION ISOLATION LEVEL SERIALIZABLE; END", [(2, True, False)]),
    ("BEGIN; SELECT 1; ROLLBACK; SELECT 2", [(3, True, True), (1, False, False)]),
    ("BEGIN; ABORT", [(2, True, True)]),
    ("BEGIN; SAVEPOINT a; ROLLBACK TO a; RELEASE a; COMMIT", [(5, True, False)]),
    ("BEGIN; BEGIN; COMMIT", [(3, True, False)]),
    ("SELECT 1; BEGIN; COMMIT; SELECT 2", [(1, False, False), (2, True, False), (1, False, False)]),
]


@pytest.mark.parametrize(("script", "expected"), BLOCKS)
def test_a_transaction_block_is_one_item(
    script: str, expected: list[tuple[int, bool, bool]]
) -> None:
    found = [(len(item.statements), item.is_block, item.rolls_back) for item in read(script)]
    assert found == expected


# A script whose last statement is SELECT 9, and the settings that it needs.
SETTINGS = [
    ("SET search_path = a, b", ["SET search_path = a, b"]),
    ("SET a.b = 1; SET a.b TO 2", ["SET a.b = 1", "SET a.b TO 2"]),
    ("SET SESSION TIME ZONE 'UTC'", ["SET SESSION TIME ZONE 'UTC'"]),
    ("RESET search_path; DISCARD ALL", ["RESET search_path", "DISCARD ALL"]),
    ("RESET ALL", ["RESET ALL"]),
    (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        ["SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"],
    ),
    ("SET LOCAL a.b = 1; SET TRANSACTION READ WRITE", []),
    ("SHOW search_path; SELECT 1; ALTER ROLE r SET a.b = 1", []),
    ("SELECT set_config('a.b', '1', false)", ["SELECT set_config('a.b', '1', false)"]),
    (
        "SELECT pg_catalog.SET_CONFIG('a.b', '1', false)",
        ["SELECT pg_catalog.SET_CONFIG('a.b', '1', false)"],
    ),
    (
        "SELECT set_config('a.b', '1'::text, 'f'::bool)",
        ["SELECT set_config('a.b', '1'::text, 'f'::bool)"],
    ),
    ("SELECT 'set_config'", []),
    # What is worked out, or does something else as well, is never repeated.
    ("SELECT set_config('a.b', random()::text, false)", []),
    ("SELECT set_config('a.b', 'now'::timestamp::text, false)", []),
    ("SELECT set_config('a.b', '1', false), nextval('s')", []),
    ("SELECT set_config('a.b', '1', false) FROM t", []),
    ("SELECT set_config('a.b', '1', false) WHERE f()", []),
    ("SELECT set_config('a.b', '1', false) LIMIT f()", []),
    ("SELECT set_config('a.b', '1', false) UNION SELECT f()", []),
    ("WITH w AS (INSERT INTO t VALUES (1)) SELECT set_config('a.b', '1', false)", []),
    ("BEGIN; SELECT set_config('a.b', random()::text, false); COMMIT", []),
    ("BEGIN; SET a.b = 1; SET LOCAL a.c = 2; COMMIT", ["SET a.b = 1"]),
    ("BEGIN; SET a.b = 1; ROLLBACK", []),
    ("BEGIN; SET a.b = 1; SAVEPOINT s; SET a.b = 2; ROLLBACK TO s; COMMIT", ["SET a.b = 1"]),
    ("BEGIN; SAVEPOINT s; SET a.b = 2; RELEASE s; COMMIT", ["SET a.b = 2"]),
    (
        (
            "BEGIN; SAVEPOINT s; SET a.b = 1; SAVEPOINT r; SET a.b = 2; ROLLBACK TO s; "
            "SET a.b = 3; COMMIT"
        ),
        ["SET a.b = 3"],
    ),
    (
        "BEGIN; SAVEPOINT s; SET a.b = 1; SAVEPOINT s; SET a.b = 2; ROLLBACK TO s; COMMIT",
        ["SET a.b = 1"],
    ),
    ("SET seed = 0.5", []),
]


@pytest.mark.parametrize(("script", "expected"), SETTINGS)
def test_settings_are_carried_to_what_follows(script: str, expected: list[str]) -> None:
    *before, last = read(f"{script}; SELECT 9")
    assert list(last.settings) == expected
    assert before[0].settings == ()


@pytest.mark.parametrize(
    ("script", "seeded"),
    [
        ("SELECT setseed(0.5)", True),
        ("SELECT pg_catalog.SetSeed(0.5) FROM t", True),
        ("SET seed = 0.5", True),
        ('SET "SEED" TO 0.5', True),
        ("SELECT set_config('seed', '0.5', false)", True),
        ("BEGIN; SET seed = 0.5; COMMIT", True),
        ("BEGIN; SELECT setseed(1); ROLLBACK", True),
        ("SELECT random(), 'setseed'", False),
        ("SET search_path = a", False),
    ],
)
def test_a_seeded_random_is_known(script: str, *, seeded: bool) -> None:
    *before, last = read(f"{script}; SELECT 9; SELECT random()")
    assert last.seeded is seeded
    assert before[0].seeded is False


# What pgfan does not run: the script, the place, a part of the message.
REFUSED = [
    ("SET ROLE r", 1, 1, "SET ROLE"),
    ("SELECT 1;\n  SET SESSION AUTHORIZATION r", 2, 3, "SET ROLE"),
    ('SET "ROLE" TO r', 1, 1, "SET ROLE"),
    ("RESET ROLE", 1, 1, "SET ROLE"),
    ("SET LOCAL role = r", 1, 1, "SET ROLE"),
    ("SELECT set_config('Role', 'r', false)", 1, 1, "SET ROLE"),
    ("BEGIN; SELECT 1;\nSET ROLE r; COMMIT", 2, 1, "SET ROLE"),
    ("SET standard_conforming_strings = off", 1, 1, "standard_conforming_strings"),
    ("SET standard_conforming_strings TO 'off'", 1, 1, "standard_conforming_strings"),
    ("SET Standard_Conforming_Strings = 0", 1, 1, "standard_conforming_strings"),
    ("SET default_transaction_read_only = on", 1, 1, "read-only"),
    ("SET transaction_read_only = 1", 1, 1, "read-only"),
    ("START TRANSACTION READ ONLY; COMMIT", 1, 1, "read-only"),
    ("BEGIN; SET TRANSACTION READ ONLY; COMMIT", 1, 8, "read-only"),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", 1, 1, "read-only"),
    ("COPY t FROM STDIN", 1, 1, "COPY from or to the client"),
    ("SELECT 1; COPY t TO STDOUT", 1, 11, "COPY from or to the client"),
    ("COMMIT", 1, 1, "COMMIT without BEGIN"),
    ("SELECT 1; ROLLBACK", 1, 11, "ROLLBACK without BEGIN"),
    ("BEGIN; COMMIT; end", 1, 16, "END without BEGIN"),
    ("SELECT 1;\n\nBEGIN; SELECT 2", 3, 1, "never ended"),
    ("BEGIN; COMMIT AND CHAIN", 1, 8, "two-phase"),
    ("BEGIN; PREPARE TRANSACTION 'x'", 1, 8, "two-phase"),
    ("COMMIT PREPARED 'x'", 1, 1, "two-phase"),
]


@pytest.mark.parametrize(("script", "line", "column", "message"), REFUSED)
def test_what_is_not_run_is_refused_with_its_place(
    script: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(UnsupportedError, match=message) as caught:
        read(script)
    assert caught.value.position == Position("f.sql", line, column)
    assert caught.value.hint
    shown = (caught.value.source_line or "")[column - 1 :]
    assert shown
    assert script.split("\n")[line - 1][column - 1 :].startswith(shown)


ALLOWED = [
    "SET standard_conforming_strings = on",
    "SET standard_conforming_strings TO 'on'",
    "SET standard_conforming_strings = true",
    "SET standard_conforming_strings = 1",
    "SET standard_conforming_strings TO DEFAULT",
    "RESET standard_conforming_strings",
    "SET default_transaction_read_only = off",
    "RESET transaction_read_only",
    "COPY t FROM '/f'",
    "COPY t TO PROGRAM 'cat'",
    "SET search_path = role",
    "SELECT set_config('a.role', 'x', true)",
    "SELECT 'SET ROLE x'",
]


@pytest.mark.parametrize("script", ALLOWED)
def test_what_only_looks_like_it_is_allowed(script: str) -> None:
    assert texts(script) == [script]


# Text that does not parse: line and column of the caret, a part of the message, of the hint.
ERRORS = [
    ("SELCT 1", 1, 1, 'syntax error at or near "SELCT"', ""),
    ("SELECT 1;\n  SELECT FROM WHERE", 2, 15, 'at or near "WHERE"', ""),
    ("SELECT 'é😀', FROM t", 1, 14, 'at or near "FROM"', ""),
    ("-- é\r\nSELECT é é é", 2, 12, "syntax error", ""),
    ("SELECT (1", 1, 10, "end of input", ""),
    ("SELECT 'abc", 1, 8, "unterminated quoted string", ""),
    ("SELECT $$abc", 1, 8, "unterminated dollar-quoted", ""),
    ("SELECT 1 /* abc", 1, 10, "unterminated /* comment", ""),
    ("\\copy t from 'f'", 1, 1, "syntax error", "meta-commands"),
    ("SELECT 1;\n\\i other.sql", 2, 1, "syntax error", "meta-commands"),
    ("SELECT * FROM :tab", 1, 15, "syntax error", "--set"),
    ("SELECT 1\0", 1, 9, "NUL", ""),
    ("SELECT 1;\nSELECT '\0'", 2, 9, "NUL", ""),
    ("SELECT '\udc80é'", 1, 9, "UTF-8", "UTF-8"),
]


@pytest.mark.parametrize(("script", "line", "column", "message", "hint"), ERRORS)
def test_text_that_does_not_parse(
    script: str, line: int, column: int, message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        read(script)
    assert caught.value.position == Position("f.sql", line, column)
    assert hint in (caught.value.hint or "")
    (caught.value.source_line or "").encode()


@pytest.mark.parametrize("script", ["", " \n\t", ";", " ; ;\n;", "-- only\n/* comments */"])
def test_a_script_of_nothing(script: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(script)
    assert not isinstance(caught.value, UnsupportedError)


@pytest.mark.parametrize("open_", ["(", "NOT ", "-(", "CASE WHEN ", "ARRAY[", "(SELECT "])
@pytest.mark.parametrize("levels", [20_000, 1_000_000])
def test_deep_nesting_is_an_error_and_no_crash(open_: str, levels: int) -> None:
    with pytest.raises(UsageError) as caught:
        read("SELECT 2;\nSELECT " + open_ * levels)
    assert caught.value.position is not None
    assert "nested too deeply" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "script",
    [
        "SELECT " + "(" * 2_500 + "1" + ")" * 2_500,
        "SELECT " + " || ".join(["a"] * 200),
        "SELECT " + " + ".join(["a"] * 9_000),
        " UNION ALL ".join(["SELECT 1"] * 9_000),
        "SELECT 1" + "::int" * 9_000,
        "SELECT 1 FROM a" + " CROSS JOIN b" * 5_000,
    ],
    ids=lambda script: script[:20],
)
def test_long_chains_are_read(script: str) -> None:
    assert texts(script) == [script]


def test_a_chain_longer_than_any_tree_is_an_error_with_its_place() -> None:
    with pytest.raises(UsageError, match="nested too deeply") as caught:
        read("SELECT 'é';\n\n  SELECT " + "+".join("1" * 33_000) + ";SELECT 3")
    assert caught.value.position == Position("f.sql", 3, 3)
    assert len(caught.value.source_line or "") < 100


def test_twenty_thousand_statements() -> None:
    found = read("SELECT 'é';\n" * 20_000)
    assert len(found) == 20_000
    assert found[-1].first.position == Position("f.sql", 20_000, 1)


def test_one_statement_of_several_megabytes() -> None:
    rows = ",".join(["(1,'set_configé')"] * 20_000)
    literal = "x" * 4_000_000
    script = f"INSERT INTO t VALUES {rows};\nSELECT '{literal}'"
    first, second = read(script)
    assert len(first.first.text) == len(rows) + len("INSERT INTO t VALUES ")
    assert second.first.position == Position("f.sql", 2, 1)


@pytest.mark.parametrize(
    ("offset", "line", "column", "shown"),
    [
        (0, 1, 1, "ab"),
        (2, 1, 3, "ab"),
        (3, 2, 1, "é"),
        (4, 2, 2, "é"),
        (5, 2, 3, "é"),
        (6, 3, 1, ""),
        (99, 3, 1, ""),
        (-5, 1, 1, "ab"),
    ],
)
def test_a_place_in_a_text(offset: int, line: int, column: int, shown: str) -> None:
    assert locate("ab\né\r\n", "f", offset) == (Position("f", line, column), shown)


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt("SELECT 1,\n\t 2") == "SELECT 1, 2"
    assert excerpt("x" * 61) == "x" * 59 + "…"
    assert excerpt("x" * 60) == "x" * 60
