"""Arrow batches as rows of a binary COPY: no text is made on either side.

Fields that have one width go, with the lengths before them, into one record of NumPy for each row;
Arrow then joins these records with the strings between them, row by row. Both in C, and the
server's receive functions cost a third less than its input functions (CPU for TPC-H's lineitem).
Only what a receive function takes for the very type of the column is sent so; `encoder_of` says
what that is, and all else is CSV's. See "COPY", Binary Format, and the typreceive functions
(numeric_recv, date_recv, ...) in PostgreSQL's source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field

from pgfan.load.arrow_values import LossError, is_bytes, is_nested, is_uuid, naming, plain, storage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

POSTGRES_EPOCH_DAYS = 10_957
"""2000-01-01, in days since 1970."""
POSTGRES_EPOCH_US = POSTGRES_EPOCH_DAYS * 86_400_000_000
DATE_DAYS = (-2_440_588, 2_145_042_906)
"""4714-11-24 BC and 5874898-01-01, in days since 1970: from the first, before the second."""
TIMESTAMP_US = (-210_866_803_200_000_000, 9_224_318_016_000_000_000)
"""The same for 4714-11-24 BC and 294277-01-01, in microseconds."""
DIGITS = 10_000
"""A digit of numeric, in base 10,000."""
_NEGATIVE = 0x4000

Values: TypeAlias = "npt.NDArray[np.void] | npt.NDArray[np.generic]"


class Fixed(Struct, frozen=True):
    """Encodes values of one width; what it makes of a NULL does not matter."""

    encode: Callable[[pa.Array], Values]


class Variable(Struct, frozen=True):
    """Values of any length, sent as they are behind `prefix`."""

    prefix: bytes = b""


Encoder: TypeAlias = Fixed | Variable


def encoder_of(type_: pa.DataType, column_type: str) -> Encoder | None:
    """How values of an Arrow type are sent to a column; None: as CSV.

    `column_type` is pg_type.typname of the column, or of what its domain is over.
    """
    type_ = storage(type_)
    if pa.types.is_null(type_):
        return Variable()
    if is_nested(type_):
        return _JSON.get(column_type)
    for test, columns in _ENCODERS:
        if test(type_):
            return columns.get(column_type)
    return None


def binary_rows(
    batch: pa.RecordBatch, encoders: Sequence[Encoder], srids: Sequence[int | None]
) -> memoryview:
    """The rows of a batch, without signature and trailer. Raises LossError."""
    rows = _Rows(batch.num_rows, batch.num_columns)
    names = batch.schema.names
    for name, array, encoder, srid in zip(names, batch.columns, encoders, srids, strict=True):
        with naming(name):
            rows.add(plain(array, srid), encoder)
    return rows.joined()


class _Rows(Struct):
    """Rows in the making: pieces that are whole, and a record that more fields are added to."""

    count: int
    width: int
    pieces: list[pa.Array] = field(default_factory=list)
    record: list[Values] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.record.append(np.array(self.width, ">i2"))

    def add(self, array: pa.Array, encoder: Encoder) -> None:
        """The next column."""
        if isinstance(encoder, Variable):
            self._add_variable(array, encoder.prefix)
        elif array.null_count:
            self._add_nullable(array, encoder)
        else:
            values = encoder.encode(array)
            self.record += [_length(values), values]

    def _add_variable(self, array: pa.Array, prefix: bytes) -> None:
        texts = array.cast(pa.large_binary())
        lengths = _numbers(pc.fill_null(pc.binary_length(texts), _integer(-1, pa.int64())))
        if prefix:
            lengths = np.where(np.less(lengths, 0), lengths, np.add(lengths, len(prefix)))
        elif (width := int(lengths[0])) > 0 and np.all(np.equal(lengths, width)):
            values = _alike(texts, width)  # codes and flags: each join of strings costs its time
            self.record += [_length(values), values]
            return
        self.record.append(lengths.astype(">i4"))
        if prefix:
            texts = pc.binary_join_element_wise(_bytes(prefix), texts, _bytes(b""))
        self._close()
        self.pieces.append(pc.fill_null(texts, _bytes(b"")) if texts.null_count else texts)

    def _add_nullable(self, array: pa.Array, encoder: Fixed) -> None:
        self._close()
        values = encoder.encode(array)
        null = _bytes(b"\xff\xff\xff\xff")
        self.pieces.append(
            pc.if_else(array.is_valid(), _binary([_length(values), values], self.count), null)
        )

    def joined(self) -> memoryview:
        """All rows, one behind the other."""
        self._close()
        joined = pc.binary_join_element_wise(*self.pieces, _bytes(b""))
        _, offsets, data = joined.buffers()
        ends = np.frombuffer(offsets, np.int64)[joined.offset : joined.offset + self.count + 1]
        return memoryview(data)[int(ends[0]) : int(ends[-1])]

    def _close(self) -> None:
        if self.record:
            self.pieces.append(_binary(self.record, self.count))
            self.record = []


def _alike(texts: pa.Array, width: int) -> Values:
    """Strings that are all so long, none of them NULL, without a copy."""
    _, offsets, data = texts.buffers()
    begin = int(np.frombuffer(offsets, np.int64)[texts.offset])
    return np.frombuffer(data, f"V{width}", len(texts), begin)


def _bytes(value: bytes) -> pa.Scalar:
    # pa.scalar would import pandas where it is installed: half a second.
    ends = np.array([0, len(value)], np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(value)]
    return pa.Array.from_buffers(pa.large_binary(), 1, buffers)[0]


def _integer(value: int, type_: pa.DataType) -> pa.Scalar:
    made = np.array([value], str(type_))
    return pa.Array.from_buffers(type_, 1, [None, pa.py_buffer(made)])[0]


def _length(values: Values) -> Values:
    """What stands before each of `values`: the same for all."""
    return np.array(values.dtype.itemsize, ">i4")


def _binary(fields: Sequence[Values], count: int) -> pa.Array:
    """The fields of each row, one behind the other, as a binary array; some are alike in all."""
    record = np.dtype([(str(number), values.dtype) for number, values in enumerate(fields)])
    made = np.empty(count, record)
    for number, values in enumerate(fields):
        made[str(number)] = values
    size = record.itemsize
    offsets = np.arange(0, (len(made) + 1) * size, size, dtype=np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(made.view(np.uint8))]
    return pa.Array.from_buffers(pa.large_binary(), len(made), buffers)


# Encoders ---------------------------------------------------------------------------------------


def _numbers(array: pa.Array) -> npt.NDArray[np.generic]:
    """The values of an array of numbers, without a copy; anything stands in the place of NULLs.

    Not by `to_numpy`, which imports pandas.
    """
    name = str(array.type)
    dtype = np.dtype({"float": "f4", "double": "f8"}.get(name, name))
    end = array.offset + len(array)
    return np.frombuffer(array.buffers()[1], dtype, end)[array.offset :]


def _number(type_: pa.DataType, code: str) -> Fixed:
    def encode(array: pa.Array) -> Values:
        try:
            numbers = _numbers(array.cast(type_))
        except pa.ArrowInvalid as error:
            raise LossError(f"out of range for the column: {error}") from error
        return numbers.astype(code)

    return Fixed(encode)


def _booleans(array: pa.Array) -> Values:
    return _numbers(array.cast(pa.uint8())).astype(np.uint8)


def _days(array: pa.Array) -> Values:
    return _since_2000(array.cast(pa.int32()), DATE_DAYS, POSTGRES_EPOCH_DAYS, ">i4")


def _microseconds(array: pa.Array) -> Values:
    return _since_2000(array.cast(pa.int64()), TIMESTAMP_US, POSTGRES_EPOCH_US, ">i8")


def _since_2000(array: pa.Array, limits: tuple[int, int], epoch: int, code: str) -> Values:
    """Less `epoch`. The limits are looked at here: beyond them a difference may overflow."""
    ends = pc.min_max(array)
    first, last = ends["min"].as_py(), ends["max"].as_py()
    if first is not None and not (limits[0] <= first and last < limits[1]):
        raise LossError("a day out of the range of PostgreSQL's type, which begins in 4714 BC")
    made: Values = np.subtract(_numbers(array), epoch).astype(code)
    return made


def _times(array: pa.Array) -> Values:
    return _numbers(array.cast(pa.int64())).astype(">i8")


def _numeric_of_integers(array: pa.Array) -> Values:
    numbers = _numbers(pc.fill_null(array, _integer(0, array.type)))
    return _numeric(np.abs(numbers).astype(np.uint64), np.less(numbers, 0), 0)


def _numeric_of_decimals(array: pa.Array) -> Values:
    scale = array.type.scale
    array = array.cast(pa.decimal128(array.type.precision, scale))
    start, end = array.offset, array.offset + len(array)
    halves = np.frombuffer(array.buffers()[1], np.int64)[2 * start : 2 * end].reshape(-1, 2)
    low, high = halves[:, 0], halves[:, 1]
    if array.null_count:
        valid = _numbers(array.is_valid().cast(pa.int64()))
        low, high = np.multiply(low, valid), np.multiply(high, valid)
    negative = high < 0
    if np.array_equal(high, low >> 63):  # 64 bits are enough for all of them
        return _numeric(np.abs(low).astype(np.uint64), negative, scale)
    return _numeric(_limbs(low, high, negative), negative, scale)


def _limbs(
    low: npt.NDArray[np.int64], high: npt.NDArray[np.int64], negative: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint64]:
    """Magnitudes of 128 bits as four numbers of 32 bits, the highest first."""
    lows, highs = low.view(np.uint64), high.view(np.uint64)
    lows = np.where(negative, ~lows + np.uint64(1), lows)
    highs = np.where(negative, ~highs + (lows == 0), highs)
    shift, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    return np.stack([highs >> shift, highs & mask, lows >> shift, lows & mask])


def _divided(
    numbers: npt.NDArray[np.uint64], divisor: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Quotients and remainders of numbers of 64 bits, or of limbs."""
    if numbers.ndim == 1:
        quotients = numbers // numbers.dtype.type(divisor)
        return quotients, numbers - quotients * numbers.dtype.type(divisor)
    by = np.uint64(divisor)
    quotients, rest = np.empty_like(numbers), np.zeros_like(numbers[0])
    for number, limb in enumerate(numbers):
        dividends = (rest << np.uint64(32)) | limb
        quotients[number] = dividends // by
        rest = dividends - quotients[number] * by
    return quotients, rest


def _numeric(
    numbers: npt.NDArray[np.uint64], negative: npt.NDArray[np.bool_], scale: int
) -> Values:
    """Magnitudes of `scale` decimal places as numeric: as many digits for all as one needs.

    numeric_recv takes leading and trailing zeros off.
    """
    digits: list[npt.NDArray[np.uint64]] = []
    if numbers.ndim == 1 and len(numbers) and numbers.max() < 1 << 32:
        numbers = numbers.astype(np.uint32)
    if odd := scale % 4:
        numbers, digit = _divided(numbers, 10**odd)
        digits.append(digit * digit.dtype.type(10 ** (4 - odd)))
    behind = -(-scale // 4)
    while len(digits) < behind or numbers.any():
        numbers, digit = _divided(numbers, DIGITS)
        digits.append(digit)
    record = np.dtype(
        [("head", ">i2", 4), ("digits", ">i2", (len(digits),))] if digits else [("head", ">i2", 4)]
    )
    made = np.empty(len(negative), record)
    made["head"][:, 0] = len(digits)
    made["head"][:, 1] = len(digits) - behind - 1
    made["head"][:, 2] = np.where(negative, _NEGATIVE, 0)
    made["head"][:, 3] = scale
    for place, digit in enumerate(reversed(digits)):
        made["digits"][:, place] = digit
    return made


_INTEGERS: dict[str, Encoder] = {
    "int2": _number(pa.int16(), ">i2"),
    "int4": _number(pa.int32(), ">i4"),
    "int8": _number(pa.int64(), ">i8"),
    "numeric": Fixed(_numeric_of_integers),
}
_FLOAT8 = _number(pa.float64(), ">f8")
_TEXTS: dict[str, Encoder] = dict.fromkeys(("text", "varchar", "bpchar", "json"), Variable())
_JSON: dict[str, Encoder] = {"json": Variable(), "jsonb": Variable(b"\x01"), "text": Variable()}


def _is_text(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _is_decimal(type_: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(type_)) and type_.precision <= 38 and type_.scale >= 0


_ENCODERS: tuple[tuple[Callable[[pa.DataType], bool], dict[str, Encoder]], ...] = (
    (pa.types.is_integer, _INTEGERS),
    (pa.types.is_float64, {"float8": _FLOAT8}),
    (pa.types.is_floating, {"float4": _number(pa.float32(), ">f4"), "float8": _FLOAT8}),
    (_is_decimal, {"numeric": Fixed(_numeric_of_decimals)}),
    (pa.types.is_boolean, {"bool": Fixed(_booleans)}),
    (pa.types.is_date, {"date": Fixed(_days)}),
    (
        lambda type_: pa.types.is_timestamp(type_) and not type_.tz,
        {"timestamp": Fixed(_microseconds)},
    ),
    (pa.types.is_timestamp, {"timestamptz": Fixed(_microseconds)}),
    (pa.types.is_time, {"time": Fixed(_times)}),
    (_is_text, {**_TEXTS, "jsonb": Variable(b"\x01")}),
    (is_uuid, {"uuid": Variable()}),
    (
        lambda type_: pa.types.is_fixed_size_binary(type_) and type_.byte_width == 16,
        {"uuid": Variable(), "bytea": Variable()},
    ),
    (
        is_bytes,
        {"bytea": Variable(), "geometry": Variable(), "geography": Variable()},
    ),
)
