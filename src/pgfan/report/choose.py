"""Which display a stream gets: bars, plain lines, or almost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.report.lines import Display, LineProgress, QuietProgress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO


def choose_progress(
    stream: TextIO, *, quiet: bool, verbose: bool, environ: Mapping[str, str]
) -> Display:
    """The display for `stream`: bars on a terminal that can draw them, else plain lines.

    `environ` decides by TERM (unset or "dumb": lines) and NO_COLOR (any text: bars without colour).
    """
    if quiet:
        return QuietProgress(stream)
    if not stream.isatty() or environ.get("TERM", "dumb") == "dumb":
        return LineProgress(stream, verbose=verbose)
    # rich costs 60 ms of imports: not for a pipe.
    from pgfan.report.terminal import TerminalProgress

    return TerminalProgress(stream, verbose=verbose, color=not environ.get("NO_COLOR"))
