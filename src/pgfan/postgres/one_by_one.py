"""Tasks in program order, one after the other, on one session: what `pgfan exec` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.plan.dag import TaskSpec
from pgfan.plan.session_state import STATE_LOST, needs_of
from pgfan.sql.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgfan.plan.session_state import Needs
    from pgfan.postgres.light_tasks import LightTask
    from pgfan.sql.effects import ObjectName
    from pgfan.sql.generated import Row
    from pgfan.sql.script import ScriptItem


class OneByOne:
    """Every task waits for the one before it, and all need the first worker's session."""

    def __init__(self, items: Sequence[ScriptItem]) -> None:
        self._items, self._left = items, len(items)
        self._needs: dict[int, frozenset[int]] | None = None
        self.upkeep: dict[int, ObjectName] = {}
        """As of `ScriptFeed`: nothing comes between the tasks."""

    def is_pinned(self, number: int) -> bool:
        """See `pgfan.postgres.feed.ScriptFeed.is_pinned`."""
        return number >= 0

    def session_start(self, number: int) -> tuple[str, ...]:  # noqa: ARG002
        """As of `ScriptFeed`: nothing, since there is one session from the first task on."""
        return ()

    def bundle(self, number: int) -> tuple[LightTask, ...]:  # noqa: ARG002
        """As of `ScriptFeed`: there are none, since each answers before the next begins."""
        return ()

    def needs(self, number: int) -> Needs:
        """See `pgfan.postgres.feed.ScriptFeed.needs`."""
        if self._needs is None:
            self._needs = needs_of(self._items)
        found = self._needs.get(number)
        return {STATE_LOST: found} if found else {}

    def is_looked_at_where_others_ran(self, number: int) -> bool:
        """See `pgfan.postgres.feed.ScriptFeed.is_looked_at_where_others_ran`."""
        return number > 0

    def objection(self, number: int) -> Reason | None:
        """As of `ScriptFeed`: nothing, since whoever looks at a task sees all its session has."""
        return None if number >= 0 else Reason("session", "a gate is no statement")

    def keep(self, number: int) -> None:
        """As of `ScriptFeed`: no statement makes others here."""

    def makes(self, number: int) -> dict[int, Callable[[Sequence[Row]], Iterable[str]]]:  # noqa: ARG002
        """As of `ScriptFeed`: no statement makes others here."""
        return {}

    def segment(self, lost: frozenset[int] = frozenset()) -> tuple[TaskSpec, ...]:
        """See `pgfan.postgres.feed.ScriptFeed.segment`."""
        count, self._left = 0 if lost else self._left, 0
        return tuple(
            TaskSpec(n, frozenset({n - 1} if n else ()), order_only=True) for n in range(count)
        )
