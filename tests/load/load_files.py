"""Files for tests of loading, and the plainest possible reader of COPY's records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.load.copy_options import CopyOptions
from pgfan.load.delimited import Reading
from pgfan.load.discovery import open_source
from pgfan.load.sources import Identity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pgfan.load.sources import Source


def reading(
    options: CopyOptions | None = None, *, piece_bytes: int = 10, marker_ends: bool = True
) -> Reading:
    options = options or CopyOptions()
    return Reading(options, lambda _: bool(options.header), marker_ends, piece_bytes)


def source_of(
    path: Path,
    options: CopyOptions | None = None,
    *,
    piece_bytes: int = 10,
    marker_ends: bool = True,
) -> Source:
    own = reading(options, piece_bytes=piece_bytes, marker_ends=marker_ends)
    (only,) = open_source(Identity.of(str(path)), own, given_format=True)
    return only


def reference_records(data: bytes, options: CopyOptions, terminator: bytes) -> list[bytes]:
    """Records byte by byte, as CopyReadLineText of PostgreSQL tells them apart."""
    quote, escape = options.quote_character.encode(), options.escape_character.encode()
    records, begin, inside, escaped = [], 0, False, False
    for at in range(len(data)):
        one = data[at : at + 1]
        if options.format == "csv":
            if inside and one == escape and escape != quote:
                escaped = not escaped
            if one == quote and not escaped:
                inside = not inside
            if one != escape or escape == quote:
                escaped = False
            ends = not inside
        else:
            ends, escaped = not escaped, one == b"\\" and not escaped
        if ends and one == terminator[-1:]:
            records.append(data[begin : at + 1])
            begin = at + 1
    if begin < len(data):
        records.append(data[begin:] + terminator)
    return records


def write_csv(rows: Sequence[Sequence[str]], options: CopyOptions, terminator: str) -> bytes:
    """Every field that needs it in quotes, and every third one that does not."""
    quote, escape = options.quote_character, options.escape_character
    special = {quote, escape, options.delimiter_character, "\n", "\r"}
    lines, count = [], 0
    for row in rows:
        fields = []
        for value in row:
            count += 1
            if special & set(value) or count % 3 == 0 or not value:
                inner = value.replace(escape, escape * 2) if escape != quote else value
                fields.append(quote + inner.replace(quote, escape + quote) + quote)
            else:
                fields.append(value)
        lines.append(options.delimiter_character.join(fields))
    return "".join(line + terminator for line in lines).encode()


def write_text(rows: Sequence[Sequence[str]], terminator: str) -> bytes:
    """PostgreSQL's text format; line ends in values as a backslash before them, the rarer way."""
    return "".join(
        "\t".join(
            "".join("\\" + one if one in "\\\t\n\r" else one for one in value) for value in row
        )
        + terminator
        for row in rows
    ).encode()
