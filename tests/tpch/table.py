"""Prints the table of docs/tpch.md, and with --page the whole page with the table renewed.

`make tpch` and `make tpch-docs` run it. It writes nothing but to standard output. The rows are
loaded into the packaged PostgreSQL 18 in a temporary folder; with --dsn into a new database of the
server it names, which is dropped afterwards.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from tpch_data import load, scale_asked
from tpch_verdicts import PAGE, table, with_table

from pgfan.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    """Print the table or the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn", help="a running server, in place of the packaged one")
    parser.add_argument("--scale", default=scale_asked(), help="TPC-H's scale factor: %(default)s")
    parser.add_argument("--page", action="store_true", help=f"print all of {PAGE.name}")
    given = parser.parse_args()
    with _server(given.dsn) as server, _new_database(server) as dsn:
        load(dsn, given.scale)
        found = table(dsn, given.scale)
    page = PAGE.read_text(encoding="utf-8") if given.page else None
    sys.stdout.write(found if page is None else with_table(page, found))
    return 0


@contextmanager
def _server(dsn: str | None) -> Iterator[str]:
    if dsn is not None:
        yield dsn
        return
    with tempfile.TemporaryDirectory(prefix="pgfan-tpch-") as folder:
        # The server's system user must be able to pass through it.
        Path(folder).chmod(0o711)
        with EmbeddedServer(Path(folder) / "server", settings={"fsync": "off"}) as server:
            yield server.dsn


@contextmanager
def _new_database(server: str) -> Iterator[str]:
    name = f"pgfan_tpch_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield make_conninfo(server, dbname=name)
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))


if __name__ == "__main__":
    sys.exit(main())
