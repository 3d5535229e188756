"""Statements that write, seen alike: a target, and a SELECT that reads what the statement reads.

The rules of `pgfan.sql.distribute` are about what a query does with each row of its driving
relation. An UPDATE reads the rows of its target, joined with FROM and filtered by WHERE, and
computes new values from them; so for the rules it is an INSERT into the target of a SELECT of those
values. That INSERT is never run: what is rewritten is the statement itself. For CREATE TABLE AS it
is run, into a table that is made before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from postgast import pg_query_pb2 as pb

from pgfan.sql.branches import step_into
from pgfan.sql.creation import creation_of
from pgfan.sql.sources import from_items, select_of
from pgfan.sql.tree import Message, inner, kind_of, wrap

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind: TypeAlias = Literal["insert", "update", "delete", "create"]
ADDING: frozenset[Kind] = frozenset({"insert", "create"})
"""What only adds rows, so that any relation in FROM may drive it."""


@dataclass(frozen=True)
class Shape:
    """`tree` is what is rewritten, `insert` and its `select` what the rules look at.

    In an UPDATE or a DELETE the first item of FROM is the target, and no other drives it;
    `assigned` are the columns that an UPDATE changes.
    """

    kind: Kind
    tree: Message
    insert: Message
    select: Message
    assigned: frozenset[str] = frozenset()


def may_be_split(tree: Message) -> bool:
    """Whether `shape_of` has an answer."""
    kind = kind_of(tree)
    if kind == "InsertStmt":
        return select_of(tree) is not None
    return kind in {"UpdateStmt", "DeleteStmt"} or creation_of(tree) is not None


def shape_of(tree: Message, *, is_new: bool = False) -> Shape | None:
    """None for every statement that is not split. `is_new`: the INSERT is into a table it makes."""
    match kind_of(tree):
        case "InsertStmt":
            select = select_of(tree)
            kind: Kind = "create" if is_new else "insert"
            return None if select is None else Shape(kind, tree, tree, select)
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

    `path`: ordinals of the subqueries in FROM that lead to it, and arms of UNION ALL.
    """
    if kind_of(tree) in {"UpdateStmt", "DeleteStmt"}:
        return tree
    select: Message = select_of(tree)
    for step in path:
        if step < 0:
            select = step_into(select, step)
            continue
        item = next(item for item in from_items(select) if item.ordinal == step)
        select = inner(item.node.subquery)
    return select


def _as_insert(tree: Message, others: Sequence[Message], values: Sequence[Message]) -> Message:
    select = pb.SelectStmt(limit_option="LIMIT_OPTION_DEFAULT", op="SETOP_NONE")
    select.from_clause.append(wrap("range_var", tree.relation))
    select.from_clause.extend(others)
    for value in values:
        select.target_list.append(wrap("res_target", pb.ResTarget(val=value.val)))
    if tree.HasField("where_clause"):
        select.where_clause.CopyFrom(tree.where_clause)
    insert = pb.InsertStmt(override="OVERRIDING_NOT_SET")
    insert.relation.CopyFrom(tree.relation)
    insert.select_stmt.CopyFrom(wrap("select_stmt", select))
    return insert
