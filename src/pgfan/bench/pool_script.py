"""The pool script as data teams write it: the peer that pgfan is compared with, not a part of it.

An array of equal queries, a pool of processes with a connection each, `imap_unordered`. Nothing is
journaled, sized or proved: whoever writes it picks the cut. It is run as a script
(`python pool_script.py DSN --rows 20000000 --queries 16 --processes 2`, or with `--file` and the
queries in it), which is why it, alone outside of `pgfan.postgres`, imports the driver.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from pathlib import Path

import psycopg

connection: psycopg.Connection


def connect(dsn: str) -> None:
    """Open this worker's connection."""
    global connection  # noqa: PLW0603  # what a pool's initializer leaves to its worker
    connection = psycopg.connect(dsn, autocommit=True)


def run(query: str) -> int:
    """Run one query; the rows that it inserted."""
    return connection.execute(query.encode()).rowcount


def make_queries(rows: int, queries: int) -> list[str]:
    """`queries` INSERTs that make `rows` rows together; equal but for the remainder."""
    share, rest = divmod(rows, queries)
    return [
        "INSERT INTO numbers SELECT random() FROM generate_series(1, "
        f"{share + (1 if number < rest else 0)})"
        for number in range(queries)
    ]


def main() -> None:
    """Insert random numbers into the table `numbers`, or run a file; prints how many rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--queries", type=int)
    parser.add_argument("--file", type=Path, help="the queries, with a NUL between them")
    parser.add_argument("--processes", type=int, required=True)
    arguments = parser.parse_args()

    if arguments.file is not None:
        jobs = arguments.file.read_text("utf-8").split("\0")
    else:
        jobs = make_queries(arguments.rows, arguments.queries)
    with multiprocessing.Pool(arguments.processes, connect, (arguments.dsn,)) as pool:
        inserted = sum(pool.imap_unordered(run, jobs))
    sys.stdout.write(f"{inserted}\n")


if __name__ == "__main__":
    main()
