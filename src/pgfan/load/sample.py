"""Which table the files would need: their columns, and types from records all over them.

Files with a schema of their own say it; of others some records are read, from pieces spread evenly
over each file, beginning and end among them.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pgfan.errors import UsageError
from pgfan.load.compressed import CompressedFile
from pgfan.load.infer import Column, column_names, infer_columns, joined
from pgfan.load.records import OUTSIDE, record_scanner
from pgfan.load.rewritten import RewrittenFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgfan.load.copy_options import CopyOptions
    from pgfan.load.records import Scanner
    from pgfan.load.sources import Source

FILES_MAX = 64
PIECES_MAX = 16
RECORDS_MAX = 1000
"""Of one piece."""
COMPRESSED_PIECES_MAX = 256
"""What comes later in a compressed file costs the decompression of all before it."""
_UNESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@runtime_checkable
class SchemaSource(Protocol):
    """A source whose file says which columns it has."""

    @property
    def table_columns(self) -> tuple[Column, ...]:
        """The columns of a table that keeps all that the file holds."""
        ...


def looks_like_header(fields: Sequence[str]) -> bool:
    """Whether a first record may be a header: none of it is a number, a day or another value."""
    columns = infer_columns(fields, [fields])
    return any(field.strip() for field in fields) and all(
        column.type == "text" for column in columns
    )


def header_by_looks(told: bool | None, fields: list[str]) -> bool:
    """Whether a first record is a header, as told or by its looks alone.

    The same before the table is there and after: a resumed load must read the files alike.
    """
    return told if told is not None else looks_like_header(fields)


def columns_of(sources: Sequence[Source]) -> tuple[Column, ...]:
    """The columns of a table for all of `sources`. Raises UsageError when no table is for all."""
    spread = _spread(len(sources), FILES_MAX)
    chosen = [sources[number] for number in spread]
    found: tuple[str, tuple[Column, ...]] | None = None
    plain = [source for source in chosen if not isinstance(source, SchemaSource)]
    for source in chosen:
        if isinstance(source, SchemaSource):
            names = column_names([column.name for column in source.table_columns])
            types = (column.type for column in source.table_columns)
            columns = tuple(Column(*pair) for pair in zip(names, types, strict=True))
            found = (
                source.name,
                columns if found is None else _joined(*found, source.name, columns),
            )
    if plain:
        columns = _inferred(plain, whole=len(chosen) == len(sources))
        found = (
            plain[0].name,
            columns if found is None else _joined(*found, plain[0].name, columns),
        )
    return found[1] if found is not None else ()


def _joined(
    first: str, columns: tuple[Column, ...], second: str, others: tuple[Column, ...]
) -> tuple[Column, ...]:
    """Columns for both files, matched by name."""
    types = {column.name: column.type for column in others}
    both = [joined(column.type, types.get(column.name)) for column in columns]
    if len(types) != len(columns) or None in both:
        shown = (", ".join(f"{one.name} {one.type}" for one in each) for each in (columns, others))
        raise UsageError(
            "\n  ".join((f"{first} and {second} do not fit one table:", *shown)),
            hint="load them into tables of their own, or CREATE TABLE first",
        )
    return tuple(
        Column(column.name, type_ or "text", column.note)
        for column, type_ in zip(columns, both, strict=True)
    )


def _inferred(sources: Sequence[Source], *, whole: bool) -> tuple[Column, ...]:
    first = sources[0]
    names = _names(first)
    records: list[Sequence[str | None]] = []
    for source in sources:
        own = _names(source) if source.columns is not None else names
        if sorted(own) != sorted(names):
            raise UsageError(
                f"{first.name} has the columns {', '.join(names)}; "
                f"{source.name} has {', '.join(own)}",
                hint="load them into tables of their own, or CREATE TABLE first",
            )
        places = [own.index(name) for name in names]
        sampled, complete = _sampled(source)
        whole = whole and complete
        for record in sampled:
            is_whole = len(record) == len(own)
            records.append([record[place] for place in places] if is_whole else record)
    return infer_columns(names, records, whole=whole)


def _names(source: Source) -> tuple[str, ...]:
    if source.columns is not None:
        return column_names(source.columns)
    first = next(_records(source, 0), ())
    return column_names([""] * len(first))


def _sampled(source: Source) -> tuple[list[list[str | None]], bool]:
    """Some records, and whether they are all."""
    lines = source.lines if isinstance(source, RewrittenFile) else source
    count = source.pieces
    if isinstance(lines, CompressedFile):
        count = min(count, COMPRESSED_PIECES_MAX)
    found: list[list[str | None]] = []
    complete = count <= PIECES_MAX and count == source.pieces
    for piece in _spread(count, PIECES_MAX):
        records = _records(source, piece)
        found += islice(records, RECORDS_MAX)
        complete = complete and next(records, None) is None
    return found, complete


def _spread(count: int, most: int) -> list[int]:
    """At most so many of 0 .. count - 1, evenly, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({number * (count - 1) // (most - 1) for number in range(most)})


def _records(source: Source, piece: int) -> Iterator[list[str | None]]:
    options = source.copy_options
    scanner = record_scanner(options, source.line_end)
    for record in _cut(source.stream(piece, piece + 1), scanner):
        yield values_of(options, record)


def _cut(blocks: Iterable[bytes], scanner: Scanner) -> Iterator[bytes]:
    rest = b""
    for block in blocks:
        rest, at = rest + block, 0
        while (end := scanner.end(OUTSIDE, rest, at)) >= 0:
            yield rest[at:end]
            at = end
        rest = rest[at:]
    if rest:
        yield rest


def values_of(options: CopyOptions, record: bytes) -> list[str | None]:
    """The values of a record as COPY reads them, None for NULL; what is no character is "?"."""
    text = record.decode(options.codec, "replace").rstrip("\r\n")
    delimiter = options.delimiter_character
    if options.format != "csv":
        null = "\\N" if options.null is None else options.null
        return [None if field == null else _plain(field) for field in text.split(delimiter)]
    null = options.null or ""
    quote, escape = options.quote_character, options.escape_character
    if quote not in text:
        return [None if field == null else field for field in text.split(delimiter)]
    values: list[str | None] = []
    field, inside, was_quoted, at = "", False, False, 0
    while at < len(text):
        one, after = text[at], text[at + 1 : at + 2]
        if inside and one == escape and after and after in {quote, escape}:
            field += after
            at += 1
        elif one == quote:
            inside, was_quoted = not inside, True
        elif one == delimiter and not inside:
            values.append(None if field == null and not was_quoted else field)
            field, was_quoted = "", False
        else:
            field += one
        at += 1
    values.append(None if field == null and not was_quoted else field)
    return values


def _plain(field: str) -> str:
    if "\\" not in field:
        return field
    return _ESCAPE.sub(lambda found: _UNESCAPED.get(found[1], found[1]), field)
