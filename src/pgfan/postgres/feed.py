"""A script's tasks in segments: within one, what waits for what is known before anything runs.

A statement that may have changed any definition (`Accesses.is_opaque`) ends a segment. What comes
after it is analysed when it has finished, with what the database then has. So does a query that
makes statements of its rows: they are the first ones of the next segment.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pgfan.plan.dag import TaskSpec
from pgfan.plan.graph import Sequencer
from pgfan.plan.outline import session_objection
from pgfan.plan.priority import TYPICAL_S
from pgfan.plan.session_state import SessionState
from pgfan.plan.statistics import Unanalysed
from pgfan.sql.accesses import ScriptAccesses, client_files, mentions_currval
from pgfan.sql.bulk import fills, plans
from pgfan.sql.effects import Accesses, Barrier, Effect
from pgfan.sql.generated import generated_items, texts_in_block, without_currval
from pgfan.sql.settings import is_setting
from pgfan.sql.tree import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pgfan.plan.graph import Step
    from pgfan.plan.session_state import Needs
    from pgfan.ports import CopyData
    from pgfan.postgres.durations import Measured
    from pgfan.postgres.generated_rows import GeneratedRows
    from pgfan.postgres.light_tasks import LightTask, LightTasks
    from pgfan.sql.agenda import Agenda
    from pgfan.sql.effects import ObjectName
    from pgfan.sql.generated import Row
    from pgfan.sql.known import KnownObjects
    from pgfan.sql.reasons import Reason
    from pgfan.sql.script import ScriptItem

FRESH_SESSION = "CLOSE ALL; DEALLOCATE ALL; DISCARD TEMP; DISCARD SEQUENCES; UNLISTEN *"
"""DISCARD ALL but for advisory locks: a worker's session holds one of the run's own."""


COPY_BYTES_S = 20e6
"""What one COPY takes in a second, roughly: it is only compared with other statements."""
UPKEEP = -1
"""Stands for a task of pgfan's own where the graph is worked out."""


class DatabaseNow(Struct, frozen=True):
    """What the text of a script does not say."""

    known: Callable[[], KnownObjects]
    has_own_settings: Callable[[], bool] = lambda: False
    """Whether the script's connection was left with settings that others do not have."""


class ScriptFeed:
    """Reads an agenda in program order. Numbers of gates and of pgfan's own steps are negative."""

    def __init__(
        self,
        agenda: Agenda,
        now: DatabaseNow,
        durations: Mapping[tuple[str, str], Measured],
        made_of: GeneratedRows,
        passed_over: Sequence[Sequence[ScriptItem]] = (),
        light: LightTasks | None = None,
        *,
        analyse: bool = True,
    ) -> None:
        """Look at the database as it is `now`; `durations` are of earlier runs.

        `made_of`: the rows of queries that make statements. `passed_over` are items before each one
        that do not run: of them settings count, no more. Without `light` there are no bundles.
        `analyse`: there are steps before which fresh tables may be analysed.
        """
        self._agenda = agenda
        self._made_of = made_of
        self._passed_over = passed_over
        self._light = light
        self._durations = durations
        self._now = now
        self._currval = any(map(mentions_currval, _texts(agenda.items)))
        self._accesses = ScriptAccesses(now.known(), calls_currval=self._currval)
        self._sequencer = Sequencer[int]()
        self._numbers: list[int] = []
        """The task's number, or the gate's, of each step."""
        self._segment_begins = 0
        self._next = 0
        self._stale = False
        self._generates: int | None = None
        """The last task of the segment, when it makes those of the next one."""
        self.accesses: dict[int, Accesses] = {}
        """Those of the items that were read."""
        self._pinned: set[int] = set()
        self._session = agenda.items[agenda.order[0]].session if agenda.order else ""
        self._ended = 0
        self._sessions: dict[int, int] = {}
        """How many sessions had ended before each of the items that were read."""
        self._unanalysed = Unanalysed() if analyse else None
        self.upkeep: dict[int, ObjectName] = {}
        """The steps before which a table may have to be analysed, by their numbers."""
        self._lost: frozenset[int] = frozenset()
        self._state = SessionState()
        self._needs: dict[int, Needs] = {}

    def is_pinned(self, number: int) -> bool:
        """Whether a task needs the one connection of its script."""
        return number in self._pinned

    def session_start(self, number: int) -> tuple[str, ...]:
        """What a task needs to have run before it, once, on the connection that it is pinned to.

        The files of a folder take turns on that one, and each is to find it as new.
        """
        if number not in self._pinned or not self._agenda.items[number].session:
            return ()
        return (f"{FRESH_SESSION} -- {self._sessions[number]}",)

    def needs(self, number: int) -> Needs:
        """The earlier tasks without whose leavings in its session a task must not run."""
        return self._needs.get(number, {})

    def is_looked_at_where_others_ran(self, number: int) -> bool:  # noqa: ARG002
        """Whether a task is analysed in the session that those before it ran in."""
        return False

    def objection(self, number: int) -> Reason | None:
        """Why a task is not split, whatever its statement says."""
        if number not in self._pinned:
            return None
        return session_objection(self.accesses[number])

    def keep(self, number: int) -> Callable[[Sequence[Row]], str] | None:
        """See `pgfan.ports.PreparedTask.keep`."""
        generates = self._agenda.items[number].first.generates is not None
        return partial(self._made_of.keep, number) if generates else None

    def makes(self, number: int) -> dict[int, Callable[[Sequence[Row]], Iterable[str]]]:
        """See `pgfan.ports.PreparedTask.makes`."""
        item = self._agenda.items[number]
        if not item.makes_inside:
            return {}
        texts = partial(texts_in_block, knows_currval=self._currval)
        inside = enumerate(item.statements[1:-1])
        return {at: texts for at, one in inside if one.generates is not None}

    def segment(self, lost: frozenset[int] = frozenset()) -> tuple[TaskSpec, ...]:
        """The next segment's tasks; what came before has ended. Empty at the end.

        `lost` are those that have failed or were not run. When what ended the segment is one of
        them, nobody knows what would follow.
        """
        self._lost = lost
        if (self._stale or self._generates is not None) and self._numbers[-1] in lost:
            return ()
        if self._stale:
            self._refresh()
        self._segment_begins = len(self._numbers)
        if self._generates is not None:
            self._generate(self._generates)
            self._generates = None
        specs: list[TaskSpec] = []
        order = self._agenda.order
        while self._next < len(order) and not self._stale and self._generates is None:
            number, self._next = order[self._next], self._next + 1
            item = self._agenda.items[number]
            if item.session != self._session:
                self._session = item.session
                self._accesses.new_session()
                self._ended += 1
                self._state = SessionState()
            self._sessions[number] = self._ended
            for left_out in self._passed_over[number] if number < len(self._passed_over) else ():
                if left_out.session == item.session:
                    self._take_settings(left_out)
            self.accesses[number] = found = self._read(item)
            if needs := self._state.needs(number, item, found):
                self._needs[number] = needs
            if self._accesses.has_own_settings:
                self._state.leave_settings(number)
            if self._light is not None:
                self._light.look(number, item, found, self._accesses.definitions)
            specs.extend(self._spec(step) for step in self._before(item, found))
            specs.extend(self._spec(step) for step in self._sequencer.add(number, found))
            self._stale = found.is_opaque
            self._generates = number if item.first.generates is not None else None
        return tuple(specs) if self._light is None else self._light.bundled(specs)

    def _refresh(self) -> None:
        """Look once more, after a statement of which nobody knows what it did."""
        self._accesses.refresh(self._now.known())
        if not self._accesses.has_own_settings and self._now.has_own_settings():
            self._accesses.keep_to_session()
            self._state.leave_settings(self._agenda.order[self._next - 1])
        if self._light is not None:
            self._light.refresh()
        self._stale = False

    def bundle(self, number: int) -> tuple[LightTask, ...]:
        """The members of the bundle that begins with a task; none when it is a task by itself."""
        return self._light.bundle(number) if self._light is not None else ()

    def _read(self, item: ScriptItem) -> Accesses:
        if item.refusal is not None:  # nothing of it runs, and nothing after it
            return Accesses(barrier=Barrier("statement-unknown", "it does not parse", opaque=False))
        trees = [statement.skeleton for statement in item.statements]
        stated = item.directives.stated if item.directives is not None else None
        rolls_back, form = item.rolls_back, item.form
        read = self._accesses.read(
            trees,
            rolls_back=rolls_back,
            stated=stated,
            form=form,
            makes_inside=item.makes_inside,
        )
        return read if form is not None else read | client_files(item)

    def _generate(self, number: int) -> None:
        """The statements that the rows of a task make."""
        items = self._agenda.items
        made = generated_items(items[number], self._made_of.read(number))
        if not self._currval and any(map(mentions_currval, _texts(made))):
            made = tuple(map(_without_currval, made))
        self._agenda.insert(number, made)

    def _take_settings(self, item: ScriptItem) -> None:
        """What an item that does not run would have set for those after it."""
        if not any(map(is_setting, item.statements)):
            return
        trees = [
            statement.tree
            for statement in item.statements
            if is_setting(statement) or kind_of(statement.skeleton) == "TransactionStmt"
        ]
        if self._accesses.read(trees, rolls_back=item.rolls_back).is_opaque:
            self._accesses.refresh(self._now.known())

    def _before(self, item: ScriptItem, accesses: Accesses) -> Iterator[Step[int]]:
        """Steps of pgfan's own before a task, which may analyse fresh tables that it joins."""
        if self._unanalysed is None or item.refusal is not None or item.form is not None:
            return
        trees = [statement.skeleton for statement in item.statements]
        tables = self._unanalysed.take(
            accesses, fills=any(map(fills, trees)), plans=any(map(plans, trees))
        )
        for table in tables:
            steps = self._sequencer.add(UPKEEP, Accesses(frozenset({Effect("analyse", table)})))
            self.upkeep[_own(steps[-1])] = table
            yield from steps

    def _spec(self, step: Step[int]) -> TaskSpec:
        number = step.task if step.task is not None and step.task != UPKEEP else _own(step)
        self._numbers.append(number)
        if step.pinned_to is not None:
            self._pinned.add(number)
        waits_for = frozenset(
            self._numbers[before]
            for before in step.after
            if before >= self._segment_begins or self._numbers[before] in self._lost
        )
        if number < 0:
            return TaskSpec(number, waits_for, work_s=0.0, divisible=False)
        item = self._agenda.items[number]
        workers_max = item.directives.jobs_max if item.directives is not None else None
        known = None
        if self._durations and not item.generated_by:
            known = self._durations.get((item.source, item.kind))
        if known is None and item.copies:
            work_s, alone = copy_s(item.copies), item.is_block or not item.first.reads_client_file
            return TaskSpec(number, waits_for, work_s, not alone, workers_max)
        if known is None:
            return TaskSpec(number, waits_for, workers_max=workers_max)
        return TaskSpec(number, waits_for, known.work_s, known.divisible, workers_max)


def _texts(items: Iterable[ScriptItem]) -> Iterator[str]:
    for item in items:
        for statement in item.statements:
            yield statement.text
            if statement.generates is not None and statement.generates.template is not None:
                yield statement.generates.template


def _without_currval(item: ScriptItem) -> ScriptItem:
    """Earlier statements may have drawn from their sequences on any connection."""
    if item.refusal is not None or not any(map(mentions_currval, _texts((item,)))):
        return item
    return replace(item, refusal=without_currval())


def copy_s(copies: Sequence[CopyData]) -> float:
    """A guess at the seconds that rows of the client's take, by their bytes."""
    size_bytes = 0
    for data in copies:
        with contextlib.suppress(OSError):  # COPY itself will say what is wrong with the file
            size_bytes += len(data) if isinstance(data, str) else data.stat().st_size
    return max(TYPICAL_S, size_bytes / COPY_BYTES_S)


def _own(step: Step[int]) -> int:
    """The number of a step that is none of the script's tasks."""
    return -1 - step.number
