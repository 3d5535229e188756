"""What the generator knows about splitting: the rules of the design, followed while it builds.

A drive is one occurrence of a relation that the query built so far may be divided on, with the
columns that may be the split key; None for any, the rows' places included. Constructs take drives
away or narrow their keys. This is written without pgfan's analysis, to be compared with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

Expectation: TypeAlias = Literal["sound by rows", "sound by key", "unknown", "unsound"]
Origins: TypeAlias = frozenset[tuple[int, str]]

SERIES_VALUE = "value"


@dataclass(frozen=True)
class Column:
    """A column in scope. `origins`: the columns of occurrences that it is sure to equal."""

    sql: str
    kind: str
    origins: Origins = frozenset()

    @property
    def name(self) -> str:
        return self.sql.rpartition(".")[2]


@dataclass(frozen=True)
class Drive:
    """`sure`: the design says so in words. `via`: CTEs on the way, each of which is read once."""

    occurrence: int
    indexed: frozenset[str]
    keys: frozenset[str] | None = None
    sure: bool = True
    via: frozenset[str] = frozenset()


@dataclass
class Reads:
    """What the whole statement reads, counted as it is built."""

    relations: set[str] = field(default_factory=set)
    ctes: Counter[str] = field(default_factory=Counter)
    occurrences: int = 0
    views: bool = False
    ordered: bool = False
    """Whether a query below picks rows by their order, which only the generator knows is total."""

    def occurrence(self) -> int:
        self.occurrences += 1
        return self.occurrences


Drives: TypeAlias = tuple[Drive, ...]


def by_key(drives: Drives, determined: list[Origins]) -> Drives:
    """Through something that looks at all rows which agree in `determined`."""
    origins = frozenset(origin for part in determined for origin in part)
    kept = []
    for drive in drives:
        columns = frozenset(name for number, name in origins if number == drive.occurrence)
        keys = columns if drive.keys is None else drive.keys & columns
        if keys:
            kept.append(replace(drive, keys=keys))
    return tuple(kept)


def unsure(drives: Drives) -> Drives:
    return tuple(replace(drive, sure=False) for drive in drives)


def through_cte(drives: Drives, name: str) -> Drives:
    return tuple(replace(drive, via=drive.via | {name}) for drive in drives)


def equated(columns: list[Column], left: Column, right: Column) -> list[Column]:
    """The columns, once an inner join has made `left` and `right` equal."""
    if not left.origins or not right.origins:
        return columns
    both = left.origins | right.origins
    return [
        replace(column, origins=column.origins | both) if column.origins & both else column
        for column in columns
    ]


def nullable(columns: list[Column]) -> list[Column]:
    """The columns of the side of an outer join that may be filled up with NULLs."""
    return [replace(column, origins=frozenset()) for column in columns]


def expectation(drives: Drives, reads: Reads, target: str | None) -> Expectation:
    """What the design says of a statement that may be divided on `drives` and writes `target`."""
    left = [drive for drive in drives if all(reads.ctes[name] == 1 for name in drive.via)]
    if not left:
        return "unsound"
    if target in reads.relations or reads.ordered:
        return "unknown"  # the former needs one snapshot, and cannot be resumed
    sure = [drive for drive in left if drive.sure]
    if any(drive.keys is None for drive in sure):
        return "sound by rows"
    if any((drive.keys or frozenset()) & drive.indexed for drive in sure):
        return "sound by key"
    return "unknown"
