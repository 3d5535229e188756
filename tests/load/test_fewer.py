"""Files without some of their columns: what is kept is kept byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from load_files import source_of, write_csv, write_text

from pgfan.errors import UsageError
from pgfan.load.copy_options import CopyOptions
from pgfan.load.fewer import without

if TYPE_CHECKING:
    from pathlib import Path

    from pgfan.load.sources import Source

HOSTILE = st.text(alphabet="ab\"'\\,;\t\n\r é.", max_size=8)
OTHER_ESCAPE = CopyOptions(escape="\\")
TEXT = CopyOptions(format="text")
DIALECTS = [CopyOptions(), CopyOptions(delimiter=";", quote="'"), OTHER_ESCAPE, TEXT]


def fewer(folder: Path, raw: bytes, count: int, left_out: set[int], options: CopyOptions) -> Source:
    (folder / "data.csv").write_bytes(raw)
    source = source_of(folder / "data.csv", options, marker_ends=False)
    return without(source, [f"c{at}" for at in range(count)], frozenset(left_out))


def text_of(source: Source) -> bytes:
    return b"".join(block for at in range(source.pieces) for block in source.stream(at, at + 1))


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.lists(HOSTILE, min_size=4, max_size=4), min_size=1, max_size=8),
    left_out=st.sets(st.integers(0, 3), min_size=1, max_size=2),
    options=st.sampled_from(
        [CopyOptions(), CopyOptions(delimiter=";", quote="'"), OTHER_ESCAPE, TEXT]
    ),
    terminator=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_is_left_is_what_a_file_of_fewer_columns_would_hold(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    left_out: set[int],
    options: CopyOptions,
    terminator: str,
) -> None:
    def written(value: str) -> bytes:
        if options.format == "csv":
            return write_csv([[value]], options, "")
        return write_text([[value]], "")

    fields = [[written(value) for value in row] for row in rows]
    kept = [[field for at, field in enumerate(row) if at not in left_out] for row in fields]
    delimiter = options.delimiter_character.encode()
    raw, wanted = (
        b"".join(delimiter.join(row) + terminator.encode() for row in some)
        for some in (fields, kept)
    )
    assert text_of(fewer(tmp_path_factory.getbasetemp(), raw, 4, left_out, options)) == wanted


@pytest.mark.parametrize(
    ("raw", "left_out", "options", "wanted"),
    [
        (b"1,2\n1,2,3\n1,2,3,4\n", {1}, CopyOptions(), b"1\n1,3\n1,2,3,4,,\n"),
        (b"1,2\n", {0, 2}, CopyOptions(), b"1,2,\n"),
        (b"\n", {0}, CopyOptions(), b"\n"),
        (b'1,\\.,3\n1,"\\.",3\n', {0, 2}, CopyOptions(), b'"\\."\n"\\."\n'),
        (b"1\t\\.\t3\n", {0, 2}, TEXT, b".\n"),
        (b"1\t2\\\t2\t\\N\n", {0}, TEXT, b"2\\\t2\t\\N\n"),
        (b'1,"2\n2",3\r\n', {1}, CopyOptions(), b"1,3\r\n"),
        (b'1,a"b,c"d,3\n', {0}, CopyOptions(), b'a"b,c"d,3\n'),
    ],
    ids=[
        "COPY still refuses what is short or long",
        "short for one column",
        "empty",
        "no end of the data",
        "nor in text",
        "escaped delimiter",
        "newline in what is left out",
        "quotes within a field",
    ],
)
def test_records_that_are_odd(
    tmp_path: Path, raw: bytes, left_out: set[int], options: CopyOptions, wanted: bytes
) -> None:
    assert text_of(fewer(tmp_path, raw, 3, left_out, options)) == wanted


def test_a_line_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    source = fewer(tmp_path, b'1,"x\n\nx",a\n2,y,"b\nb"\n3,z,c\n', 3, {1}, CopyOptions())
    assert [source.place(0, line) for line in (1, 2, 3, 4)] == [
        f"{source.name}:{line}" for line in (1, 4, 5, 6)
    ]


def test_nothing_is_left_out_of_what_cannot_be_read_or_would_be_empty(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="all of its columns"):
        fewer(tmp_path, b"1\n", 1, {0}, CopyOptions())
    with pytest.raises(UsageError, match="half of a character"):
        fewer(tmp_path, b"1|2\n", 2, {0}, CopyOptions(encoding="SJIS", delimiter="|"))
