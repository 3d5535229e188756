"""Values that a range of the driving relation has for itself, followed to the top of the SELECT.

Rows of several chunks must not meet on one row of the target (ON CONFLICT, MERGE). They cannot
when what they meet by is a value that no two ranges have: the split key; for ranges of blocks a
column whose values are unique; and whatever an inner join or WHERE equates to it. Here such values
are found; where they go is in `pgfan.sql.conflict` and `pgfan.sql.merge`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.sql.access import relation_name
from pgfan.sql.facts import ColumnFacts
from pgfan.sql.groups import carried_upwards, kept_by_groups
from pgfan.sql.keys import Column, KeyType, Level
from pgfan.sql.tree import Message, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.sql.candidates import Candidate, Occurrence
    from pgfan.sql.facts import CatalogFacts

INTEGERS = frozenset({"smallint", "integer", "bigint"})
_INTEGER_BITS = {"int4": 32, "integer": 32, "int8": 64, "bigint": 64}


class Determinant(Struct, frozen=True):
    """A value that no two ranges have.

    `key` is the column that it starts from; of a series, one of the series' type. `columns` of the
    statement's own SELECT have it, and so have `outputs`, by number from 0.
    """

    key: ColumnFacts
    columns: frozenset[Column]
    outputs: frozenset[int]
    is_series: bool = False


def determinants(
    occurrence: Occurrence, candidate: Candidate, levels: Sequence[Level], facts: CatalogFacts
) -> tuple[Determinant, ...]:
    """Those of a candidate in FROM; `levels` are the SELECTs around it, the statement's first."""
    found = []
    ordinals = (*occurrence.path, candidate.ordinal)
    for name, key in _starts(occurrence, candidate, levels[-1], facts):
        kind = KeyType(key.type, key.collation)
        carried = levels[-1].carrying([(candidate.ordinal, name)], kind)
        for depth in reversed(range(1, len(levels))):
            around = levels[depth - 1]
            carried = around.carrying(carried_upwards(around, ordinals[depth - 1], carried), kind)
        kept = kept_by_groups(levels[0], carried)
        outputs = levels[0].outputs or []
        positions = frozenset(at for at, (_, column) in enumerate(outputs) if column in kept)
        found.append(Determinant(key, carried, positions, candidate.key == "series"))
    return tuple(found)


def series_determinants(select: Message) -> tuple[Determinant, ...]:
    """Those of the one generate_series in the target list: the output that it is."""
    # A star before it would stand for several columns, but there is no FROM to have any.
    for at, entry in enumerate(select.target_list):
        value = inner(entry.res_target.val)
        if kind_of(value) == "FuncCall" and names(value.funcname)[-1] == "generate_series":
            kind = _series_type(value)
            key = ColumnFacts("", None, type=kind or "")
            found = Determinant(key, frozenset(), frozenset({at}), is_series=True)
            return (found,) if kind else ()
    return ()


def is_stored_apart(key: ColumnFacts, target: ColumnFacts) -> bool:
    """Whether different values of `key` stay different when they are stored in `target`.

    A length or a precision may make them equal: 1.004 and 1.001 in numeric(10, 2).
    """
    if target.generated:
        return False
    if key.type in INTEGERS and target.type in INTEGERS:
        return True  # or they do not fit, which is an error
    same = (key.type, key.collation) == (target.type, target.collation)
    return same and target.orderable and target.typmod in {-1, key.typmod}


def _starts(
    occurrence: Occurrence, candidate: Candidate, level: Level, facts: CatalogFacts
) -> Iterator[tuple[str, ColumnFacts]]:
    """The columns of the driving relation itself, under the names that they have there."""
    node = occurrence.item.node
    known = level.names[candidate.ordinal] or ()
    if candidate.key == "series":
        kind = _series_type(inner(node.functions[0].list.items[0]))
        if kind is not None and len(known) == 1:
            yield known[0], ColumnFacts(known[0], None, type=kind)
        return
    relation = facts.relations[relation_name(node)]
    # An index of a parent says nothing of the rows of its children.
    alone = relation.kind == "p" or not (relation.has_children and node.inh)
    for seen, column in zip(known, relation.columns, strict=False):
        is_key = alone and column.unique and column.orderable and known.count(seen) == 1
        by_row = candidate.key in {"ctid", "cells"}  # each row is in one chunk, equal ones in any
        if is_key if by_row else seen == candidate.column:
            yield seen, column


def _series_type(call: Message) -> str | None:
    """The type of a series of whole numbers, None when that is not sure."""
    bits = [_bits(inner(argument)) for argument in call.args]
    if None in bits:
        return None
    return "integer" if max(bit or 0 for bit in bits) == 32 else "bigint"


def _bits(argument: Message) -> int | None:
    if kind_of(argument) == "TypeCast":
        path = names(argument.type_name.names)
        plain = len(path) == 1 or path[:1] == ("pg_catalog",)
        array = bool(argument.type_name.array_bounds)
        return _INTEGER_BITS.get(path[-1]) if plain and not array else None
    if kind_of(argument) != "A_Const":
        return None
    match argument.WhichOneof("val"):
        case "ival":
            return 32
        case "fval" if argument.fval.fval.lstrip("-").isdigit():
            return 64 if abs(int(argument.fval.fval)) < 1 << 63 else None
        case _:
            return None
