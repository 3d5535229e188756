"""One run from its first connection to its last: sessions, journal, analysis, loop, put together.

`pgfan.api` says what may be asked for; here is how a script, or what is left of one, is run.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.errors import DatabaseError, UsageError
from pgfan.events import Message
from pgfan.execute.account import TaskLabel
from pgfan.execute.clock import MonotonicClock
from pgfan.execute.context import RunContext
from pgfan.execute.in_order import InOrder
from pgfan.execute.outcome import RunResult
from pgfan.execute.runner import Runner
from pgfan.execute.silence import Silence
from pgfan.plan.scheduler import Scheduler, SchedulerOptions
from pgfan.plan.sizing import SizingOptions
from pgfan.postgres.activity import ActivitySampler
from pgfan.postgres.analysis import Analyst
from pgfan.postgres.choosing import SplitOptions
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.control import RunControl, attend
from pgfan.postgres.coordinator import PostgresCoordinator
from pgfan.postgres.desks import Desk
from pgfan.postgres.fence import no_timeouts, worker_guard
from pgfan.postgres.history import find_unfinished
from pgfan.postgres.journal import PostgresJournal
from pgfan.postgres.one_by_one import OneByOne
from pgfan.postgres.reconnecting import again_when_lost
from pgfan.postgres.records import ResumeOptions
from pgfan.postgres.runs import (
    NewScript,
    OpenRun,
    begin_or_resume,
    fingerprint_of,
    new_run_id,
    take_over,
)
from pgfan.postgres.server import ServerFacts, probe_server
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.postgres.statistics import StatisticsUpkeep
from pgfan.sql.agenda import Agenda
from pgfan.sql.places import excerpt
from pgfan.sql.program import Program
from pgfan.sql.requested import read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfan.options import ExecOptions
    from pgfan.plan.dag import TaskSpec
    from pgfan.plan.scaling import Scaling
    from pgfan.ports import Progress, Result
    from pgfan.postgres.feed import ScriptFeed
    from pgfan.postgres.publishing import Publication
    from pgfan.rebuilding import Rebuilding


BATCH_S = 0.02
"""Workers are given chunks for so long at once when chunks are shorter still."""


class Execution:
    """One call of exec or resume: opens sessions, runs, closes them whatever happens."""

    def __init__(
        self,
        dsn: str,
        options: ExecOptions,
        progress: Progress | None,
        on_result: Callable[[Sequence[Result]], None] | None,
        on_start: Callable[[Runner], None] | None,
        on_echo: Callable[[str], None] | None = None,
        publication: Publication | None = None,
    ) -> None:
        self._dsn = complete_dsn(publication.dsn if publication else dsn)
        self._publication = publication
        self._project: Rebuilding | None = None
        self._options = options
        self._progress = progress or Silence()
        self._on_result = on_result
        self._on_start = on_start
        self._on_echo = on_echo
        self._journal: PostgresJournal | None = None
        if options.journal_schema is not None:
            self._journal = PostgresJournal(options.journal_schema)
        self._owner = PostgresSession(self._dsn)
        self._sessions: list[PostgresSession] = []
        self._script: PostgresSession | None = None
        self._aside: list[PostgresSession] = [self._owner]
        """The run's sessions that are no worker's."""

    def run(self, script: Program | None, run: str | None) -> RunResult:
        """Run `script`; None: the unfinished run by the id `run`, or the newest one."""
        try:
            self._owner.on_connect = no_timeouts
            server = probe_server(self._owner)
            if script is not None and self._options.selection is not None:
                from pgfan.project import selected  # few runs have a selection

                script = selected(self._owner, script, self._options.selection)
            try:
                begun = self._open(server, script, run)
            except DatabaseError as error:
                if self._journal is None:
                    raise
                raise self._journal.without_permission(error) from error
            if self._project is not None and self._project.note:
                self._progress.emit(Message("info", self._project.note, 0.0))
            if begun is None:
                return RunResult("none", True, 0.0, 0, (), as_built=self._as_built())
            opened, script = begun
            if self._journal is not None:
                attend(self._owner, self._journal, opened.id, opened.owner)
            if self._publication is not None:
                self._publication.prepare(self._owner, resumed=opened.resumed)
            result = replace(self._go(server, opened, script), as_built=self._as_built())
            self._end(opened, result)
            return result
        finally:
            for session in (*self._sessions, *self._aside):
                session.close()

    def _open(
        self, server: ServerFacts, script: Program | None, run: str | None
    ) -> tuple[OpenRun, Program] | None:
        """The run that this client works on then; None: nothing of the project has to run."""
        journal = self._journal
        if journal is None:
            if script is None:
                raise UsageError("without a journal there is nothing to resume")
            return OpenRun("none", "", {}, resumed=False), script
        new_run = new_run_id()

        def begin() -> tuple[OpenRun, Program] | None:
            if not journal.exists(self._owner):
                if script is None:
                    raise UsageError("there is no journal in this database, so nothing to resume")
                journal.create(self._owner)
            if script is None:
                record = find_unfinished(self._owner, journal, run)
                if "project" in record.script:
                    self._project = self._rebuilding(record.script["project"])
                return take_over(self._owner, journal, record), Program.from_json(record.script)
            restart = self._options.restart
            if self._options.project is not None:
                self._project = self._rebuilding(self._options.project)
                return self._project.open(
                    self._owner, journal, script, server, new_run, restart=restart
                )
            if any(statement.generates for statement in script.statements):
                from pgfan.postgres.generated_rows import GeneratedRows

                GeneratedRows(self._owner, self._options.journal_schema, new_run).create()
            begun = _new_script(script, new_run)
            return begin_or_resume(self._owner, journal, begun, server, restart=restart), script

        return again_when_lost(begin)

    def _rebuilding(self, name: str) -> Rebuilding:
        from pgfan.rebuilding import Rebuilding  # few runs are of a project

        return Rebuilding(self._options.journal_schema or "", name, full=self._options.full)

    def _as_built(self) -> int | None:
        return self._project.as_built if self._project is not None else None

    def _go(self, server: ServerFacts, opened: OpenRun, script: Program) -> RunResult:
        host = self._owner.connection.info.host or ""
        scaling = self._options.scaling(host, server.connections_free)
        jobs = scaling.workers
        agenda = Agenda(script.items, script.numbers)
        items = agenda.items
        in_order = InOrder(agenda.order, agenda.echoes, self._say, self._hand_out)
        guard = worker_guard(self._journal, opened.id, opened.owner)
        worker = partial(PostgresSession, self._dsn, guard, was_there=True)
        self._sessions = [worker() for _ in range(scaling.most)]
        looking = self._sessions[0]
        feed: OneByOne | ScriptFeed = OneByOne(items)
        if script.files is not None:  # no worker's session is idle while others run tasks
            looking, self._script = worker(), worker()
            self._aside += [looking, self._script]
            feed = self._script_feed(server, script, looking, agenda, opened)

        open_desk = partial(self._open_desk, looking, server, jobs)
        again = ResumeOptions(self._options.new_snapshot, self._options.unknown)
        coordinator = PostgresCoordinator(
            self._owner, self._journal, opened, items, open_desk, again, feed
        )
        labels: list[TaskLabel] = []

        def next_scheduler(workers: int, lost: frozenset[int]) -> Scheduler | None:
            specs = self._segment(feed, agenda, labels, lost)
            return self._scheduler(specs, workers) if specs else None

        context = RunContext(
            run_id=opened.id,
            sessions=self._sessions,
            journal=self._journal,
            coordinator=coordinator,
            progress=self._progress,
            clock=MonotonicClock(),
            on_result=in_order.answer,
            on_end=in_order.end,
            next_scheduler=next_scheduler,
            upkeep=StatisticsUpkeep(self._owner, feed.upkeep).of,
            on_error=lambda task, error, index: script.place(items[task], error, index),
            order=agenda.order,
            keep_going=self._options.keep_going,
            resumed=opened.resumed,
            notes=tuple(self._notes(opened, script, scaling)),
            scaling=scaling,
            sampler=ActivitySampler(self._dsn, self._sessions, self._aside),
            script_session=self._script,
            control=RunControl(self._owner),
        )
        segment = self._segment(feed, agenda, labels)
        runner = Runner(context, self._scheduler(segment, jobs), labels)
        if self._on_start is not None:
            self._on_start(runner)
        try:
            return runner.run()
        finally:
            in_order.end_all()
            for text in script.ends_with:
                self._say(text)
            coordinator.end()

    def _open_desk(self, looking: PostgresSession, server: ServerFacts, jobs: int) -> Desk:
        snapshots = SnapshotHolder(self._dsn)
        self._aside.append(snapshots.session)
        split = split_options(self._options, jobs)
        return Desk(Analyst(looking, snapshots, split, server.refuses_split), snapshots)

    def _segment(
        self,
        feed: OneByOne | ScriptFeed,
        agenda: Agenda,
        labels: list[TaskLabel],
        lost: frozenset[int] = frozenset(),
    ) -> tuple[TaskSpec, ...]:
        """The tasks of the next segment; `labels` has them all then."""
        specs = feed.segment(lost)
        if self._publication is not None and not isinstance(feed, OneByOne):
            read = [agenda.items[number] for number in feed.accesses]
            self._publication.check(read, feed.accesses.values())
        for number in range(len(labels), len(agenda.items)):
            item = agenda.items[number]
            text = item.first.text
            if item.is_block:
                text = "; ".join(statement.text for statement in item.statements)
            label = TaskLabel(agenda.ids[number], item.source, item.kind, excerpt(text))
            labels.append(label)
        return specs

    def _script_feed(
        self,
        server: ServerFacts,
        script: Program,
        session: PostgresSession,
        agenda: Agenda,
        opened: OpenRun,
    ) -> ScriptFeed:
        # Only scripts need what works out the order: other runs start without it.
        from pgfan.postgres import own_settings
        from pgfan.postgres.durations import measured
        from pgfan.postgres.feed import DatabaseNow, ScriptFeed
        from pgfan.postgres.generated_rows import GeneratedRows
        from pgfan.postgres.known import read_known, read_unlogged
        from pgfan.postgres.light_tasks import LightTasks

        schema = self._options.journal_schema
        fingerprint = fingerprint_of(script.texts, server)
        durations = measured(self._owner, fingerprint, schema) if schema is not None else {}
        made_of = GeneratedRows(self._owner, schema, opened.id)
        begun = frozenset(
            number
            for number, task in opened.tasks.items()
            if task.state != "done" or task.plan.unlogged
        )
        # A bundle ends at its first failure, and --keep-going wants what comes after it.
        unlogged = None if self._options.keep_going else lambda: read_unlogged(session)
        light = LightTasks(unlogged, begun)
        return ScriptFeed(
            agenda,
            DatabaseNow(
                partial(read_known, session), partial(own_settings.are_in, self._script, session)
            ),
            durations,
            made_of,
            script.passed_over,
            light,
            analyse=self._options.analyse,
        )

    def _scheduler(self, specs: Sequence[TaskSpec], workers: int) -> Scheduler:
        options = self._options
        return Scheduler(
            specs,
            workers,
            SchedulerOptions(
                SizingOptions(options.chunk_s, options.chunk_rows),
                options.keep_going,
                BATCH_S,
                rescue=options.chunk_rows is None,
                per_target_max=options.max_per_table,
            ),
            random.Random().random,  # noqa: S311  # spreads retries apart
        )

    def _notes(self, opened: OpenRun, script: Program, scaling: Scaling) -> Iterator[str]:
        if opened.resumed:
            count = len(script.items)
            known = [task for task in opened.tasks.values() if task.number < count]
            done = sum(task.state == "done" for task in known)
            yield (
                f"going on with run {opened.id}: {done} of {count} statements are "
                "done; --restart begins anew"
            )
        if opened.terminated:
            yield f"ended {opened.terminated} backends that an earlier client had left behind"
        short = self._options.short_of(scaling)
        if short is not None:
            yield short

    def _say(self, text: str) -> None:
        if self._on_echo is not None:
            self._on_echo(text)

    def _hand_out(self, results: Sequence[Result]) -> None:
        if self._on_result is not None:
            self._on_result(results)

    def _end(self, opened: OpenRun, result: RunResult) -> None:
        def end() -> None:
            publication = self._publication if result.state == "done" else None
            also = publication.swap(self._owner) if publication is not None else ""
            if self._project is not None and self._journal is not None:
                done = result.state == "done"
                also = self._project.ended(self._owner, self._journal, opened.id, done=done)
            if self._journal is not None:
                self._journal.end_run(self._owner, opened.id, result.state, also=also)
            elif also:
                self._owner.execute(f"BEGIN; {also}; COMMIT")

        again_when_lost(end)


def split_options(options: ExecOptions, jobs: int) -> SplitOptions:
    """What the analysis needs to know of a run's options."""
    by = read_request(options.by) if options.by is not None else None
    return SplitOptions(options.split, by, options.atomic, jobs)


def _new_script(program: Program, run: str) -> NewScript:
    return NewScript(program.title, program.texts, program.to_json(), run)
