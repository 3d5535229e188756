"""`pgfan load`: files into a table, over many connections.

Only options are handled here. Those of COPY have COPY's names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from cyclopts import Parameter

from pgfan.cli.options import Display, Target, parse_jobs
from pgfan.errors import UsageError

if TYPE_CHECKING:
    from pgfan.load.copy_options import CopyOptions

Names: TypeAlias = Annotated[tuple[str, ...], Parameter(negative="")]
SPOKEN = {"\\t": "\t", "tab": "\t"}


@Parameter(name="*")
@dataclass(frozen=True)
class Copying:
    """How the files are read; COPY's own options, by COPY's names."""

    format: (
        Literal["csv", "tsv", "text", "binary", "parquet", "arrow", "jsonl", "fixed", "geo"] | None
    ) = None
    """Without it the files' names tell; text and binary are PostgreSQL's own formats."""
    widths: tuple[str, ...] = ()
    """How many characters each column has, with commas: the files are of fixed width."""
    layer: str | None = None
    """The layer of geographic files that have several."""
    delimiter: str | None = None
    """A single character, or tab."""
    quote: str | None = None
    """CSV's quote."""
    escape: str | None = None
    """What makes a quote in quotes a plain character; the quote itself by default."""
    null: str | None = None
    """The text that stands for NULL."""
    encoding: str | None = None
    """Encoding of the files, by PostgreSQL's names; UTF8 by default."""
    header: bool | None = None
    """Whether files begin with a line of names; without it pgfan looks."""
    default: str | None = None
    """The text that stands for a column's default (PostgreSQL 16)."""
    force_null: Names = ()
    """Columns whose quoted values may be NULL too."""
    force_not_null: Names = ()
    """Columns whose values are never NULL."""

    def to_options(self) -> CopyOptions:
        """As `pgfan.load` reads them."""
        from pgfan.load.copy_options import CopyOptions

        return CopyOptions(
            delimiter=SPOKEN.get(self.delimiter or "", self.delimiter),
            quote=self.quote,
            escape=self.escape,
            null=self.null,
            encoding=self.encoding,
            header=self.header,
            default=self.default,
            force_null=_names(self.force_null),
            force_not_null=_names(self.force_not_null),
        )

    def to_widths(self) -> tuple[int, ...]:
        """Numbers of characters. Raises UsageError."""
        try:
            return tuple(int(width) for width in _names(self.widths))
        except ValueError:
            raise UsageError(
                f"--widths {','.join(self.widths)}: give numbers of characters"
            ) from None


@Parameter(name="*")
@dataclass(frozen=True)
class Into:
    """What becomes of the rows."""

    columns: Names = ()
    """Names of the table's columns in the files' order, with commas; in place of a header."""
    missing: Literal["refuse", "default"] = "refuse"
    """What to do about columns of the table that a file's header lacks: refuse, or leave NULL."""
    skip_columns: Names = ()
    """Columns of the files to leave out, by the header's names or those of --columns."""
    create: Annotated[bool, Parameter(negative="")] = False
    """Make the table when it is not there, with names and types from the files; print its DDL."""
    truncate: Annotated[bool, Parameter(negative="--append")] = False
    """Empty the table first, once; --append leaves what is there."""
    upsert: Names = ()
    """Columns of a unique index: a row whose key is there replaces the values of that row."""
    defer_indexes: Annotated[bool, Parameter(negative="")] = False
    """Drop indexes that are not unique, and build them after the load."""
    reject: Path | None = None
    """Write bad rows with their reasons to this file (CSV), and load the others."""
    max_rejects: int | None = None
    """Fail when there are more bad rows than so many."""


@Parameter(name="*")
@dataclass(frozen=True)
class Pace:
    """How the load is run."""

    jobs: str = "auto"
    """Number of connections that work, or auto: begin with the server's cores if it is local, else
    4, and find the number at which the most work is done."""
    max_load: int | None = None
    """Hold back while more sessions than that would be active on the server, ours and others'."""
    nice: int | None = None
    """Pause while more than so many sessions of others are active on the server."""
    chunk_seconds: float = 2.0
    """How long a chunk should take."""
    chunk_rows: int | None = None
    """About how many rows a chunk should have."""
    restart: Annotated[bool, Parameter(negative="")] = False
    """Begin anew, though the same command has an unfinished run; what it loaded stays there."""
    no_journal: Annotated[bool, Parameter(negative="")] = False
    """Write no journal: nothing can be resumed."""


DEFAULT_COPYING = Copying()
DEFAULT_INTO = Into()
DEFAULT_PACE = Pace()
DEFAULT_TARGET = Target()
DEFAULT_DISPLAY = Display()


def load_(
    *files: str,
    into: str,
    rows: Into = DEFAULT_INTO,
    copying: Copying = DEFAULT_COPYING,
    pace: Pace = DEFAULT_PACE,
    target: Target = DEFAULT_TARGET,
    display: Display = DEFAULT_DISPLAY,
) -> int:
    """Load files into a table over many connections, as fast as COPY can go, exactly once.

    Large CSV and text files are cut on the ends of records, compressed ones are dealt out as they
    are decompressed, small ones are put together. Run the same command again after an interruption
    or a crash, and it goes on where it was.

    Parameters
    ----------
    files
        Files, globs, folders, addresses (s3, gs, https); gzip, zstd, bz2, xz, lz4 and the members
        of zip are unpacked.
    into
        The table, as SQL writes its name.
    """
    from pgfan import loader  # and not api, which would read PostgreSQL's grammar for nothing
    from pgfan.cli import running as shared

    options = loader.LoadOptions(
        copy=copying.to_options(),
        format=copying.format,
        widths=copying.to_widths(),
        layer=copying.layer,
        columns=_names(rows.columns),
        missing=rows.missing,
        skip_columns=_names(rows.skip_columns),
        create=rows.create,
        truncate=rows.truncate,
        upsert=_names(rows.upsert),
        defer_indexes=rows.defer_indexes,
        reject=rows.reject,
        max_rejects=rows.max_rejects,
        jobs=parse_jobs(pace.jobs),
        max_load=pace.max_load,
        nice=pace.nice,
        chunk_s=pace.chunk_seconds,
        chunk_rows=pace.chunk_rows,
        restart=pace.restart,
        journal_schema=None if pace.no_journal else target.journal_schema,
    )
    with shared.server(target) as dsn, shared.progress(display) as progress:
        result = loader.load(
            dsn, files, into, options, progress=progress, on_start=shared.on_run_signals
        )
    return shared.conclude(result, display)


def _names(given: tuple[str, ...]) -> tuple[str, ...]:
    """Names with commas between them, in one argument or in several."""
    return tuple(name.strip() for text in given for name in text.split(",") if name.strip())
