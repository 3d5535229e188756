"""Statements divided by cells of space, against one connection, row by row.

PostGIS is Debian's, on PostgreSQL 15; earthdistance is on both servers. Their extensions are in a
schema of their own, which stays from test to test: making them takes a second.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo
from side_by_side import Case, both_ways, execute, execute_alone, pgfan, split_both_ways, value

if TYPE_CHECKING:
    from pgfan.postgres.embedded import EmbeddedServer

EARTH = """
CREATE SCHEMA gis;
SET search_path = gis, public;
CREATE EXTENSION cube SCHEMA gis;
CREATE EXTENSION earthdistance SCHEMA gis"""
FRESH = """
SET client_min_messages = warning;
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
DROP SCHEMA IF EXISTS pgfan CASCADE"""
HERE = "SET search_path = public, gis; "
BY_INDEX = HERE + "SET enable_seqscan = off; "


@cache
def make_database(dsn: str) -> str:
    """With what the server has of the extensions; the names of those."""
    execute_alone(dsn, "CREATE DATABASE cells")
    cells = make_conninfo(dsn, dbname="cells")
    execute_alone(cells, EARTH)
    found = value(cells, "SELECT count(*) FROM pg_available_extensions WHERE name = 'postgis'")
    if found:
        execute_alone(cells, "CREATE EXTENSION postgis SCHEMA gis")
    return cells


@pytest.fixture
def dsn(server: EmbeddedServer) -> str:
    """A database with earthdistance in schema gis, and nothing else."""
    cells = make_database(server.dsn)
    execute_alone(cells, FRESH)
    return cells


@pytest.fixture
def postgis(server15: EmbeddedServer) -> str:
    """The same on PostgreSQL 15, with PostGIS in that schema as well."""
    cells = make_database(server15.dsn)
    if not value(cells, "SELECT count(*) FROM pg_extension WHERE extname = 'postgis'"):
        missing = "PostGIS is missing: install the package postgresql-15-postgis-3"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    execute_alone(cells, FRESH)
    return cells


ODD = """
CREATE TABLE p AS SELECT g AS i, CASE g % 20
    WHEN 0 THEN NULL
    WHEN 1 THEN 'POINT EMPTY'
    WHEN 2 THEN 'POLYGON EMPTY'
    WHEN 3 THEN st_makepoint('NaN', g % 7)
    WHEN 4 THEN st_makepoint(g % 7, 'Infinity')
    WHEN 5 THEN st_makepoint('-Infinity', g % 7)
    WHEN 6 THEN st_makeline(st_makepoint('NaN', 3), st_makepoint(g % 40, g % 31))
    WHEN 7 THEN st_makeline(st_makepoint(g % 40, g % 31), st_makepoint('NaN', 3))
    WHEN 8 THEN st_makepoint(1e300, g % 31)
    WHEN 9 THEN st_setsrid(st_makepoint(g % 40, g % 31), 4326)
    WHEN 10 THEN st_buffer(st_makepoint(g % 40, g % 31), 1 + g % 3)
    WHEN 11 THEN st_makepoint(5, 5)
    WHEN 12 THEN st_makepoint(g % 40, g % 31, g)
    WHEN 13 THEN st_collect(st_makepoint(g % 40, g % 31), 'POINT EMPTY')
    WHEN 14 THEN st_makeline(st_makepoint(g % 40, 0.1), st_makepoint(g % 40, 'Infinity'))
    ELSE st_makepoint(g % 40 + 0.1, g % 31 + 1e-9) END::geometry AS geom
FROM generate_series(1, 1500) g"""
SETUP = (
    HERE + ODD,
    HERE + "CREATE INDEX ON p USING gist (geom)",
    HERE + "CREATE TABLE m AS SELECT g AS k, st_buffer(st_makepoint(g % 40, g % 31), 2) AS area "
    "FROM generate_series(1, 60) g",
    HERE + "CREATE INDEX ON m USING gist (area)",
    "ANALYZE",
)
GEOMETRY = {
    "all rows": "SELECT i, geom FROM p",
    "a join": "SELECT p.i, m.area FROM p JOIN m ON st_intersects(p.geom, m.area) "
    "WHERE st_srid(p.geom) = 0 AND p.i % 20 NOT IN (3, 4, 5, 6, 7, 8, 14)",
    "a join by index": "SELECT p.i, p.geom FROM m JOIN p ON p.geom && m.area",
    "an outer join": "SELECT p.i, m.area FROM p LEFT JOIN m ON m.k = p.i",
    "a subquery": "SELECT i, g FROM (SELECT p.i, p.geom AS g FROM p WHERE i % 3 > 0) s",
    "no such place": "SELECT i, geom FROM p WHERE geom ~= 'POINT(400 400)'",
}


@pytest.mark.parametrize("select", GEOMETRY.values(), ids=list(GEOMETRY))
def test_geometry(postgis: str, select: str) -> None:
    script = BY_INDEX + "INSERT INTO {target} " + select
    case = Case(script, "i int, geom gis.geometry", SETUP)
    outcome = split_both_ways(postgis, case, by="geom", chunk_rows=100)
    assert outcome.last.key == "geom"


def test_geometry_without_its_index(postgis: str) -> None:
    case = Case(
        HERE + "INSERT INTO {target} SELECT i, geom FROM p",
        "i int, geom gis.geometry",
        (*SETUP, "DROP INDEX p_geom_idx"),
    )
    assert split_both_ways(postgis, case, by="geom", chunk_rows=300).last.key == "geom"


def test_the_extension_need_not_be_in_the_search_path(postgis: str) -> None:
    case = Case("INSERT INTO {target} SELECT i, geom FROM p", "i int, geom gis.geometry", SETUP)
    assert split_both_ways(postgis, case, by="geom", chunk_rows=300).last.key == "geom"


def test_an_update_is_divided_by_a_column_that_it_leaves_alone(postgis: str) -> None:
    fill = HERE + "INSERT INTO {target} SELECT i, geom, 0 FROM p; "
    columns = "i int, geom gis.geometry, n bigint"
    join = "UPDATE {target} z SET n = n + m.k FROM m WHERE z.geom && m.area AND m.k = 1 + z.i % 60"
    case = Case(fill + join, columns, SETUP)
    outcome = both_ways(postgis, case, by="geom", chunk_rows=100)
    assert (outcome.last.verdict, outcome.last.key) == ("split", "geom")
    assert outcome.last.chunks > 1


def test_a_place_that_changes_is_no_key(postgis: str) -> None:
    execute(postgis, *SETUP)
    move = HERE + "UPDATE p SET geom = st_translate(geom, 1, 1)"
    outcome = pgfan(postgis, move, by="geom")
    assert outcome.result.ok
    assert outcome.last.verdict == "serial"


def test_points_all_at_one_place(postgis: str) -> None:
    case = Case(
        HERE + "INSERT INTO {target} SELECT g, geom FROM (SELECT * FROM one) o",
        "i int, geom gis.geometry",
        (
            HERE + "CREATE TABLE one AS SELECT g, st_makepoint(1, 1)::geometry(Point) AS geom "
            "FROM generate_series(1, 300) g",
        ),
    )
    outcome = both_ways(postgis, case, by="geom", split="auto")
    assert outcome.last.verdict == "serial"
    execute(postgis, "DROP TABLE by_one, by_many, one")
    assert split_both_ways(postgis, case, by="geom").last.chunks == 2


def test_partitions_are_cut_by_the_points_of_all(postgis: str) -> None:
    case = Case(
        BY_INDEX + "INSERT INTO {target} SELECT i, geom FROM part",
        "i int, geom gis.geometry",
        (
            HERE + "CREATE TABLE part (i int, geom geometry(Point)) PARTITION BY LIST (i)",
            "CREATE TABLE part_0 PARTITION OF part FOR VALUES IN (0)",
            "CREATE TABLE part_1 PARTITION OF part DEFAULT",
            "CREATE INDEX ON part USING gist (geom)",
            HERE + "INSERT INTO part SELECT g % 3, st_makepoint(g % 17, g % 19) "
            "FROM generate_series(1, 600) g",
            "INSERT INTO part VALUES (4, NULL), (5, 'POINT EMPTY')",
        ),
    )
    assert split_both_ways(postgis, case, by="geom", chunk_rows=100).last.rows == 602


@pytest.mark.parametrize(("column", "kind"), [("p", "point"), ("c", "gis.cube")])
def test_what_is_not_divided_says_why(dsn: str, column: str, kind: str) -> None:
    execute(dsn, f"CREATE TABLE q (p point, c {kind})", "CREATE TABLE r (LIKE q)")
    outcome = pgfan(dsn, "INSERT INTO r SELECT * FROM q", by=column)
    assert [code for code, _ in outcome.last.reasons] == ["key-without-cells"]


STATIONS = (
    HERE + "CREATE TABLE s (i int PRIMARY KEY, lat float8, lon float8, n int NOT NULL DEFAULT 0, "
    "place earth GENERATED ALWAYS AS (CASE WHEN i % 50 > 0 THEN ll_to_earth(lat, lon) END) STORED)",
    HERE + "INSERT INTO s SELECT g, 36 + g % 8, g % 13 - 9 FROM generate_series(1, 600) g",
    HERE + "INSERT INTO s SELECT g, g % 181 - 90, g % 361 - 180 FROM generate_series(601, 900) g",
    HERE + "CREATE INDEX ON s USING gist (place)",
    HERE + "CREATE TABLE t AS SELECT g AS k, ll_to_earth(36 + g % 8, g % 13 - 9) AS place "
    "FROM generate_series(1, 80) g",
    "ANALYZE",
)


@pytest.mark.parametrize("by", ["place", "s.place"])
def test_stations_within_a_distance(dsn: str, by: str) -> None:
    near = (
        "INSERT INTO {target} SELECT s.i, t.k FROM s JOIN t ON s.place <@ earth_box(t.place, 9e4) "
        "AND earth_distance(s.place, t.place) < 9e4"
    )
    case = Case(BY_INDEX + near, "i int, k int", STATIONS)
    assert split_both_ways(dsn, case, by=by, chunk_rows=100).last.key == "place"


def test_all_stations_wherever_they_are(dsn: str) -> None:
    case = Case(BY_INDEX + "INSERT INTO {target} SELECT i FROM s", "i int", STATIONS)
    assert split_both_ways(dsn, case, by="place", chunk_rows=50).last.rows == 900


def test_stations_are_changed_once_each(dsn: str) -> None:
    execute(dsn, *STATIONS)
    outcome = pgfan(dsn, BY_INDEX + "UPDATE s SET n = n + 1", by="place", chunk_rows=90)
    assert (outcome.last.key, outcome.last.rows) == ("place", 900)
    assert value(dsn, "SELECT count(*) FROM s WHERE n = 1") == 900
    moved = pgfan(dsn, HERE + "UPDATE s SET lat = lat / 2", by="place")
    assert moved.last.verdict == "serial"


def test_an_earth_that_lost_a_check_is_no_key(dsn: str) -> None:
    execute(dsn, *STATIONS, HERE + "BEGIN; ALTER DOMAIN earth DROP CONSTRAINT on_surface; COMMIT")
    try:
        outcome = pgfan(dsn, HERE + "UPDATE s SET n = n + 1", by="place")
        assert outcome.last.verdict == "serial"
    finally:
        execute(
            dsn,
            HERE + "ALTER DOMAIN earth ADD CONSTRAINT on_surface CHECK (abs(cube_distance(value, "
            "'(0)'::cube) / earth() - '1'::float8) < '10e-7'::float8)",
        )


def test_provinces_as_a_list_of_values(dsn: str) -> None:
    provinces = (
        "CREATE TABLE m (i int, province text)",
        "INSERT INTO m SELECT g, 'p' || g * g / 16000 FROM generate_series(1, 900) g",
        "CREATE INDEX ON m (province)",
        "ANALYZE m",
    )
    select = "SELECT province, count(*), array_length(array_agg(i), 1) FROM m GROUP BY province"
    case = Case("INSERT INTO {target} " + select, "p text, n int, k int", provinces)
    assert split_both_ways(dsn, case, by="province", chunk_rows=50).last.key == "province"
