"""The loop: results in order, failures, interruptions, and crashes at every boundary."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest
from fake_server import (
    ClientKilledError,
    Clock,
    FakeCoordinator,
    FakeJournal,
    FakeSession,
    Server,
    Told,
    lost,
)
from stepping import SteppedWorkers

from pgfan import events
from pgfan.errors import (
    ConnectionFailedError,
    DatabaseError,
    InterruptedRunError,
    PgfanError,
    ResumeRefusedError,
)
from pgfan.execute.account import TaskLabel
from pgfan.execute.context import RunContext
from pgfan.execute.runner import Runner
from pgfan.plan.dag import TaskSpec
from pgfan.plan.scheduler import Scheduler, SchedulerOptions
from pgfan.plan.sizing import SizingOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.execute.outcome import RunResult
    from pgfan.ports import Result


@dataclass
class World:
    """A run's surroundings, all of them fakes; `run` may be called again to resume."""

    units: list[int]
    workers: int = 2
    fixed_units: int | None = 3
    batch_s: float = 0.0
    keep_going: bool = False
    server: Server = field(default_factory=Server)
    serial: dict[int, tuple[str, ...]] = field(default_factory=dict)
    told: Told = field(default_factory=Told)
    results: list[tuple[int, list[str]]] = field(default_factory=list)
    placed: list[tuple[int, int]] = field(default_factory=list)
    refusals: dict[int, PgfanError] = field(default_factory=dict)
    journaled: bool = True

    def __post_init__(self) -> None:
        self.coordinator = FakeCoordinator(self.server, self.units, self.serial)
        self.coordinator.refusals = self.refusals
        self.sessions: list[FakeSession] = []

    def runner(self) -> Runner:
        self.sessions = [FakeSession(self.server) for _ in range(self.workers)]
        chain = [
            TaskSpec(n, frozenset({n - 1} if n else ()), order_only=True)
            for n in range(len(self.units))
        ]
        options = SchedulerOptions(
            SizingOptions(fixed_units=self.fixed_units), self.keep_going, self.batch_s
        )
        context = RunContext(
            run_id="r",
            sessions=self.sessions,
            journal=FakeJournal() if self.journaled else None,
            coordinator=self.coordinator,
            progress=self.told,
            clock=Clock(),
            on_result=self._result,
            on_error=self._error,
        )
        labels = [TaskLabel(f"t{n}", f"f:{n}", "insert", "INSERT") for n in range(len(self.units))]
        return Runner(context, Scheduler(chain, self.workers, options), labels)

    def run(self) -> RunResult:
        return self.runner().run()

    def _result(self, task: int, results: Sequence[Result]) -> None:
        self.results.append((task, [result.tag for result in results]))

    def _error(self, task: int, error: PgfanError, index: int) -> PgfanError:
        self.placed.append((task, index))
        return error

    def check_all_done_once(self) -> None:
        expected = {
            (task, unit)
            for task, count in enumerate(self.units)
            if task not in self.serial
            for unit in range(count)
        }
        assert set(self.server.units) == expected
        assert set(self.server.units.values()) <= {1}


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> SteppedWorkers:
    workers = SteppedWorkers(Random(7))  # noqa: S311 - a test's dice
    workers.install(monkeypatch)
    return workers


def states(result: RunResult) -> list[str]:
    return [task.state for task in result.tasks]


# A run that goes well --------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("batch_s", [0.0, 0.05])
@pytest.mark.usefixtures("stepped")
def test_every_unit_is_done_once(workers: int, batch_s: float) -> None:
    world = World([100, 7, 0, 1], workers, batch_s=batch_s)
    result = world.run()
    assert result.ok
    assert not result.interrupted
    world.check_all_done_once()
    assert [(task.state, task.rows) for task in result.tasks] == [
        ("done", 100),
        ("done", 7),
        ("done", 0),
        ("done", 1),
    ]
    assert world.results == [(n, [f"INSERT 0 {rows}"]) for n, rows in enumerate([100, 7, 0, 1])]


def test_with_threads_as_without() -> None:
    world = World([500, 20], 4, batch_s=0.05)
    assert world.run().ok
    world.check_all_done_once()
    assert not [t for t in threading.enumerate() if t.name.startswith("pgfan-worker")]


@pytest.mark.usefixtures("stepped")
def test_results_and_notices_come_in_the_order_of_the_script() -> None:
    world = World(
        [1, 4, 1],
        serial={0: ("NOTICE one", "SELECT 1", "NOTICE two"), 2: ("SELECT 2",)},
    )
    assert world.run().ok
    assert world.results == [
        (0, ["NOTICE one", "SELECT 1", "NOTICE two"]),
        (1, ["INSERT 0 4"]),
        (2, ["SELECT 2"]),
    ]
    notices = [event for event in world.told.events if isinstance(event, events.Notice)]
    assert [(one.task_id, one.message) for one in notices] == [("t0", "one"), ("t0", "two")]
    assert not world.sessions[1].messages or "SELECT" not in world.sessions[1].messages[0]


@pytest.mark.usefixtures("stepped")
def test_what_is_told_of_a_run() -> None:
    world = World([4], 1)
    world.run()
    kinds = [type(event).__name__ for event in world.told.events]
    assert kinds == [
        "RunStarted",
        "TaskStarted",
        "ChunkStarted",
        "ChunkFinished",
        "ChunkStarted",
        "ChunkFinished",
        "TaskFinished",
        "RunFinished",
    ]
    done = [event for event in world.told.events if isinstance(event, events.ChunkFinished)]
    assert [(one.lo, one.hi, one.rows) for one in done] == [(0, 3, 3), (3, 4, 1)]
    times = [event.at_s for event in world.told.events if hasattr(event, "at_s")]
    assert times == sorted(times)


@pytest.mark.usefixtures("stepped")
def test_a_finished_run_is_skipped_and_does_nothing() -> None:
    world = World([5, 5])
    world.run()
    again = world.run()
    assert states(again) == ["skipped", "skipped"]
    assert all(not session.messages for session in world.sessions)
    world.check_all_done_once()


# Failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.usefixtures("stepped")
def test_the_third_statement_fails(*, keep_going: bool) -> None:
    serial = {0: ("NOTICE a",), 2: ("NOTICE b", "FAIL 22012"), 3: ("NOTICE c",)}
    world = World([1, 4, 1, 1], serial=serial, keep_going=keep_going)
    result = world.run()
    assert not result.ok
    assert not result.interrupted
    assert states(result) == ["done", "done", "failed", "done" if keep_going else "not run"]
    assert isinstance(result.error, DatabaseError)
    assert result.error.sqlstate == "22012"
    assert world.placed == [(2, 1)]
    assert set(world.coordinator.failed) == {2}


@pytest.mark.usefixtures("stepped")
def test_a_task_that_cannot_be_prepared_fails() -> None:
    refusal = ResumeRefusedError("sources changed")
    world = World([5, 5], refusals={0: refusal})
    result = world.run()
    assert states(result) == ["failed", "not run"]
    assert result.error is refusal
    assert world.coordinator.failed == {0: refusal}


@pytest.mark.usefixtures("stepped")
def test_a_commit_that_was_a_rollback_fails_the_task() -> None:
    world = World([5], 1)
    runner = world.runner()
    from pgfan.ports import Result as Answer

    world.sessions[0].answers = {"COMMIT": Answer("ROLLBACK")}
    result = runner.run()
    assert states(result) == ["failed"]
    assert result.error is not None
    assert "ROLLBACK" in result.error.message


@pytest.mark.usefixtures("stepped")
def test_a_row_with_another_end_fails_the_task() -> None:
    world = World([5], 1)
    runner = world.runner()
    prepare = world.coordinator.prepare

    def blind(number: int) -> object:  # the row comes after the task was prepared
        found = prepare(number)
        world.server.rows[0, 0] = (2, 2)
        return found

    world.coordinator.prepare = blind  # type: ignore[method-assign,assignment]  # a race
    result = runner.run()
    assert states(result) == ["failed"]
    assert "[0, 2)" in (result.error.message if result.error else "")


@pytest.mark.usefixtures("stepped")
def test_a_bug_in_a_worker_is_raised_by_the_loop() -> None:
    world = World([5], 1)

    def fault(statement: str) -> None:
        if statement.startswith("WORK"):
            raise ZeroDivisionError

    world.server.fault = fault
    with pytest.raises(ZeroDivisionError):
        world.run()


@pytest.mark.usefixtures("stepped")
def test_a_server_that_is_full_is_asked_again_and_then_given_up() -> None:
    world = World([5], 2)
    runner = world.runner()
    full = ConnectionFailedError("too many clients")
    full.sqlstate = "53300"
    for session in world.sessions:
        session.unreachable = full
    result = runner.run()
    assert states(result) == ["failed"]
    assert result.error is full
    warnings = [e for e in world.told.events if isinstance(e, events.Message)]
    assert any("no connection" in warning.text for warning in warnings)


@pytest.mark.usefixtures("stepped")
def test_one_worker_without_a_connection_does_not_matter() -> None:
    world = World([50], 2)
    runner = world.runner()
    full = ConnectionFailedError("too many clients")
    full.sqlstate = "53300"
    world.sessions[1].unreachable = full
    assert runner.run().ok
    world.check_all_done_once()


@pytest.mark.usefixtures("stepped")
def test_a_snapshot_that_is_lost_is_renewed() -> None:
    world = World([20], 3)
    world.coordinator.begin = "BEGIN;SET TRANSACTION SNAPSHOT x;"
    left = [3]

    def fault(statement: str) -> None:
        if statement.startswith("SET") and left[0]:
            left[0] -= 1
            raise DatabaseError("invalid snapshot", sqlstate="22023")

    world.server.fault = fault
    assert world.run().ok
    assert 1 <= world.coordinator.renewed <= 3
    world.check_all_done_once()


# Interruptions ---------------------------------------------------------------------------------


def interrupt_at(workers: SteppedWorkers, runner: Runner, waits: list[int]) -> None:
    count = [0]

    def before(_worker: int) -> None:
        count[0] += 1
        if count[0] in waits:
            runner.interrupt()

    workers.before_job = before


def test_interrupted_once_what_runs_is_finished(stepped: SteppedWorkers) -> None:
    world = World([100], 2)
    runner = world.runner()
    interrupt_at(stepped, runner, [4])
    result = runner.run()
    assert result.interrupted
    assert states(result) == ["not run"]
    assert not any(session.cancelled for session in world.sessions)
    assert len(world.server.rows) == 5, "three before, two that ran"
    stepped.before_job = lambda _worker: None
    assert world.run().ok
    world.check_all_done_once()


def test_interrupted_twice_what_runs_is_cancelled(stepped: SteppedWorkers) -> None:
    world = World([100], 2)
    runner = world.runner()
    interrupt_at(stepped, runner, [4, 5])
    result = runner.run()
    assert result.interrupted
    assert all(session.cancelled for session in world.sessions)
    assert world.coordinator.cancelled == 1
    assert len(world.server.rows) == 3
    assert not world.coordinator.failed
    stepped.before_job = lambda _worker: None
    assert world.run().ok
    world.check_all_done_once()


def test_interrupted_again_and_again_the_loop_is_left(stepped: SteppedWorkers) -> None:
    world = World([100], 2)
    runner = world.runner()
    stepped.before_job = lambda _worker: runner.interrupt()
    with pytest.raises(InterruptedRunError):
        runner.run()
    stepped.before_job = lambda _worker: None
    assert world.run().ok
    world.check_all_done_once()


def test_interrupted_when_all_is_done_is_no_interruption(stepped: SteppedWorkers) -> None:
    world = World([1], 1)
    runner = world.runner()
    interrupt_at(stepped, runner, [1])
    result = runner.run()
    assert result.ok
    assert not result.interrupted


# Crashes ---------------------------------------------------------------------------------------


@dataclass
class Trouble:
    """Faults at random statements; `budget` of them, so that every run ends."""

    random: Random
    budget: int
    kinds: tuple[str, ...]
    chance: float = 0.06

    def strike(self, statement: str) -> None:
        if not self.budget or self.random.random() > self.chance:
            return
        self.budget -= 1
        match self.random.choice(self.kinds):
            case "kill":
                raise ClientKilledError
            case "lost":
                raise lost()
            case "serialization":
                raise DatabaseError("could not serialize access", sqlstate="40001")
            case _:
                if not statement.startswith(("COMMIT", "SELECT")):
                    raise DatabaseError("out of memory", sqlstate="53200")


KINDS = [("kill",), ("lost",), ("kill", "lost", "serialization", "memory")]
SEEDS = 200


@pytest.mark.parametrize("kinds", KINDS, ids="+".join)
@pytest.mark.parametrize("batch_s", [0.0, 0.02])
def test_crashes_at_every_boundary_leave_each_unit_done_once(
    kinds: tuple[str, ...], batch_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    struck = 0
    for seed in range(SEEDS):
        random = Random(seed)  # noqa: S311 - a test's dice
        SteppedWorkers(random).install(monkeypatch)
        trouble = Trouble(random, random.randint(1, 6), kinds)
        server = Server(fault=trouble.strike, after=trouble.strike)
        units = [random.randint(0, 25), random.randint(1, 10)]
        budget = trouble.budget
        world = World(
            units, random.randint(1, 4), random.choice([1, 3, 50]), batch_s, server=server
        )
        resume_until_done(world, seed)
        struck += budget - trouble.budget
    assert struck > SEEDS, "hardly anything went wrong"


def resume_until_done(world: World, seed: int) -> None:
    """Start the client again until the run is done; every run ends, well or killed."""
    for _ in range(20):
        try:
            if world.run().ok:
                break
        except ClientKilledError:
            for session in world.sessions:  # the server notices that its client is gone
                session.close()
    else:
        pytest.fail(f"seed {seed} does not come to an end")
    world.check_all_done_once()
    for task, count in enumerate(world.units):
        covered = sum(hi - lo for (of, lo), (hi, _) in world.server.rows.items() if of == task)
        assert covered == count, f"seed {seed}"


BOUNDARIES: list[tuple[str, Callable[[Server, Callable[[str], None]], None]]] = [
    ("BEGIN", lambda server, hit: setattr(server, "fault", hit)),
    ("CLAIM", lambda server, hit: setattr(server, "fault", hit)),
    ("CLAIM", lambda server, hit: setattr(server, "after", hit)),
    ("WORK", lambda server, hit: setattr(server, "after", hit)),
    ("SETTLE", lambda server, hit: setattr(server, "after", hit)),
    ("COMMIT", lambda server, hit: setattr(server, "fault", hit)),
    ("COMMIT", lambda server, hit: setattr(server, "after", hit)),
]


@pytest.mark.parametrize(("at", "arm"), BOUNDARIES, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("what", ["kill", "lost"])
@pytest.mark.parametrize("which", [1, 2, 4])
@pytest.mark.parametrize("batch_s", [0.0, 0.05])
@pytest.mark.usefixtures("stepped")
def test_a_crash_at_one_boundary(
    at: str,
    arm: Callable[[Server, Callable[[str], None]], None],
    what: str,
    which: int,
    batch_s: float,
) -> None:
    world = World([12], 2, batch_s=batch_s)
    count = [0]

    def hit(statement: str) -> None:
        if statement.startswith(at):
            count[0] += 1
            if count[0] == which:
                raise ClientKilledError if what == "kill" else lost()

    arm(world.server, hit)
    resume_until_done(world, 0)
    assert count[0] >= which


@pytest.mark.usefixtures("stepped")
def test_without_a_journal_a_doubt_is_the_end() -> None:
    world = World([12], 1, journaled=False)
    count = [0]

    def hit(statement: str) -> None:
        if statement.startswith("COMMIT"):
            count[0] += 1
            if count[0] == 2:
                raise lost()

    world.server.after = hit
    result = world.run()
    assert states(result) == ["failed"]
    assert set(world.server.units.values()) == {1}
