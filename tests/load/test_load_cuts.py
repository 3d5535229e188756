"""Cuts of files: whatever the pieces, the ranges' records are the file's."""

from __future__ import annotations

import bz2
import glob
import gzip
import lzma
import os
import sys
import tempfile
import tracemalloc
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from load_files import reference_records, source_of, write_csv, write_text

from pgfan.errors import UsageError
from pgfan.load import compressed, records
from pgfan.load.copy_options import CopyOptions
from pgfan.load.delimited import HEADER_BYTES_MAX
from pgfan.load.discovery import find_files
from pgfan.load.sources import FileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

VALUES = st.text(alphabet="ab\"'\\,;\t\n\r é.", max_size=8)
ROWS = st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=12)
DIALECTS = st.sampled_from(
    [
        CopyOptions(),
        CopyOptions(delimiter=";", quote="'"),
        CopyOptions(escape="\\"),
        CopyOptions(delimiter="\t", quote="'", escape='"'),
        CopyOptions(format="text"),
    ]
)
TERMINATORS = st.sampled_from(["\n", "\r\n", "\r"])


NUMBERS = b"".join(b"%d,%x\n" % (number, number * 7919) for number in range(500))


def _pack_zip(data: bytes) -> bytes:
    with tempfile.SpooledTemporaryFile() as kept:
        with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("one.csv", data)
        kept.seek(0)
        return kept.read()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "data.gz": gzip.compress,
    "data.bz2": bz2.compress,
    "data.xz": lzma.compress,
    "data.zip": _pack_zip,
}


@settings(max_examples=250, deadline=None)
@given(
    rows=ROWS,
    options=DIALECTS,
    terminator=TERMINATORS,
    piece_bytes=st.integers(1, 40),
    packer=st.sampled_from(sorted(PACKERS)),
    unfinished=st.booleans(),
    numpy_from=st.sampled_from([0, records.NUMPY_BYTES_MIN]),
    data=st.data(),
)
def test_ranges_hold_the_records_of_the_file(
    rows: list[list[str]],
    options: CopyOptions,
    terminator: str,
    piece_bytes: int,
    packer: str,
    unfinished: bool,
    numpy_from: int,
    data: st.DataObject,
) -> None:
    if options.format == "csv":
        raw = write_csv([["x", "y"], *rows], options, terminator)
    else:
        raw = write_text([["x", "y"], *rows], terminator)
    if unfinished and rows:
        raw = raw.removesuffix(terminator.encode())
    expected = reference_records(raw, options, terminator.encode())
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(records, "NUMPY_BYTES_MIN", numpy_from),
    ):
        path = Path(folder) / packer
        path.write_bytes(PACKERS[packer](raw))
        source = source_of(path, options, piece_bytes=piece_bytes, marker_ends=False)
        cuts = data.draw(st.sets(st.integers(1, source.pieces - 1))) if source.pieces > 1 else set()
        bounds = [0, *sorted(cuts), source.pieces]
        ranges = list(pairwise(bounds))
        order = data.draw(st.permutations(ranges)) if packer == "plain" else ranges
        found = {lo: b"".join(source.stream(lo, hi)) for lo, hi in order}
    assert b"".join(found[lo] for lo, _ in ranges) == b"".join(expected)
    ends = {0}
    for record in expected:
        ends.add(max(ends) + len(record))
    at = 0
    for lo, _ in ranges:
        assert at in ends, (lo, found)
        at += len(found[lo])


def write(folder: Path, data: bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_value_longer_than_many_pieces_is_never_cut(tmp_path: Path) -> None:
    raw = b'1,"' + b"a\n" * 500 + b'"\n2,b\n'
    source = source_of(write(tmp_path, raw), piece_bytes=7)
    parts = [b"".join(source.stream(at, at + 1)) for at in range(source.pieces)]
    assert [part for part in parts if part] == [raw[:-4], b"2,b\n"]


def test_a_first_record_of_megabytes_is_no_header(tmp_path: Path) -> None:
    raw = b'1,"' + b"x" * HEADER_BYTES_MAX + b'"\n2,b\n'
    path = write(tmp_path, raw)
    source = source_of(path)
    assert source.columns is None
    assert b"".join(source.stream(0, source.pieces)) == raw
    with pytest.raises(FileError, match=":1: the header has more than a megabyte"):
        source_of(path, CopyOptions(header=True))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_the_header_is_taken_off(tmp_path: Path, mark: bytes) -> None:
    source = source_of(write(tmp_path, mark + b'id,"a ""b""\nc"\n1,2\n'), CopyOptions(header=True))
    assert source.columns == ("id", 'a "b"\nc')
    assert b"".join(source.stream(0, source.pieces)) == b"1,2\n"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'1,"a\n2,b\n', "unterminated CSV quoted field"),
        (b"1\0,\0a\0\n\0", "UTF-16"),
        (b"\x001\0,\0a\0\n", "UTF-16"),
        (NUMBERS + NUMBERS.replace(b"\n", b"\r\n"), "lines end in LF at first and in CR LF later"),
        (b"1,a\n\\.\n2,b\n", "data behind it"),
        (b"\xff\xfe1\0\n\0", "UTF-16"),
    ],
)
@pytest.mark.parametrize("pack", ["plain", "data.gz"])
def test_refused_with_a_reason(tmp_path: Path, raw: bytes, message: str, pack: str) -> None:
    with pytest.raises(FileError, match=message):
        _all(write(tmp_path, PACKERS[pack](raw), pack))


def test_a_quote_that_is_never_closed_is_told_by_its_line(tmp_path: Path) -> None:
    raw = b'1,"a\n1"\n' * 20 + b'2,b\n3,"c\n4,d\n' + b"5,e\n" * 9
    with pytest.raises(FileError, match=r"data\.csv:42: unterminated CSV quoted field"):
        _all(write(tmp_path, raw))


def _all(path: Path, options: CopyOptions | None = None) -> bytes:
    source = source_of(path, options)
    return b"".join(b"".join(source.stream(at, at + 1)) for at in range(source.pieces))


@pytest.mark.parametrize(
    ("raw", "options", "left"),
    [
        (b"1,a\n\\.\n", CopyOptions(), b"1,a\n"),
        (b"1\ta\n\\.\n\n", CopyOptions(format="text"), b"1\ta\n"),
        (b'1,"\n\\.\n"\n', CopyOptions(), b'1,"\n\\.\n"\n'),
        (b"1\ta\\\n\\\\.\n", CopyOptions(format="text"), b"1\ta\\\n\\\\.\n"),
    ],
    ids=["csv", "text", "in quotes", "escaped"],
)
@pytest.mark.parametrize("pack", ["plain", "data.gz"])
def test_the_end_of_data_marker_goes_only_where_it_is_one(
    tmp_path: Path, raw: bytes, options: CopyOptions, left: bytes, pack: str
) -> None:
    assert _all(write(tmp_path, PACKERS[pack](raw), pack), options) == left


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("data.gz", lambda raw: raw[:-4], "truncated"),
        ("data.gz", lambda raw: raw + b"garbage", "not a sound gzip stream"),
        ("data.gz", lambda raw: raw[:30] + b"\0\0" + raw[32:], "not a sound gzip|trunc|unterm"),
        ("data.xz", lambda raw: raw[:-9], "truncated"),
        ("data.gz", lambda _: b"1,2\n", "does not begin like gzip"),
    ],
)
def test_a_damaged_archive_is_refused(
    tmp_path: Path, name: str, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = write(tmp_path, damage(PACKERS[name](NUMBERS)), name)
    with pytest.raises(FileError, match=message):
        _all(path)


def test_an_archive_that_swells_a_thousandfold_is_never_held_whole(tmp_path: Path) -> None:
    block = b"1,a\n" * (1 << 18)
    path = write(tmp_path, gzip.compress(block) * 150, "data.gz")
    assert path.stat().st_size < len(block)
    source = source_of(path)
    tracemalloc.start()
    try:
        size = sum(map(len, source.stream(0, source.pieces)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 150 * len(block)
    assert peak < 100 << 20


def test_archives_behind_one_another_and_padding_are_read(tmp_path: Path) -> None:
    packed = gzip.compress(b"1,a\n") + gzip.compress(b"2,b\n") + b"\0" * 100
    assert _all(write(tmp_path, packed, "data.gz")) == b"1,a\n2,b\n"


def test_a_file_that_grows_is_read_to_the_size_it_had(tmp_path: Path) -> None:
    path = write(tmp_path, b"1,a\n2,b\n")
    source = source_of(path)
    with path.open("ab") as file:
        file.write(b"3,c\n")
    assert b"".join(source.stream(0, source.pieces)) == b"1,a\n2,b\n"
    source.identity.refuse_if_changed()


@pytest.mark.parametrize("raw", [b"1,a\n", b"1,a\n2,c\n"], ids=["shorter", "rewritten"])
def test_a_file_that_changes_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = write(tmp_path, b"1,a\n2,b\n")
    source = source_of(path)
    path.write_bytes(raw)
    os.utime(path, ns=(1, 1))
    with pytest.raises(FileError, match=r"shorter|changed"):
        list(source.stream(0, source.pieces))


def test_lines_are_told_by_the_file(tmp_path: Path) -> None:
    raw = b"h1,h2\n" + b'1,"a\nb"\n' * 10
    source = source_of(write(tmp_path, raw), CopyOptions(header=True), piece_bytes=16)
    assert source.place(0, 1).endswith("data.csv:2")
    assert source.place(1, 1).endswith("data.csv:8")


@pytest.mark.parametrize(
    ("name", "library"), [("data.zst", "zstandard"), ("data.lz4", "lz4.frame")]
)
def test_formats_of_libraries_that_are_extras(tmp_path: Path, name: str, library: str) -> None:
    module = pytest.importorskip(library, reason="pip install 'pgfan[files]' brings it")
    raw = b"".join(b"%d,%x\n" % (number, number * 7919) for number in range(5000))
    packed = (module.ZstdCompressor() if name == "data.zst" else module).compress(raw)
    assert _all(write(tmp_path, packed, name)) == raw
    with pytest.raises(FileError, match="truncated"):
        _all(write(tmp_path, packed[:-20], name))


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    path = write(tmp_path, b"\x28\xb5\x2f\xfd" + b"0" * 40, "data.zst")
    with pytest.raises(UsageError, match="needs the package zstandard"):
        _all(path)


def test_pieces_of_a_stream_may_be_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = b"".join(b"%d,%x\n" % (number, number * 7919) for number in range(2000))
    monkeypatch.setattr(compressed, "MEMORY_BYTES", 5000)  # the rest goes through a file
    source = source_of(write(tmp_path, gzip.compress(raw), "data.gz"), piece_bytes=1000)
    middle = source.pieces // 2
    found = [b"".join(source.stream(middle, source.pieces)) for _ in range(2)]
    assert found[0] == found[1]
    assert b"".join(source.stream(0, middle)) + found[0] == raw


def test_a_full_disk_under_what_comes_out_of_an_archive_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> IO[bytes]:
        return Path("/dev/full").open("wb", buffering=0)

    monkeypatch.setattr(compressed, "MEMORY_BYTES", 1000)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    path = write(tmp_path, gzip.compress(b"1,a\n" * 50_000), "data.gz")
    source = source_of(path)
    with pytest.raises(FileError, match="No space left on device") as refused:
        list(source.stream(0, source.pieces))
    assert "TMPDIR" in (refused.value.hint or "")


def test_a_hundred_thousand_files_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file under as many names: each number's bits say which slashes have a dot behind them."""
    write(tmp_path, b"1\n")
    slashes = str.maketrans({"0": "//", "1": "/./"})
    names = [
        f"{tmp_path}{format(number, '017b').translate(slashes)}data.csv"
        for number in range(100_000)
    ]
    monkeypatch.setattr(glob, "iglob", lambda *_, **__: iter(names))
    assert find_files([str(tmp_path / "*.csv")]) == sorted(names)


def test_folders_are_read_in_order_and_links_stay_inside(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", write(tmp_path, b"1\n", "out.csv")
    (inside / "b").mkdir(parents=True)
    for name in ("b/2.csv", "b/1.csv", "a.csv", ".hidden.csv"):
        write(inside, b"1\n", name)
    found = find_files([str(inside)])
    assert [Path(one).relative_to(inside).as_posix() for one in found] == [
        "a.csv",
        "b/1.csv",
        "b/2.csv",
    ]
    assert find_files([str(tmp_path / "**" / "*.csv")]) == sorted({*found, str(outside)})
    (inside / "link.csv").symlink_to(outside)
    with pytest.raises(UsageError, match="leads out of"):
        find_files([str(inside)])


def test_a_pipe_is_no_file_to_load(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UsageError, match="no regular file"):
        find_files([str(tmp_path / "pipe.csv")])


@pytest.mark.parametrize("packer", ["plain", "data.gz"])
def test_the_lines_before_a_piece_are_counted_once_for_all_its_bad_rows(
    tmp_path: Path, packer: str
) -> None:
    path = write(tmp_path, PACKERS[packer](NUMBERS), packer)
    source = source_of(path, piece_bytes=100)
    first = source.place(3, 1)
    path.unlink()
    line = int(first.rpartition(":")[2])
    assert source.place(3, 5) == f"{source.name}:{line + 4}"
