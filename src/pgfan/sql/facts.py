"""What the analysis asks of the catalogue, and the frozen answers.

`pgfan.postgres.catalog` fills these values in a few queries; tests write them by hand. Names are
as the statement spells them; an unqualified name is resolved through the session's search_path by
the server, and everything here is keyed by the name as written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct, field
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Mapping

Name: TypeAlias = tuple[str, ...]
"""A possibly qualified name: ("t",) or ("s", "t")."""

Volatility: TypeAlias = Literal["i", "s", "v"]


class SpaceFacts(Struct, frozen=True):
    """What of a column's type gives its rows a place, by which cells of space divide them."""

    space: Literal["geometry", "point", "earth"]
    """A point is a geometry that its type modifier lets be nothing else."""
    schema: str
    """Where the functions are that tell the place: those of PostGIS, or of cube."""
    indexed: bool = False
    """Whether a valid GiST index over all rows begins with it."""


class ColumnFacts(Struct, frozen=True):
    """A column; `default` is its expression as SQL, or None."""

    name: str
    default: str | None
    generated: bool = False
    type: str = "integer"
    """As format_type prints it."""
    collation: str = ""
    orderable: bool = True
    """Whether ranges cut it: it has pg_catalog's own btree order and a deterministic collation."""
    indexed: bool = False
    """Whether it is the first column of a valid btree index over all rows, in that order."""
    typmod: int = -1
    """pg_attribute.atttypmod: the length or precision that stored values are brought to."""
    unique: bool = False
    """Whether it is NOT NULL and a unique index holds it alone, so that each row has its own."""
    space: SpaceFacts | None = None


class UniqueIndex(Struct, frozen=True):
    """A unique index or an exclusion constraint, of a relation or of one of its partitions."""

    columns: tuple[str, ...]
    """Its key columns; "" for an expression."""
    plain: frozenset[str] = frozenset()
    """Those of `columns` that it compares as pg_catalog's `=` does, under their own collation."""
    own: bool = True
    """Whether it belongs to the relation itself, not to a partition or a child."""
    whole: bool = True
    """Whether ON CONFLICT (columns) means it: valid, immediate, over all rows, no expressions."""
    constraint: str = ""


class IndexExpression(Struct, frozen=True):
    """An expression that a btree index over all rows begins with: immutable, or it had no index.

    `sql` is what pg_get_indexdef prints, over the names of the relation's own columns; `columns`
    are those that it uses. `attribute` is its name in the index, under which its statistics are.
    """

    sql: str
    columns: tuple[str, ...]
    index_oid: int = 0
    attribute: str = ""
    collate: str = ""
    """A COLLATE clause, which makes it compare as the index does; or nothing."""


class ViewFacts(Struct, frozen=True):
    """A view's definition, and what speaks against running it in the view's place.

    Of a table with partitions or children: a SELECT of all of its leaves.
    """

    definition: str
    """As pg_get_viewdef prints it under the session's search_path; "" for PostgreSQL's own."""
    security_barrier: bool = False
    row_security: bool = False
    """Whether it is enabled for a relation in it: the policies are those for the view's owner."""
    forbidden: tuple[str, ...] = ()
    """Relations in it that the running role may not read by itself."""
    hidden_operators: tuple[str, ...] = ()
    """Comparisons in it that search_path does not find: syntax such as NULLIF names none."""


class RelationFacts(Struct, frozen=True):
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
    readable: bool = True
    """Whether the role may read all of it, not some columns: the right that locking it takes."""
    writable: bool = True
    """The same for INSERT, UPDATE or DELETE."""
    has_rules: bool = False
    triggers: tuple[str, ...] = ()
    """User triggers for INSERT on it or on its partitions, by name."""
    update_triggers: tuple[str, ...] = ()
    delete_triggers: tuple[str, ...] = ()
    unique_columns: frozenset[str] = frozenset()
    """Columns in unique indexes and exclusion constraints; "*" when one has an expression, or a
    generated column of a partition or a child."""
    partition_columns: frozenset[str] = frozenset()
    """Columns of its partition keys, on every level; "*" when one has an expression."""
    unique_indexes: tuple[UniqueIndex, ...] = ()
    cascades: bool = False
    """Whether a foreign key of another relation changes that one when this one changes."""
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
    tablespace: int = 0
    """pg_class.reltablespace; 0 is the database's own."""
    indexes: tuple[tuple[str, ...], ...] = ()
    """The columns of valid btree indexes over all rows that have several, in their order."""
    view: ViewFacts | None = None
    """Of a view, and of a table that has leaves."""

    @property
    def estimated_rows(self) -> float:
        """Never analysed: a guess of 100 bytes a row is enough to compare relations."""
        return self.rows if self.rows >= 0 else self.size_bytes / 100


class FunctionFacts(Struct, frozen=True):
    """One function or operator's function that a name may mean."""

    schema: str
    volatility: Volatility = "i"
    kind: str = "f"
    """pg_proc.prokind: f, a, w or p."""
    returns_set: bool = False


class CatalogFacts(Struct, frozen=True):
    """Everything the analysis of one statement needs; a missing key means "not found"."""

    relations: Mapping[Name, RelationFacts] = field(default_factory=dict)
    functions: Mapping[Name, tuple[FunctionFacts, ...]] = field(default_factory=dict)
    operators: Mapping[Name, tuple[FunctionFacts, ...]] = field(default_factory=dict)
    """Only those outside pg_catalog: the built-in ones are immutable or stable, all of them."""
    unsafe_casts: tuple[str, ...] = ()
    """Casts of this database by functions outside pg_catalog that are not immutable. Casts are
    applied where no syntax shows them, so one is enough."""
    unsafe_types: frozenset[str] = frozenset()
    """Names of domains whose CHECKs call such functions, and of types that are made of them."""
    temporary_types: frozenset[str] = frozenset()
    """Names of types that only the session has."""
    cycling_sequences: tuple[str, ...] = ()
    """Sequences of this database that begin again at their end."""
    wanted: frozenset[str] = frozenset()
    """Columns that the user wants to divide by: candidates wherever they are sound."""
    expressions: Mapping[int, IndexExpression] = field(default_factory=dict)
    """The expression that the user wants to divide by, for each relation that has it, by oid."""
    server_refuses_split: str | None = None
    """Why no statement may be split on this server (Citus, a fork), or None."""

    def allows_what(self, earlier: CatalogFacts) -> bool:
        """Whether every verdict on `earlier` holds: all is as it was, but for sizes."""
        return self._without_sizes() == earlier._without_sizes()

    def _without_sizes(self) -> CatalogFacts:
        relations = {
            name: replace(relation, rows=-1.0, size_bytes=0)
            for name, relation in self.relations.items()
        }
        return replace(self, relations=relations)
