"""How counts and times read: the same in bars, lines and summaries."""

from __future__ import annotations

_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def short_count(count: float) -> str:
    """A count in at most five characters: 9999, 12.3k, 1.80M."""
    for index, (scale, letter) in enumerate(_SCALES):
        if count < scale * (10 if letter == "k" else 1):
            continue
        figure = count / scale
        digits = 2 if figure < 9.995 else 1 if figure < 99.95 else 0
        if figure >= 999.5 and index:
            return f"1.00{_SCALES[index - 1][1]}"
        return f"{figure:.{digits}f}{letter}"
    return f"{count:.0f}"


def seconds_text(seconds: float) -> str:
    """A measured duration: 0.03 s, 11.2 s, 4:05, 3:20:11."""
    if seconds < 0.9995:
        return f"{seconds:.3f} s" if seconds < 0.01 else f"{seconds:.2f} s"
    return f"{seconds:.1f} s" if seconds < 99.95 else clock_text(seconds)


def clock_text(seconds: float) -> str:
    """A duration that is still running or still to come: 0:07, 4:05, 3:20:11."""
    whole = max(0, round(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def counted(count: int, noun: str) -> str:
    """A count with its noun, which takes an s: "1 row", "20,000,000 rows"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
