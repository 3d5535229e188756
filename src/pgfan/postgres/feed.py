"""A script's tasks in segments: within one, what waits for what is known before anything runs.

A statement that may have changed any definition (`Accesses.is_opaque`) ends a segment. What comes
after it is analysed when it has finished, with what the database then has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.plan.dag import TaskSpec
from pgfan.plan.graph import Sequencer
from pgfan.plan.outline import session_objection
from pgfan.sql.accesses import ScriptAccesses, mentions_currval
from pgfan.sql.script import is_setting
from pgfan.sql.tree import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgfan.plan.graph import Step
    from pgfan.postgres.durations import Measured
    from pgfan.sql.effects import Accesses
    from pgfan.sql.known import KnownObjects
    from pgfan.sql.reasons import Reason
    from pgfan.sql.script import ScriptItem


class ScriptFeed:
    """Reads `items` in program order. Task numbers are their indexes, those of gates negative."""

    def __init__(
        self,
        items: Sequence[ScriptItem],
        read_known: Callable[[], KnownObjects],
        durations: Mapping[tuple[str, str], Measured],
        passed_over: Sequence[Sequence[ScriptItem]] = (),
    ) -> None:
        """Look at the database as it is now, by `read_known`; `durations` of earlier runs.

        `passed_over` are items before each one that do not run: of them settings count, no more.
        """
        self._passed_over = passed_over
        self._items = items
        self._durations = durations
        self._read_known = read_known
        currval = any(mentions_currval(one.text) for item in items for one in item.statements)
        self._accesses = ScriptAccesses(read_known(), calls_currval=currval)
        self._sequencer = Sequencer[int]()
        self._numbers: list[int] = []
        """The task's number, or the gate's, of each step."""
        self._segment_begins = 0
        self._next = 0
        self._stale = False
        self.accesses: list[Accesses] = []
        """Those of the items that were read."""
        self._pinned: set[int] = set()

    def is_pinned(self, number: int) -> bool:
        """Whether a task needs the one connection of its script."""
        return number in self._pinned

    def objection(self, number: int) -> Reason | None:
        """Why a task is not split, whatever its statement says."""
        if number not in self._pinned:
            return None
        return session_objection(self.accesses[number])

    def segment(self) -> tuple[TaskSpec, ...]:
        """The next segment's tasks; what came before has finished. Empty at the end."""
        if self._stale:
            self._accesses.refresh(self._read_known())
            self._stale = False
        self._segment_begins = len(self._numbers)
        specs: list[TaskSpec] = []
        while self._next < len(self._items) and not self._stale:
            number, self._next = self._next, self._next + 1
            item = self._items[number]
            for left_out in self._passed_over[number] if self._passed_over else ():
                self._take_settings(left_out)
            trees = [statement.tree for statement in item.statements]
            found = self._accesses.read(trees, rolls_back=item.rolls_back)
            self.accesses.append(found)
            specs.extend(self._spec(step) for step in self._sequencer.add(number, found))
            self._stale = found.is_opaque
        return tuple(specs)

    def _take_settings(self, item: ScriptItem) -> None:
        """What an item that does not run would have set for those after it."""
        if not any(map(is_setting, item.statements)):
            return
        trees = [
            statement.tree
            for statement in item.statements
            if is_setting(statement) or kind_of(statement.tree) == "TransactionStmt"
        ]
        if self._accesses.read(trees, rolls_back=item.rolls_back).is_opaque:
            self._accesses.refresh(self._read_known())

    def _spec(self, step: Step[int]) -> TaskSpec:
        number = step.task if step.task is not None else -1 - len(self._numbers)
        self._numbers.append(number)
        if step.pinned_to is not None:
            self._pinned.add(number)
        after = (before for before in step.after if before >= self._segment_begins)
        waits_for = frozenset(self._numbers[before] for before in after)
        if number < 0:
            return TaskSpec(number, waits_for, work_s=0.0, divisible=False)
        item = self._items[number]
        known = self._durations.get((item.source, item.kind))
        if known is None:
            return TaskSpec(number, waits_for)
        return TaskSpec(number, waits_for, known.work_s, known.divisible)
