"""JSON Lines, fixed width and binary COPY files as bytes; no server."""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path  # noqa: TC003  # Hypothesis reads the annotations
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgfan.errors import UsageError
from pgfan.load.binary_copy import MAGIC, SIGNATURE, TRAILER, BinaryCopyFile
from pgfan.load.copy_options import CopyOptions
from pgfan.load.delimited import Reading
from pgfan.load.discovery import open_source
from pgfan.load.infer import Column
from pgfan.load.sample import columns_of, looks_like_header, values_of
from pgfan.load.sources import FileError, Identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.load.sources import Source

TEXT = CopyOptions("text")


def open_one(path: Path, *, kind: str | None = None, widths: tuple[int, ...] = ()) -> Source:
    reading = Reading(CopyOptions(), looks_like_header, piece_bytes=40, kind=kind, widths=widths)
    (source,) = open_source(Identity.of(str(path)), reading, given_format=False)
    return source


def rows_of(source: Source, cuts: Sequence[int] = ()) -> list[list[str | None]]:
    places = [0, *cuts, source.pieces]
    data = b"".join(block for lo, hi in pairwise(places) for block in source.stream(lo, hi))
    return [values_of(TEXT, line + b"\n") for line in data.split(b"\n")[:-1]]


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([1, None, "x"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), min_size=1, max_size=6),
    data=st.data(),
)
def test_any_json_lines_keep_their_values_wherever_they_are_cut(
    tmp_path: Path, records: list[dict[str, object]], data: st.DataObject
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    source = open_one(path)
    cuts = sorted(data.draw(st.sets(st.integers(0, source.pieces), max_size=3)))

    def written(value: object) -> str | None:
        return value if isinstance(value, str | None) else json.dumps(value)

    names = list(records[0])
    assert source.columns == tuple(names)
    expected = [[written(record[name]) for name in names] for record in records]
    assert rows_of(source, cuts) == expected


def test_numbers_of_json_keep_their_digits_and_missing_keys_are_null(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": 0.10, "b": 12345678901234567890123}\n\n{"b": 1e400}\n')
    assert rows_of(open_one(path)) == [["0.10", "12345678901234567890123"], [None, "1e400"]]


def test_json_goes_to_json_columns_whole_and_arrays_to_arrays(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": "x", "b": [1, null, "q\\"\\\\", [true]], "c": {"k": "\\n"}}\n')
    source = open_one(path)
    typed = source.for_columns(["jsonb", "_text", "text"])  # type: ignore[attr-defined]
    assert rows_of(typed) == [['"x"', '{"1",NULL,"q\\"\\\\",{"true"}}', '{"k": "\\n"}']]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1}\n\n[1]\n', r"data.jsonl:3: "),
        ('{"a": 1}\n{"a": \n', r"data.jsonl:2: "),
        ('{"a": 1}\n' * 1000 + '{"b": 1}\n', r"data.jsonl:1001: \'b\' is in none"),
    ],
)
def test_a_line_that_is_no_record_is_refused_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(text)
    with pytest.raises(FileError, match=said):
        rows_of(open_one(path))


def test_fixed_width_counts_characters_and_blanks_are_null(tmp_path: Path) -> None:
    path = tmp_path / "data.txt"
    path.write_text("  1 né x\n 22    y \n3\n", encoding="utf-8")
    source = open_one(path, kind="fixed", widths=(3, 3, 2))
    assert rows_of(source) == [["1", "né", "x"], ["22", None, "y"], ["3", None, None]]
    path.write_text("123456789\n")
    with pytest.raises(FileError, match=r"data\.txt:1: the line is longer than the 8 characters"):
        rows_of(open_one(path, kind="fixed", widths=(3, 3, 2)))
    with pytest.raises(UsageError, match="needs to know the widths"):
        open_one(path, kind="fixed")


def binary(path: Path, data: bytes) -> bytes:
    path.write_bytes(data)
    return b"".join(BinaryCopyFile(Identity.of(str(path))).stream(0, 1))


def test_a_binary_file_gives_its_rows_and_skips_an_extension(tmp_path: Path) -> None:
    row = b"\0\1\0\0\0\2\xff\xff"
    assert binary(tmp_path / "a", SIGNATURE + row + TRAILER) == row
    extended = MAGIC + struct.pack(">II", 0, 3) + b"abc"
    assert binary(tmp_path / "a", extended + row + TRAILER) == row
    assert binary(tmp_path / "a", SIGNATURE + TRAILER) == b""


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "does not begin"),
        (b"PGCOPY\n\xff\n\0" + bytes(9), "does not begin"),
        (MAGIC + struct.pack(">II", 1 << 16, 0) + TRAILER, "has OIDs"),
        (MAGIC + struct.pack(">II", 1 << 20, 0) + TRAILER, "unknown flags"),
        (SIGNATURE + b"\0\1\0\0\0\2xx", "has no trailer"),
        (SIGNATURE, "has no trailer"),
    ],
)
def test_a_binary_file_that_is_not_whole_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    with pytest.raises(FileError, match=said):
        binary(tmp_path / "a", data)


def test_types_come_from_records_all_over_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,v\n" + "1,a\n" * 100 + "70000,\n")
    (tmp_path / "b.csv").write_text('v,n\n"",5\n')
    sources = [open_one(tmp_path / name) for name in ("a.csv", "b.csv")]
    assert columns_of(sources) == (Column("n", "integer"), Column("v", "text"))
    (tmp_path / "c.csv").write_text("n,w\n1,1\n")
    with pytest.raises(UsageError, match=r"a\.csv has the columns n, v; .*c\.csv has n, w"):
        columns_of([*sources, open_one(tmp_path / "c.csv")])
