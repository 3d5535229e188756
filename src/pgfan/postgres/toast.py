"""How wide the rows of a statement are where EXPLAIN does not look: their out-of-line values.

A value of more than about 2 kB is stored apart, in its table's TOAST table (the chapter "TOAST" in
PostgreSQL's manual). ANALYZE counts its pointer only, so to the planner a row of 6 kB has 22 bytes,
and copying 24,000 of them, which takes seconds, costs no more than some milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.quoting import literal, qualified
from pgfan.sql.access import relation_name
from pgfan.sql.tree import kind_of, walk

if TYPE_CHECKING:
    from pgfan.ports import Session
    from pgfan.sql.tree import Message

BYTE_COST = 0.001
"""What a byte of such values costs to read and to write: 10 ns and more were measured."""

EQ = "OPERATOR(pg_catalog.=)"
NE = "OPERATOR(pg_catalog.<>)"
OVER = "OPERATOR(pg_catalog./)"


def stored_apart(tree: Message) -> str:
    """A scalar SQL expression: bytes out of line in a row of all relations that `tree` reads.

    Only columns that it names count; a table's bytes are shared out evenly among the columns that
    may be stored so, for nothing tells which are. What is only inserted into is not read. Views and
    partitions are not looked into: without them a statement is only taken for a smaller one.
    """
    written = tree.relation if kind_of(tree) == "InsertStmt" else None
    relations, columns, all_columns = set(), set(), False
    for node in walk(tree):
        if kind_of(node) == "RangeVar" and node != written:
            relations.add(qualified(relation_name(node)))
        elif kind_of(node) == "ColumnRef" and node.fields:
            last = node.fields[-1]
            all_columns = all_columns or last.WhichOneof("node") == "a_star"
            columns.add(last.string.sval)
    if not relations:
        return "0"
    oids = ", ".join(f"pg_catalog.to_regclass({literal(name)})" for name in sorted(relations))
    named = ", ".join(literal(name) for name in sorted(columns)) or "NULL"
    is_named = "true" if all_columns else f"a.attname {EQ} ANY (ARRAY[{named}]::pg_catalog.name[])"
    return f"""(
SELECT pg_catalog.sum(pg_catalog.pg_relation_size(c.reltoastrelid) {OVER} c.reltuples
    OPERATOR(pg_catalog.*) w.share)
FROM pg_catalog.pg_class c CROSS JOIN LATERAL (
    SELECT pg_catalog.avg(({is_named})::pg_catalog.int4)::pg_catalog.float8 AS share
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid {EQ} c.oid AND a.attstorage {NE} 'p' AND NOT a.attisdropped
        AND a.attnum OPERATOR(pg_catalog.>) 0
) w
WHERE c.oid {EQ} ANY (ARRAY[{oids}]::pg_catalog.oid[]) AND c.reltoastrelid {NE} 0
    AND c.reltuples OPERATOR(pg_catalog.>) 0)"""


def read_stored_apart(session: Session, tree: Message) -> float:
    """The same by itself; the session must not be in a transaction. Raises DatabaseError."""
    return float(session.execute(f"SELECT {stored_apart(tree)}")[0].rows[0][0] or 0.0)
