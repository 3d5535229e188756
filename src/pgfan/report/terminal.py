"""A run on a terminal: bars at the bottom, what is over and what was said above them.

`emit` only counts; a thread of its own draws, eight times a second whatever the number of events.
The cursor is never hidden and no other mode of the terminal is changed, so that a client that is
killed leaves the terminal usable. Nothing is written but to the stream given (stderr).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from pgfan.events import (
    ChunkFinished,
    ChunkStarted,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskStarted,
)
from pgfan.report.figures import clock_text
from pgfan.report.frame import (
    ASCII,
    TAG_CELLS,
    TAG_STYLES,
    UNICODE,
    Look,
    done_row,
    frame,
    label_cells,
)
from pgfan.report.lines import Display, Line, at_s_of, line_of
from pgfan.report.tally import RunTally, TaskTally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import TextIO

    from pgfan.events import Event

REFRESH_S = 0.125
_LINES_PER_FRAME_MAX = 500
_FEW_TASKS = 40
_WORTH_A_LINE_S = 0.5
_ERASE_LINE = "\x1b[K"
_ERASE_BELOW = "\x1b[J"


class TerminalProgress(Display):
    """Bars for what runs, one line for what is over.

    Use it as a context manager, or call `close`. `console` and `clock` are for tests, and so is
    `refresh_s` None: then nothing is drawn but by `draw`.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        color: bool = True,
        console: Console | None = None,
        refresh_s: float | None = REFRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console or Console(
            file=stream, no_color=not color, highlight=False, markup=False, emoji=False
        )
        self._glyphs = UNICODE if self._console.encoding.startswith("utf") else ASCII
        self._verbose = verbose
        self._clock = clock
        self._tally = RunTally()
        self._label_width = 0
        self._above: deque[Text] = deque()
        self._unshown = 0
        self._run_at_s = 0.0
        self._clock_at_s = clock()
        self._tick = 0
        self._drawn_cells: list[int] = []
        self._held = False
        self._broken = False
        self._closed = False
        self._counting = threading.Lock()
        self._drawing = threading.RLock()
        self._refresh_s = refresh_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def emit(self, event: Event) -> None:
        """Count the event; it is on the screen within an eighth of a second."""
        with self._counting:
            task = self._tally.apply(event)
            self._run_at_s, self._clock_at_s = at_s_of(event), self._clock()
            if isinstance(event, RunFinished):
                self._add_stopped()
            if self._verbose or not isinstance(event, ChunkStarted | ChunkFinished):
                self._add_lines(event, task)
        if self._thread is None and self._refresh_s is not None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="pgfan-terminal", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._refresh_s):
            self.draw()

    def draw(self) -> None:
        """Bring the screen up to date."""
        with self._drawing:
            if not self._held:
                self._draw(with_frame=True)

    def close(self) -> None:
        """Erase the bars, and say of each task that was still running how far it came."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * REFRESH_S + 1)
        with self._drawing:
            if self._closed:
                return
            self._closed = True
            with self._counting:
                self._add_stopped()
            self._draw(with_frame=False)

    def paused(self) -> AbstractContextManager[None]:
        """While this is open the bars are gone, and results may be printed to the same terminal."""
        return self._paused()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        with self._drawing:
            self._draw(with_frame=False)
            self._held = True
        try:
            yield
        finally:
            self._held = False

    def _add_stopped(self) -> None:
        for task in self._tally.running.values():
            self._above.append(_line_text(_stopped_line(task, self._now_s())))
        self._tally.running.clear()

    def _now_s(self) -> float:
        return self._run_at_s + max(0.0, self._clock() - self._clock_at_s)

    def _add_lines(self, event: Event, task: TaskTally | None) -> None:
        if not self._worth_showing(event, task):
            return
        if len(self._above) >= _LINES_PER_FRAME_MAX:
            self._unshown += 1
        elif isinstance(event, TaskFinished) and event.state == "done" and task is not None:
            self._above.append(self._done_row(event, task))
        else:
            line = line_of(event, task, self._tally)
            if self._verbose or line.level != "detail":
                self._above.append(_line_text(line))

    def _done_row(self, event: TaskFinished, task: TaskTally) -> Text:
        if self._tally.tasks == 1:
            # No other row to be in line with.
            return done_row(event, task, self._look(), label_cells([task], 2, self._console.width))
        self._widen_labels([task])
        return done_row(event, task, self._look(), self._label_width)

    def _worth_showing(self, event: Event, task: TaskTally | None) -> bool:
        """Whether an event gets a line of its own: the bars and the results tell most of it."""
        if self._verbose:
            return True
        match event:
            case RunStarted():
                return event.resumed
            case TaskStarted():
                return False
            case TaskFinished():
                if event.state == "failed":
                    return True
                few = self._tally.tasks <= _FEW_TASKS
                if event.state != "done":
                    return few
                big = task is not None and task.has_progress
                return event.seconds >= _WORTH_A_LINE_S * (1 if few else 2) or (big and few)
            case RunFinished():
                return event.interrupted or self._tally.tasks > 1
            case _:
                return True

    def _look(self) -> Look:
        size = self._console.size
        return Look(size.width, size.height, self._glyphs, self._tick)

    def _widen_labels(self, tasks: list[TaskTally]) -> None:
        # Never narrower again: columns that stay where they are can be read.
        width = self._console.width
        self._label_width = max(self._label_width, label_cells(tasks, self._tally.tasks, width))

    def _draw(self, *, with_frame: bool) -> None:
        with self._counting:
            above = list(self._above)
            self._above.clear()
            if self._unshown:
                above.append(_line_text(Line("", f"{self._unshown:,} more lines are not shown")))
                self._unshown = 0
            rows: list[Text] = []
            if with_frame:
                self._tick += 1
                self._widen_labels(list(self._tally.running.values()))
                rows = frame(self._tally, self._look(), self._now_s(), self._label_width)
        if not (above or rows or self._drawn_cells):
            return
        width = max(1, self._console.width)
        # A narrower window has wrapped the rows that are there.
        rows_up = sum(max(1, -(-cells // width)) for cells in self._drawn_cells)
        self._drawn_cells = [row.cell_len for row in rows]
        up = f"\x1b[{rows_up}A" if rows_up else ""
        rows = [line for text in above for line in self._wrapped(text, width)] + rows
        texts = [f"{self._ansi(text)}{_ERASE_LINE}\n" for text in rows]
        self._write(f"\r{up}{''.join(texts)}{_ERASE_BELOW}")

    def _wrapped(self, text: Text, width: int) -> list[Text]:
        """`text` in rows that fit, those after the first under its words."""
        if text.cell_len < width or width <= 2 * TAG_CELLS:
            return [text]
        tag, body = text.divide([TAG_CELLS])
        first, *rest = body.wrap(self._console, width - TAG_CELLS - 1)
        indent = Text(" " * TAG_CELLS)
        return [tag + first, *(indent + line for line in rest)]

    def _ansi(self, text: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(text, end="", soft_wrap=True)
        return capture.get()

    def _write(self, text: str) -> None:
        if self._broken:
            return
        encoding = self._console.encoding
        try:
            self._console.file.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._console.file.flush()
        except (OSError, ValueError):
            # A terminal that went away ends the display, not the run.
            self._broken = True


def _line_text(line: Line) -> Text:
    style = TAG_STYLES.get(line.tag, "cyan")
    return Text.assemble((f"{line.tag:<{TAG_CELLS}}", style), line.text, end="")


def _stopped_line(task: TaskTally, now_s: float) -> Line:
    elapsed = clock_text(now_s - task.started.at_s)
    if not task.has_progress:
        return Line("stopped", f"{task.label}: after {elapsed}")
    done, total, unit = task.done_units, task.started.total_units, task.started.unit
    return Line("stopped", f"{task.label}: {done:,} of {total:,} {unit} after {elapsed}")
