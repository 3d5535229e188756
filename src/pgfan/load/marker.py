r"""The line `\.`, which ends the data for COPY: what follows it would be left out without a word.

In the text format it does so on every server, in CSV before PostgreSQL 18. It is taken off where
it ends the file, and refused where anything follows: a file never loads in part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.load.records import OUTSIDE
from pgfan.load.sources import FileError

if TYPE_CHECKING:
    from pgfan.load.records import Scanner

MARKER = b"\\."
LINE_ENDS = b"\r\n"
MARKER_BYTES = 3
"""The marker and what must follow it."""


def splits_marker(block: bytes) -> bool:
    """Whether a block's end may be the middle of a marker: look again with what follows."""
    return b"\\" in block[-MARKER_BYTES:]


def find_marker(scanner: Scanner, state: int, block: bytes, *, csv: bool, begins: bool) -> int:
    """The place of the first marker in a block whose first byte has `state`; -1: none.

    In CSV only one that begins a record counts; `begins`: the block's first byte begins a line.
    """
    at, seen = -1, 0
    while (at := block.find(MARKER, at + 1)) >= 0:
        follows = block[at + len(MARKER) : at + MARKER_BYTES]
        if follows and follows not in LINE_ENDS:
            continue
        if csv and (block[at - 1 : at] not in {b"\r", b"\n"} if at else not begins):
            continue
        state, seen = scanner.advance(state, block[seen:at]), at
        if state == OUTSIDE:
            return at
    return -1


def refuse_after(name: str, rest: bytes) -> None:
    r"""Raise FileError unless nothing but line ends follows the marker."""
    if rest.strip(LINE_ENDS):
        raise FileError(
            f"{name} holds a line \\. and data behind it, which COPY would leave out silently",
            hint="cut the file there, or take the line out",
        )
