"""`pgfan plan`: what would become of each statement; nothing is run.

Here are options and where the output goes; what it looks like is in `pgfan.report.plans`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from pgfan.cli.options import Json, Server, Splitting
from pgfan.cli.sources import Script
from pgfan.errors import EXIT_TASK_FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.api import ExecOptions, Source
    from pgfan.plan.preview import StatementPlan

DEFAULT_SCRIPT = Script()
DEFAULT_SPLITTING = Splitting()
DEFAULT_SERVER = Server()


def plan_(
    *,
    script: Script = DEFAULT_SCRIPT,
    sql: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
    splitting: Splitting = DEFAULT_SPLITTING,
    server: Server = DEFAULT_SERVER,
) -> int:
    """Show what would become of each statement, as the database is now; run nothing.

    Exit code 1: PostgreSQL refuses a statement, and none before it could change that.

    Parameters
    ----------
    sql
        Print the example chunks whole.
    """
    options = splitting.to_options(script.variables)
    chunk: Literal["clipped", "whole"] = "whole" if sql else "clipped"
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
    from pgfan.report.ansi import wants_color
    from pgfan.report.plans import PlanLook, plan_text, plans_to_json, summary_text

    width = shutil.get_terminal_size((100, 24)).columns
    look = PlanLook(width, wants_color(sys.stdout, os.environ), chunk)
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
