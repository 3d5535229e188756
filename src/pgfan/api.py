"""The facade: where the parts are put together. What the command line does, Python can do here.

No global state and no prints: results are returned, progress goes to the display that the caller
gives, query results to its callback.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from pgfan.errors import DatabaseError, UsageError
from pgfan.execute.account import TaskLabel
from pgfan.execute.clock import MonotonicClock
from pgfan.execute.runner import RunContext, Runner
from pgfan.loader import LoadOptions, load, resume_load
from pgfan.plan.scaling import JOBS_MAX, jobs_allowed, jobs_wanted
from pgfan.plan.scheduler import Scheduler, SchedulerOptions, TaskSpec
from pgfan.plan.sizing import SizingOptions
from pgfan.postgres.analysis import Analyst
from pgfan.postgres.choosing import SplitOptions
from pgfan.postgres.coordinator import (
    PostgresCoordinator,
    ResumeOptions,
    again_when_lost,
)
from pgfan.postgres.fence import no_timeouts, owner_guard, worker_guard
from pgfan.postgres.history import RunStatus, find_unfinished, forget_runs, list_runs
from pgfan.postgres.journal import SCHEMA_DEFAULT, PostgresJournal
from pgfan.postgres.preview import Previewer
from pgfan.postgres.runs import NewScript, OpenRun, begin_or_resume, new_run_id, take_over
from pgfan.postgres.server import ServerFacts, probe_server
from pgfan.postgres.session import PostgresSession, complete_dsn
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.sql.program import Program, Source
from pgfan.sql.script import ScriptItem, excerpt
from pgfan.unloader import UnloadOptions, unload

__all__ = [
    "ExecOptions",
    "LoadOptions",
    "RunStatus",
    "Source",
    "UnloadOptions",
    "exec",
    "forget",
    "load",
    "plan",
    "resume",
    "status",
    "unload",
]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pgfan.execute.outcome import RunResult
    from pgfan.plan.preview import StatementPlan
    from pgfan.ports import Progress, Result


BATCH_S = 0.02
"""Workers are given chunks for so long at once when chunks are shorter still."""


@dataclass(frozen=True)
class ExecOptions:
    """Options of `exec`, as on the command line.

    `jobs` None means auto. `chunk_s` is the target time of a chunk in seconds, `chunk_rows` a
    fixed size in its stead (for ctid: blocks that hold about as many). `by` is "ctid" or
    "series". `journal_schema` None runs without a journal: nothing can be resumed then.
    """

    jobs: int | None = None
    chunk_s: float = 2.0
    chunk_rows: int | None = None
    by: str | None = None
    split: Literal["auto", "always", "never"] = "auto"
    atomic: bool = False
    keep_going: bool = False
    restart: bool = False
    new_snapshot: bool = False
    unknown: Literal["refuse", "done", "again"] = "refuse"
    journal_schema: str | None = SCHEMA_DEFAULT
    variables: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise UsageError for values that make no sense."""
        if self.jobs is not None and not 1 <= self.jobs <= JOBS_MAX:
            raise UsageError(
                f"--jobs {self.jobs}: a run needs from 1 to {JOBS_MAX} workers",
                hint="leave it out, or say auto, for the server's cores",
            )
        if not 0 < self.chunk_s < float("inf"):
            raise UsageError(f"--chunk-seconds {self.chunk_s}: give a positive number of seconds")
        if self.chunk_rows is not None and self.chunk_rows < 1:
            raise UsageError(f"--chunk-rows {self.chunk_rows}: give a positive number of rows")
        if self.by not in {None, "ctid", "series"}:
            raise UsageError(
                f"--by {self.by}: this version splits by ctid or series only",
                hint="leave it out to let pgfan choose",
            )


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
        refuses = probe_server(session).refuses_split
        chosen = replace(_split_options(options, _jobs_wanted(session, options)), closely=True)
        analyst = Analyst(session, snapshots, chosen, refuses)
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
    loading = LoadOptions(
        jobs=options.jobs, chunk_s=options.chunk_s, journal_schema=options.journal_schema
    )
    shown = progress or _silent()
    loaded = resume_load(dsn, run, loading, progress=shown, on_start=on_start)
    return loaded or _Execution(dsn, options, shown, on_result, on_start).run(None, run)


class _Execution:
    """One call of exec or resume: opens sessions, runs, closes them whatever happens."""

    def __init__(
        self,
        dsn: str,
        options: ExecOptions,
        progress: Progress | None,
        on_result: Callable[[Sequence[Result]], None] | None,
        on_start: Callable[[Runner], None] | None,
    ) -> None:
        self._dsn = complete_dsn(dsn)
        self._options = options
        self._progress = progress or _silent()
        self._on_result = on_result
        self._on_start = on_start
        self._journal: PostgresJournal | None = None
        if options.journal_schema is not None:
            self._journal = PostgresJournal(options.journal_schema)
        self._owner = PostgresSession(self._dsn)
        self._snapshots = SnapshotHolder(self._dsn)
        self._sessions: list[PostgresSession] = []

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
                self._owner.on_connect = owner_guard(self._journal, opened.id, opened.owner)
            result = self._go(server, opened, script)
            self._end(opened, result)
            return result
        finally:
            self._snapshots.end()
            for session in self._sessions:
                session.close()
            self._owner.close()

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
        jobs = self._jobs(server)
        guard = worker_guard(self._journal, opened.id, opened.owner)
        self._sessions = [PostgresSession(self._dsn, guard) for _ in range(jobs)]
        options = self._options
        analyst = Analyst(
            self._sessions[0],
            self._snapshots,
            _split_options(options, jobs),
            server.refuses_split,
        )
        coordinator = PostgresCoordinator(
            self._owner,
            self._journal,
            opened,
            items,
            analyst,
            self._snapshots,
            ResumeOptions(options.new_snapshot, options.unknown),
        )
        context = RunContext(
            run_id=opened.id,
            sessions=self._sessions,
            journal=self._journal,
            coordinator=coordinator,
            progress=self._progress,
            clock=MonotonicClock(),
            on_result=lambda _, results: self._hand_out(results),
            on_error=lambda task, error, index: script.place(items[task], error, index),
            resumed=opened.resumed,
            notes=tuple(self._notes(opened, script, jobs)),
        )
        specs = [
            TaskSpec(number, frozenset({number - 1} if number else ()))
            for number in range(len(items))
        ]
        scheduler = Scheduler(
            specs,
            jobs,
            SchedulerOptions(
                SizingOptions(options.chunk_s, options.chunk_rows), options.keep_going, BATCH_S
            ),
            random.Random().random,  # noqa: S311  # spreads retries apart
        )
        runner = Runner(context, scheduler, [_label(n, item) for n, item in enumerate(items)])
        if self._on_start is not None:
            self._on_start(runner)
        try:
            return runner.run()
        finally:
            coordinator.end()

    def _notes(self, opened: OpenRun, script: Program, jobs: int) -> Iterator[str]:
        if opened.resumed:
            done = sum(task.state == "done" for task in opened.tasks.values())
            yield (
                f"going on with run {opened.id}: {done} of {len(script.items)} statements are "
                "done; --restart begins anew"
            )
        if opened.terminated:
            yield f"ended {opened.terminated} backends that an earlier client had left behind"
        if self._options.jobs is not None and jobs < self._options.jobs:
            yield f"the server has room for {jobs} workers, not {self._options.jobs}"

    def _hand_out(self, results: Sequence[Result]) -> None:
        if self._on_result is not None:
            self._on_result(results)

    def _jobs(self, server: ServerFacts) -> int:
        return jobs_allowed(_jobs_wanted(self._owner, self._options), server.connections_free)

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
    return SplitOptions(options.split, options.by, options.atomic, jobs)


def _jobs_wanted(session: PostgresSession, options: ExecOptions) -> int:
    host = session.connection.info.host or ""
    return jobs_wanted(options.jobs, host, len(os.sched_getaffinity(0)))


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
