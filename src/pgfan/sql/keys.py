"""Which columns carry the split key: through equi-joins, and from a subquery's output upwards.

A column of the driving relation is the key. Columns that an inner join or WHERE equates to it have
the same value in every row, so they carry it too (an equivalence class, as PostgreSQL's planner
calls it). A grouping is sound when it groups by a column of the class: then all rows of a group
lie in one range. The nullable side of an outer join never counts, nor does a function of the key.

What cannot be shown with the names at hand is not taken to carry the key.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from pgfan.sql.access import relation_name
from pgfan.sql.index import TreeIndex
from pgfan.sql.joins import Join, conjuncts, joins_of, within
from pgfan.sql.sources import JOIN_INNER, JOIN_LEFT, JOIN_RIGHT, FromItem, from_items
from pgfan.sql.tree import Message, children, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pgfan.sql.facts import CatalogFacts, RelationFacts

Column: TypeAlias = tuple[int, str]
"""An item of FROM by ordinal, and the name of a column of it as the statement sees it."""
_NO_COLUMNS: frozenset[Column] = frozenset()
_AEXPR_OP = 1  # nodes/parsenodes.h, as libpg_query numbers it
DEPTH_MAX = 30
"""Subqueries in FROM, one in another, that are looked into: as many as recursion bears."""


class KeyType(Struct, frozen=True):
    """Only columns of one type and collation can be told to have the same order."""

    type: str
    collation: str


class Level:
    """One SELECT, its items of FROM, and the names of their columns where they are known.

    Everything is worked out once for all keys of the statement. `depth` counts the SELECTs around
    it; below `DEPTH_MAX` nothing is known. `has_windows`: whether any call in it may have OVER.
    `index` is that of a tree around it, where there is one.
    """

    def __init__(
        self,
        select: Message,
        facts: CatalogFacts,
        depth: int = 0,
        *,
        has_windows: bool = True,
        index: TreeIndex | None = None,
    ) -> None:
        self.select = select
        self._index = index
        self.items = list(from_items(select))
        self.depth = depth
        self._has_windows = has_windows
        self._facts = facts
        self._joins = joins_of(select, self.items)
        self._below: dict[int, Level] = {}
        self._resolved: dict[int, tuple[Message, Column | None]] = {}
        self._grouped: dict[int, tuple[Message, Column | None]] = {}
        self._classes: dict[tuple[Column, KeyType], frozenset[Column]] = {}
        # An alias for a join renames what is inside.
        self._opaque = any(join.node.HasField("alias") for join in self._joins)

    def below(self, ordinal: int) -> Level:
        """The subquery that an item of FROM is."""
        if ordinal not in self._below:
            query = inner(self.items[ordinal].node.subquery)
            self._below[ordinal] = Level(
                query,
                self._facts,
                self.depth + 1,
                has_windows=self._has_windows,
                index=self._index,
            )
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
        return self._types.get(column)

    @cached_property
    def _types(self) -> dict[Column, KeyType]:
        found: dict[Column, KeyType] = {}
        for ordinal, relation in enumerate(self.relations):
            columns = relation.columns if relation is not None else ()
            for name, facts in zip(self.names[ordinal] or (), columns, strict=False):
                found.setdefault((ordinal, name), KeyType(facts.type, facts.collation))
        return found

    @cached_property
    def relations(self) -> list[RelationFacts | None]:
        """The relation that each item of FROM is, where it is one that the catalogue knows."""
        known = self._facts.relations
        return [
            known.get(relation_name(item.node)) if item.kind == "RangeVar" else None
            for item in self.items
        ]

    @cached_property
    def group_clause(self) -> list[Message]:
        """The entries of GROUP BY."""
        return [inner(node) for node in self.select.group_clause]

    @cached_property
    def window_clause(self) -> list[Message]:
        """The windows that WINDOW defines."""
        return [inner(node) for node in self.select.window_clause]

    @cached_property
    def is_distinct(self) -> bool:
        """Whether it is a SELECT DISTINCT, with ON or without."""
        return bool(self.select.distinct_clause)

    @cached_property
    def compared(self) -> frozenset[str]:
        """Names of columns in WHERE and in the conditions of joins, and perhaps others."""
        index = self._index or TreeIndex(self.select)
        conditions = [join.node.quals for join in self._joins if join.node.HasField("quals")]
        if self.select.HasField("where_clause"):
            conditions.append(self.select.where_clause)
        found: set[str] = set()
        for condition in conditions:
            for node in index.of("ColumnRef", inner(condition)):
                found.update(names(node.fields)[-1:])
        found.update(name for join in self._joins for name in names(join.node.using_clause))
        if any(join.node.is_natural for join in self._joins):
            found.update(name for known in self.names for name in known or ())
        return frozenset(found)

    def only_column(self, ordinal: int) -> Column | None:
        """The column of an item that has one, such as a series."""
        known = self.names[ordinal]
        return (ordinal, known[0]) if known is not None and len(known) == 1 else None

    def resolve(self, node: Message) -> Column | None:
        """The column that a reference means; None when that is not sure."""
        known = self._resolved.get(id(node))
        if known is None:  # the node is kept, so that no other gets its id
            known = self._resolved[id(node)] = node, self._meant(node)
        return known[1]

    def grouped(
        self, entry: Message, means: Callable[[Level, Message], Column | None]
    ) -> Column | None:
        """The column that an entry of GROUP BY means, which `means` is asked for once."""
        known = self._grouped.get(id(entry))
        if known is None:
            known = self._grouped[id(entry)] = entry, means(self, entry)
        return known[1]

    def _meant(self, node: Message) -> Column | None:
        if kind_of(node) != "ColumnRef" or self._opaque:
            return None
        fields = names(node.fields)
        if len(fields) != len(node.fields):
            return None
        if len(fields) == 1:
            return self._unqualified(fields[0])
        if len(fields) != 2:
            return None
        meant = self._aliases.get(fields[0], [])
        known = self.names[meant[0]] if len(meant) == 1 else None
        return (meant[0], fields[1]) if fields[1] in (known or ()) else None

    @cached_property
    def _aliases(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for item in self.items:
            for alias in item.alias:
                found.setdefault(alias, []).append(item.ordinal)
        return found

    @cached_property
    def _owners(self) -> dict[str, list[int]]:
        """The items that have a column of a name, in order."""
        found: dict[str, list[int]] = {}
        for ordinal, known in enumerate(self.names):
            for name in dict.fromkeys(known or ()):
                found.setdefault(name, []).append(ordinal)
        return found

    def _unqualified(self, name: str) -> Column | None:
        # Another item of which not all names are known cannot have it: it would be ambiguous.
        found = self._owners.get(name, [])
        # Two that have the name are merged by USING, and equal when no join is an outer one.
        if not found or (len(found) > 1 and not self._is_inner):
            return None
        return found[0], name

    @cached_property
    def _is_inner(self) -> bool:
        return all(join.node.jointype == JOIN_INNER for join in self._joins)

    def may_have(self, name: str) -> bool:
        """Whether FROM has, or may have, a column of this name."""
        return self._opaque or any(
            known is None or name in known or "" in known for known in self.names
        )

    def carrying(self, start: Iterable[Column], key: KeyType) -> frozenset[Column]:
        """`start` and all columns that have the same value in every row."""
        return _NO_COLUMNS.union(*[self._class_of(column, key) for column in start])

    def _class_of(self, column: Column, key: KeyType) -> frozenset[Column]:
        """The columns of the key's type that are equated to `column`; itself in any case."""
        if (column, key) not in self._classes:
            carried = {column}
            stack = [column]
            while stack:
                for other in self._equal_to.get(stack.pop(), ()):
                    if other not in carried and self.key_type(other) == key:
                        carried.add(other)
                        stack.append(other)
            found = frozenset(carried)
            self._classes[column, key] = found
            if self.key_type(column) == key:  # then it is the class of each of them
                self._classes.update(dict.fromkeys(((one, key) for one in found), found))
        return self._classes[column, key]

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
        merged = any(join.node.using_clause or join.node.is_natural for join in self._joins)
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
        if not self._has_windows:
            return []
        select, found = self.select, []
        stack = [*map(inner, (*select.target_list, *select.distinct_clause, *select.sort_clause))]
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
        conditions = conjuncts(self.select.where_clause)
        for join in self._joins:
            if join.node.jointype == JOIN_INNER:
                conditions += conjuncts(join.node.quals)
                yield from self._using(join)
        for condition in conditions:
            pair = self.equated(condition)
            if pair is not None and self._preserved(*pair):
                yield pair

    def equated(self, condition: Message) -> tuple[Column, Column] | None:
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
            kind = join.node.jointype
            if kind not in {JOIN_LEFT, JOIN_RIGHT}:
                continue
            nullable = join.right if kind == JOIN_LEFT else join.left
            for pair in map(self.equated, conjuncts(join.node.quals)):
                for own, other in (pair, pair[::-1]) if pair is not None else ():
                    is_match = own in carried and other[0] in nullable
                    if is_match and self.key_type(other) == key:
                        yield join.node, other

    def _using(self, join: Join) -> Iterator[tuple[Column, Column]]:
        shared: Iterable[str] = names(join.node.using_clause)
        if join.node.is_natural:
            if any(within(self._unknown, arm) for arm in (join.left, join.right)):
                return
            smaller = min(join.left, join.right, key=len)
            shared = dict.fromkeys(name for item in smaller for name in self.names[item] or ())
        for name in shared:
            owners = self._owners.get(name, [])
            ours, theirs = within(owners, join.left), within(owners, join.right)
            if len(ours) == len(theirs) == 1 and self._preserved(
                (ours[0], name), (theirs[0], name)
            ):
                yield (ours[0], name), (theirs[0], name)

    @cached_property
    def _unknown(self) -> list[int]:
        """The items of which not all names are known."""
        return [ordinal for ordinal, known in enumerate(self.names) if known is None]

    def _preserved(self, *columns: Column) -> bool:
        return all(self.items[ordinal].preserved for ordinal, _ in columns)


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


def _call_name(node: Message) -> str:
    return names(node.funcname)[-1] if kind_of(node) == "FuncCall" else ""


def is_star(node: Message) -> bool:
    """Whether it is `*` or `a.*`."""
    return kind_of(node) == "ColumnRef" and kind_of(inner(node.fields[-1])) == "A_Star"
