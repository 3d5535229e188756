"""The scheduler: every small run in every order, and what single events do."""

from __future__ import annotations

import pytest
from scheduler_model import FAILURES, Play, Run, explore, start

from pgfan.plan import dealing, messages, scheduler, stragglers
from pgfan.plan.dag import IllegalEventError, TaskSpec
from pgfan.plan.messages import (
    Begin,
    ChunkDone,
    ChunkFailed,
    Drain,
    Fail,
    Finish,
    Finished,
    LeaveOut,
    Prepare,
    Prepared,
    PrepareFailed,
    Renew,
    Renewed,
    Reopened,
    Skipped,
    StartChunk,
    WorkersAllowed,
    WorkerUnavailable,
)
from pgfan.plan.ranges import Range
from pgfan.plan.scheduler import (
    ATTEMPTS_MAX,
    Scheduler,
    SchedulerOptions,
)
from pgfan.plan.sizing import SizingOptions

ONE = (frozenset[int](),)
TWO = (frozenset[int](), frozenset[int]())
CHAIN_2 = (frozenset[int](), frozenset({0}))
CHAIN_3 = (frozenset[int](), frozenset({0}), frozenset({1}))
JOIN = (frozenset[int](), frozenset[int](), frozenset({0, 1}), frozenset({2}))
FORK = (frozenset[int](), frozenset({0}), frozenset({0}))
ALL = FAILURES | {"unavailable", "drain", "refused", "reopened"}


def of(*names: str) -> frozenset[str]:
    return frozenset(names)


RUNS = [
    *(Run(ONE, units, workers, ALL, 2) for units in (1, 2, 3) for workers in (1, 2, 3)),
    Run(ONE, 4, 2, ALL, 2),
    Run(ONE, 4, 3, FAILURES, 1),
    *(Run(ONE, 1, workers, of("again", "renew", "halve", "unavailable"), 4) for workers in (1, 2)),
    Run(ONE, 2, 2, of("unavailable", "fatal", "again"), 4),
    Run(ONE, 2, 3, of("renew", "fatal", "drain"), 3),
    *(Run(CHAIN_2, 1, workers, ALL, 2) for workers in (1, 2, 3)),
    *(Run(CHAIN_2, 2, workers, ALL, 1) for workers in (1, 2)),
    Run(CHAIN_3, 1, 2, ALL, 2, keep_going=True),
    Run(CHAIN_3, 1, 2, ALL, 2, keep_going=True, order_only=frozenset({1, 2})),
    Run(CHAIN_3, 1, 2, ALL, 2, keep_going=True, order_only=frozenset({2})),
    Run(CHAIN_3, 1, 3, FAILURES, 1),
    Run(JOIN, 1, 2, FAILURES, 2, keep_going=True),
    *(Run(TWO, 1, workers, ALL, 2) for workers in (1, 2)),
    Run(TWO, 2, 2, ALL, 1),
    Run(TWO, 1, 3, FAILURES | {"unavailable"}, 1, keep_going=True),
    Run(FORK, 1, 2, ALL, 1),
    Run(FORK, 1, 2, ALL, 1, keep_going=True),
    Run(ONE, 1, 3, ALL, 3, pinned=frozenset({0})),
    Run(CHAIN_2, 1, 2, ALL, 2, pinned=frozenset({1}), keep_going=True),
    Run(CHAIN_2, 2, 2, of("unavailable", "fatal"), 3, pinned=frozenset({1}), keep_going=True),
    Run(TWO, 1, 2, of("unavailable", "fatal"), 3, pinned=frozenset({1}), keep_going=True),
]


CHANGING = [
    Run(ONE, 2, 1, ALL | {"allowed"}, 2),
    Run(ONE, 2, 2, of("allowed", "unavailable", "again", "drain"), 2),
    Run(TWO, 1, 2, of("allowed", "renew"), 1),
    Run(TWO, 2, 3, of("allowed"), 2, per_target_max=2),
    Run(TWO, 2, 3, of("allowed", "fatal"), 1, workers_max=1),
    Run(ONE, 2, 2, of("allowed", "again"), 2, pinned=frozenset({0})),
]
"""More workers, fewer, and none at any moment; caps of tasks and tables."""


def name_of(run: Run) -> str:
    shape = "-".join("".join(map(str, sorted(before))) or "x" for before in run.after)
    extra = "k" * run.keep_going + "p" * bool(run.pinned)
    return f"{shape} {run.units}u {run.workers}w {len(run.outcomes)}o {run.trouble_max}t{extra}"


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_every_order_of_events(run: Run) -> None:
    assert explore(run) >= 4


@pytest.mark.parametrize("run", CHANGING, ids=name_of)
def test_every_order_of_events_with_workers_that_change(run: Run) -> None:
    assert explore(run) > 10


@pytest.mark.parametrize("parts", [(1, 3), (2, 2), (3, 1), (1, 1, 2)])
@pytest.mark.parametrize("batch_s", [0.0, 1.0])
def test_every_order_of_events_in_parts(
    parts: tuple[int, ...], batch_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealing, "BATCH_SHARE", 1)
    outcomes = FAILURES | {"unavailable", "drain", "reopened"}
    assert explore(Run(ONE, 4, 2, outcomes, 1, parts=parts, batch_s=batch_s)) > 10


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_every_order_of_events_until_attempts_run_out(
    attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "ATTEMPTS_MAX", attempts)
    outcomes = of("again", "halve", "renew", "unavailable")
    assert explore(Run(ONE, 2, 2, outcomes, 2 * attempts)) > 10
    anyway = frozenset({1})
    run = Run(CHAIN_2, 1, 2, outcomes, 2 * attempts, keep_going=True, order_only=anyway)
    assert explore(run) > 10


@pytest.mark.parametrize(
    "run",
    [
        Run(ONE, 6, 2, FAILURES, 1, chunk=3),
        Run(ONE, 6, 3, of("drain", "unavailable", "again", "reopened"), 1, chunk=2),
        Run(ONE, 4, 2, ALL, 2, chunk=2),
        Run(CHAIN_2, 4, 2, FAILURES, 1, chunk=2, pinned=frozenset({0})),
    ],
    ids=name_of,
)
def test_every_order_of_events_with_stragglers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    rescued = []

    def choose(
        candidates: list[stragglers.Candidate], idle: int, now_s: float
    ) -> tuple[stragglers.Rescue | None, float | None]:
        assert idle >= 1
        assert now_s == 1.0
        rescued.extend(candidates)
        return (stragglers.Rescue(candidates[-1].worker, 2) if candidates else None), None

    monkeypatch.setattr(stragglers, "choose", choose)
    assert explore(run) > 10
    assert rescued


@pytest.mark.parametrize("workers", [1, 2])
def test_every_order_of_events_with_batches(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealing, "BATCH_SHARE", 1)
    outcomes = FAILURES | {"unavailable", "drain", "reopened"}
    seen: list[int] = []
    original = Play._start

    def spy(play: Play, command: StartChunk) -> None:
        seen.append(len(command.more))
        original(play, command)

    monkeypatch.setattr(Play, "_start", spy)
    explore(Run(ONE, 4 * workers, workers, outcomes, 1, batch_s=1.0))
    assert max(seen) >= 1, "no batch was handed out"


# One event at a time --------------------------------------------------------------------------


def make(
    *after: set[int], workers: int = 2, units: int | None = 1, keep_going: bool = False
) -> Scheduler:
    specs = [TaskSpec(number, frozenset(before)) for number, before in enumerate(after or [set()])]
    options = SchedulerOptions(SizingOptions(fixed_units=units), keep_going)
    return Scheduler(specs, workers, options)


def pieces(commands: list[messages.Command]) -> list[tuple[int, int, int]]:
    return [
        (command.worker, command.piece.lo, command.piece.hi)
        for command in commands
        if isinstance(command, StartChunk)
    ]


def test_a_task_from_its_beginning_to_its_end() -> None:
    s = make()
    assert s.handle(Begin()) == [Prepare(0)]
    assert s.handle(Prepared(0, 3)) == [
        StartChunk(0, 0, Range(0, 1)),
        StartChunk(1, 0, Range(1, 2)),
    ]
    assert s.handle(ChunkDone(1, 1.0)) == [StartChunk(1, 0, Range(2, 3))]
    assert s.handle(ChunkDone(1, 1.0)) == []
    assert not s.is_over
    assert s.handle(ChunkDone(0, 1.0)) == [Finish(0)]
    assert not s.is_over
    assert s.handle(Finished(0)) == []
    assert s.is_over
    assert s.state(0) == "done"


def test_what_the_journal_holds_is_not_done_again() -> None:
    s = make(workers=1, units=100)
    s.handle(Begin())
    found = s.handle(Prepared(0, 10, (Range(0, 2), Range(5, 7))))
    while (starts := pieces(found)) and starts[-1][2] < 10:
        found += s.handle(ChunkDone(0, 1.0))
    assert pieces(found) == [(0, 2, 5), (0, 7, 10)]
    assert s.handle(ChunkDone(0, 1.0)) == [Finish(0)]


@pytest.mark.parametrize(("total", "done"), [(0, ()), (5, (Range(0, 5),)), (2, (Range(0, 9),))])
def test_a_task_of_which_nothing_is_left_is_finished_at_once(
    total: int, done: tuple[Range, ...]
) -> None:
    s = make()
    s.handle(Begin())
    assert s.handle(Prepared(0, total, done)) == [Finish(0)]
    s.handle(Finished(0))
    assert s.is_over


def test_a_task_that_comes_first_does_not_hold_up_an_independent_one() -> None:
    s = make(set(), {0}, set())
    assert s.handle(Begin()) == [Prepare(0), Prepare(2)]
    s.handle(Skipped(2))
    assert s.handle(Skipped(0)) == [Prepare(1)]


def test_a_diamond_in_order() -> None:
    s = make(set(), {0}, {0}, {1, 2})
    s.handle(Begin())
    assert s.handle(Skipped(0)) == [Prepare(1), Prepare(2)]
    assert s.handle(Skipped(2)) == []
    assert s.handle(Skipped(1)) == [Prepare(3)]


@pytest.mark.parametrize("keep_going", [False, True])
def test_what_a_failure_stops(*, keep_going: bool) -> None:
    s = make(set(), {0}, set(), {2}, keep_going=keep_going)
    s.handle(Begin())
    found = s.handle(PrepareFailed(0))
    assert found == [Fail(0), *([LeaveOut(1, 0)] if keep_going else [])]
    assert s.handle(Skipped(2)) == ([Prepare(3)] if keep_going else [])
    assert s.is_over is not keep_going
    assert s.lost == {0, *([1] if keep_going else [])}


def test_what_only_follows_a_failed_task_runs_all_the_same() -> None:
    specs = [TaskSpec(0), TaskSpec(1, frozenset({0}), order_only=True)]
    s = Scheduler(specs, 1, SchedulerOptions(keep_going=True))
    s.handle(Begin())
    assert s.handle(PrepareFailed(0)) == [Fail(0), Prepare(1)]


def test_what_needs_a_lost_task_of_an_earlier_scheduler_is_left_out_at_once() -> None:
    specs = [TaskSpec(5, frozenset({2})), TaskSpec(6, frozenset({5})), TaskSpec(7)]
    s = Scheduler(specs, 1, SchedulerOptions(keep_going=True))
    assert s.handle(Begin()) == [LeaveOut(5, 2), LeaveOut(6, 2), Prepare(7)]


def test_what_runs_goes_on_when_another_task_fails() -> None:
    s = make(set(), set(), workers=2)
    s.handle(Begin())
    s.handle(Prepared(0, 2))
    s.handle(Prepared(1, 2))
    assert s.handle(ChunkFailed(0, "fatal")) == [StartChunk(0, 1, Range(0, 1))]
    assert s.handle(ChunkDone(1, 1.0)) == [Fail(0), StartChunk(1, 1, Range(1, 2))]


def test_a_failed_piece_is_tried_again_whole_and_later_each_time() -> None:
    s = make(workers=1, units=3)
    s.handle(Begin())
    (first,) = s.handle(Prepared(0, 9))
    assert isinstance(first, StartChunk)
    delays = [first.delay_s]
    for attempt in range(2, ATTEMPTS_MAX + 1):
        (again,) = s.handle(ChunkFailed(0, "again"))
        assert isinstance(again, StartChunk)
        assert (again.piece, again.attempt) == (first.piece, attempt)
        delays.append(again.delay_s)
    assert delays == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert s.handle(ChunkFailed(0, "again")) == [Fail(0)]
    assert s.is_over


@pytest.mark.parametrize(("jitter", "delay_s"), [(0.0, 0.05), (0.5, 0.1), (0.999, 0.1499)])
def test_jitter_spreads_retries(jitter: float, delay_s: float) -> None:
    s = Scheduler([TaskSpec(0)], 1, jitter=lambda: jitter)
    s.handle(Begin())
    s.handle(Prepared(0, 1))
    (again,) = s.handle(ChunkFailed(0, "again"))
    assert isinstance(again, StartChunk)
    assert again.delay_s == pytest.approx(delay_s)


def test_a_piece_is_halved_until_it_fits_or_cannot() -> None:
    s = make(workers=1, units=4)
    s.handle(Begin())
    assert pieces(s.handle(Prepared(0, 4))) == [(0, 0, 4)]
    assert pieces(s.handle(ChunkFailed(0, "halve"))) == [(0, 0, 2)]
    assert pieces(s.handle(ChunkFailed(0, "halve"))) == [(0, 2, 4)]
    assert pieces(s.handle(ChunkDone(0, 1.0))) == [(0, 0, 1)]
    assert s.handle(ChunkFailed(0, "halve")) == [Fail(0)]


def test_a_piece_in_doubt_is_not_halved() -> None:
    s = make(workers=1, units=4)
    s.handle(Begin())
    s.handle(Prepared(0, 4))
    s.handle(ChunkFailed(0, "again"))
    (again,) = s.handle(ChunkFailed(0, "halve"))
    assert isinstance(again, StartChunk)
    assert (again.piece, again.attempt) == (Range(0, 4), 3)


def test_a_lost_snapshot_is_renewed_once_for_all_who_miss_it() -> None:
    s = make(workers=3)
    s.handle(Begin())
    s.handle(Prepared(0, 4))
    assert s.handle(ChunkFailed(0, "renew")) == [Renew(0)]
    assert s.handle(ChunkFailed(1, "renew")) == []
    assert s.handle(ChunkDone(2, 1.0)) == []
    assert pieces(s.handle(Renewed(0))) == [(0, 0, 1), (1, 1, 2), (2, 3, 4)]


@pytest.mark.parametrize("answer", [Renewed(0), PrepareFailed(0)])
def test_a_failure_while_a_snapshot_is_renewed(answer: messages.Event) -> None:
    s = make(workers=2)
    s.handle(Begin())
    s.handle(Prepared(0, 4))
    s.handle(ChunkFailed(0, "renew"))
    assert s.handle(ChunkFailed(1, "fatal")) == []
    assert not s.is_over
    assert s.handle(answer) == [Fail(0)]
    assert s.is_over


def test_a_worker_without_a_connection_waits_for_another_to_end() -> None:
    s = make(workers=2)
    s.handle(Begin())
    s.handle(Prepared(0, 4))
    assert s.handle(WorkerUnavailable(1)) == []
    assert s.workers_busy == 1
    assert pieces(s.handle(ChunkDone(0, 1.0))) == [(0, 1, 2), (1, 2, 3)]


def test_a_worker_comes_back_for_what_only_it_may_do() -> None:
    specs = [TaskSpec(0), TaskSpec(1, frozenset({0}), order_only=True)]
    s = Scheduler(specs, 2, SchedulerOptions(SizingOptions(fixed_units=1), keep_going=True))
    s.handle(Begin())
    s.handle(Prepared(0, 2))
    s.handle(WorkerUnavailable(0))
    assert s.handle(ChunkFailed(1, "fatal")) == [Fail(0), Prepare(1)]
    assert s.handle(Prepared(1, 1, (), 0)) == [StartChunk(0, 1, Range(0, 1))]


def test_a_server_without_any_connection_fails_the_task_in_the_end() -> None:
    s = make(workers=2)
    s.handle(Begin())
    running = {worker for worker, _, _ in pieces(s.handle(Prepared(0, 2)))}
    for _ in range(10 * ATTEMPTS_MAX):
        worker = min(running)
        found = s.handle(WorkerUnavailable(worker))
        running = (running - {worker}) | {one for one, _, _ in pieces(found)}
        if Fail(0) in found:
            break
    assert s.is_over
    assert s.state(0) == "failed"


def test_a_crash_of_the_server_reopens_a_task() -> None:
    s = make(workers=1)
    s.handle(Begin())
    s.handle(Prepared(0, 2))
    s.handle(ChunkDone(0, 1.0))
    assert s.handle(ChunkDone(0, 1.0)) == [Finish(0)]
    assert s.handle(Reopened(0, (Range(0, 1),))) == [StartChunk(0, 0, Range(1, 2))]
    assert s.handle(ChunkDone(0, 1.0)) == [Finish(0)]
    assert s.handle(Reopened(0, (Range(0, 2),))) == [Finish(0)]


def test_a_pinned_task_leaves_the_others_to_the_rest() -> None:
    s = make(set(), set(), workers=2)
    s.handle(Begin())
    assert pieces(s.handle(Prepared(0, 3, (), 0))) == [(0, 0, 1)]
    assert s.handle(Prepared(1, 2)) == [StartChunk(1, 1, Range(0, 1))]


def test_drain_lets_what_runs_end_and_starts_nothing() -> None:
    s = make(set(), {0}, workers=2)
    s.handle(Begin())
    s.handle(Prepared(0, 5))
    assert s.handle(Drain()) == []
    assert s.handle(Drain()) == []
    assert not s.is_over
    assert s.handle(ChunkDone(0, 1.0)) == []
    assert s.handle(ChunkFailed(1, "again")) == []
    assert s.is_over
    assert s.state(0) == "running"


def test_a_task_whose_last_chunk_ends_in_a_drain_is_finished() -> None:
    s = make(set(), {0}, workers=1)
    s.handle(Begin())
    s.handle(Prepared(0, 1))
    s.handle(Drain())
    assert s.handle(ChunkDone(0, 1.0)) == [Finish(0)]
    assert not s.is_over
    assert s.handle(Finished(0)) == []
    assert s.is_over


def test_a_batch_is_answered_piece_by_piece() -> None:
    specs = [TaskSpec(0)]
    options = SchedulerOptions(SizingOptions(fixed_units=1), batch_s=0.01)
    s = Scheduler(specs, 1, options)
    s.handle(Begin())
    s.handle(Prepared(0, 1000))
    (batch,) = s.handle(ChunkDone(0, 0.001))
    assert isinstance(batch, StartChunk)
    assert [batch.piece, *batch.more] == [Range(unit, unit + 1) for unit in range(1, 11)]
    assert s.handle(ChunkDone(0, 0.001)) == []
    (again,) = s.handle(ChunkFailed(0, "again"))
    assert isinstance(again, StartChunk)
    assert (again.piece, again.attempt, again.more) == (Range(2, 3), 2, ())
    (following,) = s.handle(ChunkDone(0, 0.001))
    assert isinstance(following, StartChunk)
    assert following.piece == Range(3, 4)


@pytest.mark.parametrize(
    "event",
    [
        ChunkDone(0, 1.0),
        ChunkDone(7, 1.0),
        ChunkFailed(0, "again"),
        WorkerUnavailable(0),
        Prepared(1, 5),
        Prepared(9, 5),
        Skipped(1),
        Renewed(0),
        Finished(0),
        Reopened(0, ()),
        PrepareFailed(1),
    ],
    ids=repr,
)
def test_an_event_that_cannot_be_raises_with_the_history(event: messages.Event) -> None:
    s = make(set(), {0})
    s.handle(Begin())
    with pytest.raises(IllegalEventError) as caught:
        s.handle(event)
    told = str(caught.value)
    assert told.index("Begin()") < told.index(repr(event))


def test_the_history_is_bounded() -> None:
    s = make(workers=1)
    s.handle(Begin())
    s.handle(Prepared(0, 1000))
    for _ in range(500):
        s.handle(ChunkDone(0, 1.0))
    with pytest.raises(IllegalEventError) as caught:
        s.handle(Finished(0))
    assert len(str(caught.value).splitlines()) == scheduler.HISTORY_MAX + 1


def test_a_script_of_twenty_thousand_statements() -> None:
    specs = [TaskSpec(n, frozenset({n - 1} if n else ())) for n in range(20_000)]
    s = Scheduler(specs, 2)
    commands = s.handle(Begin())
    for number in range(20_000):
        assert not s.is_over
        assert commands == [Prepare(number)]
        s.handle(Prepared(number, 1, (), 0))
        assert s.handle(ChunkDone(0, 0.001)) == [Finish(number)]
        commands = s.handle(Finished(number))
    assert s.is_over


def test_the_model_notices_a_unit_that_is_handed_out_twice() -> None:
    play = start(Run(ONE, 2, 2, ALL))
    play.take(Prepared(0, 2), 0)
    left = play.scheduler._dag[0].left
    assert left is not None
    left.give_back(Range(0, 1))
    play.scheduler._offers.update(play.scheduler._dag[0], 1)
    with pytest.raises(AssertionError):
        play.take(ChunkDone(1, 1.0), 0)


# The number of workers ---------------------------------------------------------------------------


def running(*tasks: TaskSpec, workers: int, per_target_max: int | None = None) -> Scheduler:
    """All tasks prepared, of a thousand units each, into the same table; units of one row."""
    options = SchedulerOptions(SizingOptions(fixed_units=1), per_target_max=per_target_max)
    s = Scheduler(tasks, workers, options)
    s.handle(Begin())
    return s


def started(commands: list[messages.Command]) -> list[int]:
    return [command.worker for command in commands if isinstance(command, StartChunk)]


def test_more_workers_start_at_once_and_fewer_end_their_chunks() -> None:
    s = running(TaskSpec(0), workers=2)
    assert started(s.handle(Prepared(0, 1000))) == [0, 1]
    assert started(s.handle(WorkersAllowed(4))) == [2, 3]
    assert s.handle(WorkersAllowed(1)) == []
    assert [started(s.handle(ChunkDone(worker, 1.0))) for worker in (0, 2, 3)] == [[], [], []]
    assert started(s.handle(ChunkDone(1, 1.0))) == [0]


def test_a_pause_starts_nothing_and_is_not_the_end() -> None:
    s = running(TaskSpec(0), workers=2)
    s.handle(Prepared(0, 1000))
    s.handle(WorkersAllowed(0))
    assert [s.handle(ChunkDone(worker, 1.0)) for worker in (0, 1)] == [[], []]
    assert s.workers_busy == 0
    assert not s.is_over
    assert started(s.handle(WorkersAllowed(1))) == [0]


def test_a_pause_that_the_user_interrupts_is_the_end() -> None:
    s = running(TaskSpec(0), workers=1)
    s.handle(Prepared(0, 1000))
    s.handle(WorkersAllowed(0))
    s.handle(ChunkDone(0, 1.0))
    assert s.handle(Drain()) == []
    assert s.is_over


def test_a_task_has_no_more_workers_than_its_cap() -> None:
    s = running(TaskSpec(0, workers_max=2), TaskSpec(1), workers=5)
    assert started(s.handle(Prepared(0, 1000))) == [0, 1]
    assert started(s.handle(Prepared(1, 1000))) == [2, 3, 4]


def test_a_table_has_no_more_workers_than_its_cap() -> None:
    s = running(TaskSpec(0), TaskSpec(1), TaskSpec(2), workers=6, per_target_max=3)
    assert started(s.handle(Prepared(0, 2, target="t"))) == [0, 1]
    assert started(s.handle(Prepared(1, 1000, target="t"))) == [2]
    assert started(s.handle(Prepared(2, 1000, target="u"))) == [3, 4, 5]
    assert started(s.handle(ChunkDone(0, 1.0))) == [0]


def test_those_a_cap_leaves_share_the_end_of_a_task() -> None:
    sizes = {}
    for cap in (1, 8):
        s = Scheduler([TaskSpec(0, workers_max=cap)], 8)
        s.handle(Begin())
        (first, *_) = s.handle(Prepared(0, 1_000_000))
        assert isinstance(first, StartChunk)
        sizes[cap] = len(first.piece)
    assert sizes[1] > sizes[8]
