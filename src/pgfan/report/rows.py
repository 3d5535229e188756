r"""A result as psql prints it by default: an aligned table, or the command tag.

The rules are those of psql's "aligned" format with border 1 (the manual's psql page, \pset), and
were compared with psql 18 value by value. Rows are laid out one at a time: the first pass over them
finds the widths, the second writes.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

    from pgfan.ports import Result

_ROWS_PER_WRITE = 1_000
_TAB_WIDTH = 8
_TAGS_AFTER_ROWS = ("INSERT ", "UPDATE ", "DELETE ", "MERGE ")

Cell: TypeAlias = "list[tuple[str, int]]"
"""The lines of one value, each with its width on a terminal."""


def write_result(result: Result, stream: TextIO) -> None:
    """Write `result` to `stream`: its rows, if it has any to show, and the tag that psql shows."""
    if result.columns is not None:
        _write_table(result.columns, result.numeric, result.rows, stream)
        if not result.tag.startswith(_TAGS_AFTER_ROWS):
            return
    if result.tag:
        stream.write(f"{result.tag}\n")


def _write_table(
    columns: tuple[str, ...],
    numeric: tuple[bool, ...],
    rows: Sequence[tuple[str | None, ...]],
    stream: TextIO,
) -> None:
    header = [_lay_out(name) for name in columns]
    widths = _widths(header, rows)
    stream.write(_header_text(header, widths))
    stream.write("+".join("-" * (width + 2) for width in widths) or "--")
    stream.write("\n")
    to_right = tuple(numeric[i] if i < len(numeric) else False for i in range(len(columns)))
    if columns:
        lines = (_row_text(row, widths, to_right) for row in rows)
        while batch := "".join(islice(lines, _ROWS_PER_WRITE)):
            stream.write(batch)
    stream.write(f"({len(rows)} {'row' if len(rows) == 1 else 'rows'})\n\n")


def _widths(header: list[Cell], rows: Iterable[tuple[str | None, ...]]) -> list[int]:
    widths = [max(width for _, width in cell) for cell in header]
    for row in rows:
        for index, value in enumerate(row):
            if value is None:
                continue
            # Plain text is wide as it is long: most values never take the slow way.
            if value.isascii() and value.isprintable():
                width = len(value)
            else:
                width = max(width for _, width in _lay_out(value))
            widths[index] = max(widths[index], width)
    return widths


def _header_text(header: list[Cell], widths: list[int]) -> str:
    height = max((len(cell) for cell in header), default=0)
    lines = []
    for number in range(height):
        pieces = []
        for cell, width in zip(header, widths, strict=True):
            text, text_width = cell[number] if number < len(cell) else ("", 0)
            left = (width - text_width) // 2
            right = width - text_width - left
            mark = "+" if number + 1 < len(cell) else " "
            pieces.append(f" {' ' * left}{text}{' ' * right}{mark}")
        lines.append("|".join(pieces) + "\n")
    return "".join(lines)


def _row_text(row: tuple[str | None, ...], widths: list[int], to_right: tuple[bool, ...]) -> str:
    plain = []
    last = len(row) - 1
    for index, value in enumerate(row):
        text = value or ""
        if not (text.isascii() and text.isprintable()):
            return _tall_row_text(row, widths, to_right)
        if to_right[index]:
            plain.append(text.rjust(widths[index]))
        else:
            plain.append(text.ljust(widths[index]) if index < last else text)
    return f" {' | '.join(plain)}\n"


def _tall_row_text(
    row: tuple[str | None, ...], widths: list[int], to_right: tuple[bool, ...]
) -> str:
    """A row with line breaks or wide characters; a "+" marks each value that goes on below."""
    cells = [_lay_out(value or "") for value in row]
    lines = []
    last = len(cells) - 1
    for number in range(max(map(len, cells))):
        pieces = []
        for index, cell in enumerate(cells):
            text, width = cell[number] if number < len(cell) else ("", 0)
            goes_on = number + 1 < len(cell)
            padding = " " * (widths[index] - width)
            if to_right[index] and number < len(cell):
                text = padding + text
            elif index < last or goes_on:
                text += padding
            mark = "+" if goes_on else " " if index < last else ""
            pieces.append(f" {text}{mark}")
        lines.append("|".join(pieces) + "\n")
    return "".join(lines)


def _lay_out(value: str) -> Cell:
    return [_lay_out_line(line) for line in value.split("\n")]


def _lay_out_line(line: str) -> tuple[str, int]:
    if line.isascii() and line.isprintable():
        return line, len(line)
    pieces = []
    width = 0
    for text, text_width in _shown(line):
        if text == "\t":
            blanks = _TAB_WIDTH - width % _TAB_WIDTH
            pieces.append(" " * blanks)
            width += blanks
        else:
            pieces.append(text)
            width += text_width
    return "".join(pieces), width


def _shown(line: str) -> Iterator[tuple[str, int]]:
    for character in line:
        if character == "\t":
            yield character, 0
        else:
            yield _shown_character(character)


@lru_cache(maxsize=4096)
def _shown_character(character: str) -> tuple[str, int]:
    code = ord(character)
    if character == "\r":
        text = "\\r"
    elif code < 0x20 or code == 0x7F:
        text = f"\\x{code:02X}"
    elif 0x80 <= code < 0xA0:
        text = f"\\u{code:04X}"
    else:
        return character, character_width(character)
    return text, len(text)


def character_width(character: str) -> int:
    """Cells that a character takes on a terminal, by psql's rule: 0, 1 or 2."""
    category = unicodedata.category(character)
    if category in {"Mn", "Me", "Cf"}:
        return 0
    # CPython calls every unassigned character full-width; in Unicode only planes 2 and 3 are.
    if category == "Cn":
        return 2 if 0x20000 <= ord(character) <= 0x3FFFD else 1
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
