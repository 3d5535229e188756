"""The expression that the user wants to divide by, found among those that indexes begin with.

An expression is the same as an index's when the server prints both alike: EXPLAIN (VERBOSE) of a
query that returns both writes them as the planner sees them, casts and all. An index takes only
immutable expressions, and has computed it for every row, so no row is an error. See "Indexes on
Expressions" in PostgreSQL's manual.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import postgast
from msgspec.structs import replace

from pgfan.errors import DatabaseError
from pgfan.postgres.bounds import EQ, NE
from pgfan.quoting import qualified
from pgfan.sql.facts import IndexExpression
from pgfan.sql.parsing import NestedTooDeepError
from pgfan.sql.tree import kind_of, names, parse_expression, walk

if TYPE_CHECKING:
    from pgfan.ports import Session
    from pgfan.sql.facts import CatalogFacts, RelationFacts
    from pgfan.sql.requested import KeyRequest

_INDEXES = f"""
SELECT i.indexrelid, pg_catalog.pg_get_indexdef(i.indexrelid, 1, false), a.attname,
    CASE WHEN k.oid IS NOT NULL
        THEN pg_catalog.format(' COLLATE %I.%I', s.nspname, k.collname) ELSE '' END
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_attribute a ON a.attrelid {EQ} i.indexrelid AND a.attnum {EQ} 1
JOIN pg_catalog.pg_opclass o ON o.oid {EQ} (i.indclass::pg_catalog.oid[])[0] AND o.opcdefault
    AND o.opcnamespace {EQ} 'pg_catalog'::pg_catalog.regnamespace
JOIN pg_catalog.pg_am m ON m.oid {EQ} o.opcmethod AND m.amname {EQ} 'btree'
LEFT JOIN pg_catalog.pg_collation k ON k.oid {EQ} a.attcollation
LEFT JOIN pg_catalog.pg_namespace s ON s.oid {EQ} k.collnamespace
WHERE i.indrelid {EQ} {{oid}} AND i.indisvalid AND i.indpred IS NULL
    AND (i.indkey::pg_catalog.int2[])[0] {EQ} 0 AND a.attname {NE} ''
ORDER BY i.indexrelid"""  # operators are constants


def with_wanted(session: Session, facts: CatalogFacts, by: KeyRequest) -> CatalogFacts:
    """The facts with what the user wants statements to be divided by."""
    if not by.expression:
        return replace(facts, wanted=by.columns)
    return replace(facts, expressions=read_expressions(session, facts, by.expression))


def read_expressions(
    session: Session, facts: CatalogFacts, wanted: str
) -> dict[int, IndexExpression]:
    """The indexes' expression that `wanted` is, for each relation in `facts` that has one."""
    found = {}
    for relation in facts.relations.values():
        if relation.kind in {"r", "m", "p"} and relation.oid not in found:
            expression = _of_relation(session, relation, wanted)
            if expression is not None:
                found[relation.oid] = expression
    return found


def _of_relation(session: Session, relation: RelationFacts, wanted: str) -> IndexExpression | None:
    rows = session.execute(_INDEXES.replace("{oid}", str(relation.oid)))[0].rows
    known = [
        IndexExpression(sql, columns, int(oid or 0), attribute or "", collate or "")
        for oid, sql, attribute, collate in rows
        if sql is not None and (columns := _columns(sql)) is not None
    ]
    if not known:
        return None
    listed = ", ".join([*(f"({one.sql})" for one in known), f"({wanted})"])
    name = qualified((relation.schema, relation.name))
    try:
        text = session.execute(
            f"EXPLAIN (VERBOSE, FORMAT JSON) SELECT {listed} FROM ONLY {name} WHERE false"
        )[0].rows[0][0]
    except DatabaseError:  # it has no such columns
        session.rollback()
        return None
    printed = json.loads(text or "[]")[0]["Plan"].get("Output", [])
    if len(printed) != len(known) + 1:
        return None
    *ours, asked = printed
    return next((one for one, own in zip(known, ours, strict=True) if own == asked), None)


def _columns(sql: str) -> tuple[str, ...] | None:
    """The columns in an expression; None when it refers to anything else."""
    try:
        nodes = list(walk(parse_expression(f"({sql})")))
    except (postgast.PgQueryError, NestedTooDeepError):
        return None
    references = [names(node.fields) for node in nodes if kind_of(node) == "ColumnRef"]
    if any(len(reference) != 1 for reference in references):
        return None
    return tuple(dict.fromkeys(name for (name,) in references))
