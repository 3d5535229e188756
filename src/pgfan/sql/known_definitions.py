"""`KnownObjects`, as the server tells them, to the `Definitions` that a script starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.definitions import (
    Column,
    Definitions,
    ForeignKey,
    Function,
    Relation,
    Trigger,
    TypeDefinition,
)
from pgfan.sql.effects import AS_OWNER, Accesses, Effect, ObjectName

if TYPE_CHECKING:
    from pgfan.sql.known import (
        KnownColumn,
        KnownFunction,
        KnownObjects,
        KnownRelation,
        KnownTrigger,
        Qualified,
    )


def definitions_of(known: KnownObjects) -> Definitions:
    """What is known of the database, before the script has made anything."""
    made = Definitions(schemas=set(known.schemas), wrappers=dict(known.wrappers))
    rows = {relation.name for relation in known.relations}
    for relation in known.relations:
        made.schemas.add(relation.name[0])
        made.put(_relation(relation, rows))
    for function in known.functions:
        made.put_function(_function(function))
    for known_type in known.types:
        uses = frozenset(Effect("use", ObjectName("type", *name)) for name in known_type.uses)
        code = (*known_type.expressions, *((Accesses(uses),) if uses else ()))
        made.put_type(TypeDefinition(ObjectName("type", *known_type.name), code))
    for symbol, function_name in known.operators:
        made.operators.setdefault(symbol, set()).add(ObjectName("function", *function_name))
    made.casts = tuple(ObjectName("function", *name) for name in known.casts)
    made.event_triggers = tuple(ObjectName("function", *name) for name in known.event_triggers)
    return made


def _relation(known: KnownRelation, rows: set[Qualified]) -> Relation:
    """`rows` are the names of relations: a type with such a name is a row type."""
    written = [*known.expressions, *(rule.definition for rule in known.rules)]
    written += [column.default for column in known.columns if column.generated]
    return Relation(
        _named(known.name),
        known.kind,
        tuple(map(_column, known.columns)) or None,
        query=(known.definition,) if known.definition else (),
        on_write=tuple(written),
        on_access=known.expressions,
        uses=frozenset(
            Effect("use", ObjectName("relation" if column.type in rows else "type", *column.type))
            for column in known.columns
            if column.type
        ),
        triggers=tuple(map(_trigger, known.triggers)),
        foreign_keys=tuple(
            ForeignKey(_named(key.references), key.changes_rows, key.name)
            for key in known.foreign_keys
        ),
        parents=tuple(map(_named, known.parents)),
        is_default_partition=known.is_default_partition,
        table=_named(known.table) if known.table else None,
        column=known.column,
        key=known.key,
        server=known.server,
        is_others=known.is_others,
    )


def _named(name: Qualified) -> ObjectName:
    return ObjectName("relation", *name)


def _column(known: KnownColumn) -> Column:
    if known.sequence:
        drawn = Accesses(frozenset({Effect("modify", _named(known.sequence))}))
        return Column(known.name, (drawn,))
    return Column(known.name, (known.default,) if known.default and not known.generated else ())


def _trigger(known: KnownTrigger) -> Trigger:
    return Trigger(
        known.name,
        ObjectName("function", *known.function),
        "insert" in known.events,
        (known.condition,) if known.condition else (),
    )


def _function(known: KnownFunction) -> Function:
    calls = frozenset(Effect("read", ObjectName("function", *name)) for name in known.calls)
    if " SECURITY DEFINER" in known.definition:
        calls |= AS_OWNER.effects
    return Function(
        ObjectName("function", *known.name),
        known.definition,
        known.arguments,
        known.language,
        known.volatility,
        (Accesses(calls),) if calls else (),
        known.extension,
    )
