"""What `pgfan plan` shows: a block of text for each statement, a summary, or JSON.

Values of `pgfan.plan.preview` in, text out. Names and messages come from files and from the server,
so all of them are made safe here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from pgfan.report.ansi import BOLD, CYAN, DIM, GREEN, RED, YELLOW, paint
from pgfan.report.figures import counted
from pgfan.report.safe_text import clean, redact_dsn
from pgfan.report.wrap import cells_of, clipped, wrapped
from pgfan.sql.layout import laid_out
from pgfan.sql.reasons import HAZARDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgfan.plan.preview import DrivingKey, PlanCounts, StatementPlan

SCHEMA = 1
REJECTED_MAX = 6
"""Rejected keys shown of one statement; --json has all of them."""
CHUNK_LINES_MAX = 12
"""Lines of an example that is not asked for whole."""
_NATIVE = "the server's own parallel plan"
_TEXT_CHARS_MAX = 2_000
_LINE_CHARS_MAX = 1_000_000
_INDENT = "  "
_LABEL_CELLS = 10
_TITLE_CELLS_MIN = 30
_WIDTH_MIN = 40


class PlanLook(Struct, frozen=True):
    """How plans are shown: `width` in cells; `chunk`: the example's SQL."""

    width: int = 80
    color: bool = False
    chunk: Literal["none", "clipped", "whole"] = "clipped"

    @property
    def cells(self) -> int:
        """What lines are wrapped to."""
        return max(_WIDTH_MIN, self.width)


def plan_text(plan: StatementPlan, look: PlanLook) -> str:
    """A block of lines about one statement, an empty one at its end."""
    source = clean(redact_dsn(plan.source), 200)
    room = look.cells - cells_of(source) - len(_INDENT)
    head = paint(source, BOLD, look.color)
    if room >= _TITLE_CELLS_MIN:
        lines = [f"{head}{_INDENT}{clipped(_safe(plan.title), room)}"]
    else:
        lines = [head, _INDENT + clipped(_safe(plan.title), look.cells - len(_INDENT))]
    lines += _hanging(*verdict_words(plan), look)
    if plan.estimate is not None:
        rows = counted(round(plan.estimate.rows), "row")
        lines += _labelled("estimate", [f"{rows}, cost {plan.estimate.cost:,.0f}"], look)
    lines += _labelled("rejected", list(_rejected(plan)), look)
    notes = [f"{_safe(text)} ({code})" for code, text in plan.notes]
    lines += _labelled("note", notes, look)
    lines += _labelled("hazards", [", ".join(plan.hazards)] if plan.hazards else [], look)
    lines += _chunk_lines(plan, look)
    return "".join(f"{line}\n" for line in (*lines, ""))


def summary_text(counts: PlanCounts, look: PlanLook) -> str:
    """How many statements got which verdict and which reason, and what the hazards mean."""
    lines: list[str] = []
    total = sum(counts.verdicts.values())
    if total > 1:
        verdicts = [f"{counts.verdicts['split']:,} split"]
        if counts.verdicts["native"]:
            verdicts.append(f"{counts.verdicts['native']:,} by {_NATIVE}")
        serial = counts.verdicts["serial"] - counts.not_yet - counts.wrong
        verdicts.append(f"{serial:,} on one connection")
        if counts.not_yet:
            verdicts.append(f"{counts.not_yet:,} to be judged again")
        if counts.wrong:
            verdicts.append(f"{counts.wrong:,} with an error")
        head = f"{counted(total, 'statement')}: {', '.join(verdicts)}"
        first, *rest = wrapped(head, look.cells - len(_INDENT))
        lines += [paint(first, BOLD, look.color), *(_INDENT + line for line in rest)]
        figures = {code: f"{count:,}" for code, count in counts.reasons.most_common()}
        widest = max(map(len, figures.values()), default=0)
        lines += [f"{_INDENT}{figure:>{widest}} {code}" for code, figure in figures.items()]
    for code in sorted(counts.hazards):
        name = paint(f"{code}:", YELLOW, look.color)
        first, *rest = wrapped(HAZARDS.get(code, ""), look.cells - len(code) - 2)
        lines += [f"{name} {first}", *(f"{_INDENT}{line}" for line in rest)]
    return "".join(f"{line}\n" for line in lines)


def plans_to_json(
    plans: Sequence[StatementPlan],
    counts: PlanCounts,
    gates: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """JSON values: the tasks as `exec --json` has them, and what is known of each before it.

    `gates` are those of a `ProgramPlan`; what is not a script has none.
    """
    return {
        "schema": SCHEMA,
        "tasks": [_task_json(plan) for plan in plans],
        "verdicts": dict(counts.verdicts),
        "reasons": dict(counts.reasons.most_common()),
        "gates": [{"id": gate, "after": list(after)} for gate, after in (gates or {}).items()],
    }


def _task_json(plan: StatementPlan) -> dict[str, Any]:
    by, example = plan.by, plan.example
    return {
        "id": plan.id,
        "source": plan.source,
        "kind": plan.kind,
        "state": "planned",
        "verdict": plan.verdict,
        "key": plan.key,
        "reasons": _reasons_json(plan.reasons),
        "notes": _reasons_json(plan.notes),
        "hazards": list(plan.hazards),
        "chunks": None,
        "rows": round(plan.estimate.rows) if plan.estimate else None,
        "seconds": None,
        "error": plan.error.message if plan.error else None,
        "after": list(plan.after),
        "barrier": _reasons_json([plan.barrier])[0] if plan.barrier else None,
        "title": plan.title,
        "cost": plan.estimate.cost if plan.estimate else None,
        "driving": {"relation": by.relation, "alias": by.alias} if by else None,
        "unit": plan.unit if by else None,
        "units": plan.units if by else None,
        "rejected": [
            {
                "relation": rejected.by.relation,
                "alias": rejected.by.alias,
                "key": rejected.by.key,
                "reasons": _reasons_json(rejected.reasons),
            }
            for rejected in plan.rejected
        ],
        "example": {"lo": example.lo, "hi": example.hi, "sql": example.sql} if example else None,
        "statements": list(plan.statements),
        "not_yet": [
            {"relation": missing.relation, "made_by": missing.made_by} for missing in plan.not_yet
        ],
    }


def _reasons_json(reasons: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"code": code, "message": text} for code, text in reasons]


def verdict_words(plan: StatementPlan) -> tuple[str, str, list[str]]:
    """The verdict in a few words, their colour, and what follows them: reasons, one by one."""
    if plan.by is not None:
        return f"split by {_key_text(plan.by)}, {_units(plan.units, plan)}", GREEN, []
    if plan.not_yet:
        codes = ", ".join(code for code, _ in plan.reasons)
        makers = [
            f"{_safe(one.relation)} is not there yet: {_safe(one.made_by)} makes it"
            for one in plan.not_yet
        ]
        makers[-1] += f", and exec judges again then ({codes})"
        return "one connection as of now:", YELLOW, makers
    if plan.error is not None:
        says = _safe(plan.error.message)
        if plan.is_wrong:
            return "PostgreSQL refuses it:", RED, [says]
        place = f"{plan.error.position}: " if plan.error.position else ""
        says = f"{_safe(place)}{says} (statements before it are not run)"
        return "PostgreSQL refuses it as of now:", YELLOW, [says]
    reasons = [f"{_safe(text)} ({code})" for code, text in plan.reasons]
    native = plan.verdict == "native"
    head, style = (_NATIVE, GREEN) if native else ("one connection", YELLOW)
    return (f"{head}:" if reasons else head), style, reasons


def _hanging(head: str, style: str, items: Sequence[str], look: PlanLook) -> Iterator[str]:
    """A coloured head with what follows it; the second item and on begin lines of their own."""
    # Wrapped as one text, so that nothing depends on where the head ends; then coloured.
    first, *more = items or [""]
    lines = wrapped(f"{head} {first}".rstrip(), look.cells - 2 * len(_INDENT))
    if lines[0].startswith(head):
        lines[0] = paint(head, style, look.color) + lines[0][len(head) :]
    else:
        lines[0] = paint(lines[0], style, look.color)
    for item in more:
        lines += wrapped(item, look.cells - 2 * len(_INDENT))
    for number, line in enumerate(lines):
        yield _INDENT * (2 if number else 1) + line


def _rejected(plan: StatementPlan) -> Iterator[str]:
    for rejected in plan.rejected[:REJECTED_MAX]:
        # What is said of the statement need not be said of its keys again.
        why = dict.fromkeys(
            code if (code, text) in plan.reasons else f"{_safe(text)} ({code})"
            for code, text in rejected.reasons
        )
        yield f"{_key_text(rejected.by)}: {'; '.join(why)}"
    more = len(plan.rejected) - REJECTED_MAX
    if more > 0:
        yield f"and {more} more: --json has all of them"


def _chunk_lines(plan: StatementPlan, look: PlanLook) -> list[str]:
    example = plan.example
    if look.chunk == "none":
        return []
    if example is not None:
        size = f"{example.hi - example.lo:,} of {_units(plan.units, plan)}, for example:"
        return [*_labelled("chunk", [size], look), *_sql_lines(example.sql, look)]
    lines = _labelled("runs", ["in one transaction:"] if plan.statements else [], look)
    return lines + [line for sql in plan.statements for line in _sql_lines(f"{sql};", look)]


def _sql_lines(sql: str, look: PlanLook) -> list[str]:
    margin = _INDENT * 2
    whole = look.chunk == "whole"
    sql = sql if whole else redact_dsn(sql)
    laid = [
        clean(line, _LINE_CHARS_MAX)
        for part in laid_out(sql, look.cells - len(margin))
        for line in part.split("\n")
    ]
    if not whole:
        # The last lines tell more than the first: there the chunk's bounds are.
        hidden = len(laid) - CHUNK_LINES_MAX
        if hidden > 0:
            head = CHUNK_LINES_MAX // 2
            note = f"… {counted(hidden, 'line')} more: --sql"
            laid = [*laid[:head], note, *laid[head + hidden :]]
        laid = [clipped(line, look.cells - len(margin)) for line in laid]
    return [margin + paint(line, DIM, look.color) for line in laid]


def _labelled(label: str, items: Sequence[str], look: PlanLook) -> list[str]:
    """A label before the first item; further lines stand below its text."""
    lines: list[str] = []
    for item in items:
        first, *rest = wrapped(item, look.cells - 2 * len(_INDENT) - _LABEL_CELLS)
        shown = paint(f"{label if not lines else '':<{_LABEL_CELLS}}", CYAN, look.color)
        lines += [f"{_INDENT}{shown}{first}"]
        lines += [f"{_INDENT}{'':<{_LABEL_CELLS + 2}}{line}" for line in rest]
    return lines


def _key_text(by: DrivingKey) -> str:
    relation, alias = _safe(by.relation), _safe(by.alias)
    known_as = "" if alias in {relation, relation.rpartition(".")[2]} else f" (as {alias})"
    match by.key:
        case "ctid":
            return f"blocks of {relation}{known_as}"
        case "series":
            return relation
        case "branches":
            return f"the branches of {relation}"
        case column:
            return f"{relation}.{_safe(column)}{known_as}"


def _units(count: int, plan: StatementPlan) -> str:
    return counted(count, plan.unit.removesuffix("s"))


def _safe(text: str) -> str:
    return clean(redact_dsn(text), _TEXT_CHARS_MAX)
