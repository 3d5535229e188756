"""What a number depends on: the machine, the server and its settings; and the server's CPU time."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgfan import __version__

if TYPE_CHECKING:
    from pgfan.bench.site import Site

SETTINGS = (
    "checkpoint_timeout",
    "fsync",
    "full_page_writes",
    "jit",
    "max_connections",
    "max_parallel_workers_per_gather",
    "max_wal_size",
    "shared_buffers",
    "synchronous_commit",
    "wal_buffers",
    "wal_compression",
    "wal_level",
    "work_mem",
)
PROC = Path("/proc")
READINGS_MAX = 20


def machine_facts(site: Site) -> dict[str, Any]:
    """The facts that stand in front of every result, as JSON values."""
    names = ", ".join(f"'{name}'" for name in SETTINGS)
    settings = site.control.execute(
        "SELECT name, pg_catalog.current_setting(name) FROM pg_catalog.pg_settings "
        f"WHERE name IN ({names}) ORDER BY name"
    )[0].rows
    return {
        "cores": site.cores,
        "cpu": _cpu_model(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "pgfan": __version__,
        "server": site.value("SHOW server_version"),
        "where": site.where,
        "settings": {str(name): value for name, value in settings},
    }


def server_cpu_s(postmaster_pid: int | None) -> float | None:
    """User and system seconds that a server has used since its start, all its processes together.

    Backends that have ended count through the postmaster, which waited for them. None without a
    process number, or where /proc does not tell.
    """
    if postmaster_pid is None:
        return None
    try:
        found = _ticks_of_processes(postmaster_pid)
        # A backend that ends between two readings is counted by neither; the next pair has it.
        for _ in range(READINGS_MAX):
            before, found = found, _ticks_of_processes(postmaster_pid)
            if found.keys() == before.keys():
                break
    except OSError:
        return None
    return sum(found.values()) / os.sysconf("SC_CLK_TCK")


def _ticks_of_processes(postmaster_pid: int) -> dict[int, int]:
    """The CPU time of the postmaster, which is read first, and of each of its children."""
    _, times = _stat(PROC / str(postmaster_pid))
    found = {postmaster_pid: sum(times)}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                parent, times = _stat(entry)
            except OSError:
                continue  # ended meanwhile
            if parent == postmaster_pid:
                found[int(entry.name)] = sum(times[:2])
    return found


def _stat(entry: Path) -> tuple[int, list[int]]:
    """The parent of a process, and its ticks: user, system, and the same of ended children."""
    text = (entry / "stat").read_text(encoding="ascii", errors="replace")
    # The name, in parentheses, may hold anything; fields are counted from behind it (proc(5)).
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), [int(field) for field in fields[11:15]]


def _cpu_model() -> str:
    try:
        lines = (PROC / "cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())
