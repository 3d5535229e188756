"""Tables that a split CREATE TABLE AS makes: under a hidden name until all of their rows are there.

A table is made by the statement itself, WITH NO DATA, and so with everything that it says, under
its final name, and renamed in the same transaction: what is wrong with the name or the columns is
found before any row is computed. It is told from others by its oid, which the journal keeps: a
table that the journal does not know is never renamed or dropped.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Literal, LiteralString, TypeAlias

from msgspec import Struct

from pgfan.errors import DatabaseError
from pgfan.plan.sqlstate import (
    DUPLICATE_COLUMN,
    DUPLICATE_TABLE,
    SYNTAX_ERROR,
    UNDEFINED_TABLE,
)
from pgfan.quoting import identifier, literal, qualified
from pgfan.sql.reasons import Reason

if TYPE_CHECKING:
    from pgfan.plan.task import NewTable
    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.creation import Creation

PREFIX = "pgfan_"
SCHEMA_PUBLICATIONS_SINCE = 150000
DROP_WAIT_MS = 10_000

PLACE: LiteralString = """
SELECT s.name,
    EXISTS (SELECT FROM pg_catalog.pg_class c
        WHERE c.relnamespace = n.oid AND c.relname = {name}),
    pg_catalog.current_setting('wal_level'),
    (SELECT e.evtname FROM pg_catalog.pg_event_trigger e WHERE e.evtenabled <> 'D'
        AND e.evtevent IN ('ddl_command_start', 'ddl_command_end', 'table_rewrite')
        AND (e.evttags IS NULL OR e.evttags && ARRAY['CREATE TABLE AS', 'SELECT INTO',
            'ALTER TABLE']) ORDER BY 1 LIMIT 1),
    (SELECT p.pubname FROM pg_catalog.pg_publication p
        WHERE p.puballtables {in_schema} ORDER BY 1 LIMIT 1)
FROM (SELECT COALESCE({schema}, pg_catalog.current_schema())) AS s (name)
    LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = s.name"""
IN_SCHEMA: LiteralString = """
    OR EXISTS (SELECT FROM pg_catalog.pg_publication_namespace k
        WHERE k.pnpubid = p.oid AND k.pnnspid = n.oid)"""

Whereabouts: TypeAlias = Literal["hidden", "named", "elsewhere", "gone"]


class Place(Struct, frozen=True):
    """Where a new table would be made, and whether the server logs more than it must."""

    schema: str
    wal_minimal: bool


def hidden_name(run: str, number: int) -> str:
    """A name that no other table has, and that says whose it is; it needs no quotes."""
    words = re.sub(r"\W", "_", run)
    return f"{PREFIX}{words}_{number + 1}_{secrets.token_hex(4)}"


def read_place(session: PostgresSession, creation: Creation) -> Place | Reason:
    """Where the table would be made now, or why it cannot be made in two steps."""
    relation = creation.relation
    version = session.connection.info.server_version
    query = (
        PLACE.replace("{name}", literal(relation.relname))
        .replace("{in_schema}", IN_SCHEMA if version >= SCHEMA_PUBLICATIONS_SINCE else "")
        .replace("{schema}", literal(relation.schemaname or None))
    )
    schema, exists, wal_level, trigger, publication = session.execute(query)[0].rows[0]
    name = ".".join(filter(None, (schema, relation.relname)))
    if schema is None:
        return Reason("explain", "there is no schema to make the table in")
    if schema.startswith("pg_temp"):
        return Reason("temporary-table", f"{name} is temporary: one session has it")
    if exists == "t":
        return Reason("target-exists", f"{name} is there already")
    if trigger is not None:
        return Reason("event-trigger", f"the event trigger {trigger} looks at new tables")
    if publication is not None and not creation.unlogged:
        return Reason("published", f"{publication} publishes the rows under the hidden name")
    return Place(schema, wal_level == "minimal")


def refuse_columns(session: PostgresSession, creation: Creation) -> None:
    """Raise the DatabaseError that making the table would raise for the names of its columns.

    EXPLAIN does not look at them. What it does look at is left to it.
    """
    from pgfan.sql.render import RenderError, render  # the grammar: a load needs none
    from pgfan.sql.tree import inner, names

    try:
        found = [name for name, _ in session.columns_of(render(inner(creation.query())))]
    except (DatabaseError, RenderError):
        return
    given = names(creation.into.col_names)
    if len(given) > len(found):
        raise DatabaseError("too many column names were specified", sqlstate=SYNTAX_ERROR)
    for name, times in Counter([*given, *found[len(given) :]]).items():
        if times > 1:
            message = f'column "{name}" specified more than once'
            raise DatabaseError(message, sqlstate=DUPLICATE_COLUMN)


def make(session: PostgresSession, table: NewTable) -> int:
    """Make the empty table under its hidden name; its oid. To be called in a transaction."""
    session.execute(table.statement)
    session.execute(_rename(table.schema, table.name, table.hidden))
    name = qualified((table.schema, table.hidden))
    rows = session.execute(f"SELECT {literal(name)}::pg_catalog.regclass::pg_catalog.oid")[0].rows
    oid = int(rows[0][0] or 0)
    if table.query:
        _give_modifiers(session, table.query, name, oid)
    return oid


def _give_modifiers(session: PostgresSession, query: str, name: str, oid: int) -> None:
    """Give the columns of an empty table the type modifiers that the plan of `query` has.

    CREATE TABLE AS takes its columns from the plan, WITH NO DATA from the query: what the planner
    has worked out before may have another modifier. Those of a domain are the domain's own, and the
    server describes its values as of the type that it is made of.
    """
    columns = session.execute(
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), "
        "CASE WHEN a.attcollation OPERATOR(pg_catalog.<>) t.typcollation "
        "THEN a.attcollation::pg_catalog.regcollation END, t.typtype OPERATOR(pg_catalog.=) 'd' "
        "FROM pg_catalog.pg_attribute a "
        "JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.atttypid "
        f"WHERE a.attrelid OPERATOR(pg_catalog.=) {oid} AND a.attnum OPERATOR(pg_catalog.>) 0 "
        "ORDER BY a.attnum"
    )[0].rows
    planned = session.columns_as_planned(query)
    changes = [
        f"ALTER {identifier(column or '')} TYPE {as_planned}"
        + (f" COLLATE {collation}" if collation else "")
        for (column, type_, collation, is_domain), (_, as_planned) in zip(
            columns, planned, strict=True
        )
        if is_domain == "f" and type_ != as_planned
    ]
    if changes:
        session.execute(f"ALTER TABLE {name} {', '.join(changes)}")


def whereabouts(session: PostgresSession, table: NewTable) -> Whereabouts:
    """Which name the very table that was made has now."""
    rows = session.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        f"WHERE c.oid = {literal(table.oid)} AND c.relkind = 'r'"
    )[0].rows
    if not rows:
        return "gone"
    if rows[0] == (table.schema, table.hidden):
        return "hidden"
    return "named" if rows[0] == (table.schema, table.name) else "elsewhere"


def publish(session: PostgresSession, table: NewTable) -> None:
    """Give the table its name. To be called in the transaction that marks the task done.

    Raises DatabaseError, with what to do, when the name is taken or the table is gone.
    """
    match whereabouts(session, table):
        case "named":  # by a COMMIT whose answer was lost
            return
        case "gone" | "elsewhere":
            raise DatabaseError(
                f"the table {table.hidden}, which held the rows, was dropped or renamed",
                sqlstate=UNDEFINED_TABLE,
                hint="run the same command again: it begins anew when that table is gone",
            )
        case "hidden":
            pass
    try:
        session.execute(_rename(table.schema, table.hidden, table.name))
    except DatabaseError as error:
        error.statement_offset = None
        if error.sqlstate == DUPLICATE_TABLE:
            error.hint = (
                f"all rows are in {qualified((table.schema, table.hidden))}: rename or drop the "
                "other table, then run the same command again"
            )
        raise


def drop(session: PostgresSession, table: NewTable) -> bool:
    """Drop the table if it is there under its hidden name; whether it was."""
    if not table.oid or whereabouts(session, table) != "hidden":
        return False
    name = qualified((table.schema, table.hidden))
    try:
        session.execute(
            f"BEGIN; SET LOCAL lock_timeout = {DROP_WAIT_MS}; "
            "SET LOCAL client_min_messages = warning; "
            f"DROP TABLE {name}; COMMIT"
        )
    except DatabaseError as error:
        session.rollback()
        error.statement_offset = None
        error.hint = error.hint or f"DROP TABLE {name}, which pgfan made"
        raise
    return True


def drop_unfinished(session: PostgresSession, journal: PostgresJournal, run: str) -> None:
    """Drop the hidden tables of a run that nobody will go on with."""
    for table in journal.unfinished_tables(session, run):
        drop(session, table)


def _rename(schema: str, old: str, new: str) -> str:
    return f"ALTER TABLE {qualified((schema, old))} RENAME TO {identifier(new)}"
