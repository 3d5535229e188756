"""Rows of a COPY ... TO STDOUT in CSV, as a file of CSV or Parquet.

The server's text of each type is read back by Arrow's CSV reader, with the type told: what Arrow
has no type for (intervals, ranges, arrays, JSON, enums) stays text. What a type of Arrow cannot
hold, such as infinity in a date, is an error that names the column, never another value.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, BinaryIO, Literal, Protocol

from msgspec import Struct

from pgfan.errors import InternalError
from pgfan.load.sources import FileError

BLOCK_BYTES = 8 << 20
"""CSV that is made into a row group's part at once."""
DIGITS_MAX = 38
"""Of a decimal that Arrow's CSV reader knows."""
_TYPE = re.compile(r"([a-z ]+?)(?:\((\d+)(?:,(-?\d+))?\))?( without time zone| with time zone)?")


class OutputColumn(Struct, frozen=True):
    """A column of the query: `type` as format_type writes it, with its modifier."""

    name: str
    type: str


class RowFormat(Struct, frozen=True, dict=True):
    """What the files are, and the query's columns; `header`: CSV begins with a line of names."""

    suffix: Literal["csv", "parquet"]
    columns: tuple[OutputColumn, ...]
    header: bool = True

    @property
    def copy_options(self) -> str:
        """WITH (...) of the COPY ... TO STDOUT."""
        header = self.header and self.suffix == "csv"
        return f"(FORMAT csv{', HEADER' if header else ''}, ENCODING 'UTF8')"

    @cached_property
    def schema(self) -> Any:  # noqa: ANN401  # pyarrow.Schema, which has no types
        """Arrow's schema."""
        import pyarrow as pa

        return pa.schema([(column.name, arrow_type(column.type)) for column in self.columns])


class RowWriter(Protocol):
    """Takes the messages of a COPY, each a row or the header."""

    def take(self, row: bytes) -> None:
        """The next one."""
        ...

    def flush(self) -> None:
        """There are no more: write what is still held."""
        ...

    def close(self) -> None:
        """Let go, whether all is written or not; the file itself is the caller's to close."""
        ...


def writer_of(format_: RowFormat, file: BinaryIO) -> RowWriter:
    """What writes rows to `file`."""
    return CsvRows(file) if format_.suffix == "csv" else ParquetRows(file, format_)


class CsvRows:
    """As the server writes them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def take(self, row: bytes) -> None:
        """See RowWriter."""
        self._file.write(row)

    def flush(self) -> None:
        """See RowWriter."""

    def close(self) -> None:
        """See RowWriter."""


class ParquetRows:
    """Read back by Arrow in blocks, each a row group."""

    def __init__(self, file: BinaryIO, format_: RowFormat) -> None:
        import pyarrow.parquet as pq

        self._schema = format_.schema
        self._writer = pq.ParquetWriter(file, self._schema)
        self._rows: list[bytes] = []
        self._size = 0

    def take(self, row: bytes) -> None:
        """See RowWriter."""
        self._rows.append(row)
        self._size += len(row)
        if self._size >= BLOCK_BYTES:
            self.flush()

    def close(self) -> None:
        """See RowWriter."""
        self._writer.close()

    def flush(self) -> None:
        """See RowWriter."""
        if not self._rows:
            return
        table = table_of(b"".join(self._rows), self._schema)
        if table.num_rows != len(self._rows):
            raise InternalError(f"{len(self._rows)} rows were read back as {table.num_rows}")
        self._writer.write_table(table)
        self._rows, self._size = [], 0


def table_of(data: bytes, schema: Any) -> Any:  # noqa: ANN401  # pyarrow's
    """The rows of CSV as Arrow's table. Raises FileError for a value that its type lacks."""
    import pyarrow as pa
    from pyarrow import csv

    if not len(schema):
        raise FileError("Parquet holds no rows without columns")
    names = [str(number) for number in range(len(schema))]
    types = {name: _read_as(field.type) for name, field in zip(names, schema, strict=True)}
    try:
        table = csv.read_csv(
            pa.py_buffer(data),
            csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
            # An empty line is a NULL in a row of one column.
            csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            csv.ConvertOptions(
                column_types=types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
    except pa.ArrowInvalid as error:
        raise FileError(
            f"a value has no form in Parquet: {_named(str(error), schema)}",
            hint="cast the column to text in the query, or unload CSV",
        ) from error
    columns = [
        _from_hexadecimal(column) if pa.types.is_binary(field.type) else column
        for column, field in zip(table.columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def arrow_type(type_: str) -> Any:  # noqa: ANN401  # pyarrow.DataType
    """Arrow's type for one of PostgreSQL; string for what it has none for.

    So is numeric without a precision: no decimal of Arrow holds all of its values.
    """
    import pyarrow as pa

    found = _TYPE.fullmatch(type_)
    if found is None:
        return pa.string()
    name, precision, scale, zone = found.groups()
    match name.strip():
        case "numeric" if precision and 0 <= int(scale or 0) <= int(precision) <= DIGITS_MAX:
            return pa.decimal128(int(precision), int(scale or 0))
        case "timestamp":
            return pa.timestamp("us", "UTC" if zone == " with time zone" else None)
        case "time" if zone != " with time zone":
            return pa.time64("us")
        case simple if simple in _SIMPLE and not precision:
            return getattr(pa, _SIMPLE[simple])()
        case _:
            return pa.string()


_SIMPLE = {
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "oid": "uint32",
    "real": "float32",
    "double precision": "float64",
    "boolean": "bool_",
    "date": "date32",
    "bytea": "binary",
}


def _read_as(type_: Any) -> Any:  # noqa: ANN401  # pyarrow.DataType
    import pyarrow as pa

    return pa.string() if pa.types.is_binary(type_) else type_


def _from_hexadecimal(column: Any) -> Any:  # noqa: ANN401  # pyarrow.ChunkedArray
    import pyarrow as pa

    values = (None if text is None else bytes.fromhex(text[2:]) for text in column.to_pylist())
    return pa.array(values, pa.binary())


def _named(message: str, schema: Any) -> str:  # noqa: ANN401  # pyarrow.Schema
    """What Arrow says of column #3, with the column's name."""
    return re.sub(
        r"In CSV column #(\d+)", lambda found: f"column {schema.names[int(found[1])]}", message
    )
