"""What `pgfan verify` prints, where, and the code that it ends with."""

from __future__ import annotations

import json

import psycopg
import pytest
from pgfan_command import pgfan_here

from pgfan.plan.task import SplitPlan

INSERT = "INSERT INTO t SELECT g FROM generate_series(1, 300) g"


@pytest.fixture
def made(dsn18: str) -> str:
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (i int); CREATE TABLE n (i serial, x text)")
    return dsn18


def test_equal(capsys: pytest.CaptureFixture[str], made: str) -> None:
    ended = pgfan_here(capsys, "verify", "-d", made, "--jobs", "2", "-c", INSERT)
    expected = "-c:1  insert: equal, 300 rows, 50 chunks by series\n"
    assert (ended.code, ended.out, ended.err) == (0, expected, "")


def test_the_size_of_chunks(capsys: pytest.CaptureFixture[str], made: str) -> None:
    ended = pgfan_here(capsys, "verify", "-d", made, "--chunk-rows", "100", "-c", INSERT)
    assert "3 chunks by series" in ended.out


def test_a_difference(
    capsys: pytest.CaptureFixture[str], made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = SplitPlan.statement
    monkeypatch.setattr(
        SplitPlan,
        "statement",
        lambda plan, piece: sound(plan, piece) + (" WHERE g > 2" if piece.lo == 0 else ""),
    )
    ended = pgfan_here(capsys, "verify", "-d", made, "--jobs", "2", "-c", INSERT)
    assert ended.code == 1
    assert ended.out == (
        "-c:1  insert: differs, 300 rows serial, 298 rows split, 50 chunks by series\n"
        "    only in the serial run: 2 rows\n        1 x (1)\n        1 x (2)\n"
    )


def test_what_is_not_compared_is_said(capsys: pytest.CaptureFixture[str], made: str) -> None:
    sql = "INSERT INTO n (x) SELECT random()::text FROM generate_series(1, 9); UPDATE t SET i = i"
    ended = pgfan_here(capsys, "verify", "-d", made, "-c", f"{sql}; SELECT 1")
    assert ended.code == 0
    assert "column i left out, not comparable: nextval() in its default\n" in ended.out
    assert "column x left out, not comparable: random()\n" in ended.out
    assert "only the numbers of rows are\n" in ended.out
    assert "select: not verified\n    it writes no rows\n" in ended.out


def test_failures(capsys: pytest.CaptureFixture[str], made: str) -> None:
    ended = pgfan_here(capsys, "verify", "-d", made, "-c", "INSERT INTO t SELECT i FROM nowhere")
    assert ended.code == 1
    assert ended.out == "-c:1  insert: failed\n"
    assert 'relation "nowhere" does not exist' in ended.err
    assert "-c:1:29" in ended.err
    assert "statements before it are not run" not in ended.err
    sql = "CREATE TABLE nowhere (i int); INSERT INTO t SELECT i FROM nowhere"
    ended = pgfan_here(capsys, "verify", "-d", made, "-c", sql)
    assert "-c:1:59" in ended.err
    assert "statements before it are not run" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ("-c", "SELEC 1"),
        ("-c", INSERT, "--jobs", "0"),
        ("-c", INSERT, "--chunk-rows", "0"),
        ("-x",),
    ],
)
def test_usage(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    ended = pgfan_here(capsys, "verify", "-d", "host=/nonexistent", *words)
    assert (ended.code, ended.out) == (2, "")


def test_json(capsys: pytest.CaptureFixture[str], made: str) -> None:
    ended = pgfan_here(capsys, "verify", "-d", made, "--json", "-c", f"{INSERT}; SELECT 1")
    assert (ended.code, ended.out.count("\n")) == (0, 1)
    value = json.loads(ended.out)
    assert (value["schema"], value["ok"]) == (1, True)
    first, second = value["statements"]
    assert (first["state"], first["rows_serial"], first["rows_split"]) == ("equal", 300, 300)
    assert (first["only_serial"], first["left_out"]) == ({"total": 0, "shown": []}, {})
    assert (second["state"], second["notes"]) == ("not verified", ["it writes no rows"])
