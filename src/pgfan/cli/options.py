"""Options that several commands share, with their help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter
from msgspec.structs import replace

from pgfan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfan.api import ExecOptions, Publish
    from pgfan.plan.selection import Selection
    from pgfan.reading.settings import Settings


@Parameter(name="*")
@dataclass(frozen=True)
class Server:
    """Which server."""

    dsn: Annotated[str, Parameter(name=["-d", "--dsn"])] = ""
    """Connection string or URI; without it libpq's environment, service file and .pgpass count."""
    embedded: Path | None = None
    """Folder of a packaged PostgreSQL server: made if new, started, and stopped at exit; -d may
    then choose one of its databases."""


@Parameter(name="*")
@dataclass(frozen=True)
class Target(Server):
    """Which server, and where its journal is."""

    schema: Annotated[str | None, Parameter(name="--journal-schema")] = None
    """Schema of the journal; without it pgfan."""

    @property
    def journal_schema(self) -> str:
        """The schema, named or not."""
        return "pgfan" if self.schema is None else self.schema


@Parameter(name="*")
@dataclass(frozen=True)
class Display:
    """What is shown, and where."""

    json: Annotated[bool, Parameter(negative="")] = False
    """Print one JSON object about the run on stdout, instead of query results."""
    verbose: Annotated[bool, Parameter(name=["-v", "--verbose"], negative="")] = False
    """Say more on stderr."""
    quiet: Annotated[bool, Parameter(name=["-q", "--quiet"], negative="")] = False
    """Say nothing on stderr but warnings and errors; print no command tags."""
    log_file: Path | None = None
    """Write every event as a line of JSON to this file."""


Json: TypeAlias = Annotated[
    bool,
    Parameter(name="--json", negative="", help="Print one JSON object on stdout instead of text."),
]
"""The --json of commands that have no progress to show."""


@Parameter(name="*")
@dataclass(frozen=True)
class Splitting:
    """What may be split, and by what."""

    chunk_rows: int | None = None
    """Rows of a chunk, fixed; for a table about as many, in whole blocks."""
    by: str | None = None
    """What to split by: ctid, series, columns such as province,municipality, or an expression of an
    index. Without it pgfan chooses."""
    split: Literal["auto", "always", "never"] = "auto"
    """auto: where it is worth it; always: whatever may be split, however small; never."""
    atomic: Annotated[bool, Parameter(negative="")] = False
    """Refuse splits: a split statement is not atomic while it runs."""

    def to_options(self, variables: Mapping[str, str]) -> ExecOptions:
        """The options of `pgfan.api.plan`."""
        from pgfan.api import ExecOptions

        return ExecOptions(
            chunk_rows=self.chunk_rows,
            by=self.by,
            split=self.split,
            atomic=self.atomic,
            variables=variables,
        )


@Parameter(name="*")
@dataclass(frozen=True)
class Running(Splitting):
    """How statements are run."""

    jobs: str | None = None
    """Number of connections that work, or auto, as without it: begin with the server's cores if it
    is local, else 4, and find the number at which the most work is done."""
    max_load: int | None = None
    """Hold back while more sessions than that would be active on the server, ours and others'."""
    nice: int | None = None
    """Pause while more than so many sessions of others are active on the server."""
    max_per_table: int | None = None
    """At most so many connections write one table at once."""
    chunk_seconds: float | None = None
    """How long a chunk should take; without it 2."""
    keep_going: Annotated[bool | None, Parameter(negative="--fail-fast")] = None
    """Go on after a failure; what `pgfan run` knows to need the failed statement is not run."""
    restart: Annotated[bool, Parameter(negative="")] = False
    """Begin anew, though the same command has an unfinished run."""
    new_snapshot: Annotated[bool, Parameter(negative="")] = False
    """Go on though the tables read may have changed: rows written since may be missing or twice."""
    no_journal: Annotated[bool, Parameter(negative="")] = False
    """Write no journal: nothing can be resumed."""

    def to_exec_options(
        self,
        target: Target,
        variables: Mapping[str, str] | None = None,
        settings: Settings | None = None,
    ) -> ExecOptions:
        """The options of `pgfan.api.exec`, those that are not given from a folder's `settings`.

        Raises UsageError for those that make no sense.
        """
        jobs, chunk_s = self.jobs, self.chunk_seconds
        keep_going, schema = self.keep_going, target.schema
        if settings is not None:
            jobs = str(settings.jobs) if jobs is None and settings.jobs is not None else jobs
            chunk_s = settings.chunk_seconds if chunk_s is None else chunk_s
            keep_going = settings.keep_going if keep_going is None else keep_going
            schema = settings.journal_schema if schema is None else schema
        schema = target.journal_schema if schema is None else schema
        return replace(
            self.to_options(variables or {}),
            jobs=parse_jobs(jobs or "auto"),
            max_load=self.max_load,
            nice=self.nice,
            max_per_table=self.max_per_table,
            chunk_s=2.0 if chunk_s is None else chunk_s,
            keep_going=bool(keep_going),
            restart=self.restart,
            new_snapshot=self.new_snapshot,
            journal_schema=None if self.no_journal else schema,
        )


@Parameter(name="*")
@dataclass(frozen=True)
class Chosen:
    """Which tasks of a script run; each option may be given more than once."""

    only: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """These tasks and what they need that is not done: the name of a relation that they write, a
    file, FILE:LINE, or the number that pgfan plan shows."""
    from_: Annotated[tuple[str, ...], Parameter(name="--from", negative="")] = ()
    """These tasks and all that depends on them."""
    until: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """These tasks and all that they depend on."""

    def to_selection(self) -> Selection | None:
        """What the options mean together; None for all tasks."""
        if not (self.only or self.from_ or self.until):
            return None
        from pgfan.plan.selection import Selection

        return Selection(self.only, self.from_, self.until)


@Parameter(name="*")
@dataclass(frozen=True)
class Around:
    """What is done around the tasks of a script."""

    publish: str | None = None
    """A schema to build aside: names without a schema are made in SCHEMA_building, which takes the
    schema's place in one transaction when all is done. The old one is kept under another name."""
    drop_old: Annotated[bool, Parameter(negative="")] = False
    """With --publish: drop the old schema, when nothing outside of it depends on it."""
    project: str | None = None
    """Keep under this name what is built, and next time run only what has changed since, with what
    depends on it."""
    full: Annotated[bool, Parameter(negative="")] = False
    """With --project: drop what the project has made, and build all of it anew."""
    no_analyze: Annotated[bool, Parameter(negative="")] = False
    """Leave the statistics of tables that the run has filled to the script and to autovacuum."""

    def to_publish(self) -> Publish | None:
        """What --publish and --drop-old mean together. Raises UsageError."""
        from pgfan.options import Publish

        if self.publish is not None:
            return Publish(self.publish, self.drop_old)
        if self.drop_old:
            raise UsageError("--drop-old goes with --publish SCHEMA")
        return None


def parse_jobs(text: str) -> int | None:
    """`--jobs`: a number, or None for auto."""
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--jobs {text!r}: give a number of connections, or auto") from None
