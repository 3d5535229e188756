"""`pgfan unload`: the rows of a query into a folder of files. Only options are handled here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from pgfan.cli.options import Display, Server, parse_jobs
from pgfan.errors import UsageError


@Parameter(name="*")
@dataclass(frozen=True)
class Files:
    """What is written."""

    format: Literal["csv", "parquet"] = "csv"
    """What the files are."""
    header: bool = True
    """Whether CSV files begin with a line of names."""
    overwrite: Annotated[bool, Parameter(negative="")] = False
    """Delete the files of an earlier unload first; files of anybody else are never deleted."""


@Parameter(name="*")
@dataclass(frozen=True)
class Chunks:
    """How the query is split."""

    split: Literal["auto", "always", "never"] = "auto"
    """auto: where it is worth it; always: whatever may be split, however small; never."""
    by: str | None = None
    """What to split by: ctid or series. Without it pgfan chooses."""
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
    """About how many rows a file should have."""


DEFAULT_FILES = Files()
DEFAULT_CHUNKS = Chunks()
DEFAULT_SERVER = Server()
DEFAULT_DISPLAY = Display()


def unload_(
    table: str | None = None,
    *,
    command: Annotated[str | None, Parameter(name=["-c", "--command"])] = None,
    out: Path,
    files: Files = DEFAULT_FILES,
    chunks: Chunks = DEFAULT_CHUNKS,
    server: Server = DEFAULT_SERVER,
    display: Display = DEFAULT_DISPLAY,
) -> int:
    """Write the rows of a query or a table to files, over many connections, in one snapshot.

    A query that can be split becomes a file for each chunk, any other one file. manifest.json is
    written last: it lists the files, their rows, and the columns.

    Parameters
    ----------
    table
        The table, as SQL writes its name; or give a query with -c.
    command
        The query.
    out
        The folder: made if it is not there, and otherwise empty.
    """
    from pgfan import api
    from pgfan.cli import running as shared

    if (table is None) == (command is None):
        raise UsageError("an unload takes the name of a table, or a query with -c")
    options = api.UnloadOptions(
        format=files.format,
        header=files.header,
        overwrite=files.overwrite,
        split=chunks.split,
        by=chunks.by,
        jobs=parse_jobs(chunks.jobs),
        max_load=chunks.max_load,
        nice=chunks.nice,
        chunk_s=chunks.chunk_seconds,
        chunk_rows=chunks.chunk_rows,
    )
    what = command or table or ""
    with shared.server(server) as dsn, shared.progress(display) as progress:
        result = api.unload(
            dsn, what, out, options, progress=progress, on_start=shared.on_run_signals
        )
    return shared.conclude(result, display, resumes=False)
