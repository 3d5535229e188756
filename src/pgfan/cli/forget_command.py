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
    target: Target = DEFAULT_TARGET,
) -> int:
    """Drop journal rows of runs; what they did to the data stays.

    Parameters
    ----------
    runs
        Ids, as `pgfan status` prints them.
    every
        All runs, and the journal's schema with them.
    """
    from pgfan import api
    from pgfan.cli import running as shared

    if bool(runs) == every:
        raise UsageError("give the ids of runs, or --all", hint="`pgfan status` lists the runs")
    with shared.server(target) as dsn:
        forgotten = api.forget(dsn, runs, every=every, journal_schema=target.journal_schema)
    sys.stderr.write(f"forgot {len(forgotten)} run{'' if len(forgotten) == 1 else 's'}\n")
    return 0
