from __future__ import annotations

import io
import re
import threading

import pytest
from rich.console import Console

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
from pgfan.report.frame import ASCII, UNICODE, fit_label
from pgfan.report.terminal import TerminalProgress

TOKEN = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|([^\x1b])")


class Screen:
    """What a terminal shows: it knows the sequences that the display may use, and no others."""

    def __init__(self) -> None:
        self.rows: list[str] = [""]
        self.row = 0
        self.column = 0

    def feed(self, text: str) -> None:
        position = 0
        while position < len(text):
            token = TOKEN.match(text, position)
            assert token is not None, repr(text[position:])
            position = token.end()
            if token[3]:
                self._put(token[3])
            else:
                self._obey(token[2], int(token[1].split(";")[0] or 0))

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row, self.column = self.row + 1, 0
            if self.row == len(self.rows):
                self.rows.append("")
        else:
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _obey(self, command: str, number: int) -> None:
        if command == "A":
            assert self.row >= number, "the cursor would leave what the display has written"
            self.row -= number
        elif command in "KJ":
            self.rows[self.row] = self.rows[self.row][: self.column]
            if command == "J":
                del self.rows[self.row + 1 :]
        else:
            assert command == "m", f"unknown sequence {command}"


class Bench:
    """A display on a screen, with a clock that is set by hand."""

    def __init__(self, width: int = 100, height: int = 30, *, verbose: bool = False) -> None:
        self.stream = io.StringIO()
        self.screen = Screen()
        self.now_s = 0.0
        self.console = Console(
            file=self.stream, force_terminal=True, width=width, height=height, highlight=False
        )
        self.display = TerminalProgress(
            self.stream,
            console=self.console,
            refresh_s=None,
            clock=lambda: self.now_s,
            verbose=verbose,
        )

    def shows(self, *events: Event, at_s: float | None = None) -> list[str]:
        for event in events:
            self.now_s = getattr(event, "at_s", self.now_s)
            self.display.emit(event)
        self.now_s = self.now_s if at_s is None else at_s
        self.display.draw()
        return self.seen()

    def closed(self) -> list[str]:
        self.display.close()
        return self.seen()

    def seen(self) -> list[str]:
        self.screen.feed(self.stream.getvalue())
        self.stream.seek(0)
        self.stream.truncate()
        return [row.rstrip() for row in self.screen.rows[:-1]]


def run(tasks: int = 1, jobs: int = 2, *, resumed: bool = False) -> RunStarted:
    return RunStarted("3f2a", jobs, tasks, resumed)


def split(task_id: str = "a", at_s: float = 0.0, title: str = "INSERT INTO numbers") -> TaskStarted:
    return TaskStarted(
        task_id, "f.sql:3", "insert", title, "split", "series", "rows", 20_000_000, 0, at_s
    )


def serial(task_id: str = "s", at_s: float = 0.0) -> TaskStarted:
    return TaskStarted(
        task_id, "f.sql:9", "create index", "CREATE INDEX", "serial", None, "steps", 1, 0, at_s
    )


def finished(
    task_id: str = "a", state: TaskState = "done", seconds: float = 11.2, error: str | None = None
) -> TaskFinished:
    return TaskFinished(task_id, "f.sql:3", state, 20_000_000, 16, seconds, error, seconds)


def chunk(number: int, at_s: float, task_id: str = "a") -> list[Event]:
    lo = number * 1_000_000
    return [
        ChunkStarted(task_id, number % 2, lo, lo + 1_000_000, at_s),
        ChunkFinished(task_id, number % 2, lo, lo + 1_000_000, 1_000_000, 0.5, at_s + 0.5),
    ]


def test_a_bar_shows_units_pace_eta_workers_and_chunks() -> None:
    bench = Bench(140)
    assert bench.shows(run(), split(), ChunkStarted("a", 0, 0, 1_000_000, 0.0), at_s=0.4) == [
        (
            "⠙   0%  f.sql:3 INSERT INTO numbers  ────────────────────────────────────────        "
            "0/20.0M rows                     1/2 busy    0 chunks"
        )
    ]
    events = [event for number in range(5) for event in chunk(number, number * 0.5)]
    assert bench.shows(*events, ChunkStarted("a", 1, 0, 1, 2.5), at_s=3.0) == [
        (
            "⠹  25%  f.sql:3 INSERT INTO numbers  ━━━━━━━━━━──────────────────────────────    "
            "5.00M/20.0M rows  2.00M/s  ETA 0:07  1/2 busy    5 chunks"
        )
    ]


def test_a_task_that_is_done_becomes_one_line() -> None:
    bench = Bench()
    bench.shows(run(), split(), *chunk(0, 0.0))
    assert bench.shows(finished()) == [
        "done    f.sql:3 INSERT INTO numbers   20,000,000 rows   11.2 s  16 chunks"
    ]
    bench.shows(RunFinished("3f2a", ok=True, interrupted=False, seconds=11.3))
    assert len(bench.closed()) == 1


def test_a_serial_task_shows_only_that_it_runs() -> None:
    bench = Bench()
    assert bench.shows(run(), serial(), at_s=42.0) == ["⠙       f.sql:9 CREATE INDEX  serial  0:42"]


@pytest.mark.parametrize("width", [10, 20, 30, 40, 60, 80, 100, 120, 200])
def test_no_row_is_wider_than_the_terminal(width: int) -> None:
    bench = Bench(width)
    title = "INSERT INTO 日本語の長い名前の表 SELECT * FROM another_table_with_a_long_name"
    rows = bench.shows(run(5), split(title=title), serial(), *chunk(0, 0.5), at_s=2.0)
    assert len(rows) == 3
    # The screen of this test counts characters; wide ones only make rows shorter.
    assert all(len(row) < width for row in rows)


def test_figures_give_way_to_the_label_in_a_narrow_terminal() -> None:
    rows = {
        width: Bench(width).shows(run(3), split(), *chunk(0, 0.0), at_s=0.6)[0]
        for width in (40, 80, 120)
    }
    assert rows[40].endswith("  ETA 0:09")
    assert "busy" not in rows[40]
    assert "busy" in rows[80]
    assert "chunk" in rows[120]


def test_a_pause_is_seen_in_the_bars() -> None:
    bench = Bench(140)
    paused = WorkersChanged(0, "others are active", 1.0)
    said, bar = bench.shows(run(), split(), *chunk(0, 0.0), paused, at_s=1.0)
    assert said == "paused  others are active"
    assert "paused     1 chunk" in bar


def test_many_tasks_show_those_that_run_long_and_totals() -> None:
    bench = Bench(height=8)
    bench.shows(run(10_000, 8))
    for number in range(100):
        bench.shows(serial(f"x{number}"), finished(f"x{number}", seconds=0.01))
    assert bench.seen() == ["    1%  100/10,000 tasks  0/8 workers busy  0:00"]
    events: list[Event] = [serial(f"y{number}", 0.0) for number in range(8)]
    rows = bench.shows(*events, finished("z", "failed", 1.0, "no"), at_s=9.0)
    assert rows[0] == "failed  f.sql:3: no (after 1.0 s, 16 chunks)"
    assert len(rows) == 7
    assert rows[-1].endswith("  3 more running  1 failed  0:09")


def test_what_is_said_stands_above_the_bars() -> None:
    bench = Bench()
    bench.shows(run(resumed=True), split())
    rows = bench.shows(
        Notice("a", "NOTICE", "skipping", 1.0),
        Message("warning", "order differs", 1.0),
        Message("debug", "not shown", 1.0),
        ChunkRetried("a", 0, 0, 10, 2, 0.4, "deadlock", 1.0),
    )
    assert rows[:-1] == [
        "run     3f2a: 1 task, 2 jobs, resumed",
        "notice  f.sql:3: skipping",
        "warning order differs",
        "retry   f.sql:3 [0, 10) again in 0.40 s, attempt 2: deadlock",
    ]
    assert rows[-1].startswith("⠹   0%")


def test_long_lines_go_on_under_their_words() -> None:
    bench = Bench(40)
    rows = bench.shows(Message("warning", "a hazard that takes more than one line to name", 0.0))
    assert rows == ["warning a hazard that takes more than", "        one line to name"]


@pytest.mark.parametrize(
    "hostile",
    ["[red]x[/red]", "\x1b[31mred\x1b[2J", "<script>", "a\rb\x07\x9b1A", "[/]", ":smile:"],
)
def test_hostile_text_is_shown_and_not_obeyed(hostile: str) -> None:
    bench = Bench(200)
    rows = bench.shows(
        run(),
        split(title=hostile),
        Notice("a", hostile, hostile, 0.1),
        Message("info", hostile, 0.1),
    )
    rows += bench.shows(finished(state="failed", error=hostile))
    shown = hostile.replace("\x1b", r"\x1b").replace("\x07", r"\x07").replace("\x9b", r"\x9b")
    shown = shown.replace("\r", " ")
    assert all(shown[:4] in row for row in rows)
    assert any(shown in row for row in rows)


def test_quick_statements_leave_no_line() -> None:
    bench = Bench()
    bench.display.emit(run())
    bench.display.emit(serial())
    assert bench.shows(finished("s", seconds=0.01)) == []
    assert bench.closed() == []


def test_verbose_shows_every_step() -> None:
    rows = Bench(verbose=True).shows(run(), split(), *chunk(0, 0.0), Message("debug", "x", 1.0))
    assert [row.split()[0] for row in rows[:-1]] == ["run", "start", "chunk", "chunk", "debug"]


def test_a_flood_of_notices_is_bounded() -> None:
    rows = Bench().shows(*(Notice("a", "NOTICE", f"n{n}", 0.0) for n in range(2_000)))
    assert len(rows) == 501
    assert rows[-1].strip() == "1,500 more lines are not shown"


def test_an_exception_leaves_the_bars_gone_and_says_how_far_it_came() -> None:
    bench = Bench()
    bench.shows(run(2), split(), serial(), *chunk(0, 0.0), at_s=2.0)
    with pytest.raises(KeyboardInterrupt), bench.display:
        raise KeyboardInterrupt
    assert bench.seen() == [
        "stopped f.sql:3 INSERT INTO numbers: 1,000,000 of 20,000,000 rows after 0:02",
        "stopped f.sql:9 CREATE INDEX: after 0:02",
    ]
    assert bench.closed() == bench.seen()


def test_an_interrupted_run_says_so_last() -> None:
    bench = Bench()
    bench.shows(run(), split(), at_s=2.0)
    bench.shows(RunFinished("3f2a", ok=False, interrupted=True, seconds=2.0))
    assert [row.split()[0] for row in bench.closed()] == ["stopped", "stopped"]
    assert bench.seen()[-1].endswith("run the same command again to go on")


def test_results_may_be_printed_while_it_is_paused() -> None:
    bench = Bench()
    bench.shows(run(), split())
    with bench.display.paused():
        assert bench.shows(Message("info", "later", 1.0)) == []
        bench.stream.write("a result\n")
    rows = bench.shows()
    assert rows[:2] == ["a result", "note    later"]
    assert rows[2].startswith("⠹   0%")


def test_the_modes_of_the_terminal_are_never_touched() -> None:
    bench = Bench()
    bench.display.emit(run())
    bench.display.emit(split())
    bench.display.draw()
    bench.display.emit(finished())
    bench.display.close()
    written = bench.stream.getvalue()
    assert "\x1b[J" in written
    assert "\x1b[?" not in written


def test_a_narrower_window_does_not_make_it_erase_too_little() -> None:
    bench = Bench(100)
    bench.shows(run(), split())
    bench.console.width = 50
    bench.stream.truncate()
    bench.display.draw()
    assert bench.stream.getvalue().startswith("\r\x1b[2A")


def test_a_terminal_that_went_away_does_not_end_the_run() -> None:
    bench = Bench()
    bench.stream.close()
    bench.display.emit(run())
    bench.display.draw()
    bench.display.close()


def test_a_thread_of_its_own_draws_until_it_is_closed() -> None:
    drawn = threading.Event()

    class Stream(io.StringIO):
        def flush(self) -> None:
            drawn.set()

    stream = Stream()
    console = Console(file=stream, force_terminal=True, width=100)
    with TerminalProgress(stream, console=console, refresh_s=0.001) as display:
        display.emit(run())
        display.emit(split())
        assert drawn.wait(10)
    assert "pgfan-terminal" not in {thread.name for thread in threading.enumerate()}


def test_a_terminal_without_unicode_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(file=stream, force_terminal=True, width=100)
    display = TerminalProgress(stream, console=console, refresh_s=None, clock=lambda: 1.0)
    display.emit(run())
    display.emit(split(title="INSERT INTO größe"))
    display.draw()
    assert b"gr\\xf6\\xdfe" in raw.getvalue()
    display.close()


@pytest.mark.parametrize(
    ("source", "title", "cells", "expected"),
    [
        ("f.sql:3", "INSERT", 20, "f.sql:3 INSERT      "),
        ("a/b/f.sql:3", "INSERT", 14, "f.sql:3 INSERT"),
        ("a/b/f.sql:3", "INSERT INTO numbers", 20, "f.sql:3 INSERT INTO…"),
        ("a_rather_long_name.sql:14", "INSERT INTO t", 20, "…name.sql:14 INSERT…"),
        ("f.sql:3", "", 12, "f.sql:3     "),
        ("日本.sql:3", "日本語", 12, "….sql:3 日 …"),
    ],
)
def test_a_label_fits_its_column(source: str, title: str, cells: int, expected: str) -> None:
    assert fit_label(source, title, cells, UNICODE) == expected
    assert fit_label(source, title, cells, ASCII) == expected.replace("…", "~")
