from __future__ import annotations

import pytest

from pgfan.events import (
    ChunkFinished,
    ChunkRetried,
    ChunkStarted,
    RunStarted,
    TaskFinished,
    TaskStarted,
    WorkersChanged,
)
from pgfan.report.figures import clock_text, counted, seconds_text, short_count
from pgfan.report.tally import Rate, RunTally, safe_title


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (9_999, "9999"),
        (10_000, "10.0k"),
        (99_949, "99.9k"),
        (99_950, "100k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (1_805_000, "1.80M"),
        (9_996_000, "10.0M"),
        (20_000_000, "20.0M"),
        (999_999_999, "1.00G"),
        (2.5e12, "2.50T"),
        (1.7, "2"),
    ],
)
def test_short_counts_keep_three_figures(count: float, expected: str) -> None:
    assert short_count(count) == expected


@pytest.mark.parametrize(
    ("seconds", "measured", "running"),
    [
        (0.0, "0.000 s", "0:00"),
        (0.0042, "0.004 s", "0:00"),
        (0.9991, "1.00 s", "0:01"),
        (0.9996, "1.0 s", "0:01"),
        (11.23, "11.2 s", "0:11"),
        (99.96, "1:40", "1:40"),
        (3_599.6, "1:00:00", "1:00:00"),
        (-0.1, "0.000 s", "0:00"),
    ],
)
def test_times_read_the_same_everywhere(seconds: float, measured: str, running: str) -> None:
    assert (seconds_text(max(0.0, seconds)), clock_text(seconds)) == (measured, running)


def test_a_noun_follows_its_count() -> None:
    assert (counted(1, "row"), counted(0, "row"), counted(2_000, "row")) == (
        "1 row",
        "0 rows",
        "2,000 rows",
    )


def test_there_is_no_pace_before_anything_was_done() -> None:
    rate = Rate(5.0)
    assert rate.per_second(9.0) is None
    assert rate.eta_s(100, 9.0) is None


def test_the_pace_follows_a_change_and_the_eta_counts_down() -> None:
    rate = Rate(0.0)
    for second in range(1, 61):
        rate.add(100, float(second))
    assert rate.per_second(60.0) == pytest.approx(100)
    assert rate.eta_s(1_000, 60.0) == pytest.approx(10)
    assert rate.eta_s(1_000, 61.0) == pytest.approx(9)
    for second in range(61, 121):
        rate.add(10, float(second))
    assert rate.per_second(120.0) == pytest.approx(10, rel=0.05)


def test_the_pace_sinks_while_nothing_arrives() -> None:
    rate = Rate(0.0)
    rate.add(100, 1.0)
    pace = rate.per_second(100.0)
    assert pace is not None
    assert pace < 2


def task_started(task_id: str = "a", total: int = 100, *, at_s: float = 0.0) -> TaskStarted:
    return TaskStarted(
        task_id, "f.sql:1", "insert", "INSERT", "split", "ctid", "blocks", total, 20, at_s
    )


def test_chunks_add_up_and_workers_are_busy_with_one_chunk_each() -> None:
    tally = RunTally()
    tally.apply(RunStarted("r", 4, 2, resumed=True))
    task = tally.apply(task_started())
    assert task is not None
    tally.apply(task_started("b"))
    tally.apply(ChunkStarted("a", 0, 20, 40, 1.0))
    tally.apply(ChunkStarted("a", 1, 40, 60, 1.0))
    tally.apply(ChunkStarted("b", 2, 0, 50, 1.0))
    assert (len(task.workers), tally.busy, tally.jobs) == (2, 3, 4)
    tally.apply(ChunkFinished("a", 0, 20, 40, 7, 1.0, 2.0))
    tally.apply(ChunkRetried("a", 1, 40, 60, 2, 0.1, "deadlock", 2.0))
    assert (task.done_units, task.rows, task.chunks, task.retries) == (40, 7, 1, 1)
    assert (len(task.workers), tally.busy) == (0, 1)


def test_a_worker_whose_chunk_was_taken_away_is_not_counted_twice() -> None:
    tally = RunTally()
    first, second = tally.apply(task_started("a")), tally.apply(task_started("b"))
    assert first is not None
    assert second is not None
    tally.apply(ChunkStarted("a", 0, 0, 10, 1.0))
    tally.apply(ChunkStarted("b", 0, 0, 10, 2.0))
    assert (len(first.workers), len(second.workers), tally.busy) == (0, 1, 1)
    tally.apply(ChunkFinished("a", 0, 0, 10, None, 1.0, 3.0))
    assert tally.busy == 1


def test_a_task_that_failed_frees_its_workers() -> None:
    tally = RunTally()
    tally.apply(task_started())
    tally.apply(ChunkStarted("a", 0, 0, 10, 1.0))
    ended = tally.apply(TaskFinished("a", "f.sql:1", "failed", None, 0, 1.0, "no", 2.0))
    assert ended is not None
    assert (tally.busy, tally.running, dict(tally.ended)) == (0, {}, {"failed": 1})
    assert tally.apply(ChunkFinished("a", 0, 0, 10, None, 1.0, 3.0)) is None


def test_titles_hold_neither_passwords_nor_line_breaks() -> None:
    title = "SELECT\n\t dblink('password=pw x')  \x1b[2J " + "y" * 300
    assert safe_title(title).startswith(r"SELECT dblink('password=*** x') \x1b[2J yyy")
    assert len(safe_title(title)) == 100


def test_workers_change_and_a_pause_has_its_reason() -> None:
    tally = RunTally()
    tally.apply(RunStarted("r", 4, 1, resumed=False))
    tally.apply(WorkersChanged(6, "trying more", 1.0))
    assert (tally.jobs, tally.paused) == (6, None)
    tally.apply(WorkersChanged(0, "others are active", 2.0))
    assert (tally.jobs, tally.paused) == (0, "others are active")
    tally.apply(WorkersChanged(4, "others are fewer", 3.0))
    assert (tally.jobs, tally.paused) == (4, None)
