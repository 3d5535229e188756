from __future__ import annotations

import io
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.pq import ExecStatus

from pgfan.ports import Result
from pgfan.postgres.embedded import ServerBinaries
from pgfan.report.rows import write_result

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

NUMERIC_OIDS = {20, 21, 23, 26, 700, 701, 790, 1700}

# What psql 18 prints, with -X, for the statement in the comment.
GOLDEN = [
    # SELECT 1 AS a, 'x' AS "long header", NULL AS n, 1.5 AS num
    (
        Result(
            "SELECT 1",
            ("a", "long header", "n", "num"),
            (True, False, False, True),
            [("1", "x", None, "1.5")],
        ),
        (
            " a | long header | n | num \n"
            "---+-------------+---+-----\n"
            " 1 | x           |   | 1.5\n"
            "(1 row)\n"
            "\n"
        ),
    ),
    # SELECT E'a\nbb\n' AS multi, E'tab\there' AS t, E'x\r\ny' AS cr, E'\x1b[31m' AS esc, 5 AS n
    (
        Result(
            "SELECT 1",
            ("multi", "t", "cr", "esc", "n"),
            (False, False, False, False, True),
            [("a\nbb\n", "tab\there", "x\r\ny", "\x1b[31m", "5")],
        ),
        (
            " multi |      t       | cr  |   esc    | n \n"
            "-------+--------------+-----+----------+---\n"
            " a    +| tab     here | x\\r+| \\x1B[31m | 5\n"
            " bb   +|              | y   |          | \n"
            "       |              |     |          | \n"
            "(1 row)\n"
            "\n"
        ),
    ),
    # SELECT 'é日本' AS "日本", E'\u0085\u009b' AS c1, E'e\u0301' AS comb, 1 AS "two\nlines",
    #        E'one\ntwo' AS last
    (
        Result(
            "SELECT 1",
            ("日本", "c1", "comb", "two\nlines", "last"),
            (False, False, False, True, False),
            [("é日本", "\x85\x9b", "e\u0301", "1", "one\ntwo")],
        ),
        (
            " 日本  |      c1      | comb |  two +| last \n"
            "       |              |      | lines |      \n"
            "-------+--------------+------+-------+------\n"
            " é日本 | \\u0085\\u009B | e\u0301    |     1 | one +\n"
            "       |              |      |       | two\n"
            "(1 row)\n"
            "\n"
        ),
    ),
    # SELECT 1 AS n, E'l1\n\nl3' AS b UNION ALL SELECT 2222, NULL
    (
        Result("SELECT 2", ("n", "b"), (True, False), [("1", "l1\n\nl3"), ("2222", None)]),
        "  n   | b  \n------+----\n    1 | l1+\n      |   +\n      | l3\n 2222 | \n(2 rows)\n\n",
    ),
    # SELECT 1 WHERE false
    (Result("SELECT 0", ("?column?",), (True,)), " ?column? \n----------\n(0 rows)\n\n"),
    # SELECT FROM generate_series(1, 3)
    (Result("SELECT 3", (), (), [(), (), ()]), "--\n(3 rows)\n\n"),
    # INSERT INTO q VALUES (1), (2) RETURNING a
    (
        Result("INSERT 0 2", ("a",), (True,), [("1",), ("2",)]),
        " a \n---\n 1\n 2\n(2 rows)\n\nINSERT 0 2\n",
    ),
    (Result("CREATE TABLE"), "CREATE TABLE\n"),
    (Result("UPDATE 2"), "UPDATE 2\n"),
    # An empty statement.
    (Result(""), ""),
]


def printed(result: Result) -> str:
    stream = io.StringIO()
    write_result(result, stream)
    return stream.getvalue()


@pytest.mark.parametrize(("result", "expected"), GOLDEN)
def test_a_result_reads_as_in_psql(result: Result, expected: str) -> None:
    assert printed(result) == expected


def test_columns_that_no_one_called_numeric_are_aligned_to_the_left() -> None:
    assert printed(Result("SELECT 1", ("num",), (), [("1",)])).splitlines()[2] == " 1"


def test_the_width_is_that_of_the_widest_value_wherever_it_is() -> None:
    rows = [("x",)] * 2_500 + [("wide value",)] + [("x",)] * 2_500
    lines = printed(Result("SELECT 5001", ("a",), (False,), rows)).splitlines()
    assert lines[1] == "-" * 12
    assert len(lines) == 5_005
    assert lines[-2] == "(5001 rows)"


LIVE = r"""
SELECT chr(i) AS c, i, repeat(chr(i), 3) AS more FROM generate_series(1, 2100) i;
SELECT i, i / 7.0 AS quotient, i::float8 / 3 AS f, NULL::int AS nothing, i::text AS t, i % 2 = 0 AS
 b FROM generate_series(-50, 50) i;
SELECT E'a\tb\nc\td' AS "a	b", ARRAY[1,2] AS "Größe", '日本語' AS x, '{"a": 1}'::jsonb, 2::oid;
CREATE TEMP TABLE t (a int, "b
c" text);
INSERT INTO t VALUES (1, E'x\n'), (22, NULL), (NULL, '') RETURNING *, a AS again;
UPDATE t SET a = 3;
DELETE FROM t RETURNING "b
c";
SELECT;
SELECT FROM t;
TRUNCATE t
"""


def as_result(answer: PGresult) -> Result:
    def value(row: int, column: int) -> str | None:
        raw = answer.get_value(row, column)
        return None if raw is None else raw.decode()

    columns = range(answer.nfields)
    has_rows = answer.status == ExecStatus.TUPLES_OK
    return Result(
        (answer.command_status or b"").decode(),
        tuple((answer.fname(i) or b"").decode() for i in columns) if has_rows else None,
        tuple(answer.ftype(i) in NUMERIC_OIDS for i in columns),
        [tuple(value(row, i) for i in columns) for row in range(answer.ntuples)],
    )


def test_a_live_server_s_results_read_as_in_psql(dsn18: str) -> None:
    psql = ServerBinaries.packaged().folder / "psql"
    theirs = subprocess.run(
        [psql, "-X", "-d", dsn18, "-f", "-"],
        input=LIVE + ";",
        capture_output=True,
        check=True,
        encoding="utf-8",
        env={"LC_ALL": "C.UTF-8", "PGCLIENTENCODING": "UTF8"},
    ).stdout
    ours = ""
    with psycopg.connect(dsn18, autocommit=True, client_encoding="utf8") as connection:
        for statement in LIVE.split(";\n"):
            ours += printed(as_result(connection.pgconn.exec_(statement.encode())))
    assert ours == theirs
