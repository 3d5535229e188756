"""ANALYZE of tables that a run has filled, as steps of pgfan's own between the user's statements.

`pgfan.plan.statistics` says which tables are looked at, and when one is due. Here is what the
catalogue knows of one when its writers are done, and the ANALYZE, which a worker runs outside of
any transaction. A partitioned table stands for its leaves. Tables that are not the role's own, and
temporary ones, are left alone. SKIP_LOCKED: it never waits for what others do to the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.plan.statistics import TableStatistics, is_due
from pgfan.ports import Upkeep
from pgfan.quoting import literal, qualified

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfan.ports import Session
    from pgfan.sql.effects import ObjectName

_LOOK = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),
    pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int,
    c.relpages, c.reltuples, pg_catalog.pg_stat_get_mod_since_analyze(c.oid),
    EXISTS (SELECT FROM pg_catalog.pg_stats s
        WHERE s.schemaname = n.nspname AND s.tablename = c.relname)
FROM (SELECT pg_catalog.to_regclass({name}) AS oid
    UNION SELECT relid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass({name}))
) AS tree
JOIN pg_catalog.pg_class c ON c.oid = tree.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
    AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
ORDER BY 1"""


class StatisticsUpkeep:
    """Looks at tables with the session of the run's owner."""

    def __init__(self, session: Session, tables: Mapping[int, ObjectName]) -> None:
        """`tables` by the number of the step; it grows while the script is read."""
        self._session = session
        self._tables = tables

    def of(self, number: int) -> Upkeep | None:
        """What a step has to do now that all before it is done; None: nothing.

        Raises PgfanError when the server cannot be asked.
        """
        table = self._tables.get(number)
        if table is None:
            return None
        name = literal(qualified((table.schema or "", table.name)))
        due: list[str] = []
        for leaf, *figures in self._session.execute(_LOOK.format(name=name))[0].rows:
            pages, pages_known, rows_known, rows_changed, analysed = figures
            found = TableStatistics(
                pages=int(pages or 0),
                pages_known=int(pages_known or 0),
                rows_known=float(rows_known or 0),
                analysed=analysed == "t",
                rows_changed=int(rows_changed or 0),
            )
            if leaf is not None and is_due(found):
                due.append(leaf)
        if not due:
            return None
        why = "filled in this run, and about to be joined"
        return Upkeep(f"ANALYZE (SKIP_LOCKED) {', '.join(due)}", tuple(due), why)
