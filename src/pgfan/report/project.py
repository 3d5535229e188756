"""What `pgfan plan --project` shows: which tasks would run and why, and what is dropped before.

Tasks next to each other of which the same is to be said are one entry. `--json` has every one.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from pgfan.report.ansi import BOLD, DIM, GREEN, RED, YELLOW, paint
from pgfan.report.figures import counted
from pgfan.report.safe_text import clean, redact_dsn
from pgfan.report.wrap import clipped, wrapped
from pgfan.sql.places import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.plan.preview import ProjectPlan
    from pgfan.plan.rebuild import Decision
    from pgfan.report.plans import PlanLook
    from pgfan.sql.script import ScriptItem

SCHEMA = 1
ALIKE_MIN = 4
"""So many tasks of which the same is said, one after the other, are one entry."""
_TEXT_CHARS_MAX = 2_000


def project_text(items: Sequence[ScriptItem], plan: ProjectPlan, look: PlanLook) -> str:
    """The tasks in program order, what is dropped, what is refused, and a summary."""
    lines: list[str] = []
    pairs = list(zip(range(1, len(items) + 1), items, plan.decisions, strict=True))
    for _, same in groupby(pairs, key=lambda pair: pair[2]):
        tasks = list(same)
        for entry in [tasks] if len(tasks) >= ALIKE_MIN else [[task] for task in tasks]:
            lines += _entry(entry, look)
    lines.append("")
    if plan.drops:
        lines.append(paint("dropped first:", YELLOW, look.color))
        lines += [f"  {_safe(statement)}" for statement in plan.drops]
    for refusal in plan.refusals:
        first, *rest = wrapped(f"refused: {_safe(refusal)}", look.cells)
        lines.append(paint("refused:", RED, look.color) + first.removeprefix("refused:"))
        lines += [f"  {line}" for line in rest]
    runs = sum(one.runs for one in plan.decisions)
    said = (
        f"{runs:,} of {counted(len(items), 'task')} would run, {len(items) - runs:,} are as built"
    )
    if plan.unfinished is not None:
        said += f"; goes on with run {plan.unfinished}"
    lines.append(said if not plan.refusals else "nothing runs: what was built cannot be taken back")
    return "".join(f"{line}\n" for line in lines)


def project_to_json(items: Sequence[ScriptItem], plan: ProjectPlan) -> dict[str, Any]:
    """JSON values, as documented for `pgfan plan --project --json`."""
    return {
        "schema": SCHEMA,
        "ok": not plan.refusals,
        "tasks": [
            {
                "id": str(number),
                "source": item.source,
                "kind": item.kind,
                "state": "planned" if decision.runs else "skipped",
                "why": decision.reason,
            }
            for number, (item, decision) in enumerate(
                zip(items, plan.decisions, strict=True), start=1
            )
        ],
        "drops": list(plan.drops),
        "refusals": list(plan.refusals),
        "unfinished": plan.unfinished,
    }


def _entry(entry: Sequence[tuple[int, ScriptItem, Decision]], look: PlanLook) -> Iterator[str]:
    number, item, decision = entry[0]
    label = f"{number}" if len(entry) == 1 else f"{number}-{entry[-1][0]}"
    title = _safe(excerpt(item.first.text))
    if len(entry) > 1:
        title = f"{len(entry):,} tasks: {title}"
    head = f"{label:>7}  {_safe(item.source)}"
    yield f"{paint(head, BOLD, look.color)}  {clipped(title, max(30, look.cells - len(head) - 2))}"
    verb, style = ("runs:", GREEN) if decision.runs else ("skipped:", DIM)
    first, *rest = wrapped(f"{verb} {_safe(decision.reason)}", look.cells - 11)
    yield " " * 9 + paint(verb, style, look.color) + first.removeprefix(verb)
    for line in rest:
        yield " " * 11 + line


def _safe(text: str) -> str:
    return clean(redact_dsn(text), _TEXT_CHARS_MAX)
