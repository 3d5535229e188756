"""Parquet and Arrow through a real COPY: the rows are those that Arrow itself reads."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections import Counter
from decimal import Decimal
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pgfan.load import columnar
from pgfan.load.arrow_values import json_text
from pgfan.load.binary_copy import SIGNATURE, TRAILER
from pgfan.load.columnar import ArrowBatches, ColumnarSource, ParquetBatches
from pgfan.load.infer import create_table
from pgfan.load.sources import FileError, Identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DECIMAL = pa.decimal128
TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=6)
INSTANTS = st.datetimes()
COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "i8": (pa.int8(), st.integers(-128, 127)),
    "i16": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "i32": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "i64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "u8": (pa.uint8(), st.integers(0, 255)),
    "u32": (pa.uint32(), st.integers(0, 2**32 - 1)),
    "u64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "f32": (pa.float32(), st.floats(width=32)),
    "f64": (pa.float64(), st.floats()),
    "d9": (DECIMAL(9, 2), st.decimals(-9999999, 9999999, places=2)),
    "d18": (DECIMAL(18, 5), st.decimals(-(10**12), 10**12, places=5)),
    "d38": (
        DECIMAL(38, 7),
        st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}E-7")),
    ),
    "d0": (DECIMAL(38, 0), st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal)),
    "b": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.dates()),
    "day64": (pa.date64(), st.dates()),
    "at": (pa.timestamp("us"), INSTANTS),
    "at_s": (pa.timestamp("s"), INSTANTS.map(lambda at: at.replace(microsecond=0))),
    "at_z": (
        pa.timestamp("us", "Europe/Madrid"),
        INSTANTS.filter(lambda at: 1 < at.year < 9999).map(lambda at: at.replace(tzinfo=dt.UTC)),
    ),
    "clock": (pa.time64("us"), st.times()),
    "clock_ms": (pa.time32("s"), st.times().map(lambda at: at.replace(microsecond=0))),
    "s": (pa.string(), TEXTS),
    "ls": (pa.large_string(), TEXTS),
    "raw": (pa.binary(), st.binary(max_size=6)),
    "fixed": (pa.binary(3), st.binary(min_size=3, max_size=3)),
    "id": (pa.uuid(), st.uuids()),
    "word": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["", "a", "é,\n"])),
    "list": (pa.list_(pa.int64()), st.lists(st.none() | st.integers(-9, 9), max_size=3)),
    "object": (
        pa.struct({"a": pa.string(), "b": pa.list_(pa.float64())}),
        st.fixed_dictionaries({"a": st.none() | TEXTS, "b": st.lists(st.just(0.5), max_size=2)}),
    ),
    "nothing": (pa.null(), st.none()),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """All types beside each other, with NULLs in some of the columns."""
    rows = draw(st.integers(1, 4))
    arrays = []
    for type_, values in COLUMNS.values():
        values_or_nulls = draw(st.sampled_from([values, st.none() | values]))
        found = draw(st.lists(values_or_nulls, min_size=rows, max_size=rows))
        arrays.append(pa.array(found, type_))
    return pa.table(arrays, list(COLUMNS))


def write(table: pa.Table, folder: Path, format_: str) -> ColumnarSource:
    path = folder / f"data.{format_}"
    if format_ == "parquet":
        pq.write_table(table, path, row_group_size=2)
        return ColumnarSource(Identity.of(str(path)), ParquetBatches(str(path)))
    with pa.OSFile(str(path), "wb") as file:
        make = pa.ipc.new_file if format_ == "arrow" else pa.ipc.new_stream
        with make(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    return ColumnarSource(Identity.of(str(path)), ArrowBatches(str(path)))


def types_of(connection: psycopg.Connection, table: str) -> list[str]:
    query = (
        "SELECT typname FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid "
        "WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum"
    )
    return [name for (name,) in connection.execute(query, [table]).fetchall()]


def copy(connection: psycopg.Connection, source: ColumnarSource, ranges: Sequence[int]) -> None:
    """Each range in a COPY of its own; `ranges` are the places where one ends."""
    options = source.copy_options
    names = ", ".join(f'"{name}"' for name in source.columns)
    lo = 0
    for hi in ranges:
        with connection.cursor().copy(
            f"COPY loaded ({names}) FROM STDIN {options.sql()}".encode()
        ) as stream:
            if options.format == "binary":
                stream.write(SIGNATURE)
            for block in source.stream(lo, hi):
                stream.write(block)
            if options.format == "binary":
                stream.write(TRAILER)
        lo = hi


def rows_of(values: Sequence[Sequence[Any]]) -> Counter[str]:
    return Counter(repr(list(row)) for row in values)


def python_value(name: str, found: object) -> object:
    if isinstance(found, dt.datetime) and found.tzinfo is not None:
        return found.astimezone(dt.UTC)
    return Decimal(found) if name == "u64" and isinstance(found, int) else found


def expected(table: pa.Table) -> Counter[str]:
    return rows_of([[python_value(*item) for item in row.items()] for row in table.to_pylist()])


def differing(rows: Sequence[Sequence[Any]], table: pa.Table) -> list[tuple[str, Any, Any]]:
    """The columns that are not what they should be: for messages that can be read."""
    pairs = []
    for number, name in enumerate(table.column_names):
        found = sorted(repr(row[number]) for row in rows)
        wanted = sorted(repr(python_value(name, one)) for one in table[name].to_pylist())
        if found != wanted:
            pairs.append((name, found, wanted))
    return pairs


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@settings(
    max_examples=8,
    phases=[Phase.generate],  # a shrunk example would take minutes: `differing` tells the column
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=tables(), format_=st.sampled_from(["parquet", "arrow", "arrows"]))
def test_any_rows_come_out_as_arrow_reads_them(
    connection: psycopg.Connection, tmp_path: Path, table: pa.Table, format_: str
) -> None:
    source = write(table, tmp_path, format_)
    connection.execute("DROP TABLE IF EXISTS loaded")
    connection.execute(create_table(["loaded"], source.table_columns).encode())
    types = types_of(connection, "loaded")
    for bound in (source.for_columns(types), source.for_columns(types, text=True), source):
        connection.execute("TRUNCATE loaded")
        copy(connection, bound, range(1, bound.pieces + 1))
        rows = connection.execute("SELECT * FROM loaded", binary=True).fetchall()
        assert differing(rows, table) == [], bound.copy_options
        assert rows_of(rows) == expected(table)
    assert source.for_columns(types).copy_options.format == "binary"


def parquet(folder: Path, table: pa.Table, **options: object) -> ColumnarSource:
    pq.write_table(table, folder / "data.parquet", **options)
    path = str(folder / "data.parquet")
    return ColumnarSource(Identity.of(path), ParquetBatches(path))


def text_of(source: ColumnarSource) -> bytes:
    return b"".join(source.stream(0, source.pieces))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(0, 40),
    group_rows=st.integers(1, 25),
    piece_rows=st.integers(1, 9),
    data=st.data(),
)
def test_row_groups_are_cut_into_ranges_that_hold_each_row_once(
    rows: int, group_rows: int, piece_rows: int, data: st.DataObject
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(columnar, "PIECE_ROWS", piece_rows),
        patch.object(columnar, "PIECES_PER_GROUP_MAX", 4),
        patch.object(columnar, "BATCH_ROWS_MAX", 3),
    ):
        table = pa.table({"a": pa.array(range(rows), pa.int32())})
        source = parquet(Path(folder), table, row_group_size=group_rows)
        cuts = data.draw(st.sets(st.integers(0, source.pieces)))
        ranges = list(pairwise([0, *sorted(cuts), source.pieces]))
        found = [b"".join(source.stream(lo, hi)).split() for lo, hi in ranges]
        counted = [source.rows(lo, hi) for lo, hi in ranges]
    assert list(chain(*found)) == [b"%d" % number for number in range(rows)]
    assert [len(lines) for lines in found] == counted
    assert source.pieces >= min(4, -(-min(rows, group_rows) // piece_rows))


def test_days_before_year_1_are_written_as_the_server_reads_them(tmp_path: Path) -> None:
    days = pa.array([-719_162, -719_163, None, 2_932_897], pa.date32())
    us = pa.array([-62_135_596_800_000_001, None, 0, 253_402_300_800_000_000], pa.timestamp("us"))
    source = parquet(
        tmp_path, pa.table({"day": days, "at": us, "at_z": us.cast(pa.timestamp("us", "UTC"))})
    )
    assert text_of(source).decode().replace('"', "").splitlines() == [
        "0001-01-01,0001-12-31 23:59:59.999999 BC,0001-12-31 23:59:59.999999Z BC",
        "0001-12-31 BC,,",
        ",1970-01-01 00:00:00.000000,1970-01-01 00:00:00.000000Z",
        "10000-01-01,10000-01-01 00:00:00.000000,10000-01-01 00:00:00.000000Z",
    ]


@pytest.mark.parametrize(
    ("array", "type_", "said"),
    [
        (pa.array([0, 1], pa.timestamp("ns")), "timestamp", "1970-01-01 00:00:00.000000001"),
        (pa.array([1], pa.time64("ns")), "time", "00:00:00.000000001"),
        (pa.array([2**40], pa.int64()), "int4", "1099511627776"),
        (pa.array([-(2**31)], pa.date32()), "date", "out of the range"),
        (pa.array([-(2**63)], pa.timestamp("us")), "timestamp", "out of the range"),
    ],
)
def test_a_value_that_postgresql_cannot_keep_is_refused_with_its_column(
    tmp_path: Path, array: pa.Array, type_: str, said: str
) -> None:
    with pa.OSFile(str(tmp_path / "data.arrow"), "wb") as file:
        table = pa.table({"c": array})
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    path = str(tmp_path / "data.arrow")
    source = ColumnarSource(Identity.of(path), ArrowBatches(path)).for_columns([type_])
    with pytest.raises(FileError, match=f"rows 1 to {len(array)}: column c: .*{said}"):
        text_of(source)


def test_nanoseconds_without_a_fraction_of_a_microsecond_are_kept(tmp_path: Path) -> None:
    source = parquet(tmp_path, pa.table({"at": pa.array([5000], pa.timestamp("ns"))}))
    assert text_of(source) == b"1970-01-01 00:00:00.000005\n"


def test_int96_reaches_beyond_the_nanoseconds_of_64_bits(tmp_path: Path) -> None:
    at = pa.array([253_402_214_400_000_000], pa.timestamp("us"))
    source = parquet(tmp_path, pa.table({"at": at}), use_deprecated_int96_timestamps=True)
    assert text_of(source) == b"9999-12-31 00:00:00.000000\n"


def test_what_no_receive_function_takes_goes_as_csv(tmp_path: Path) -> None:
    source = parquet(tmp_path, pa.table({"a": pa.array([1.5]), "b": pa.array(["x"])}))
    assert source.for_columns(["float8", "text"]).copy_options.format == "binary"
    for types in (["numeric", "text"], ["float8", "int4"], ["float4", "citext"]):
        assert source.for_columns(types).copy_options.format == "csv"


def test_lists_go_to_array_columns_as_arrays(
    connection: psycopg.Connection, tmp_path: Path
) -> None:
    lists = [[['a\n"\\', None], ["", "NULL"]], None, []]
    days = [[dt.date(2024, 1, 1), None], [], None]
    table = pa.table({"a": pa.array(lists), "b": pa.array(days), "c": pa.array([[1.5], [], None])})
    connection.execute("CREATE TABLE loaded (a text[], b date[], c jsonb)")
    source = parquet(tmp_path, table).for_columns(types_of(connection, "loaded"))
    copy(connection, source, [source.pieces])
    rows = connection.execute("SELECT * FROM loaded").fetchall()
    assert rows_of(rows) == rows_of(list(zip(lists, days, [[1.5], [], None], strict=True)))


def test_durations_are_intervals(connection: psycopg.Connection, tmp_path: Path) -> None:
    spans = [dt.timedelta(days=400, microseconds=1), None, -dt.timedelta(hours=1)]
    source = parquet(tmp_path, pa.table({"a": pa.array(spans, pa.duration("us"))}))
    connection.execute("CREATE TABLE loaded (a interval)")
    copy(connection, source, [source.pieces])
    assert connection.execute("SELECT * FROM loaded").fetchall() == [(span,) for span in spans]


def test_geometry_says_its_reference_system(tmp_path: Path) -> None:
    point = bytes.fromhex("0101000000000000000000f03f0000000000000040")
    big = bytes.fromhex("00000000013ff00000000000004000000000000000")
    table = pa.table({"g": pa.array([point, None, big])})
    geo = b'{"columns": {"g": {"encoding": "WKB", "crs": "EPSG:25830"}}}'
    source = parquet(tmp_path, table.replace_schema_metadata({b"geo": geo}))
    assert source.table_columns[0].type == "geometry"
    assert text_of(source).decode().splitlines() == [
        '"0101000020e6640000000000000000f03f0000000000000040"',
        "",
        '"0020000001000064e63ff00000000000004000000000000000"',
    ]


def test_the_place_of_a_line_is_its_row_in_the_file(tmp_path: Path) -> None:
    table = pa.table({"a": ["1", "2\n2", "3", "4\n\n4", "5"]})
    source = parquet(tmp_path, table, row_group_size=2)
    assert source.place(0, 3).endswith("row 2")
    assert source.place(1, 3).endswith("row 4")
    assert source.for_columns(["text"]).place(2, 1).endswith("row 5")


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else PAR1")
    with pytest.raises(FileError, match=r"a\.parquet"):
        ParquetBatches(str(tmp_path / "a.parquet"))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    source = parquet(tmp_path, pa.table({"a": [1]}))
    parquet(tmp_path, pa.table({"a": [2]}))
    with pytest.raises(FileError, match="changed"):
        text_of(source)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=4),
        lambda inner: st.fixed_dictionaries({"a": inner}),
        max_leaves=3,
    )
)
@settings(max_examples=30)
def test_nested_values_are_json(value: object) -> None:
    array = pa.array([[{"v": value}]])
    assert json.loads(json_text(array[0].as_py(), array.type)) == [{"v": value}]


def test_json_of_maps_and_of_what_json_lacks() -> None:
    named = pa.array([[("k", 1.5)]], pa.map_(pa.string(), pa.float64()))
    pairs = pa.array([[(1, float("inf"))]], pa.map_(pa.int8(), pa.float64()))
    odd = pa.array([[b"\xff", None]], pa.list_(pa.binary()))
    exact = pa.array([[Decimal("1.50")]], pa.list_(pa.decimal128(9, 2)))
    written = [json_text(array[0].as_py(), array.type) for array in (named, pairs, odd, exact)]
    assert written == ['{"k": 1.5}', '[[1, "Infinity"]]', '["\\\\xff", null]', "[1.50]"]
