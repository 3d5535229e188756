"""Colours for lines of text, as ANSI escape sequences; the bars have rich for theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

RED, GREEN, YELLOW = "\x1b[1;31m", "\x1b[1;32m", "\x1b[33m"
BOLD, DIM, CYAN = "\x1b[1m", "\x1b[2m", "\x1b[36m"
_RESET = "\x1b[0m"


def paint(text: str, style: str, color: bool) -> str:
    """`text` in a style, or as it is without `color`."""
    return f"{style}{text}{_RESET}" if color else text


def wants_color(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal that is to be coloured: NO_COLOR is not set to anything."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
