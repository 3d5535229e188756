"""Arrow's types as PostgreSQL's, and Arrow's arrays in the few types that can be written.

What `plain` gives holds numbers, booleans, days, times, strings or bytes, whatever the file had:
dictionaries are looked up, instants are microseconds in UTC, nested values are JSON, and WKB
carries its SRID. A value that PostgreSQL cannot keep is an error, never rounded: see `LossError`.
See "Columnar Format" in Arrow's documentation and "Data Types" in PostgreSQL's manual.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
import uuid
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FLOAT_TYPES = {16: "real", 32: "real", 64: "double precision"}
INTEGER_TYPES = {8: "smallint", 16: "smallint", 32: "integer", 64: "bigint"}
"""By width in bits; unsigned ones need the next width."""
NUMERIC_DIGITS_MAX = 1000
"""Digits that may be declared; numeric without them takes more."""


class LossError(ValueError):
    """A value that PostgreSQL cannot keep as it is; the message names it."""


@contextmanager
def naming(column: str) -> Iterator[None]:
    """Have a LossError say in which column the value is."""
    try:
        yield
    except LossError as error:
        raise LossError(f"column {column}: {error}") from error


def sql_type(type_: pa.DataType) -> str:
    """The smallest type of PostgreSQL that keeps every value of an Arrow type."""
    type_ = storage(type_)
    if pa.types.is_integer(type_):
        if not pa.types.is_signed_integer(type_):
            return INTEGER_TYPES.get(2 * type_.bit_width, "numeric(20)")
        return INTEGER_TYPES[type_.bit_width]
    if pa.types.is_floating(type_):
        return FLOAT_TYPES[type_.bit_width]
    if pa.types.is_decimal(type_):
        has_digits = 0 <= type_.scale <= type_.precision <= NUMERIC_DIGITS_MAX
        return f"numeric({type_.precision},{type_.scale})" if has_digits else "numeric"
    if pa.types.is_timestamp(type_):
        return "timestamptz" if type_.tz else "timestamp"
    for test, name in _NAMES:
        if test(type_):
            return name
    return "text"


def storage(type_: pa.DataType) -> pa.DataType:
    """What is left of a type without its dictionary, run lengths and extension, but for UUID."""
    while True:
        if pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
            type_ = type_.value_type
        elif isinstance(type_, pa.BaseExtensionType) and not is_uuid(type_):
            type_ = type_.storage_type
        else:
            return type_


def is_uuid(type_: pa.DataType) -> bool:
    """Whether values are UUIDs, and the file says so."""
    return isinstance(type_, pa.UuidType)


def is_nested(type_: pa.DataType) -> bool:
    """Whether values are put together from others: they become JSON."""
    return bool(pa.types.is_nested(type_))


def is_list(type_: pa.DataType) -> bool:
    """Whether values are lists; a map is none."""
    return bool(pa.types.is_list(type_) or pa.types.is_large_list(type_)) or (
        pa.types.is_fixed_size_list(type_)
    )


def plain(array: pa.Array, srid: int | None = None) -> pa.Array:
    """The same values in a type that can be written. Raises LossError.

    `srid`: the array holds WKB, and is to hold EWKB that says so.
    """
    type_ = array.type
    if isinstance(type_, pa.BaseExtensionType):
        return plain(array.storage, srid)
    if pa.types.is_dictionary(type_):
        return plain(array.dictionary_decode(), srid)
    if pa.types.is_run_end_encoded(type_):
        return plain(pc.run_end_decode(array), srid)
    if is_nested(type_):
        return _as_json(array)
    if pa.types.is_timestamp(type_):
        return _cast(array, pa.timestamp("us", "UTC" if type_.tz else None))
    if pa.types.is_time(type_):
        return _cast(array, pa.time64("us"))
    if pa.types.is_date(type_):
        return _cast(array, pa.date32())
    if pa.types.is_duration(type_):
        return _cast(array, pa.duration("us"))
    if pa.types.is_float16(type_):
        return array.cast(pa.float32())
    if pa.types.is_string_view(type_):
        return array.cast(pa.large_string())
    if is_bytes(type_):
        array = array.cast(pa.large_binary())
        return array if srid is None else _with_srid(array, srid)
    return array


def is_bytes(type_: pa.DataType) -> bool:
    """Whether values are bytes, of one length or of any."""
    return any(test(type_) for test in _BYTES)


_BYTES: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
)
_NAMES: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_date, "date"),
    (pa.types.is_time, "time"),
    (pa.types.is_duration, "interval"),
    (is_bytes, "bytea"),
    (is_uuid, "uuid"),
    (is_nested, "jsonb"),
)


def _cast(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """A cast that must be exact: PostgreSQL keeps microseconds."""
    if array.type == type_:
        return array
    try:
        return array.cast(type_)
    except pa.ArrowInvalid:
        for value in array:
            try:
                value.cast(type_)
            except pa.ArrowInvalid:
                shown = value.cast(pa.string()).as_py()
                raise LossError(f"{shown} is not a whole number of microseconds") from None
        raise


# JSON -------------------------------------------------------------------------------------------


def _as_json(array: pa.Array) -> pa.Array:
    try:
        values = array.to_pylist()
    except ValueError as error:  # nanoseconds
        raise LossError(str(error)) from error
    texts = [None if value is None else json_text(value, array.type) for value in values]
    return pa.array(texts, pa.large_string())


def json_text(value: Any, type_: pa.DataType) -> str:  # noqa: ANN401  # to_pylist's
    """A value of an Arrow type as JSON; what JSON lacks is written as PostgreSQL's to_json does.

    A map whose keys are not strings is an array of pairs.
    """
    type_ = storage(type_)
    if value is None:
        return "null"
    if pa.types.is_map(type_):
        keys, items = type_.key_type, type_.item_type
        pairs = [(json_text(key, keys), json_text(item, items)) for key, item in value]
        if all(text.startswith('"') for text, _ in pairs):
            return "{" + ", ".join(f"{key}: {item}" for key, item in pairs) + "}"
        return "[" + ", ".join(f"[{key}, {item}]" for key, item in pairs) + "]"
    if pa.types.is_struct(type_):
        fields = (type_.field(number) for number in range(type_.num_fields))
        texts = (f"{_string(f.name)}: {json_text(value[f.name], f.type)}" for f in fields)
        return "{" + ", ".join(texts) + "}"
    if is_nested(type_) and isinstance(value, list):
        return "[" + ", ".join(json_text(one, type_.value_type) for one in value) + "]"
    return _scalar_text(value)


def _scalar_text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else _string(_NOT_FINITE[str(value)])
        case bytes():
            return _string(f"\\x{value.hex()}")
        case dt.datetime() | dt.date() | dt.time():
            return _string(value.isoformat())
        case dt.timedelta() | uuid.UUID() | str():
            return _string(str(value))
        case _:
            raise LossError(f"{type(value).__name__} has no form in JSON")


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# Geometry ---------------------------------------------------------------------------------------

_EWKB_SRID = 0x20000000
_LITTLE_HEADER = 5
"""Bytes of the byte order and the type."""


def _with_srid(array: pa.Array, srid: int) -> pa.Array:
    """WKB as EWKB with an SRID in the header of each value."""
    if not srid:
        return array
    tops = pc.binary_slice(array, 4, 5)
    is_little = pc.equal(pc.binary_slice(array, 0, 1), pa.scalar(b"\x01", pa.large_binary()))
    is_plain = pc.equal(tops, pa.scalar(b"\x00", pa.large_binary()))
    if pc.all(pc.and_(is_little, is_plain), min_count=0).as_py():
        head, tail = pc.binary_slice(array, 0, 4), pc.binary_slice(array, _LITTLE_HEADER)
        inserted = pa.scalar(b"\x20" + struct.pack("<I", srid), pa.large_binary())
        empty = pa.scalar(b"", pa.large_binary())
        return pc.binary_join_element_wise(head, inserted, tail, empty)
    return pa.array([_ewkb(value, srid) for value in array.to_pylist()], pa.large_binary())


def _ewkb(value: bytes | None, srid: int) -> bytes | None:
    if value is None or len(value) < _LITTLE_HEADER:
        return value
    order = "<" if value[0] else ">"
    (type_,) = struct.unpack_from(f"{order}I", value, 1)
    if type_ & _EWKB_SRID:
        return value
    return value[:1] + struct.pack(f"{order}II", type_ | _EWKB_SRID, srid) + value[5:]
