"""Geographic files into PostGIS, which Debian's PostgreSQL 15 has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa
import pytest
from conftest import fresh_database
from pyogrio.raw import read_arrow, write_arrow

from pgfan import api
from pgfan.errors import UsageError
from pgfan.load.layers import LayerBatches
from pgfan.load.sources import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pgfan.postgres.embedded import EmbeddedServer

FEATURES = 7
ROWS = "SELECT n, s, ST_AsText({0}), ST_SRID({0}) FROM t ORDER BY n"
EXPECTED = [
    (n, "é" if n else "", f"POINT({n} 2.5)" if n else None, 4326 if n else None)
    for n in range(FEATURES)
]


@pytest.fixture
def geojson(tmp_path: Path) -> Path:
    features = [
        {
            "type": "Feature",
            "properties": {"n": n, "s": "é" if n else ""},
            "geometry": {"type": "Point", "coordinates": [n, 2.5]} if n else None,
        }
        for n in range(FEATURES)
    ]
    path = tmp_path / "points.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture(scope="module")
def _postgis(server15: EmbeddedServer) -> Iterator[str]:
    """Making the extension takes two seconds: once."""
    with fresh_database(server15) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION postgis")
        yield dsn


@pytest.fixture
def postgis(_postgis: str) -> str:
    """A database with PostGIS and without the table."""
    with psycopg.connect(_postgis, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS t")
    return _postgis


def convert(geojson: Path, name: str, driver: str) -> Path:
    meta, table = read_arrow(geojson)
    path = geojson.with_name(name)
    options = {"geometry_name": "wkb_geometry", "geometry_type": "Point", "crs": meta["crs"]}
    write_arrow(table, path, driver=driver, **options)
    return path


def load(dsn: str, path: Path, **options: object) -> list[tuple[object, ...]]:
    made = api.LoadOptions(jobs=2, **options)  # type: ignore[arg-type]
    result = api.load(dsn, [path], "t", made)
    assert result.ok, result.error
    with psycopg.connect(dsn) as connection:
        names = [c.name for c in connection.execute("SELECT * FROM t").description or ()]
        geometry = "geom" if "geom" in names else "geometry"
        return connection.execute(ROWS.format(geometry).encode()).fetchall()


@pytest.mark.parametrize(
    ("name", "driver"),
    [("points.geojson", None), ("points.gpkg", "GPKG"), ("points.shp", "ESRI Shapefile")],
)
def test_features_become_rows_with_their_reference_system(
    postgis: str, geojson: Path, name: str, driver: str | None
) -> None:
    path = convert(geojson, name, driver) if driver else geojson
    rows = load(postgis, path, create=True)
    assert [(n, s or "", *rest) for n, s, *rest in rows] == EXPECTED


def test_a_column_of_one_reference_system_takes_them(postgis: str, geojson: Path) -> None:
    with psycopg.connect(postgis, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (geometry geometry(Point, 4326), s text, n bigint)")
    assert load(postgis, geojson) == EXPECTED


def test_layers_are_cut_into_pieces_where_features_are_found_by_number(geojson: Path) -> None:
    path = str(convert(geojson, "points.gpkg", "GPKG"))
    layer = LayerBatches(path, None, piece_features=3)
    numbers = [[row["n"] for b in layer.read(k, k + 1) for row in b.to_pylist()] for k in range(3)]
    assert layer.pieces == 3
    assert numbers == [[0, 1, 2], [3, 4, 5], [6]]
    assert LayerBatches(str(geojson), None, piece_features=3).pieces == 1


def test_topojson_is_read(tmp_path: Path) -> None:
    point = {"type": "Point", "coordinates": [1, 2], "properties": {"k": 1}}
    objects = {"places": {"type": "GeometryCollection", "geometries": [point]}}
    path = tmp_path / "a.topojson"
    path.write_text(json.dumps({"type": "Topology", "objects": objects, "arcs": []}))
    layer = LayerBatches(str(path), "places")
    assert pa.Table.from_batches(layer.read(0, 1)).to_pylist()[0]["k"] == 1
    with pytest.raises(UsageError, match="no layer x: it has places"):
        LayerBatches(str(path), "x")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_text("nothing")
    with pytest.raises(FileError, match=r"a\.gpkg"):
        LayerBatches(str(tmp_path / "a.gpkg"), None)
