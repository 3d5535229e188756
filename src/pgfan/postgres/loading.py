"""The coordinating side of a load: one task, whose ranges are pieces of files.

Implements `ports.Coordinator`. What must happen once, before the first row (TRUNCATE, dropping
indexes), commits together with the task's row in the journal, so a resume knows that it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from pgfan.errors import ConnectionLostError, DatabaseError, InternalError, PgfanError
from pgfan.plan.task import NewTable
from pgfan.ports import ChunksLost, PreparedTask
from pgfan.postgres import new_tables
from pgfan.postgres.deferred import DeferredIndexes
from pgfan.postgres.load_plan import kept_of, open_again, plan_of, survey
from pgfan.postgres.reconnecting import again_when_lost
from pgfan.postgres.records import ChunkTotals
from pgfan.postgres.session import NO_FLUSH
from pgfan.postgres.taking_back import PUTS_ASIDE, left_by, offered, refuse_twice
from pgfan.postgres.task_rows import mark_done
from pgfan.postgres.upsert import Upsert

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.load.feed import Feed
    from pgfan.plan.task import TaskPlan
    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.load_plan import Loaded, LoadRequest
    from pgfan.postgres.records import TaskRecord
    from pgfan.postgres.rejects import PostgresRejects
    from pgfan.postgres.runs import OpenRun
    from pgfan.postgres.session import PostgresSession


class Errand(Struct, frozen=True):
    """What a load was asked for and found. `fresh`: what there is to load, for a run that begins.

    `rejects`: where bad rows go; None: they fail the load.
    """

    request: LoadRequest
    server_version: int
    fresh: Loaded | None
    rejects: PostgresRejects | None


class LoadCoordinator:
    """One run's coordinator. `journal` is None with --no-journal."""

    def __init__(
        self,
        owner: PostgresSession,
        journal: PostgresJournal | None,
        run: OpenRun,
        errand: Errand,
        connect: Callable[[], PostgresSession],
    ) -> None:
        """`connect` makes further sessions, for building indexes at the same time."""
        self._session = owner
        self._journal = journal
        self._run = run
        self._request = errand.request
        self._version = errand.server_version
        self._fresh = errand.fresh
        self._rejects = errand.rejects
        self._puts_aside = errand.request.row_by_row
        self._connect = connect
        self._prepared: PreparedTask | None = None
        self._upsert: Upsert | None = None
        self._deferred = DeferredIndexes(())

    @property
    def key(self) -> int | None:
        """The load's row in the journal, once there is one."""
        return self._prepared.key if self._prepared is not None else None

    def prepare(self, number: int) -> PreparedTask:
        """See `pgfan.ports.Coordinator.prepare`."""
        self._prepared = again_when_lost(lambda: self._prepare(number))
        return self._prepared

    def renew(self, number: int) -> str:
        """See `pgfan.ports.Coordinator.renew`."""
        raise InternalError(f"load {number} has no snapshot to renew")

    def finish(
        self, number: int, rows: int | None, chunks: int, seconds: float
    ) -> ChunksLost | None:
        """See `pgfan.ports.Coordinator.finish`."""
        del number
        prepared, figures = self._prepared, (rows, chunks, seconds)
        if prepared is None:
            raise InternalError("a load ended that was not prepared")
        beside, upsert = prepared.plan.creates, self._upsert
        if beside is not None and upsert is not None:
            return again_when_lost(lambda: self._merge(prepared, upsert, beside, figures))
        self._deferred.build(self._connect)
        return again_when_lost(lambda: self._mark_done(prepared, figures))

    def _merge(
        self,
        prepared: PreparedTask,
        upsert: Upsert,
        beside: NewTable,
        figures: tuple[int | None, int, float],
    ) -> ChunksLost | None:
        """The last step of --upsert: rows, journal and the end of the table beside, together."""
        session, journal = self._session, self._journal
        if session.reconnected and new_tables.whereabouts(session, beside) == "gone":
            return None  # by a COMMIT whose answer was lost
        session.execute("BEGIN")
        try:
            lost = self._mark_done(prepared, figures)
            if lost is None:
                upsert.merge(session, beside)
                if journal is not None:  # what is done now is not lost with an unlogged table
                    journal.keep_done(session, prepared.key)
            session.execute("COMMIT" if lost is None else "ROLLBACK")
        except DatabaseError:
            session.rollback()
            raise
        return lost

    def _mark_done(
        self, prepared: PreparedTask, figures: tuple[int | None, int, float]
    ) -> ChunksLost | None:
        if self._journal is None:
            return None
        return mark_done(self._session, self._journal, prepared, figures)

    def fail(self, number: int, error: PgfanError | None) -> str | None:
        """See `pgfan.ports.Coordinator.fail`."""
        del number
        prepared, journal = self._prepared, self._journal
        if prepared is None:
            return None
        unknown = isinstance(error, ConnectionLostError) and error.in_doubt
        self._deferred.build(self._connect)
        if journal is None and prepared.plan.creates is not None:
            new_tables.drop(self._session, prepared.plan.creates)
        if journal is None or unknown:
            return None
        text = error.message if error is not None else None
        again_when_lost(lambda: journal.set_state(self._session, prepared.key, "failed", text))
        key, plan, plain = prepared.key, prepared.plan, not self._puts_aside
        return again_when_lost(lambda: left_by(self._session, journal, key, plan, plain=plain))

    def vanished(self) -> tuple[int, ...]:
        """See `pgfan.ports.Coordinator.vanished`."""
        journal = self._journal
        if journal is None:
            return ()
        return again_when_lost(lambda: journal.vanished(self._session, self._run.id))

    def cancel(self) -> None:
        """See `pgfan.ports.Coordinator.cancel`."""
        self._session.cancel()

    # Preparing ----------------------------------------------------------------------------------

    def _prepare(self, number: int) -> PreparedTask:
        record = self._run.tasks.get(number)
        resumed = self._resumed(self._journal, record) if record and self._journal else None
        if resumed is not None:
            return resumed
        loaded = self._fresh or survey(self._session, self._request, self._version)
        upsert = self._upsert_of(loaded)
        plan, feed = plan_of(loaded, None)
        if upsert is not None:
            _, feed = plan_of(loaded, NewTable("", "", "", ""))
        if self._request.defer_indexes:
            self._deferred = DeferredIndexes.of(self._session, loaded.target.oid)
        key, plan = again_when_lost(lambda: self._begin(number, plan, loaded, upsert))
        return self._put_together(key, plan, feed, ChunkTotals((), 0, 0.0))

    def _begin(
        self, number: int, plan: TaskPlan, loaded: Loaded, upsert: Upsert | None
    ) -> tuple[int, TaskPlan]:
        """What happens once: the task's row, and with it TRUNCATE, DROP INDEX, CREATE TABLE."""
        session, journal, key = self._session, self._journal, 0
        session.execute("BEGIN")
        try:
            if upsert is not None:
                plan, _ = plan_of(loaded, upsert.make(session, self._run.id, number))
            if self._request.truncate:
                session.execute(f"TRUNCATE {loaded.target.sql}")
            self._deferred.drop(session)
            if journal is not None:
                label = (self._request.files[0], "load")
                key = journal.begin_task(session, self._run.id, number, label, plan)
                kept = self._kept(loaded)
                if upsert is None and not self._request.truncate:
                    refuse_twice(session, journal, key, kept)
                journal.set_sources(session, key, kept)
            session.execute("COMMIT")
        except PgfanError:
            session.rollback()
            raise
        return key, plan

    def _upsert_of(self, loaded: Loaded) -> Upsert | None:
        if self._request.upsert:
            lists = [columns for columns, _ in loaded.groups]
            self._upsert = Upsert.of(loaded.target, self._request.upsert, lists)
        return self._upsert

    def _kept(self, loaded: Loaded) -> dict[str, Any]:
        indexes = self._deferred.to_json()
        return {**kept_of(loaded), "indexes": indexes, PUTS_ASIDE: self._puts_aside}

    def _resumed(self, journal: PostgresJournal, record: TaskRecord) -> PreparedTask | None:
        """What is left of a load that had begun; None when nothing of it was done."""
        kept = record.sources or {}
        self._deferred = DeferredIndexes.from_json(kept.get("indexes", []))
        totals = journal.chunks(self._session, record.key, unlogged=record.plan.unlogged)
        if record.state == "done" and not record.plan.unlogged:
            base = self._put_together(record.key, record.plan, None, totals)
            return replace(base, skipped=True, rows_done=record.rows or 0, counts=True)
        if not totals.chunks:
            if record.plan.creates is not None:
                new_tables.drop(self._session, record.plan.creates)
            self._deferred.build(self._connect)
            self._deferred = DeferredIndexes(())
            return None
        with offered(journal, record):
            loaded, feed = open_again(self._session, self._request, record, self._version)
        self._upsert_of(loaded)
        if self._puts_aside and not kept.get(PUTS_ASIDE):
            journal.set_sources(self._session, record.key, {**kept, PUTS_ASIDE: True})
        self._puts_aside = self._puts_aside or bool(kept.get(PUTS_ASIDE))
        journal.set_state(self._session, record.key, "running")
        return self._put_together(record.key, record.plan, feed, totals)

    def _put_together(
        self, key: int, plan: TaskPlan, feed: Feed | None, totals: ChunkTotals
    ) -> PreparedTask:
        if self._rejects is not None:
            self._rejects.begin(self._session, key)
        return PreparedTask(
            key=key,
            plan=plan,
            begin="BEGIN ISOLATION LEVEL READ COMMITTED;",
            statements=(),
            settings=NO_FLUSH if self._journal else (),
            done=totals.done,
            rows_done=totals.rows,
            chunks_done=totals.chunks,
            counts=True,
            feed=feed,
            rejects=self._rejects,
        )
