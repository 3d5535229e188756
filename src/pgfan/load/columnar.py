"""Files that hold columns: Parquet by row groups or parts of them, Arrow and Feather by batches.

A piece is what the file itself is divided into; a row group of many rows is several, and who begins
in its middle decodes the rows before it again, a tenth of what loading them costs. Few and large
pieces would tell nothing of a chunk's fixed cost, and leave one worker with the most of a file.
The columns are read in batches of bounded size and
written as a binary COPY where every column has a form that its receive function takes, as CSV
otherwise; so the source must know the types of the table's columns before its options are asked
for. Names decide which column is which; the order of the file is that of the COPY.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.structs import replace

from pgfan.load.arrow_csv import csv_rows
from pgfan.load.arrow_values import LossError, sql_type
from pgfan.load.binary_copy import OPTIONS as BINARY_OPTIONS
from pgfan.load.binary_rows import binary_rows, encoder_of
from pgfan.load.copy_options import CopyOptions
from pgfan.load.geography import srids_of
from pgfan.load.infer import Column
from pgfan.load.record_index import RecordIndex
from pgfan.load.records import CsvScanner
from pgfan.load.sources import BLOCK_BYTES, IO_ERROR, FileError, Identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.load.arrow_csv import Spelling
from pgfan.load.binary_rows import Encoder

BATCH_BYTES = 1 << 22
"""About what a batch takes in memory."""
BATCH_ROWS_MAX = 1 << 15
PIECE_ROWS = 1 << 15
"""Of a Parquet file, at most, but for very large row groups."""
PIECES_PER_GROUP_MAX = 16
"""Bounds what is decoded in vain when a chunk is one piece: half of a group."""
READ_BYTES = 1 << 20
CSV_OPTIONS = CopyOptions("csv", header=False)
SPATIAL = frozenset({"geometry", "geography"})
_HEXADECIMAL = SPATIAL | {"uuid"}


class Batches(Protocol):
    """A file of batches. Used by several threads at once."""

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        ...

    @property
    def pieces(self) -> int:
        """What it is divided into."""
        ...

    def rows(self, lo: int, hi: int) -> int:
        """How many rows pieces [lo, hi) have."""
        ...

    def read(self, lo: int, hi: int) -> Iterator[pa.RecordBatch]:
        """Pieces [lo, hi), in batches of at most BATCH_ROWS_MAX rows."""
        ...


class ColumnarSource(Struct, frozen=True, dict=True):
    """Implements `pgfan.load.sources.Source`.

    `types` are those of the table's columns that the file's go to, in the order of the file:
    pg_type.typname, of a domain that of its base. Without them, or with `text`, all is CSV.
    """

    identity: Identity
    batches: Batches
    types: tuple[str, ...] | None = None
    text: bool = False
    line_end: bytes = b"\n"
    left_out: frozenset[int] = frozenset()
    """Places of columns that are not wanted."""

    def without(self, left_out: frozenset[int]) -> ColumnarSource:
        """The same file without the columns at these places."""
        return replace(self, left_out=left_out)

    def for_columns(self, types: Sequence[str], *, text: bool = False) -> ColumnarSource:
        """The same file as columns of such types need it; `text`: never binary."""
        return replace(self, types=tuple(types), text=text)

    @property
    def name(self) -> str:
        """See Source."""
        return self.identity.path

    @cached_property
    def pieces(self) -> int:
        """See Source."""
        return max(1, self.batches.pieces)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """See Source."""
        return tuple(self._schema.names)

    @cached_property
    def _places(self) -> list[int]:
        return [at for at in range(len(self.batches.schema)) if at not in self.left_out]

    @cached_property
    def _schema(self) -> pa.Schema:
        """Of the columns that are wanted."""
        schema = self.batches.schema
        return pa.schema([schema.field(at) for at in self._places], schema.metadata)

    @cached_property
    def table_columns(self) -> tuple[Column, ...]:
        """The columns of a table that keeps all that the file holds."""
        return tuple(
            Column(field.name, "geometry" if field.name in self._srids else sql_type(field.type))
            for field in self._schema
        )

    @property
    def copy_options(self) -> CopyOptions:
        """See Source."""
        return CSV_OPTIONS if self._encoders is None else BINARY_OPTIONS

    def stream(self, lo: int, hi: int) -> Iterator[bytes]:
        """See Source; a binary COPY's rows without its signature and trailer."""
        done = 0
        with self._reading():
            for batch in self.batches.read(lo, min(hi, self.batches.pieces)):
                if not batch.num_rows:
                    continue
                try:
                    data = self._written(batch.select(self._places))
                except LossError as error:
                    first = self.rows(0, lo) + done + 1
                    rows = f"rows {first} to {first + batch.num_rows - 1}"
                    raise FileError(f"{self.name}: {rows}: {error}") from error
                # libpq moves what is left of a block whenever it has sent a part of it.
                for at in range(0, len(data), BLOCK_BYTES):
                    yield bytes(data[at : at + BLOCK_BYTES])
                done += batch.num_rows

    def rows(self, lo: int, hi: int) -> int:
        """Rows of pieces [lo, hi)."""
        return self.batches.rows(lo, min(hi, self.batches.pieces))

    def place(self, lo: int, line: int) -> str:
        """See Source: the row in the file, from 1."""
        row = line if self._encoders is not None else self._row_of(lo, line)
        return f"{self.name}: row {self.rows(0, lo) + row}"

    def _written(self, batch: pa.RecordBatch) -> memoryview:
        srids = [self._srids.get(name) for name in self.columns]
        if self._encoders is None:
            return csv_rows(batch, self._spellings, srids)
        return binary_rows(batch, self._encoders, srids)

    @cached_property
    def _encoders(self) -> tuple[Encoder, ...] | None:
        """One for each column, or none at all."""
        if self.types is None or self.text:
            return None
        pairs = zip(self._schema, self.types, strict=True)
        found = [encoder_of(field.type, type_) for field, type_ in pairs]
        encoders = tuple(one for one in found if one is not None)
        return encoders if len(encoders) == len(found) else None

    @cached_property
    def _srids(self) -> dict[str, int]:
        return srids_of(self._schema)

    @cached_property
    def _spellings(self) -> list[Spelling]:
        types = self.types or ["geometry" if name in self._srids else "" for name in self.columns]
        return [
            "hex" if type_ in _HEXADECIMAL else "array" if type_.startswith("_") else "plain"
            for type_ in types
        ]

    def _row_of(self, lo: int, line: int) -> int:
        """The record in which the `line`-th line of CSV is, from 1."""
        index = RecordIndex(CsvScanner(b'"', b'"'), self.stream(lo, self.pieces))
        return index.record_at(0, line) + 1

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Have what Arrow says of a bad file be a FileError, and see that it stays the same."""
        with readable(self.name):
            yield
        if Identity.of(self.name, self.identity.size) != self.identity:
            raise FileError(f"{self.name} was changed while it was loaded")


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Have what Arrow says of a bad file be a FileError."""
    try:
        yield
    except pa.ArrowException as error:
        raise FileError(f"{name}: {error}") from error
    except OSError as error:
        raise FileError(f"{name}: {error}", sqlstate=IO_ERROR) from error


class ParquetBatches:
    """Row groups, cut into even pieces. Nothing of the file stays open between reads."""

    def __init__(self, path: str) -> None:
        """Read the footer. Raises FileError."""
        self._path = path
        with readable(path):
            file = pq.ParquetFile(path, **_PARQUET)
            self._metadata = file.metadata
            self.schema = file.schema_arrow
            file.close()
        groups = [
            self._metadata.row_group(at).num_rows for at in range(self._metadata.num_row_groups)
        ]
        self._group_begins = [0, *accumulate(groups)]
        """The first row of each group, and the end of the last."""
        self._begins = [0, *accumulate(rows for group in groups for rows in even_pieces(group))]
        """The same of the pieces."""
        self.pieces = len(self._begins) - 1

    def rows(self, lo: int, hi: int) -> int:
        """See Batches."""
        return self._begins[hi] - self._begins[lo] if lo < hi else 0

    def read(self, lo: int, hi: int) -> Iterator[pa.RecordBatch]:
        """See Batches."""
        if not self.rows(lo, hi):
            return
        begin, end = self._begins[lo], self._begins[hi]
        first = bisect_right(self._group_begins, begin) - 1
        groups = list(range(first, bisect_left(self._group_begins, end)))
        with pq.ParquetFile(self._path, metadata=self._metadata, **_PARQUET) as file:
            at = self._group_begins[first]
            for batch in file.iter_batches(
                self._batch_rows(groups), row_groups=groups, use_threads=False
            ):
                skipped = max(0, begin - at)
                if skipped < batch.num_rows:
                    yield batch.slice(skipped, min(batch.num_rows, end - at) - skipped)
                at += batch.num_rows
                if at >= end:
                    return

    def _batch_rows(self, groups: Sequence[int]) -> int:
        """How many rows of these groups are about BATCH_BYTES."""
        found = [self._metadata.row_group(group) for group in groups]
        rows: int = sum(one.num_rows for one in found)
        size: int = sum(one.total_byte_size for one in found)
        return max(1, min(BATCH_ROWS_MAX, BATCH_BYTES * rows // max(1, size)))


def even_pieces(rows: int) -> list[int]:
    """The rows of each piece of a row group; none of an empty one."""
    count = min(PIECES_PER_GROUP_MAX, -(-rows // PIECE_ROWS))
    return [rows * (at + 1) // count - rows * at // count for at in range(count)]


_PARQUET = {
    "buffer_size": READ_BYTES,
    "pre_buffer": False,
    "coerce_int96_timestamp_unit": "us",  # nanoseconds would end in 2262
    "arrow_extensions_enabled": True,
}


class ArrowBatches:
    """Record batches of an IPC file, which Feather is; a stream of them is one piece."""

    def __init__(self, path: str) -> None:
        """Read the schema. Raises FileError."""
        self._path = path
        with readable(path), pa.OSFile(path) as file:
            if file.read(6) != b"ARROW1":
                file.seek(0)
                self._is_stream, self.pieces = True, 1
                self.schema = pa.ipc.open_stream(file).schema
            else:
                opened = pa.ipc.open_file(file)
                self._is_stream, self.pieces = False, opened.num_record_batches
                self.schema = opened.schema

    def rows(self, lo: int, hi: int) -> int:
        """See Batches."""
        return sum(batch.num_rows for batch in self._batches(lo, hi))

    def read(self, lo: int, hi: int) -> Iterator[pa.RecordBatch]:
        """See Batches."""
        for batch in self._batches(lo, hi):
            rows = max(1, min(BATCH_ROWS_MAX, BATCH_BYTES * batch.num_rows // max(1, batch.nbytes)))
            for at in range(0, batch.num_rows, rows):
                yield batch.slice(at, rows)

    def _batches(self, lo: int, hi: int) -> Iterator[pa.RecordBatch]:
        if lo >= hi:
            return
        with pa.OSFile(self._path) as file:
            if self._is_stream:
                yield from pa.ipc.open_stream(file)
            else:
                opened = pa.ipc.open_file(file)
                yield from (opened.get_batch(number) for number in range(lo, hi))
