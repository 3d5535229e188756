"""The packaged server within one process: made, configured, started, stopped. Real servers."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan.errors import ConnectionFailedError, InternalError, UsageError
from pgfan.postgres import embedded
from pgfan.postgres.embedded import EmbeddedServer
from pgfan.postgres.embedded_postmaster import Postmaster
from pgfan.postgres.embedded_settings import Machine, building_settings, connection_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import ServerFactory

WAIT_S = 20


def ask(server: EmbeddedServer, query: str) -> str:
    """The first field of the first row, as text."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return str(row[0])


def crash(server: EmbeddedServer) -> int:
    """Kill the postmaster; returns its number once the kernel has ended it."""
    pid = server.pid
    assert pid is not None
    handle = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        assert select.select([handle], [], [], WAIT_S)[0]
    finally:
        os.close(handle)
    return pid


@pytest.fixture
def sleeper(made18: Path) -> Iterator[int]:
    """A process of the server's own user that is no server."""
    owner = made18.stat()
    root = os.geteuid() == 0
    with subprocess.Popen(
        ["sleep", "300"],
        user=owner.st_uid if root else None,
        group=owner.st_gid if root else None,
    ) as process:
        yield process.pid
        process.kill()


def test_a_new_folder_gets_a_server_that_only_its_owner_reaches(server: EmbeddedServer) -> None:
    version = ask(server, "SELECT current_setting('server_version_num')::int / 10000")
    assert version == str(server.major_version)
    assert server.socket_dir == server.folder
    assert server.folder.stat().st_mode & 0o777 == 0o700
    assert (server.folder / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
    owner = Path(f"/proc/{server.pid}").stat().st_uid
    assert owner == server.folder.stat().st_uid
    assert owner != 0
    other_ways = (
        "SELECT count(*) FROM pg_hba_file_rules WHERE type <> 'local' AND auth_method <> 'reject'"
    )
    assert ask(server, other_ways) == "0"


def test_text_is_unicode_and_sorts_by_code_point(server: EmbeddedServer) -> None:
    assert ask(server, "SHOW server_encoding") == "UTF8"
    assert ask(server, "SELECT upper('é ж')") == "É Ж"
    assert ask(server, "SELECT 'Z' < 'a' AND 'z' < 'é'") == "True"


def test_every_setting_is_in_force(made18: Path) -> None:
    with EmbeddedServer(made18, settings={"work_mem": "7MB"}) as server:
        settings = (
            *connection_settings(5432, server.folder),
            *building_settings(Machine.measure(server.folder), 18),
        )
        with psycopg.connect(server.dsn) as connection:
            rows = connection.execute(
                "SELECT name, setting FROM pg_file_settings WHERE applied AND sourcefile = %s",
                [str(made18 / "pgfan.conf")],
            ).fetchall()
        # What grew or shrank with the disk's free space since the start is not compared.
        moving = {"max_wal_size", "min_wal_size"}
        wanted = {s.name: s.value for s in settings} | {"work_mem": "7MB"}
        assert {n: v for n, v in rows if n not in moving} == {
            n: v for n, v in wanted.items() if n not in moving
        }
        shown = {name: ask(server, f"SHOW {name}") for name in ("work_mem", "wal_level")}
        assert shown == {"work_mem": "7MB", "wal_level": "minimal"}


def test_what_keeps_data_safe_stays_on(made18: Path) -> None:
    with EmbeddedServer(made18) as server:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            assert ask(server, f"SHOW {name}") == "on", name


def test_parallel_plans_do_without_dev_shm(server_factory: ServerFactory) -> None:
    server = server_factory(settings={"dynamic_shared_memory_type": "sysv"})
    with psycopg.connect(server.dsn) as connection:
        connection.execute("SET debug_parallel_query = on")
        row = connection.execute("SELECT count(*) FROM pg_class").fetchone()
        assert row is not None
        assert row[0] > 100


def test_a_folder_name_with_quotes_and_spaces_works(made18: Path) -> None:
    odd = made18.rename(made18.with_name("o'dd = földer"))
    with EmbeddedServer(odd) as server:
        assert server.socket_dir == odd
        assert ask(server, "SELECT 1") == "1"


@pytest.mark.parametrize("name", ["x" * 100, "a,b"], ids=["too long", "comma"])
def test_a_folder_that_cannot_hold_the_socket_gets_a_private_one(made18: Path, name: str) -> None:
    folder = made18.rename(made18.with_name(name))
    with EmbeddedServer(folder) as server:
        elsewhere = server.socket_dir
        assert elsewhere != folder
        assert elsewhere.stat().st_mode & 0o777 == 0o700
        assert elsewhere.stat().st_uid == folder.stat().st_uid
        assert ask(server, "SELECT 1") == "1"
    assert not elsewhere.exists()
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    try:
        with pytest.raises(UsageError, match="not private"):
            EmbeddedServer(folder).start()
    finally:
        elsewhere.rmdir()


def test_the_server_stops_with_the_context_and_the_data_stay(made18: Path) -> None:
    with EmbeddedServer(made18) as server:
        assert not server.reused
        with psycopg.connect(server.dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert server.pid is None
    with EmbeddedServer(made18) as server:
        assert ask(server, "SELECT answer FROM kept") == "42"


def test_two_users_in_one_process_and_the_last_one_stops_it(made18: Path) -> None:
    first, second = EmbeddedServer(made18), EmbeddedServer(made18)
    first.start()
    second.start()
    assert second.reused
    assert second.pid == first.pid
    first.release()
    assert ask(second, "SELECT 1") == "1"
    second.release()
    assert second.pid is None


def test_a_server_that_shall_outlive_pgfan_does(made18: Path) -> None:
    with EmbeddedServer(made18, stop_at_exit=False) as server:
        pid = server.pid
    assert server.pid == pid
    server.stop()
    assert server.pid is None


@pytest.mark.parametrize("way", ["immediate", "kill"])
def test_a_crashed_server_recovers_at_the_next_start(made18: Path, way: str) -> None:
    with EmbeddedServer(made18) as server:
        with psycopg.connect(server.dsn) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        if way == "immediate":
            server.stop("immediate")
        else:
            crash(server)
        assert server.pid is None
        server.start()
        assert not server.reused
        assert ask(server, "SELECT answer FROM kept") == "42"


def test_a_start_waits_for_the_orphans_of_a_crashed_server(made18: Path) -> None:
    with EmbeddedServer(made18) as server:
        find = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"
        orphan = int(ask(server, find))
        os.kill(orphan, signal.SIGSTOP)
        crash(server)
        later = threading.Timer(1.0, os.kill, (orphan, signal.SIGCONT))
        later.start()
        server.start()
        assert not later.is_alive(), "the server started beside a process of the crashed one"
        assert ask(server, "SELECT 1") == "1"


@pytest.mark.parametrize("number", ["gone", "given out anew"])
def test_a_stale_pid_file_is_harmless(made18: Path, sleeper: int, number: str) -> None:
    with EmbeddedServer(made18) as server:
        file = made18 / "data" / "postmaster.pid"
        stale = file.read_text().splitlines()
    with subprocess.Popen(["true"]) as ended:
        pass
    stale[0] = str({"gone": ended.pid, "given out anew": sleeper}[number])
    for name in (file, made18 / ".s.PGSQL.5432.lock"):
        name.write_text("\n".join(stale) + "\n")
        os.chown(name, made18.stat().st_uid, made18.stat().st_gid)
    with EmbeddedServer(made18) as server:
        assert not server.reused
        assert ask(server, "SELECT 1") == "1"


def test_a_server_that_does_not_start_says_why(made18: Path) -> None:
    with pytest.raises(ConnectionFailedError, match="max_connections") as caught:
        EmbeddedServer(made18, settings={"max_connections": "nonsense"}).start()
    assert caught.value.hint is not None
    assert "server.log" in caught.value.hint
    with EmbeddedServer(made18) as server:
        assert ask(server, "SELECT 1") == "1"


def test_a_socket_in_use_is_named(made18: Path) -> None:
    path = made18 / ".s.PGSQL.5432"
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(path))
        stranger.listen()
        with pytest.raises(ConnectionFailedError, match=r"already listens on .*\.s\.PGSQL\.5432"):
            EmbeddedServer(made18).start()
    # Dead, the same socket is in nobody's way.
    with EmbeddedServer(made18) as server:
        assert ask(server, "SELECT 1") == "1"


def test_a_running_server_without_its_socket_is_named(made18: Path) -> None:
    with EmbeddedServer(made18) as server:
        (made18 / ".s.PGSQL.5432").unlink()
        with pytest.raises(ConnectionFailedError, match=f"process {server.pid}.*nobody answers"):
            EmbeddedServer(made18).start()


def test_recovery_that_takes_too_long_is_not_waited_for_for_ever(
    made18: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovering = Postmaster(pid=1, port=5432, socket_dir=made18, status="starting")
    monkeypatch.setattr(EmbeddedServer, "_running", lambda _: recovering)
    monkeypatch.setattr(embedded, "START_TIMEOUT_S", 0.1)
    with pytest.raises(ConnectionFailedError, match="has not come up") as caught:
        EmbeddedServer(made18).start()
    assert "recovery goes on" in str(caught.value.hint)


def test_the_address_is_known_only_after_the_start(made18: Path) -> None:
    server = EmbeddedServer(made18)
    assert server.pid is None
    with pytest.raises(InternalError):
        _ = server.dsn
    server.stop()
