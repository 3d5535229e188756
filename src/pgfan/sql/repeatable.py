"""Which columns hold the same values when a statement is run twice, for `pgfan verify`.

random(), nextval() and their kin give other values each time. A column of the result that such a
call feeds is left out of a comparison; where a call may decide which rows there are, nothing can be
compared. Time functions are frozen before, and count as constants here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import postgast
from msgspec import Struct, field

from pgfan.sql import functions
from pgfan.sql.freeze import looks_at_time
from pgfan.sql.parsing import NestedTooDeepError
from pgfan.sql.tree import Message, inner, kind_of, parse_expression, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.sql.facts import CatalogFacts

WITHOUT_VALUE = frozenset({"pg_sleep", "pg_sleep_for", "pg_sleep_until"})
PHYSICAL = frozenset({"tableoid", "xmin", "xmax", "cmin", "cmax"})
_OVERRIDING_USER_VALUE = "OVERRIDING_USER_VALUE"


class TargetColumn(Struct, frozen=True):
    """A column of the target; `default` is SQL, of a generated column its expression."""

    name: str
    default: str | None = None
    generated: bool = False
    identity: bool = False


class Unrepeatable(Struct, frozen=True):
    """What a comparison leaves out. `columns` and `positions` (from 0) each with what feeds them.

    `counts_only`: only numbers of rows can be compared. `nothing`: not even those. Both say why.
    """

    columns: dict[str, str] = field(default_factory=dict)
    positions: dict[int, str] = field(default_factory=dict)
    counts_only: str | None = None
    nothing: str | None = None


def unrepeatable(
    tree: Message, columns: Sequence[TargetColumn], given: int, facts: CatalogFacts
) -> Unrepeatable:
    """Judge a statement. `columns` are the target's, none for a new table.

    `given` is how many columns its SELECT gives; other statements have none.
    """
    match kind_of(tree):
        case "InsertStmt":
            return _of_insert(tree, columns, given, facts)
        case "UpdateStmt":
            return _of_update(tree, columns, facts)
        case "CreateTableAsStmt":
            return _outputs(tree, inner(tree.query), given, facts)
        case "SelectStmt":
            return _outputs(tree, tree, given, facts)
        case "MergeStmt":
            return _of_merge(tree, columns, facts)
        case _:
            return _refused_for(volatile_in(tree, facts))


def volatile_in(tree: Message, facts: CatalogFacts) -> tuple[str, ...]:
    """The calls and system columns in `tree` whose values are others each time, as written."""
    return tuple(dict.fromkeys(_volatile(tree, facts)))


def _volatile(tree: Message, facts: CatalogFacts) -> Iterator[str]:
    for node in walk(tree):
        if kind_of(node) == "FuncCall" and not looks_at_time(node, facts):
            name = functions.base_name(node)
            if functions.is_volatile(node, facts) and name not in WITHOUT_VALUE:
                yield f"{name}()"
        elif kind_of(node) == "ColumnRef":
            last = inner(node.fields[-1])
            if kind_of(last) == "String" and last.sval in PHYSICAL:
                yield str(last.sval)


def _of_insert(
    tree: Message, columns: Sequence[TargetColumn], given: int, facts: CatalogFacts
) -> Unrepeatable:
    found = _outputs(tree, inner(tree.select_stmt), given, facts)
    if found.nothing or found.counts_only:
        return found
    named = [inner(target).name for target in tree.cols] or [column.name for column in columns]
    fed = {named[at]: why for at, why in found.positions.items() if at < len(named)}
    overrides = tree.DESCRIPTOR.fields_by_name["override"].enum_type.values_by_number
    ignored = overrides[tree.override].name == _OVERRIDING_USER_VALUE
    for column in columns:
        if column.name not in named[:given] or (ignored and column.identity):
            fed |= _by_default(column, facts)
    if fed and tree.HasField("on_conflict_clause"):
        return Unrepeatable(nothing=f"ON CONFLICT may look at {next(iter(fed.values()))}")
    return Unrepeatable(_with_generated(fed, columns))


def _of_update(tree: Message, columns: Sequence[TargetColumn], facts: CatalogFacts) -> Unrepeatable:
    fed: dict[str, str] = {}
    inside = 0
    for target in map(inner, tree.target_list):
        calls = volatile_in(target.val, facts)
        inside += len(list(_volatile(target.val, facts)))
        if calls:
            fed[target.name] = ", ".join(calls)
        elif any(kind_of(node) == "SetToDefault" for node in walk(target.val)):
            for column in columns:
                fed |= _by_default(column, facts) if column.name == target.name else {}
    if inside < len(list(_volatile(tree, facts))):
        return _refused_for(volatile_in(tree, facts))
    return Unrepeatable(_with_generated(fed, columns))


def _of_merge(tree: Message, columns: Sequence[TargetColumn], facts: CatalogFacts) -> Unrepeatable:
    calls = volatile_in(tree, facts)
    if calls:
        return _refused_for(calls)
    fed: dict[str, str] = {}
    for column in columns:
        fed |= _by_default(column, facts)
    return Unrepeatable(_with_generated(fed, columns))


def _outputs(tree: Message, select: Message, given: int, facts: CatalogFacts) -> Unrepeatable:
    """The columns of a SELECT that volatile calls feed; all of the calls must be in its list."""
    calls = volatile_in(tree, facts)
    if not calls:
        return Unrepeatable()
    targets = [inner(target) for target in select.target_list]
    inside = [list(_volatile(target, facts)) for target in targets]
    looks_at_values = (
        select.HasField("larg")
        or select.distinct_clause
        or select.group_clause
        or select.HasField("limit_count")
        or any(_is_set(target, facts) for target, own in zip(targets, inside, strict=True) if own)
    )
    if looks_at_values or sum(map(len, inside)) < len(list(_volatile(tree, facts))):
        return _refused_for(calls)
    stars = [_is_star(target) for target in targets]
    fed: dict[int, str] = {}
    for index, own in enumerate(inside):
        if not own:
            continue
        if any(stars[:index]) and any(stars[index:]):
            return Unrepeatable(counts_only=", ".join(calls))
        at = given - len(targets) + index if any(stars[:index]) else index
        fed[at] = ", ".join(dict.fromkeys(own))
    return Unrepeatable(positions=fed)


def _refused_for(calls: Sequence[str]) -> Unrepeatable:
    if not calls:
        return Unrepeatable()
    return Unrepeatable(nothing=f"{', '.join(calls)} may decide which rows there are")


def _by_default(column: TargetColumn, facts: CatalogFacts) -> dict[str, str]:
    """The column, when its default gives another value each time."""
    if column.identity:
        return {column.name: "its own sequence"}
    if column.default is None or column.generated:
        return {}
    expression = _parsed(column.default)
    if expression is None:
        return {column.name: "its default"}
    calls = volatile_in(expression, facts)
    return {column.name: f"{', '.join(calls)} in its default"} if calls else {}


def _with_generated(fed: dict[str, str], columns: Sequence[TargetColumn]) -> dict[str, str]:
    """`fed` and the generated columns that are computed from those in it."""
    every = dict(fed)
    for column in columns:
        if not column.generated or column.default is None:
            continue
        expression = _parsed(column.default)
        for node in walk(expression) if expression is not None else ():
            name = inner(node.fields[-1]) if kind_of(node) == "ColumnRef" else None
            if name is not None and kind_of(name) == "String" and name.sval in fed:
                every[column.name] = f"generated from {name.sval}"
    return every


def _parsed(text: str) -> Message | None:
    try:
        return parse_expression(text)
    except (postgast.PgQueryError, NestedTooDeepError):
        return None


def _is_set(target: Message, facts: CatalogFacts) -> bool:
    return any(
        kind_of(node) == "FuncCall" and functions.is_set_returning(node, facts)
        for node in walk(target)
    )


def _is_star(target: Message) -> bool:
    value = inner(target.val)
    if kind_of(value) == "ColumnRef":
        return kind_of(inner(value.fields[-1])) == "A_Star"
    return kind_of(value) == "A_Indirection" and any(
        kind_of(inner(step)) == "A_Star" for step in value.indirection
    )
