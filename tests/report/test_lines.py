from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfan.events import (
    ChunkFinished,
    ChunkRetried,
    ChunkStarted,
    Event,
    Message,
    Notice,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
    TaskState,
    WorkersChanged,
)
from pgfan.report.choose import choose_progress
from pgfan.report.lines import (
    Display,
    LineProgress,
    MultiProgress,
    QuietProgress,
)
from pgfan.report.terminal import TerminalProgress


def lines_of(events: list[Event], *, verbose: bool = False) -> list[str]:
    stream = io.StringIO()
    with LineProgress(stream, verbose=verbose) as progress:
        for event in events:
            progress.emit(event)
    return stream.getvalue().splitlines()


def split_task(done_units: int = 0, at_s: float = 0.1) -> TaskStarted:
    return TaskStarted(
        "a",
        "f.sql:3",
        "insert",
        "INSERT INTO t",
        "split",
        "series",
        "rows",
        2_000,
        done_units,
        at_s,
    )


def serial_task(at_s: float = 0.0) -> TaskStarted:
    return TaskStarted("s", "f.sql:9", "create index", "", "serial", None, "steps", 1, 0, at_s)


ONE_LINE_EACH: list[tuple[Event, str]] = [
    (RunStarted("3f2a", 2, 1, resumed=False), "[     0.0 s] run      3f2a: 1 task, 2 jobs"),
    (
        RunStarted("3f2a", 1, 12, resumed=True),
        "[     0.0 s] run      3f2a: 12 tasks, 1 job, resumed",
    ),
    (
        split_task(),
        "[     0.1 s] start    f.sql:3 INSERT INTO t: split by series, 2,000 rows",
    ),
    (
        split_task(500),
        (
            "[     0.1 s] start    f.sql:3 INSERT INTO t: split by series, 2,000 rows, "
            "500 of them done before"
        ),
    ),
    (serial_task(), "[     0.0 s] start    f.sql:9 CREATE INDEX: serial"),
    (
        ChunkRetried("a", 1, 0, 1_000, 2, 0.4, "40P01 deadlock detected", 3.0),
        "[     3.0 s] retry    a [0, 1,000) again in 0.40 s, attempt 2: 40P01 deadlock detected",
    ),
    (
        TaskFinished("a", "f.sql:3", "done", 2_000, 16, 11.23, None, 11.3),
        "[    11.3 s] done     f.sql:3: 2,000 rows, 11.2 s, 16 chunks",
    ),
    (
        TaskFinished("a", "f.sql:3", "done", None, 1, 0.5, None, 11.3),
        "[    11.3 s] done     f.sql:3: 0.50 s",
    ),
    (
        TaskFinished("a", "f.sql:3", "failed", None, 3, 2.0, "no such\ntable", 3.0),
        "[     3.0 s] failed   f.sql:3: no such table (after 2.0 s, 3 chunks)",
    ),
    (
        TaskFinished("a", "f.sql:3", "skipped", None, 0, 0, None, 3.0),
        "[     3.0 s] skipped  f.sql:3",
    ),
    (
        TaskFinished("a", "f.sql:3", "not run", None, 0, 0, None, 3.0),
        "[     3.0 s] not run  f.sql:3",
    ),
    (Notice("a", "NOTICE", "skipping", 1.0), "[     1.0 s] notice   skipping"),
    (Notice("a", "WARNING", "careful", 1.0), "[     1.0 s] warning  careful"),
    (Message("info", "waits for the server", 1.0), "[     1.0 s] note     waits for the server"),
    (Message("warning", "order differs", 1.0), "[     1.0 s] warning  order differs"),
    (WorkersChanged(0, "others are active", 3.0), "[     3.0 s] paused   others are active"),
    (WorkersChanged(8, "as asked", 3.0), "[     3.0 s] workers  8: as asked"),
    (
        RunFinished("3f2a", ok=True, interrupted=False, seconds=12.0),
        "[    12.0 s] done     0 tasks in 12.0 s",
    ),
    (
        RunFinished("3f2a", ok=False, interrupted=True, seconds=12.0),
        "[    12.0 s] stopped  0 tasks in 12.0 s; run the same command again to go on",
    ),
]


@pytest.mark.parametrize(("event", "expected"), ONE_LINE_EACH)
def test_an_event_reads_as(event: Event, expected: str) -> None:
    assert lines_of([event]) == [expected]


def test_the_end_of_a_run_counts_what_was_not_run() -> None:
    failed = TaskFinished("a", "f.sql:3", "failed", None, 1, 2.0, "no", 3.0)
    over = RunFinished("3f2a", ok=False, interrupted=False, seconds=3.0)
    lines = lines_of([RunStarted("3f2a", 2, 5, resumed=False), failed, over])
    assert lines[-1] == "[     3.0 s] failed   1 failed, 4 not run in 3.0 s"


def chunks(count: int, every_s: float) -> list[Event]:
    events: list[Event] = []
    for number in range(count):
        lo, at_s = number * 10, 0.1 + number * every_s
        events += [
            ChunkStarted("a", 0, lo, lo + 10, at_s),
            ChunkFinished("a", 0, lo, lo + 10, 10, every_s, at_s + every_s),
        ]
    return events


def test_one_chunk_is_one_chunk() -> None:
    lines = lines_of([RunStarted("r", 2, 1, resumed=False), split_task(), *chunks(1, 11.0)])
    assert lines[-1].endswith(", 0/2 workers, 1 chunk")


def test_a_task_gets_one_line_in_ten_seconds() -> None:
    lines = lines_of([RunStarted("r", 2, 1, resumed=False), split_task(), *chunks(100, 0.25)])
    assert lines[2:] == [
        (
            "[    10.1 s] run      f.sql:3 INSERT INTO t: 20%, 400 of 2,000 rows, 40 rows/s, "
            "0:40 left, 0/2 workers, 40 chunks"
        ),
        (
            "[    20.1 s] run      f.sql:3 INSERT INTO t: 40%, 800 of 2,000 rows, 40 rows/s, "
            "0:30 left, 0/2 workers, 80 chunks"
        ),
    ]


def test_a_serial_task_is_heard_of_while_others_run() -> None:
    lines = lines_of(
        [
            RunStarted("r", 2, 2, resumed=False),
            serial_task(),
            ChunkStarted("s", 1, 0, 1, 0.0),
            Message("debug", "tick", 61.0),
        ]
    )
    assert lines[-1] == "[    61.0 s] run      f.sql:9 CREATE INDEX: 1:01, 1/2 workers"


def test_steps_of_the_search_for_workers_are_for_the_verbose() -> None:
    events: list[Event] = [WorkersChanged(8, "trying more", 3.0)]
    assert lines_of(events) == []
    assert lines_of(events, verbose=True) == ["[     3.0 s] workers  8: trying more"]


def test_a_pause_shows_in_the_lines_of_progress() -> None:
    events: list[Event] = [
        RunStarted("r", 2, 1, resumed=False),
        split_task(),
        WorkersChanged(0, "others are active", 5.0),
        Message("info", "still here", 11.0),
    ]
    assert lines_of(events)[-1].endswith(", paused: others are active, 0 chunks")


def test_chunks_and_debug_messages_are_for_the_verbose() -> None:
    events = [split_task(), *chunks(1, 0.25), Message("debug", "picked ctid", 1.0)]
    assert len(lines_of(events)) == 1
    assert lines_of(events, verbose=True)[1:] == [
        "[     0.1 s] chunk    f.sql:3 [0, 10) on worker 0",
        "[     0.3 s] chunk    f.sql:3 [0, 10) done: 10 rows, 0.25 s",
        "[     1.0 s] debug    picked ctid",
    ]


def test_the_last_line_says_how_tasks_ended() -> None:
    states: list[TaskState] = ["done", "done", "failed", "not run"]
    ends: list[Event] = [
        TaskFinished(str(number), "f", state, None, 0, 0.0, None, 1.0)
        for number, state in enumerate(states)
    ]
    lines = lines_of([*ends, RunFinished("r", ok=False, interrupted=False, seconds=2.0)])
    assert lines[-1] == "[     2.0 s] failed   2 done, 1 failed, 1 not run in 2.0 s"


def test_quiet_means_warnings_only() -> None:
    stream = io.StringIO()
    progress = QuietProgress(stream)
    for event in [event for event, _ in ONE_LINE_EACH] + chunks(100, 0.25):
        progress.emit(event)
    assert stream.getvalue().splitlines() == [
        "[     1.0 s] warning  careful",
        "[     1.0 s] warning  order differs",
    ]


texts = st.text(max_size=50)


@given(texts, texts, texts)
def test_nothing_that_a_terminal_obeys_gets_into_a_line(one: str, two: str, three: str) -> None:
    stream = io.StringIO()
    progress = LineProgress(stream, verbose=True)
    events: list[Event] = [
        RunStarted(one, 1, 1, resumed=False),
        TaskStarted("a", one, two, three, "split", two, "rows", 5, 0, 0.0),
        ChunkStarted("a", 0, 0, 1, 0.0),
        ChunkStarted(three, 0, 0, 1, 0.0),
        ChunkRetried("a", 0, 0, 1, 1, 0.1, one, 0.1),
        Notice("a", one, two, 11.0),
        Message("warning", one, 12.0),
        TaskFinished("a", one, "failed", None, 0, 0.0, two, 13.0),
        TaskFinished("b", two, "failed", None, 0, 0.0, three, 13.0),
        RunFinished(one, ok=False, interrupted=False, seconds=14.0),
    ]
    for event in events:
        progress.emit(event)
    lines = stream.getvalue().split("\n")
    assert len(lines) == len(events) + 2
    assert not any(
        unicodedata.category(character) in {"Cc", "Cs"} for line in lines for character in line
    )


class BrokenStream(io.StringIO):
    def write(self, text: str, /) -> int:
        raise BrokenPipeError(text)


def test_a_pipe_that_no_one_reads_does_not_end_the_run() -> None:
    progress = LineProgress(BrokenStream())
    progress.emit(Message("info", "one", 1.0))
    progress.emit(Message("info", "two", 2.0))


def test_what_the_stream_cannot_encode_is_escaped() -> None:
    raw = io.BytesIO()
    progress = LineProgress(io.TextIOWrapper(raw, encoding="ascii"))
    progress.emit(Message("info", "über", 1.0))
    assert raw.getvalue() == b"[     1.0 s] note     \\xfcber\n"


class Recorder(Display):
    def __init__(self, log: list[str], name: str, *, fails: bool = False) -> None:
        self.log, self.name, self.fails = log, name, fails

    def emit(self, event: Event) -> None:
        self.log.append(f"{self.name} {type(event).__name__}")

    def close(self) -> None:
        self.log.append(f"{self.name} close")
        if self.fails:
            raise BrokenPipeError


def test_several_displays_act_as_one_and_all_are_closed() -> None:
    log: list[str] = []
    displays = [Recorder(log, "1"), Recorder(log, "2", fails=True)]
    progress = MultiProgress(displays)
    progress.emit(Message("info", "x", 0.0))
    with progress.paused():
        pass
    with pytest.raises(BrokenPipeError):
        progress.close()
    assert log == ["1 Message", "2 Message", "2 close", "1 close"]


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "quiet", "expected"),
    [
        (Tty(), {"TERM": "xterm"}, False, TerminalProgress),
        (Tty(), {"TERM": "dumb"}, False, LineProgress),
        (Tty(), {}, False, LineProgress),
        (Tty(), {"TERM": "xterm"}, True, QuietProgress),
        (io.StringIO(), {"TERM": "xterm"}, False, LineProgress),
    ],
)
def test_bars_only_where_they_can_be_drawn(
    stream: io.StringIO, environ: dict[str, str], quiet: bool, expected: type[Display]
) -> None:
    chosen = choose_progress(stream, quiet=quiet, verbose=False, environ=environ)
    assert type(chosen) is expected
    chosen.close()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("no_color", "colored"), [("1", False), ("", True)])
def test_no_color_is_respected(no_color: str, colored: bool) -> None:
    stream = Tty()
    environ = {"TERM": "xterm-256color", "NO_COLOR": no_color}
    with choose_progress(stream, quiet=False, verbose=False, environ=environ) as progress:
        progress.emit(Message("warning", "order differs", 0.0))
    assert ("\x1b[1;33m" in stream.getvalue()) == colored
