"""The folder behind `--embedded DIR`: what it may hold, who owns it, which pgfan processes use it.

    DIR/pgfan.json    the marker: pgfan made this, and whether initdb has finished
    DIR/data          PostgreSQL's data folder
    DIR/pgfan.conf    settings, included by data/postgresql.conf
    DIR/server.log    the server's log
    DIR/pgfan.lock    locked while a pgfan process initialises, starts or stops the server
    DIR/pgfan.users   share-locked by every pgfan process that uses the server

Both locks are flock(2): the kernel lets go of them when their process ends, however it ends. The
data folder is a child, and not DIR itself, because initdb demands an empty one; so the marker
stands before initdb begins, and DIR may be a mount point. What does not belong here: processes.

Root works here in a folder that another user owns. So files are opened without following links
and replaced by renaming.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from pgfan.errors import ConnectionFailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.postgres.embedded_process import Account

MARKER_SCHEMA = 1
# sun_path has 108 bytes on Linux, one of which ends the string.
SOCKET_PATH_BYTES_MAX = 107
LOG_BYTES_MAX = 16 * 1024 * 1024
LOCK_POLL_S = 0.05
# A file on its way into place. One name, so that what a killed pgfan left is overwritten.
DRAFT = "pgfan.new"
# pg_ctl's shell commands put the path between double quotes, where these keep their meaning.
UNQUOTABLE = '"$`\\\n\r'


class FolderState(Enum):
    """What DIR holds, of what pgfan accepts."""

    EMPTY = auto()
    UNFINISHED = auto()
    """initdb began and did not end."""
    READY = auto()


class ServerFolder:
    """DIR; `path` is absolute, without links. Nothing is read or made before a method is called."""

    def __init__(self, path: Path) -> None:
        try:
            self.path = path.expanduser().resolve()
        except (OSError, RuntimeError) as error:
            raise UsageError(f"{path} cannot be used: {error}") from error
        self.data = self.path / "data"
        self.log = self.path / "server.log"
        self.settings = self.path / "pgfan.conf"
        self._marker = self.path / "pgfan.json"

    def state(self, major_version: int) -> FolderState:
        """What DIR holds. UsageError when pgfan may not use it; nothing is touched then."""
        try:
            names = {entry.name for entry in self.path.iterdir()}
        except FileNotFoundError:
            return FolderState.EMPTY
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be used as a server's folder: {error.strerror}",
                hint="name a new or an empty folder that belongs to you",
            ) from error
        if self._marker.name not in names:
            # lost+found: DIR may be the root of a file system of its own.
            if names <= {"pgfan.lock", "pgfan.users", DRAFT, "lost+found"}:
                return FolderState.EMPTY
            raise self._foreign(names)
        if not self._initialised():
            return FolderState.UNFINISHED
        found = self._data_version(self.data)
        if found != str(major_version):
            raise UsageError(
                f"{self.path} holds a server of PostgreSQL {found or '(unknown)'}, "
                f"and this pgfan starts PostgreSQL {major_version}",
                hint="use another folder; pg_dump or pg_upgrade moves the data",
            )
        return FolderState.READY

    def _foreign(self, names: set[str]) -> UsageError:
        if "PG_VERSION" in names:
            version = self._data_version(self.path) or "(unknown)"
            return UsageError(
                f"{self.path} is the data folder of a PostgreSQL {version} server that pgfan "
                "did not make; such a server is never started or configured by pgfan",
                hint="start that server yourself and use --dsn, or name a new folder",
            )
        some = ", ".join(sorted(names)[:3]) + (", …" if len(names) > 3 else "")
        return UsageError(
            f"{self.path} holds something else ({some}); nothing was touched",
            hint="name a new or an empty folder",
        )

    def _initialised(self) -> bool:
        try:
            marker = json.loads(self._marker.read_text())
            schema, initialised = marker["schema"], bool(marker.get("initialised"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{self._marker} cannot be read: {error}", hint="name a new or an empty folder"
            ) from error
        if schema != MARKER_SCHEMA:
            raise UsageError(
                f"{self.path} was made by another version of pgfan (marker {schema})",
                hint="use that version, or another folder",
            )
        return initialised

    @staticmethod
    def _data_version(data: Path) -> str | None:
        try:
            return (data / "PG_VERSION").read_text().strip()
        except OSError:
            return None

    def owner(self) -> tuple[int, int] | None:
        """The user and group numbers of the data folder; None while there is none."""
        try:
            status = self.data.stat()
        except OSError:
            return None
        return status.st_uid, status.st_gid

    def make(self, account: Account) -> None:
        """Make DIR, or take an empty one over: it is `account`'s, and closed to everyone else.

        UsageError when its parent does not exist, when it belongs to another user, or when the
        file system does not let pgfan write.
        """
        if any(character in str(self.path) for character in UNQUOTABLE):
            raise UsageError(
                f"{self.path} has a character in its name that PostgreSQL's tools cannot pass on",
                hint='the name of the folder and those above it must do without " $ ` \\',
            )
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            if os.geteuid() == 0:
                os.chown(self.path, account.uid, account.gid)
            if stat.S_IMODE(self.path.stat().st_mode) != 0o700:
                self.path.chmod(0o700)
        except FileNotFoundError as error:
            if self.path.parent.is_dir():  # a file system in which nobody makes folders
                raise self.unwritable(error) from error
            raise UsageError(
                f"{self.path.parent} does not exist", hint=f"mkdir -p {self.path.parent}"
            ) from error
        except OSError as error:
            raise self.unwritable(error) from error

    def unwritable(self, error: OSError) -> UsageError | ConnectionFailedError:
        """The error for a folder in which nothing can be written."""
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return ConnectionFailedError(
                f"no space left in {self.path}", hint="free some, or name a folder elsewhere"
            )
        return UsageError(
            f"{self.path} cannot be used as a server's folder: {error.strerror}",
            hint="name a new or an empty folder that belongs to you, on a writable disk",
        )

    @contextlib.contextmanager
    def locked(self, account: Account, timeout_s: float) -> Iterator[int]:
        """Hold DIR/pgfan.lock: one process at a time initialises, starts or stops the server.

        Yields the descriptor. ConnectionFailedError after `timeout_s`, naming the holder.
        """
        lock = self._open_lock("pgfan.lock", account)
        try:
            deadline = time.monotonic() + timeout_s
            while not _flock(lock, fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    other = os.pread(lock, 32, 0).decode(errors="replace").strip()
                    raise ConnectionFailedError(
                        f"another pgfan (process {other or 'unknown'}) has been starting or "
                        f"stopping the server in {self.path} for {timeout_s:.0f} s",
                        hint="wait for it, or look at what it does",
                    )
                time.sleep(LOCK_POLL_S)
            # On a full disk the name of the holder is lost, nothing else.
            with contextlib.suppress(OSError):
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            yield lock
        finally:
            os.close(lock)

    def join(self, account: Account) -> int:
        """Count this process among the users, until the descriptor is closed. Under the lock."""
        users = self._open_lock("pgfan.users", account)
        if not _flock(users, fcntl.LOCK_SH):
            os.close(users)
            raise ConnectionFailedError(
                f"{self.path}/pgfan.users is locked by a process that is not pgfan",
                hint="find it with lslocks",
            )
        return users

    @staticmethod
    def is_last(users: int) -> bool:
        """Whether no other process uses the server. Under the lock; `users` loses its share."""
        return _flock(users, fcntl.LOCK_EX)

    def _open_lock(self, name: str, account: Account) -> int:
        path = self.path / name
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                lock = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return os.open(path, flags)
            if os.geteuid() == 0:
                os.fchown(lock, account.uid, account.gid)
        except OSError as error:
            raise self.unwritable(error) from error
        return lock

    def begin(self, account: Account) -> None:
        """Put the marker, before anything else is made; what an earlier attempt left goes."""
        self._mark(account, initialised=False)
        try:
            shutil.rmtree(self.data)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self.unwritable(error) from error

    def include_settings(self, account: Account) -> None:
        """Have postgresql.conf read pgfan.conf, after all that stands in it."""
        configuration = self.data / "postgresql.conf"
        addition = f"\n# Written by pgfan at every start.\ninclude '../{self.settings.name}'\n"
        self.replace(configuration, configuration.read_text() + addition, account)

    def finish(self, account: Account) -> None:
        """The data folder is complete and on disk: say so in the marker, for good."""
        self._mark(account, initialised=True)

    def abandon(self) -> None:
        """Take away what a failed initialisation left, so that DIR is empty again."""
        shutil.rmtree(self.data, ignore_errors=True)
        self._marker.unlink(missing_ok=True)

    def _mark(self, account: Account, *, initialised: bool) -> None:
        marker = {"schema": MARKER_SCHEMA, "initialised": initialised}
        self.replace(self._marker, json.dumps(marker) + "\n", account)

    def replace(self, path: Path, text: str, account: Account) -> None:
        """Put a file of the server in place in one step: old or new, never half. Under the lock."""
        draft = path.with_name(DRAFT)
        try:
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(text)
                    file.flush()
                    if os.geteuid() == 0:
                        os.fchown(file.fileno(), account.uid, account.gid)
                    os.fsync(file.fileno())
                draft.replace(path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self.unwritable(error) from error

    def rotate_log(self) -> int:
        """Put a long log aside (one older one is kept); the length of the present one in bytes."""
        try:
            size = self.log.stat().st_size
            if size <= LOG_BYTES_MAX:
                return size
            self.log.replace(self.log.with_suffix(".log.1"))
        except FileNotFoundError:
            pass
        return 0

    def log_since(self, begin_bytes: int) -> str:
        """What the log has after its first `begin_bytes`; empty when there is none."""
        try:
            with self.log.open("rb") as log:
                log.seek(begin_bytes)
                return log.read(LOG_BYTES_MAX).decode(errors="replace")
        except OSError:
            return ""

    def socket_dir(self, account: Account, port: int) -> Path:
        """Where the socket goes: DIR, or a folder of the server's own when DIR's name is too long.

        Also when it has a comma, by which libpq separates hosts. The other folder is derived from
        DIR's name and closed to everyone but the server's user.
        """
        name = f".s.PGSQL.{port}"
        if len(os.fsencode(self.path / name)) <= SOCKET_PATH_BYTES_MAX and "," not in str(
            self.path
        ):
            return self.path
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        other = Path(tempfile.gettempdir()) / f"pgfan-{digest}"
        with contextlib.suppress(FileExistsError):
            other.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(other, account.uid, account.gid)
        status = other.lstat()
        private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if not private or status.st_uid != account.uid:
            raise UsageError(
                f"the server's socket needs the folder {other}, which is not private to "
                f"{account.name}",
                hint="remove it, or name a --embedded folder with a shorter path",
            )
        return other


def _flock(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
