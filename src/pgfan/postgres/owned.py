"""The objects that a project has made, by their oids, and the statements that drop them.

A name is not enough to drop something: somebody may have dropped the project's table and made one
of the same name. An oid is that of one object for as long as it exists. Nothing is dropped with
CASCADE, so what others have built on an object keeps it, and the run ends with PostgreSQL's words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import DatabaseError
from pgfan.plan.sqlstate import DEPENDENT_OBJECTS
from pgfan.postgres.journal import EQ
from pgfan.postgres.journal_schema import rows_of_query
from pgfan.quoting import array
from pgfan.sql.effects import ObjectName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pgfan.postgres.session import PostgresSession

_RELATIONS = {
    "r": "TABLE",
    "p": "TABLE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "S": "SEQUENCE",
    "i": "INDEX",
    "I": "INDEX",
    "f": "FOREIGN TABLE",
    "c": "TYPE",
}
DROPPED = frozenset({"relation", "function", "type", "schema", "extension", "statistics"})
"""The kinds of objects that are found and dropped here."""
_FUNCTIONS = {"f": "FUNCTION", "w": "FUNCTION", "a": "AGGREGATE", "p": "PROCEDURE"}
_EXISTING = f"""
SELECT w.kind, w.schema, w.name, o.catalog, o.oid, o.what, o.identity
FROM ROWS FROM (
    pg_catalog.unnest({{kinds}}), pg_catalog.unnest({{schemas}}), pg_catalog.unnest({{names}})
) AS w(kind, schema, name)
CROSS JOIN LATERAL (
    SELECT 'pg_class' AS catalog, c.oid, c.relkind::pg_catalog.text AS what,
        pg_catalog.format('%I.%I', n.nspname, c.relname) AS identity
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid {EQ} c.relnamespace
    WHERE w.kind {EQ} 'relation' AND c.relname {EQ} w.name AND {{schema}}
  UNION ALL
    SELECT 'pg_proc', p.oid, p.prokind::pg_catalog.text,
        pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
            pg_catalog.pg_get_function_identity_arguments(p.oid))
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid {EQ} p.pronamespace
    WHERE w.kind {EQ} 'function' AND p.proname {EQ} w.name AND {{schema}}
  UNION ALL
    SELECT 'pg_type', t.oid, 'TYPE', pg_catalog.format('%I.%I', n.nspname, t.typname)
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid {EQ} t.typnamespace
    WHERE w.kind {EQ} 'type' AND t.typname {EQ} w.name AND {{schema}}
        AND t.typrelid {EQ} 0 AND t.typelem {EQ} 0
  UNION ALL
    SELECT 'pg_namespace', n.oid, 'SCHEMA', pg_catalog.format('%I', n.nspname)
    FROM pg_catalog.pg_namespace n WHERE w.kind {EQ} 'schema' AND n.nspname {EQ} w.name
  UNION ALL
    SELECT 'pg_extension', e.oid, 'EXTENSION', pg_catalog.format('%I', e.extname)
    FROM pg_catalog.pg_extension e WHERE w.kind {EQ} 'extension' AND e.extname {EQ} w.name
  UNION ALL
    SELECT 'pg_statistic_ext', s.oid, 'STATISTICS',
        pg_catalog.format('%I.%I', n.nspname, s.stxname)
    FROM pg_catalog.pg_statistic_ext s
    JOIN pg_catalog.pg_namespace n ON n.oid {EQ} s.stxnamespace
    WHERE w.kind {EQ} 'statistics' AND s.stxname {EQ} w.name AND {{schema}}
) o
"""
_SCHEMA = (
    f"(n.nspname {EQ} w.schema OR w.schema {EQ} '' "
    "AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_') "
    "AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema')"
)
_INSIDE = f"""
WITH RECURSIVE inside (classid, objid) AS (
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
    WHERE d.deptype IN ('a', 'i') AND d.refobjid {EQ} ANY ({{oids}}) AND d.objsubid {EQ} 0
  UNION
    SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
    JOIN inside i ON d.refclassid {EQ} i.classid AND d.refobjid {EQ} i.objid
    WHERE d.deptype IN ('a', 'i') AND d.objsubid {EQ} 0
)
SELECT c.relname, i.objid FROM inside i JOIN pg_catalog.pg_class c ON c.oid {EQ} i.classid
WHERE i.objid {EQ} ANY ({{oids}})
"""
"""What goes with an object: an index by way of its constraint, a column's sequence, a partition."""
_REFERENCES = f"""
SELECT pg_catalog.format('%I', c.conname), pg_catalog.format('%I.%I', n.nspname, t.relname)
FROM pg_catalog.pg_constraint c
JOIN pg_catalog.pg_class t ON t.oid {EQ} c.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid {EQ} t.relnamespace
WHERE c.contype {EQ} 'f' AND c.conparentid {EQ} 0 AND c.conrelid OPERATOR(pg_catalog.<>) c.confrelid
    AND c.conrelid {EQ} ANY ({{oids}})
    AND c.confrelid {EQ} ANY ({{oids}})
ORDER BY 2, 1
"""


class Existing(Struct, frozen=True):
    """An object of the database: `what` it is for DROP, `identity` its name there.

    `catalog` and `oid` tell it from all others, those that were or will be included.
    """

    name: ObjectName
    catalog: str
    oid: int
    what: str
    identity: str


def existing(session: PostgresSession, names: Iterable[ObjectName]) -> list[Existing]:
    """Those of the objects that exist; all overloads of a function.

    Without a schema an object of any schema is meant, but for the server's own.
    """
    wanted = sorted({(name.kind, name.schema or "", name.name) for name in names})
    if not wanted:
        return []
    kinds, schemas, objects = (array(list(column)) for column in zip(*wanted, strict=True))
    query = _EXISTING.replace("{schema}", _SCHEMA).replace("{kinds}", kinds)
    query = query.replace("{schemas}", schemas).replace("{names}", objects)
    found = []
    for row in rows_of_query(session, query):
        kind, schema, name, catalog, oid, what, identity = (value or "" for value in row)
        said = {"pg_class": _RELATIONS, "pg_proc": _FUNCTIONS}.get(catalog, {}).get(what, what)
        meant = ObjectName(kind, schema or None, name)  # type: ignore[arg-type]
        found.append(Existing(meant, catalog, int(oid), said, identity))
    return found


def drops(
    session: PostgresSession, objects: Sequence[Existing], owned: Collection[tuple[str, int]]
) -> list[str]:
    """The statements that drop `objects` in this order, those alone that are `owned`.

    `owned` are pairs of catalog and oid. What goes with another one of them is not named: the
    sequence of a serial column, an index of a table. Foreign keys among them go first.
    """
    ours = [one for one in objects if (one.catalog, one.oid) in owned]
    if not ours:
        return []
    oids = array([str(one.oid) for one in ours]).replace("text[]", "oid[]")
    inside = {
        (catalog, int(oid or 0))
        for catalog, oid in rows_of_query(session, _INSIDE.replace("{oids}", oids))
    }
    found = [
        f"ALTER TABLE {table} DROP CONSTRAINT {name}"
        for name, table in rows_of_query(session, _REFERENCES.replace("{oids}", oids))
    ]
    return found + [
        f"DROP {one.what} {one.identity}" for one in ours if (one.catalog, one.oid) not in inside
    ]


def drop_all(session: PostgresSession, statements: Sequence[str]) -> None:
    """Run the statements of `drops`, in a transaction that has begun.

    What another one of them depends on has to wait for that one, whatever their order says: a
    function may have been replaced after its users were made. Raises DatabaseError when what is
    left depends on nobody here: somebody else's.
    """
    left = list(statements)
    while left:
        again, refused = [], None
        for statement in left:
            try:
                session.execute(f"SAVEPOINT one; {statement}; RELEASE SAVEPOINT one")
            except DatabaseError as error:
                if error.sqlstate != DEPENDENT_OBJECTS:
                    raise
                session.execute("ROLLBACK TO SAVEPOINT one")
                refused = refused or error
                again.append(statement)
        if refused is not None and len(again) == len(left):
            raise refused
        left = again
