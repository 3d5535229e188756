"""`pgfan status`: the runs in the journal.

A table for people, or JSON.
"""

from __future__ import annotations

import json
import sys

import msgspec

from pgfan.cli.options import Display, Target

DEFAULT_TARGET = Target()
DEFAULT_DISPLAY = Display()
COLUMNS = ("run", "state", "tasks", "chunks", "rows", "started", "statement")


def status_(*, target: Target = DEFAULT_TARGET, display: Display = DEFAULT_DISPLAY) -> int:
    """List the runs in the journal, newest first."""
    from pgfan import api
    from pgfan.cli import running as shared
    from pgfan.ports import Result
    from pgfan.report.rows import write_result

    with shared.server(target) as dsn:
        runs = api.status(dsn, target.journal_schema)
    if display.json:
        value = {"schema": 1, "runs": msgspec.to_builtins(runs)}
        sys.stdout.write(json.dumps(value) + "\n")
        return 0
    rows = [
        (
            run.id,
            run.state,
            f"{run.tasks_done}/{run.tasks}",
            str(run.chunks),
            str(run.rows),
            run.started_at[:19],
            run.title,
        )
        for run in runs
    ]
    numeric = tuple(name in {"tasks", "chunks", "rows"} for name in COLUMNS)
    write_result(Result(f"SELECT {len(rows)}", COLUMNS, numeric, rows), sys.stdout)
    return 0
