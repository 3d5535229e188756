"""Text laid into lines of so many terminal cells. It must be safe to show before it comes here."""

from __future__ import annotations

from pgfan.report.rows import character_width


def cells_of(text: str) -> int:
    """Cells that `text` takes on a terminal."""
    return len(text) if text.isascii() else sum(map(character_width, text))


def clipped(text: str, cells_max: int) -> str:
    """The beginning of `text` in at most `cells_max` cells; "…" marks that there was more."""
    if cells_of(text) <= cells_max:
        return text
    kept, room = "", cells_max - 1
    for character in text:
        room -= character_width(character)
        if room < 0:
            break
        kept += character
    return kept + "…"


def wrapped(text: str, cells_max: int) -> list[str]:
    """`text` in lines broken at blanks; a word that is too long for a line is not broken."""
    lines: list[str] = []
    for word in text.split():
        if lines and cells_of(lines[-1]) + 1 + cells_of(word) <= cells_max:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]
