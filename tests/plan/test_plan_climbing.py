"""The law behind `--jobs auto`, on servers that are curves: no clock, no server, seeded noise."""

from __future__ import annotations

from random import Random

import pytest
from modelled_server import ModelledServer, knee

from pgfan.plan.climbing import Climb, Step

MOST = 64


def modelled(
    at: float, *, start: int = 4, loss: float = 0.0, noise: float = 0.1, seed: int = 1
) -> ModelledServer:
    climb = Climb(start, MOST, start)
    return ModelledServer(climb, knee(at, loss=loss), Random(seed), noise)  # noqa: S311 - dice


def workers_of(server: ModelledServer) -> list[int]:
    return [step.workers for _, step in server.steps]


# It finds the knee and stays --------------------------------------------------------------------

KNEES = [
    # start, knee, loss of each worker beyond, noise of a chunk
    (4, 16, 0.0, 0.1),
    (4, 16, 0.03, 0.1),
    (4, 16, 0.03, 0.3),
    (4, 1, 0.1, 0.1),
    (2, 2, 0.02, 0.1),
    (4, 4, 0.05, 0.2),
    (8, 11, 0.05, 0.2),
    (4, 30, 0.02, 0.2),
    (16, 4, 0.05, 0.1),
]


@pytest.mark.parametrize(("start", "at", "loss", "noise"), KNEES)
@pytest.mark.parametrize("seed", [1, 2])
def test_it_reaches_the_throughput_of_the_knee_and_stays(
    start: int, at: float, loss: float, noise: float, seed: int
) -> None:
    server = modelled(at, start=start, loss=loss, noise=noise, seed=seed)
    server.run(120)
    assert server.run(300) >= 0.9 * at


@pytest.mark.parametrize(("start", "at", "loss", "noise"), KNEES)
def test_it_does_not_swing(start: int, at: float, loss: float, noise: float) -> None:
    server = modelled(at, start=start, loss=loss, noise=noise)
    server.run(150)
    server.steps.clear()
    server.run(400)
    settled = server.climb.workers
    assert len(server.steps) <= 16  # a look aside and back every minute or so
    strides = [abs(workers - settled) for workers in workers_of(server)]
    assert max(strides, default=0) <= max(2, settled // 2)


def test_without_noise_it_tries_once_around_the_knee_and_then_rests() -> None:
    server = modelled(8, noise=0.0)
    server.run(40)
    assert workers_of(server) == [8, 16, 12, 10, 9, 8]
    assert [step.why for _, step in server.steps][-2:] == ["trying more", "more are no faster"]
    server.steps.clear()
    server.run(12)
    assert server.steps == []


def test_workers_that_change_nothing_are_given_back() -> None:
    server = modelled(4, start=16)
    server.run(400)
    assert server.climb.workers <= 6


# It follows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_server_that_loses_cores_has_fewer_workers_soon(seed: int) -> None:
    server = modelled(16, start=8, loss=0.05, seed=seed)
    server.run(200)
    server.curve = knee(4, loss=0.05)
    server.run(60)
    assert server.run(120) >= 0.9 * 4
    assert server.climb.workers <= 6


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_room_that_opens_silently_is_found_by_the_looks_aside(seed: int) -> None:
    server = modelled(4, seed=seed)
    server.run(200)
    server.curve = knee(16)
    server.run(300)
    assert server.run(200) >= 0.9 * 16


def test_a_pace_that_changes_for_all_alike_leaves_the_number() -> None:
    server = modelled(8)
    server.run(200)
    server.curve = knee(8, speed=0.4)
    server.run(120)
    assert server.run(200) >= 0.9 * 8 * 0.4


# Waits --------------------------------------------------------------------------------------------


def test_lock_waits_shrink_and_growth_returns() -> None:
    server = modelled(16, start=16)
    server.run(60)
    server.steps.clear()
    server.waits = lambda workers: (max(0.0, 1 - 4 / workers), 0.0)
    server.curve = knee(4)
    server.run(30)
    assert server.climb.workers <= 6
    assert {step.why for _, step in server.steps} == {"lock waits"}
    server.waits = lambda _workers: (0.0, 0.0)
    server.curve = knee(16)
    server.run(400)
    assert server.climb.workers >= 14


def test_a_lock_that_somebody_else_holds_shrinks_nothing() -> None:
    climb = Climb(16, MOST, 8)
    for _ in range(10):
        climb.waits(1.0, 0.0)
        assert climb.decide(0.0) is None


def test_one_worker_never_becomes_none() -> None:
    climb = Climb(1, MOST, 1)
    for _ in range(10):
        climb.waits(0.5, 0.0)
        assert climb.decide(0.0) is None
    assert climb.failed("out of memory") is None
    assert climb.refused(0) is None
    assert climb.workers == 1


def test_a_saturated_disk_has_fewer_tried_first() -> None:
    server = modelled(6, start=12, loss=0.05)
    server.waits = lambda workers: (0.0, 0.8 if workers > 6 else 0.2)
    server.run(20)
    assert server.steps[0][1].why == "trying fewer"
    server.run(100)
    assert server.run(200) >= 0.9 * 6


def test_waits_for_a_disk_that_serves_more_at_once_do_not_stop_growth() -> None:
    server = modelled(32)
    server.waits = lambda _workers: (0.0, 0.9)
    server.run(120)
    assert server.run(100) >= 0.9 * 32


# Errors and room ----------------------------------------------------------------------------------


def test_out_of_memory_halves_at_once_and_growth_returns_in_small_strides() -> None:
    server = modelled(16, start=16)
    server.run(60)
    assert server.climb.failed("out of memory") == Step(8, "out of memory")
    server.steps.clear()
    server.run(20)
    assert server.steps == []
    server.run(400)
    assert workers_of(server)[0] == 9
    assert server.climb.workers >= 14


def test_a_deadlock_takes_a_quarter() -> None:
    assert Climb(16, MOST, 8).failed("deadlock") == Step(12, "deadlock")


def test_no_connection_leaves_those_that_have_one_and_is_tried_again_later() -> None:
    server = modelled(64, start=16)
    server.run(5)
    assert server.climb.refused(9) == Step(9, "no connection")
    server.steps.clear()
    server.run(30)
    assert server.steps == []
    server.run(120)
    assert max(workers_of(server)) > 9


def test_never_more_than_there_is_room_for() -> None:
    server = modelled(64)
    server.climb.make_room(10)
    server.run(200)
    assert max(workers_of(server)) == 10
    assert server.climb.make_room(6) == Step(6, "no connection")
    assert server.climb.make_room(20) is None
    server.steps.clear()
    server.run(200)
    assert max(workers_of(server)) > 10


def test_never_more_than_the_most_it_was_made_with() -> None:
    climb = Climb(100, 12, 100)
    assert climb.workers == 12


# What is measured ---------------------------------------------------------------------------------


def test_nothing_is_decided_while_workers_have_nothing_to_do() -> None:
    server = modelled(64)
    server.climb.staffed(0.0, fully=False)
    for chunk in range(100):
        server.climb.chunk_done(chunk, 1.0, 1.0)
    assert server.climb.decide(1000.0) is None


def test_chunks_that_began_before_the_change_do_not_count() -> None:
    climb = Climb(1, MOST, 1)
    climb.staffed(10.0, fully=True)
    for chunk in range(20):
        climb.chunk_done(9.0, 1.0, 1.0 + chunk)
    assert climb.decide(1000.0) is None
    for _ in range(4):
        climb.chunk_done(11.0, 1.0, 1.0)
    assert climb.decide(1000.0) == Step(2, "trying more")


def test_length_of_chunks_does_not_pass_for_throughput() -> None:
    """Twice the workers, each as fast as before, on chunks a tenth as long: worth it."""
    climb = Climb(2, MOST, 2)
    climb.staffed(0.0, fully=True)
    for _ in range(4):
        climb.chunk_done(1.0, 2.0, 2.0)
    assert climb.decide(10.0) == Step(4, "trying more")
    climb.staffed(10.0, fully=True)
    for _ in range(8):
        climb.chunk_done(11.0, 0.2, 0.2)
    assert climb.decide(20.0) == Step(8, "trying more")
