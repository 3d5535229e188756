"""Rows to files and back, on a real server: the same rows, in files of one snapshot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import psycopg
import pyarrow.parquet as pq
import pytest

from pgfan import api
from pgfan.errors import DatabaseError, UsageError
from pgfan.load.sources import FileError
from pgfan.plan.ranges import Range
from pgfan.postgres.unloading import query_of
from pgfan.unload.folder import Folder
from pgfan.unload.rows import OutputColumn, RowFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfan.execute.outcome import RunResult

ROWS = """
CREATE TABLE t AS SELECT i, i::numeric(12, 2) / 4 AS n, (i * 0.37)::numeric(9, 2) AS d,
    now() - i * interval '1 h' AS at, date '2024-01-01' + i % 400 AS day,
    decode(md5(i::text), 'hex') AS raw, i % 2 = 0 AS flag, i / 3.0::float8 AS f,
    CASE i % 4 WHEN 0 THEN '' WHEN 1 THEN E'a\"\\n,\\\\.' WHEN 2 THEN 'é' END AS "t 'x",
    CASE WHEN i % 5 > 0 THEN ARRAY[i, NULL] END AS list, jsonb_build_object('k', i) AS j,
    interval '1 day' * i AS span, time '10:00' + i * interval '1 ms' AS clock
FROM generate_series(1, 3000) AS i;
ANALYZE t"""


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(ROWS)
        yield connection


def unload(
    dsn: str,
    what: str,
    out: Path,
    **own: Any,  # noqa: ANN401  # options
) -> tuple[RunResult, dict[str, Any], list[Path]]:
    made = api.UnloadOptions(split="always", chunk_rows=500, jobs=2, **own)
    result = api.unload(dsn, what, out, made)
    manifest = out / "manifest.json"
    told = json.loads(manifest.read_text()) if manifest.exists() else {}
    return result, told, sorted(out.glob("part-*"))


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_what_is_unloaded_loads_as_the_same_rows(
    dsn: str, connection: psycopg.Connection, tmp_path: Path, format_: Literal["csv", "parquet"]
) -> None:
    result, told, files = unload(dsn, "t", tmp_path / "out", format=format_)
    assert result.ok
    assert told["rows"] == 3000
    assert len(files) > 2
    connection.execute("CREATE TABLE back (LIKE t)")
    options = api.LoadOptions(jobs=2)
    assert api.load(dsn, [str(tmp_path / "out" / "part-*")], "back", options).ok
    missing = "SELECT count(*) FROM (TABLE t EXCEPT ALL TABLE back) AS x"
    assert connection.execute(f"SELECT ({missing}), (SELECT count(*) FROM back)").fetchone() == (
        0,
        3000,
    )
    made = api.LoadOptions(jobs=2, create=True)
    assert api.load(dsn, [str(tmp_path / "out" / "part-*")], "made", made).ok
    same = """SELECT count(*) FROM (SELECT i, d, at, day, raw::text, flag, "t 'x" FROM t
        EXCEPT ALL SELECT i, d, at, day, raw::text, flag, "t 'x" FROM made) AS x"""
    assert connection.execute(same).fetchone() == (0,)


def test_an_ordered_query_is_one_file_in_its_order(
    dsn: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    del connection
    query = "SELECT i FROM t WHERE i < 5 ORDER BY i DESC -- the last first"
    result, told, files = unload(dsn, query, tmp_path / "out", header=False)
    assert [file.read_text() for file in files] == ["4\n3\n2\n1\n"]
    assert result.tasks[0].reasons[0][0] == "row-order"
    assert told["columns"] == [{"name": "i", "type": "integer"}]


@pytest.mark.parametrize(
    "query",
    [
        "WITH x AS (SELECT i FROM t) SELECT i FROM x",
        "SELECT i FROM t UNION ALL SELECT i FROM t",
        "SELECT day, count(*) FROM t GROUP BY day",
        "SELECT i, i FROM t",
        "VALUES (1, 'a'), (2, NULL)",
    ],
)
def test_the_rows_of_any_query_are_all_there_once(dsn18: str, tmp_path: Path, query: str) -> None:
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute(ROWS)
        expected = sorted(connection.execute(query).fetchall(), key=repr)
        result, told, files = unload(dsn18, query, tmp_path / "out", header=False)
        assert result.ok
        types = ", ".join(f"c{n} {c['type']}" for n, c in enumerate(told["columns"]))
        connection.execute(f"CREATE TABLE back ({types})".encode())
        for file in files:
            with connection.cursor().copy("COPY back FROM STDIN (FORMAT csv)") as copy:
                copy.write(file.read_bytes())
        assert sorted(connection.execute("TABLE back").fetchall(), key=repr) == expected


def test_an_error_leaves_no_manifest_and_no_part_of_a_file(dsn18: str, tmp_path: Path) -> None:
    query = "SELECT 1 / (i - 2500) FROM generate_series(1, 3000) AS i"
    result, told, files = unload(dsn18, query, tmp_path / "out")
    assert not result.ok
    assert told == {}
    assert all(file.suffix == ".csv" for file in files)
    with pytest.raises(DatabaseError) as caught:
        unload(dsn18, "SELECT x FROM pg_class", tmp_path / "other")
    assert str(caught.value.position) == "-c:1:8"
    assert not (tmp_path / "other").exists()


def test_what_parquet_cannot_hold_is_refused_with_its_column(dsn18: str, tmp_path: Path) -> None:
    query = "SELECT 1 AS a, 'infinity'::date AS b"
    result, _, files = unload(dsn18, query, tmp_path / "out", format="parquet")
    assert isinstance(result.error, FileError)
    assert "column b" in result.error.message
    assert files == []


@pytest.mark.parametrize("value", ["NULL", "''", "'\\n'", "','"])
def test_a_row_of_one_value_is_a_row_whatever_the_value(
    dsn18: str, tmp_path: Path, value: str
) -> None:
    query = f"SELECT {value} AS a FROM generate_series(1, 3)"
    result, told, files = unload(dsn18, query, tmp_path / "out", format="parquet")
    assert result.ok
    assert told["rows"] == 3
    values = [row["a"] for file in files for row in pq.read_table(file).to_pylist()]
    assert values == [None if value == "NULL" else value[1:-1]] * 3


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path, RowFormat("csv", (OutputColumn("a", "integer"),)))
    (tmp_path / "part-0.csv").write_text("1\n")
    with pytest.raises(UsageError, match="is not empty"):
        folder.clear(overwrite=False)
    (tmp_path / "mine.csv").write_text("1\n")
    with pytest.raises(UsageError, match=r"mine\.csv, which no unload wrote"):
        folder.clear(overwrite=True)
    (tmp_path / "mine.csv").unlink()
    folder.clear(overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_a_chunk_that_fails_leaves_no_file_and_may_come_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path, RowFormat("csv", (OutputColumn("a", "integer"),)))
    folder.expect(100)

    def broken(take: Callable[[bytes], None]) -> int:
        take(b"1\n")
        raise DatabaseError("deadlock", sqlstate="40P01")

    def whole(take: Callable[[bytes], None]) -> int:
        take(b"1\n")
        take(b"2\n")
        return 2

    with pytest.raises(DatabaseError):
        folder.write(Range(5, 9), broken)
    assert list(tmp_path.iterdir()) == []
    assert folder.write(Range(5, 9), whole) == 2
    folder.finish()
    assert (tmp_path / "part-05.csv").read_text() == "1\n2\n"
    assert json.loads((tmp_path / "manifest.json").read_text())["files"] == [
        {"file": "part-05.csv", "rows": 2, "bytes": 4}
    ]


@pytest.mark.parametrize(
    "text", ["INSERT INTO t VALUES (1)", "SELECT 1 INTO x", "SELECT 1; SELECT 2", ""]
)
def test_what_is_no_query_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        query_of(text)


def test_a_name_stands_for_all_rows_of_a_table() -> None:
    assert query_of('"My Schema".t') == 'SELECT * FROM "My Schema".t'
