"""`pgfan load` as it is typed: options, what is printed, exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest
from pgfan_command import pgfan_here

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def table(dsn18: str) -> str:
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute('CREATE TABLE "T" (id int, "a,b" text)')
    return dsn18


def test_options_of_copy_reach_it(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.dat"
    path.write_bytes("1\t'x\ty'\n2\tNA\n3\té\n".encode("latin-1"))
    words = ["--format", "csv", "--delimiter", "\\t", "--quote", "'", "--null", "NA"]
    ended = pgfan_here(
        capsys, "load", path, "--into", '"T"', *words, "--encoding", "LATIN1", "--json", "-d", table
    )
    assert ended.code == 0, ended.err
    (task,) = json.loads(ended.out)["tasks"]
    assert (task["kind"], task["state"], task["rows"]) == ("load", "done", 3)
    with psycopg.connect(table) as connection:
        found = connection.execute('SELECT * FROM "T" ORDER BY id').fetchall()
    assert found == [(1, "x\ty"), (2, None), (3, "é")]


def test_a_bad_row_ends_with_1_and_its_place(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1,a\nx,b\n")
    ended = pgfan_here(capsys, "load", path, "--into", '"T"', "-d", table)
    assert ended.code == 1
    assert "data.csv:2, column id: 'x'" in ended.err
    assert "--reject FILE" in ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--into", "none"], "there is no table none"),
        (["--into", '"T"', "--max-rejects", "3"], "goes with --reject"),
        (["--into", '"T"', "--delimiter", "ab"], "a single one-byte character"),
        (["--into", '"T"', "--encoding", "EBCDIC-XY"], "no such encoding"),
        (["--into", '"T"', "--columns", "id,more"], "no such column"),
        (["--into", '"T"', "--jobs", "0"], "from 1 to"),
    ],
)
def test_what_makes_no_sense_ends_with_2_and_leaves_no_journal(
    table: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1,a\n")
    ended = pgfan_here(capsys, "load", path, *words, "-d", table)
    assert ended.code == 2
    assert message in ended.err
    with psycopg.connect(table) as connection:
        assert connection.execute("SELECT to_regclass('pgfan.run')").fetchall() == [(None,)]
