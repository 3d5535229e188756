r"""Load files with `pgfan load` and with psql, interleaved: bench/loading.py --help.

TPC-H's lineitem as CSV (tpchgen-cli makes it) against psql's \copy, the same compressed against
`zcat | psql`, and 10,000 files of 100 rows. Each round empties the table before each way; the table
of medians has the client's CPU seconds beside the wall time.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pgfan.postgres.embedded import EmbeddedServer
from pgfan.postgres.session import PostgresSession

LINEITEM = """
CREATE TABLE lineitem (l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL,
    l_suppkey bigint NOT NULL, l_linenumber int NOT NULL, l_quantity numeric(15,2) NOT NULL,
    l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
    l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL,
    l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
    l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL)
"""
SMALL = "CREATE TABLE small (id int, name text, day date)"
FILES, ROWS = 10_000, 100


@dataclass(frozen=True)
class Way:
    """A command to time, and the table that it fills."""

    name: str
    table: str
    command: list[str]


def main() -> None:
    """Make the files, run the rounds, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", default="", help="names of ways, with commas")
    parser.add_argument("--embedded", type=Path, default=Path(".bench"))
    parser.add_argument("--files", type=Path, default=Path(".bench-files"))
    options = parser.parse_args()
    csv, packed, small = make_files(options.files, options.scale)
    with EmbeddedServer(options.embedded) as server:
        chosen = ways(server.dsn, csv, packed, small)
        only = {name for name in options.only.split(",") if name}
        chosen = [way for way in chosen if not only or way.name in only]
        wall, cpu = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
        for number in range(options.repeat):
            for way in chosen if number % 2 == 0 else reversed(chosen):
                seconds, used = timed(server.dsn, way)
                wall[way.name].append(seconds)
                cpu[way.name].append(used)
                print(f"round {number + 1} {way.name:14} {seconds:7.2f} s", flush=True)
    print(f"\n{'way':14} {'seconds':>8} {'client CPU':>10}   all")
    for way in chosen:
        every = " ".join(f"{one:.2f}" for one in wall[way.name])
        middle, used = statistics.median(wall[way.name]), statistics.median(cpu[way.name])
        print(f"{way.name:14} {middle:8.2f} {used:10.2f}   {every}")


def make_files(folder: Path, scale: float) -> tuple[Path, Path, Path]:
    """lineitem.csv, the same with gzip, and the folder of small files; kept for the next time."""
    folder.mkdir(exist_ok=True)
    csv, packed, small = folder / "lineitem.csv", folder / "lineitem.csv.gz", folder / "small"
    if not csv.exists():
        maker = Path(sys.executable).with_name("tpchgen-cli")
        words = [str(maker), "csv", "-s", str(scale), "-T", "lineitem", "-o", str(folder)]
        subprocess.run(words, check=True)
    if not packed.exists():
        with csv.open("rb") as plain, gzip.open(packed, "wb", 6) as file:
            shutil.copyfileobj(plain, file, 1 << 20)
    if not small.exists():
        small.mkdir()
        for number in range(FILES):
            rows = range(number * ROWS, number * ROWS + ROWS)
            text = "".join(f"{row},name {row},2025-01-01\n" for row in rows)
            (small / f"{number:05}.csv").write_text("id,name,day\n" + text)
    return csv, packed, small


def ways(dsn: str, csv: Path, packed: Path, small: Path) -> list[Way]:
    """What is compared."""
    load = [sys.executable, "-m", "pgfan", "load", "-q", "-d", dsn]
    copy = "COPY lineitem FROM STDIN (FORMAT csv, HEADER)"
    plain = f"\\copy lineitem FROM '{csv}' (FORMAT csv, HEADER)"
    pipe = 'zcat "$1" | psql -q "$2" -c "$3"'
    return [
        Way("psql", "lineitem", ["psql", "-q", dsn, "-c", plain]),
        Way("pgfan", "lineitem", [*load, str(csv), "--into", "lineitem"]),
        Way("zcat psql", "lineitem", ["sh", "-c", pipe, "sh", str(packed), dsn, copy]),
        Way("pgfan gzip", "lineitem", [*load, str(packed), "--into", "lineitem"]),
        Way("pgfan small", "small", [*load, str(small), "--into", "small"]),
    ]


def timed(dsn: str, way: Way) -> tuple[float, float]:
    """Wall and client CPU seconds of one way into an empty table."""
    session = PostgresSession(dsn)
    session.execute("DROP TABLE IF EXISTS lineitem")
    session.execute("DROP TABLE IF EXISTS small")
    session.execute(LINEITEM if way.table == "lineitem" else SMALL)
    session.execute("CHECKPOINT")
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(way.command, check=True)
    seconds, after = time.monotonic() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    count = session.execute(f"SELECT count(*) FROM {way.table}")[0].rows[0][0]
    assert int(count or 0) > 0, f"{way.name} loaded nothing"
    session.close()
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
