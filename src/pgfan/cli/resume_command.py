"""`pgfan resume`: go on with an unfinished run, without having its files at hand.

Its SQL comes from the journal.
"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from msgspec.structs import replace

from pgfan.cli.options import Display, Running, Target

DEFAULT_TARGET = Target()
DEFAULT_DISPLAY = Display()
DEFAULT_RUNNING = Running()


def resume_(
    run: str | None = None,
    *,
    unknown: Annotated[Literal["refuse", "done", "again"], Parameter(negative="")] = "refuse",
    running: Running = DEFAULT_RUNNING,
    target: Target = DEFAULT_TARGET,
    display: Display = DEFAULT_DISPLAY,
) -> int:
    """Go on with an unfinished run.

    Parameters
    ----------
    run
        The run's id, as `pgfan status` prints it; without it the newest unfinished one.
    unknown
        What to do about a statement outside of transactions whose client was lost while it ran:
        refuse to go on, take it as done, or run it again.
    """
    from pgfan import api
    from pgfan.cli import running as shared

    options = replace(running.to_exec_options(target), unknown=unknown)
    with shared.server(target) as dsn, shared.progress(display) as progress:
        result = api.resume(
            dsn,
            run,
            options,
            progress=progress,
            on_result=shared.result_writer(display, progress),
            on_start=shared.on_run_signals,
        )
    return shared.conclude(result, display)
