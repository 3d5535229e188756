"""How the packaged server is configured for building, and how much of the machine it may take.

Each setting stands here with its reason; docs/embedded.md repeats the table for users. Values are
computed at every start, so that they follow a machine (or a container's limit) that changed.
What does not belong here: starting the server, and settings of servers that pgfan did not make.

See the PostgreSQL manual, chapters "Server Configuration" and "Populating a Database".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# Below this /dev/shm is a container's default of 64 MB: one parallel hash join fills it.
SHARED_MEMORY_MOUNT_ENOUGH_BYTES = GIB


class Machine(Struct, frozen=True):
    """What the server may use; `memory_bytes` is the smaller of RAM and the cgroup's limit."""

    memory_bytes: int
    cores: int
    disk_free_bytes: int
    shared_memory_mount_bytes: int
    """The size of /dev/shm; 0 when there is none."""

    @classmethod
    def measure(cls, folder: Path) -> Machine:
        """This machine, as this process may use it; free space is that of `folder`'s disk."""
        ram_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        disk = os.statvfs(folder)
        try:
            mount = os.statvfs("/dev/shm")  # noqa: S108 - the kernel's name for it, nothing is made
            mount_bytes = mount.f_blocks * mount.f_frsize
        except OSError:
            mount_bytes = 0
        return cls(
            memory_bytes=min(ram_bytes, cgroup_limit_bytes() or ram_bytes),
            cores=len(os.sched_getaffinity(0)),
            disk_free_bytes=disk.f_bavail * disk.f_frsize,
            shared_memory_mount_bytes=mount_bytes,
        )


class Setting(Struct, frozen=True):
    """One line of pgfan.conf."""

    name: str
    value: str
    reason: str


def cgroup_limit_bytes(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """The tightest memory limit over this process's control groups, v1 and v2; None for none.

    A limit on any ancestor holds as well, so every level up to the root is read. Inside a
    container the path named by the kernel may not exist; its ancestors, up to the root, do.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    limits: list[int] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = Path(path.lstrip("/"))
        limits += [
            limit
            for level in (group, *group.parents)
            if (limit := _limit_in(base / level / name)) is not None
        ]
    return min(limits, default=None)


def _limit_in(file: Path) -> int | None:
    """The number in `file`; None when unreadable or "max"."""
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def connection_settings(port: int, socket_dir: Path) -> tuple[Setting, ...]:
    """Where the server listens: on a socket in `socket_dir`, and nowhere else."""
    # A list of quoted names, within which a quotation mark is doubled.
    directory = '"{}"'.format(str(socket_dir).replace('"', '""'))
    return (
        Setting("listen_addresses", "", "no TCP: nobody reaches it but through the socket"),
        Setting("port", str(port), "only a part of the socket's name"),
        Setting("unix_socket_directories", directory, "in a folder that is closed to others"),
        Setting("unix_socket_permissions", "0700", "and closed to others itself"),
    )


def building_settings(machine: Machine, major_version: int) -> tuple[Setting, ...]:
    """What pgfan.conf says of sizes, durability and planning, in the order of the manual."""
    return (
        *_memory_settings(machine),
        *_wal_settings(machine),
        *_planner_settings(machine, major_version),
    )


def _memory_settings(machine: Machine) -> tuple[Setting, ...]:
    memory, cores = machine.memory_bytes, machine.cores
    small_mount = machine.shared_memory_mount_bytes < SHARED_MEMORY_MOUNT_ENOUGH_BYTES
    return (
        Setting("max_connections", "100", "more workers than a machine of this kind can use"),
        Setting(
            "shared_buffers",
            _size(memory // 4, 32 * MIB, 2 * GIB),
            "a quarter of memory; capped, since bulk reads and writes go through small rings "
            "and the kernel caches the rest, while a checkpoint scans all of it",
        ),
        Setting(
            "work_mem",
            _size(memory // (16 * cores), 4 * MIB, 256 * MIB),
            "sorts and hashes of a build are few and large: a quarter of memory, shared by four "
            "of them per core",
        ),
        Setting(
            "maintenance_work_mem",
            _size(memory // (16 * cores), 64 * MIB, GIB),
            "CREATE INDEX sorts in memory; as many as there are cores run at once",
        ),
        Setting(
            "dynamic_shared_memory_type",
            "sysv" if small_mount else "posix",
            "parallel plans share memory through /dev/shm, unless that is a container's 64 MB",
        ),
        Setting(
            "max_locks_per_transaction",
            "256",
            "one transaction of a build may touch thousands of tables or partitions (7 MB)",
        ),
    )


def _wal_settings(machine: Machine) -> tuple[Setting, ...]:
    wal_bytes = machine.disk_free_bytes // 10
    return (
        Setting(
            "wal_buffers",
            _size(machine.memory_bytes // 256, 16 * MIB, 64 * MIB),
            "several writers fill the default of 16 MB within a tenth of a second, and then wait "
            "for each other to write it out",
        ),
        Setting(
            "wal_writer_delay",
            "10ms",
            "the WAL is written beside the workers and not by them: at the default of 200 ms a "
            "long statement comes upon full buffers again and again",
        ),
        Setting("fsync", "on", "a crash must lose nothing that was committed"),
        Setting("full_page_writes", "on", "a page half written in a crash must be mendable"),
        Setting(
            "wal_level",
            "minimal",
            "no replica follows this server: tables filled where they are created, and new "
            "indexes, are synced instead of logged",
        ),
        Setting("max_wal_senders", "0", "wal_level=minimal demands it"),
        Setting(
            "max_wal_size",
            _size(wal_bytes, GIB, 8 * GIB),
            "each checkpoint makes every page be logged whole once more; at the default of 1 GB "
            "a bulk write has one every few seconds. A tenth of the free disk; capped, since "
            "crash recovery reads it",
        ),
        Setting(
            "min_wal_size",
            _size(wal_bytes // 4, 80 * MIB, GIB),
            "WAL files that are kept are reused; new ones are written twice, first with zeros",
        ),
        Setting("checkpoint_timeout", "15min", "checkpoints by volume, not by the clock"),
        Setting("checkpoint_completion_target", "0.9", "spread a checkpoint's writes"),
    )


def _planner_settings(machine: Machine, major_version: int) -> tuple[Setting, ...]:
    memory, cores = machine.memory_bytes, machine.cores
    per_plan = str(min(8, max(2, cores)))
    settings = (
        Setting("max_worker_processes", str(cores + 8), "room for parallel plans and the rest"),
        Setting("max_parallel_workers", str(max(2, cores)), "a worker per core, over all plans"),
        Setting("max_parallel_workers_per_gather", per_plan, "one large query may use all cores"),
        Setting("max_parallel_maintenance_workers", per_plan, "so may one CREATE INDEX"),
        Setting("random_page_cost", "1.1", "the data lies on an SSD or in memory"),
        Setting(
            "effective_cache_size",
            _size(memory // 4 * 3, 128 * MIB, 1024 * GIB),
            "what the kernel and the server can cache together",
        ),
        Setting("jit", "off", "each chunk would compile the same plan again"),
    )
    if major_version < 18:
        # 18 reads ahead by itself (asynchronous I/O), with this as its default.
        return (
            *settings,
            Setting("effective_io_concurrency", "16", "bitmap scans read ahead, as 18 does"),
        )
    return settings


def render(settings: tuple[Setting, ...], overrides: Mapping[str, str]) -> str:
    """The text of pgfan.conf: every setting under its reason, then the overrides."""
    lines = [
        "# Written by pgfan at every start of this server; changes made here are lost.",
        "# ALTER SYSTEM overrides what stands here and is kept.",
        "",
    ]
    for setting in settings:
        lines += [f"# {setting.reason}", f"{setting.name} = {quoted(setting.value)}"]
    lines += [f"{name} = {quoted(value)}" for name, value in overrides.items()]
    return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    """A string of a PostgreSQL configuration file; `value` has no line breaks."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _size(wanted_bytes: int, least_bytes: int, most_bytes: int) -> str:
    """A size within its bounds, in whole megabytes as the configuration file spells them."""
    return f"{max(least_bytes, min(wanted_bytes, most_bytes)) // MIB}MB"
