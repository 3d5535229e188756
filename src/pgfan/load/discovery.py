"""From what the user names to sources: files, globs, folders, archives, in a fixed order.

A load is repeated by running the same command again, so the list must come out alike: folders are
read in whole, names are sorted, and what is no data file is refused rather than left out.
"""

from __future__ import annotations

import glob
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.errors import UsageError
from pgfan.load.compressed import CompressedFile
from pgfan.load.delimited import DelimitedFile, Reading
from pgfan.load.formats import OF_LINES, as_lines, open_whole, rewritten
from pgfan.load.formats import SUFFIXES as KINDS
from pgfan.load.packing import SUFFIXES, packing_of, zip_members
from pgfan.load.remote import fetch, is_remote
from pgfan.load.rewritten import BY_LINES
from pgfan.load.sources import Identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgfan.load.copy_options import CopyOptions
    from pgfan.load.sources import Source

MAGIC_BYTES = 6
FORMATS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".txt": "text", ".copy": "text"}
"""Formats by the end of a name; any other needs --format."""


def find_files(named: Sequence[str]) -> list[str]:
    """Paths of regular files, sorted within each name, each once.

    A name that is no file is a folder or a glob. Hidden files in folders do not count. Raises
    UsageError for a name that stands for nothing, for what is no regular file, and for a link in a
    folder that leads out of it.
    """
    found: dict[str, None] = {}
    for name in named:
        before = len(found)
        for path in _paths(name):
            found.setdefault(path)
        if len(found) == before and not any(True for _ in _paths(name)):
            what = "the folder is empty" if Path(name).is_dir() else "there is no such file"
            hint = None
            if glob.has_magic(name):
                what = "nothing matches"
                hint = "** goes through folders; quotes keep the shell from reading the pattern"
            raise UsageError(f"{name}: {what}", hint=hint)
    if not found:
        raise UsageError("there is no file to load", hint="name files, a glob or a folder")
    return list(found)


def _paths(name: str) -> Iterator[str]:
    if is_remote(name):
        yield from fetch(name)
    elif os.path.isdir(name):  # noqa: PTH112
        yield from _in_folder(name)
    elif os.path.lexists(name):
        yield _regular(name)
    elif glob.has_magic(name):
        for path in sorted(glob.iglob(name, recursive=True)):  # noqa: PTH207  # absolute patterns
            if not os.path.isdir(path):  # noqa: PTH112
                yield _regular(path)


def _in_folder(folder: str) -> Iterator[str]:
    root = os.path.realpath(folder)
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(files):
            path = os.path.join(at, name)  # noqa: PTH118
            if name.startswith("."):
                continue
            if os.path.islink(path) and not os.path.realpath(path).startswith(root + os.sep):  # noqa: PTH114
                raise UsageError(
                    f"{path} is a link that leads out of {folder}",
                    hint="name the file itself if it is meant",
                )
            yield _regular(path)


def _regular(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{path!r}: the journal cannot keep a name that is not UTF-8") from None
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise UsageError(
            f"{path} is no regular file: what is read from it once could not be read again",
            hint="write it to a file first",
        )
    return path


def format_of(path: str) -> str | None:
    """The format that a name speaks of, without its compression; None when it speaks of none."""
    name = path.lower()
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return next((form for suffix, form in FORMATS.items() if name.endswith(suffix)), None)


def kind_of(path: str) -> str | None:
    """The format that a name speaks of, when it is none of COPY's text formats."""
    name = path.lower()
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return next((kind for suffix, kind in KINDS.items() if name.endswith(suffix)), None)


def with_format(options: CopyOptions, path: str) -> CopyOptions:
    """COPY's options for a file whose format the user has not told. Raises UsageError."""
    match format_of(path):
        case "csv":
            return replace(options, format="csv")
        case "tsv":
            return replace(options, format="csv", delimiter=options.delimiter or "\t")
        case "text":
            return replace(options, format="text")
        case _ if path.lower().endswith(".json"):
            raise UsageError(f"{path}: JSON is read by lines alone", hint=BY_LINES)
        case _:
            raise UsageError(
                f"{path}: its name does not tell its format",
                hint="say --format csv, text (PostgreSQL's own), parquet, jsonl or another",
            )


def open_sources(paths: Iterable[str], reading: Reading, *, given_format: bool) -> Iterator[Source]:
    """The sources in each file. Raises FileError and UsageError.

    `given_format`: `reading` has the format that the user has told; otherwise names tell it.
    """
    for path in paths:
        identity = Identity.of(path)
        yield from open_source(identity, reading, given_format=given_format)


def open_source(identity: Identity, reading: Reading, *, given_format: bool) -> Iterator[Source]:
    """The sources in one file: several in an archive."""
    path = identity.path
    kind = reading.kind or (None if given_format else kind_of(path))
    if kind is not None and kind not in OF_LINES:
        yield open_whole(identity, kind, reading.layer)
        return
    if kind is not None:
        for lines in open_source(identity, as_lines(reading), given_format=True):
            yield rewritten(lines, kind, reading)
        return
    if path.lower().endswith(".zip"):
        for member, packing in zip_members(path):
            kind = None if given_format else kind_of(member)
            if kind in OF_LINES:
                lines = CompressedFile(identity, as_lines(reading), packing, member)
                yield rewritten(lines, kind, reading)
                continue
            if kind is not None:
                raise UsageError(
                    f"{path}:{member}: files of this format are not read from archives",
                    hint="unpack it first",
                )
            own = _reading(reading, f"{path}:{member}", given_format=given_format)
            yield CompressedFile(identity, own, packing, member)
        return
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        head = file.read(MAGIC_BYTES)
    own = _reading(reading, path, given_format=given_format)
    packed = packing_of(path.lower(), head, identity.size)
    yield DelimitedFile(identity, own) if packed is None else CompressedFile(identity, own, packed)


def _reading(reading: Reading, name: str, *, given_format: bool) -> Reading:
    if given_format:
        return reading
    options = with_format(reading.options, name)
    options.check()
    return replace(reading, options=options)
