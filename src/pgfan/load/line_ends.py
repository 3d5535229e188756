"""Line ends of a file are of one kind: each COPY of a range would make up its own mind on that.

COPY takes the first line end for that of the whole file and refuses any other. A range is a COPY,
so a range of other lines than the file's would be taken, where the file as a whole is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.load.records import OUTSIDE, first_terminator
from pgfan.load.sources import FileError

if TYPE_CHECKING:
    from pgfan.load.copy_options import CopyOptions
    from pgfan.load.records import Scanner

NAMES = {b"\n": "LF", b"\r": "CR", b"\r\n": "CR LF"}


def refuse_other_line_end(name: str, options: CopyOptions, scanner: Scanner, block: bytes) -> None:
    """Raise FileError unless the first record of a range ends like those of its file."""
    end = scanner.end(OUTSIDE, block)
    if end < 0:
        return
    found = first_terminator(options, block[: end + 1])
    if found != scanner.terminator:
        raise FileError(
            f"{name}: lines end in {NAMES[scanner.terminator]} at first and in "
            f"{NAMES[found]} later",
            hint="COPY refuses a mixture: dos2unix or tr -d '\\r' mends the file",
        )
