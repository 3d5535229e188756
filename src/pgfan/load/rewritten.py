r"""Files of lines that COPY does not know: each is rewritten as a line of COPY's text format.

JSON Lines and fixed width. The cutting, the decompression and the places are those of a text file,
of which these are a reading: one line in, one line out. The text format keeps every line end and
backslash of a value escaped, so that lines and records stay one to one. See "COPY", Text Format.
"""

from __future__ import annotations

import re
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pgfan.load.copy_options import CopyOptions
from pgfan.load.sources import FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.load.sources import Identity, Source

LOOK_RECORDS = 1000
"""So many records say which columns a JSON Lines file has."""
BLOCK_LINES = 1000
SHOWN_CHARS = 60
NULL = "\\N"
LINES = CopyOptions("text", header=False, encoding="UTF8")
"""How the lines are read, and how they are written."""
_ESCAPED = re.compile(r"[\\\n\r\t]")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Rewriter(Protocol):
    """Knows how a line becomes the values of a row. Raises ValueError for a line that is none."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns; None when the lines do not tell."""
        ...

    def values(self, line: bytes, types: Sequence[str]) -> list[str]:
        """The values of a row as COPY's text format has them; a line of blanks is no row."""
        ...


class RewrittenFile(Struct, frozen=True, dict=True):
    """Implements `pgfan.load.sources.Source`; `lines` is the file as lines of text.

    `types` are those of the columns, as in `pgfan.load.columnar`; empty before they are known.
    """

    lines: Source
    rewriter: Rewriter
    types: tuple[str, ...] = ()
    copy_options: CopyOptions = LINES
    line_end: bytes = b"\n"

    def for_columns(self, types: Sequence[str], *, text: bool = False) -> RewrittenFile:
        """The same file for columns of such types; it is always text."""
        del text
        return replace(self, types=tuple(types))

    @property
    def name(self) -> str:
        """See Source."""
        return self.lines.name

    @property
    def identity(self) -> Identity:
        """See Source."""
        return self.lines.identity

    @property
    def pieces(self) -> int:
        """See Source."""
        return self.lines.pieces

    @cached_property
    def columns(self) -> tuple[str, ...] | None:
        """See Source."""
        return self.rewriter.columns

    def stream(self, lo: int, hi: int) -> Iterator[bytes]:
        """See Source."""
        rows = self._rows(lo, hi)
        while block := b"".join(islice(rows, BLOCK_LINES)):
            yield block

    def place(self, lo: int, line: int) -> str:
        """See Source."""
        rows = 0
        for number, text in enumerate(lines_of(self.lines.stream(lo, self.pieces)), 1):
            rows += not text.isspace()
            if rows == line:
                return self.lines.place(lo, number)
        return self.lines.place(lo, line)

    def _rows(self, lo: int, hi: int) -> Iterator[bytes]:
        values, types = self.rewriter.values, self.types
        for number, line in enumerate(lines_of(self.lines.stream(lo, hi)), 1):
            if line.isspace():
                continue
            try:
                yield ("\t".join(values(line, types)) + "\n").encode()
            except (ValueError, msgspec.MsgspecError) as error:
                shown = line[:SHOWN_CHARS].decode("utf-8", "replace").strip()
                place = self.lines.place(lo, number)
                raise FileError(f"{place}: {error}: {shown!r}") from error


def lines_of(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The lines in blocks that end anywhere, each with its line feed."""
    rest = b""
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest


def text_of(value: str) -> str:
    """A value as COPY's text format writes it."""
    return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], value)


# JSON Lines -------------------------------------------------------------------------------------

_RECORD = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING = msgspec.json.Decoder(str)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
BY_LINES = "an object in each line is --format jsonl; jq -c '.[]' makes that of an array"
JSON_TYPES = frozenset({"json", "jsonb"})


class JsonLines(Struct, frozen=True, dict=True):
    """An object on each line. A key that a line lacks is NULL, and so is null.

    Numbers keep their digits: their text is never read. Objects and arrays are given as JSON, and
    arrays as PostgreSQL's to columns of an array type.
    """

    keys: tuple[str, ...]

    @classmethod
    def of(cls, lines: Source) -> JsonLines:
        """With the keys of the first records. Raises FileError."""
        keys: dict[str, None] = {}
        looked = islice(lines_of(lines.stream(0, lines.pieces)), LOOK_RECORDS)
        for number, line in enumerate(looked, 1):
            if line.isspace():
                continue
            try:
                keys |= dict.fromkeys(_RECORD.decode(line))
            except msgspec.MsgspecError as error:
                place = lines.place(0, number)
                raise FileError(f"{place}: {error}", hint=BY_LINES) from error
        return cls(tuple(keys))

    @property
    def columns(self) -> tuple[str, ...]:
        """See Rewriter."""
        return self.keys

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.keys)

    def values(self, line: bytes, types: Sequence[str]) -> list[str]:
        """See Rewriter."""
        record = _RECORD.decode(line)
        if not record.keys() <= self._known:
            extra = ", ".join(repr(key) for key in record if key not in self._known)
            raise ValueError(f"{extra} is in none of the first {LOOK_RECORDS} records")
        return [
            _json_value(record.get(key), type_)
            for key, type_ in zip(self.keys, types or [""] * len(self.keys), strict=True)
        ]


def _json_value(raw: msgspec.Raw | None, type_: str) -> str:
    text = bytes(raw) if raw is not None else b"null"
    if text == b"null":
        return NULL
    if type_ in JSON_TYPES:
        return text_of(text.decode())
    if text.startswith(b'"'):
        return text_of(_STRING.decode(text))
    if text.startswith(b"[") and type_.startswith("_"):
        return text_of(_array(text))
    return text_of(text.decode())


def _array(text: bytes) -> str:
    """A JSON array as an array of PostgreSQL."""
    elements = []
    for raw in _LIST.decode(text):
        element = bytes(raw)
        if element == b"null":
            elements.append("NULL")
        elif element.startswith(b"["):
            elements.append(_array(element))
        else:
            value = _STRING.decode(element) if element.startswith(b'"') else element.decode()
            quoted = value.replace("\\", "\\\\").replace('"', '\\"')
            elements.append(f'"{quoted}"')
    return "{" + ",".join(elements) + "}"


# Fixed width ------------------------------------------------------------------------------------


class FixedWidth(Struct, frozen=True, dict=True):
    """Values at fixed places, counted in characters; blanks around them do not count.

    A value of blanks is NULL, and so is one that the line is too short for.
    """

    widths: tuple[int, ...]
    codec: str = "utf-8"
    columns: tuple[str, ...] | None = None

    @cached_property
    def _places(self) -> tuple[slice, ...]:
        ends = [sum(self.widths[: number + 1]) for number in range(len(self.widths))]
        return tuple(slice(end - width, end) for end, width in zip(ends, self.widths, strict=True))

    def values(self, line: bytes, types: Sequence[str]) -> list[str]:
        """See Rewriter."""
        del types
        text = line.decode(self.codec).rstrip("\r\n")
        if text[sum(self.widths) :].strip(" "):
            raise ValueError(
                f"the line is longer than the {sum(self.widths)} characters of --widths"
            )
        return [text_of(text[place].strip(" ")) or NULL for place in self._places]
