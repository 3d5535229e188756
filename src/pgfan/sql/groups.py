"""Groups: GROUP BY, DISTINCT, window functions, and which columns of a subquery carry the key.

A grouping is sound when a column that carries the split key (`pgfan.sql.keys`) determines the
group: then all rows of a group lie in one range. The manual calls what GROUP BY may list "grouping
sets": the key must be in every one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql.keys import Column, Level, is_star
from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMPLICIT_ROW = pb.CoercionForm.Value("COERCE_IMPLICIT_CAST")
"""GROUP BY (x, y) lists x and y; GROUP BY ROW(x, y) is one value."""
_SETS = pb.GroupingSetKind.Value("GROUPING_SET_SETS")


def grouping_objections(level: Level, carried: frozenset[Column]) -> Iterator[Reason]:
    """Why rows of one group may lie in several ranges; `carried` is empty for a key like ctid."""
    kept = kept_by_groups(level, carried)
    if level.is_distinct and not _distinct_is_sound(level, kept):
        yield Reason(
            "distinct", "DISTINCT looks at all rows: the split key is not among its columns"
        )
    if level.group_clause and not _group_is_sound(level, carried):
        yield Reason(
            "group-by", "GROUP BY looks at all rows of a group: it does not group by the split key"
        )
    if not level.group_clause and level.select.HasField("having_clause"):
        yield Reason("aggregate", "HAVING without GROUP BY looks at all rows")
    sound = all(
        _window_is_sound(level, window, window.refname, kept) for window in level.window_clause
    )
    for window in level.windows_used:
        sound &= _window_is_sound(level, window, window.refname or window.name, kept)
    if not sound:
        yield Reason(
            "window", "window functions look at other rows: PARTITION BY lacks the split key"
        )


def kept_by_groups(level: Level, carried: frozenset[Column]) -> frozenset[Column]:
    """The columns that carry the key in what GROUP BY gives: NULL stands for one not in a set."""
    if all(kind_of(node) != "GroupingSet" for node in level.group_clause):
        return carried
    return frozenset(
        column
        for column in carried
        if any(_in_every_set(level, node, frozenset({column})) for node in level.group_clause)
    )


def _group_is_sound(level: Level, carried: frozenset[Column]) -> bool:
    # The sets of all entries are combined: one entry that has the key in each of its own is enough.
    return any(_in_every_set(level, node, carried) for node in level.group_clause)


def _in_every_set(level: Level, node: Message, carried: frozenset[Column]) -> bool:
    """Whether each grouping set that an entry of GROUP BY stands for has one of `carried`."""
    match kind_of(node):
        case "GroupingSet":
            # ROLLUP and CUBE have the empty set among theirs.
            return node.kind == _SETS and all(
                _in_every_set(level, inner(entry), carried) for entry in node.content
            )
        case "RowExpr" if node.row_format == _IMPLICIT_ROW:
            return any(_in_every_set(level, inner(entry), carried) for entry in node.args)
        case "RowExpr":
            return _holds(level, node, carried)
        case _:
            return level.grouped(node, _entry) in carried


def _entry(level: Level, node: Message) -> Column | None:
    return _grouped(level, node, input_first=True)


def _distinct_is_sound(level: Level, carried: frozenset[Column]) -> bool:
    expressions = [inner(n) for n in level.select.distinct_clause if n.WhichOneof("node")]
    if expressions:
        return any(_grouped(level, node, input_first=False) in carried for node in expressions)
    return any(column in carried for _, column in level.outputs or ())


def _grouped(level: Level, node: Message, *, input_first: bool) -> Column | None:
    """The column that an entry of GROUP BY or DISTINCT ON means.

    It may be the number or the name of an output column; a name is one of FROM first in GROUP BY,
    and one of the output first in DISTINCT ON (manual, "SELECT").
    """
    kind = kind_of(node)
    column = level.resolve(node) if kind == "ColumnRef" else None
    if kind == "ColumnRef" and (len(node.fields) != 1 or (input_first and column is not None)):
        return column
    targets = [entry.res_target for entry in level.select.target_list]
    if kind == "A_Const":
        number = node.ival.ival if node.WhichOneof("val") == "ival" else 0
        before = targets[: max(number, 0)]
        if not 1 <= number <= len(targets) or any(is_star(inner(each.val)) for each in before):
            return None
        return level.resolve(inner(targets[number - 1].val))
    if kind != "ColumnRef":
        return None
    (name,) = names(node.fields) or ("",)
    meant = [inner(each.val) for each in targets if each.name == name]
    if input_first and level.may_have(name):
        return None
    return level.resolve(meant[0]) if len(meant) == 1 else (None if meant else column)


def _window_is_sound(
    level: Level, window: Message, refers_to: str, carried: frozenset[Column]
) -> bool:
    defined = level.window_clause
    while not any(_holds(level, inner(node), carried) for node in window.partition_clause):
        meant = [at for at, each in enumerate(defined) if refers_to and each.name == refers_to]
        if len(meant) != 1:
            return False
        window = defined[meant[0]]
        # A window builds on one that is defined before it.
        refers_to, defined = window.refname, defined[: meant[0]]
    return True


def _holds(level: Level, node: Message, carried: frozenset[Column]) -> bool:
    """Whether an expression is a column that carries the key, or a row that has one."""
    if kind_of(node) == "RowExpr":
        return any(_holds(level, inner(entry), carried) for entry in node.args)
    return level.resolve(node) in carried


def carried_upwards(around: Level, ordinal: int, carried: frozenset[Column]) -> frozenset[Column]:
    """The columns of a subquery of `around` that carry the key, as seen from there."""
    query, known = around.below(ordinal), around.names[ordinal]
    kept = kept_by_groups(query, carried)
    if query.outputs is None or known is None:
        return frozenset()
    return frozenset(
        (ordinal, name)
        for name, (_, column) in zip(known, query.outputs, strict=True)
        if column in kept and known.count(name) == 1
    )
