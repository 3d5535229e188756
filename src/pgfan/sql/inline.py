"""WITH queries that are read once, put where they are read; the others under names of their own.

A SELECT in WITH that is read once gives the same rows as a subquery in FROM, so the rules for
subqueries hold for it. One that is read more often, or that is recursive, stays: nothing in it may
drive the statement, and every chunk evaluates it whole, like a subquery off the path. It gets a
name that nothing else has, so that no name means two things, wherever a query is put.

A query below a subquery of an expression, or below LATERAL, may use columns of the queries around
it, which may mean others in another place: such a one stays too. With `fenced` so does one that is
MATERIALIZED: put where it is read, its dear calls could be made once for each row that is joined.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

from msgspec import Struct, field
from postgast import pg_query_pb2 as pb

from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, Nodes, add_copies, copy_of, fields, inner, kind_of, walk, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


QUERIES_MAX = 200
"""Each may stand in the next, and is copied with all that stand in it."""
PREFIX = "pgfan_with_"
"""What the names of the queries that stay begin with."""
_NAMES_ONLY = frozenset({"with_clause", "locked_rels", "into", "into_clause"})


class _With(Struct):
    """A query in WITH. `readers` are the Nodes that hold a RangeVar which means it."""

    query: Message
    stays: bool
    done: bool = False
    readers: list[Message] = field(default_factory=list)


class _Place(Struct, frozen=True):
    """A message still to visit, the WITH queries that its names may mean, and what is around it."""

    message: Message
    scope: Mapping[str, _With]
    is_inside: bool
    """Whether columns of queries around it may be used in it."""
    ends: _With | None = None
    """Nothing to visit: the query of this WITH has been."""


def inlined(tree: Message, nodes: Nodes | None = None, *, fenced: bool = False) -> Message:
    """The statement, or query, without WITH but for queries that stay; `tree` when it has none.

    Also `tree` when `objection` has something against it: then their names are as written.
    `nodes` are those of `tree` where they are known. `fenced`: what is MATERIALIZED stays.
    """
    nodes = nodes or Nodes(walk(tree))
    if not nodes.of("WithClause") or objection(nodes) is not None:
        return tree
    copy = copy_of(tree)
    queries = list(_queries(copy, fenced=fenced))
    staying = [query for query in queries if query.stays and query.readers]
    if staying:
        _rename(staying, str(tree))
    for query in queries:
        if not query.stays:
            for node in query.readers:
                node.CopyFrom(_as_subquery(node.range_var, query.query))
    for holder in walk(copy):
        if "with_clause" in holder.DESCRIPTOR.fields_by_name and holder.HasField("with_clause"):
            _drop_unread(holder)
    _move_into_select(copy)
    return copy


def has_fences(nodes: Nodes) -> bool:
    """Whether a tree has queries in WITH that are MATERIALIZED."""
    return any(_is_fenced(inner(node)) for one in nodes.of("WithClause") for node in one.ctes)


def objection(nodes: Nodes) -> Reason | None:
    """Why the WITH queries of a tree stay as they are written, and it cannot be analysed."""
    titles = [[inner(node).ctename for node in one.ctes] for one in nodes.of("WithClause")]
    total = sum(map(len, titles))
    if total > QUERIES_MAX:
        why = (
            f"{total} queries in WITH, and {QUERIES_MAX} are analysed: put some results into tables"
        )
        return Reason("cte", why)
    for names in titles:
        for name, times in Counter(names).items():
            if times > 1:
                return Reason(
                    "cte", f"WITH has the name {name} more than once: PostgreSQL refuses it"
                )
    return None


def is_with_query(relation: Message) -> bool:
    """Whether a RangeVar of an inlined statement means a query in WITH."""
    return not relation.schemaname and relation.relname.startswith(PREFIX)


def not_analysed(clause: Message) -> bool:
    """Whether a WITH clause that is left has a query that writes, or whose name is as written."""
    queries = [inner(node) for node in clause.ctes]
    return any(
        kind_of(inner(query.ctequery)) != "SelectStmt" or not query.ctename.startswith(PREFIX)
        for query in queries
    )


def _queries(tree: Message, *, fenced: bool) -> Iterator[_With]:
    """The queries in WITH, each after all that stand in it and before those that may read it."""
    stack = [_Place(tree, {}, is_inside=False)]
    while stack:
        place = stack.pop()
        if place.ends is not None:
            place.ends.done = True
            yield place.ends
            continue
        wrapped, node, scope = place.message, inner(place.message), place.scope
        if kind_of(node) == "RangeVar":
            found = None if node.schemaname else scope.get(node.relname)
            if found is not None and kind_of(wrapped) == "Node":  # a target is never one
                found.readers.append(wrapped)
                found.stays |= not found.done or len(found.readers) > 1
            continue
        is_lateral = kind_of(node) == "RangeSubselect" and node.lateral
        is_inside = place.is_inside or is_lateral or kind_of(node) == "SubLink"
        inside: list[_Place] = []
        if "with_clause" in node.DESCRIPTOR.fields_by_name and node.HasField("with_clause"):
            clause = node.with_clause
            inside, scope = _opened(clause, scope, is_inside=is_inside, fenced=fenced)
        stack += [
            _Place(child, scope, is_inside)
            for name, child in fields(node)
            if name not in _NAMES_ONLY
        ]
        stack += reversed(inside)


def _opened(
    clause: Message, scope: Mapping[str, _With], *, is_inside: bool, fenced: bool
) -> tuple[list[_Place], Mapping[str, _With]]:
    """What is to be visited of a WITH clause, in order; and what names mean after it."""
    own = [
        _With(query, is_inside or not _is_plain(query) or (fenced and _is_fenced(query)))
        for query in map(inner, clause.ctes)
    ]
    every = {**scope, **{one.query.ctename: one for one in own}}
    places: list[_Place] = []
    for one in own:
        known = every if clause.recursive else scope
        places.append(_Place(one.query.ctequery, known, is_inside))
        places.append(_Place(one.query, known, is_inside, ends=one))
        scope = {**scope, one.query.ctename: one}
    return places, every


def _is_fenced(query: Message) -> bool:
    return bool(query.ctematerialized == pb.CTEMaterializeAlways)


def _is_plain(query: Message) -> bool:
    return kind_of(inner(query.ctequery)) == "SelectStmt" and not (
        query.HasField("search_clause") or query.HasField("cycle_clause")
    )


def _rename(queries: list[_With], text: str) -> None:
    numbers = (number for number in count(1) if f"{PREFIX}{number}" not in text)
    for one in queries:
        if not _is_plain(one.query):
            continue  # refused, by the name that it has
        name = f"{PREFIX}{next(numbers)}"
        for node in one.readers:
            relation = node.range_var
            relation.alias.aliasname = relation.alias.aliasname or relation.relname
            relation.relname = name
        one.query.ctename = name


def _drop_unread(holder: Message) -> None:
    """Leave only what was renamed, or is refused, in the WITH of `holder`."""
    kept = [
        copy_of(node)
        for node in holder.with_clause.ctes
        if not _is_plain(inner(node)) or inner(node).ctename.startswith(PREFIX)
    ]
    del holder.with_clause.ctes[:]
    if kept:
        add_copies(holder.with_clause.ctes, kept)
    else:
        holder.ClearField("with_clause")


def _move_into_select(tree: Message) -> None:
    """Move the WITH of an INSERT into its SELECT, unless something else reads it."""
    if kind_of(tree) != "InsertStmt" or not tree.HasField("with_clause"):
        return
    select = inner(tree.select_stmt)
    others = (tree.on_conflict_clause, tree.returning_clause)
    nodes = [node for other in others for node in walk(other)]
    if any(kind_of(node) == "RangeVar" and is_with_query(node) for node in nodes):
        return
    own = list(map(copy_of, select.with_clause.ctes))
    select.with_clause.recursive |= tree.with_clause.recursive
    del select.with_clause.ctes[:]
    add_copies(select.with_clause.ctes, [*tree.with_clause.ctes, *own])
    tree.ClearField("with_clause")


def _as_subquery(relation: Message, query: Message) -> Message:
    renamed = list(relation.alias.colnames) if relation.HasField("alias") else []
    subquery = pb.RangeSubselect()
    subquery.subquery.CopyFrom(query.ctequery)
    subquery.alias.aliasname = relation.alias.aliasname or query.ctename
    subquery.alias.colnames.extend([*renamed, *list(query.aliascolnames)[len(renamed) :]])
    return wrap("range_subselect", subquery)
