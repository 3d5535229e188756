"""`pgfan forget`: drop journal rows of old runs, or the journal.

The data that the runs wrote stays.
"""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from pgfan.cli.options import Target
from pgfan.errors import UsageError

DEFAULT_TARGET = Target()


def forget_(
    *runs: str,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    project: str | None = None,
    target: Target = DEFAULT_TARGET,
) -> int:
    """Drop journal rows of runs; what they did to the data stays.

    Parameters
    ----------
    runs
        Ids, as `pgfan status` prints them.
    every
        All runs, and the journal's schema with them.
    project
        What was built of a project, so that its next run builds all anew; what it made stays.
    """
    from pgfan import api
    from pgfan.cli import running as shared

    if project is not None:
        if runs or every:
            raise UsageError("--project is forgotten by itself: leave out the runs")
        with shared.server(target) as dsn:
            api.forget_project(dsn, project, journal_schema=target.journal_schema)
        sys.stderr.write(f"forgot project {project}\n")
        return 0
    if bool(runs) == every:
        raise UsageError("give the ids of runs, or --all", hint="`pgfan status` lists the runs")
    with shared.server(target) as dsn:
        forgotten = api.forget(dsn, runs, every=every, journal_schema=target.journal_schema)
    sys.stderr.write(f"forgot {len(forgotten)} run{'' if len(forgotten) == 1 else 's'}\n")
    return 0
