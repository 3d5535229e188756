r"""Load files with `pgfan load` and with psql, interleaved: bench/loading.py --help.

TPC-H's lineitem as CSV (tpchgen-cli makes it) against psql's \copy, and pgloader if asked for; the
same compressed against `zcat | psql`, the same as Parquet, and 10,000 files of 100 rows. Each round
empties the table before each way. The table of medians has the CPU seconds of client and server
beside the wall time: they hold where others use the machine, which wall time does not. `limit`: how
many times as fast as psql the way would be with all cores busy all the time. psql's server works on
one core, so that is its CPU seconds times the cores, by the way's own on both sides.

With --big GB nothing of that: a CSV file of so many gigabytes is made, with line ends in its quoted
fields, loaded, and deleted; and so is the same compressed. What is printed is the most memory that
the client had (ru_maxrss), which must not grow with the file.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pgfan.bench.machine import server_cpu_s
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
BIG_ROWS = 100_000


@dataclass(frozen=True)
class Way:
    """A command to time, and the table that it fills."""

    name: str
    table: str
    command: list[str]


@dataclass(frozen=True)
class Run:
    """What one way loaded, and took: wall time, and CPU seconds (user and system) on both sides."""

    rows: int
    seconds: float
    client_s: float
    server_s: float


def main() -> None:
    """Make the files, run the rounds, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", default="", help="names of ways, with commas")
    parser.add_argument("--with-pgloader", action="store_true", help="which takes minutes")
    parser.add_argument("--big", type=float, default=0.0, metavar="GB", help="memory of the client")
    parser.add_argument("--embedded", type=Path, default=Path(".bench"))
    parser.add_argument("--files", type=Path, default=Path(".bench-files"))
    options = parser.parse_args()
    if options.big:
        with EmbeddedServer(options.embedded) as server:
            show_memory(server, options.files, round(options.big * 1e9))
        return
    if options.with_pgloader and shutil.which("pgloader") is None:
        parser.error("--with-pgloader: there is none (Debian and Ubuntu have a package pgloader)")
    make_files(options.files, options.scale)
    with EmbeddedServer(options.embedded) as server:
        chosen = ways(server.dsn, options.files)
        if options.with_pgloader:
            chosen.append(pgloader(server, options.files))
        only = {name for name in options.only.split(",") if name}
        chosen = [way for way in chosen if not only or way.name in only]
        runs, rows = defaultdict[str, list[Run]](list), dict[str, int]()
        for number in range(options.repeat):
            for way in chosen if number % 2 == 0 else reversed(chosen):
                runs[way.name].append(run := timed(server, way))
                expected = rows.setdefault(way.table, run.rows)
                assert run.rows == expected, f"{way.name}: {run.rows} rows of {expected}"
                print(f"round {number + 1} {way.name:14} {run.seconds:7.2f} s", flush=True)
    print_medians(runs)


def show_memory(server: EmbeddedServer, folder: Path, size_bytes: int) -> None:
    """Load a file of that size, plain and compressed, and print the client's peak memory."""
    folder.mkdir(exist_ok=True)
    plain, packed = folder / "big.csv", folder / "big.csv.gz"
    block = big_block()
    count = -(-size_bytes // len(block))
    for path in (plain, packed):
        data = block if path == plain else gzip.compress(block, 1)  # members behind one another
        with path.open("wb") as file:
            for _ in range(count):
                file.write(data)
        session = PostgresSession(server.dsn)
        session.execute("DROP TABLE IF EXISTS big; CREATE UNLOGGED TABLE big (i int, t text)")
        words = ("load", "-q", "-d", server.dsn, str(path), "--into", "big")
        began_s = time.monotonic()
        child = subprocess.Popen([sys.executable, "-m", "pgfan", *words])
        _, status, used = os.wait4(child.pid, 0)
        seconds = time.monotonic() - began_s
        assert status == 0, f"{path} was not loaded"
        rows = session.execute("SELECT count(*) FROM big")[0].rows[0][0]
        assert rows == str(count * BIG_ROWS), f"{rows} rows of {count * BIG_ROWS}"
        session.execute("DROP TABLE big")
        session.close()
        told = f"{count * len(block) / 1e9:.1f} GB of CSV, {path.stat().st_size / 1e9:.1f} on disk"
        print(f"{path.name:12} {told}: {used.ru_maxrss / 1024:.0f} MB at most, {seconds:.0f} s")
        path.unlink()


def big_block() -> bytes:
    """Records of about a hundred bytes, with quotes and line ends in them."""
    chance = random.Random(1)  # noqa: S311  # data
    return "".join(
        f'{number},"{chance.randbytes(36).hex()} ""{number}""\nand more"\n'
        for number in range(BIG_ROWS)
    ).encode()


def print_medians(runs: dict[str, list[Run]]) -> None:
    """One line for each way."""
    psql_s = statistics.median([run.server_s for run in runs.get("psql", [])] or [0.0])
    cores = len(os.sched_getaffinity(0))
    print(f"\n{'way':14} {'seconds':>8} {'client CPU':>10} {'server CPU':>10} {'limit':>6}   all")
    for name, found in runs.items():
        seconds = statistics.median(run.seconds for run in found)
        client = statistics.median(run.client_s for run in found)
        server = statistics.median(run.server_s for run in found)
        limit = psql_s * cores / (client + server)
        every = " ".join(f"{run.seconds:.2f}" for run in found)
        print(f"{name:14} {seconds:8.2f} {client:10.2f} {server:10.2f} {limit:6.2f}   {every}")


def make_files(folder: Path, scale: float) -> None:
    """Make lineitem as CSV, the same with gzip, as Parquet, and small files; kept for later."""
    folder.mkdir(exist_ok=True)
    csv, packed, small = folder / "lineitem.csv", folder / "lineitem.csv.gz", folder / "small"
    for format_ in ("csv", "parquet"):
        if not (folder / f"lineitem.{format_}").exists():
            maker = Path(sys.executable).with_name("tpchgen-cli")
            words = [str(maker), format_, "-s", str(scale), "-T", "lineitem", "-o", str(folder)]
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


def ways(dsn: str, folder: Path) -> list[Way]:
    """What is compared."""
    load = [sys.executable, "-m", "pgfan", "load", "-q", "-d", dsn]
    csv, packed = folder / "lineitem.csv", folder / "lineitem.csv.gz"
    copy = "COPY lineitem FROM STDIN (FORMAT csv, HEADER)"
    plain = f"\\copy lineitem FROM '{csv}' (FORMAT csv, HEADER)"
    pipe = 'zcat "$1" | psql -q "$2" -c "$3"'
    parquet = str(folder / "lineitem.parquet")
    return [
        Way("psql", "lineitem", ["psql", "-q", dsn, "-c", plain]),
        Way("pgfan", "lineitem", [*load, str(csv), "--into", "lineitem"]),
        Way("zcat psql", "lineitem", ["sh", "-c", pipe, "sh", str(packed), dsn, copy]),
        Way("pgfan gzip", "lineitem", [*load, str(packed), "--into", "lineitem"]),
        Way("pgfan parquet", "lineitem", [*load, parquet, "--into", "lineitem"]),
        Way("pgfan small", "small", [*load, str(folder / "small"), "--into", "small"]),
    ]


def pgloader(server: EmbeddedServer, folder: Path) -> Way:
    """Debian's pgloader with its own defaults, on the same file."""
    address = f"postgresql://postgres@unix:{server.socket_dir}:{server.port}/postgres"
    script = folder / "lineitem.load"
    script.write_text(
        f"LOAD CSV FROM '{(folder / 'lineitem.csv').absolute()}' INTO {address} "
        "TARGET TABLE public.lineitem WITH skip header = 1, "
        "fields optionally enclosed by '\"', fields terminated by ',';\n"
    )
    return Way("pgloader", "lineitem", ["pgloader", "--quiet", str(script)])


def timed(server: EmbeddedServer, way: Way) -> Run:
    """One way into an empty table."""
    session = PostgresSession(server.dsn)
    session.execute("DROP TABLE IF EXISTS lineitem")
    session.execute("DROP TABLE IF EXISTS small")
    session.execute(LINEITEM if way.table == "lineitem" else SMALL)
    session.execute("CHECKPOINT")
    server_s = server_cpu_s(server.pid) or 0.0
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(way.command, check=True)
    seconds, after = time.monotonic() - began_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    server_s = (server_cpu_s(server.pid) or 0.0) - server_s
    count = session.execute(f"SELECT count(*) FROM {way.table}")[0].rows[0][0]
    rows = int(count or 0)
    assert rows > 0, f"{way.name} loaded nothing"
    session.close()
    client_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(rows, seconds, client_s, server_s)


if __name__ == "__main__":
    main()
