"""Whether a server runs in a folder: postmaster.pid, socket lock files, and who they name.

Process numbers are given out anew, so a lock file is believed only when the process that it names
is a postmaster of that folder. Reads /proc, so Linux only. What does not belong here: starting and
stopping.

See the PostgreSQL manual, "Database File Layout", for postmaster.pid.
"""

from __future__ import annotations

import os
import socket
from enum import Enum, auto
from pathlib import Path

from msgspec import Struct


class Postmaster(Struct, frozen=True):
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
    the dead server's shared memory is attached (see `orphans_at_work`).
    """
    lines = _lines(lock)
    if not lines or not lines[0].lstrip("-").isdigit():
        return
    pid = abs(int(lines[0]))
    stale = {Holder.UNRELATED}
    if lock.name == "postmaster.pid":
        stale.add(Holder.OTHER_SERVER)
    if holder(pid, data) in stale and not orphans_at_work(lock):
        lock.unlink(missing_ok=True)


def orphans_at_work(lock: Path) -> bool:
    """Whether processes are attached to the shared memory that postmaster.pid names in line 7.

    The backends of a killed postmaster end by themselves, when they next look: until then
    PostgreSQL refuses to start another.
    """
    try:
        identifier = _lines(lock)[6].split()[1]
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
