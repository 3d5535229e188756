"""The loop's side of the number of workers: samples, wishes, batches, and what is told of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from fake_server import Told, split_plan

from pgfan import events
from pgfan.errors import ConnectionFailedError, DatabaseError, PgfanError
from pgfan.execute.account import RunAccount
from pgfan.execute.staffing import LOOK_S, Staffing
from pgfan.execute.worker import ChunkDoneReport, ChunkErrorReport
from pgfan.plan.ranges import Range
from pgfan.plan.scaling import Scaling, ScalingOptions, ServerLoad

if TYPE_CHECKING:
    from pgfan.execute.worker import Report


@dataclass
class Clock:
    seconds: float = 0.0

    def now_s(self) -> float:
        return self.seconds


@dataclass
class FakeSampler:
    """Gives the loads in order, the last one for ever; an error is raised."""

    loads: list[ServerLoad | PgfanError]
    taken: int = 0
    closed: bool = False
    enough: threading.Event = field(default_factory=threading.Event)

    def sample(self) -> ServerLoad:
        load = self.loads[min(self.taken, len(self.loads) - 1)]
        self.taken += 1
        if self.taken >= len(self.loads):
            self.enough.set()
        if isinstance(load, PgfanError):
            raise load
        return load

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeControl:
    wishes: list[int | None] = field(default_factory=list)

    def heard(self) -> list[int | None]:
        found, self.wishes = self.wishes, []
        return found


class Stage:
    """A Staffing with everything around it, and a clock that is moved by hand."""

    def __init__(self, options: ScalingOptions, *loads: ServerLoad | PgfanError) -> None:
        self.clock, self.told, self.control = Clock(), Told(), FakeControl()
        self.sampler = FakeSampler(list(loads))
        self.scaling = Scaling(options)
        account = RunAccount("r", [], self.told, self.clock)
        self.staffing = Staffing(self.scaling, account, self.clock, self.sampler, self.control)

    def look_later(self) -> None:
        self.clock.seconds += LOOK_S
        self.staffing.look()

    @property
    def changes(self) -> list[tuple[int, str]]:
        found = self.told.of(events.WorkersChanged)
        return [(e.workers, e.why) for e in found if isinstance(e, events.WorkersChanged)]

    @property
    def warnings(self) -> list[str]:
        found = self.told.of(events.Message)
        return [e.text for e in found if isinstance(e, events.Message)]


def fixed(jobs: int, *, nice: int | None = None) -> ScalingOptions:
    return ScalingOptions(jobs, jobs, most=100, nice=nice)


def load(others: int, *, hidden: int = 0) -> ServerLoad:
    return ServerLoad(2, 0, 0, others, 50, hidden)


AUTO = ScalingOptions(None, start=2, most=100)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgfan.execute.staffing.LOOK_S", 0.001)
    monkeypatch.setattr("pgfan.execute.staffing.SAMPLE_FAILED_S", 0.001)


def test_a_fixed_number_never_looks_at_the_server() -> None:
    stage = Stage(fixed(4), load(9))
    stage.staffing.begin()
    stage.look_later()
    stage.staffing.stop()
    assert (stage.sampler.taken, stage.sampler.closed) == (0, True)


def test_who_is_busy_at_the_start_has_the_run_begin_with_a_pause() -> None:
    stage = Stage(fixed(4, nice=1), load(2))
    assert stage.staffing.begin() == 0
    stage.staffing.stop()
    assert stage.changes == [(0, "others are active")]


def test_samples_come_from_a_thread_of_their_own_until_the_end() -> None:
    stage = Stage(fixed(4, nice=1), load(0), load(0), load(5))
    assert stage.staffing.begin() == 4
    assert stage.sampler.enough.wait(10)
    stage.staffing.stop()
    stage.look_later()
    assert stage.changes == [(0, "others are active")]
    assert stage.sampler.closed


def test_auto_takes_its_first_sample_later() -> None:
    stage = Stage(AUTO, load(0))
    stage.staffing.begin()
    assert stage.sampler.enough.wait(10)
    stage.staffing.stop()
    assert stage.sampler.taken >= 1


def test_a_server_that_cannot_be_looked_at_is_told_once_and_holds_nothing_back() -> None:
    refused = ConnectionFailedError("too many clients")
    stage = Stage(fixed(4, nice=0), refused, refused, refused)
    assert stage.staffing.begin() == 4
    assert stage.sampler.enough.wait(10)
    stage.staffing.stop()
    stage.look_later()
    assert stage.warnings == ["cannot look at the server's sessions: too many clients"]


def test_sessions_that_cannot_be_seen_are_told_once() -> None:
    stage = Stage(fixed(4, nice=0), load(0, hidden=3), load(0, hidden=4))
    stage.staffing.begin()
    assert stage.sampler.enough.wait(10)
    stage.staffing.stop()
    stage.look_later()
    (warning,) = stage.warnings
    assert warning.startswith("3 sessions belong to roles")


def test_wishes_are_heard_at_the_next_look_in_order() -> None:
    stage = Stage(fixed(4), load(0))
    stage.control.wishes = [0, 7]
    stage.staffing.look()  # too early
    assert stage.changes == []
    stage.look_later()
    assert stage.changes == [(0, "as asked"), (7, "as asked")]
    assert (stage.staffing.workers, stage.staffing.workers_most) == (7, 7)


def test_signals_are_heard_at_every_look() -> None:
    stage = Stage(fixed(2), load(0))
    for count in (1, 1, -1):
        stage.staffing.ask_more(count)
    stage.staffing.look()
    assert stage.changes == [(3, "as asked"), (4, "as asked"), (3, "as asked")]


def test_a_fixed_run_that_is_given_back_to_auto_starts_sampling() -> None:
    stage = Stage(fixed(2), load(0))
    stage.staffing.begin()
    stage.control.wishes = [None]
    stage.look_later()
    assert stage.sampler.enough.wait(10)
    stage.staffing.stop()


# What chunks tell ---------------------------------------------------------------------------------

DONE = ChunkDoneReport(10, 2.0)
FAILED = ChunkErrorReport(DatabaseError("deadlock detected", sqlstate="40P01"), "again")
DUPLICATE = ChunkDoneReport(10, 0.0, duplicate=True)


def batch(stage: Stage, worker: int, *reports: Report, units: int = 10, attempt: int = 1) -> None:
    """A worker's batch of two seconds that began with the clock as it is."""
    pieces = [Range(0, units) for _ in reports]
    began_s = stage.clock.seconds
    stage.staffing.chunk_started(worker, attempt)
    stage.clock.seconds += 2.0
    stage.staffing.batch_ended(worker, 0, pieces, reports)
    stage.clock.seconds = began_s


def epoch(stage: Stage, *reports: Report, attempt: int = 1) -> None:
    stage.staffing.task_prepared(0, split_plan(0, 1000).split)
    batch(stage, 0, DONE)  # the gauge
    stage.staffing.staffed(0.0, stage.scaling.workers)
    for _ in range(4):
        batch(stage, 0, *reports, attempt=attempt)
    stage.clock.seconds = 10.0
    stage.staffing.look()


def test_auto_climbs_on_the_work_of_batches() -> None:
    stage = Stage(AUTO, load(0))
    epoch(stage, DONE)
    assert stage.changes == [(4, "trying more")]


@pytest.mark.parametrize("reports", [(DONE, FAILED), (FAILED,), (DUPLICATE,)])
def test_a_batch_that_failed_or_was_done_before_tells_nothing(reports: tuple[Report, ...]) -> None:
    stage = Stage(AUTO, load(0))
    epoch(stage, *reports)
    assert stage.changes == []


def test_a_second_attempt_tells_nothing_because_it_has_waited() -> None:
    stage = Stage(AUTO, load(0))
    epoch(stage, DONE, attempt=2)
    assert stage.changes == []


def test_a_statement_that_is_not_split_tells_nothing() -> None:
    stage = Stage(AUTO, load(0))
    stage.staffing.task_prepared(0, None)
    stage.staffing.staffed(0.0, 2)
    for _ in range(9):
        batch(stage, 0, DONE, units=1)
    stage.clock.seconds = 10.0
    stage.staffing.look()
    assert stage.changes == []


def test_errors_that_mean_too_many_are_obeyed_at_once() -> None:
    stage = Stage(ScalingOptions(None, start=8, most=100), load(0))
    stage.staffing.chunk_failed("53200")
    stage.staffing.refused(2)
    assert stage.changes == [(4, "out of memory"), (2, "no connection")]
