"""Archives as people make them, and files that are no data: what is refused, and how."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
from load_files import reading

from pgfan.errors import PgfanError
from pgfan.load.discovery import open_source
from pgfan.load.sources import FileError, Identity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def records_of(path: Path) -> dict[str, bytes]:
    """The records of each source in a file, by the source's name."""
    sources = open_source(Identity.of(str(path)), reading(), given_format=False)
    return {source.name: b"".join(source.stream(0, source.pieces)) for source in sources}


ARCHIVES = {
    "nothing": ({}, "there is no file in it"),
    "hidden files alone": ({".a.csv": "1", "__MACOSX/._a.csv": "1"}, "there is no file in it"),
    "a name without a format": ({"a.dat": "1\n"}, r"data.zip:a\.dat: its name does not tell"),
    "a format of its own": ({"a.parquet": "PAR1"}, r"data.zip:a\.parquet: .*not .*from archives"),
}


@pytest.mark.parametrize(("members", "message"), ARCHIVES.values(), ids=list(ARCHIVES))
def test_what_no_archive_is_loaded_for(
    tmp_path: Path, members: dict[str, str], message: str
) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    with pytest.raises(PgfanError, match=message):
        records_of(path)


def test_hidden_files_of_an_archive_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.csv", "b/c.csv", "b/.hidden.csv", ".DS_Store", "__MACOSX/._a.csv"):
            archive.writestr(name, "1,a\n")
    assert list(records_of(path)) == [f"{path}:a.csv", f"{path}:b/c.csv"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-30], "not a zip file"),
        (lambda raw: raw.replace(b"1,a\n", b"1,b\n"), "its checksum is wrong"),
    ],
    ids=["truncated", "another byte"],
)
def test_a_damaged_zip_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "1,a\n")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match=message):
        records_of(path)


def test_json_that_is_no_lines_is_refused_with_what_makes_lines_of_it(tmp_path: Path) -> None:
    for name in ("a.json", "a.jsonl"):
        path = tmp_path / name
        path.write_text('[{"a": 1}]')
        with pytest.raises(PgfanError, match=name) as refused:
            records_of(path)
        assert "jq -c '.[]'" in (refused.value.hint or "")
