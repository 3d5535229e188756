"""What the bars look like at one instant: values in, styled lines out.

One row per running task and one for the run. A row is never wider than the terminal: figures are
left out from the right end of a list until the rest fits, the same ones in every row, and widths
are fixed, so that nothing dances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from pgfan.report.figures import clock_text, counted, seconds_text, short_count
from pgfan.report.lines import shared_text

if TYPE_CHECKING:
    from pgfan.events import TaskFinished
    from pgfan.report.tally import RunTally, TaskTally

TAG_CELLS = 8
_ROW_AFTER_S = 0.3
_GAP = "  "
_LABEL_CELLS_MIN = 12
_BAR_CELLS_MIN = 7
_BAR_CELLS_MAX = 40
_FIGURE_CELLS = {"span": 18, "count": 12, "rate": 7, "eta": 8, "busy": 8, "chunks": 10}
_FIGURE_CHOICES = (
    ("span", "rate", "eta", "busy", "chunks"),
    ("count", "rate", "eta", "busy", "chunks"),
    ("count", "rate", "eta", "busy"),
    ("rate", "eta", "busy"),
    ("rate", "eta"),
    ("eta",),
    (),
)
TAG_STYLES = {
    "done": "bold green",
    "failed": "bold red",
    "stopped": "bold yellow",
    "warning": "bold yellow",
    "paused": "yellow",
    "retry": "yellow",
    "skipped": "dim",
    "not run": "dim",
    "debug": "dim",
    "chunk": "dim",
}


class Glyphs(Struct, frozen=True):
    """The characters that a terminal's encoding can show."""

    spinner: str
    full: str
    half: str
    empty: str
    ellipsis: str


UNICODE = Glyphs("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "━", "╸", "─", "…")
ASCII = Glyphs("|/-\\", "#", "#", ".", "~")


class Look(Struct, frozen=True):
    """The terminal as it is now; sizes in cells, `tick` counts frames and turns the spinner."""

    width: int
    height: int
    glyphs: Glyphs
    tick: int


def label_cells(tasks: list[TaskTally], tasks_in_all: int, width: int) -> int:
    """How wide the column of labels has to be for `tasks`.

    One task needs no telling apart from others, so its figures come first.
    """
    widest = max((cell_len(task.label) for task in tasks), default=0)
    share_max = (width - TAG_CELLS) * 2 // (7 if tasks_in_all == 1 else 5)
    return max(_LABEL_CELLS_MIN, min(widest, share_max))


def frame(tally: RunTally, look: Look, now_s: float, label_width: int) -> list[Text]:
    """A row for each running task that finds room, and one for the run when it has several.

    Among several, a task gets its row once it has run for a moment: names that flash by cannot be
    read, and rows that come and go make the rest jump.
    """
    several = tally.tasks > 1
    tasks = [
        task
        for task in tally.running.values()
        if not several or now_s - task.started.at_s >= _ROW_AFTER_S
    ]
    # One row for the totals, one for the cursor, one of what was there before.
    room = max(1, look.height - 3)
    rows = [_task_row(task, tally, look, now_s, label_width) for task in tasks[:room]]
    if several and not tally.over:
        rows.append(_totals_row(tally, now_s, len(tasks) - room))
    for row in rows:
        row.truncate(look.width - 1, overflow="crop")
    return rows


def done_row(event: TaskFinished, task: TaskTally, look: Look, label_width: int) -> Text:
    """A task that is done, in the columns of the bars."""
    row = Text(f"{'done':<{TAG_CELLS}}", style=TAG_STYLES["done"], end="")
    label = fit_label(task.source, task.title, label_width, look.glyphs)
    rows = "" if event.rows is None else counted(event.rows, "row")
    figures = f"{label}{_GAP}{rows:>16}{_GAP}{seconds_text(event.seconds):>7}"
    chunks = f"{_GAP}{counted(event.chunks, 'chunk')}" if event.chunks > 1 else ""
    chunks += shared_text(task)
    return Text.assemble(row, figures, (chunks, "dim"), end="")


def fit_label(source: str, title: str, cells: int, glyphs: Glyphs) -> str:
    """`source title` in `cells` cells: a long path loses its folders, a long title its tail."""
    if cell_len(source) + 1 + cell_len(title) > cells:
        source = source.rpartition("/")[2]
    # The title keeps two fifths: what is done matters more than where it is written.
    source_max = max(cells * 3 // 5, cells - 1 - cell_len(title))
    if cell_len(source) > source_max:
        tail = source[-source_max:]
        while tail and cell_len(tail) >= source_max:
            tail = tail[1:]
        source = glyphs.ellipsis + tail
    label = f"{source} {title}".rstrip()
    if cell_len(label) > cells:
        return set_cell_size(label, cells - 1) + glyphs.ellipsis
    return set_cell_size(label, cells)


def _task_row(task: TaskTally, tally: RunTally, look: Look, now_s: float, label_width: int) -> Text:
    spinner = look.glyphs.spinner[look.tick % len(look.glyphs.spinner)]
    label = fit_label(task.source, task.title, label_width, look.glyphs)
    row = Text(no_wrap=True, end="")
    row.append(spinner, style="cyan")
    if not task.has_progress:
        elapsed_s = now_s - task.started.at_s
        row.append(f"{'':{TAG_CELLS - 1}}{label}{_GAP}")
        row.append(f"{task.started.verdict}{_GAP}", style="dim")
        row.append(clock_text(elapsed_s))
        return row
    percent = f"{int(task.fraction * 100)}%"
    row.append(f"{percent:>5}{_GAP}", style="bold")
    row.append(f"{label}{_GAP}")
    room = look.width - 1 - TAG_CELLS - label_width - len(_GAP)
    names = _figures_that_fit(room - _BAR_CELLS_MIN)
    figures = "".join(f"{_GAP}{_figure(name, task, tally, now_s)}" for name in names)
    bar_cells = min(_BAR_CELLS_MAX, room - cell_len(figures))
    if bar_cells >= _BAR_CELLS_MIN // 2:
        _append_bar(row, task.fraction, bar_cells, look.glyphs)
    row.append(figures)
    return row


def _figures_that_fit(cells: int) -> tuple[str, ...]:
    for names in _FIGURE_CHOICES:
        if sum(_FIGURE_CELLS[name] + len(_GAP) for name in names) <= cells:
            return names
    return ()


def _figure(name: str, task: TaskTally, tally: RunTally, now_s: float) -> str:
    unit = task.started.unit
    done = short_count(task.done_units)
    match name:
        case "span":
            text = f"{done}/{short_count(task.started.total_units)} {unit}"
        case "count":
            text = f"{done} {unit}"
        case "rate":
            pace = task.rate.per_second(now_s)
            text = "" if pace is None else f"{short_count(pace)}/s"
        case "eta":
            eta_s = task.eta_s(now_s)
            text = "" if eta_s is None else f"ETA {clock_text(eta_s)}"
        case "busy":
            paused = tally.paused is not None and not task.workers
            text = "paused" if paused else f"{len(task.workers)}/{tally.jobs} busy"
        case _:
            text = counted(task.chunks, "chunk")
    return f"{text:>{_FIGURE_CELLS[name]}}"


def _append_bar(row: Text, fraction: float, cells: int, glyphs: Glyphs) -> None:
    halves = int(fraction * cells * 2)
    full = glyphs.full * (halves // 2) + glyphs.half * (halves % 2)
    row.append(full, style="green")
    row.append(glyphs.empty * (cells - len(full)), style="bright_black")


def _totals_row(tally: RunTally, now_s: float, hidden: int) -> Text:
    ended = sum(tally.ended.values())
    busy = f"{tally.busy}/{tally.jobs} workers busy"
    parts = [f"{ended:,}/{tally.tasks:,} tasks", "paused" if tally.paused is not None else busy]
    if hidden > 0:
        parts.append(f"{hidden:,} more running")
    if tally.ended["failed"]:
        parts.append(f"{tally.ended['failed']:,} failed")
    parts.append(clock_text(now_s))
    percent = f"{ended * 100 // tally.tasks}%"
    text = f"{percent:>{TAG_CELLS - len(_GAP)}}{_GAP}{_GAP.join(parts)}"
    return Text(text, style="dim", no_wrap=True, end="")
