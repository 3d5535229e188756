"""Decompressors under one face: bytes in, bytes out, and how one stream follows another."""

from __future__ import annotations

import bz2
import lzma
import re
import struct
import zipfile
import zlib
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from pgfan.errors import UsageError
from pgfan.load.sources import IO_ERROR, FileError

if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIXES = {
    ".gz": "gzip",
    ".gzip": "gzip",
    ".bgz": "gzip",
    ".zst": "zstd",
    ".zstd": "zstd",
    ".bz2": "bz2",
    ".xz": "xz",
    ".lzma": "xz",
    ".lz4": "lz4",
}
MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x04\x22\x4d\x18": "lz4",
}
_HIDDEN = re.compile(r"(^|/)(\.|__MACOSX/)")
_ZIP_LOCAL = struct.Struct("<4s5H3I2H")


class Decompressor(Protocol):
    """What zlib, bz2, lzma, zstandard and lz4 have in common."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        ...

    @property
    def unused_data(self) -> bytes | None:
        """What came after its end."""
        ...

    def decompress(self, data: bytes) -> bytes:
        """Everything that `data` adds to the output."""
        ...


class Packing(Struct, frozen=True):
    """How a stretch of a file is compressed.

    `codec` is a name in `SUFFIXES`, or that of a zip member's method. `crc` is that of a member.
    """

    codec: str
    begin: int
    end: int
    crc: int | None = None

    def decompressor(self) -> Decompressor:
        """A fresh one. Raises UsageError when its library is missing."""
        return _MAKERS[self.codec]()

    def refuse_garbage(self, name: str, data: bytes) -> None:
        """Raise FileError unless `data`, behind the end of a stream, may begin another one."""
        if not any(magic[:1] == data[:1] for magic, codec in MAGIC.items() if codec == self.codec):
            raise FileError(f"{name} is not a sound {self.codec} stream: garbage behind its end")

    @property
    def joins(self) -> bool:
        """Whether several streams may follow each other, as after `cat a.gz b.gz`."""
        return self.crc is None


class Stored:
    """No compression at all."""

    eof = False
    unused_data: bytes | None = None

    def decompress(self, data: bytes) -> bytes:
        """The same."""
        return data


def packing_of(path: str, head: bytes, size: int) -> Packing | None:
    """How a file is compressed, by its first bytes, whatever its name says; None: it is not."""
    for magic, codec in MAGIC.items():
        if head.startswith(magic):
            return Packing(codec, 0, size)
    named = next((codec for suffix, codec in SUFFIXES.items() if path.endswith(suffix)), None)
    if named is not None and size:
        raise FileError(f"{path} is not what its name says: it does not begin like {named}")
    return None


def zip_members(path: str) -> list[tuple[str, Packing]]:
    """The files in a zip archive, by name. Raises FileError for one that cannot be read.

    Hidden ones do not count, as in folders, nor do those that macOS adds.
    """
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as file:  # noqa: PTH123
            found = [
                (info.filename, _member(path, file.read, file.seek, info))
                for info in sorted(archive.infolist(), key=lambda info: info.filename)
                if not info.is_dir() and not _HIDDEN.search(info.filename)
            ]
    except (zipfile.BadZipFile, OSError, struct.error) as error:
        raise FileError(f"{path}: {error}", sqlstate=IO_ERROR) from error
    if not found:
        raise FileError(f"{path}: there is no file in it")
    return found


def _member(
    path: str,
    read: Callable[[int], bytes],
    seek: Callable[[int], Any],
    info: zipfile.ZipInfo,
) -> Packing:
    methods = {0: "stored", 8: "deflate", 12: "bz2", 14: "zip lzma"}
    codec = methods.get(info.compress_type)
    if info.flag_bits & 1:
        raise FileError(f"{path}:{info.filename} is encrypted", hint="unpack it first")
    if codec not in _MAKERS:
        raise FileError(
            f"{path}:{info.filename} is packed by method {info.compress_type}, which is not read",
            hint="unpack it first",
        )
    seek(info.header_offset)
    header = _ZIP_LOCAL.unpack(read(_ZIP_LOCAL.size))
    begin = info.header_offset + _ZIP_LOCAL.size + header[-2] + header[-1]
    return Packing(codec, begin, begin + info.compress_size, info.CRC)


def _gzip() -> Decompressor:
    try:
        fast = import_module("isal.isal_zlib")
    except ImportError:
        return zlib.decompressobj(31)
    found: Decompressor = fast.decompressobj(31)
    return found


def _zstd() -> Decompressor:
    found: Decompressor = _library("zstandard").ZstdDecompressor().decompressobj()
    return found


def _lz4() -> Decompressor:
    found: Decompressor = _library("lz4.frame").LZ4FrameDecompressor()
    return found


def _library(name: str) -> Any:  # noqa: ANN401  # a module
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UsageError(
            f"this file needs the package {package}", hint="pip install 'pgfan[files]'"
        ) from None


_MAKERS: dict[str, Callable[[], Decompressor]] = {
    "gzip": _gzip,
    "zstd": _zstd,
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "lz4": _lz4,
    "stored": Stored,
    "deflate": lambda: zlib.decompressobj(-15),
}
