"""A run as plain lines on stderr, for files, pipes and dumb terminals.

`line_of` says what an event reads like; the terminal view prints the same lines above its bars.
There is no clock and no thread here: time is what the events carry, so a log of a run that is
replayed reads as it did.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from msgspec import Struct

from pgfan.events import (
    ChunkCancelled,
    ChunkFinished,
    ChunkRetried,
    ChunkStarted,
    Message,
    Notice,
    RunFinished,
    RunStarted,
    TaskFinished,
    TasksAdded,
    TaskStarted,
    WorkersChanged,
)
from pgfan.report.figures import clock_text, counted, seconds_text, short_count
from pgfan.report.safe_text import clean, redact_dsn
from pgfan.report.tally import RunTally, TaskTally, safe_title

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self, TextIO

    from pgfan.events import Event
    from pgfan.ports import Progress

PROGRESS_LINE_EVERY_S = 10.0
SEARCHING = frozenset({"trying more", "trying fewer", "more are no faster", "fewer are slower"})
"""Steps of the search for the best number of workers."""
_TEXT_CHARS_MAX = 2_000

Level: TypeAlias = Literal["detail", "info", "warning"]


class Line(Struct, frozen=True):
    """One line about a run: `tag` is a word of at most eight letters, `text` is safe to show."""

    tag: str
    text: str
    level: Level = "info"


class Display:
    """A Progress that is closed when the run is over, whatever way it ended."""

    def emit(self, event: Event) -> None:
        """Take the next event; see `pgfan.ports.Progress`."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the terminal or file as it should be; may be called twice. Nothing follows it."""

    def paused(self) -> AbstractContextManager[None]:
        """While this is open, what others write to the terminal does not run into the display."""
        return nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class LineProgress(Display):
    """Every step of a run as a line; per task at most one line of progress in ten seconds.

    `verbose` adds a line per chunk and the debug messages. A stream that breaks ends the lines,
    never the run.
    """

    def __init__(self, stream: TextIO, *, verbose: bool = False) -> None:
        self._stream = stream
        self._levels: frozenset[Level] = frozenset(
            {"detail", "info", "warning"} if verbose else {"info", "warning"}
        )
        self._silent: tuple[type, ...] = () if verbose else (ChunkStarted, ChunkFinished)
        """Events whose lines are below these levels: nobody works them out."""
        self._tally = RunTally()
        self._due_s = PROGRESS_LINE_EVERY_S
        self._broken = False

    def emit(self, event: Event) -> None:
        """Write the event's line, if it has one at this level."""
        task = self._tally.apply(event)
        at_s = at_s_of(event)
        if not isinstance(event, self._silent):
            line = line_of(event, task, self._tally)
            if line.level in self._levels:
                self._write(at_s, line)
        if at_s >= self._due_s:
            self._due_s = at_s + PROGRESS_LINE_EVERY_S
            self._write_progress(at_s)

    def _write_progress(self, at_s: float) -> None:
        for task in self._tally.running.values():
            # A task that began or spoke just now has nothing new to say.
            if at_s - task.started.at_s >= PROGRESS_LINE_EVERY_S / 2:
                self._write(at_s, progress_line(task, self._tally, at_s))

    def _write(self, at_s: float, line: Line) -> None:
        if self._broken:
            return
        text = f"[{at_s:8.1f} s] {line.tag:<8} {line.text}\n"
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
            self._stream.flush()
        except (OSError, ValueError):
            self._broken = True


class QuietProgress(LineProgress):
    """Warnings only: those of pgfan and those of the server."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._levels = frozenset({"warning"})
        self._silent = (ChunkStarted, ChunkFinished, TaskStarted, TaskFinished)

    def _write_progress(self, at_s: float) -> None:
        pass


class MultiProgress(Display):
    """Several displays as one; each takes every event, in the order given."""

    def __init__(self, displays: Sequence[Progress]) -> None:
        self._displays = tuple(displays)

    def emit(self, event: Event) -> None:
        """Hand the event to each."""
        for display in self._displays:
            display.emit(event)

    def close(self) -> None:
        """Close each, the last first, also when one of them fails."""
        with ExitStack() as stack:
            for display in self._displays:
                if isinstance(display, Display):
                    stack.callback(display.close)

    def paused(self) -> AbstractContextManager[None]:
        """Pause each."""
        return self._paused()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        with ExitStack() as stack:
            for display in self._displays:
                if isinstance(display, Display):
                    stack.enter_context(display.paused())
            yield


def line_of(event: Event, task: TaskTally | None, tally: RunTally) -> Line:
    """What `event` reads like; `task` and `tally` are as they are after the event."""
    match event:
        case RunStarted():
            tasks, jobs = counted(event.tasks, "task"), counted(event.jobs, "job")
            resumed = ", resumed" if event.resumed else ""
            return Line("run", f"{_safe(event.run_id)}: {tasks}, {jobs}{resumed}")
        case TaskStarted():
            return Line("start", _started_text(event, task))
        case ChunkStarted():
            text = f"{_range(event, task)} on worker {event.worker}"
            return Line("chunk", text, "detail")
        case ChunkFinished():
            rows = "" if event.rows is None else f"{counted(event.rows, 'row')}, "
            text = f"{_range(event, task)} done: {rows}{seconds_text(event.seconds)}"
            return Line("chunk", text, "detail")
        case ChunkRetried():
            when = f"again in {seconds_text(event.delay_s)}, attempt {event.attempt}"
            return Line("retry", f"{_range(event, task)} {when}: {_safe(event.reason)}")
        case ChunkCancelled():
            text = f"{_range(event, task)} cancelled, to be shared by idle workers"
            return Line("share", text, "detail")
        case TaskFinished():
            return Line(event.state, finished_text(event, task))
        case Notice():
            source = f"{task.source}: " if task else ""
            level: Level = "warning" if event.severity == "WARNING" else "info"
            tag = clean(event.severity.lower(), 8)
            return Line(tag, f"{source}{_safe(event.message)}", level)
        case Message() | TasksAdded():
            return _message_line(event)
        case WorkersChanged():
            return workers_line(event)
        case RunFinished():
            return run_finished_line(event, tally)
        case _:
            assert_never(event)


def _message_line(event: Message | TasksAdded) -> Line:
    if isinstance(event, TasksAdded):
        return Line("tasks", f"{counted(event.tasks, 'task')} now", "detail")
    match event.level:
        case "warning":
            return Line("warning", _safe(event.text), "warning")
        case "info":
            return Line("note", _safe(event.text))
        case "debug":
            return Line("debug", _safe(event.text), "detail")


def _started_text(event: TaskStarted, task: TaskTally | None) -> str:
    label = task.label if task else f"{clean(event.source, 200)} {safe_title(event.title)}"
    how = event.verdict if event.key is None else f"{event.verdict} by {_safe(event.key)}"
    if event.total_units <= 1:
        return f"{label}: {how}"
    done = f", {event.done_units:,} of them done before" if event.done_units else ""
    return f"{label}: {how}, {event.total_units:,} {event.unit}{done}"


def finished_text(event: TaskFinished, task: TaskTally | None) -> str:
    """Label, rows, time and chunks of a task that ended, or its error and what was done before."""
    label = task.label if task else clean(event.source, 200)
    if event.state in {"skipped", "not run"}:
        return label
    took = seconds_text(event.seconds)
    chunks = f", {counted(event.chunks, 'chunk')}" if event.chunks > 1 or event.error else ""
    chunks += shared_text(task)
    if event.error:
        return f"{label}: {_safe(event.error)} (after {took}{chunks})"
    rows = "" if event.rows is None else f"{counted(event.rows, 'row')}, "
    return f"{label}: {rows}{took}{chunks}"


def run_finished_line(event: RunFinished, tally: RunTally) -> Line:
    """How the run ended, and how many of its tasks ended in which way."""
    ended = tally.ended.copy()
    ended["not run"] = max(ended["not run"], event.not_run, tally.tasks - ended.total())
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(ended.items()) if count)
    if set(tally.ended) <= {"done"} and not ended["not run"]:
        counts = counted(ended["done"], "task")
    took = f"{counts} in {seconds_text(event.seconds)}"
    if event.interrupted:
        return Line("stopped", f"{took}; run the same command again to go on")
    return Line("done" if event.ok else "failed", took)


def workers_line(event: WorkersChanged) -> Line:
    """A pause, or a number that the user asked for, is news; a step of the search is a detail."""
    why = _safe(event.why)
    if not event.workers:
        return Line("paused", why)
    searching = event.why in SEARCHING
    return Line("workers", f"{event.workers:,}: {why}", "detail" if searching else "info")


def progress_line(task: TaskTally, tally: RunTally, at_s: float) -> Line:
    """Where a running task stands."""
    workers = f"{len(task.workers)}/{tally.jobs} workers"
    if tally.paused is not None:
        workers = f"paused: {_safe(tally.paused)}"
    if not task.has_progress:
        return Line("run", f"{task.label}: {clock_text(at_s - task.started.at_s)}, {workers}")
    unit, total = task.started.unit, task.started.total_units
    parts = [f"{task.fraction:.0%}", f"{task.done_units:,} of {total:,} {unit}"]
    pace, eta_s = task.rate.per_second(at_s), task.eta_s(at_s)
    if pace is not None and eta_s is not None:
        parts += [f"{short_count(pace)} {unit}/s", f"{clock_text(eta_s)} left"]
    parts += [workers, counted(task.chunks, "chunk")]
    return Line("run", f"{task.label}: {', '.join(parts)}{shared_text(task)}")


def shared_text(task: TaskTally | None) -> str:
    """How many chunks were cancelled to be shared out; nothing when there were none."""
    return f", {task.shared:,} shared out" if task is not None and task.shared else ""


def _range(
    event: ChunkStarted | ChunkFinished | ChunkRetried | ChunkCancelled, task: TaskTally | None
) -> str:
    source = task.source if task else clean(event.task_id, 200)
    return f"{source} [{event.lo:,}, {event.hi:,})"


def _safe(text: str) -> str:
    return clean(redact_dsn(text), _TEXT_CHARS_MAX)


def at_s_of(event: Event) -> float:
    """When the event happened, in seconds of the run."""
    match event:
        case RunStarted():
            return 0.0
        case RunFinished():
            return event.seconds
        case _:
            return event.at_s
