"""Arrow batches as CSV: what every type of PostgreSQL reads, by its own input function.

Arrow's writer makes the text, a column at a time. It quotes every string, so that an empty one is
none of the NULLs, which are empty and not quoted: COPY's own default for CSV.
"""

from __future__ import annotations

import binascii
import json
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pgfan.load.arrow_values import is_list, is_uuid, json_text, naming, plain, storage

if TYPE_CHECKING:
    from collections.abc import Sequence

Spelling: TypeAlias = Literal["plain", "hex", "array"]
"""hex: bytes without \\x before the digits, as for uuid and geometry; array: lists as arrays."""
_OPTIONS = csv.WriteOptions(include_header=False)
_FIRST_DAY = -719_162
"""0001-01-01, in days since 1970; what is before it needs another spelling."""
_US_PER_DAY = 86_400_000_000


def csv_rows(
    batch: pa.RecordBatch, spellings: Sequence[Spelling], srids: Sequence[int | None]
) -> memoryview:
    """The rows of a batch. Raises LossError for a value that cannot be written."""
    arrays = []
    for name, array, how, srid in zip(
        batch.schema.names, batch.columns, spellings, srids, strict=True
    ):
        with naming(name):
            arrays.append(written(array, how, srid))
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.RecordBatch.from_arrays(arrays, batch.schema.names), sink, _OPTIONS)
    return memoryview(sink.getvalue())


def written(array: pa.Array, spelling: Spelling = "plain", srid: int | None = None) -> pa.Array:
    """An array that Arrow's CSV writer writes as PostgreSQL reads it."""
    how = "hex" if is_uuid(storage(array.type)) else spelling
    if how == "array" and is_list(storage(array.type)):
        return _as_arrays(array)
    array = plain(array, srid)
    type_ = array.type
    if pa.types.is_large_binary(type_):
        return _hexadecimal(array, how)
    if pa.types.is_duration(type_):
        numbers = array.cast(pa.int64()).cast(pa.string())
        return pc.binary_join_element_wise(numbers, "microseconds", " ")
    if pa.types.is_date32(type_):
        return _with_eras(array, _FIRST_DAY, pa.int32())
    if pa.types.is_timestamp(type_):
        return _with_eras(array, _FIRST_DAY * _US_PER_DAY, pa.int64())
    return array


def _hexadecimal(array: pa.Array, spelling: Spelling) -> pa.Array:
    """All bytes at once: twice as many digits, at twice the offsets."""
    validity, places, data = array.buffers()
    end = array.offset + len(array) + 1
    offsets = (
        np.frombuffer(places, np.int64)[array.offset : end] if len(array) else np.zeros(1, np.int64)
    )
    first, last = int(offsets[0]), int(offsets[-1])
    digits = binascii.hexlify(memoryview(data)[first:last]) if last > first else b""
    buffers = [None, pa.py_buffer(2 * (offsets - first)), pa.py_buffer(digits)]
    texts = pa.Array.from_buffers(pa.large_string(), len(array), buffers)
    if spelling == "plain":
        prefix, empty = (pa.scalar(text, pa.large_string()) for text in ("\\x", ""))
        texts = pc.binary_join_element_wise(prefix, texts, empty)
    if validity is None:
        return texts
    return pc.if_else(array.is_valid(), texts, pa.scalar(None, pa.large_string()))


def _as_arrays(array: pa.Array) -> pa.Array:
    texts = (None if one is None else _array_text(one, array.type) for one in array.to_pylist())
    return pa.array(texts, pa.large_string())


def _array_text(values: list[Any], type_: pa.DataType) -> str:
    """A list as an array of PostgreSQL, each of its values in quotes; those of lists are arrays."""
    inner = storage(type_).value_type
    elements = []
    for value in values:
        if value is None:
            elements.append("NULL")
        elif is_list(storage(inner)):
            elements.append(_array_text(value, inner))
        else:
            text = json_text(value, inner)
            text = json.loads(text) if text.startswith('"') else text
            elements.append('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return "{" + ",".join(elements) + "}"


def _with_eras(array: pa.Array, first: int, integers: pa.DataType) -> pa.Array:
    """Instants, those before `first` as years BC: there is no year 0."""
    least = pc.min(array.cast(integers)).as_py()
    if least is None or least >= first:
        return array
    return pa.array([_with_era(text) for text in array.cast(pa.string()).to_pylist()], pa.string())


def _with_era(text: str | None) -> str | None:
    if text is None:
        return None
    year, rest = text[:1] + text[1:].partition("-")[0], text[1:].partition("-")[2]
    return text if int(year) > 0 else f"{1 - int(year):04}-{rest} BC"
