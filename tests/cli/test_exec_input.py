"""What `pgfan exec` is given: SQL, files, options, variables; and what it says of bad input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from pgfan_command import pgfan, pgfan_here

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "host=/nonexistent"
"""Input is checked before anybody connects."""


def tables(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchone()
    assert row is not None
    return int(row[0])


BAD_SQL = {
    "syntax error": (
        "SELECT 1;\nSELECT * FROMM x",
        [
            'error: -c:2:10: syntax error at or near "FROMM"',
            "   2 | SELECT * FROMM x",
            "     |          ^",
            "SQLSTATE 42601",
        ],
    ),
    "wide characters before it": (
        "SELECT '名前' AS é, nonsense nonsense nonsense",
        ["error: -c:1:37:", "   1 | SELECT '名前' AS é, nonsense nonsense nonsense"],
    ),
    "unterminated string": ("SELECT 'a\nb", ["error: -c:1:8: unterminated quoted string"]),
    "unterminated comment": ("SELECT 1; /* /* */", ["unterminated /* comment"]),
    "nothing": ("", ["error: -c holds no SQL statement"]),
    "only comments": ("-- nothing\n/* here */ ;;", ["error: -c holds no SQL statement"]),
    "meta-command": ("SELECT 1;\n\\d x", ["error: -c:2:1:", "meta-commands"]),
    "variable that is not set": ("SELECT :x", ["error: -c:1:8:", "--set NAME=VALUE"]),
    "SET ROLE": ("SELECT 1; SET ROLE x", ["error: -c:1:11:", "SET ROLE", "connect as that role"]),
    "COPY from the client": ("COPY t FROM STDIN", ["error: -c:1:1:", "\\copy"]),
    "COMMIT alone": ("SELECT 1;\n COMMIT", ["error: -c:2:2: COMMIT without BEGIN"]),
    "BEGIN alone": ("BEGIN; SELECT 1", ["error: -c:1:1:", "end it with COMMIT"]),
    "two-phase": ("BEGIN; PREPARE TRANSACTION 'x'", ["two-phase"]),
    "AND CHAIN": ("BEGIN; COMMIT AND CHAIN", ["AND CHAIN"]),
}


@pytest.mark.parametrize(("sql", "said"), BAD_SQL.values(), ids=list(BAD_SQL))
def test_bad_sql_is_placed_and_nothing_is_run(
    capsys: pytest.CaptureFixture[str], sql: str, said: list[str]
) -> None:
    ended = pgfan_here(capsys, "exec", "-d", NOWHERE, "-c", sql)
    assert (ended.code, ended.out) == (2, "")
    for words in said:
        assert words in ended.err
    assert "Traceback" not in ended.err


def test_control_characters_of_the_sql_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended = pgfan_here(
        capsys, "exec", "-d", NOWHERE, "-c", "SELECT \x1b[31m\x07 [red]x[/red] FROMM"
    )
    assert ended.code == 2
    assert "\x1b" not in ended.err
    assert "\x07" not in ended.err
    assert "[red]" in ended.err


BAD_OPTIONS = {
    "no jobs": (["--jobs", "0"], "--jobs 0"),
    "negative jobs": (["--jobs", "-3"], "--jobs -3"),
    "jobs in words": (["--jobs", "abc"], "'abc'"),
    "too many jobs": (["--jobs", "20000"], "from 1 to 10000"),
    "half a job": (["--jobs", "1.5"], "'1.5'"),
    "no seconds": (["--chunk-seconds", "0"], "--chunk-seconds"),
    "endless seconds": (["--chunk-seconds", "inf"], "--chunk-seconds"),
    "seconds that are none": (["--chunk-seconds", "nan"], "--chunk-seconds"),
    "no rows": (["--chunk-rows", "0"], "--chunk-rows"),
    "rows with a unit": (["--chunk-rows", "10 GB"], "10 GB"),
    "a key that is none": (["--by", "province municipality *"], "--by province"),
    "an unknown choice": (["--split", "sometimes"], "sometimes"),
    "an unknown option": (["--jbos", "2"], "Did you mean --jobs?"),
    "a stray word": (["stray"], "stray"),
    "a nameless variable": (["--set", "=1"], "NAME=VALUE"),
    "no value": (["--set", "x"], "NAME=VALUE"),
    "a strange name": (["--set", "a-b=1"], "NAME=VALUE"),
    "an unreadable connection string": (["-d", "host=/x nonsense"], "unreadable connection string"),
}


@pytest.mark.parametrize(("options", "said"), BAD_OPTIONS.values(), ids=list(BAD_OPTIONS))
def test_bad_options(capsys: pytest.CaptureFixture[str], options: list[str], said: str) -> None:
    where = [] if "-d" in options else ["-d", NOWHERE]
    ended = pgfan_here(capsys, "exec", "-c", "SELECT 1", *where, *options)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err


def test_an_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    ended = pgfan_here(capsys, "exce")
    assert (ended.code, ended.out) == (2, "")
    assert "exec" in ended.err


BAD_FILES = {
    "empty": (b"", "bad.sql holds no SQL statement"),
    "Latin 1": (b"SELECT 1;\nSELECT 'caf\xe9'", "bad.sql:2:12: byte 0xe9 is not UTF-8"),
    "UTF-16": ("SELECT 1".encode("utf-16"), "bad.sql:1:1: byte 0xff is not UTF-8"),
    "NUL": (b"SELECT 1;\n\nSELECT '\0'", "bad.sql:3:9: NUL byte"),
    "a surrogate": (b"SELECT '\xed\xa0\x80'", "bad.sql:1:9: byte 0xed is not UTF-8"),
}


@pytest.mark.parametrize(("content", "said"), BAD_FILES.values(), ids=list(BAD_FILES))
def test_a_bad_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / "bad.sql").write_bytes(content)
    ended = pgfan_here(capsys, "exec", "-d", NOWHERE, "-f", tmp_path / "bad.sql")
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


@pytest.mark.parametrize("name", ["missing.sql", "."])
def test_a_file_that_cannot_be_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    ended = pgfan_here(capsys, "exec", "-d", NOWHERE, "-f", tmp_path / name)
    assert ended.code == 2
    assert ended.err.startswith(f"error: cannot read {tmp_path / name}: ")


def test_a_bad_file_among_good_ones_runs_nothing(
    capsys: pytest.CaptureFixture[str], dsn18: str, tmp_path: Path
) -> None:
    (tmp_path / "good.sql").write_text("CREATE TABLE t (i int)")
    (tmp_path / "bad.sql").write_text("CREATE TABLE")
    ended = pgfan_here(
        capsys, "exec", "-d", dsn18, "-f", tmp_path / "good.sql", "-f", tmp_path / "bad.sql"
    )
    assert ended.code == 2
    assert "bad.sql:1:13: syntax error at end of input" in ended.err
    assert tables(dsn18) == 0


FILES = {
    "BOM": b"\xef\xbb\xbfSELECT 1 AS one",
    "CRLF": b"SELECT\r\n1 AS\r\none;\r\n",
    "lone CR": b"-- one\rSELECT\r1 AS one;\r",
    "no newline": b"SELECT 1 AS one -- end",
    "dollar quotes": b"DO $a$ BEGIN PERFORM ';'; END $a$; SELECT 1 AS one;",
    "nested comments": b"/* /* ; */ ; */ SELECT 1 AS one /* ; */;",
    "BEGIN ATOMIC": (
        b"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 2; SELECT 1; END; SELECT f() AS one"
    ),
}


@pytest.mark.parametrize("content", FILES.values(), ids=list(FILES))
def test_a_good_file(
    capsys: pytest.CaptureFixture[str], dsn18: str, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "good.sql").write_bytes(content)
    ended = pgfan_here(capsys, "exec", "-d", dsn18, "-q", "-f", tmp_path / "good.sql")
    assert (ended.code, ended.out) == (0, " one \n-----\n   1\n(1 row)\n\n"), ended.err


def values(out: str) -> list[str]:
    """The values of results with one row and one column each."""
    return out.splitlines()[2::5]


def test_commands_files_and_standard_input(dsn18: str, tmp_path: Path) -> None:
    """Those of -c come first, then those of -f, each in its order."""
    two = tmp_path / "two.sql"
    two.write_text("SELECT 2")
    given = ("-f", str(two), "-c", "SELECT 1", "-f", "-", "-c", "SELECT 9")
    ended = pgfan("exec", "-q", "-d", dsn18, *given, typed=b"SELECT 3")
    assert (ended.code, ended.err) == (0, "")
    assert [value.strip() for value in values(ended.out)] == ["1", "9", "2", "3"]


def test_standard_input_alone(dsn18: str) -> None:
    ended = pgfan("exec", "-q", "-d", dsn18, typed=b"SELECT 3")
    assert (ended.code, [value.strip() for value in values(ended.out)]) == (0, ["3"])
    empty = pgfan("exec", "-d", dsn18)
    assert (empty.code, "<stdin> holds no SQL statement" in empty.err) == (2, True)


def test_variables(dsn18: str) -> None:
    hostile = "x'; DROP TABLE t; --\\"
    sql = b"SELECT :'v' AS a, :n + 1 AS b, 1 AS :\"q\", ':n' AS e, $$:n$$ AS f, '5'::int -- :n"
    sets = ("--set", f"v={hostile}", "--set", "n=41", "--set", 'q=a"b')
    ended = pgfan("exec", "-q", "-d", dsn18, *sets, typed=sql)
    assert ended.code == 0, ended.err
    header, _, row, *_ = ended.out.splitlines()
    assert [cell.strip() for cell in header.split("|")] == ["a", "b", 'a"b', "e", "f", "int4"]
    assert [cell.strip() for cell in row.split("|")] == [hostile, "42", "1", ":n", ":n", "5"]


def test_an_unknown_table(capsys: pytest.CaptureFixture[str], dsn18: str) -> None:
    ended = pgfan_here(
        capsys, "exec", "-d", dsn18, "-c", "SELECT 1;\nINSERT INTO t SELECT *\n  FROM nowhere"
    )
    assert ended.code == 1
    lines = ended.err.splitlines()
    assert 'error: -c:2:13: relation "t" does not exist' in lines
    assert "   2 | INSERT INTO t SELECT *" in lines
    assert "SQLSTATE 42P01" in lines


def test_a_runtime_error_has_detail_and_hint(
    capsys: pytest.CaptureFixture[str], dsn18: str
) -> None:
    sql = (
        "CREATE TABLE t (i int CHECK (i < 5)); INSERT INTO t SELECT g FROM generate_series(1, 9) g"
    )
    # One worker: of two, the second might meet its row first.
    ended = pgfan_here(capsys, "exec", "-d", dsn18, "--split", "always", "--jobs", "1", "-c", sql)
    assert ended.code == 1
    assert 'violates check constraint "t_i_check"' in ended.err
    assert "DETAIL: Failing row contains (5)." in ended.err
    assert "SQLSTATE 23514" in ended.err


def test_a_large_statement(dsn18: str) -> None:
    values = ", ".join(f"({number}, 'value {number}')" for number in range(60_000))
    sql = f"CREATE TABLE t (i int, t text); INSERT INTO t VALUES {values}; SELECT count(*) FROM t"
    ended = pgfan("exec", "-q", "-d", dsn18, typed=sql.encode())
    assert (ended.code, ended.out.split()[2]) == (0, "60000"), ended.err[:2000]
