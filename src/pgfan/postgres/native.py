"""Whether PostgreSQL's own parallel plan pays for an INSERT ... SELECT that is not split.

The SELECT runs in parallel into a temporary table, and an INSERT follows in the same transaction
(`pgfan.sql.staging`). The server says whether the plan is parallel, which parallel safety decides,
and what it costs; nothing is run here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.errors import DatabaseError
from pgfan.postgres.explain import explain
from pgfan.sql.render import RenderError
from pgfan.sql.staging import Staged, insertion, staged, staged_query

if TYPE_CHECKING:
    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.facts import CatalogFacts
    from pgfan.sql.script import Statement
    from pgfan.sql.tree import Message

PARALLEL_BYTES_MIN = 8 * 1024 * 1024
"""PostgreSQL's min_parallel_table_scan_size: smaller relations have no parallel scan."""
GAIN_MIN = 1.2
"""How many times cheaper, by EXPLAIN, the parallel plan must be with the staging of its rows."""
PAGE_BYTES = 8192
ROW_BYTES = 28
"""What a row of the temporary table takes beside its columns: header and line pointer."""
CPU_TUPLE_COST = 0.01
"""PostgreSQL's default: staging a row costs about that twice, once to write and once to read."""
_MAY_STAGE = "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')"


def native_statements(
    session: PostgresSession, statement: Statement, facts: CatalogFacts, cost: float | None
) -> tuple[str, ...] | None:
    """CREATE TEMPORARY TABLE and INSERT for the statement, when that pays; else None.

    `cost` is what EXPLAIN said of the statement as it is; None when nobody has asked.
    """
    sizes = [
        relation.size_bytes if relation.kind in {"r", "m", "S"} else PARALLEL_BYTES_MIN
        for relation in facts.relations.values()
    ]
    if max(sizes, default=0) < PARALLEL_BYTES_MIN:
        return None
    try:
        found = _paying(session, statement, cost)
    except (DatabaseError, RenderError):
        # Whatever is wrong with the statement, running it as it is will say so best.
        return None
    return (found.create, found.insert) if found is not None else None


def _paying(session: PostgresSession, statement: Statement, cost: float | None) -> Staged | None:
    tree = statement.tree
    query = staged_query(tree)
    if query is None:
        return None
    parallel = explain(session, query)
    if not parallel.is_parallel:
        return None
    serial_cost = cost if cost is not None else explain(session, statement.text).cost
    pages = parallel.rows * (parallel.width + ROW_BYTES) / PAGE_BYTES
    staging = 2 * (pages + parallel.rows * CPU_TUPLE_COST)
    if (parallel.cost + staging) * GAIN_MIN > serial_cost:
        return None
    if session.execute(_MAY_STAGE)[0].rows[0][0] != "t":
        return None
    types = session.describe(query)
    _check_types(session, tree, types)
    found = staged(tree, query, len(types))
    # With the names and the privileges of the real thing.
    return found if explain(session, found.create).is_parallel else None


def _check_types(session: PostgresSession, tree: Message, types: tuple[int, ...]) -> None:
    """Raise DatabaseError when the INSERT does not take the columns as the SELECT types them.

    A constant without a type is text once it is staged.
    """
    oids = ", ".join(f"{oid}::pg_catalog.regtype" for oid in types)
    names = session.execute(f"SELECT {oids}")[0].rows[0]
    nulls = ", ".join(f"NULL::{name}" for name in names)
    explain(session, insertion(tree, f"SELECT {nulls}"))
