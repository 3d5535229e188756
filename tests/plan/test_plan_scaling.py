"""How many workers are asked for, and how many the server has room for."""

from __future__ import annotations

import pytest

from pgfan.plan.scaling import REMOTE_JOBS, is_local_host, jobs_allowed, jobs_wanted

HOSTS = [
    ("", True),
    ("/var/run/postgresql", True),
    ("@abstract", True),
    ("localhost", True),
    ("127.0.0.1", True),
    ("127.5.5.5", True),
    ("::1", True),
    ("10.0.0.1", False),
    ("0.0.0.0", False),  # noqa: S104 - a host to connect to, not to listen on
    ("db.example.org", False),
    ("localhost.example.org", False),
    ("2001:db8::1", False),
]


@pytest.mark.parametrize(("host", "local"), HOSTS)
def test_a_host_of_this_machine(host: str, *, local: bool) -> None:
    assert is_local_host(host) is local


@pytest.mark.parametrize(
    ("asked", "host", "cores", "jobs"),
    [
        (None, "", 8, 8),
        (None, "127.0.0.1", 1, 1),
        (None, "db.example.org", 64, REMOTE_JOBS),
        (3, "db.example.org", 64, 3),
        (200, "", 2, 200),
        (1, "", 64, 1),
    ],
)
def test_jobs_wanted(asked: int | None, host: str, cores: int, jobs: int) -> None:
    assert jobs_wanted(asked, host, cores) == jobs


@pytest.mark.parametrize(
    ("wanted", "free", "jobs"),
    [(4, 100, 4), (4, 6, 4), (4, 5, 3), (4, 2, 1), (1, -5, 1)],
)
def test_jobs_allowed(wanted: int, free: int, jobs: int) -> None:
    assert jobs_allowed(wanted, free) == jobs
