from __future__ import annotations

import io

import pytest

from pgfan.report.ansi import RED, paint, wants_color


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environ", "wants"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
    ],
)
def test_who_wants_colour(stream: io.StringIO, environ: dict[str, str], wants: bool) -> None:
    assert wants_color(stream, environ) is wants


def test_paint() -> None:
    assert paint("x", RED, color=False) == "x"
    assert paint("x", RED, color=True) == "\x1b[1;31mx\x1b[0m"
