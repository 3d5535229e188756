"""Where records end in a stream of bytes: the rules by which COPY itself reads lines.

A CSV record may hold line ends between quotes, so whether a line end ends a record depends on
every quote before it. A scanner's state at a byte is all that the bytes before it mean for those
after it, a small number; it is carried from block to block and never guessed. COPY knows quotes as
a mere toggle (CopyReadLineText in copyfromparse.c), wherever in a field they stand: with the quote
as its own escape the state is the parity of the quotes. To count them is the dearest thing that the
client does: 0.8 s of CPU a gigabyte with bytes.count, 0.15 s with NumPy, which takes 0.1 s to
import and so is for large files alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.load.copy_options import CopyOptions

OUTSIDE = 0
INSIDE = 1
ESCAPED = 2
"""Inside of quotes, after an escape that belongs to the next byte."""

NUMPY_BYTES_MIN = 256 << 20
"""Of a file's data: what its import costs is won back about here."""

Count: TypeAlias = "Callable[[bytes, bytes], int]"
"""How many times a byte, the second, is in the bytes of the first."""


class Scanner(Protocol):
    """Knows the ends of records. State 0 is the beginning of a record."""

    @property
    def terminator(self) -> bytes:
        """What ends the last line of a file that does not end: LF, CR LF or CR."""
        ...

    def advance(self, state: int, data: bytes) -> int:
        """The state after `data`."""
        ...

    def end(self, state: int, data: bytes, start: int = 0) -> int:
        """The place after the first end of a record that lies at `start` or behind; -1: none.

        `state` is that at `start`.
        """
        ...


class CsvScanner:
    """CSV as COPY reads it."""

    def __init__(
        self,
        quote: bytes,
        escape: bytes,
        terminator: bytes = b"\n",
        count: Count = bytes.count,
    ) -> None:
        self.terminator = terminator
        self._count = count
        self._last = terminator[-1:]
        self._quote = quote
        self._escape = escape if escape != quote else None
        run = re.escape(escape)
        # Every quote with the escapes before it, and the escapes at the end.
        self._quotes = re.compile(b"((?:%b)*)(%b|\\Z)" % (run, re.escape(quote)))

    def advance(self, state: int, data: bytes) -> int:
        """See Scanner."""
        if (
            state != ESCAPED
            and self._quote not in data
            and (self._escape is None or self._escape not in data)
        ):
            return state  # found out ten times as fast as a count of none
        if self._escape is None:
            return state ^ (self._count(data, self._quote) & 1)
        if state == ESCAPED and data:
            if data[:1] in {self._quote, self._escape}:
                data = data[1:]
            state = INSIDE
        if self._escape not in data:
            return state ^ (self._count(data, self._quote) & 1)
        for found in self._quotes.finditer(data):
            literal = state == INSIDE and len(found[1]) & 1
            if found[2]:
                state = state if literal else state ^ INSIDE
            elif literal:
                return ESCAPED
        return state

    def end(self, state: int, data: bytes, start: int = 0) -> int:
        """See Scanner."""
        at = start
        if state == ESCAPED:
            if data[at : at + 1] in {self._quote, self._escape}:
                at += 1
            state = INSIDE
        while True:
            if state == INSIDE:
                at = self._closing(data, at)
                if at < 0:
                    return -1
            newline = data.find(self._last, at)
            quote = data.find(self._quote, at, newline if newline >= 0 else len(data))
            if quote < 0:
                return newline + 1 if newline >= 0 else -1
            at, state = quote + 1, INSIDE

    def _closing(self, data: bytes, at: int) -> int:
        """The place after the quote that closes; -1 when it is not in `data`."""
        begin = at
        while (at := data.find(self._quote, at)) >= 0:
            escapes = 0
            if self._escape is not None:
                while (
                    at - escapes > begin and data[at - escapes - 1 : at - escapes] == self._escape
                ):
                    escapes += 1
            at += 1
            if not escapes & 1:
                return at
        return -1


class TextScanner:
    """COPY's text format: a backslash takes the next byte with it, a line end too."""

    def __init__(self, terminator: bytes = b"\n") -> None:
        self.terminator = terminator
        self._last = terminator[-1:]

    def advance(self, state: int, data: bytes) -> int:
        """See Scanner: 1 after a backslash that belongs to the next byte."""
        run = len(data) - len(data.rstrip(b"\\"))
        if run == len(data):
            return state ^ (run & 1)
        return run & 1

    def end(self, state: int, data: bytes, start: int = 0) -> int:
        """See Scanner."""
        at = begin = start + (state == INSIDE)
        while (at := data.find(self._last, at)) >= 0:
            before = at
            while before > begin and data[before - 1 : before] == b"\\":
                before -= 1
            at += 1
            if not (at - 1 - before) & 1:
                return at
        return -1


class LineScanner:
    """Every line end ends a record: JSON Lines, and one line of anything."""

    def __init__(self, terminator: bytes = b"\n") -> None:
        self.terminator = terminator
        self._last = terminator[-1:]

    def advance(self, state: int, data: bytes) -> int:  # noqa: ARG002
        """See Scanner: there is one state."""
        return OUTSIDE

    def end(self, state: int, data: bytes, start: int = 0) -> int:  # noqa: ARG002
        """See Scanner."""
        return data.find(self._last, start) + 1 or -1


def scanner_of(options: CopyOptions, head: bytes, size_bytes: int = 0) -> Scanner:
    """The scanner for a file that begins with `head`, which holds its first record.

    As in COPY, the first line end that is not part of a value decides which kind of line end the
    file has. `size_bytes`: about how much there is to scan.
    """
    terminator = first_terminator(options, head)
    return record_scanner(options, terminator, size_bytes)


def record_scanner(options: CopyOptions, terminator: bytes, size_bytes: int = 0) -> Scanner:
    """The scanner for lines that end in `terminator`."""
    if options.format == "csv":
        quote, escape = options.quote_character.encode(), options.escape_character.encode()
        return CsvScanner(quote, escape, terminator, counter_for(size_bytes))
    return TextScanner(terminator)


def counter_for(size_bytes: int) -> Count:
    """What counts quotes fastest in so many bytes."""
    if size_bytes < NUMPY_BYTES_MIN:
        return bytes.count
    try:
        import numpy as np
    except ImportError:
        return bytes.count
    return lambda data, one: int(np.count_nonzero(np.frombuffer(data, np.uint8) == one[0]))


def first_terminator(options: CopyOptions, head: bytes) -> bytes:
    """Which kind of line end comes first outside of values: LF, CR LF or CR; LF when none does."""
    newline = record_scanner(options, b"\n").end(OUTSIDE, head)
    carriage = record_scanner(options, b"\r").end(OUTSIDE, head)
    if carriage > 0 and (newline < 0 or carriage < newline):
        return b"\r\n" if head[carriage : carriage + 1] == b"\n" else b"\r"
    return b"\n"


def fields_of(options: CopyOptions, record: bytes) -> list[str]:
    """The values of one record; for headers. Raises UnicodeDecodeError and UsageError."""
    text = record.decode(options.codec).rstrip("\r\n")
    delimiter = options.delimiter_character
    if options.format != "csv":
        return [re.sub(r"\\(.)", r"\1", field, flags=re.DOTALL) for field in text.split(delimiter)]
    quote, escape = options.quote_character, options.escape_character
    fields, field, quoted, at = [], "", False, 0
    while at < len(text):
        one, after = text[at], text[at + 1 : at + 2]
        if quoted and one == escape and after and after in {quote, escape}:
            field += after
            at += 1
        elif one == quote:
            quoted = not quoted
        elif one == delimiter and not quoted:
            fields.append(field)
            field = ""
        else:
            field += one
        at += 1
    return [*fields, field]
