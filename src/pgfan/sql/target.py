"""The table that an INSERT writes: what makes it unfit for a split, and its omitted columns.

A column left out of an INSERT gets its default in every chunk's own transaction. A default that
looks at the transaction's time must therefore be written into the statement, where it is frozen
to one value for the whole task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import postgast
from msgspec import Struct

from pgfan.sql import functions
from pgfan.sql.access import relation_name
from pgfan.sql.branches import output_count, simple_selects
from pgfan.sql.calls import expression_objections
from pgfan.sql.freeze import looks_at_time
from pgfan.sql.parsing import NestedTooDeepError
from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, kind_of, names, parse_expression, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgfan.sql.facts import CatalogFacts, ColumnFacts, RelationFacts


class DefaultColumn(Struct, frozen=True):
    """A column that the statement leaves out, with the default that has to be frozen."""

    name: str
    default: str


class TargetColumns(Struct, frozen=True):
    """What the omitted columns ask for: columns to write out, or reasons against a split."""

    frozen: tuple[DefaultColumn, ...] = ()
    reasons: tuple[Reason, ...] = ()
    defaults: tuple[Message, ...] = ()
    """The expressions of the columns that are, or may be, left out."""


def target_objections(
    relation: Message, facts: CatalogFacts, events: Iterable[str]
) -> Iterator[Reason]:
    """Why rows written to `relation` by several transactions may not be the same rows.

    `events` are those of "insert", "update" and "delete" that happen to its rows.
    """
    name = ".".join(relation_name(relation))
    target = facts.relations.get(relation_name(relation))
    if target is None or target.kind == "?" or relation.catalogname:
        yield Reason("relation-unknown", f"relation {name} is not in the catalogue")
        return
    if target.kind not in {"r", "p"} or target.foreign_partitions:
        yield Reason("target-kind", f"{name} is not a plain or partitioned table")
    if target.persistence == "t":
        yield Reason("temporary-table", f"{name} is temporary: other connections cannot see it")
    if target.persistence == "x":
        yield Reason("unlogged-partitions", f"some partitions of {name} are unlogged, some are not")
    yield from _side_effects(name, target, events)


def _side_effects(name: str, target: RelationFacts, events: Iterable[str]) -> Iterator[Reason]:
    triggers = {
        "insert": target.triggers,
        "update": target.update_triggers,
        "delete": target.delete_triggers,
    }
    fired = sorted({trigger for event in events for trigger in triggers[event]})
    if fired:
        yield Reason("trigger", f"{name} has the trigger {fired[0]}")
    if target.has_rules:
        yield Reason("rule", f"{name} has a rule")
    if target.unsafe_checks:
        check = target.unsafe_checks[0]
        yield Reason("check-function", f"the check {check} of {name} may look at other rows")
    if target.row_security:
        yield Reason("row-security", f"row-level security is on for {name}")
    if not target.writable:
        yield Reason("privilege", f"the role may not write all of {name}: it cannot be locked")
    if not target.readable and {"update", "delete"} & set(events):
        yield Reason("privilege", f"the role may not read all of {name}: no key divides it")
    if target.references_itself:
        yield Reason("target-references-itself", f"a foreign key of {name} refers to {name}")


def target_columns(insert: Message, select: Message, facts: CatalogFacts) -> TargetColumns:
    """What has to be done about the columns that `insert` leaves out."""
    target = facts.relations.get(relation_name(insert.relation))
    if target is None or not any(column.default for column in target.columns):
        return TargetColumns()
    omitted = _omitted(insert, select, target)
    frozen: list[DefaultColumn] = []
    reasons: list[Reason] = []
    defaults: list[Message] = []
    for column in target.columns if omitted is None else omitted:
        if column.default is None or column.generated:
            continue
        expression = _parsed(column.default)
        if expression is None:
            reasons.append(Reason("default-function", f"default of {column.name}: not readable"))
            continue
        defaults.append(expression)
        objection = next(expression_objections(expression, facts), None)
        if objection is not None:
            why = f"default of {column.name}: {objection.message}"
            reasons.append(Reason("default-function", why))
        elif any(looks_at_time(node, facts) for node in walk(expression)):
            if omitted is None:
                why = f"name the columns: the default of {column.name} looks at the time"
                reasons.append(Reason("default-function", why))
            elif _compares_rows(select) and _is_volatile(expression, facts):
                why = f"the default of {column.name} would make rows that are equal differ"
                reasons.append(Reason("default-function", why))
            frozen.append(DefaultColumn(column.name, column.default))
    return TargetColumns(tuple(frozen), tuple(reasons), tuple(defaults))


def generated_from(column: ColumnFacts) -> frozenset[str] | None:
    """The columns that a generated one is computed from; none for others, None when unreadable."""
    if not column.generated:
        return frozenset()
    expression = _parsed(column.default) if column.default is not None else None
    if expression is None:
        return None
    columns = (node for node in walk(expression) if kind_of(node) == "ColumnRef")
    return frozenset(name for node in columns for name in names(node.fields))


def changed_columns(relation: RelationFacts, assigned: frozenset[str]) -> frozenset[str]:
    """The columns that get other values when some are assigned: those and what is generated."""
    changed = (one.name for one in relation.columns if is_changed(one, relation, assigned))
    return assigned.union(changed)


def is_changed(column: ColumnFacts, relation: RelationFacts, assigned: frozenset[str]) -> bool:
    """Whether a column gets another value when some of the relation's are assigned.

    A partition or a child may generate a column by an expression of its own.
    """
    if not assigned or column.name in assigned:
        return column.name in assigned
    sources = generated_from(column)
    own = column.generated and relation.has_children
    return own or sources is None or bool(sources & assigned)


def moves_rows(relation: RelationFacts, assigned: frozenset[str]) -> bool:
    """Whether assigning columns may move rows to other partitions: by DELETE and INSERT."""
    keys = relation.partition_columns
    return bool(keys & assigned or (assigned and "*" in keys))


def _compares_rows(select: Message) -> bool:
    """Whether a column that is written into the SELECT may change which rows there are."""
    return bool(
        select.HasField("larg") or any(simple.distinct_clause for simple in simple_selects(select))
    )


def _is_volatile(expression: Message, facts: CatalogFacts) -> bool:
    return any(
        kind_of(node) == "FuncCall" and functions.is_volatile(node, facts)
        for node in walk(expression)
    )


def _parsed(default: str) -> Message | None:
    try:
        return parse_expression(default)
    except (postgast.PgQueryError, NestedTooDeepError):
        return None


def _omitted(
    insert: Message, select: Message, target: RelationFacts
) -> tuple[ColumnFacts, ...] | None:
    """The columns that get their default; None when a star hides how many are given."""
    if insert.cols:
        named = {column.res_target.name for column in insert.cols}
        return tuple(column for column in target.columns if column.name not in named)
    for simple in simple_selects(select):
        starred = any(
            kind_of(node) == "A_Star" for part in simple.target_list for node in _own(part)
        )
        if not starred:  # all of them have as many columns
            return target.columns[output_count(simple) :]
    return None


def _own(part: Message) -> Iterator[Message]:
    """The nodes of a target list entry, without its subqueries (whose stars are their own)."""
    value = part.res_target.val
    which = value.WhichOneof("node")
    if which == "column_ref":
        for field in value.column_ref.fields:
            yield from walk(field)
    elif which == "a_indirection":
        for step in value.a_indirection.indirection:
            yield from walk(step)
