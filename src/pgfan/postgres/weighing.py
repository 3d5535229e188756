"""What EXPLAIN says of a cut: of a small chunk, of a large one, and so of all of them.

What is made of the figures stands in `pgfan.plan.keys`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.plan.keys import KeyCost, cost_of
from pgfan.plan.ranges import Range
from pgfan.postgres.explain import explained
from pgfan.sql.reasons import Reason

if TYPE_CHECKING:
    from pgfan.plan.task import NewTable, SplitPlan
    from pgfan.postgres.chosen import Cut
    from pgfan.postgres.session import PostgresSession

LARGE_CHUNKS = 8
"""A large chunk is one of so many."""


class Weigher:
    """Asks with a session of its own, which must be at the item's settings."""

    def __init__(self, session: PostgresSession) -> None:
        self._session = session

    def weigh(self, cut: Cut) -> KeyCost | Reason:
        """What the chunks cost; the server's objection to one of them."""
        plan = cut.estimated()
        if not plan.total:
            return KeyCost(0.0, 0.0)
        middle = plan.total // 2
        units = max(plan.total // LARGE_CHUNKS, min(2, plan.total))
        lo = min(plan.total - units, middle)
        found = []
        for piece in (Range(middle, middle + 1), Range(lo, lo + units)):
            cost = self._chunk(plan, piece, cut.stored_apart)
            if isinstance(cost, Reason):
                return cost
            found.append((cut.share_of(piece, plan.total), cost))
            if units == 1:
                break
        return cost_of(found[0], found[-1], cut.largest)

    def objection(self, cut: Cut) -> Reason | None:
        """The server's objection to a chunk, whatever it costs."""
        plan = cut.estimated()
        cost = self._chunk(plan, Range(0, 1)) if plan.total else 0.0
        return cost if isinstance(cost, Reason) else None

    def _chunk(self, plan: SplitPlan, piece: Range, apart: float = 0.0) -> float | Reason:
        return self.cost(plan.creates, plan.statement(piece), " of a chunk", stored_apart=apart)

    def cost(
        self, creates: NewTable | None, sql: str, whose: str = "", *, stored_apart: float = 0.0
    ) -> float | Reason:
        """EXPLAIN's cost of a statement for one process, with the writing.

        `stored_apart`: bytes of a row that are out of line.
        """
        if creates is not None:  # it is not there yet: look at the SELECT alone
            sql = sql.partition(creates.hidden)[2]
        found = explained(self._session, sql, whose, parallel=False)
        if isinstance(found, Reason):
            return found
        return replace(found, stored_apart=stored_apart).cost_with_writing
