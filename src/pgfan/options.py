"""The options of a run, what is wrong with them, and how many workers they mean.

Checked before anybody connects; the command line has its own words for them in `pgfan.cli.options`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from pgfan.errors import UsageError
from pgfan.plan.scaling import (
    JOBS_MAX,
    RAMP_SHARE,
    Scaling,
    ScalingOptions,
    is_local_host,
    jobs_allowed,
    jobs_wanted,
)
from pgfan.postgres.journal_schema import SCHEMA_DEFAULT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfan.plan.selection import Selection


class Publish(Struct, frozen=True):
    """Build aside, and take the name of `schema` at the end; the old one is kept or dropped."""

    schema: str
    drop_old: bool = False


class Pace(Struct, frozen=True):
    """How many workers a run has, and how large their chunks are.

    `jobs` None means auto. `max_load`: the most sessions that may be active on the server, the
    run's and others'. `nice`: pause while more sessions of others are active. `chunk_s` is the
    target time of a chunk in seconds, `chunk_rows` a fixed size in its stead (for ctid: blocks that
    hold about as many).
    """

    jobs: int | None = None
    max_load: int | None = None
    nice: int | None = None
    chunk_s: float = 2.0
    chunk_rows: int | None = None

    def check(self) -> None:
        """Raise UsageError for values that make no sense."""
        check_sizes(self.jobs, self.chunk_s, self.chunk_rows)
        self._check_others()

    def scaling(self, host: str, connections_free: int) -> Scaling:
        """How many workers a run begins with on a server with room for so many connections.

        `host` is libpq's; `connections_free` counts the one that asked.
        """
        sampled = self.jobs is None or self.max_load is not None or self.nice is not None
        most = jobs_allowed(JOBS_MAX, connections_free, sampled=sampled)
        wanted = jobs_wanted(self.jobs, host, len(os.sched_getaffinity(0)))
        return Scaling(
            ScalingOptions(
                self.jobs,
                start=min(most, wanted),
                most=most,
                max_load=self.max_load,
                nice=self.nice,
                cores_known=is_local_host(host),
                full_s=0.0 if self.chunk_rows is not None else RAMP_SHARE * self.chunk_s,
            )
        )

    def _check_others(self) -> None:
        if self.max_load is not None and self.max_load < 1:
            raise UsageError(
                f"--max-load {self.max_load}: with less than 1 active session nothing could run",
                hint="--nice 0 pauses while anybody else is active",
            )
        if self.nice is not None and self.nice < 0:
            raise UsageError(
                f"--nice {self.nice}: give the number of active sessions of others that is still "
                "fine, from 0",
            )

    def short_of(self, scaling: Scaling) -> str | None:
        """What to say when the server has no room for as many workers as were asked for."""
        if self.jobs is None or scaling.most >= self.jobs:
            return None
        return f"the server has room for {scaling.most} workers, not {self.jobs}"


class ExecOptions(Pace, frozen=True):
    """Options of `exec`, as on the command line.

    `max_per_table`: workers that may write one table at once. `by` is as for
    `pgfan.sql.requested.read_request`. `journal_schema` None runs without a journal: nothing can be
    resumed then. `publish` and all behind it are for scripts alone: `selection` has the tasks that
    were asked for, None for all; `analyse` is whether tables that the run has filled are analysed
    before they are joined; `project` is the name under which the journal keeps what was built, so
    that only what must be built runs, and with `full` all of it.
    """

    max_per_table: int | None = None
    by: str | None = None
    split: Literal["auto", "always", "never"] = "auto"
    atomic: bool = False
    keep_going: bool = False
    restart: bool = False
    new_snapshot: bool = False
    unknown: Literal["refuse", "done", "again"] = "refuse"
    journal_schema: str | None = SCHEMA_DEFAULT
    variables: Mapping[str, str] = field(default_factory=dict)
    publish: Publish | None = None
    selection: Selection | None = None
    analyse: bool = True
    project: str | None = None
    full: bool = False

    def check(self) -> None:
        """Raise UsageError for values that make no sense."""
        super().check()
        if self.max_per_table is not None and self.max_per_table < 1:
            raise UsageError(
                f"--max-per-table {self.max_per_table}: a table needs at least 1 worker",
                hint="leave it out for no such bound",
            )
        if self.by is not None:
            from pgfan.sql.requested import read_request  # the grammar: a load needs none

            read_request(self.by)
        self._check_project()

    def _check_project(self) -> None:
        if self.project is None:
            if self.full:
                raise UsageError(
                    "--full is for projects: without --project NAME everything runs every time"
                )
            return
        if not self.project:
            raise UsageError("--project needs a name")
        if self.journal_schema is None:
            raise UsageError(
                "--project without a journal: it is the journal that knows what was built"
            )
        if self.publish is not None:
            raise UsageError(
                "--publish builds all of a schema anew, --project what has changed of one: "
                "they do not go together",
                hint="leave one of them out",
            )
        if self.selection is not None:
            raise UsageError(
                "--only, --from and --until do not go with --project: what was built would not "
                "fit what was not",
                hint="leave --project out to run chosen tasks whatever was built",
            )


def check_sizes(jobs: int | None, chunk_s: float, chunk_rows: int | None) -> None:
    """Raise UsageError for numbers of workers, seconds or rows that make no sense."""
    if jobs is not None and not 1 <= jobs <= JOBS_MAX:
        raise UsageError(
            f"--jobs {jobs}: a run needs from 1 to {JOBS_MAX} workers",
            hint="leave it out, or say auto, to have pgfan find the number",
        )
    if not 0 < chunk_s < float("inf"):
        raise UsageError(f"--chunk-seconds {chunk_s}: give a positive number of seconds")
    if chunk_rows is not None and chunk_rows < 1:
        raise UsageError(f"--chunk-rows {chunk_rows}: give a positive number of rows")
