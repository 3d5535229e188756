"""What the journal knows of a project, as values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.reading.data_files import DataFile  # noqa: TC001  # msgspec reads annotations
from pgfan.sql.effects import ObjectName  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Mapping


class Made(Struct, frozen=True):
    """An object that the project has made; `name` is what it was looked for by."""

    name: ObjectName
    catalog: str
    oid: int


class Pending(Struct, frozen=True):
    """The run of a project that has begun, and that nobody has seen the end of.

    `target` is the digest of the whole script, `numbers` its tasks that the run has, from 0.
    `before` are catalogs and oids of objects that existed when it began, and that look like what it
    was to make. `fingerprints` of all tasks are kept of scripts with opaque ones alone.
    """

    run: str
    target: str
    full: bool
    numbers: tuple[int, ...]
    before: tuple[tuple[str, int], ...]
    fingerprints: tuple[str, ...] | None = None


class Memory(Struct, frozen=True):
    """All but what was built: `whole` is the digest of the script that is all built, or None.

    `emptied`: a crash of the server has emptied unlogged tables that were built.
    """

    whole: str | None = None
    made: tuple[Made, ...] = ()
    pending: Pending | None = None
    files: Mapping[str, DataFile] = {}
    emptied: bool = False

    @property
    def owned(self) -> frozenset[tuple[str, int]]:
        """Catalogs and oids of what the project has made."""
        return frozenset((one.catalog, one.oid) for one in self.made)


class Changed(Struct, frozen=True):
    """What a run has made (`new`) and dropped itself (`gone`).

    `vanished` are its tasks of which a crash of the server has left nothing.
    """

    new: tuple[Made, ...] = ()
    gone: tuple[Made, ...] = ()
    vanished: tuple[int, ...] = ()
