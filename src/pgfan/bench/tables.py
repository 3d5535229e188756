"""A table as plain text: aligned columns, words to the left and figures to the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = "  "


def aligned(columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> str:
    """The table, each line with its line break; the first `words` columns are words."""
    cells = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    cells.insert(1, ["-" * width for width in widths])
    lines = []
    for row in cells:
        padded = [
            text.ljust(width) if index < words else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(GAP.join(padded).rstrip() + "\n")
    return "".join(lines)
