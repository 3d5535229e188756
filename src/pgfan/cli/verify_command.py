"""`pgfan verify`: statements run serially and split into scratch tables, and the rows compared.

Here are options and what is printed; the work is in `pgfan.verify`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pgfan.cli.exec_command import SQL_FILE, SQL_TEXT, read_sources
from pgfan.cli.options import Target, parse_jobs
from pgfan.errors import EXIT_TASK_FAILED

if TYPE_CHECKING:
    from pgfan.execute.verdicts import OnlyThere, VerifiedStatement


LINE_CHARS_MAX = 500


@Parameter(name="*")
@dataclass(frozen=True)
class Server:
    """Which server, and how many connections."""

    dsn: Annotated[str, Parameter(name=["-d", "--dsn"])] = ""
    """Connection string or URI; without it libpq's environment, service file and .pgpass count."""
    embedded: Path | None = None
    """Folder of a packaged PostgreSQL server, started for the command and stopped at its end."""
    jobs: str = "auto"
    """Number of connections of the split run, or auto."""


DEFAULT_SERVER = Server()


def verify_(
    *,
    command: Annotated[tuple[str, ...], SQL_TEXT] = (),
    file: Annotated[tuple[Path, ...], SQL_FILE] = (),
    chunk_rows: int | None = None,
    no_lock: Annotated[bool, Parameter(negative="")] = False,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
    server: Server = DEFAULT_SERVER,
) -> int:
    """Run statements serially and split into scratch tables, and compare the rows.

    Your tables and sequences are only read, and nothing is left behind. Exit code 0: no
    differences; 1: some statement differs or fails.

    Parameters
    ----------
    command
        SQL text; may be given more than once.
    file
        A file of SQL; may be given more than once; - is standard input.
    chunk_rows
        Rows of a chunk; without it so many that there are about 50 chunks.
    no_lock
        Let others write to the tables that are read: what they write may look like a difference.
    set_
        NAME=VALUE of a psql variable.
    json_
        Print one JSON object on stdout instead of text.
    """
    from pgfan.cli import running as shared
    from pgfan.sql.variables import parse_assignment
    from pgfan.verify import VerifyOptions, verify

    variables = dict(parse_assignment(text) for text in set_)
    options = VerifyOptions(parse_jobs(server.jobs), chunk_rows, not no_lock, variables)
    sources = read_sources(command, file)
    with shared.server(Target(server.dsn, server.embedded)) as dsn:
        result = verify(
            dsn,
            sources,
            options,
            on_statement=None if json_ else _show,
            on_start=shared.on_signals,
        )
    for name in result.left_overs:
        sys.stderr.write(f"dropped schema {name}, left behind by a pgfan verify that crashed\n")
    if json_:
        sys.stdout.write(json.dumps(result.to_json()) + "\n")
    return 0 if result.ok else EXIT_TASK_FAILED


def _show(statement: VerifiedStatement) -> None:
    """Print one verdict as soon as it is known."""
    from pgfan.report.safe_text import clean

    lines = [_headline(statement)]
    lines += [f"    {code}: {text}" for code, text in statement.reasons]
    lines += [
        f"    column {column} left out, not comparable: {why}"
        for column, why in (statement.left_out or {}).items()
    ]
    lines += [f"    {note}" for note in statement.notes]
    lines += _only("serial", statement.only_serial) + _only("split", statement.only_split)
    sys.stdout.write("".join(f"{clean(line, LINE_CHARS_MAX)}\n" for line in lines))
    sys.stdout.flush()
    if statement.error is not None:
        from pgfan.cli import running as shared

        shared.show_error(statement.error)


def _headline(statement: VerifiedStatement) -> str:
    line = f"{statement.source}  {statement.kind}: {statement.state}"
    if statement.state == "equal":
        line += f", {_rows(statement.rows_serial)}"
    elif statement.state == "differs":
        line += f", {_rows(statement.rows_serial)} serial, {_rows(statement.rows_split)} split"
    if statement.key == "native":
        line += ", by the server's own parallel plan"
    elif statement.key is not None:
        chunks = "1 chunk" if statement.chunks == 1 else f"{statement.chunks} chunks"
        line += f", {chunks} by {statement.key}"
    return line


def _rows(count: int | None) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _only(run: str, rows: OnlyThere) -> list[str]:
    if not rows.total:
        return []
    lines = [f"    only in the {run} run: {_rows(rows.total)}"]
    lines += [f"        {count} x {row}" for row, count in rows.shown]
    if sum(count for _, count in rows.shown) < rows.total:
        lines.append("        ...")
    return lines
