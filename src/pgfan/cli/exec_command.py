"""`pgfan exec`: statements from -c, -f or standard input, in order, each split where it may be.

Only options and files are handled here.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from pgfan.cli.options import Display, Running, Target
from pgfan.cli.sources import Script

DEFAULT_SCRIPT = Script()
DEFAULT_TARGET = Target()
DEFAULT_DISPLAY = Display()
DEFAULT_RUNNING = Running()


def exec_(
    *,
    script: Script = DEFAULT_SCRIPT,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    running: Running = DEFAULT_RUNNING,
    target: Target = DEFAULT_TARGET,
    display: Display = DEFAULT_DISPLAY,
) -> int:
    """Run statements, each split over many connections where that is safe and worth it.

    Statements come from -c, -f or standard input and run in order; a failed one ends the run.
    Run the same command again after an interruption or a crash, and it goes on where it was.

    Parameters
    ----------
    dry_run
        Say of each statement how it would be run, as pgfan plan does; run nothing.
    """
    from pgfan import api
    from pgfan.cli import running as shared
    from pgfan.cli.plan_command import show_plan

    options = running.to_exec_options(target, script.variables)
    sources = script.read()
    if dry_run:
        return show_plan(target, sources, options, chunk="none", json_=display.json)
    with shared.server(target) as dsn, shared.progress(display) as progress:
        result = api.exec(
            dsn,
            sources,
            options,
            progress=progress,
            on_result=shared.result_writer(display, progress),
            on_start=shared.on_run_signals,
        )
    return shared.conclude(result, display)
