"""The facade: where the parts are put together. What the command line does, Python can do here.

No global state and no prints: results are returned, progress goes to the display that the caller
gives, query results to its callback.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pgfan.errors import DatabaseError, UsageError
from pgfan.execute.account import TaskLabel
from pgfan.execute.in_order import InOrder
from pgfan.execute.runner import RunContext, Runner
from pgfan.options import ExecOptions
from pgfan.plan.scaling import JOBS_MAX
from pgfan.plan.scheduler import Scheduler, SchedulerOptions
from pgfan.plan.sizing import SizingOptions
from pgfan.postgres.activity import ActivitySampler
from pgfan.postgres.analysis import Analyst
from pgfan.postgres.choosing import SplitOptions
from pgfan.postgres.control import RunControl, hear, listen, tell
from pgfan.postgres.coordinator import PostgresCoordinator, ResumeOptions
from pgfan.postgres.desks import Desk
from pgfan.postgres.feed import OneByOne, ScriptFeed
from pgfan.postgres.fence import no_timeouts, owner_guard, worker_guard
from pgfan.postgres.history import RunStatus, find_unfinished, forget_runs, list_runs
from pgfan.postgres.journal import SCHEMA_DEFAULT, PostgresJournal
from pgfan.postgres.known import read_known
from pgfan.postgres.preview import Previewer
from pgfan.postgres.reconnecting import again_when_lost
from pgfan.postgres.runs import NewScript, OpenRun, begin_or_resume, new_run_id, take_over
from pgfan.postgres.server import ServerFacts, probe_server
from pgfan.postgres.session import PostgresSession, complete_dsn
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.sql.places import excerpt
from pgfan.sql.program import Program, Source
from pgfan.sql.requested import read_request

__all__ = [
    "ExecOptions",
    "RunStatus",
    "Source",
    "change_jobs",
    "exec",
    "forget",
    "plan",
    "resume",
    "run",
    "status",
]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfan.execute.outcome import RunResult
    from pgfan.plan.dag import TaskSpec
    from pgfan.plan.preview import StatementPlan
    from pgfan.plan.scaling import Scaling
    from pgfan.ports import Progress, Result
    from pgfan.sql.script import ScriptItem


BATCH_S = 0.02
"""Workers are given chunks for so long at once when chunks are shorter still."""


class MonotonicClock:
    """Implements `pgfan.ports.Clock`."""

    def now_s(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()


def exec(  # noqa: A001  # the command's name
    dsn: str,
    sql: str | Sequence[Source],
    options: ExecOptions | None = None,
    *,
    progress: Progress | None = None,
    on_result: Callable[[Sequence[Result]], None] | None = None,
    on_start: Callable[[Runner], None] | None = None,
) -> RunResult:
    """Run statements, each split over many connections where that is safe and worth it.

    `dsn` is a libpq connection string; an empty one means libpq's environment. Statements run in
    order. `on_result` receives the results of each task that was not split, in order, committed.
    `on_start` receives the Runner, whose `interrupt` stops the run.

    An unfinished run of the same text, database and user is resumed. A failed statement does not
    raise: it is in the result. Raises UsageError when nothing was run because of the input,
    ConnectionFailedError when there is no server to run it on.
    """
    options = options or ExecOptions()
    options.check()
    program = Program.read(_sources(sql), options.variables)
    return _Execution(dsn, options, progress, on_result, on_start).run(program, None)


def run(
    dsn: str,
    program: Program,
    options: ExecOptions | None = None,
    *,
    progress: Progress | None = None,
    on_result: Callable[[Sequence[Result]], None] | None = None,
    on_start: Callable[[Runner], None] | None = None,
    on_echo: Callable[[str], None] | None = None,
) -> RunResult:
    """Run psql scripts (`Program.read_psql`) out of order, with the result of in order.

    Statements that touch the same objects keep their order, all others run at once, and each is
    split where that is safe and worth it. `on_result` and `on_echo` are called in program order.
    As `exec` otherwise.
    """
    options = options or ExecOptions()
    options.check()
    return _Execution(dsn, options, progress, on_result, on_start, on_echo).run(program, None)


def plan(
    dsn: str,
    sql: str | Sequence[Source],
    options: ExecOptions | None = None,
    *,
    on_statement: Callable[[StatementPlan], None] | None = None,
) -> tuple[StatementPlan, ...]:
    """What `exec` would do with each statement, as the database is now; nothing is run.

    `on_statement` receives each plan as it is known. A statement that PostgreSQL refuses does not
    raise: its plan says so, and whether an earlier statement makes what it lacks. Nothing is
    written, no journal is made, and no lock is held once a statement has been looked at.
    """
    options = options or ExecOptions()
    options.check()
    program = Program.read(_sources(sql), options.variables)
    session, snapshots = PostgresSession(complete_dsn(dsn)), SnapshotHolder(complete_dsn(dsn))
    try:
        server = probe_server(session)
        host = session.connection.info.host or ""
        jobs = options.scaling(host, server.connections_free).workers
        chosen = replace(_split_options(options, jobs), closely=True)
        analyst = Analyst(session, snapshots, chosen, server.refuses_split)
        plans = []
        for found in Previewer(session, snapshots, analyst, options.chunk_rows).plans(program):
            plans.append(found)
            if on_statement is not None:
                on_statement(found)
        return tuple(plans)
    finally:
        snapshots.end()
        session.close()


def resume(
    dsn: str,
    run: str | None = None,
    options: ExecOptions | None = None,
    *,
    progress: Progress | None = None,
    on_result: Callable[[Sequence[Result]], None] | None = None,
    on_start: Callable[[Runner], None] | None = None,
) -> RunResult:
    """Go on with an unfinished run: `run` by its id, or the newest one.

    As `exec` otherwise. Raises UsageError when there is none.
    """
    options = options or ExecOptions()
    options.check()
    return _Execution(dsn, options, progress, on_result, on_start).run(None, run)


class _Execution:
    """One call of exec or resume: opens sessions, runs, closes them whatever happens."""

    def __init__(
        self,
        dsn: str,
        options: ExecOptions,
        progress: Progress | None,
        on_result: Callable[[Sequence[Result]], None] | None,
        on_start: Callable[[Runner], None] | None,
        on_echo: Callable[[str], None] | None = None,
    ) -> None:
        self._dsn = complete_dsn(dsn)
        self._options = options
        self._progress = progress or _silent()
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
        try:
            self._owner.on_connect = no_timeouts
            server = probe_server(self._owner)
            try:
                opened, script = self._open(server, script, run)
            except DatabaseError as error:
                if self._journal is None:
                    raise
                raise self._journal.without_permission(error) from error
            if self._journal is not None:
                guard = owner_guard(self._journal, opened.id, opened.owner)
                self._owner.on_connect = lambda session: hear(session, opened.owner, guard)
                again_when_lost(lambda: listen(self._owner, opened.owner))
            result = self._go(server, opened, script)
            self._end(opened, result)
            return result
        finally:
            for session in (*self._sessions, *self._aside):
                session.close()

    def _open(
        self, server: ServerFacts, script: Program | None, run: str | None
    ) -> tuple[OpenRun, Program]:
        journal = self._journal
        if journal is None:
            if script is None:
                raise UsageError("without a journal there is nothing to resume")
            return OpenRun("none", "", {}, resumed=False), script
        new_run = new_run_id()

        def begin() -> tuple[OpenRun, Program]:
            if not journal.exists(self._owner):
                if script is None:
                    raise UsageError("there is no journal in this database, so nothing to resume")
                journal.create(self._owner)
            if script is None:
                record = find_unfinished(self._owner, journal, run)
                return take_over(self._owner, journal, record), Program.from_json(record.script)
            begun = _new_script(script, new_run)
            restart = self._options.restart
            return begin_or_resume(self._owner, journal, begun, server, restart=restart), script

        return again_when_lost(begin)

    def _go(self, server: ServerFacts, opened: OpenRun, script: Program) -> RunResult:
        items = script.items
        host = self._owner.connection.info.host or ""
        scaling = self._options.scaling(host, server.connections_free)
        jobs = scaling.workers
        in_order = InOrder([item.echoes for item in items], self._say, self._hand_out)
        guard = worker_guard(self._journal, opened.id, opened.owner)
        self._sessions = [PostgresSession(self._dsn, guard) for _ in range(scaling.most)]
        options = self._options
        feed: OneByOne | ScriptFeed = OneByOne(len(items))
        looking = self._sessions[0]
        if script.files is not None:  # no worker's session is idle while others run tasks
            looking, self._script = (PostgresSession(self._dsn, guard) for _ in range(2))
            self._aside += [looking, self._script]
            feed = ScriptFeed(items, lambda: read_known(looking))

        def open_desk() -> Desk:
            snapshots = SnapshotHolder(self._dsn)
            self._aside.append(snapshots.session)
            split = _split_options(options, jobs)
            return Desk(Analyst(looking, snapshots, split, server.refuses_split), snapshots)

        coordinator = PostgresCoordinator(
            self._owner,
            self._journal,
            opened,
            items,
            open_desk,
            ResumeOptions(options.new_snapshot, options.unknown),
            feed,
        )

        def next_scheduler() -> Scheduler | None:
            specs = feed.segment()
            return self._scheduler(specs, scaling.most) if specs else None

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
            on_error=lambda task, error, index: script.place(items[task], error, index),
            resumed=opened.resumed,
            notes=tuple(self._notes(opened, script, scaling)),
            scaling=scaling,
            sampler=ActivitySampler(self._dsn, self._sessions, self._aside),
            script_session=self._script,
            control=RunControl(self._owner),
        )
        labels = [_label(n, item) for n, item in enumerate(items)]
        runner = Runner(context, self._scheduler(feed.segment(), jobs), labels)
        if self._on_start is not None:
            self._on_start(runner)
        try:
            return runner.run()
        finally:
            in_order.end_all()
            for text in script.ends_with:
                self._say(text)
            coordinator.end()

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
            done = sum(task.state == "done" for task in opened.tasks.values())
            yield (
                f"going on with run {opened.id}: {done} of {len(script.items)} statements are "
                "done; --restart begins anew"
            )
        if opened.terminated:
            yield f"ended {opened.terminated} backends that an earlier client had left behind"
        if self._options.jobs is not None and scaling.most < self._options.jobs:
            yield f"the server has room for {scaling.most} workers, not {self._options.jobs}"

    def _say(self, text: str) -> None:
        if self._on_echo is not None:
            self._on_echo(text)

    def _hand_out(self, results: Sequence[Result]) -> None:
        if self._on_result is not None:
            self._on_result(results)

    def _end(self, opened: OpenRun, result: RunResult) -> None:
        journal = self._journal
        if journal is not None:
            state = "done" if result.ok else "interrupted" if result.interrupted else "failed"
            again_when_lost(lambda: journal.end_run(self._owner, opened.id, state))


def status(dsn: str, journal_schema: str = SCHEMA_DEFAULT) -> list[RunStatus]:
    """The runs in the journal, newest first; empty without a journal."""
    session = PostgresSession(complete_dsn(dsn))
    try:
        return list_runs(session, PostgresJournal(journal_schema))
    finally:
        session.close()


def change_jobs(
    dsn: str, jobs: int | None, run: str | None = None, *, journal_schema: str = SCHEMA_DEFAULT
) -> str:
    """Have a run that goes on now use so many workers, 0 for a pause, None for auto; its id.

    `run` is its id, or None for the only one. Raises UsageError when nobody works on such a run.
    """
    if jobs is not None and not 0 <= jobs <= JOBS_MAX:
        raise UsageError(f"{jobs} workers: give a number from 0 to {JOBS_MAX}, or auto")
    session = PostgresSession(complete_dsn(dsn))
    try:
        return tell(session, PostgresJournal(journal_schema), run, jobs)
    finally:
        session.close()


def forget(
    dsn: str, runs: Sequence[str] = (), *, every: bool = False, journal_schema: str = SCHEMA_DEFAULT
) -> list[str]:
    """Delete runs from the journal, by id, or the whole journal with `every`; the ids deleted.

    What the runs did to the data stays. Raises UsageError for an unknown id, RunLockedError for a
    run that is being worked on.
    """
    session = PostgresSession(complete_dsn(dsn))
    try:
        return forget_runs(session, PostgresJournal(journal_schema), None if every else runs)
    finally:
        session.close()


def _sources(sql: str | Sequence[Source]) -> list[Source]:
    return [Source("-c", sql)] if isinstance(sql, str) else list(sql)


def _split_options(options: ExecOptions, jobs: int) -> SplitOptions:
    by = read_request(options.by) if options.by is not None else None
    return SplitOptions(options.split, by, options.atomic, jobs)


def _new_script(program: Program, run: str) -> NewScript:
    texts = tuple(statement.text for statement in program.statements)
    return NewScript(program.title, texts, program.to_json(), run)


def _label(number: int, item: ScriptItem) -> TaskLabel:
    position = item.first.position
    source = f"{position.source}:{position.line}"
    text = "; ".join(statement.text for statement in item.statements)
    return TaskLabel(str(number + 1), source, item.kind, excerpt(text))


def _silent() -> Progress:
    return _Nobody()


class _Nobody:
    """A display that shows nothing."""

    def emit(self, event: object) -> None:
        """Take it and forget it."""
