"""An error as the command line shows it: what, where, a caret, and what to do next.

No traceback: those are for pgfan's own faults, and go to the log.
"""

from __future__ import annotations

import shutil
import unicodedata
from typing import TYPE_CHECKING

from pgfan.errors import DatabaseError
from pgfan.report.safe_text import MASK, clean, redact_dsn, secret_spans

if TYPE_CHECKING:
    from pgfan.errors import PgfanError, Position

_LINES_MAX = 40
_LINE_CHARS_MAX = 2_000
_TAB = "    "
_WIDTH_MIN = 20
_RED, _BOLD, _CYAN, _RESET = "\x1b[1;31m", "\x1b[1m", "\x1b[36m", "\x1b[0m"


def render_error(error: PgfanError, *, color: bool, width: int | None = None) -> str:
    """Several lines that end in a line break; the first begins with "error: ".

    `width` bounds the source line in terminal cells (default: the terminal's); other text is left
    to the terminal to wrap.
    """
    cells_max = max(_WIDTH_MIN, width or shutil.get_terminal_size((100, 24)).columns)
    place = f"{clean(str(error.position), 500)}: " if error.position else ""
    first, *rest = _safe_lines(error.message) or ["(no message)"]
    lines = [_paint("error:", _RED, color) + " " + _paint(place + first, _BOLD, color)]
    lines += [f"  {line}" for line in rest]
    if error.position is not None and error.source_line:
        lines += _excerpt(error.source_line, error.position, cells_max, color)
    if isinstance(error, DatabaseError):
        lines.append(f"SQLSTATE {clean(error.sqlstate, 20)}")
        lines += _labelled("DETAIL", error.detail, color)
    lines += _labelled("HINT", error.hint, color)
    return "\n".join(lines) + "\n"


def _paint(text: str, style: str, color: bool) -> str:
    return f"{style}{text}{_RESET}" if color else text


def _safe_lines(text: str) -> list[str]:
    lines = redact_dsn(text).splitlines()[:_LINES_MAX]
    return [clean(line, _LINE_CHARS_MAX) for line in lines]


def _labelled(label: str, text: str | None, color: bool) -> list[str]:
    if not text:
        return []
    first, *rest = _safe_lines(text) or [""]
    indent = " " * (len(label) + 2)
    return [_paint(f"{label}:", _CYAN, color) + f" {first}", *(indent + line for line in rest)]


def _excerpt(source_line: str, position: Position, cells_max: int, color: bool) -> list[str]:
    gutter = f"{position.line:>4} | "
    cells, caret = _cells(source_line, position.column - 1, cells_max)
    start, stop = _window(cells, caret, cells_max - len(gutter))
    head = "…" if start > 0 else ""
    tail = "…" if stop < len(cells) else ""
    shown = "".join(text for text, _ in cells[start:stop])
    before = len(head) + sum(width for _, width in cells[start:caret])
    blank = " " * (len(gutter) - 2) + "| "
    return [f"{gutter}{head}{shown}{tail}", blank + " " * before + _paint("^", _RED, color)]


def _cells(source_line: str, index: int, cells_max: int) -> tuple[list[tuple[str, int]], int]:
    """The characters around `index` as they are shown, with their widths, and where it is in them.

    At most `cells_max` characters either side: a line may be megabytes long.
    """
    line = source_line.rstrip("\r\n")
    index = max(0, min(index, len(line)))
    for start, stop in reversed(secret_spans(line)):
        line = line[:start] + MASK + line[stop:]
        if index >= stop:
            index += len(MASK) - (stop - start)
        elif index > start:
            index = start
    start = max(0, index - cells_max)
    # One character more than fits either side, so that a cut shows as one.
    around = line[max(0, start - 1) : index + cells_max + 1]
    return [_shown(character) for character in around], index - max(0, start - 1)


def _shown(character: str) -> tuple[str, int]:
    if character == "\t":
        return _TAB, len(_TAB)
    text = clean(character, 10)
    if len(text) > 1:
        return text, len(text)
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return text, 0
    return text, 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _window(cells: list[tuple[str, int]], caret: int, width_max: int) -> tuple[int, int]:
    """The part [start, stop) of `cells` that fits, with the caret two thirds from its left end."""
    if sum(width for _, width in cells) <= width_max:
        return 0, len(cells)
    room = width_max - 2
    start = caret
    used = cells[caret][1] if caret < len(cells) else 1
    while start > 0 and used + cells[start - 1][1] <= room * 2 // 3:
        start -= 1
        used += cells[start][1]
    stop = min(caret + 1, len(cells))
    while stop < len(cells) and used + cells[stop][1] <= room:
        used += cells[stop][1]
        stop += 1
    return start, stop
