"""Where things are in a text: offsets to lines and columns, and lines to show."""

from __future__ import annotations

import re
from bisect import bisect_right

from pgfan.errors import Position


def excerpt(text: str, chars_max: int = 60) -> str:
    """A statement on one line, cut to `chars_max`."""
    line = " ".join(text.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def locate(text: str, source: str, offset: int) -> tuple[Position, str]:
    """Line and column of the character at `offset` (from 0), and the line it is in."""
    offset = max(0, min(offset, len(text)))
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start : end if end >= 0 else len(text)].rstrip("\r")
    return Position(source, text.count("\n", 0, offset) + 1, offset - start + 1), line


class LineIndex:
    """Lines of one text, counted once: `locate` for texts that are asked about often."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self._source = source
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def locate(self, offset: int) -> tuple[Position, str]:
        """As `locate`."""
        number = bisect_right(self._starts, offset)
        start = self._starts[number - 1]
        end = self.text.find("\n", start)
        line = self.text[start : end if end >= 0 else len(self.text)].rstrip("\r")
        return Position(self._source, number, offset - start + 1), line


def placed(found: Position, begins: Position) -> Position:
    """A place in a text as a place in the source, where the text begins at `begins`."""
    before = begins.column - 1 if found.line == 1 else 0
    return Position(begins.source, begins.line + found.line - 1, found.column + before)


def with_statement(message: str, maker: str, text: str) -> str:
    """An error's message, with the statement that is in no file because `maker` made it."""
    return f"{message}\nin the statement that {maker} made: {excerpt(text, 200)}"
