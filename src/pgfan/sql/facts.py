"""What the analysis asks of the catalogue, and the frozen answers.

`pgfan.postgres.catalog` fills these values in a few queries; tests write them by hand. Names are
as the statement spells them; an unqualified name is resolved through the session's search_path by
the server, and everything here is keyed by the name as written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Name: TypeAlias = tuple[str, ...]
"""A possibly qualified name: ("t",) or ("s", "t")."""

Volatility: TypeAlias = Literal["i", "s", "v"]


@dataclass(frozen=True)
class ColumnFacts:
    """A column that an INSERT may leave out; `default` is its expression as SQL, or None."""

    name: str
    default: str | None
    generated: bool = False


@dataclass(frozen=True)
class RelationFacts:
    """A relation as of the snapshot. `oid` 0 and kind "?" mean that it was not found.

    `family` holds the oids of the relation and of everything it inherits from or that inherits
    from it; two relations share rows only when their families meet.
    """

    oid: int
    schema: str = "public"
    name: str = ""
    kind: str = "r"
    """pg_class.relkind; "?" when there is no such relation."""
    persistence: str = "p"
    """pg_class.relpersistence; for a partitioned table that of its leaves, "x" when they differ."""
    heap: bool = True
    has_children: bool = False
    row_security: bool = False
    has_rules: bool = False
    triggers: tuple[str, ...] = ()
    """User triggers on it or on its partitions, by name."""
    unsafe_checks: tuple[str, ...] = ()
    """CHECK constraints of it, its partitions and its columns' domains that call functions outside
    pg_catalog which are not immutable, by name."""
    references_itself: bool = False
    foreign_partitions: bool = False
    family: frozenset[int] = frozenset()
    columns: tuple[ColumnFacts, ...] = ()
    rows: float = -1.0
    """pg_class.reltuples; -1 when never analysed."""
    size_bytes: int = 0


@dataclass(frozen=True)
class FunctionFacts:
    """One function or operator's function that a name may mean."""

    schema: str
    volatility: Volatility = "i"
    kind: str = "f"
    """pg_proc.prokind: f, a, w or p."""
    returns_set: bool = False


@dataclass(frozen=True)
class CatalogFacts:
    """Everything the analysis of one statement needs; a missing key means "not found"."""

    relations: Mapping[Name, RelationFacts] = field(default_factory=dict)
    functions: Mapping[Name, tuple[FunctionFacts, ...]] = field(default_factory=dict)
    operators: Mapping[Name, tuple[FunctionFacts, ...]] = field(default_factory=dict)
    """Only those outside pg_catalog: the built-in ones are immutable or stable, all of them."""
    unsafe_casts: tuple[str, ...] = ()
    """Casts of this database by functions outside pg_catalog that are not immutable. Casts are
    applied where no syntax shows them, so one is enough."""
    server_refuses_split: str | None = None
    """Why no statement may be split on this server (Citus, a fork), or None."""
