"""--create on a real server: the table that is made, and what happens when the sample was wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgfan import api
from pgfan.errors import UsageError
from pgfan.load.copy_options import CopyOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfan.execute.outcome import RunResult

COLUMNS = """SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attnum"""


class Heard:
    """A display that keeps what it was told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def emit(self, event: object) -> None:
        self.texts.append(getattr(event, "text", ""))


@pytest.fixture
def connection(dsn18: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn18, autocommit=True) as connection:
        yield connection


def load(
    dsn: str,
    paths: list[Path],
    heard: Heard | None = None,
    **own: Any,  # noqa: ANN401  # options
) -> RunResult:
    options = api.LoadOptions(create=True, jobs=2, **own)
    return api.load(dsn, paths, "t", options, progress=heard or Heard())


def test_the_table_is_made_printed_and_filled(
    dsn18: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        'Id,select,"a ""b""",,Id\n1,007,2024-01-01,true,\n70000,NA,2024-01-02,false,""\n'
    )
    heard = Heard()
    assert load(dsn18, [path], heard).ok
    assert any('CREATE TABLE "t" (\n    "Id" integer,' in text for text in heard.texts)
    assert connection.execute(COLUMNS).fetchall() == [
        ("Id", "integer"),
        ("select", "text"),
        ('a "b"', "date"),
        ("column_4", "boolean"),
        ("Id_2", "text"),
    ]
    assert connection.execute('SELECT "Id", "select", "Id_2" FROM t ORDER BY 1').fetchall() == [
        (1, "007", None),
        (70000, "NA", ""),
    ]
    assert load(dsn18, [path], heard, restart=True).ok  # it is there now
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (4,)


def test_columns_in_another_order_are_matched_by_their_names(
    dsn18: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("n, day \n1,2024-01-01\n")
    (tmp_path / "b.csv").write_text("day,n\n2024-01-02,2\n")
    assert load(dsn18, [tmp_path]).ok
    found = connection.execute("SELECT n, day::text FROM t ORDER BY n").fetchall()
    assert found == [(1, "2024-01-01"), (2, "2024-01-02")]


def test_a_value_that_the_sample_lacked_names_the_type_that_takes_it(
    dsn18: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    lines = ["n", *(["1"] * 40_000), "70000", *(["2"] * 40_000)]
    path.write_text("\n".join(lines) + "\n")
    failed = load(dsn18, [path], piece_bytes=1000)
    assert failed.error is not None
    assert failed.error.message.startswith(f"{path}:40002, column n: '70000'")
    assert failed.error.hint is not None
    ddl, _, rest = failed.error.hint.partition(": ")[2].partition(", then ")
    assert ddl == 'ALTER TABLE "public"."t" ALTER COLUMN "n" TYPE integer'
    assert rest == "run the same command again"
    connection.execute(ddl.encode())
    assert load(dsn18, [path], piece_bytes=1000).ok
    assert connection.execute("SELECT count(*), sum(n) FROM t").fetchone() == (80_001, 190_000)


def test_a_first_line_that_may_be_either_is_asked_about(
    dsn18: str, connection: psycopg.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Smith,John\nDoe,Jane\n")
    with pytest.raises(UsageError, match="names or a row") as caught:
        load(dsn18, [path])
    assert caught.value.hint == "say --header or --no-header"
    assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
    assert load(dsn18, [path], copy=CopyOptions(header=False)).ok
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_files_that_fit_no_one_table_are_refused(dsn18: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,v\n1,1\n")
    (tmp_path / "b.csv").write_text("n,w\n1,1\n")
    with pytest.raises(UsageError, match=r"a\.csv has the columns n, v; .*b\.csv has n, w"):
        load(dsn18, [tmp_path])
