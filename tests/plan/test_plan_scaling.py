"""How many workers are asked for, and how many the server has room for."""

from __future__ import annotations

import pytest

from pgfan.plan.scaling import (
    AUTO_MAX,
    REMOTE_JOBS,
    Scaling,
    ScalingOptions,
    ServerLoad,
    WorkersChange,
    WorkMeter,
    is_local_host,
    jobs_allowed,
    jobs_wanted,
)

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


def test_whoever_looks_at_the_server_needs_a_connection_too() -> None:
    assert jobs_allowed(4, 6, sampled=True) == 3


# While the run goes on ----------------------------------------------------------------------------


def scaling(jobs: int | None, *, max_load: int | None = None, nice: int | None = None) -> Scaling:
    return Scaling(ScalingOptions(jobs, start=4, most=100, max_load=max_load, nice=nice))


def load(others: int, *, own: int = 4, locked: int = 0, connections: int = 100) -> ServerLoad:
    return ServerLoad(own, locked, 0, others, connections)


def test_a_fixed_number_needs_no_samples_unless_others_come_first() -> None:
    assert scaling(None).needs_samples
    assert not scaling(8).needs_samples
    assert scaling(8, max_load=4).needs_samples
    assert scaling(8, nice=0).needs_samples


def test_a_fixed_number_stays_whatever_happens() -> None:
    found = scaling(8)
    assert found.workers == 8
    for _ in range(5):
        assert found.see(load(50, own=8, locked=4, connections=3)) is None
    assert [found.chunk_failed("53200"), found.refused(2), found.decide(1e6)] == [None] * 3


def test_more_than_the_server_has_room_for_is_what_it_has_room_for() -> None:
    assert scaling(10_000).workers == 100
    assert scaling(8).ask(10_000) == WorkersChange(100, "as asked")


def test_nice_pauses_while_more_than_so_many_others_are_active() -> None:
    found = scaling(8, nice=2)
    assert found.see(load(2)) is None
    assert found.see(load(3)) == WorkersChange(0, "others are active")
    assert found.see(load(0)) is None  # not believed yet
    assert found.see(load(0)) is None
    assert found.see(load(0)) == WorkersChange(8, "others are fewer")


def test_max_load_leaves_what_others_do_not_use() -> None:
    found = scaling(8, max_load=10)
    assert found.see(load(2)) is None
    assert found.see(load(7)) == WorkersChange(3, "load of others")
    assert found.see(load(10)) == WorkersChange(0, "load of others")
    assert found.see(load(40)) is None
    for _ in range(2):
        assert found.see(load(4)) is None
    assert found.see(load(4)) == WorkersChange(6, "others are fewer")


def test_max_load_bounds_the_workers_of_a_quiet_server_too() -> None:
    found = scaling(8, max_load=3)
    assert found.workers == 3


def test_the_user_changes_the_number_and_others_still_come_first() -> None:
    found = scaling(4, max_load=10)
    assert found.ask(6) == WorkersChange(6, "as asked")
    assert found.ask(0) == WorkersChange(0, "as asked")
    found.see(load(7))
    assert found.ask(8) == WorkersChange(3, "as asked")


def test_one_more_and_one_less_but_never_none() -> None:
    found = scaling(2)
    assert found.ask_more(1) == WorkersChange(3, "as asked")
    assert found.ask_more(-2) == WorkersChange(1, "as asked")
    assert found.ask_more(-1) is None
    assert found.workers == 1


def measure(found: Scaling, at_s: float, speed: float) -> WorkersChange | None:
    """An epoch of chunks of two seconds on all workers; the very first chunk is the gauge."""
    found.add_task(0, [1_000_000])
    found.chunk_done(0, 0, 10, at_s, 2.0)
    found.staffed(at_s, found.workers)
    for _ in range(2 * found.workers):
        found.chunk_done(0, 0, round(10 * speed), at_s, 2.0)
    return found.decide(at_s + 5)


def test_auto_climbs_and_a_number_of_the_users_ends_that_until_auto_is_asked_for_again() -> None:
    found = scaling(None)
    assert found.workers == 4
    assert measure(found, 0, 1.0) == WorkersChange(8, "trying more")
    assert found.ask(5) == WorkersChange(5, "as asked")
    assert measure(found, 10, 1.0) is None
    assert found.ask(None) == WorkersChange(8, "auto again")
    assert measure(found, 20, 1.0) == WorkersChange(16, "trying more")


def test_auto_takes_smaller_strides_from_cores_than_from_a_guess() -> None:
    found = Scaling(ScalingOptions(None, start=4, most=100, cores_known=True))
    assert measure(found, 0, 1.0) == WorkersChange(6, "trying more")


def test_auto_never_goes_beyond_a_bound_of_its_own_nor_beyond_the_connections() -> None:
    found = Scaling(ScalingOptions(None, start=200, most=1000))
    assert found.workers == AUTO_MAX
    assert found.see(load(0, connections=9)) == WorkersChange(9, "no connection")


def test_auto_shrinks_on_lock_waits_and_errors() -> None:
    found = Scaling(ScalingOptions(None, start=8, most=100))
    for _ in range(3):
        assert found.see(load(0, own=8, locked=4)) is None
    assert found.decide(10.0) == WorkersChange(4, "lock waits")
    assert found.chunk_failed("23505") is None
    assert found.chunk_failed("53200") == WorkersChange(2, "out of memory")
    assert found.refused(1) == WorkersChange(1, "no connection")


def test_nothing_is_measured_while_others_hold_the_number_down() -> None:
    found = scaling(None, max_load=6)
    found.see(load(4))
    assert found.workers == 2
    assert measure(found, 0, 1.0) is None


# Work ---------------------------------------------------------------------------------------------


def test_work_of_two_parts_adds_up_though_their_units_differ() -> None:
    meter = WorkMeter(0.0)
    meter.add_task(0, [100, 100])
    assert meter.work(0, 0, 10, 2.0, 1.0) is None  # the gauge
    assert meter.work(0, 100, 5, 2.0, 1.0) is None
    assert meter.work(0, 10, 20, 4.0, 1.0) == 4.0
    assert meter.work(0, 105, 10, 8.0, 1.0) == 4.0  # twice as slow as the gauge


def test_the_gauge_of_a_later_task_goes_by_the_speed_of_that_moment() -> None:
    meter = WorkMeter(0.0)
    meter.add_task(7, [100])
    assert meter.work(7, 0, 10, 2.0, 0.5) is None
    assert meter.work(7, 10, 10, 2.0, 0.5) == 1.0


def test_what_tells_nothing() -> None:
    meter = WorkMeter(0.5)
    meter.add_task(0, [100])
    assert meter.work(1, 0, 1, 9.0, 1.0) is None  # not split
    for _ in range(2):
        assert meter.work(0, 0, 10, 0.5, 1.0) is None  # still growing
        assert meter.work(0, 0, 0, 9.0, 1.0) is None
