"""The facade: where the parts are put together. What the command line does, Python can do here.

No global state and no prints: results are returned, progress goes to the display that the caller
gives, query results to its callback.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pgfan.errors import DatabaseError, PgfanError, UsageError
from pgfan.execute.account import TaskLabel
from pgfan.execute.runner import RunContext, Runner
from pgfan.plan.scaling import JOBS_MAX, jobs_allowed, jobs_wanted
from pgfan.plan.scheduler import Scheduler, SchedulerOptions, TaskSpec
from pgfan.plan.sizing import SizingOptions
from pgfan.postgres.analysis import Analyst, SplitOptions
from pgfan.postgres.coordinator import PostgresCoordinator, ResumeOptions
from pgfan.postgres.fence import worker_guard
from pgfan.postgres.history import RunStatus, find_unfinished, forget_runs, list_runs
from pgfan.postgres.journal import SCHEMA_DEFAULT, PostgresJournal
from pgfan.postgres.runs import OpenRun, begin_or_resume, take_over
from pgfan.postgres.server import ServerFacts, probe_server
from pgfan.postgres.session import PostgresSession, complete_dsn
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.sql.script import ScriptItem, excerpt, locate, read_script

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgfan.execute.outcome import RunResult
    from pgfan.ports import Progress, Result


BATCH_S = 0.02
"""Workers are given chunks for so long at once when chunks are shorter still."""


@dataclass(frozen=True)
class Source:
    """SQL text and what to call it in messages: a file name, `-c` or `<stdin>`."""

    name: str
    text: str


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
    sources = [Source("-c", sql)] if isinstance(sql, str) else list(sql)
    items = [
        item
        for source in sources
        for item in read_script(source.text, source.name, options.variables)
    ]
    with_script = _Script(sources, dict(options.variables), items)
    return _Execution(dsn, options, progress, on_result, on_start).run(with_script, None)


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


@dataclass(frozen=True)
class _Script:
    """What a run is made of; the journal keeps `sources` and `variables`."""

    sources: Sequence[Source]
    variables: dict[str, str]
    items: Sequence[ScriptItem]

    def to_json(self) -> dict[str, Any]:
        texts = [[source.name, source.text] for source in self.sources]
        return {
            "command": "exec",
            "sources": texts,
            "variables": self.variables,
            "tasks": len(self.items),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> _Script:
        sources = [Source(name, text) for name, text in value["sources"]]
        variables = value["variables"]
        items = [
            item for source in sources for item in read_script(source.text, source.name, variables)
        ]
        return cls(sources, variables, items)

    @property
    def title(self) -> str:
        more = len(self.items) - 1
        return excerpt(self.items[0].first.text) + (f" (and {more} more)" if more else "")


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

    def run(self, script: _Script | None, run: str | None) -> RunResult:
        try:
            server = probe_server(self._owner)
            opened, script = self._open(server, script, run)
            result = self._go(server, opened, script)
            self._end(opened, result)
            return result
        finally:
            self._snapshots.end()
            for session in self._sessions:
                session.close()
            self._owner.close()

    def _open(
        self, server: ServerFacts, script: _Script | None, run: str | None
    ) -> tuple[OpenRun, _Script]:
        journal = self._journal
        if journal is None:
            if script is None:
                raise UsageError("without a journal there is nothing to resume")
            return OpenRun("none", "", {}, resumed=False), script
        if not journal.exists(self._owner):
            if script is None:
                raise UsageError("there is no journal in this database, so nothing to resume")
            journal.create(self._owner)
        if script is None:
            record = find_unfinished(self._owner, journal, run)
            return take_over(self._owner, journal, record), _Script.from_json(record.script)
        opened = begin_or_resume(
            self._owner,
            journal,
            script.to_json(),
            server,
            script.title,
            restart=self._options.restart,
        )
        return opened, script

    def _go(self, server: ServerFacts, opened: OpenRun, script: _Script) -> RunResult:
        items = script.items
        jobs = self._jobs(server)
        guard = worker_guard(self._journal, opened.id, opened.owner)
        self._sessions = [PostgresSession(self._dsn, guard) for _ in range(jobs)]
        options = self._options
        analyst = Analyst(
            self._sessions[0],
            self._snapshots,
            SplitOptions(options.split, options.by, options.atomic),
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
            on_error=lambda task, error, index: place_error(items[task], error, index),
            resumed=opened.resumed,
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
        return runner.run()

    def _hand_out(self, results: Sequence[Result]) -> None:
        if self._on_result is not None:
            self._on_result(results)

    def _jobs(self, server: ServerFacts) -> int:
        host = self._owner.connection.info.host or ""
        wanted = jobs_wanted(self._options.jobs, host, len(os.sched_getaffinity(0)))
        return jobs_allowed(wanted, server.connections_free)

    def _end(self, opened: OpenRun, result: RunResult) -> None:
        if self._journal is None:
            return
        state = "done" if result.ok else "interrupted" if result.interrupted else "failed"
        self._journal.end_run(self._owner, opened.id, state)


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


def place_error(item: ScriptItem, error: PgfanError, index: int) -> PgfanError:
    """`error` with its place in the user's source, for the statement of `item` at `index`."""
    if error.position is not None:
        return error
    inside = item.statements[1:-1] if item.is_block else item.statements
    statement = inside[min(index, len(inside) - 1)] if inside else item.first
    position, line = statement.position, statement.text.split("\n", 1)[0]
    if isinstance(error, DatabaseError) and error.statement_offset is not None:
        offset = error.statement_offset
        found, line = locate(statement.text, position.source, offset)
        first = found.line == 1
        column = found.column + (position.column - 1 if first else 0)
        position = type(position)(position.source, position.line + found.line - 1, column)
        line = " " * (statement.position.column - 1) + line if first else line
    error.position = position
    error.source_line = line
    return error


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
