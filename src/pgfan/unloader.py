"""Unloading rows to files, put together: what `pgfan unload` does, and `pgfan.api.unload`.

As `pgfan.api`, of which this is a part: no global state and no prints.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pgfan.errors import DatabaseError
from pgfan.execute.account import TaskLabel
from pgfan.execute.clock import MonotonicClock
from pgfan.execute.context import RunContext
from pgfan.execute.runner import Runner
from pgfan.execute.silence import Silence
from pgfan.options import Pace
from pgfan.plan.dag import TaskSpec
from pgfan.plan.scheduler import Scheduler, SchedulerOptions
from pgfan.plan.sizing import SizingOptions
from pgfan.postgres.activity import ActivitySampler
from pgfan.postgres.analysis import Analyst
from pgfan.postgres.choosing import SplitOptions
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.runs import new_run_id
from pgfan.postgres.server import probe_server
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.postgres.unloading import UnloadCoordinator, query_of
from pgfan.sql.places import excerpt
from pgfan.sql.program import Program, Source
from pgfan.sql.requested import read_request
from pgfan.unload.folder import Folder
from pgfan.unload.rows import OutputColumn, RowFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.errors import PgfanError
    from pgfan.execute.outcome import RunResult
    from pgfan.ports import Progress


class UnloadOptions(Pace, frozen=True):
    """Options of `unload`, as on the command line.

    `header`: whether CSV files begin with a line of names. `overwrite`: files that an earlier
    unload wrote into the folder are deleted first. The others are those of ExecOptions.
    """

    format: Literal["csv", "parquet"] = "csv"
    header: bool = True
    overwrite: bool = False
    split: Literal["auto", "always", "never"] = "auto"
    by: str | None = None


def unload(
    dsn: str,
    what: str,
    out: str | Path,
    options: UnloadOptions | None = None,
    *,
    progress: Progress | None = None,
    on_start: Callable[[Runner], None] | None = None,
) -> RunResult:
    """Write the rows of a query, or of a table, to files in a folder, over many connections.

    All files are of one snapshot. What cannot be split is one file. Raises UsageError when nothing
    was written because of the input, DatabaseError for a query that PostgreSQL refuses.
    """
    options = options or UnloadOptions()
    options.check()
    query, dsn = query_of(what), complete_dsn(dsn)
    owner, snapshots = PostgresSession(dsn), SnapshotHolder(dsn)
    sessions: list[PostgresSession] = []
    try:
        server = probe_server(owner)
        columns = tuple(OutputColumn(*pair) for pair in _columns_of(owner, query))
        format_ = RowFormat(options.format, columns, options.header)
        folder = Folder(Path(out), format_)
        folder.clear(overwrite=options.overwrite)
        host = owner.connection.info.host or ""
        scaling = options.scaling(host, server.connections_free)
        sessions += [PostgresSession(dsn, was_there=True) for _ in range(scaling.most)]
        by = read_request(options.by) if options.by is not None else None
        chosen = SplitOptions(options.split, by, jobs=scaling.workers)
        analyst = Analyst(sessions[0], snapshots, chosen, server.refuses_split)
        context = RunContext(
            run_id=new_run_id(),
            sessions=sessions,
            journal=None,
            coordinator=UnloadCoordinator(analyst, snapshots, query, folder, format_.copy_options),
            progress=progress or Silence(),
            clock=MonotonicClock(),
            on_result=lambda _, __: None,
            on_error=lambda _, error, __: _without_place(error),
            notes=(short,) if (short := options.short_of(scaling)) is not None else (),
            scaling=scaling,
            sampler=ActivitySampler(dsn, sessions, [owner, snapshots.session]),
        )
        sizing = SizingOptions(options.chunk_s, options.chunk_rows)
        spread = random.Random().random  # noqa: S311  # spreads retries apart
        scheduler = Scheduler([TaskSpec(0)], scaling.workers, SchedulerOptions(sizing), spread)
        title = f"{excerpt(query)} TO {out}"
        runner = Runner(context, scheduler, [TaskLabel("1", "-c:1", "unload", title)])
        if on_start is not None:
            on_start(runner)
        return runner.run()
    finally:
        snapshots.end()
        for session in (owner, *sessions):
            session.close()


def _columns_of(session: PostgresSession, query: str) -> tuple[tuple[str, str], ...]:
    try:
        return session.columns_of(query)
    except DatabaseError as error:
        program = Program.read([Source("-c", query)], {})
        raise program.place(program.items[0], error, 0) from error


def _without_place(error: PgfanError) -> PgfanError:
    """Places count in SQL that the user has not written."""
    if isinstance(error, DatabaseError):
        error.statement_offset = None
    return error
