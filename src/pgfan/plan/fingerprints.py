"""The fingerprint of each task of a script: its text, settings and files, and what it saw.

What a task saw of an object is the object's *version*: the fingerprints of the tasks that had made
it what it was. Additions commute, and are a sum. How a task touches an object says which parts of
the version count for it. Values in, values out; what follows is `pgfan.plan.rebuild`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.plan.rebuild import Task
    from pgfan.sql.effects import ObjectName
    from pgfan.sql.footprint import Footprint

_MODULUS = 1 << 256


class _Version(Struct):
    """What the tasks so far have made of an object; sums, because additions have no order."""

    definition: str = ""
    rows: str = ""
    added: int = 0
    indexed: int = 0


def fingerprints_of(tasks: Sequence[Task]) -> tuple[str, ...]:
    """The fingerprints of the tasks of a script, which differ from each other.

    Names of objects must be canonical: one object, one name.
    """
    versions: dict[ObjectName, _Version] = {}
    equal: Counter[str] = Counter()
    found: list[str] = []
    everything, barrier = 0, ""
    for task in tasks:
        print_ = task.footprint
        seen = [
            [*name, *_seen(print_, name, versions.get(name, _Version()))]
            for name in sorted(print_.touched, key=by_text)
        ]
        whole = everything if print_.barrier or print_.upkeep else 0
        own = _digest([task.text, task.files, seen, barrier, whole])
        fingerprint = _digest([own, equal[own]])
        equal[own] += 1
        found.append(fingerprint)
        _write(print_, versions, fingerprint)
        everything = (everything + int(fingerprint, 16)) % _MODULUS
        barrier = fingerprint if print_.barrier else barrier
    return tuple(found)


def _seen(print_: Footprint, name: ObjectName, version: _Version) -> list[str | int]:
    """What of an object counts for a task, by how it touches the object."""
    if name in print_.alters or name in print_.modifies:
        return [version.definition, version.rows, version.added, version.indexed]
    if name in print_.adds:
        read = version.added if name in print_.reads else -1
        return [version.definition, version.rows, read, version.indexed]
    if name in print_.reads:
        return [version.definition, version.rows, version.added, -1]
    return [version.definition, "", -1, -1]


def _write(print_: Footprint, versions: dict[ObjectName, _Version], fingerprint: str) -> None:
    number = int(fingerprint, 16)
    for name in print_.written | print_.indexes:
        version = versions.setdefault(name, _Version())
        if name in print_.alters:
            version.definition = fingerprint
        if name in print_.modifies:
            version.rows = fingerprint
        if name in print_.adds:
            version.added = (version.added + number) % _MODULUS
        if name in print_.indexes:
            version.indexed = (version.indexed + number) % _MODULUS


def by_text(name: ObjectName) -> tuple[str, str, str]:
    """A key to sort names by, one of which may have no schema."""
    return name.kind, name.schema or "", name.name


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
