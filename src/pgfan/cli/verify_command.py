"""`pgfan verify`: statements run serially and split into scratch tables, and the rows compared.

Here are options and what is printed; the work is in `pgfan.verify`.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pgfan.cli.options import Json, Server, parse_jobs
from pgfan.cli.sources import Script
from pgfan.errors import EXIT_TASK_FAILED

if TYPE_CHECKING:
    from pgfan.execute.verdicts import OnlyThere, VerifiedStatement


LINE_CHARS_MAX = 500

DEFAULT_SCRIPT = Script()
DEFAULT_SERVER = Server()


def verify_(
    *,
    script: Script = DEFAULT_SCRIPT,
    jobs: str = "auto",
    chunk_rows: int | None = None,
    no_lock: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
    server: Server = DEFAULT_SERVER,
) -> int:
    """Run statements serially and split into scratch tables, and compare the rows.

    Your tables and sequences are only read, and nothing is left behind. Exit code 0: no
    differences; 1: some statement differs or fails.

    Parameters
    ----------
    jobs
        Number of connections of the split run, or auto.
    chunk_rows
        Rows of a chunk; without it so many that there are about 50 chunks.
    no_lock
        Let others write to the tables that are read: what they write may look like a difference.
    """
    from pgfan.cli import running as shared
    from pgfan.verify import VerifyOptions, verify

    options = VerifyOptions(parse_jobs(jobs), chunk_rows, not no_lock, script.variables)
    sources = script.read()
    with shared.server(server) as dsn:
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
