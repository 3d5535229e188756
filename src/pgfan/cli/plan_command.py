"""`pgfan plan`: what would become of each statement; nothing is run.

Here are options and where the output goes; what it looks like is in `pgfan.report.plans`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from msgspec.structs import replace

from pgfan.cli.options import Json, Server, Splitting, Target
from pgfan.cli.sources import Script
from pgfan.errors import EXIT_TASK_FAILED, EXIT_USAGE, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.api import ExecOptions, Source
    from pgfan.plan.preview import StatementPlan
    from pgfan.report.plans import PlanLook

DEFAULT_SCRIPT = Script()
DEFAULT_SPLITTING = Splitting()
DEFAULT_SERVER = Target()


def plan_(
    *path: Path,
    script: Script = DEFAULT_SCRIPT,
    sql: Annotated[bool, Parameter(negative="")] = False,
    project: str | None = None,
    full: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
    splitting: Splitting = DEFAULT_SPLITTING,
    server: Target = DEFAULT_SERVER,
) -> int:
    """Show what would become of each statement, as the database is now; run nothing.

    Exit code 1: PostgreSQL refuses a statement, and none before it could change that.

    Parameters
    ----------
    path
        Psql scripts, as for pgfan run: the tasks, and what each waits for.
    sql
        Print the example chunks whole.
    project
        Which tasks of a project would run, and why, and what would be dropped before them.
    full
        With --project: as though nothing were built.
    """
    from pgfan.reading.settings import settings_of

    options = splitting.to_options(script.variables)
    chunk: Literal["clipped", "whole"] = "whole" if sql else "clipped"
    if path:
        if script.command or script.file:
            raise UsageError("-c and -f are for statements in order, a PATH is a script of psql")
        settings = settings_of(path)
        name = settings.project if project is None and not sql else project
        if name is not None or full:
            schema = server.schema or settings.journal_schema or server.journal_schema
            asked = replace(options, project=name, full=full, journal_schema=schema)
            return show_project(server, path, asked, json_=json_)
        chosen: Literal["none", "whole"] = "whole" if sql else "none"
        return show_program(server, path, options, chunk=chosen, json_=json_)
    if project is not None or full:
        raise UsageError("--project is for scripts and folders: give a PATH")
    return show_plan(server, script.read(), options, chunk=chunk, json_=json_)


def show_plan(
    server: Server,
    sources: Sequence[Source],
    options: ExecOptions,
    *,
    chunk: Literal["none", "clipped", "whole"],
    json_: bool,
) -> int:
    """Print each statement's plan as soon as it is known, and the summary; the exit code."""
    from pgfan import api
    from pgfan.cli import running as shared
    from pgfan.plan.preview import PlanCounts
    from pgfan.report.plans import plan_text, plans_to_json, summary_text

    look = _look(chunk)
    counts = PlanCounts()

    def show(found: StatementPlan) -> None:
        counts.add(found)
        if not json_:
            sys.stdout.write(plan_text(found, look))
            sys.stdout.flush()
        if found.error is not None and found.is_wrong:
            shared.show_error(found.error)

    shared.tolerate_encoding(sys.stdout)
    with shared.server(server) as dsn:
        plans = api.plan(dsn, sources, options, on_statement=show)
    if json_:
        sys.stdout.write(json.dumps(plans_to_json(plans, counts)) + "\n")
    else:
        sys.stdout.write(summary_text(counts, look))
    return EXIT_TASK_FAILED if counts.wrong else 0


def show_program(
    server: Server,
    paths: Sequence[Path],
    options: ExecOptions,
    *,
    chunk: Literal["none", "whole"],
    json_: bool,
) -> int:
    """Print the tasks of psql scripts with what they wait for, and the summary; the exit code.

    Example chunks are printed only `whole`, one block for each task then.
    """
    from pgfan import api
    from pgfan.cli import running as shared
    from pgfan.plan.preview import PlanCounts
    from pgfan.reading.paths import read_paths
    from pgfan.report.plans import plan_text, plans_to_json, summary_text
    from pgfan.report.program import program_text, shape_text

    look = _look(chunk)
    program = read_paths(paths, options.variables)
    shared.tolerate_encoding(sys.stdout)
    with shared.server(server) as dsn:
        plan = api.plan_run(dsn, program, options)
    counts = PlanCounts(plan.tasks)
    if json_:
        sys.stdout.write(json.dumps(plans_to_json(plan.tasks, counts, plan.gates)) + "\n")
    elif chunk == "whole":
        sys.stdout.write("".join(plan_text(task, look) for task in plan.tasks))
    else:
        sys.stdout.write(program_text(plan, look))
    if not json_:
        sys.stdout.write(summary_text(counts, look) + shape_text(plan, look))
    sys.stdout.flush()
    for task in plan.tasks:
        if task.error is not None and task.is_wrong:
            shared.show_error(task.error)
    return EXIT_TASK_FAILED if counts.wrong else 0


def show_project(
    server: Server, paths: Sequence[Path], options: ExecOptions, *, json_: bool
) -> int:
    """Print which tasks of a project would run, and why; the exit code, of usage when none may."""
    from pgfan import api
    from pgfan.cli import running as shared
    from pgfan.reading.paths import read_paths
    from pgfan.report.project import project_text, project_to_json

    program = read_paths(paths, options.variables)
    shared.tolerate_encoding(sys.stdout)
    with shared.server(server) as dsn:
        plan = api.plan_project(dsn, program, options)
    if json_:
        sys.stdout.write(json.dumps(project_to_json(program.items, plan)) + "\n")
    else:
        sys.stdout.write(project_text(program.items, plan, _look("none")))
    return EXIT_USAGE if plan.refusals else 0


def _look(chunk: Literal["none", "clipped", "whole"]) -> PlanLook:
    from pgfan.report.ansi import wants_color
    from pgfan.report.plans import PlanLook

    width = shutil.get_terminal_size((100, 24)).columns
    return PlanLook(width, wants_color(sys.stdout, os.environ), chunk)
