"""What exists in the database before a script runs, as far as it decides what statements touch.

`pgfan.postgres` fills these values in a few queries; tests write them by hand. They hold all that
is outside of pg_catalog and information_schema: a name that is neither here nor made by the script
is PostgreSQL's own or does not exist. SQL text in them is as PostgreSQL prints it under an empty
search_path, so that every name outside of pg_catalog has its schema. Temporary objects of the
session, if there are any yet, have the schema `pg_temp`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfan.sql.effects import ObjectName

Qualified: TypeAlias = tuple[str, str]
"""Schema and name."""

RelationKind: TypeAlias = Literal[
    "table", "view", "materialized view", "sequence", "index", "foreign table", "composite type"
]


class KnownColumn(Struct, frozen=True):
    """A column of a table; `default` is SQL or "", of generated columns the expression."""

    name: str
    default: str = ""
    sequence: Qualified | None = None
    """The sequence of an identity column; those of serial columns are in `default`."""
    generated: bool = False
    type: Qualified | None = None
    """Its type, or its array's element type, when that is not pg_catalog's."""


class KnownTrigger(Struct, frozen=True):
    """A user's trigger on a table or view (not those of foreign keys)."""

    name: str
    function: Qualified
    events: frozenset[Literal["insert", "update", "delete", "truncate"]]
    condition: str = ""
    """The expression of WHEN, as SQL."""


class KnownForeignKey(Struct, frozen=True):
    """A foreign key of the relation that has it.

    `changes_rows`: its rows change or go with those that they reference (CASCADE, SET NULL, SET
    DEFAULT).
    """

    references: Qualified
    changes_rows: bool = False
    name: str = ""


class KnownRule(Struct, frozen=True):
    """A rule, as pg_get_ruledef prints it (CREATE RULE ...); not the one that makes a view."""

    definition: str


class KnownRelation(Struct, frozen=True):
    """An entry of pg_class. What a kind has not is empty."""

    name: Qualified
    kind: RelationKind = "table"
    columns: tuple[KnownColumn, ...] = ()
    definition: str = ""
    """Of views and materialised views: pg_get_viewdef."""
    parents: tuple[Qualified, ...] = ()
    """The partitioned table, or the tables that it inherits from: direct ones only."""
    is_default_partition: bool = False
    table: Qualified | None = None
    """Of an index its table; of a sequence the table that owns it."""
    column: str = ""
    """Of an owned sequence: the column."""
    key: tuple[str, ...] = ()
    """Of a unique index over all rows, of columns alone: their names."""
    triggers: tuple[KnownTrigger, ...] = ()
    foreign_keys: tuple[KnownForeignKey, ...] = ()
    rules: tuple[KnownRule, ...] = ()
    expressions: tuple[str, ...] = ()
    """SQL that its writers evaluate: CHECK constraints, index expressions and predicates, the
    bounds of partitions, the conditions of policies (those its readers evaluate, too)."""
    server: str = ""
    """Of a foreign table."""
    is_others: bool = False
    """Whether it belongs to another role than `KnownObjects.user`."""


class KnownFunction(Struct, frozen=True):
    """A function, procedure or aggregate outside of pg_catalog."""

    name: Qualified
    definition: str = ""
    """pg_get_functiondef; "" for aggregates."""
    arguments: str = ""
    """oidvectortypes(proargtypes): overloads differ in it."""
    language: str = "sql"
    """pg_language.lanname; "aggregate" for prokind a."""
    volatility: Literal["i", "s", "v"] = "v"
    calls: tuple[Qualified, ...] = ()
    """Of an aggregate: its support functions, those of pg_catalog left out."""
    extension: str = ""
    """The extension that it belongs to."""


class KnownType(Struct, frozen=True):
    """A domain, enum, range or base type outside of pg_catalog; not the row types of relations."""

    name: Qualified
    expressions: tuple[str, ...] = ()
    """Of a domain: its CHECK constraints and default."""
    uses: tuple[Qualified, ...] = ()
    """Of a domain: the type under it, when that is not pg_catalog's."""


class KnownObjects(Struct, frozen=True):
    """All of them, at one moment."""

    schemas: frozenset[str] = frozenset({"public"})
    relations: tuple[KnownRelation, ...] = ()
    functions: tuple[KnownFunction, ...] = ()
    types: tuple[KnownType, ...] = ()
    operators: tuple[tuple[str, Qualified], ...] = ()
    """The symbol of each operator outside of pg_catalog, and its function."""
    casts: tuple[Qualified, ...] = ()
    """Functions of casts, those of pg_catalog left out: applied where no syntax shows them."""
    event_triggers: tuple[Qualified, ...] = ()
    """Functions of the event triggers that are enabled."""
    wrappers: tuple[tuple[str, str], ...] = ()
    """Each foreign server, and its foreign data wrapper."""
    search_path: tuple[str, ...] = ("$user", "public")
    """The setting of the session at its start, one schema each."""
    user: str = ""
    """current_user: what "$user" stands for."""


def without(known: KnownObjects, objects: Iterable[ObjectName]) -> KnownObjects:
    """What is known but for these, as though they had not been made yet.

    One name for each object: a function that is not the only one of its name stays, unless all of
    them are given. What others have hung on an object goes with it: indexes, foreign keys.
    """
    given = Counter((name.kind, name.schema or "", name.name) for name in objects)
    functions = Counter(function.name for function in known.functions)

    def gone(kind: str, name: Qualified | None) -> bool:
        return name is not None and (kind, *name) in given

    def function_gone(name: Qualified) -> bool:
        return given["function", *name] >= functions[name] > 0

    def stays(one: KnownRelation) -> bool:
        made = "type" if one.kind == "composite type" else "relation"
        return not (gone("relation", one.name) or gone(made, one.name)) and not gone(
            "relation", one.table
        )

    relations = tuple(
        replace(
            one,
            triggers=tuple(t for t in one.triggers if not function_gone(t.function)),
            foreign_keys=tuple(
                key for key in one.foreign_keys if not gone("relation", key.references)
            ),
        )
        for one in known.relations
        if stays(one)
    )
    return replace(
        known,
        schemas=frozenset(name for name in known.schemas if ("schema", "", name) not in given),
        relations=relations,
        functions=tuple(one for one in known.functions if not function_gone(one.name)),
        types=tuple(one for one in known.types if not gone("type", one.name)),
    )
