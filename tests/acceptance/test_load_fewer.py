"""`--skip-columns` through a real COPY: columns that the table lacks are left out of the files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pgfan import api
from pgfan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfan.execute.outcome import RunResult

HEADED = 'junk,id,"Note, long",name\n' + "".join(
    f'"a\n""{at}",{at},n{at},"x,\n{at}"\n' for at in range(300)
)
ROWS = [(at, f"x,\n{at}") for at in range(300)]


def load(dsn: str, *files: Path, **options: object) -> RunResult:
    """Load in small pieces, on three connections."""
    chosen = {"jobs": 3, "piece_bytes": 64, "chunk_rows": 20_000, **options}
    return api.load(dsn, list(files), "t", api.LoadOptions(**chosen))  # type: ignore[arg-type]


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id int, name text)")
        yield connection


def rows(connection: psycopg.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT * FROM t ORDER BY id").fetchall()


def test_files_of_every_kind_are_loaded_without_a_column(
    dsn: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(HEADED)
    (tmp_path / "b.csv").write_text("name,id\nwithout,1000\n")
    lines = [{"junk": at, "id": 2000 + at, "name": "j"} for at in range(3)]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = pa.table({"junk": ["x"], "id": pa.array([3000], pa.int32()), "name": ["p"]})
    pq.write_table(table, tmp_path / "d.parquet")
    result = load(dsn, tmp_path, skip_columns=("JUNK", "Note, long"))
    assert result.ok, result.error
    expected = [*ROWS, (1000, "without"), *((2000 + at, "j") for at in range(3)), (3000, "p")]
    assert rows(connection) == expected


def test_without_a_header_columns_names_all_of_the_file(
    dsn: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(HEADED.partition("\n")[2])
    named = ("junk", "id", "note", "name")
    assert load(dsn, tmp_path / "a.csv", columns=named, skip_columns=("junk", "note")).ok
    assert rows(connection) == ROWS


def test_bad_rows_are_rejected_with_their_place_and_short_ones_too(
    dsn: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(f'{HEADED}"j\n",bad,n,x\nj,7,n\nj,8,n,x,more\nj,9,n,x\n')
    reject = tmp_path / "bad.csv"
    skip = ("junk", "Note, long")
    result = load(dsn, tmp_path / "a.csv", skip_columns=skip, reject=reject)
    assert result.ok, result.error
    assert (result.tasks[0].rows, result.tasks[0].rejected) == (301, 3)
    assert sorted(rows(connection)) == sorted([*ROWS, (9, "x")])
    begin = HEADED.count("\n")
    text = reject.read_text()
    for line in (begin + 1, begin + 3, begin + 4):
        assert f"a.csv:{line}" in text


def test_a_name_that_no_file_has_is_refused(
    dsn: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(HEADED)
    with pytest.raises(UsageError, match="typo: no file has such a column"):
        load(dsn, tmp_path / "a.csv", skip_columns=("junk", "Note, long", "typo"))
    with pytest.raises(UsageError, match="has 4 columns, --columns 3"):
        load(dsn, tmp_path / "a.csv", columns=("x", "id", "name"), skip_columns=("x",))
    assert rows(connection) == []
