"""Which tasks of a script a run has: those that were asked for.

The decisions are pure (`pgfan.plan.selection`); here they get what the database knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.errors import UsageError
from pgfan.plan.outline import outline_of
from pgfan.plan.selection import names_of, select
from pgfan.postgres.known import read_known
from pgfan.sql.accesses import accesses_of

if TYPE_CHECKING:
    from pgfan.plan.selection import Selection
    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.program import Program


def selected(session: PostgresSession, program: Program, selection: Selection) -> Program:
    """The tasks of `program` that were asked for. Raises UsageError for names that mean none."""
    outline = outline_of(accesses_of(program.items, read_known(session)))
    found = select(names_of(program.items, outline), outline, selection)
    if not found:
        raise UsageError(
            "no task is left: --only, --from and --until have none in common",
            hint="`pgfan plan` shows the tasks and what each waits for",
        )
    return program.chosen(found)
