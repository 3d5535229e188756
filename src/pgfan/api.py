"""The facade: where the parts are put together. What the command line does, Python can do here.

No global state and no prints: results are returned, progress goes to the display that the caller
gives, query results to its callback.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec.structs import replace

from pgfan.errors import UsageError
from pgfan.execute.silence import Silence
from pgfan.execution import Execution, split_options
from pgfan.options import ExecOptions, Publish
from pgfan.plan.scaling import JOBS_MAX
from pgfan.postgres.analysis import Analyst
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.control import tell
from pgfan.postgres.history import RunStatus, forget_runs, list_runs
from pgfan.postgres.journal import PostgresJournal
from pgfan.postgres.journal_schema import SCHEMA_DEFAULT
from pgfan.postgres.preview import Previewer
from pgfan.postgres.server import probe_server
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.sql.program import Program, Source

__all__ = [
    "ExecOptions",
    "LoadOptions",
    "Publish",
    "RunStatus",
    "Source",
    "UnloadOptions",
    "change_jobs",
    "exec",
    "forget",
    "forget_project",
    "load",
    "plan",
    "plan_project",
    "plan_run",
    "resume",
    "run",
    "status",
    "unload",
]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pgfan.execute.outcome import RunResult
    from pgfan.execute.runner import Runner
    from pgfan.loader import LoadOptions, load
    from pgfan.plan.preview import ProgramPlan, ProjectPlan, StatementPlan
    from pgfan.ports import Progress, Result
    from pgfan.unloader import UnloadOptions, unload


Script: TypeAlias = "Program | Source | str | os.PathLike[str]"
"""A psql script by its path, or its text as `Source(name, text)`; the path of a folder of scripts;
or what `Program.read_psql` has read."""

_FILES = {
    "LoadOptions": "pgfan.loader",
    "UnloadOptions": "pgfan.unloader",
    "load": "pgfan.loader",
    "unload": "pgfan.unloader",
}
"""What is imported when it is asked for: most runs have nothing to do with files."""


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever has the name
    if name in _FILES:
        return getattr(import_module(_FILES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
    if options.publish is not None or options.project is not None:
        raise UsageError("what is published, and a project, are built by scripts: pgfan run")
    program = Program.read(_sources(sql), options.variables)
    return Execution(dsn, options, progress, on_result, on_start).run(program, None)


def run(
    dsn: str,
    scripts: Script | Sequence[Source | str | os.PathLike[str]],
    options: ExecOptions | None = None,
    *,
    progress: Progress | None = None,
    on_result: Callable[[Sequence[Result]], None] | None = None,
    on_start: Callable[[Runner], None] | None = None,
    on_echo: Callable[[str], None] | None = None,
) -> RunResult:
    """Run psql scripts, or a folder of them, out of order, with the result of in order.

    A string is a path; SQL text is given as `Source(name, text)`. A folder's `pgfan.toml` says what
    its variables are, and which files do not count; its other keys count without `options`.

    Statements that touch the same objects keep their order, all others run at once, and each is
    split where that is safe and worth it. `on_result` and `on_echo` are called in program order.
    With `options.publish` names without a schema are built aside, to replace that schema; with
    `options.project` only what is not as built runs.
    As `exec` otherwise.
    """
    program, options = _read(scripts, options)
    options.check()
    aside = None
    if options.publish is not None:
        from pgfan.postgres.publishing import publication  # few runs do

        aside = publication(dsn, options.publish.schema, drop_old=options.publish.drop_old)
    execution = Execution(dsn, options, progress, on_result, on_start, on_echo, aside)
    return execution.run(program, None)


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
    with _previewing(dsn, options) as previewer:
        return _looked_at(previewer.plans(program), on_statement)


def plan_run(
    dsn: str,
    scripts: Script | Sequence[Source | str | os.PathLike[str]],
    options: ExecOptions | None = None,
    *,
    on_statement: Callable[[StatementPlan], None] | None = None,
) -> ProgramPlan:
    """What `run` would do with scripts: the tasks, and what each waits for. As `plan`."""
    from pgfan.plan.outline import outline_of
    from pgfan.plan.preview import ProgramPlan
    from pgfan.postgres.known import read_known
    from pgfan.postgres.preview import step_id
    from pgfan.sql.accesses import accesses_of

    program, options = _read(scripts, options)
    options.check()
    with _previewing(dsn, options) as previewer:
        outline = outline_of(accesses_of(program.items, read_known(previewer.session)))
        tasks = _looked_at(previewer.plans(program, outline), on_statement)
    gates = {step_id(gate): tuple(map(step_id, before)) for gate, before in outline.gates.items()}
    return ProgramPlan(tasks, gates, outline.longest, outline.widest)


def plan_project(dsn: str, program: Program, options: ExecOptions) -> ProjectPlan:
    """What `run` would do with a project (`options.project`): what runs, and what is dropped."""
    from pgfan.rebuilding import Rebuilding

    options.check()
    schema, name = options.journal_schema, options.project
    if schema is None or name is None:
        raise UsageError("which project? give its name")
    session = PostgresSession(complete_dsn(dsn))
    try:
        project = Rebuilding(schema, name, full=options.full)
        return project.plan(session, PostgresJournal(schema), program)
    finally:
        session.close()


@contextmanager
def _previewing(dsn: str, options: ExecOptions) -> Iterator[Previewer]:
    session, snapshots = PostgresSession(complete_dsn(dsn)), SnapshotHolder(complete_dsn(dsn))
    try:
        server = probe_server(session)
        host = session.connection.info.host or ""
        jobs = options.scaling(host, server.connections_free).workers
        chosen = replace(split_options(options, jobs), closely=True)
        analyst = Analyst(session, snapshots, chosen, server.refuses_split)
        yield Previewer(session, snapshots, analyst, options.chunk_rows)
    finally:
        snapshots.end()
        session.close()


def _looked_at(
    plans: Iterable[StatementPlan], on_statement: Callable[[StatementPlan], None] | None
) -> tuple[StatementPlan, ...]:
    looked_at = []
    for found in plans:
        looked_at.append(found)
        if on_statement is not None:
            on_statement(found)
    return tuple(looked_at)


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
    from pgfan.loader import LoadOptions, resume_load

    loading = LoadOptions(
        jobs=options.jobs,
        max_load=options.max_load,
        nice=options.nice,
        chunk_s=options.chunk_s,
        chunk_rows=options.chunk_rows,
        journal_schema=options.journal_schema,
    )
    loaded = resume_load(dsn, run, loading, progress=progress or Silence(), on_start=on_start)
    return loaded or Execution(dsn, options, progress, on_result, on_start).run(None, run)


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


def forget_project(dsn: str, name: str, *, journal_schema: str = SCHEMA_DEFAULT) -> None:
    """Delete what the journal knows of a project; what it has made stays.

    Raises UsageError when there is no such project, RunLockedError when it is being built.
    """
    from pgfan.rebuilding import forget_project as forget_it

    session = PostgresSession(complete_dsn(dsn))
    try:
        forget_it(session, journal_schema, name)
    finally:
        session.close()


def _sources(sql: str | Sequence[Source]) -> list[Source]:
    return [Source("-c", sql)] if isinstance(sql, str) else list(sql)


def _read(
    scripts: Script | Sequence[Source | str | os.PathLike[str]], options: ExecOptions | None
) -> tuple[Program, ExecOptions]:
    if isinstance(scripts, Program):
        return scripts, options or ExecOptions()
    from pgfan.reading.paths import read_scripts  # the command line has read them itself

    given = [scripts] if isinstance(scripts, str | os.PathLike | Source) else scripts
    program, settings = read_scripts(given, options.variables if options is not None else {})
    if options is not None:
        return program, options
    defaults = ExecOptions()
    return program, ExecOptions(
        jobs=settings.jobs if isinstance(settings.jobs, int) else None,
        chunk_s=settings.chunk_seconds or defaults.chunk_s,
        keep_going=bool(settings.keep_going),
        journal_schema=settings.journal_schema or defaults.journal_schema,
        project=settings.project,
    )
