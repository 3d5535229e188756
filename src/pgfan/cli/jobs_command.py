"""`pgfan jobs`: change the number of workers of a run while it goes on.

The run is found through the journal and told through the server, so this works from any machine.
"""

from __future__ import annotations

import sys

from pgfan.cli.options import Target, parse_jobs

DEFAULT_TARGET = Target()


def jobs_(jobs: str, run: str | None = None, /, *, target: Target = DEFAULT_TARGET) -> int:
    """Have a run that goes on now use another number of workers, from any machine.

    Parameters
    ----------
    jobs
        The number; 0 for a pause, auto to have pgfan find it.
    run
        The run's id, as `pgfan status` prints it; not needed when only one goes on.
    """
    from pgfan import api
    from pgfan.cli import running as shared

    number = parse_jobs(jobs)
    with shared.server(target) as dsn:
        told = api.change_jobs(dsn, number, run, journal_schema=target.journal_schema)
    sys.stderr.write(f"told run {told}: {'auto' if number is None else number}\n")
    return 0
