"""INSERT, UPDATE and DELETE seen alike: a target, and a SELECT that reads what the statement reads.

The rules of `pgfan.sql.distribute` are about what a query does with each row of its driving
relation. An UPDATE reads the rows of its target, joined with FROM and filtered by WHERE, and
computes new values from them; so for the rules it is an INSERT into the target of a SELECT of those
values. That INSERT is never run: what is rewritten is the statement itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from postgast import pg_query_pb2 as pb

from pgfan.sql.sources import from_items, select_of
from pgfan.sql.tree import Message, add_copies, children, inner, kind_of, walk, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind: TypeAlias = Literal["insert", "update", "delete"]


@dataclass(frozen=True)
class Shape:
    """`tree` is the statement, `insert` and its `select` what the rules look at.

    In an UPDATE or a DELETE the first item of FROM is the target, and no other drives it;
    `assigned` are the columns that an UPDATE changes.
    """

    kind: Kind
    tree: Message
    insert: Message
    select: Message
    assigned: frozenset[str] = frozenset()

    @cached_property
    def select_nodes(self) -> tuple[Message, ...]:
        """The SELECT and all nodes below it, parents first: most rules look at all of them."""
        return tuple(walk(self.select))

    @cached_property
    def nodes(self) -> tuple[Message, ...]:
        """All nodes below `insert`."""
        others = (child for child in children(self.insert) if child is not self.select)
        return (*(node for child in others for node in walk(child)), *self.select_nodes)


def may_be_split(tree: Message) -> bool:
    """Whether `shape_of` has an answer."""
    kind = kind_of(tree)
    return kind in {"UpdateStmt", "DeleteStmt"} or (
        kind == "InsertStmt" and select_of(tree) is not None
    )


def shape_of(tree: Message) -> Shape | None:
    """None for every statement that is not split."""
    match kind_of(tree):
        case "InsertStmt":
            select = select_of(tree)
            return None if select is None else Shape("insert", tree, tree, select)
        case "UpdateStmt":
            values = [entry.res_target for entry in tree.target_list]
            insert = _as_insert(tree, tree.from_clause, values)
            names = frozenset(value.name for value in values)
            return Shape("update", tree, insert, insert.select_stmt.select_stmt, names)
        case "DeleteStmt":
            insert = _as_insert(tree, tree.using_clause, ())
            return Shape("delete", tree, insert, insert.select_stmt.select_stmt)
        case _:
            return None


def filtered(tree: Message, path: Sequence[int]) -> Message:
    """What has the WHERE clause for the driving relation: the statement, or a SELECT of it.

    `path`: ordinals of the subqueries in FROM that lead to it.
    """
    if kind_of(tree) in {"UpdateStmt", "DeleteStmt"}:
        return tree
    select: Message = select_of(tree)
    for ordinal in path:
        item = next(item for item in from_items(select) if item.ordinal == ordinal)
        select = inner(item.node.subquery)
    return select


def _as_insert(tree: Message, others: Sequence[Message], values: Sequence[Message]) -> Message:
    select = pb.SelectStmt(limit_option="LIMIT_OPTION_DEFAULT", op="SETOP_NONE")
    select.from_clause.add().range_var.CopyFrom(tree.relation)
    add_copies(select.from_clause, others)
    for value in values:
        select.target_list.add().res_target.val.CopyFrom(value.val)
    if tree.HasField("where_clause"):
        select.where_clause.CopyFrom(tree.where_clause)
    insert = pb.InsertStmt(override="OVERRIDING_NOT_SET")
    insert.relation.CopyFrom(tree.relation)
    insert.select_stmt.CopyFrom(wrap("select_stmt", select))
    return insert
