"""What the chunks of a run's tasks read, and whether it is still there when a run goes on.

Relations are read under one snapshot for each task, files as they were when the task began. The
journal keeps what tells either from a changed one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfan.postgres.reconnecting import again_when_lost
from pgfan.postgres.snapshot import refuse_if_changed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.load.feed import Feed
    from pgfan.plan.task import SplitPlan
    from pgfan.postgres.analysis import Analysis
    from pgfan.postgres.desks import Desks
    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.records import TaskRecord
    from pgfan.postgres.session import PostgresSession
    from pgfan.postgres.snapshot import Snapshot
    from pgfan.sql.script import ScriptItem


class TaskSources:
    """Those of one run. Without a journal nothing is kept."""

    def __init__(
        self,
        session: PostgresSession,
        journal: PostgresJournal | None,
        desks: Desks,
        items: Sequence[ScriptItem],
        *,
        new_snapshot: bool,
    ) -> None:
        """`session` writes the journal. `new_snapshot`: go on though relations may have changed."""
        self._session = session
        self._journal = journal
        self._desks = desks
        self._items = items
        self._new_snapshot = new_snapshot
        self._snapshots: dict[int, Snapshot] = {}
        self._feeds: dict[int, Feed] = {}

    def feed(self, number: int) -> Feed | None:
        """Where a task's rows come from that are in files."""
        return self._feeds.get(number)

    def begin(self, number: int, key: int, analysis: Analysis) -> None:
        """A task is about to begin, with the snapshot and the files that were found.

        Raises ResumeRefusedError for files that another run has begun to load.
        """
        if analysis.snapshot is None:
            self.release(number)
            return
        self._snapshots[number] = analysis.snapshot
        kept = analysis.snapshot.state
        if analysis.files is not None:
            self._feeds[number], kept = analysis.files.feed, analysis.files.kept
            self._refuse_twice(key, kept)
        self._keep(key, kept)

    def again(self, number: int, record: TaskRecord, split: SplitPlan) -> Snapshot:
        """The same for a task that goes on. Raises ResumeRefusedError when they have changed."""
        item, kept = self._items[number], record.sources
        self._snapshots[number] = snapshot = self._open(number, split)
        if kept is not None and "files" in kept:
            from pgfan.postgres.script_files import again  # few statements read files

            session = self._desks.of(number).analyst.session
            session.prepare(item.settings)
            self._feeds[number] = again(session, item, record)
            return snapshot
        if kept is not None and not self._new_snapshot:
            refuse_if_changed(kept, snapshot.state)
        self._keep(record.key, snapshot.state)
        return snapshot

    def renew(self, number: int, split: SplitPlan) -> Snapshot:
        """A snapshot in place of a lost one. Raises ResumeRefusedError."""
        before = self._snapshots.get(number)
        # Every worker that had the lost one asks: the next must not take the first one's away.
        if before is not None and self._desks.of(number).snapshots.holds(before):
            return before
        snapshot = again_when_lost(lambda: self._open(number, split))
        if before is not None and not self._new_snapshot:
            refuse_if_changed(before.state, snapshot.state)
        self._snapshots[number] = snapshot
        return snapshot

    def done(self, number: int) -> None:
        """A task has done its work: copies of what is far away are needed no more."""
        path = self._items[number].first.client_file
        if number in self._feeds and path is not None:
            from pgfan.load.remote import forget

            forget((path,))
        self.release(number)

    def release(self, number: int) -> None:
        """A task has ended, or reads nothing that must stay: snapshot and locks are let go."""
        self._snapshots.pop(number, None)
        self._feeds.pop(number, None)
        self._desks.release(number)

    def _refuse_twice(self, key: int, kept: dict[str, Any]) -> None:
        journal = self._journal
        if journal is not None:
            from pgfan.postgres.taking_back import refuse_twice  # few statements read files

            again_when_lost(lambda: refuse_twice(self._session, journal, key, kept))

    def _keep(self, key: int, kept: dict[str, Any]) -> None:
        journal = self._journal
        if journal is not None:
            again_when_lost(lambda: journal.set_sources(self._session, key, kept))

    def _open(self, number: int, split: SplitPlan) -> Snapshot:
        target = split.target if split.creates is None else None
        settings = self._items[number].settings
        return self._desks.of(number).snapshots.open(settings, target, split.sources)
