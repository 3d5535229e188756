"""Loading files, put together: what `pgfan load` does, Python can do through `pgfan.api.load`.

As `pgfan.api`, of which this is a part: no global state and no prints.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import field
from msgspec.structs import replace

from pgfan import events
from pgfan.errors import DatabaseError, UsageError
from pgfan.execute.account import TaskLabel
from pgfan.execute.clock import MonotonicClock
from pgfan.execute.context import RunContext
from pgfan.execute.runner import Runner
from pgfan.execute.silence import Silence
from pgfan.load.copy_options import CopyOptions
from pgfan.load.delimited import PIECE_BYTES
from pgfan.load.formats import KINDS
from pgfan.load.remote import forget, is_remote
from pgfan.options import Pace
from pgfan.plan.dag import TaskSpec
from pgfan.plan.scheduler import Scheduler, SchedulerOptions
from pgfan.plan.sizing import SizingOptions
from pgfan.postgres.activity import ActivitySampler
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.control import RunControl, attend
from pgfan.postgres.fence import no_timeouts, worker_guard
from pgfan.postgres.history import find_unfinished
from pgfan.postgres.journal import PostgresJournal
from pgfan.postgres.journal_schema import SCHEMA_DEFAULT
from pgfan.postgres.load_plan import Loaded, LoadRequest, kept_of, survey
from pgfan.postgres.load_target import burdens, read_load_target
from pgfan.postgres.loading import Errand, LoadCoordinator
from pgfan.postgres.reconnecting import again_when_lost
from pgfan.postgres.rejects import PostgresRejects
from pgfan.postgres.runs import NewScript, OpenRun, begin_or_resume, new_run_id, take_over
from pgfan.postgres.server import ServerFacts, probe_server
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.taking_back import refuse_twice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfan.execute.outcome import RunResult
    from pgfan.plan.scaling import Scaling
    from pgfan.ports import Progress

Format: TypeAlias = Literal[
    "csv", "tsv", "text", "binary", "parquet", "arrow", "jsonl", "fixed", "geo"
]


class LoadOptions(Pace, frozen=True):
    """Options of `load`, as on the command line.

    `copy` are COPY's own; `format` None: names of files tell it. `columns`: the table's columns in
    the files' order, in place of a header. `upsert`: columns of a unique index; rows with a key
    that is there are updated. `restart` and `journal_schema` are those of ExecOptions.
    """

    copy: CopyOptions = field(default_factory=CopyOptions)
    format: Format | None = None
    widths: tuple[int, ...] = ()
    """Of the columns, in characters: fixed width."""
    layer: str | None = None
    """Of geographic files that have several."""
    columns: tuple[str, ...] = ()
    missing: Literal["refuse", "default"] = "refuse"
    skip_columns: tuple[str, ...] = ()
    """Columns of the files that are left out, by the header's names or those of `columns`."""
    create: bool = False
    """Make the table when it is not there, with names and types from the files."""
    truncate: bool = False
    upsert: tuple[str, ...] = ()
    defer_indexes: bool = False
    restart: bool = False
    journal_schema: str | None = SCHEMA_DEFAULT
    reject: Path | None = None
    """Bad rows go to this file, with their reasons, and the others are loaded."""
    max_rejects: int | None = None
    piece_bytes: int | None = None
    """How finely files are cut; None: by the megabyte."""

    def request(self, files: Sequence[str], table: str) -> LoadRequest:
        """What is to be loaded. Raises UsageError for what makes no sense."""
        self.check()
        if self.max_rejects is not None and (self.reject is None or self.max_rejects < 0):
            raise UsageError("--max-rejects is a number of rows, and goes with --reject FILE")
        if self.reject is not None and self.journal_schema is None:
            raise UsageError(
                "--reject and --no-journal exclude each other",
                hint="bad rows are kept in the journal until they are written to the file",
            )
        if self.reject is not None and not self.reject.absolute().parent.is_dir():
            raise UsageError(f"--reject {self.reject}: there is no such folder")
        if self.upsert and (self.truncate or self.defer_indexes):
            raise UsageError("--upsert goes with neither --truncate nor --defer-indexes")
        if self.skip_columns and self.create:
            raise UsageError("--create makes all of the files' columns, and skips none")
        copy, kind = self._read_as()
        return LoadRequest(
            files=tuple(
                file if is_remote(file) else os.path.abspath(file)  # noqa: PTH100  # keeps globs
                for file in files
            ),
            table=table,
            options=copy,
            given_format=self.format is not None or kind is not None,
            columns=self.columns,
            missing=self.missing,
            skip_columns=self.skip_columns,
            truncate=self.truncate,
            upsert=self.upsert,
            defer_indexes=self.defer_indexes,
            piece_bytes=self.piece_bytes or PIECE_BYTES,
            kind=kind,
            widths=self.widths,
            layer=self.layer,
            create=self.create,
            row_by_row=self.reject is not None,
        )

    def _read_as(self) -> tuple[CopyOptions, str | None]:
        """COPY's options, and the format when it is none of COPY's text formats."""
        if self.widths:
            if self.format not in {None, "fixed"} or any(width < 1 for width in self.widths):
                raise UsageError("--widths are positive numbers, for files of fixed width")
            return self.copy, "fixed"
        if self.format is None or self.format in KINDS:
            return self.copy, self.format
        copy = _with(self.copy, format="csv" if self.format == "tsv" else self.format)
        if self.format == "tsv":
            copy = _with(copy, delimiter=copy.delimiter or "\t")
        copy.check()
        return copy, None


def _with(copy: CopyOptions, **changes: Any) -> CopyOptions:  # noqa: ANN401  # fields of it
    return CopyOptions(**{**copy.to_json(), **changes})


def load(
    dsn: str,
    files: Sequence[str | Path],
    table: str,
    options: LoadOptions | None = None,
    *,
    progress: Progress | None = None,
    on_start: Callable[[Runner], None] | None = None,
) -> RunResult:
    """Load files, globs and folders into `table` over many connections, exactly once.

    `table` is a name as SQL writes it. An unfinished load of the same files, table and options is
    resumed. A row that PostgreSQL refuses does not raise: the error is in the result. Raises
    UsageError when nothing was loaded because of the input.
    """
    options = options or LoadOptions()
    request = options.request([os.fspath(file) for file in files], table)
    return _Load(dsn, options, progress or Silence(), on_start).run(request, None)


def resume_load(
    dsn: str,
    run: str | None,
    options: LoadOptions,
    *,
    progress: Progress,
    on_start: Callable[[Runner], None] | None = None,
) -> RunResult | None:
    """Go on with an unfinished run if it is a load; None when it is something else."""
    if options.journal_schema is None:
        return None
    journal, session = PostgresJournal(options.journal_schema), PostgresSession(complete_dsn(dsn))
    try:
        if not journal.exists(session):
            return None
        record = find_unfinished(session, journal, run)
    finally:
        session.close()
    if record.script.get("command") != "load":
        return None
    request = LoadRequest.from_json(record.script)
    return _Load(dsn, options, progress, on_start).run(request, record.id)


class _Load:
    """One load: opens sessions, runs, closes them whatever happens."""

    def __init__(
        self,
        dsn: str,
        options: LoadOptions,
        progress: Progress,
        on_start: Callable[[Runner], None] | None,
    ) -> None:
        self._dsn = complete_dsn(dsn)
        self._options = options
        self._progress = progress
        self._on_start = on_start
        self._journal: PostgresJournal | None = None
        if options.journal_schema is not None:
            self._journal = PostgresJournal(options.journal_schema)
        self._owner = PostgresSession(self._dsn)
        self._sessions: list[PostgresSession] = []
        self._made: str | None = None
        self._rejects: PostgresRejects | None = None
        self._clock = MonotonicClock()
        self._began_s = self._clock.now_s()

    def run(self, request: LoadRequest, run: str | None) -> RunResult:
        try:
            self._owner.on_connect = no_timeouts
            server = probe_server(self._owner)
            if run is None and request.create:
                from pgfan.postgres.creating import create_if_missing

                self._made = create_if_missing(self._owner, request, server.version_num)
            fresh = survey(self._owner, request, server.version_num) if run is None else None
            try:
                opened = self._open(server, request, run, fresh)
            except DatabaseError as error:
                if self._journal is None:
                    raise
                raise self._journal.without_permission(error) from error
            if self._journal is not None:
                attend(self._owner, self._journal, opened.id, opened.owner)
            result = self._go(server, opened, request, fresh)
            self._end(opened, result)
            if result.ok:
                forget(request.files)
            return result
        finally:
            for session in self._sessions:
                session.close()
            self._owner.close()

    def _open(
        self, server: ServerFacts, request: LoadRequest, run: str | None, fresh: Loaded | None
    ) -> OpenRun:
        journal = self._journal
        if journal is None:
            return OpenRun("none", "", {}, resumed=False)
        new_run = new_run_id()

        def begin() -> OpenRun:
            if not journal.exists(self._owner):
                journal.create(self._owner)
            if run is not None:
                return take_over(self._owner, journal, find_unfinished(self._owner, journal, run))
            # Putting bad rows aside is a way to go on with a load that one of them has ended.
            told = {**request.to_json(), "row_by_row": False}
            text = json.dumps(told, sort_keys=True)
            script = NewScript(_title(request), (text,), request.to_json(), new_run)
            restart = self._options.restart
            if restart and fresh is not None and not (request.truncate or request.upsert):
                refuse_twice(self._owner, journal, None, kept_of(fresh))
            return begin_or_resume(self._owner, journal, script, server, restart=restart)

        return again_when_lost(begin)

    def _go(
        self, server: ServerFacts, opened: OpenRun, request: LoadRequest, fresh: Loaded | None
    ) -> RunResult:
        options = self._options
        if options.reject is not None and options.journal_schema is not None:
            self._rejects = PostgresRejects(options.journal_schema, options.max_rejects)
            self._rejects.create(self._owner)
        host = self._owner.connection.info.host or ""
        scaling = options.scaling(host, server.connections_free)
        guard = worker_guard(self._journal, opened.id, opened.owner)
        self._sessions = [
            PostgresSession(self._dsn, guard, was_there=True) for _ in range(scaling.most)
        ]
        coordinator = LoadCoordinator(
            self._owner,
            self._journal,
            opened,
            Errand(request, server.version_num, fresh, self._rejects),
            lambda: PostgresSession(self._dsn, no_timeouts),
        )
        context = RunContext(
            run_id=opened.id,
            sessions=self._sessions,
            journal=self._journal,
            coordinator=coordinator,
            progress=self._progress,
            clock=self._clock,
            on_result=lambda _, __: None,
            on_error=lambda _, error, __: error,
            resumed=opened.resumed,
            notes=tuple(self._notes(opened, request, scaling)),
            scaling=scaling,
            sampler=ActivitySampler(self._dsn, self._sessions, [self._owner]),
            control=RunControl(self._owner),
        )
        scheduler = Scheduler(
            [TaskSpec(0)],
            scaling.workers,
            SchedulerOptions(SizingOptions(options.chunk_s, options.chunk_rows)),
            random.Random().random,  # noqa: S311  # spreads retries apart
        )
        label = TaskLabel("1", _title_of_files(request), "load", f"INTO {request.table}")
        runner = Runner(context, scheduler, [label])
        if self._on_start is not None:
            self._on_start(runner)
        result = runner.run()
        (task,) = result.tasks
        rejected = self._write_rejects(coordinator.key, task.rows or 0)
        return replace(result, tasks=(replace(task, rejected=rejected),))

    def _write_rejects(self, key: int | None, loaded: int) -> int | None:
        """Write the reject file, and say how the rows add up."""
        rejects, path = self._rejects, self._options.reject
        if rejects is None or path is None or key is None:
            return None
        try:
            rejected = again_when_lost(lambda: rejects.write(self._owner, key, path))
        except OSError as error:
            self._say("warning", f"{path}: {error.strerror}; the bad rows are in the journal")
            return again_when_lost(lambda: rejects.count(self._owner, key))
        told = f"{loaded + rejected:,} rows read = {loaded:,} loaded + {rejected:,} rejected"
        self._say("warning" if rejected else "info", f"{told}, to {path}")
        return rejected

    def _say(self, level: Literal["info", "warning"], text: str) -> None:
        self._progress.emit(events.Message(level, text, self._clock.now_s() - self._began_s))

    def _notes(self, opened: OpenRun, request: LoadRequest, scaling: Scaling) -> Iterator[str]:
        short = self._options.short_of(scaling)
        if short is not None:
            yield short
        if self._made is not None:
            yield f"made the table, which was not there:\n{self._made}"
        if opened.resumed:
            yield (
                f"going on with run {opened.id}; --restart begins anew, when what was loaded is "
                "out of the table"
            )
        if opened.terminated:
            yield f"ended {opened.terminated} backends that an earlier client had left behind"
        target = read_load_target(self._owner, request.table)
        yield from burdens(self._owner, target, deferred=request.defer_indexes)

    def _end(self, opened: OpenRun, result: RunResult) -> None:
        journal = self._journal
        if journal is not None:
            again_when_lost(lambda: journal.end_run(self._owner, opened.id, result.state))


def _title(request: LoadRequest) -> str:
    return f"load {_title_of_files(request)} into {request.table}"


def _title_of_files(request: LoadRequest) -> str:
    first, more = Path(request.files[0]).name, len(request.files) - 1
    return f"{first} (and {more} more)" if more else first
