"""When a fresh table should be analysed before a statement reads it.

PostgreSQL's planner knows nothing of rows that a script has just brought, and autovacuum looks by
once a minute. While a script is read, `Unanalysed` keeps the tables that it has filled since their
last ANALYZE, and names those that a statement is about to join with others: a plan for one table
alone has little to get wrong. Once the writers are done, `is_due` decides by the table's size. What
this changes is the time that a statement takes, never its rows. See "Updating Planner Statistics"
in PostgreSQL's manual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from pgfan.sql.effects import Accesses, EffectKind, ObjectName

PAGES_MIN = 16_384
"""128 MB. An ANALYZE takes half a second for almost any size, since it samples 30,000 rows; those
who join less are over before that has paid."""
CHANGED_SHARE = 0.1
"""As autovacuum_analyze_scale_factor."""
TABLES_MIN = 2
_FILLS: frozenset[EffectKind] = frozenset({"append", "modify", "define"})
_KNOWS: frozenset[EffectKind] = frozenset({"analyse", "drop"})


class TableStatistics(Struct, frozen=True):
    """What the catalogue has of a table. `pages` is its size now, in blocks.

    `pages_known` and `rows_known` are those of the last ANALYZE, VACUUM or CREATE INDEX;
    `rows_known` is negative before the first. `analysed`: its columns have statistics.
    `rows_changed` since the last ANALYZE, as far as the server has counted them already.
    """

    pages: int
    pages_known: int
    rows_known: float
    analysed: bool
    rows_changed: int


def is_due(table: TableStatistics) -> bool:
    """Whether an ANALYZE would tell the planner much that it does not know."""
    if table.pages < PAGES_MIN:
        return False
    grown = table.pages > (1 + CHANGED_SHARE) * table.pages_known
    changed = table.rows_changed > CHANGED_SHARE * max(table.rows_known, 0.0)
    return not table.analysed or grown or changed


class Unanalysed:
    """The tables that a script has filled and not analysed, at one point of it."""

    def __init__(self) -> None:
        self._filled: set[ObjectName] = set()

    def take(self, accesses: Accesses, *, fills: bool, plans: bool) -> list[ObjectName]:
        """Go on by one task; the tables to look at before it, in the order of their names.

        `fills`: it may write many rows; `plans`: it may read many. A table is named once, until it
        is filled again. Tables that may be in any schema, and temporary ones, never are.
        """
        due: list[ObjectName] = []
        if self._filled and plans:
            used = {
                effect.object
                for effect in accesses.effects
                if effect.kind in {"read", "modify"} and effect.object.kind == "relation"
            }
            if len(used) >= TABLES_MIN:
                due = sorted(used & self._filled)
                self._filled.difference_update(due)
        for effect in accesses.effects:
            if effect.kind in _KNOWS:
                self._filled.discard(effect.object)
        if fills and not accesses.is_pinned:
            self._filled.update(
                effect.object
                for effect in accesses.effects
                if effect.kind in _FILLS
                and effect.object.kind == "relation"
                and effect.object.schema
            )
        return due
