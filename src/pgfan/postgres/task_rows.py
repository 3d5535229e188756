"""The journal's rows of a run's tasks: who writes them, and when.

A task's row is written before its chunks, and marked done after them. A small statement is one
transaction, and nobody needs to see that it has begun: its row is written by that transaction, as
done. So it costs one flush and no round trips of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.plan.ranges import Range
from pgfan.ports import ChunksLost, Member, PreparedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgfan.plan.task import TaskPlan
    from pgfan.ports import TaskRow
    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.light_tasks import LightTask
    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.script import ScriptItem

SMALL_KINDS = frozenset({"insert", "update", "delete", "merge", "select"})
SMALL_CODES = frozenset({"small", "not-insert-select"})
"""Reasons of statements that are over at once, or write what stands in them."""


class TaskRows:
    """Writes rows of the tasks of run `run`. Without a journal it writes nothing."""

    def __init__(
        self, journal: PostgresJournal | None, run: str, items: Sequence[ScriptItem]
    ) -> None:
        self._journal = journal
        self._run = run
        self._items = items

    def own(self, number: int, plan: TaskPlan) -> TaskRow | None:
        """The row that the task writes itself; None for a task that needs one before it begins.

        Only for a task that has no row yet.
        """
        codes = {code for code, _ in plan.reasons}
        item = self._items[number]
        if (
            self._journal is None
            or plan.unlogged
            or item.is_block
            or item.kind not in SMALL_KINDS
            or codes.isdisjoint(SMALL_CODES)
        ):
            return None
        return self._journal.task_row(self._run, number, self._label(number), plan)

    def of_light(self, light: LightTask, plan: TaskPlan) -> TaskRow | None:
        """The row that a member of a bundle writes; None without a journal."""
        if self._journal is None:
            return None
        label = self._label(light.number)
        return self._journal.task_row(self._run, light.number, label, plan, light.rows)

    def begin(self, session: PostgresSession, number: int, plan: TaskPlan) -> int:
        """Write the row of a task that begins, or begins again with another plan; its key."""
        if self._journal is None:
            return 0
        return self._journal.begin_task(session, self._run, number, self._label(number), plan)

    def fail(
        self, session: PostgresSession, number: int, prepared: PreparedTask, text: str | None
    ) -> None:
        """Mark a task failed; its own row was rolled back with what it was to do."""
        if self._journal is None:
            return
        key = prepared.key
        if prepared.row is not None:
            key = self.begin(session, number, prepared.plan)
        self._journal.set_state(session, key, "failed", text)

    def _label(self, number: int) -> tuple[str, str]:
        item = self._items[number]
        return item.source, item.kind


class LightPlans:
    """The plans of light tasks: not worth a look at the table, and for all of a kind alike."""

    def __init__(self, items: Sequence[ScriptItem], analyse: Callable[[int], TaskPlan]) -> None:
        self._items = items
        self._analyse = analyse
        self._of_kinds: dict[str, TaskPlan] = {}

    def of(self, number: int) -> TaskPlan:
        """The plan of a task, which stands for all of its bundle."""
        item = self._items[number]
        plan = self._of_kinds.get(item.kind) if item.directives is None else None
        if plan is None:
            plan = replace(self._analyse(number), unlogged=False)  # the feed lets no others in
            if item.directives is None:
                self._of_kinds[item.kind] = plan
        return plan


def member_of(item: ScriptItem, plan: TaskPlan, row: TaskRow | None) -> PreparedTask:
    """A light task: one statement, on any connection, which leaves no settings."""
    return PreparedTask(
        key=0,
        plan=plan,
        begin="BEGIN;",
        statements=(item.first.text,),
        settings=item.settings,
        pinned=False,
        row=row,
    )


def bundle_of(members: Sequence[LightTask], prepared: Mapping[int, PreparedTask]) -> PreparedTask:
    """The bundle of tasks that are prepared, some of which may be done already."""
    tasks = tuple(
        Member(light.number, prepared[light.number], light.shares, light.rows) for light in members
    )
    done = tuple(Range(at, at + 1) for at, member in enumerate(tasks) if member.task.skipped)
    first = tasks[0].task
    return PreparedTask(
        key=0,
        plan=first.plan,
        begin="",
        statements=(),
        settings=first.settings,
        done=done,
        pinned=False,
        members=tasks,
    )


def mark_done(
    session: PostgresSession,
    journal: PostgresJournal,
    prepared: PreparedTask,
    figures: tuple[int | None, int, float],
) -> ChunksLost | None:
    """Mark a task done if the journal has all its chunks; else what it has after a crash.

    `figures` are rows, chunks and seconds.
    """
    key, plan = prepared.key, prepared.plan
    if journal.finish_complete(session, key, plan.total, figures, unlogged=plan.unlogged):
        return None
    totals = journal.chunks(session, key, unlogged=plan.unlogged)
    return ChunksLost(totals.done, totals.rows)
