r"""Files with columns that nobody wants: the same file without them, record for record.

COPY takes all fields of a record or refuses it, so the client leaves them out: what is kept goes as
it is, byte for byte, with its quotes and escapes. One regular expression matches a record with all
of the file's fields. A record of another number of fields stays one that COPY refuses, for that
reason, so that it fails or is rejected like any other bad row. The expression works on one core at
about what a server reads; columns of Parquet and Arrow cost nothing to leave out.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pgfan.errors import UsageError
from pgfan.load.marker import MARKER
from pgfan.load.records import OUTSIDE, record_scanner
from pgfan.load.rewritten import RewrittenFile
from pgfan.load.sources import BLOCK_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.load.copy_options import CopyOptions
    from pgfan.load.records import Scanner
    from pgfan.load.rewritten import Rewriter
    from pgfan.load.sources import Identity, Source


def without(source: Source, names: Sequence[str], left_out: frozenset[int]) -> Source:
    """`source` without the columns at the places `left_out`; `names` are all that it has.

    Raises UsageError where none can be left out, and where nothing would be left.
    """
    if len(left_out) == len(names):
        raise UsageError(f"{source.name}: all of its columns are to be left out")
    if isinstance(source, RewrittenFile):
        return replace(source, rewriter=_FewerValues(source.rewriter, len(names), left_out))
    if source.copy_options.format == "binary":
        raise UsageError(
            f"{source.name} is of COPY's binary format, of which no column can be left out"
        )
    fewer = getattr(source, "without", None)
    if fewer is not None:
        found: Source = fewer(left_out)
        return found
    if not source.copy_options.can_be_parted:
        raise UsageError(
            f"{source.name}: in this encoding a delimiter may be half of a character",
            hint='iconv to UTF-8, or a delimiter and a quote such as , and " make it readable',
        )
    return FewerFields(source, len(names), left_out)


class _FewerValues(Struct, frozen=True):
    """Implements `pgfan.load.rewritten.Rewriter`."""

    rewriter: Rewriter
    count: int
    left_out: frozenset[int]

    @property
    def columns(self) -> tuple[str, ...] | None:
        """See Rewriter."""
        names = self.rewriter.columns
        return None if names is None else tuple(_kept(names, self.left_out))

    def values(self, line: bytes, types: Sequence[str]) -> list[str]:
        """See Rewriter."""
        given = iter(types)
        every = ["" if at in self.left_out else next(given, "") for at in range(self.count)]
        return _kept(self.rewriter.values(line, every), self.left_out)


def _kept(values: Sequence[str], left_out: frozenset[int]) -> list[str]:
    return [value for at, value in enumerate(values) if at not in left_out]


class FewerFields(Struct, frozen=True, dict=True):
    """Implements `pgfan.load.sources.Source` for CSV and text: `whole` without some fields."""

    whole: Source
    count: int
    left_out: frozenset[int]

    @property
    def name(self) -> str:
        """See Source."""
        return self.whole.name

    @property
    def identity(self) -> Identity:
        """See Source."""
        return self.whole.identity

    @property
    def pieces(self) -> int:
        """See Source."""
        return self.whole.pieces

    @property
    def columns(self) -> tuple[str, ...] | None:
        """See Source."""
        names = self.whole.columns
        return None if names is None else tuple(_kept(names, self.left_out))

    @property
    def copy_options(self) -> CopyOptions:
        """See Source."""
        return self.whole.copy_options

    @property
    def line_end(self) -> bytes:
        """See Source."""
        return self.whole.line_end

    def stream(self, lo: int, hi: int) -> Iterator[bytes]:
        """See Source."""
        made, size = [], 0
        for _, record in self._records(lo, hi):
            made.append(record)
            size += len(record)
            if size >= BLOCK_BYTES:
                yield b"".join(made)
                made, size = [], 0
        if made:
            yield b"".join(made)

    def place(self, lo: int, line: int) -> str:
        """See Source. A field that is left out may have had lines of its own."""
        last, before, lines = self.line_end[-1:], 0, 0
        for whole, record in self._records(lo, self.pieces):
            own = record.count(last)
            if lines + own >= line:
                return self.whole.place(lo, before + line - lines)
            before, lines = before + whole.count(last), lines + own
        return self.whole.place(lo, before + 1)

    def _records(self, lo: int, hi: int) -> Iterator[tuple[bytes, bytes]]:
        """Each record as it is in the file, and without the fields."""
        match, rest = self._record.match, b""
        for block in self.whole.stream(lo, hi):
            data, at = rest + block, 0
            while at < len(data):
                found = match(data, at)
                end = found.end() if found else self._scanner.end(OUTSIDE, data, at)
                if end < 0:
                    break
                whole = data[at:end]
                yield whole, self._safe(b"".join(found.groups()) if found else self._refused(whole))
                at = end
            rest = data[at:]
        if rest:
            yield rest, self._refused(rest)

    @cached_property
    def _scanner(self) -> Scanner:
        return record_scanner(self.copy_options, self.line_end)

    @cached_property
    def _record(self) -> re.Pattern[bytes]:
        """A record of `count` fields; its groups are what is kept."""
        delimiter = re.escape(self.copy_options.delimiter_character.encode())
        field, parts, first = self._field, [], True
        for at in range(self.count):
            comma = delimiter if at else b""
            if at in self.left_out:
                parts.append(comma + field)
            else:
                parts.append(b"%b(%b)" % (comma, field) if first else b"(%b%b)" % (comma, field))
                first = False
        return re.compile(b"".join(parts) + b"(%b)" % self.line_end, re.DOTALL)

    @cached_property
    def _field(self) -> bytes:
        """A field of any content, as COPY finds its end."""
        options = self.copy_options
        ends = re.escape(options.delimiter_character.encode()) + self.line_end
        if options.format != "csv":
            return rb"[^\\%b]*(?:\\.[^\\%b]*)*" % (ends, ends)
        quote = re.escape(options.quote_character.encode())
        escape = re.escape(options.escape_character.encode())
        inside = b"[^%b]*" % quote
        if escape != quote:
            inside = b"[^%b%b]*(?:%b.[^%b%b]*)*" % (quote, escape, escape, quote, escape)
        return b"[^%b%b]*(?:%b%b%b[^%b%b]*)*" % (quote, ends, quote, inside, quote, quote, ends)

    def _refused(self, record: bytes) -> bytes:
        """A record with too few fields or too many, so that COPY says just that of it."""
        field = re.compile(self._field, re.DOTALL)
        delimiter = self.copy_options.delimiter_character.encode()
        body, fields, at = record.removesuffix(self.line_end), 1, 0
        while (found := field.match(body, at)) and found.end() < len(body):
            if body[found.end() : found.end() + 1] != delimiter:
                break
            at, fields = found.end() + 1, fields + 1
        kept = self.count - len(self.left_out)
        if fields < self.count and kept > 1:  # a first field alone
            found = field.match(body)
            return (found[0] if found else b"") + self.line_end
        return body + delimiter * kept + self.line_end

    def _safe(self, record: bytes) -> bytes:
        r"""`record`, which alone in its line may look like the end of the data: `\.`."""
        if record.removesuffix(self.line_end) != MARKER:
            return record
        if self.copy_options.format != "csv":
            return b"." + self.line_end
        quote = self.copy_options.quote_character.encode()
        return quote + MARKER + quote + self.line_end
