"""Objects at s3://, gs:// and https:// addresses: fetched in ranges, then loaded as files.

An object is copied into a folder of the user's own, under a name that tells its address, version
and size: a load that is resumed finds it there, and one whose object has changed does not. So every
format can be loaded, at the price of room on the disk; what is fetched is deleted when the load is
done. Keys come from the environment or the machine, as the clouds' own tools find them (AWS_*,
GOOGLE_*); none is ever written down.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import hashlib
import os
import shutil
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from pgfan.errors import PgfanError, UsageError
from pgfan.load.sources import IO_ERROR, FileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from obstore import GetOptions

SCHEMES = frozenset({"s3", "gs", "https"})
RANGE_BYTES = 8 << 20
FETCHES_MAX = 8
"""Ranges on their way at once; with RANGE_BYTES it bounds the memory."""
OBJECTS_MAX = 100_000
PRIVATE = 0o700


class RemoteObject(Struct, frozen=True):
    """An object as it is now. `version` is its ETag, or the time of its last change."""

    address: str
    path: str
    size: int
    version: str
    modified_ns: int
    e_tag: str | None

    @property
    def place(self) -> Path:
        """Where its copy belongs, below the cache."""
        told = f"{self.address}\0{self.path}\0{self.version}\0{self.size}"
        name = self.path.rpartition("/")[2]
        name = name if name.strip(".") else "object"
        return Path(hashlib.sha256(told.encode()).hexdigest()[:24]) / name


def is_remote(name: str) -> bool:
    """Whether a name is an address and not a path."""
    return urlsplit(name).scheme in SCHEMES and "://" in name


def fetch(name: str) -> Iterator[str]:
    """Paths of the copies of what an address stands for, in the order of the names.

    An address that ends in a slash stands for all objects below it, a pattern for those that match;
    https knows single files only. Raises UsageError and FileError.
    """
    store, address, path = _store(name)
    root = cache()
    found = False
    for one in _objects(store, address, path):
        found = True
        copy = root / one.place
        if not copy.exists():
            _copy(store, one, copy)
        yield str(copy)
    if not found:
        raise UsageError(f"{name}: there is no such object")


def cache() -> Path:
    """The folder of copies: the user's own, closed to all others. Raises UsageError if not so."""
    folder = Path(tempfile.gettempdir()) / f"pgfan-remote-{os.getuid()}"
    folder.mkdir(mode=PRIVATE, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UsageError(f"{folder} is not a folder of yours alone", hint="set TMPDIR")
    return folder


def forget(names: Sequence[str]) -> None:
    """Delete the copies of what `names` stand for, which are no longer needed. Never raises."""
    for name in filter(is_remote, names):
        with contextlib.suppress(PgfanError, OSError):
            for copy in fetch(name):
                shutil.rmtree(Path(copy).parent, ignore_errors=True)


def _store(name: str) -> tuple[Any, str, str]:
    """The store, its address, and the path in it."""
    try:
        import obstore
    except ImportError:
        raise UsageError(
            f"{name} needs the package obstore", hint="pip install 'pgfan[remote]'"
        ) from None
    parts = urlsplit(name)
    if parts.username or parts.password:
        raise UsageError("an address with a password in it is seen by every user of this machine")
    address = f"{parts.scheme}://{parts.netloc}"
    path = parts.path + (f"?{parts.query}" if parts.query and parts.scheme != "https" else "")
    if parts.scheme == "https" and parts.query:
        raise UsageError(f"{name}: an address with a query is no file", hint="fetch it first")
    try:
        store = obstore.store.from_url(address)
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise UsageError(f"{address}: {_line(error)}") from error
    return (
        store,
        address,
        unquote(path.lstrip("/")) if parts.scheme == "https" else path.lstrip("/"),
    )


def _objects(store: Any, address: str, path: str) -> Iterator[RemoteObject]:  # noqa: ANN401  # obstore
    import obstore

    is_web = address.startswith("https:")
    try:
        if is_web or not (path.endswith("/") or not path or glob.has_magic(path)):
            yield _object(address, obstore.head(store, path))
            return
        folder = path if not glob.has_magic(path) else path[: path.index(_magic(path))]
        prefix = folder.rpartition("/")[0]
        listed = [one for part in obstore.list(store, prefix=prefix or None) for one in part]
    except FileNotFoundError:
        return
    except obstore.exceptions.BaseError as error:
        raise FileError(f"{address}/{path}: {_line(error)}", sqlstate=IO_ERROR) from error
    if len(listed) > OBJECTS_MAX:
        raise UsageError(f"{address}/{path} has more than {OBJECTS_MAX} objects")
    for meta in sorted(listed, key=lambda one: str(one["path"])):
        if not glob.has_magic(path) or fnmatch.fnmatchcase(str(meta["path"]), path):
            yield _object(address, meta)


def _magic(path: str) -> str:
    return next(one for one in path if one in "*?[")


def _object(address: str, meta: Any) -> RemoteObject:  # noqa: ANN401  # obstore.ObjectMeta
    modified_ns = int(meta["last_modified"].timestamp() * 1e9)
    e_tag = meta["e_tag"]
    version = e_tag or str(modified_ns)
    return RemoteObject(address, meta["path"], meta["size"], version, modified_ns, e_tag)


def _copy(store: Any, one: RemoteObject, copy: Path) -> None:  # noqa: ANN401  # obstore
    """Fetch an object whole; its copy has its name only then. Raises FileError."""
    import obstore

    copy.parent.mkdir(mode=PRIVATE, exist_ok=True)
    free = shutil.disk_usage(copy.parent).free
    where = f"{one.address}/{one.path}"
    if free < one.size:
        raise FileError(
            f"{where} has {one.size} bytes, and {copy.parent.parent} has room for {free}",
            sqlstate=IO_ERROR,
            hint="set TMPDIR to a folder with more room",
        )
    partial = copy.with_name(copy.name + ".partial")
    with open(partial, "wb", opener=_private) as file:

        def take(at: int) -> None:
            end = min(at + RANGE_BYTES, one.size)
            options: GetOptions = {"range": (at, end)}
            if one.e_tag is not None:
                options["if_match"] = one.e_tag
            data = obstore.get(store, one.path, options=options).bytes()
            if len(data) != end - at:
                raise FileError(f"{where} became shorter while it was fetched")
            os.pwrite(file.fileno(), data, at)

        try:
            with ThreadPoolExecutor(FETCHES_MAX) as pool:
                list(pool.map(take, range(0, one.size, RANGE_BYTES)))
            now = _object(one.address, obstore.head(store, one.path))
        except obstore.exceptions.PreconditionError as error:
            raise FileError(f"{where} was changed while it was fetched") from error
        except (obstore.exceptions.BaseError, OSError) as error:
            raise FileError(f"{where}: {_line(error)}", sqlstate=IO_ERROR) from error
    if now != one:
        raise FileError(f"{where} was changed while it was fetched")
    os.utime(partial, ns=(one.modified_ns, one.modified_ns))
    partial.replace(copy)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
