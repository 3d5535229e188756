"""Which columns carry the split key: through equi-joins, and from a subquery's output upwards.

A column of the driving relation is the key. Columns that an inner join or WHERE equates to it have
the same value in every row, so they carry it too (an equivalence class, as PostgreSQL's planner
calls it). A grouping is sound when it groups by a column of the class: then all rows of a group
lie in one range. The nullable side of an outer join never counts, nor does a function of the key.

What cannot be shown with the names at hand is not taken to carry the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from pgfan.sql.access import relation_name
from pgfan.sql.reasons import Reason
from pgfan.sql.sources import JOIN_INNER, FromItem, from_items
from pgfan.sql.tree import Message, children, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgfan.sql.facts import CatalogFacts

Column: TypeAlias = tuple[int, str]
"""An item of FROM by ordinal, and the name of a column of it as the statement sees it."""
_AEXPR_OP = 1  # nodes/parsenodes.h, as libpg_query numbers it
_AND = 1


@dataclass(frozen=True)
class KeyType:
    """Only columns of one type and collation can be told to have the same order."""

    type: str
    collation: str


class Level:
    """One SELECT, its items of FROM, and the names of their columns where they are known."""

    def __init__(self, select: Message, facts: CatalogFacts) -> None:
        self.select = select
        self.items = list(from_items(select))
        self._facts = facts
        self._joins = list(_joins(select))
        self._names = [column_names(item.node, facts) for item in self.items]
        # An alias for a join renames what is inside.
        self._opaque = any(join.HasField("alias") for join in self._joins)

    def key_type(self, column: Column) -> KeyType | None:
        """The type of a relation's column; None for what is not a relation's."""
        ordinal, name = column
        node = self.items[ordinal].node
        relation = self._facts.relations.get(relation_name(node)) if _is_relation(node) else None
        names_ = self._names[ordinal]
        if relation is None or names_ is None or name not in names_:
            return None
        facts = relation.columns[names_.index(name)]
        return KeyType(facts.type, facts.collation)

    def resolve(self, node: Message) -> Column | None:
        """The column that a reference means; None when that is not sure."""
        if kind_of(node) != "ColumnRef" or self._opaque:
            return None
        fields = names(node.fields)
        if len(fields) != len(node.fields):
            return None
        if len(fields) == 1:
            return self._unqualified(fields[0])
        if len(fields) != 2:
            return None
        meant = [item for item in self.items if item.alias == fields[:1]]
        known = self._names[meant[0].ordinal] if len(meant) == 1 else None
        return (meant[0].ordinal, fields[1]) if fields[1] in (known or ()) else None

    def _unqualified(self, name: str) -> Column | None:
        # Another item of which not all names are known cannot have it: it would be ambiguous.
        found = [item.ordinal for item in self.items if name in (self._names[item.ordinal] or ())]
        # Two that have the name are merged by USING, and equal when no join is an outer one.
        if not found or (len(found) > 1 and any(j.jointype != JOIN_INNER for j in self._joins)):
            return None
        return found[0], name

    def may_have(self, name: str) -> bool:
        """Whether FROM has, or may have, a column of this name."""
        return self._opaque or any(
            known is None or name in known or "" in known for known in self._names
        )

    def carrying(self, start: Iterable[Column], key: KeyType) -> frozenset[Column]:
        """`start` and all columns that have the same value in every row."""
        carried = set(start)
        pairs = list(self._equalities())
        grown = True
        while grown:
            grown = False
            for left, right in pairs:
                for known, other in ((left, right), (right, left)):
                    if known in carried and other not in carried and self.key_type(other) == key:
                        carried.add(other)
                        grown = True
        return frozenset(carried)

    def outputs(self, carried: frozenset[Column]) -> list[tuple[str, bool]] | None:
        """The output columns, and whether each carries the key; None when a star hides them."""
        found: list[tuple[str, bool]] = []
        for entry in self.select.target_list:
            value = inner(entry.res_target.val)
            if _is_star(value):
                expanded = self._star(value, carried)
                if expanded is None:
                    return None
                found += expanded
                continue
            column = self.resolve(value)
            name = entry.res_target.name or (column[1] if column else _call_name(value))
            found.append((name, column in carried))
        return found

    def _star(self, star: Message, carried: frozenset[Column]) -> list[tuple[str, bool]] | None:
        qualifier = names(star.fields)
        meant = [item for item in self.items if not qualifier or item.alias == qualifier]
        merged = any(join.using_clause or join.is_natural for join in self._joins)
        if self._opaque or (merged and not qualifier) or len(qualifier) > 1:
            return None
        found: list[tuple[str, bool]] = []
        for item in meant:
            known = self._names[item.ordinal]
            if known is None:
                return None
            found += [(name, (item.ordinal, name) in carried) for name in known]
        return found

    # Equalities ---------------------------------------------------------------------------------

    def _equalities(self) -> Iterator[tuple[Column, Column]]:
        conditions = list(_conjuncts(self.select.where_clause))
        for join in self._joins:
            if join.jointype == JOIN_INNER:
                conditions += _conjuncts(join.quals)
                yield from self._using(join)
        if self._facts.operators.get(("=",)):
            return
        for condition in conditions:
            if kind_of(condition) != "A_Expr" or condition.kind != _AEXPR_OP:
                continue
            if names(condition.name) not in {("=",), ("pg_catalog", "=")}:
                continue
            left = self.resolve(inner(condition.lexpr))
            right = self.resolve(inner(condition.rexpr))
            if left and right and self._preserved(left, right):
                yield left, right

    def _using(self, join: Message) -> Iterator[tuple[Column, Column]]:
        left, right = self._below(inner(join.larg)), self._below(inner(join.rarg))
        shared = names(join.using_clause)
        if join.is_natural:
            if any(self._names[item] is None for item in (*left, *right)):
                return
            shared = tuple(name for item in left for name in self._names[item] or ())
        for name in shared:
            ours = [item for item in left if name in (self._names[item] or ())]
            theirs = [item for item in right if name in (self._names[item] or ())]
            if len(ours) == len(theirs) == 1 and self._preserved(
                (ours[0], name), (theirs[0], name)
            ):
                yield (ours[0], name), (theirs[0], name)

    def _preserved(self, *columns: Column) -> bool:
        return all(self.items[ordinal].preserved for ordinal, _ in columns)

    def _below(self, node: Message) -> list[int]:
        """The ordinals of the items in a join's arm."""
        if kind_of(node) == "JoinExpr":
            return self._below(inner(node.larg)) + self._below(inner(node.rarg))
        return [item.ordinal for item in self.items if item.node is node]


def column_names(node: Message, facts: CatalogFacts) -> tuple[str, ...] | None:
    """The columns of an item of FROM under the names that the statement gives them, or None.

    An empty name stands for one that is not known.
    """
    has_alias = "alias" in node.DESCRIPTOR.fields_by_name and node.HasField("alias")
    renamed = names(node.alias.colnames) if has_alias else ()
    match kind_of(node):
        case "RangeVar":
            relation = facts.relations.get(relation_name(node))
            if relation is None or relation.kind == "?":
                return None
            own = tuple(column.name for column in relation.columns)
        case "RangeSubselect":
            query = inner(node.subquery)
            if kind_of(query) != "SelectStmt" or query.HasField("larg") or query.values_lists:
                return None
            outputs = Level(query, facts).outputs(frozenset())
            if outputs is None:
                return None
            own = tuple(name for name, _ in outputs)
        case "RangeFunction":
            call = inner(node.functions[0].list.items[0])
            plain = len(node.functions) == 1 and not node.ordinality and not node.coldeflist
            if not plain or kind_of(call) != "FuncCall":
                return None
            if names(call.funcname)[-1] != "generate_series":
                return None
            own = (node.alias.aliasname if has_alias else "generate_series",)
        case _:
            return None
    return (*renamed, *own[len(renamed) :])


def grouping_objections(level: Level, carried: frozenset[Column]) -> Iterator[Reason]:
    """Why rows of one group may lie in several ranges; `carried` is empty for a key like ctid."""
    select = level.select
    if select.distinct_clause and not _distinct_is_sound(level, carried):
        yield Reason(
            "distinct", "DISTINCT looks at all rows: the split key is not among its columns"
        )
    if select.group_clause and not _group_is_sound(level, carried):
        yield Reason(
            "group-by", "GROUP BY looks at all rows of a group: it does not group by the split key"
        )
    if select.HasField("having_clause") and not select.group_clause:
        yield Reason("aggregate", "HAVING without GROUP BY looks at all rows")
    defined = [inner(window) for window in select.window_clause]
    sound = all(_window_is_sound(level, window, window.refname, carried) for window in defined)
    for window in _windows_used(select):
        sound &= _window_is_sound(level, window, window.refname or window.name, carried)
    if not sound:
        yield Reason(
            "window", "window functions look at other rows: PARTITION BY lacks the split key"
        )


def _group_is_sound(level: Level, carried: frozenset[Column]) -> bool:
    expressions = [inner(node) for node in level.select.group_clause]
    if any(kind_of(node) == "GroupingSet" for node in expressions):
        return False
    return any(_grouped(level, node, input_first=True) in carried for node in expressions)


def _distinct_is_sound(level: Level, carried: frozenset[Column]) -> bool:
    expressions = [inner(n) for n in level.select.distinct_clause if n.WhichOneof("node")]
    if expressions:
        return any(_grouped(level, node, input_first=False) in carried for node in expressions)
    outputs = level.outputs(carried)
    return outputs is not None and any(carries for _, carries in outputs)


def _grouped(level: Level, node: Message, *, input_first: bool) -> Column | None:
    """The column that an entry of GROUP BY or DISTINCT ON means.

    It may be the number or the name of an output column; a name is one of FROM first in GROUP BY,
    and one of the output first in DISTINCT ON (manual, "SELECT").
    """
    targets = [entry.res_target for entry in level.select.target_list]
    if kind_of(node) == "A_Const":
        number = node.ival.ival if node.WhichOneof("val") == "ival" else 0
        before = targets[: max(number, 0)]
        if not 1 <= number <= len(targets) or any(_is_star(inner(each.val)) for each in before):
            return None
        return level.resolve(inner(targets[number - 1].val))
    if kind_of(node) != "ColumnRef":
        return None
    column = level.resolve(node)
    if len(node.fields) != 1 or (input_first and column is not None):
        return column
    (name,) = names(node.fields) or ("",)
    meant = [inner(each.val) for each in targets if each.name == name]
    if input_first and level.may_have(name):
        return None
    return level.resolve(meant[0]) if len(meant) == 1 else (None if meant else column)


def _windows_used(select: Message) -> Iterator[Message]:
    """The OVER clauses of this SELECT, not those of its subqueries."""
    stack = [inner(node) for node in (*select.target_list, *select.sort_clause)]
    while stack:
        node = stack.pop()
        if kind_of(node) == "SelectStmt":
            continue
        if kind_of(node) == "FuncCall" and node.HasField("over"):
            yield node.over
        stack.extend(children(node))


def _window_is_sound(
    level: Level, window: Message, refers_to: str, carried: frozenset[Column]
) -> bool:
    if any(level.resolve(inner(node)) in carried for node in window.partition_clause):
        return True
    defined = [inner(node) for node in level.select.window_clause]
    meant = [each for each in defined if refers_to and each.name == refers_to]
    return len(meant) == 1 and _window_is_sound(level, meant[0], meant[0].refname, carried)


def carried_upwards(
    item: FromItem, query: Level, carried: frozenset[Column], facts: CatalogFacts
) -> frozenset[Column]:
    """The columns of the subquery `item` that carry the key, as the query around it sees them."""
    outputs, known = query.outputs(carried), column_names(item.node, facts)
    if outputs is None or known is None:
        return frozenset()
    return frozenset(
        (item.ordinal, name)
        for name, (_, carries) in zip(known, outputs, strict=True)
        if carries and known.count(name) == 1
    )


def _conjuncts(condition: Message) -> list[Message]:
    """The parts of a condition that AND holds together."""
    stack, found = [inner(condition)], []
    while stack:
        node = stack.pop()
        if kind_of(node) == "BoolExpr" and node.boolop == _AND:
            stack.extend(inner(argument) for argument in node.args)
        else:
            found.append(node)
    return found


def _joins(select: Message) -> Iterator[Message]:
    stack = [inner(node) for node in select.from_clause]
    while stack:
        node = stack.pop()
        if kind_of(node) == "JoinExpr":
            yield node
            stack.extend((inner(node.larg), inner(node.rarg)))


def _is_relation(node: Message) -> bool:
    return kind_of(node) == "RangeVar"


def _call_name(node: Message) -> str:
    return names(node.funcname)[-1] if kind_of(node) == "FuncCall" else ""


def _is_star(node: Message) -> bool:
    return kind_of(node) == "ColumnRef" and kind_of(inner(node.fields[-1])) == "A_Star"
