"""WITH queries that are read once, put where they are read.

A SELECT in WITH that is read once gives the same rows as a subquery in FROM, so the rules for
subqueries hold for it. One that is read more often, that is recursive, or that writes, stays where
it is, and so does every one of them as soon as a name might mean two things.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql.tree import Message, copy_of, inner, kind_of, slots, walk, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator


def inlined(tree: Message) -> Message:
    """The statement, or query, without its WITH; `tree` itself when that may not be the same."""
    if sum(kind_of(node) == "WithClause" for node in walk(tree)) != 1:
        return tree
    copy = copy_of(tree)
    holder = _holder(copy)
    if holder is None or holder.with_clause.recursive:
        return tree
    queries = [inner(node) for node in holder.with_clause.ctes]
    titles = [query.ctename for query in queries]
    plain = all(
        kind_of(inner(query.ctequery)) == "SelectStmt"
        and not (query.HasField("search_clause") or query.HasField("cycle_clause"))
        for query in queries
    )
    if not plain or len(set(titles)) != len(titles):
        return tree
    # Each may be read by those after it; the name means a table in those before it, and in itself.
    for at, query in enumerate(queries):
        if any(True for earlier in queries[: at + 1] for _ in _readers(earlier, query.ctename)):
            return tree
    for query in reversed(queries):
        readers = list(_readers(copy, query.ctename))
        if len(readers) > 1:
            return tree
        for node in readers:
            node.CopyFrom(_as_subquery(node.range_var, query))
        del holder.with_clause.ctes[-1]  # or what it reads would be read twice
    holder.ClearField("with_clause")
    return copy


def _holder(tree: Message) -> Message | None:
    """The message that has the WITH clause: the statement or query, or the SELECT of an INSERT."""
    holders = {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "SelectStmt"}
    if kind_of(tree) not in holders:
        return None
    if tree.HasField("with_clause"):
        return tree
    select = tree.select_stmt.select_stmt if kind_of(tree) == "InsertStmt" else None
    return select if select is not None and select.HasField("with_clause") else None


def _readers(message: Message, name: str) -> Iterator[Message]:
    """The Nodes that hold an unqualified RangeVar of this name."""
    for node in slots(message):
        if node.WhichOneof("node") == "range_var":
            relation = node.range_var
            if relation.relname == name and not relation.schemaname:
                yield node


def _as_subquery(relation: Message, query: Message) -> Message:
    renamed = list(relation.alias.colnames) if relation.HasField("alias") else []
    subquery = pb.RangeSubselect(subquery=query.ctequery)
    subquery.alias.aliasname = relation.alias.aliasname or query.ctename
    subquery.alias.colnames.extend([*renamed, *list(query.aliascolnames)[len(renamed) :]])
    return wrap("range_subselect", subquery)
