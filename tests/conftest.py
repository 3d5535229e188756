"""Servers for tests: PostgreSQL 18 from the wheel and 15 from Debian, started when first asked for.

`server` and `dsn` run a test on both; `server18` and `dsn18` on the packaged one alone. A test
that crashes, stops or configures a server takes one of its own from `server_factory`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgfan.postgres.embedded import EmbeddedServer, ServerBinaries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEBIAN_15 = ServerBinaries(Path("/usr/lib/postgresql/15/bin"))

TEST_SETTINGS = {
    # Test data need not survive the machine; a sync per commit is most of a small test's time.
    "fsync": "off",
    # No machine crashes under them, so no page is torn.
    "full_page_writes": "off",
    # Several servers share one machine with the tests, and perhaps its memory as their disk.
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
}
SMALL_SERVER_BYTES = 1 << 30
"""Room for the server of one test."""
SHARED_SERVER_BYTES = 4 << 30
"""Room for one that holds the databases of all tests, and for those of the other processes."""


class ServerFactory(Protocol):
    """Starts a server in a folder of its own; stopped and removed after the test."""

    def __call__(
        self,
        binaries: ServerBinaries | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> EmbeddedServer: ...


@contextmanager
def scratch_folder(parent: str | None = None) -> Iterator[Path]:
    """A folder that a server's system user can pass through.

    pytest's own temporary folders are closed to everyone but root when root runs the tests.
    """
    folder = Path(tempfile.mkdtemp(prefix="pgfan-test-", dir=parent))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def memory_disk(room_bytes: int) -> str | None:
    """A file system in memory with that much room; None when there is none.

    Copying a server's thousand files there takes 0.1 s, on disk up to 1 s.
    """
    try:
        disk = os.statvfs("/dev/shm")  # noqa: S108 - the kernel's own name
    except OSError:
        return None
    return "/dev/shm" if disk.f_bavail * disk.f_frsize > room_bytes else None  # noqa: S108


@contextmanager
def running_server(
    binaries: ServerBinaries, settings: Mapping[str, str]
) -> Iterator[EmbeddedServer]:
    with (
        scratch_folder(memory_disk(SHARED_SERVER_BYTES)) as folder,
        EmbeddedServer(folder / "server", binaries=binaries, settings=settings) as server,
    ):
        yield server


@contextmanager
def fresh_database(server: EmbeddedServer) -> Iterator[str]:
    """A new database, dropped at the end.

    Thousands are made: by copying files in memory, one costs the machine a fifth of what it costs
    by way of the WAL on disk.
    """
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} STRATEGY file_copy")
        connection.execute(create.format(sql.Identifier(name)))
    try:
        yield make_conninfo(server.dsn, dbname=name)
    finally:
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            connection.execute(drop.format(sql.Identifier(name)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: the processes that share the tests then end together."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """An empty folder under which a small server may be made."""
    with scratch_folder(memory_disk(SMALL_SERVER_BYTES)) as folder:
        yield folder


@pytest.fixture(scope="session")
def _made18() -> Iterator[Path]:
    with scratch_folder(memory_disk(SMALL_SERVER_BYTES)) as folder:
        with EmbeddedServer(folder / "server"):
            pass
        yield folder / "server"


@pytest.fixture
def made18(_made18: Path, scratch: Path) -> Path:
    """The folder of a stopped PostgreSQL 18 server, the test's own: a copy saves initdb's time."""
    subprocess.run(["cp", "-a", _made18, scratch / "server"], check=True)
    return scratch / "server"


@pytest.fixture(scope="session")
def server18() -> Iterator[EmbeddedServer]:
    """The packaged PostgreSQL 18, shared by all tests."""
    with running_server(ServerBinaries.packaged(), TEST_SETTINGS) as server:
        yield server


@pytest.fixture(scope="session")
def server15() -> Iterator[EmbeddedServer]:
    """Debian's PostgreSQL 15, shared by all tests; skips where it is not installed."""
    if not DEBIAN_15.folder.is_dir():
        pytest.skip(f"no PostgreSQL 15 in {DEBIAN_15.folder}")
    with running_server(DEBIAN_15, TEST_SETTINGS) as server:
        yield server


@pytest.fixture(scope="session", params=["pg18", "pg15"])
def server(request: pytest.FixtureRequest) -> EmbeddedServer:
    """Each server in turn; only the one that is asked for is started."""
    found = request.getfixturevalue({"pg18": "server18", "pg15": "server15"}[request.param])
    assert isinstance(found, EmbeddedServer)
    return found


@pytest.fixture
def dsn(server: EmbeddedServer) -> Iterator[str]:
    """The connection string of a new, empty database; dropped after the test."""
    with fresh_database(server) as conninfo:
        yield conninfo


@pytest.fixture
def dsn18(server18: EmbeddedServer) -> Iterator[str]:
    """The same on the packaged PostgreSQL 18 alone."""
    with fresh_database(server18) as conninfo:
        yield conninfo


@pytest.fixture
def server_factory() -> Iterator[ServerFactory]:
    """Servers of a test's own, which it may crash; fsync is on unless `settings` say otherwise."""
    with ExitStack() as stack:

        def make(
            binaries: ServerBinaries | None = None, settings: Mapping[str, str] | None = None
        ) -> EmbeddedServer:
            return stack.enter_context(
                running_server(binaries or ServerBinaries.packaged(), settings or {})
            )

        yield make
