"""A project of psql scripts built by psql and by `pgfan run`, and what the two builds left.

The builds go into two databases of one server. Every table and materialised view is compared as a
multiset of rows, each spelled as text, so that two floats are equal or differ; the catalogue as
pg_dump writes it.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.bench.command import run_command
from pgfan.bench.site import checkpoint, scratch_database
from pgfan.bench.ways import PGFAN
from pgfan.errors import PgfanError
from pgfan.postgres.session import PostgresSession
from pgfan.quoting import qualified

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pgfan.postgres.embedded import EmbeddedServer

TABLES = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^(pg_|information_schema$|pgfan$)' ORDER BY 1, 2"""
MULTISET = """
SELECT pg_catalog.count(*), pg_catalog.sum(pg_catalog.hashtextextended(t::text, 1)),
    pg_catalog.sum(pg_catalog.hashtextextended(t::text, 2)) FROM {} AS t"""
"""Rows and two sums of their hashes: equal for equal multisets, and for others as good as never."""


class Project(Struct, frozen=True):
    """Scripts that start with `main`, and the psql variables that they need."""

    name: str
    main: Path
    variables: Mapping[str, str]

    def by_psql(self, psql: str, dsn: str) -> list[str]:
        """The command line of a build by psql."""
        given = [word for pair in self.variables.items() for word in ("-v", "=".join(pair))]
        options = ["-X", "-q", "-v", "ON_ERROR_STOP=1", *given]
        return [psql, *options, "-d", dsn, "-f", str(self.main)]

    def by_pgfan(self, dsn: str, options: Sequence[str]) -> list[str]:
        """The command line of a build by pgfan."""
        given = [word for pair in self.variables.items() for word in ("--set", "=".join(pair))]
        return [*PGFAN, "run", "-q", *options, *given, "-d", dsn, str(self.main)]


class Built(Struct, frozen=True):
    """How long the two builds of a project took, and what was compared of them."""

    psql_s: float
    pgfan_s: float
    tables: int
    rows: int


def build_both(
    server: EmbeddedServer, project: Project, options: Sequence[str] = (), *, pgfan_first: bool
) -> Built:
    """Build `project` with psql and with pgfan. PgfanError when one fails or they differ."""
    with ExitStack() as stack:
        serial, parallel = (
            stack.enter_context(scratch_database(server.dsn, f"pgfan_example_{way}", keep=False))
            for way in ("psql", "pgfan")
        )
        ways = [
            (serial, project.by_psql(server.binaries.program("psql"), serial)),
            (parallel, project.by_pgfan(parallel, options)),
        ]
        seconds = {}
        for dsn, command in reversed(ways) if pgfan_first else ways:
            seconds[dsn] = _timed(dsn, project.name, command)
        tables, rows = _compare(server, serial, parallel)
        return Built(seconds[serial], seconds[parallel], tables, rows)


def _timed(dsn: str, name: str, command: list[str]) -> float:
    session = PostgresSession(dsn)
    try:
        checkpoint(session)
    finally:
        session.close()
    outcome = run_command(command)
    if outcome.code != 0:
        raise PgfanError(f"{name}: {' '.join(command)} failed: {outcome.complaint}")
    return outcome.seconds


def _compare(server: EmbeddedServer, serial: str, parallel: str) -> tuple[int, int]:
    """How many tables and rows two databases have, which are the same. PgfanError otherwise."""
    expected, found = _contents(serial), _contents(parallel)
    names = expected.keys() | found.keys()
    different = sorted(name for name in names if expected.get(name) != found.get(name))
    if different:
        raise PgfanError(f"psql and pgfan left different rows: {', '.join(different)}")
    if _catalogue(server, serial) != _catalogue(server, parallel):
        raise PgfanError("psql and pgfan left different catalogues")
    return len(expected), sum(int(values[0] or 0) for values in expected.values())


def _contents(dsn: str) -> dict[str, tuple[str | None, ...]]:
    """For each table and materialised view its multiset of rows, in three numbers."""
    session = PostgresSession(dsn)
    try:
        names = session.execute(TABLES)[0].rows
        tables = [qualified((schema or "", name or "")) for schema, name in names]
        return {table: session.execute(MULTISET.format(table))[0].rows[0] for table in tables}
    finally:
        session.close()


def _catalogue(server: EmbeddedServer, dsn: str) -> str:
    """The definitions in a database, without pgfan's own."""
    dump = [server.binaries.program("pg_dump"), "--schema-only", "--exclude-schema=pgfan"]
    text = subprocess.run([*dump, "-d", dsn], capture_output=True, text=True, check=True).stdout
    # A guard of psql's has another key each time.
    return "\n".join(line for line in text.splitlines() if "restrict " not in line)
