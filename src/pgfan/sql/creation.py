"""CREATE TABLE AS and SELECT INTO as what they come to: a new empty table, and an INSERT into it.

WITH NO DATA makes the columns that the statement itself would make, but for type modifiers
(`pgfan.postgres.new_tables`), so unknown literals, set operations and collations are PostgreSQL's
to resolve. The rules for INSERT ... SELECT hold for the rest, and the new table has no triggers,
constraints or defaults. See "CREATE TABLE AS" and "SELECT INTO" in PostgreSQL's manual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from postgast import pg_query_pb2 as pb

from pgfan.sql.access import relation_name
from pgfan.sql.branches import leftmost
from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, copy_of, inner, kind_of, wrap

if TYPE_CHECKING:
    from pgfan.sql.facts import CatalogFacts

_UNUSUAL_KINDS = {"OBJECT_MATVIEW": "CREATE MATERIALIZED VIEW"}
_ON_COMMIT_NONE = "ONCOMMIT_NOOP"


class Creation(Struct, frozen=True):
    """`into` says where the rows of the SELECT in `tree` go."""

    tree: Message
    into: Message
    if_not_exists: bool = False

    @property
    def relation(self) -> Message:
        """The RangeVar of the new table."""
        return self.into.rel

    @property
    def unlogged(self) -> bool:
        """Whether the table is UNLOGGED."""
        return bool(self.relation.relpersistence == "u")

    def empty(self, schema: str) -> Message:
        """The statement that makes the table in `schema`, without rows.

        An error when the table is there already, with IF NOT EXISTS too: whoever sends this goes
        on with the table, and must have made it.
        """
        tree = pb.CreateTableAsStmt(objtype="OBJECT_TABLE")
        tree.query.CopyFrom(self.query())
        tree.into.CopyFrom(self.into)
        tree.into.skip_data = True
        tree.into.rel.schemaname = schema
        return tree

    def insert(self) -> Message:
        """The rows of the query into the table by its name as written."""
        tree = pb.InsertStmt(override="OVERRIDING_NOT_SET")
        tree.select_stmt.CopyFrom(self.query())
        return aimed_at(tree, self.relation.schemaname, self.relation.relname)

    def query(self) -> Message:
        """The SELECT, in a Node."""
        if kind_of(self.tree) == "CreateTableAsStmt":
            return self.tree.query
        return wrap("select_stmt", without_into(self.tree))


def creation_of(tree: Message) -> Creation | None:
    """None for every statement that does not put the rows of a SELECT into a new table.

    VALUES may have a million rows and is none either, nor is what makes no lasting table.
    """
    if creation_objection(tree) is not None:
        return None
    if kind_of(tree) == "CreateTableAsStmt":
        is_values = bool(inner(tree.query).values_lists)
        return None if is_values else Creation(tree, tree.into, tree.if_not_exists)
    into = into_of(tree)
    return None if into is None else Creation(tree, into)


def creation_objection(tree: Message) -> Reason | None:
    """Why a statement that makes a table runs as it is; None for every other statement."""
    into = into_of(tree)
    if into is None:
        return None
    if kind_of(tree) == "CreateTableAsStmt":
        kinds = tree.DESCRIPTOR.fields_by_name["objtype"].enum_type.values_by_number
        unusual = _UNUSUAL_KINDS.get(kinds[tree.objtype].name)
        if unusual is not None:
            return Reason("not-insert-select", f"{unusual} is not split")
        if kind_of(inner(tree.query)) != "SelectStmt":
            return Reason("not-insert-select", "only its session knows what EXECUTE runs")
        if into.skip_data:
            return Reason("not-insert-select", "WITH NO DATA computes no rows")
    actions = into.DESCRIPTOR.fields_by_name["on_commit"].enum_type.values_by_number
    is_plain = actions[into.on_commit].name in {_ON_COMMIT_NONE, "ON_COMMIT_ACTION_UNDEFINED"}
    if into.rel.relpersistence == "t" or not is_plain:
        return Reason("temporary-table", f"{into.rel.relname} is temporary: one session has it")
    if into.rel.catalogname:
        return Reason("relation-unknown", "the new table's name has a database in it")
    return None


def writes_unlogged(tree: Message, creation: Creation | None, facts: CatalogFacts) -> bool:
    """Whether a crash empties what a statement writes: a new table, or a relation of `facts`."""
    if creation is not None:
        return creation.unlogged
    target = facts.relations.get(relation_name(tree.relation))
    return target is not None and target.persistence == "u"


def aimed_at(insert: Message, schema: str, name: str) -> Message:
    """A copy of the INSERT that writes to another table."""
    copy = copy_of(insert)
    copy.relation.CopyFrom(pb.RangeVar(relname=name, inh=True, relpersistence="p"))
    if schema:
        copy.relation.schemaname = schema
    return copy


def into_of(tree: Message) -> Message | None:
    """The IntoClause of a statement that makes a table; None for every other statement."""
    if kind_of(tree) == "CreateTableAsStmt":
        return tree.into
    first = leftmost(tree) if kind_of(tree) == "SelectStmt" else None
    return None if first is None or not first.HasField("into_clause") else first.into_clause


def without_into(select: Message) -> Message:
    """A copy of a SELECT ... INTO as the query that it is."""
    query = copy_of(select)
    leftmost(query).ClearField("into_clause")
    return query
