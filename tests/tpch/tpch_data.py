"""TPC-H's rows: generated once for each scale, then loaded with keys and statistics.

Rows are stored in an order that has nothing to do with their keys. As they are generated, the lines
of an order lie side by side, and a split that wrongly cuts groups would seldom cut one.

The files are made by the package tpchgen-cli, which gives the same rows on every machine. They are
kept in `.tpch`, or in the folder that PGFAN_TPCH_DIR names, under the scale and the generator's
version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "examples" / "tpch"
GENERATOR = "tpchgen-cli"
SCALE_TESTED = "0.01"
TABLES = ("region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem")
GENERATE_TIMEOUT_S = 1800
READ_BYTES = 1 << 20


def scale_asked() -> str:
    """TPC-H's scale factor: 0.01 unless PGFAN_TPCH_SCALE says otherwise; 1 is about 1 GB."""
    return os.environ.get("PGFAN_TPCH_SCALE", SCALE_TESTED)


def data_folder(scale: str) -> Path:
    """The folder with one CSV file for each table, generated now if it is not there yet."""
    parent = Path(os.environ.get("PGFAN_TPCH_DIR", ROOT / ".tpch"))
    folder = parent / f"scale-{float(scale):g}-by-{version(GENERATOR)}"
    if not folder.is_dir():
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent) as scratch:
            made = Path(scratch) / "csv"
            _generate(scale, made)
            _put(made, folder)
    return folder


def _generate(scale: str, folder: Path) -> None:
    beside_python = Path(sys.executable).parent / GENERATOR
    program = str(beside_python) if beside_python.is_file() else shutil.which(GENERATOR)
    if program is None:
        raise FileNotFoundError(f"{GENERATOR} is not installed: make install")
    command = [program, "csv", "--quiet", f"--scale-factor={scale}", f"--output-dir={folder}"]
    subprocess.run(command, check=True, timeout=GENERATE_TIMEOUT_S)


def _put(made: Path, folder: Path) -> None:
    """Move a whole folder into place; another process may have been quicker with the same rows."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def load(dsn: str, scale: str) -> None:
    """Make TPC-H's tables in the schema public of an empty database, and fill them."""
    folder = data_folder(scale)
    with psycopg.connect(dsn) as connection:
        connection.execute((SCRIPTS / "schema.sql").read_bytes())
        for table in TABLES:
            _fill(connection, table, folder / f"{table}.csv")
        connection.execute((SCRIPTS / "keys.sql").read_bytes())
        connection.execute((SCRIPTS / "indexes.sql").read_bytes())
        connection.execute((SCRIPTS / "analyze.sql").read_bytes())


def _fill(connection: psycopg.Connection, table: str, path: Path) -> None:
    name = sql.Identifier(table)
    connection.execute(
        sql.SQL("CREATE TEMP TABLE as_generated (LIKE {}) ON COMMIT DROP").format(name)
    )
    statement = "COPY as_generated FROM STDIN (FORMAT csv, HEADER true)"
    with (
        path.open("rb") as file,
        connection.cursor() as cursor,
        cursor.copy(statement) as copy,
    ):
        while data := file.read(READ_BYTES):
            copy.write(data)
    mix = "INSERT INTO {} SELECT made.* FROM as_generated AS made ORDER BY md5(made::text)"
    connection.execute(sql.SQL(mix).format(name))
    connection.execute("DROP TABLE as_generated")
