"""An error as the command line shows it: what, where, a caret, and what to do next.

No traceback: those are for pgfan's own faults, and go to the log.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import DatabaseError
from pgfan.report.ansi import BOLD, CYAN, RED, paint
from pgfan.report.rows import character_width
from pgfan.report.safe_text import MASK, clean, redact_dsn, secret_spans

if TYPE_CHECKING:
    from pgfan.errors import PgfanError, Position

_LINES_MAX = 40
_LINE_CHARS_MAX = 2_000
_TAB = "    "
_WIDTH_MIN = 20


def render_error(error: PgfanError, *, color: bool, width: int | None = None) -> str:
    """Several lines that end in a line break; the first begins with "error: ".

    `width` bounds the source line in terminal cells (default: the terminal's); other text is left
    to the terminal to wrap.
    """
    cells_max = max(_WIDTH_MIN, width or shutil.get_terminal_size((100, 24)).columns)
    place = f"{clean(str(error.position), 500)}: " if error.position else ""
    first, *rest = _safe_lines(error.message) or ["(no message)"]
    lines = [paint("error:", RED, color) + " " + paint(place + first, BOLD, color)]
    lines += [f"  {line}" for line in rest]
    if error.position is not None and error.source_line:
        lines += _excerpt(error.source_line, error.position, cells_max, color)
    # Not only errors of the server carry a SQLSTATE: syntax errors and lost connections do too.
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate:
        lines.append(f"SQLSTATE {clean(sqlstate, 20)}")
    if isinstance(error, DatabaseError):
        lines += _labelled("DETAIL", error.detail, color)
    lines += _labelled("HINT", error.hint, color)
    return "\n".join(lines) + "\n"


def _safe_lines(text: str) -> list[str]:
    lines = redact_dsn(text).splitlines()[:_LINES_MAX]
    return [clean(line, _LINE_CHARS_MAX) for line in lines]


def _labelled(label: str, text: str | None, color: bool) -> list[str]:
    if not text:
        return []
    first, *rest = _safe_lines(text) or [""]
    indent = " " * (len(label) + 2)
    return [paint(f"{label}:", CYAN, color) + f" {first}", *(indent + line for line in rest)]


class _Cut(Struct, frozen=True):
    """A stretch of a line: each character as it is shown, with its width in cells."""

    cells: list[tuple[str, int]]
    caret: int
    """Index into `cells` of the character at fault; one past their end at the end of a line."""
    more_before: bool
    more_after: bool


def _excerpt(source_line: str, position: Position, cells_max: int, color: bool) -> list[str]:
    gutter = f"{position.line:>4} | "
    cut = _cut_to_width(
        _around(source_line, position.column - 1, cells_max), cells_max - len(gutter)
    )
    head = "…" if cut.more_before else ""
    tail = "…" if cut.more_after else ""
    shown = "".join(text for text, _ in cut.cells)
    before = len(head) + sum(width for _, width in cut.cells[: cut.caret])
    blank = " " * (len(gutter) - 2) + "| "
    return [f"{gutter}{head}{shown}{tail}", blank + " " * before + paint("^", RED, color)]


def _around(source_line: str, index: int, chars_max: int) -> _Cut:
    """At most `chars_max` characters either side of `index`: a line may be megabytes long."""
    line = source_line.rstrip("\r\n")
    index = max(0, min(index, len(line)))
    for start, stop in reversed(secret_spans(line)):
        line = line[:start] + MASK + line[stop:]
        if index >= stop:
            index += len(MASK) - (stop - start)
        elif index > start:
            index = start
    first = max(0, index - chars_max)
    last = index + chars_max
    cells = [_shown(character) for character in line[first:last]]
    return _Cut(cells, index - first, first > 0, last < len(line))


def _shown(character: str) -> tuple[str, int]:
    if character == "\t":
        return _TAB, len(_TAB)
    text = clean(character, 10)
    return text, len(text) if len(text) > 1 else character_width(text)


def _cut_to_width(cut: _Cut, width_max: int) -> _Cut:
    """The part of `cut` that fits, with the caret about two thirds from its left end."""
    cells, caret = cut.cells, cut.caret
    room = width_max - 2
    if not (cut.more_before or cut.more_after) and sum(width for _, width in cells) <= width_max:
        return cut
    start = caret
    used = cells[caret][1] if caret < len(cells) else 1
    while start > 0 and used + cells[start - 1][1] <= room * 2 // 3:
        start -= 1
        used += cells[start][1]
    # A combining mark belongs to the character that was cut off.
    while start < caret and cells[start][1] == 0:
        start += 1
    stop = min(caret + 1, len(cells))
    while stop < len(cells) and used + cells[stop][1] <= room:
        used += cells[stop][1]
        stop += 1
    return _Cut(
        cells[start:stop],
        caret - start,
        cut.more_before or start > 0,
        cut.more_after or stop < len(cells),
    )
