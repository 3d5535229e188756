"""What `pgfan plan PATH` shows: a line or two for each task of a script, and the graph's shape.

A long script is mostly many tasks alike, one after the other: those are one entry, so that a
thousand tasks can be read at a glance. `--json` has every one of them.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from pgfan.report.ansi import BOLD, YELLOW, paint
from pgfan.report.figures import counted
from pgfan.report.plans import verdict_words
from pgfan.report.safe_text import clean, redact_dsn
from pgfan.report.wrap import cells_of, clipped, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.plan.preview import ProgramPlan, StatementPlan
    from pgfan.report.plans import PlanLook

ALIKE_MIN = 4
"""So many tasks alike, one after the other, are one entry."""
AFTER_MAX = 8
"""Ranges of ids that are named of what a task waits for."""
BARRIERS_MAX = 10
USUAL = "not-insert-select"
"""The reason that goes without saying more."""
_TITLE_CELLS_MIN = 30
_TEXT_CHARS_MAX = 2_000


def program_text(plan: ProgramPlan, look: PlanLook) -> str:
    """The tasks in program order, and an empty line."""
    margin = len(str(len(plan.tasks))) + 2
    lines: list[str] = []
    for _, same in groupby(plan.tasks, key=_kind_of_entry):
        tasks = list(same)
        entries = [tasks] if len(tasks) >= ALIKE_MIN else [[task] for task in tasks]
        for entry in entries:
            lines += _entry(entry, plan, margin, look)
    return "".join(f"{line}\n" for line in (*lines, ""))


def shape_text(plan: ProgramPlan, look: PlanLook) -> str:
    """How long and how wide the graph is, and what holds everything up."""
    if len(plan.tasks) < 2:  # one task has no order
        return ""
    text = f"{plan.longest:,} one after the other at the most; up to {plan.widest:,} at once"
    lines = wrapped(text, look.cells)
    barriers = [task for task in plan.tasks if task.barrier is not None]
    for task in barriers[:BARRIERS_MAX]:
        code, message = task.barrier or ("", "")
        said = f"{_safe(task.source)} waits for all before it, and all after it wait for it:"
        first, *rest = wrapped(f"{said} {_safe(message)} ({code})", look.cells - len("barrier: "))
        lines.append(f"{paint('barrier:', YELLOW, look.color)} {first}")
        lines += [f"  {line}" for line in rest]
    if len(barriers) > BARRIERS_MAX:
        lines.append(f"and {counted(len(barriers) - BARRIERS_MAX, 'barrier')} more: --json")
    return "".join(f"{line}\n" for line in lines)


def _kind_of_entry(task: StatementPlan) -> object:
    """Tasks next to each other of which this is the same are alike."""
    if task.error is not None or task.barrier is not None:
        return task.id
    file = task.source.rpartition(":")[0]
    codes = tuple(code for code, _ in task.reasons)
    return file, task.kind, task.verdict, task.by, codes, task.after, task.not_yet


def _entry(
    tasks: Sequence[StatementPlan], plan: ProgramPlan, margin: int, look: PlanLook
) -> Iterator[str]:
    task, more = tasks[0], len(tasks) - 1
    label = f"{task.id:>{margin - 2}}  "
    source, title = _safe(task.source), _safe(task.title)
    room = look.cells - margin - cells_of(source) - 2
    if more:
        title = f"{len(tasks):,} alike: {title}"
    head = f"{label}{paint(source, BOLD, look.color)}"
    if room >= _TITLE_CELLS_MIN:
        yield f"{head}  {clipped(title, room)}"
    else:
        yield head
        yield " " * margin + clipped(title, look.cells - margin)
    words, style, reasons = _words(task)
    said = [" ".join([words, "; ".join(reasons)]).strip()]
    rows = sum(round(one.estimate.rows) for one in tasks if one.estimate is not None)
    if any(one.estimate is not None for one in tasks):
        said.append(f"about {counted(rows, 'row')}")
    after = _after(task, plan)
    if after:
        said.append(f"after {after}")
    first, *rest = wrapped("; ".join(said), look.cells - margin - 2)
    if first.startswith(words):
        first = paint(words, style, look.color) + first[len(words) :]
    yield " " * margin + first
    for line in rest:
        yield " " * (margin + 2) + line


def _words(task: StatementPlan) -> tuple[str, str, list[str]]:
    """The verdict, its colour, and what follows it, in as few words as will do."""
    codes = list(dict.fromkeys(code for code, _ in task.reasons))
    if task.not_yet:
        names = ", ".join(_safe(one.relation) for one in task.not_yet)
        return "judged when it runs:", YELLOW, [f"what it reads is made first: {names}"]
    if task.error is None and codes == [USUAL]:
        return "one connection", YELLOW, [f"({USUAL})"]
    return verdict_words(task)


def _after(task: StatementPlan, plan: ProgramPlan) -> str:
    """The tasks that it waits for as ranges: "1, 4-90"; gates opened."""
    found: set[int] = set()
    todo = list(task.after)
    while todo:
        one = todo.pop()
        if one in plan.gates:
            todo += plan.gates[one]
        else:
            found.add(int(one))
    ranges: list[list[int]] = []
    for number in sorted(found):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    texts = [f"{lo}" if lo == hi else f"{lo}-{hi}" for lo, hi in ranges]
    if len(texts) > AFTER_MAX:
        return f"{', '.join(texts[: AFTER_MAX - 1])} and others, {len(found):,} in all"
    return ", ".join(texts)


def _safe(text: str) -> str:
    return clean(redact_dsn(text), _TEXT_CHARS_MAX)
