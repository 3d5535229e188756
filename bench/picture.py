"""Draw the README's picture from what `pgfan bench example --json FILE` wrote.

    bench/picture.py FILE docs/example.svg

Bars are medians of whole commands; the number behind a bar is its ratio to one query.
"""

from __future__ import annotations

import argparse
import json
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LEFT, RIGHT, ROW, TOP = 820, 210, 150, 26, 64
INK, MUTED, OTHERS, OURS = "#1f2933", "#5b6770", "#b8c4ce", "#0b7285"
FONT = "font-family='system-ui, sans-serif'"


def main() -> None:
    """Read the JSON file, write the SVG file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    record = json.loads(options.results.read_text("utf-8"))
    options.picture.write_text(draw(record), "utf-8")


def draw(record: dict[str, Any]) -> str:
    """The SVG of the section `example`."""
    results = record["sections"]["example"]["results"]
    longest = max(result["median_seconds"] for result in results)
    lines = [_text(16, 26, _title(record), INK, 17, "600")]
    lines.append(_text(16, 46, _subtitle(record), MUTED, 12))
    y = TOP
    for table in ("logged", "unlogged"):
        y += 8
        lines.append(_text(16, y + 16, f"{table} table", INK, 13, "600"))
        y += ROW
        for result in (one for one in results if one["table"] == table):
            lines += _bar(y, result, longest)
            y += ROW
    body = "\n".join(lines)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {y + 12}' role='img' "
        f"aria-label='{escape(_title(record))}'>\n"
        f"<rect width='100%' height='100%' fill='#ffffff'/>\n{body}\n</svg>\n"
    )


def _title(record: dict[str, Any]) -> str:
    return f"INSERT INTO numbers SELECT random() FROM generate_series(1, {record['rows']})"


def _subtitle(record: dict[str, Any]) -> str:
    machine = record["machine"]
    return (
        f"seconds, median of {record['repeat']} interleaved rounds, whole commands; "
        f"PostgreSQL {machine['server']}, {machine['cores']} cores"
    )


def _bar(y: int, result: dict[str, Any], longest: float) -> list[str]:
    seconds, ratio = result["median_seconds"], result["ratio_median"]
    width = (WIDTH - LEFT - RIGHT) * seconds / longest
    ours = result["way"] == "pgfan"
    weight = "600" if ours else "400"
    figure = f"{seconds:.1f} s   x {ratio:.2f}"
    bar = f"<rect x='{LEFT}' y='{y + 2}' width='{width:.1f}' height='{ROW - 8}' rx='2'"
    return [
        _text(LEFT - 10, y + 15, result["title"], INK, 13, weight, "end"),
        f"{bar} fill='{OURS if ours else OTHERS}'/>",
        _text(LEFT + width + 8, y + 15, figure, INK if ours else MUTED, 13, weight),
    ]


def _text(
    x: float, y: float, text: str, color: str, size: int, weight: str = "400", anchor: str = "start"
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y}' {FONT} font-size='{size}' font-weight='{weight}' "
        f"fill='{color}' text-anchor='{anchor}' xml:space='preserve'>{escape(text)}</text>"
    )


if __name__ == "__main__":
    main()
