"""What a split would write to, and whether EXPLAIN says that a split is worth it.

A new table is not there yet: where it would be made is the server's to say
(`pgfan.postgres.new_tables`), and PostgreSQL's own way to fill it is faster than that of an INSERT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pgfan.errors import DatabaseError
from pgfan.plan.creation_cost import CreationEstimate
from pgfan.plan.task import NewTable
from pgfan.postgres.explain import Explained, explain_and, explained
from pgfan.postgres.new_tables import Place, read_place
from pgfan.postgres.toast import read_stored_apart, stored_apart
from pgfan.quoting import literal, qualified
from pgfan.sql.access import relation_name
from pgfan.sql.creation import creation_of
from pgfan.sql.reasons import Reason
from pgfan.sql.render import render
from pgfan.sql.tree import inner, kind_of

if TYPE_CHECKING:
    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.facts import CatalogFacts
    from pgfan.sql.script import ScriptItem, Statement

WRITING = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt"})
"""Statements that add to or change the rows of the relation that they name."""
SMALL_COST = 10_000.0
"""EXPLAIN's cost below which a statement is over before a second worker has begun: about 0.1 s."""
_PERSISTENCE = (
    "SELECT relkind, relpersistence{more} FROM pg_catalog.pg_class "
    "WHERE oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass"
)


class Target(Struct, frozen=True):
    """What is written: `name` is quoted; `creates` and `place` only for a new table."""

    name: str
    creates: NewTable | None = None
    place: Place | None = None


class FirstLook(Struct, frozen=True):
    """What one round trip tells of a statement.

    `unlogged`: whether its target is; None when only a closer look tells.
    """

    found: Explained
    unlogged: bool | None


def small_objection(found: Explained) -> Reason | None:
    """Why a statement is over before anything could make it faster."""
    cost = found.cost_with_writing
    if cost >= SMALL_COST:
        return None
    why = f"EXPLAIN's cost with the writing is {cost:.0f}: not worth more than one connection"
    return Reason("small", why)


def first_look(session: PostgresSession, statement: Statement) -> FirstLook | None:
    """EXPLAIN's cost before anything else is asked; None when it tells nothing."""
    creation, apart = creation_of(statement.tree), stored_apart(statement.tree)
    try:
        if creation is not None:
            if creation.if_not_exists:  # EXPLAIN says already that the table is there
                return None
            found, answer = explain_and(session, statement.text, f"SELECT {apart}")
            found = replace(found, stored_apart=float(answer.rows[0][0] or 0.0))
            return FirstLook(found, creation.unlogged)
        name = literal(qualified(relation_name(statement.tree.relation)))
        query = _PERSISTENCE.format(more=f", {apart}") + f"({name})"
        found, answer = explain_and(session, statement.text, query)
    except DatabaseError:
        return None
    if answer.rows:
        found = replace(found, stored_apart=float(answer.rows[0][2] or 0.0))
    # Whether a partitioned table is logged is its partitions' to say.
    is_table = len(answer.rows) == 1 and answer.rows[0][0] == "r"
    return FirstLook(found, answer.rows[0][1] == "u" if is_table else None)


def target_is_unlogged(session: PostgresSession, item: ScriptItem) -> bool:
    """Whether a crash empties what a statement writes that nobody looks at otherwise."""
    tree = item.first.tree
    if kind_of(tree) == "CreateTableAsStmt":  # of VALUES too, and of EXECUTE
        return bool(tree.into.rel.relpersistence == "u")
    creation = creation_of(tree)
    if creation is not None:
        return creation.unlogged
    if kind_of(tree) not in WRITING:
        return False
    session.prepare(item.settings)
    name = literal(qualified(relation_name(tree.relation)))
    try:
        rows = session.execute(_PERSISTENCE.format(more="") + f"({name})")[0].rows
    except DatabaseError:  # the statement will say the same
        return False
    return any(persistence == "u" for _, persistence in rows)


def find_target(
    session: PostgresSession, statement: Statement, facts: CatalogFacts, hidden: str
) -> Target | Reason:
    """The target, or why no new table can be filled by chunks; `hidden` is its name meanwhile."""
    creation = creation_of(statement.tree)
    if creation is None:
        relation = facts.relations[relation_name(statement.tree.relation)]
        return Target(qualified((relation.schema, relation.name)))
    place = read_place(session, creation)
    if isinstance(place, Reason):
        return place
    empty, query = render(creation.empty(place.schema)), render(inner(creation.query()))
    table = NewTable(place.schema, creation.relation.relname, hidden, empty, query=query)
    return Target(qualified((place.schema, hidden)), table, place)


def cost_if_worth(
    session: PostgresSession,
    statement: Statement,
    target: Target,
    *,
    unlogged: bool,
    jobs: int,
    forced: bool,
    look: FirstLook | None = None,
) -> Explained | Reason:
    """The statement for one process; or why it is not worth a split, unless `forced`."""
    found = look.found if look is not None else explained(session, statement.text)
    if isinstance(found, Reason):
        return found
    if look is None:
        found = replace(found, stored_apart=read_stored_apart(session, statement.tree))
    small = small_objection(found)
    if small is not None and not forced:
        return small
    if target.place is None:
        return found
    alone = explained(session, statement.text, parallel=False) if found.is_parallel else found
    if isinstance(alone, Reason):
        return alone
    alone = replace(alone, stored_apart=found.stored_apart)
    if forced:
        return alone
    costs = CreationEstimate(
        cost=found.cost,
        cost_one=alone.cost,
        rows=found.rows,
        width=found.width + found.stored_apart,
        jobs=jobs,
        unlogged=unlogged,
        wal_minimal=target.place.wal_minimal,
    ).costs()
    if costs.pays:
        return alone
    why = f"by EXPLAIN's figures it costs {costs.plain:.0f} as it is, {costs.split:.0f} split"
    return Reason("plain-cheaper", why)
