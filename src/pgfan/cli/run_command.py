"""`pgfan run`: psql scripts out of order, with the result of in order.

Only options and files are handled here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from msgspec.structs import replace

from pgfan.cli.options import Around, Chosen, Display, Running, Target

DEFAULT_TARGET = Target()
DEFAULT_DISPLAY = Display()
DEFAULT_RUNNING = Running()
DEFAULT_CHOSEN = Chosen()
DEFAULT_AROUND = Around()


def run_(
    *path: Path,
    set_: Annotated[tuple[str, ...], Parameter(name=["--set", "-v"], negative="")] = (),
    chosen: Chosen = DEFAULT_CHOSEN,
    around: Around = DEFAULT_AROUND,
    running: Running = DEFAULT_RUNNING,
    target: Target = DEFAULT_TARGET,
    display: Display = DEFAULT_DISPLAY,
) -> int:
    """Run psql scripts over many connections, out of order, with the result of in order.

    Statements that touch the same tables keep their order; all others run at once, and each is
    split where that is safe and worth it. Run the same command again after an interruption or a
    crash, and it goes on where it was.

    Parameters
    ----------
    path
        Scripts, one after the other; - is standard input. Or a folder, whose *.sql files are put
        into the order that they need.
    set_
        NAME=VALUE of a psql variable.
    """
    from pgfan import api
    from pgfan.cli import running as shared
    from pgfan.reading.paths import read_paths
    from pgfan.reading.settings import settings_of
    from pgfan.sql.variables import parse_assignment

    settings = settings_of(path)
    options = replace(
        running.to_exec_options(target, settings=settings),
        selection=chosen.to_selection(),
        analyse=not around.no_analyze,
        publish=around.to_publish(),
        project=settings.project if around.project is None else around.project,
        full=around.full,
    )
    program = read_paths(path, dict(parse_assignment(text) for text in set_))
    with shared.server(target) as dsn, shared.progress(display) as progress:

        def echo(text: str) -> None:
            with progress.paused():
                sys.stdout.write(text)
                sys.stdout.flush()

        result = api.run(
            dsn,
            program,
            options,
            progress=progress,
            on_result=shared.result_writer(display, progress),
            on_start=shared.on_signals,
            on_echo=None if display.json else echo,
        )
    return shared.conclude(result, display)
