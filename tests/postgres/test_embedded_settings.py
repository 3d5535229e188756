"""Sizes follow the machine; limits of containers are respected; the page lists every setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgfan.postgres.embedded_settings import (
    GIB,
    MIB,
    Machine,
    building_settings,
    cgroup_limit_bytes,
    connection_settings,
    quoted,
    render,
)

DOCS = Path(__file__).parents[2] / "docs" / "embedded.md"

SMALL = Machine(256 * MIB, cores=1, disk_free_bytes=GIB, shared_memory_mount_bytes=64 * MIB)
LAPTOP = Machine(16 * GIB, cores=8, disk_free_bytes=200 * GIB, shared_memory_mount_bytes=8 * GIB)


def values(machine: Machine, major_version: int = 18) -> dict[str, str]:
    return {s.name: s.value for s in building_settings(machine, major_version)}


@pytest.mark.parametrize(
    ("name", "small", "laptop"),
    [
        ("shared_buffers", "64MB", "2048MB"),
        ("work_mem", "16MB", "128MB"),
        ("maintenance_work_mem", "64MB", "128MB"),
        ("wal_buffers", "16MB", "64MB"),
        ("max_wal_size", "1024MB", "8192MB"),
        ("min_wal_size", "80MB", "1024MB"),
        ("max_parallel_workers", "2", "8"),
        ("dynamic_shared_memory_type", "sysv", "posix"),
        ("fsync", "on", "on"),
        ("full_page_writes", "on", "on"),
    ],
)
def test_sizes_follow_the_machine(name: str, small: str, laptop: str) -> None:
    assert (values(SMALL)[name], values(LAPTOP)[name]) == (small, laptop)


def test_read_ahead_is_set_only_where_the_default_is_none() -> None:
    assert values(LAPTOP, 15)["effective_io_concurrency"] == "16"
    assert "effective_io_concurrency" not in values(LAPTOP, 18)


def test_this_machine_can_be_measured() -> None:
    machine = Machine.measure(Path("/"))
    assert machine.memory_bytes > 64 * MIB
    assert machine.cores >= 1


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        ("0::/", {}, None),
        ("0::/", {"memory.max": "max"}, None),
        ("0::/", {"memory.max": "1000"}, 1000),
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "700"}, 700),
        ("0::/a", {"a/memory.max": "900", "memory.max": "800"}, 800),
        # The path is the host's, and does not exist inside of the container.
        ("4:memory:/docker/x\n0::/", {"memory/memory.limit_in_bytes": "500"}, 500),
        (
            "4:cpu,memory:/x",
            {"memory/x/memory.limit_in_bytes": "9223372036854771712"},
            2**63 - 4096,
        ),
        ("5:cpu:/x", {"memory/memory.limit_in_bytes": "500"}, None),
    ],
)
def test_the_tightest_limit_of_the_control_groups_counts(
    tmp_path: Path, membership: str, limits: dict[str, str], expected: int | None
) -> None:
    root = tmp_path / "cgroup"
    for name, limit in limits.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(limit + "\n")
    (tmp_path / "membership").write_text(membership + "\n")
    assert cgroup_limit_bytes(tmp_path / "membership", root) == expected


def test_overrides_come_last_and_strings_are_quoted() -> None:
    text = render(building_settings(LAPTOP, 18), {"jit": "on"})
    assert text.index("jit = 'on'") > text.index("jit = 'off'")
    assert quoted("a'b\\c") == "'a''b\\\\c'"


def test_the_page_names_every_setting() -> None:
    page = DOCS.read_text()
    settings = (*connection_settings(5432, Path("/x")), *building_settings(SMALL, 15))
    assert [s.name for s in settings if f"`{s.name}`" not in page] == []
