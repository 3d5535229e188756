"""Statements that write, seen alike: a target, and a SELECT that reads what the statement reads.

The rules of `pgfan.sql.distribute` are about what a query does with each row of its driving
relation. An UPDATE reads the rows of its target, joined with FROM and filtered by WHERE, and
computes new values from them; so for the rules it is an INSERT into the target of a SELECT of those
values. That INSERT is never run: what is rewritten is the statement itself. For CREATE TABLE AS it
is run, into a table that is made before.
"""

from __future__ import annotations

from collections import Counter, deque
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace
from postgast import pg_query_pb2 as pb

from pgfan.sql import conflict, merge
from pgfan.sql.branches import Query, is_union_all, step_into
from pgfan.sql.creation import creation_of
from pgfan.sql.index import TreeIndex
from pgfan.sql.keys import DEPTH_MAX
from pgfan.sql.sources import from_items, select_of
from pgfan.sql.tree import Message, Nodes, add_copies, inner, kind_of, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.sql.sources import FromItem

Kind: TypeAlias = Literal["insert", "update", "delete", "create", "merge"]
ADDING: frozenset[Kind] = frozenset({"insert", "create"})
IN_PLACE: frozenset[Kind] = frozenset({"update", "delete"})
"""What is driven by its target; all else by any relation in FROM."""


class Shape(Struct, frozen=True, dict=True):
    """`tree` is what is rewritten, `insert` and its `select` what the rules look at.

    In an UPDATE or a DELETE the first item of FROM is the target, and no other drives it. `events`
    are what happens to rows of the target, `assigned` the columns that an update changes. `meets`:
    whether rows of several chunks might meet on one row of the target.
    """

    kind: Kind
    tree: Message
    insert: Message
    select: Message
    assigned: frozenset[str] = frozenset()
    events: frozenset[merge.Event] = frozenset()
    meets: bool = False
    tree_index: TreeIndex | None = None
    """That of `tree`, where there is one already."""

    @property
    def joined_target(self) -> Message | None:
        """The target of a MERGE as an item of FROM."""
        return self.select.from_clause[0].join_expr.rarg.range_var if self.kind == "merge" else None

    @cached_property
    def index(self) -> TreeIndex:
        """That of `insert`: most rules look at all of its nodes."""
        known = self.tree_index if self.tree is self.insert else None
        return TreeIndex(self.insert) if known is None else known

    @cached_property
    def tree_nodes(self) -> Nodes:
        """All nodes of `tree`."""
        if self.tree is self.insert:
            return self.index.nodes
        return (self.tree_index or TreeIndex(self.tree)).nodes

    @cached_property
    def select_nodes(self) -> Nodes:
        """The SELECT and all nodes below it, parents first."""
        return self.index.below(self.select)

    @cached_property
    def has_union_all(self) -> bool:
        """Whether a UNION ALL stands anywhere in the SELECT."""
        return any(is_union_all(node) for node in self.select_nodes.of("SelectStmt"))

    @cached_property
    def has_windows(self) -> bool:
        """Whether a call anywhere in the SELECT has an OVER clause."""
        return any(call.HasField("over") for call in self.select_nodes.of("FuncCall"))

    @cached_property
    def unions(self) -> tuple[Query, ...]:
        """Every UNION ALL all of whose rows count, but not those in the branches of another."""
        if not self.has_union_all:
            return ()
        found: list[Query] = []
        queries = deque([Query((), (self.select,))])
        while queries:
            query = queries.popleft()
            if is_union_all(query.select):
                found.append(query)
            elif len(query.selects) <= DEPTH_MAX:
                for item in self.counted(list(from_items(query.select))):
                    if item.kind == "RangeSubselect" and not item.node.lateral:
                        inside = inner(item.node.subquery)
                        if not inside.values_lists:
                            path = (*query.path, item.ordinal)
                            queries.append(Query(path, (*query.selects, inside)))
        return tuple(found)

    def counted(self, items: Sequence[FromItem]) -> Iterator[FromItem]:
        """The items of a FROM clause that may drive the statement: each of their rows counts."""
        aliases = Counter(item.alias for item in items)
        for item in items[:1] if self.kind in IN_PLACE else items:
            if item.preserved and aliases[item.alias] == 1:
                yield item

    @property
    def nodes(self) -> Nodes:
        """All nodes below `insert`."""
        return self.index.nodes


def may_be_split(tree: Message) -> bool:
    """Whether `shape_of` has an answer."""
    kind = kind_of(tree)
    if kind == "InsertStmt":
        return select_of(tree) is not None
    if kind in {"UpdateStmt", "DeleteStmt", "MergeStmt"}:
        return True
    return creation_of(tree) is not None


def shape_of(
    tree: Message, index: TreeIndex | None = None, *, is_new: bool = False
) -> Shape | None:
    """None for every statement that is not split.

    `index` is that of `tree` where there is one. `is_new`: the INSERT is into a table it makes.
    """
    shape = _shape_of(tree, is_new=is_new)
    if shape is None or shape.tree is not tree:
        return shape
    return replace(shape, tree_index=index)


def _shape_of(tree: Message, *, is_new: bool) -> Shape | None:
    match kind_of(tree):
        case "InsertStmt":
            select = select_of(tree)
            if select is not None and is_new:
                return Shape("create", tree, tree, select, events=frozenset({"insert"}))
            return None if select is None else _of_insert(tree, select)
        case "UpdateStmt":
            values = [entry.res_target for entry in tree.target_list]
            insert = _as_insert(tree, tree.from_clause, values)
            names = frozenset(value.name for value in values)
            select = insert.select_stmt.select_stmt
            return Shape("update", tree, insert, select, names, frozenset({"update"}))
        case "DeleteStmt":
            insert = _as_insert(tree, tree.using_clause, ())
            select = insert.select_stmt.select_stmt
            return Shape("delete", tree, insert, select, events=frozenset({"delete"}))
        case "MergeStmt":
            changed = merge.with_subquery(tree)
            insert = merge.as_insert(changed)
            select = insert.select_stmt.select_stmt
            assigned, events = merge.assigned(changed), merge.events(changed)
            return Shape("merge", changed, insert, select, assigned, events, meets=True)
        case _:
            return None


def _of_insert(tree: Message, select: Message) -> Shape:
    if not conflict.has_conflicts(tree):
        return Shape("insert", tree, tree, select, events=frozenset({"insert"}))
    events: frozenset[merge.Event] = frozenset({"insert"})
    if conflict.updates(tree):
        events |= {"update"}
    return Shape("insert", tree, tree, select, conflict.assigned(tree), events, meets=True)


def filtered(tree: Message, path: Sequence[int]) -> Message:
    """What has the WHERE clause for the driving relation: the statement, or a SELECT of it.

    `path`: ordinals of the subqueries in FROM that lead to it, and arms of UNION ALL.
    """
    if kind_of(tree) in {"UpdateStmt", "DeleteStmt"}:
        return tree
    select: Message = select_of(tree)
    if kind_of(tree) == "MergeStmt":  # its source is item 0 of FROM, as the rules see it
        select, path = inner(inner(tree.source_relation).subquery), path[1:]
    for step in path:
        if step < 0:
            select = step_into(select, step)
            continue
        item = next(item for item in from_items(select) if item.ordinal == step)
        select = inner(item.node.subquery)
    return select


def _as_insert(tree: Message, others: Sequence[Message], values: Sequence[Message]) -> Message:
    select = pb.SelectStmt(limit_option="LIMIT_OPTION_DEFAULT", op="SETOP_NONE")
    select.from_clause.add().range_var.CopyFrom(tree.relation)
    add_copies(select.from_clause, others)
    for value in values:
        select.target_list.add().res_target.val.CopyFrom(value.val)
    if tree.HasField("with_clause"):
        select.with_clause.CopyFrom(tree.with_clause)
    if tree.HasField("where_clause"):
        select.where_clause.CopyFrom(tree.where_clause)
    insert = pb.InsertStmt(override="OVERRIDING_NOT_SET")
    insert.relation.CopyFrom(tree.relation)
    insert.select_stmt.CopyFrom(wrap("select_stmt", select))
    return insert
