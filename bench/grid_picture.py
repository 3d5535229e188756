"""Draw what `bench/grid.py` found: seconds against queries, a line for each number of workers.

    bench/grid_picture.py FILE.json docs/grid.svg

One panel for each workload; both axes of time begin at zero. pgfan's own choice is the ring, where
its number of chunks and its seconds are.
"""

from __future__ import annotations

import json
import math
import sys
from html import escape
from pathlib import Path
from typing import Any

PANEL_W, PANEL_H, GAP_X, GAP_Y = 350, 190, 60, 84
LEFT, TOP = 52, 96
INK, MUTED, GRID = "#1f2933", "#5b6770", "#e3e8ec"
OURS = "#c2410c"
LINES = ("#a9bccb", "#6f9db8", "#2b7a9b", "#0b4f6c")
FONT = "font-family='system-ui, sans-serif'"


def draw(record: dict[str, Any]) -> str:
    """The SVG of a record of `bench/grid.py`."""
    found = record["workloads"]
    columns = min(2, len(found))
    rows = math.ceil(len(found) / 2)
    width = LEFT + columns * (PANEL_W + GAP_X)
    height = TOP + rows * (PANEL_H + GAP_Y)
    lines = [_text(16, 26, _title(record), size=17, weight="600")]
    lines.append(_text(16, 46, _subtitle(record), MUTED))
    for at, workload in enumerate(found):
        x = LEFT + at % 2 * (PANEL_W + GAP_X)
        y = TOP + at // 2 * (PANEL_H + GAP_Y)
        lines += _panel(workload, x, y)
    body = "\n".join(lines)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img' "
        f"aria-label='{escape(_title(record))}'>\n"
        f"<rect width='100%' height='100%' fill='#ffffff'/>\n{body}\n</svg>\n"
    )


def _title(record: dict[str, Any]) -> str:
    ours = "pgfan's own choice" if record["options"]["row_ms"] is None else "pgfan --jobs 16"
    return f"Queries by hand and {ours}"


def _subtitle(record: dict[str, Any]) -> str:
    machine, options = record["machine"], record["options"]
    row_ms = options["row_ms"]
    waits = f", {row_ms:g} ms of waiting a row" if row_ms is not None else ""
    return (
        f"seconds, whole commands; ring and best points: medians of {options['repeat']}; "
        f"PostgreSQL {machine['server']}, {machine['cores']} cores{waits}"
    )


def _panel(workload: dict[str, Any], left: int, top: int) -> list[str]:
    points, ours = workload["points"], workload["pgfan"]
    least = min(one["point"]["chunks"] for one in points)
    most = max(one["point"]["chunks"] for one in points)
    # What is far above the best would flatten all that matters.
    top_s = 1.08 * min(max(one["s"] for one in points), 3.2 * min(one["s"] for one in points))
    top_s = max(top_s, 1.15 * ours["s"])

    def x_of(chunks: float) -> float:
        share = math.log(max(chunks, least) / least) / math.log(most / least)
        return left + 8 + (PANEL_W - 16) * min(share, 1.0)

    def y_of(seconds: float) -> float:
        share: float = min(seconds / top_s, 1.0)
        return top + PANEL_H * (1 - share)

    lines = [_text(left, top - 12, workload["title"], size=13, weight="600")]
    for mark in _marks(top_s):
        lines.append(_line(left, y_of(mark), left + PANEL_W, y_of(mark), GRID))
        lines.append(_text(left - 8, y_of(mark) + 4, f"{mark:g}", MUTED, anchor="end"))
    equal = [one for one in points if not one["point"]["provinces"]]
    for chunks in sorted({one["point"]["chunks"] for one in equal}):
        at = x_of(chunks)
        lines.append(_text(at, top + PANEL_H + 16, f"{chunks}", MUTED, anchor="middle"))
    if len(equal) < len(points):
        squares = "squares: a province each"
        lines.append(_text(left + PANEL_W, top + PANEL_H - 8, squares, MUTED, anchor="end"))
    below = top + PANEL_H + 34
    lines.append(_text(left, below, "queries; lines: workers", MUTED))
    workers = sorted({one["point"]["workers"] for one in equal})
    for color, few in zip(LINES[-len(workers) :], workers, strict=True):
        mine = sorted(
            (x_of(one["point"]["chunks"]), y_of(one["s"]))
            for one in equal
            if one["point"]["workers"] == few
        )
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in mine)
        lines.append(
            f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2' "
            "stroke-linejoin='round'/>"
        )
        lines.append(_text(mine[-1][0] + 10, mine[-1][1] + 4, f"{few}", color))
    for one in points:
        if one["point"]["provinces"] and one["s"] <= top_s:
            x, y = x_of(one["point"]["chunks"]), y_of(one["s"])
            lines.append(
                f"<rect x='{x - 3:.1f}' y='{y - 3:.1f}' width='6' height='6' fill='{INK}'/>"
            )
    x, y = x_of(ours["chunks"]), y_of(ours["s"])
    lines.append(
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='6' fill='none' stroke='{OURS}' stroke-width='3'/>"
    )
    label = f"pgfan {ours['s']:.1f} s, {ours['ratio']:.2f} x the best"
    lines.append(_text(left + PANEL_W, below, label, OURS, weight="600", anchor="end"))
    return lines


def _marks(top_s: float) -> list[float]:
    """Round numbers up to `top_s`, four to eight of them."""
    step = 10.0 ** math.floor(math.log10(top_s / 4))
    step *= next(times for times in (1, 2, 5, 10) if top_s / (step * times) <= 8)
    return [round(step * at, 6) for at in range(int(top_s / step) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{color}'/>"


def _text(
    x: float,
    y: float,
    text: str,
    color: str = INK,
    *,
    size: int = 11,
    weight: str = "400",
    anchor: str = "start",
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' {FONT} font-size='{size}' font-weight='{weight}' "
        f"fill='{color}' text-anchor='{anchor}' xml:space='preserve'>{escape(text)}</text>"
    )


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(json.loads(Path(sys.argv[1]).read_text("utf-8"))), "utf-8")
