"""Which columns carry the split key: through equi-joins, and from a subquery's output upwards.

A column of the driving relation is the key. Columns that an inner join or WHERE equates to it have
the same value in every row, so they carry it too (an equivalence class, as PostgreSQL's planner
calls it). A grouping is sound when it groups by a column of the class: then all rows of a group
lie in one range. The nullable side of an outer join never counts, nor does a function of the key.

What cannot be shown with the names at hand is not taken to carry the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from pgfan.sql.access import relation_name
from pgfan.sql.sources import JOIN_INNER, JOIN_LEFT, JOIN_RIGHT, FromItem, from_items
from pgfan.sql.tree import Message, children, inner, kind_of, names, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgfan.sql.facts import CatalogFacts

Column: TypeAlias = tuple[int, str]
"""An item of FROM by ordinal, and the name of a column of it as the statement sees it."""
_AEXPR_OP = 1  # nodes/parsenodes.h, as libpg_query numbers it
_AND = 1
DEPTH_MAX = 30
"""Subqueries in FROM, one in another, that are looked into: as many as recursion bears."""


@dataclass(frozen=True)
class KeyType:
    """Only columns of one type and collation can be told to have the same order."""

    type: str
    collation: str


class Level:
    """One SELECT, its items of FROM, and the names of their columns where they are known.

    Everything is worked out once for all keys of the statement. `depth` counts the SELECTs around
    it; below `DEPTH_MAX` nothing is known.
    """

    def __init__(self, select: Message, facts: CatalogFacts, depth: int = 0) -> None:
        self.select = select
        self.items = list(from_items(select))
        self.depth = depth
        self._facts = facts
        self._joins = list(_joins(select))
        self._below: dict[int, Level] = {}
        self._ordinals = {id(item.node): item.ordinal for item in self.items}
        # An alias for a join renames what is inside.
        self._opaque = any(join.HasField("alias") for join in self._joins)

    def below(self, ordinal: int) -> Level:
        """The subquery that an item of FROM is."""
        if ordinal not in self._below:
            query = inner(self.items[ordinal].node.subquery)
            self._below[ordinal] = Level(query, self._facts, self.depth + 1)
        return self._below[ordinal]

    @cached_property
    def names(self) -> list[tuple[str, ...] | None]:
        """The columns of each item under the names that the statement gives them, or None.

        An empty name stands for one that is not known.
        """
        return [self._column_names(item) for item in self.items]

    def _column_names(self, item: FromItem) -> tuple[str, ...] | None:
        node = item.node
        if kind_of(node) != "RangeSubselect":
            return _plain_names(node, self._facts)
        query = inner(node.subquery)
        if kind_of(query) != "SelectStmt" or query.HasField("larg") or query.values_lists:
            return None
        outputs = self.below(item.ordinal).outputs if self.depth < DEPTH_MAX else None
        return None if outputs is None else _renamed(node, tuple(name for name, _ in outputs))

    def key_type(self, column: Column) -> KeyType | None:
        """The type of a relation's column; None for what is not a relation's."""
        ordinal, name = column
        node = self.items[ordinal].node
        relation = self._facts.relations.get(relation_name(node)) if _is_relation(node) else None
        names_ = self.names[ordinal]
        if relation is None or names_ is None or name not in names_:
            return None
        facts = relation.columns[names_.index(name)]
        return KeyType(facts.type, facts.collation)

    @cached_property
    def compared(self) -> frozenset[str]:
        """Names of columns in WHERE and in the conditions of joins, and perhaps others."""
        nodes = [self.select.where_clause, *(join.quals for join in self._joins)]
        found = {
            names(node.fields)[-1]
            for part in nodes
            for node in walk(part)
            if kind_of(node) == "ColumnRef" and names(node.fields)
        }
        found.update(name for join in self._joins for name in names(join.using_clause))
        if any(join.is_natural for join in self._joins):
            found.update(name for known in self.names for name in known or ())
        return frozenset(found)

    def only_column(self, ordinal: int) -> Column | None:
        """The column of an item that has one, such as a series."""
        known = self.names[ordinal]
        return (ordinal, known[0]) if known is not None and len(known) == 1 else None

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
        known = self.names[meant[0].ordinal] if len(meant) == 1 else None
        return (meant[0].ordinal, fields[1]) if fields[1] in (known or ()) else None

    def _unqualified(self, name: str) -> Column | None:
        # Another item of which not all names are known cannot have it: it would be ambiguous.
        found = [item.ordinal for item in self.items if name in (self.names[item.ordinal] or ())]
        # Two that have the name are merged by USING, and equal when no join is an outer one.
        if not found or (len(found) > 1 and any(j.jointype != JOIN_INNER for j in self._joins)):
            return None
        return found[0], name

    def may_have(self, name: str) -> bool:
        """Whether FROM has, or may have, a column of this name."""
        return self._opaque or any(
            known is None or name in known or "" in known for known in self.names
        )

    def carrying(self, start: Iterable[Column], key: KeyType) -> frozenset[Column]:
        """`start` and all columns that have the same value in every row."""
        carried = set(start)
        stack = list(carried)
        while stack:
            for other in self._equal_to.get(stack.pop(), ()):
                if other not in carried and self.key_type(other) == key:
                    carried.add(other)
                    stack.append(other)
        return frozenset(carried)

    @cached_property
    def outputs(self) -> list[tuple[str, Column | None]] | None:
        """The output columns, and which column each is; None when a star hides them."""
        found: list[tuple[str, Column | None]] = []
        for entry in self.select.target_list:
            value = inner(entry.res_target.val)
            if is_star(value):
                expanded = self._star(value)
                if expanded is None:
                    return None
                found += expanded
                continue
            column = self.resolve(value)
            name = entry.res_target.name or (column[1] if column else _call_name(value))
            found.append((name, column))
        return found

    def _star(self, star: Message) -> list[tuple[str, Column]] | None:
        qualifier = names(star.fields)
        meant = [item for item in self.items if not qualifier or item.alias == qualifier]
        merged = any(join.using_clause or join.is_natural for join in self._joins)
        if self._opaque or (merged and not qualifier) or len(qualifier) > 1:
            return None
        found: list[tuple[str, Column]] = []
        for item in meant:
            known = self.names[item.ordinal]
            if known is None:
                return None
            found += [(name, (item.ordinal, name)) for name in known]
        return found

    @cached_property
    def windows_used(self) -> list[Message]:
        """The OVER clauses of this SELECT, not those of its subqueries."""
        select, found = self.select, []
        stack = [inner(node) for node in (*select.target_list, *select.sort_clause)]
        while stack:
            node = stack.pop()
            if kind_of(node) == "SelectStmt":
                continue
            if kind_of(node) == "FuncCall" and node.HasField("over"):
                found.append(node.over)
            stack += children(node)
        return found

    # Equalities ---------------------------------------------------------------------------------

    @cached_property
    def _equal_to(self) -> dict[Column, list[Column]]:
        found: dict[Column, list[Column]] = {}
        for left, right in self._equalities():
            found.setdefault(left, []).append(right)
            found.setdefault(right, []).append(left)
        return found

    def _equalities(self) -> Iterator[tuple[Column, Column]]:
        conditions = list(conjuncts(self.select.where_clause))
        for join in self._joins:
            if join.jointype == JOIN_INNER:
                conditions += conjuncts(join.quals)
                yield from self._using(join)
        for condition in conditions:
            pair = self._equated(condition)
            if pair is not None and self._preserved(*pair):
                yield pair

    def _equated(self, condition: Message) -> tuple[Column, Column] | None:
        """The columns that a condition of the form a = b equates."""
        if kind_of(condition) != "A_Expr" or condition.kind != _AEXPR_OP:
            return None
        is_equality = names(condition.name) in {("=",), ("pg_catalog", "=")}
        if not is_equality or self._facts.operators.get(("=",)):
            return None
        left = self.resolve(inner(condition.lexpr))
        right = self.resolve(inner(condition.rexpr))
        return (left, right) if left and right else None

    def matched(self, carried: frozenset[Column], key: KeyType) -> Iterator[tuple[Message, Column]]:
        """Outer joins, each with a column of its nullable side that ON equates to a carried one.

        A row outside of the key's range has no match there.
        """
        for join in self._joins:
            if join.jointype not in {JOIN_LEFT, JOIN_RIGHT}:
                continue
            nullable = self._inside(inner(join.rarg if join.jointype == JOIN_LEFT else join.larg))
            for pair in map(self._equated, conjuncts(join.quals)):
                for own, other in (pair, pair[::-1]) if pair is not None else ():
                    is_match = own in carried and other[0] in nullable
                    if is_match and self.key_type(other) == key:
                        yield join, other

    def _using(self, join: Message) -> Iterator[tuple[Column, Column]]:
        left, right = self._inside(inner(join.larg)), self._inside(inner(join.rarg))
        shared = names(join.using_clause)
        if join.is_natural:
            if any(self.names[item] is None for item in (*left, *right)):
                return
            shared = tuple(name for item in left for name in self.names[item] or ())
        for name in shared:
            ours = [item for item in left if name in (self.names[item] or ())]
            theirs = [item for item in right if name in (self.names[item] or ())]
            if len(ours) == len(theirs) == 1 and self._preserved(
                (ours[0], name), (theirs[0], name)
            ):
                yield (ours[0], name), (theirs[0], name)

    def _preserved(self, *columns: Column) -> bool:
        return all(self.items[ordinal].preserved for ordinal, _ in columns)

    def _inside(self, node: Message) -> list[int]:
        """The ordinals of the items in a join's arm."""
        stack, found = [node], []
        while stack:
            node = stack.pop()
            if kind_of(node) == "JoinExpr":
                stack += (inner(node.rarg), inner(node.larg))
            else:
                found.append(self._ordinals[id(node)])
        return found


def _plain_names(node: Message, facts: CatalogFacts) -> tuple[str, ...] | None:
    """The columns of an item of FROM that is no subquery."""
    match kind_of(node):
        case "RangeVar":
            relation = facts.relations.get(relation_name(node))
            if relation is None or relation.kind == "?":
                return None
            return _renamed(node, tuple(column.name for column in relation.columns))
        case "RangeFunction":
            call = inner(node.functions[0].list.items[0])
            plain = len(node.functions) == 1 and not node.ordinality and not node.coldeflist
            if not plain or kind_of(call) != "FuncCall":
                return None
            if names(call.funcname)[-1] != "generate_series":
                return None
            alias = node.alias.aliasname if node.HasField("alias") else "generate_series"
            return _renamed(node, (alias,))
        case _:
            return None


def _renamed(node: Message, own: tuple[str, ...]) -> tuple[str, ...]:
    given = names(node.alias.colnames) if node.HasField("alias") else ()
    return (*given, *own[len(given) :])


def conjuncts(condition: Message) -> list[Message]:
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


def is_star(node: Message) -> bool:
    """Whether it is `*` or `a.*`."""
    return kind_of(node) == "ColumnRef" and kind_of(inner(node.fields[-1])) == "A_Star"
