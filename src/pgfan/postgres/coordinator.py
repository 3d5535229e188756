"""The coordinating side of a run: task rows, verdicts, snapshots. Implements `ports.Coordinator`.

It writes with the owner's session and analyses with the first worker's, which sees what the
script has made there (temporary tables) and is idle whenever the loop asks.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.errors import (
    ConnectionLostError,
    DatabaseError,
    InternalError,
    PgfanError,
    ResumeRefusedError,
)
from pgfan.plan.task import TaskPlan
from pgfan.ports import ChunksLost, PreparedTask
from pgfan.postgres import new_tables
from pgfan.postgres.client_file import client_file_of
from pgfan.postgres.desks import Desks
from pgfan.postgres.reconnecting import again_when_lost
from pgfan.postgres.records import ChunkTotals, ResumeOptions
from pgfan.postgres.session import NO_FLUSH
from pgfan.postgres.snapshot import begin_of
from pgfan.postgres.taking_back import left_by, offered
from pgfan.postgres.task_rows import LightPlans, TaskRows, bundle_of, mark_done, member_of
from pgfan.postgres.task_sources import TaskSources
from pgfan.quoting import qualified

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.plan.task import NewTable
    from pgfan.postgres.desks import Desk
    from pgfan.postgres.feed import ScriptFeed
    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.light_tasks import LightTask
    from pgfan.postgres.one_by_one import OneByOne
    from pgfan.postgres.records import TaskRecord
    from pgfan.postgres.runs import OpenRun
    from pgfan.postgres.session import PostgresSession
    from pgfan.postgres.snapshot import Snapshot
    from pgfan.sql.script import ScriptItem

RUN_AGAIN = frozenset({"vacuum", "check point", "reindex", "cluster", "alter system", "discard"})
"""Statements outside of transactions that may be run again when nobody knows how they ended."""


class PostgresCoordinator:
    """One run's coordinator. `journal` is None with --no-journal: then nothing is written."""

    def __init__(
        self,
        owner: PostgresSession,
        journal: PostgresJournal | None,
        run: OpenRun,
        items: Sequence[ScriptItem],
        open_desk: Callable[[], Desk],
        options: ResumeOptions,
        feed: OneByOne | ScriptFeed,
    ) -> None:
        """`items` may grow. `feed` tells which tasks need the first worker's session."""
        self._session = owner
        self._journal = journal
        self._run = run
        self._token = run.id if journal is not None else secrets.token_hex(4)
        self._items = items
        self._desks = Desks(open_desk)
        self._options = options
        self._feed = feed
        self._rows = TaskRows(journal, run.id, items)
        self._prepared: dict[int, PreparedTask] = {}
        self._light_plans = LightPlans(items, self._analysed)
        self._made: dict[int, NewTable] = {}
        self._sources = TaskSources(
            owner, journal, self._desks, items, new_snapshot=options.new_snapshot
        )

    def prepare(self, number: int) -> PreparedTask:
        """See `pgfan.ports.Coordinator.prepare`."""
        members = self._feed.bundle(number)
        if members:
            return again_when_lost(lambda: self._bundle(members))
        self._prepared[number] = again_when_lost(lambda: self._prepare(number))
        return self._prepared[number]

    def _prepare(self, number: int) -> PreparedTask:
        refusal, record = self._items[number].refusal, self._run.tasks.get(number)
        if refusal is not None:
            raise refusal
        resumed = self._resumed(number, record) if record is not None else None
        return resumed if resumed is not None else self._fresh(number)

    def renew(self, number: int) -> str:
        """See `pgfan.ports.Coordinator.renew`."""
        prepared = self._prepared[number]
        if prepared.plan.split is None:
            raise InternalError("a task that is not split has no snapshot to renew")
        return begin_of(prepared.plan, self._sources.renew(number, prepared.plan.split))

    def finish(
        self, number: int, rows: int | None, chunks: int, seconds: float
    ) -> ChunksLost | None:
        """See `pgfan.ports.Coordinator.finish`."""
        prepared, figures = self._prepared[number], (rows, chunks, seconds)
        lost = again_when_lost(lambda: self._end_task(prepared, figures))
        if lost is None:
            self._sources.done(number)
        return lost

    def _end_task(
        self, prepared: PreparedTask, figures: tuple[int | None, int, float]
    ) -> ChunksLost | None:
        creates = prepared.plan.creates
        if creates is None:
            return self._mark_done(prepared, figures)
        session = self._session
        session.execute("BEGIN")
        try:
            lost = self._mark_done(prepared, figures)
            if lost is None:
                new_tables.publish(session, creates)
            session.execute("COMMIT" if lost is None else "ROLLBACK")
        except DatabaseError:
            session.rollback()
            raise
        return lost

    def _mark_done(
        self, prepared: PreparedTask, figures: tuple[int | None, int, float]
    ) -> ChunksLost | None:
        journal = self._journal
        if journal is None or prepared.row is not None:
            return None
        if prepared.rolls_back:
            journal.finish_task(self._session, prepared.key, *figures)
            return None
        return mark_done(self._session, journal, prepared, figures)

    def fail(self, number: int, error: PgfanError | None) -> str | None:
        """See `pgfan.ports.Coordinator.fail`."""
        self._sources.release(number)
        journal = self._journal
        prepared = self._prepared.get(number)
        unknown = isinstance(error, ConnectionLostError) and error.in_doubt
        if prepared is None:
            return None
        if journal is not None and not unknown:
            text = error.message if error is not None else None
            again_when_lost(lambda: self._rows.fail(self._session, number, prepared, text))
        return again_when_lost(lambda: self._left_behind(prepared, unknown=unknown))

    def end(self) -> None:
        """Let everything go. Without a journal nobody will go on: drop what was not finished."""
        if self._journal is None:
            with contextlib.suppress(PgfanError):
                for prepared in self._prepared.values():
                    self._left_behind(prepared, unknown=False)
        self._desks.end()

    def _left_behind(self, prepared: PreparedTask, *, unknown: bool) -> str | None:
        """Drop the table that a task had begun to fill, unless rows in it are worth keeping.

        `unknown`: a COMMIT may still come.
        """
        creates, journal = prepared.plan.creates, self._journal
        if creates is None:
            if journal is None or unknown:
                return None
            return left_by(self._session, journal, prepared.key, prepared.plan)
        if (
            journal is None
            or not journal.chunks(
                self._session, prepared.key, unlogged=prepared.plan.unlogged
            ).chunks
        ):
            new_tables.drop(self._session, creates)
            return None
        return (
            f"what is done of it is in {qualified((creates.schema, creates.hidden))}: the same "
            f"command goes on from there, and pgfan forget {self._run.id} drops it"
        )

    def vanished(self) -> tuple[int, ...]:
        """See `pgfan.ports.Coordinator.vanished`."""
        journal = self._journal
        if journal is None:
            return ()
        return again_when_lost(lambda: journal.vanished(self._session, self._run.id))

    def cancel(self) -> None:
        """See `pgfan.ports.Coordinator.cancel`."""
        self._session.cancel()
        self._desks.cancel()

    # Plans --------------------------------------------------------------------------------------

    def _bundle(self, members: Sequence[LightTask]) -> PreparedTask:
        """Its members are run alike, as the first of them is."""
        plan = self._light_plans.of(members[0].number)
        for light in members:
            record = self._run.tasks.get(light.number)
            if record is not None:
                self._prepared[light.number] = self._skipped(light.number, record)
                continue
            item, row = self._items[light.number], self._rows.of_light(light, plan)
            self._prepared[light.number] = member_of(item, plan, row)
        return bundle_of(members, self._prepared)

    def _analysed(self, number: int) -> TaskPlan:
        plan = self._desks.of(number).analyst.analyse(self._items[number]).plan
        self._desks.release(number)
        return plan

    def _fresh(self, number: int) -> PreparedTask:
        stale = self._made.pop(number, None)
        if stale is not None:  # the connection was lost after it was made, and all of it is redone
            new_tables.drop(self._session, stale)
        analyst = self._desks.of(number).analyst
        hidden = new_tables.hidden_name(self._token, number)
        if self._feed.is_looked_at_where_others_ran(number):
            analysis = analyst.analyse_after_others(self._items[number], hidden)
        else:
            against = self._feed.objection(number)
            analysis = analyst.analyse(self._items[number], hidden, against)
        plan = analysis.plan
        row = self._rows.own(number, plan) if number not in self._run.tasks else None
        if row is not None:
            self._desks.release(number)
            return replace(self._put_together(number, 0, plan, None, None), row=row)
        if plan.creates is None:
            key = again_when_lost(lambda: self._rows.begin(self._session, number, plan))
        else:
            key, plan = again_when_lost(lambda: self._make(number, analysis.plan))
            if plan.creates is not None:
                self._made[number] = plan.creates
            else:
                analysis = replace(analysis, snapshot=None)
        self._sources.begin(number, key, analysis)
        return self._put_together(number, key, plan, analysis.snapshot, None)

    def _make(self, number: int, plan: TaskPlan) -> tuple[int, TaskPlan]:
        """Make the table that the task fills, and its row: its key, and the plan with the oid.

        If the server refuses, the plan is the statement itself, which the server refuses too.
        """
        desk = self._desks.of(number)
        split, session = plan.split, desk.analyst.session
        if split is None or split.creates is None:
            raise InternalError("there is no table to make")
        session.prepare(self._items[number].settings)
        if self._journal is not None and session.reconnected:  # an answer to COMMIT may be lost
            for task in self._journal.tasks(self._session, self._run.id):
                made = task.plan.creates
                if made is not None and made.hidden == split.creates.hidden:
                    return task.key, task.plan
        try:
            session.execute("BEGIN")
            oid = new_tables.make(session, split.creates)
            made = replace(split.creates, oid=oid, query="")
            filling = replace(plan, split=replace(split, creates=made))
            key = self._rows.begin(session, number, filling)
            session.execute("COMMIT")
        except DatabaseError as error:
            session.rollback()
            session.notices()
            desk.snapshots.close()
            refused = TaskPlan("serial", (("explain", error.message),), (), plan.unlogged)
            return self._rows.begin(self._session, number, refused), refused
        return key, filling

    def _resumed(self, number: int, record: TaskRecord) -> PreparedTask | None:
        """What is left of a task that had begun; None when nothing of it was done."""
        journal = self._journal
        if journal is None:
            return None
        if record.state == "outside":
            return self._unknown(number, record)
        if self._is_void(journal, record):
            return None
        totals = journal.chunks(self._session, record.key, unlogged=record.plan.unlogged)
        complete = sum(len(piece) for piece in totals.done) == record.plan.total
        # A crash has emptied an unlogged table, and its journal with it: it is done no more.
        if complete or (record.state == "done" and not record.plan.unlogged):
            if record.state != "done":  # the client was lost between the COMMIT and this row
                figures = (totals.rows, totals.chunks, totals.seconds)
                self._end_task(
                    self._put_together(number, record.key, record.plan, None, None), figures
                )
            return self._skipped(number, record)
        if record.plan.split is None or not totals.chunks:
            return None
        with offered(journal, record):
            snapshot = self._sources.again(number, record, record.plan.split)
        journal.set_state(self._session, record.key, "running")
        return self._put_together(number, record.key, record.plan, snapshot, totals)

    def _is_void(self, journal: PostgresJournal, record: TaskRecord) -> bool:
        """Whether nothing is left of the table that a task had begun to fill.

        An empty one is dropped: what made it need not be what would make it now.
        """
        creates = record.plan.creates
        if creates is None or record.state == "done":
            return False
        if new_tables.whereabouts(self._session, creates) != "gone":
            chunks = journal.chunks(self._session, record.key, unlogged=record.plan.unlogged)
            if chunks.chunks or not record.plan.total:
                return False
            new_tables.drop(self._session, creates)
        journal.delete_chunks(self._session, record.key)
        return True

    def _unknown(self, number: int, record: TaskRecord) -> PreparedTask | None:
        item = self._items[number]
        journal = self._journal
        if self._options.unknown == "done" and journal is not None:
            journal.finish_task(self._session, record.key, None, 1, 0.0)
            return self._skipped(number, record)
        if self._options.unknown == "again" or item.kind in RUN_AGAIN:
            return None
        raise ResumeRefusedError(
            "this statement runs outside of a transaction, and the client was lost while it ran: "
            "look whether it took effect",
            hint="then `pgfan resume --unknown done`, or `--unknown again` to run it again",
        )

    def _skipped(self, number: int, record: TaskRecord) -> PreparedTask:
        base = self._put_together(number, record.key, record.plan, None, None)
        return replace(
            base,
            skipped=True,
            rows_done=record.rows or 0,
            chunks_done=record.chunks or 0,
            counts=record.rows is not None,
        )

    def _put_together(
        self,
        number: int,
        key: int,
        plan: TaskPlan,
        snapshot: Snapshot | None,
        totals: ChunkTotals | None,
    ) -> PreparedTask:
        item = self._items[number]
        totals = totals or ChunkTotals((), 0, 0.0)
        texts = plan.statements or tuple(statement.text for statement in item.statements)
        begin = "BEGIN;"
        if plan.split is not None:
            begin = begin_of(plan, snapshot)
        elif item.is_block:
            begin = texts[0] + "\n;"  # it may end in a line comment
        return PreparedTask(
            key=key,
            plan=plan,
            begin=begin,
            statements=texts[1:-1] if item.is_block else texts,
            settings=(
                *self._feed.session_start(number),
                *item.settings,
                *(NO_FLUSH if plan.split and self._journal else ()),
            ),
            leaves=item.leaves,
            done=totals.done,
            rows_done=totals.rows,
            chunks_done=totals.chunks,
            counts=bool(totals.chunks),
            is_block=item.is_block,
            rolls_back=item.rolls_back,
            pinned=self._feed.is_pinned(number),
            needs=self._feed.needs(number),
            copies=item.copies,
            feed=self._sources.feed(number),
            keep=self._feed.keep(number),
            makes=self._feed.makes(number),
            sink=client_file_of(item),
        )
