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
    from collections.abc import Sequence


QUERIES_MAX = 200
"""Each may stand in the next, and is copied with all that stand in it."""


def inlined(tree: Message) -> Message:
    """The statement, or query, without its WITH; `tree` itself when that may not be the same."""
    if _holder(tree) is None or sum(kind_of(node) == "WithClause" for node in walk(tree)) != 1:
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
    if not plain or len(set(titles)) != len(titles) or len(queries) > QUERIES_MAX:
        return tree
    readers = _readers(copy, queries)
    for at, query in enumerate(queries):
        found = readers.get(query.ctename, [])
        # Those after it may read it; the name means a table in those before it, and in itself.
        if len(found) > 1 or any(inside <= at for inside, _ in found):
            return tree
    for query in queries:
        for _, node in readers.get(query.ctename, []):
            node.CopyFrom(_as_subquery(node.range_var, query))
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


def _readers(tree: Message, queries: Sequence[Message]) -> dict[str, list[tuple[int, Message]]]:
    """The Nodes that hold an unqualified RangeVar, by its name.

    Each with the index of the query in WITH that it stands in; behind the last when in none.
    """
    found: dict[str, list[tuple[int, Message]]] = {}
    inside: set[int] = set()
    for at, part in enumerate((*queries, tree)):
        for node in slots(part):
            if node.WhichOneof("node") != "range_var" or id(node) in inside:
                continue
            if not node.range_var.schemaname:
                inside.add(id(node))  # found again below the whole tree
                found.setdefault(node.range_var.relname, []).append((at, node))
    return found


def _as_subquery(relation: Message, query: Message) -> Message:
    renamed = list(relation.alias.colnames) if relation.HasField("alias") else []
    subquery = pb.RangeSubselect()
    subquery.subquery.CopyFrom(query.ctequery)
    subquery.alias.aliasname = relation.alias.aliasname or query.ctename
    subquery.alias.colnames.extend([*renamed, *list(query.aliascolnames)[len(renamed) :]])
    return wrap("range_subselect", subquery)
