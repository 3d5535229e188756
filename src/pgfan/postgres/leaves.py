"""What a partitioned table, or one that others inherit from, is made of: its leaves, one by one.

A SELECT from all of them with UNION ALL gives the same rows, and each leaf has blocks of its own.
See "Table Partitioning" and "Inheritance" in PostgreSQL's manual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from pgfan.quoting import identifier, qualified
from pgfan.sql.branches import BRANCHES_MAX
from pgfan.sql.facts import ViewFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfan.ports import Session
    from pgfan.sql.facts import RelationFacts

LEAVES: LiteralString = """
WITH RECURSIVE down (root, oid) AS (
    SELECT oid, oid FROM pg_catalog.unnest('{oids}'::pg_catalog.oid[]) AS w (oid)
    UNION SELECT d.root, i.inhrelid FROM down d
        JOIN pg_catalog.pg_inherits i ON i.inhparent = d.oid AND NOT i.inhdetachpending
)
SELECT d.root, n.nspname, c.relname FROM down d
JOIN pg_catalog.pg_class c ON c.oid = d.oid AND c.relkind <> 'p'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 1, 2, 3"""


def read_leaves(session: Session, roots: Iterable[RelationFacts]) -> dict[int, ViewFacts]:
    """For each root by its oid the SELECT of its leaves; not for one with too many of them."""
    columns = {root.oid: [column.name for column in root.columns] for root in roots}
    listed = "{" + ",".join(str(oid) for oid in sorted(columns)) + "}"
    leaves: dict[int, list[str]] = {}
    for oid, schema, name in session.execute(LEAVES.replace("{oids}", listed))[-1].rows:
        leaves.setdefault(int(oid or 0), []).append(qualified((schema or "", name or "")))
    return {
        oid: ViewFacts(_one_by_one(columns[oid], names))
        for oid, names in leaves.items()
        if 1 < len(names) <= BRANCHES_MAX and columns[oid]
    }


def _one_by_one(columns: list[str], leaves: list[str]) -> str:
    """A leaf may have its columns in another order, and a child more of them."""
    listed = ", ".join(map(identifier, columns))
    return " UNION ALL ".join(f"SELECT {listed} FROM ONLY {leaf}" for leaf in leaves)
