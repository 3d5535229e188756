r"""A transaction block in which queries make statements (psql's `\gexec`), run in its transaction.

All else of a task is one message. Here each such query ends one: the statements that its rows make
are sent one by one, as psql sends them, and what stands behind them comes next. All of it is one
transaction on one connection, with one row in the journal: whoever runs the block again asks its
queries again, and nothing of the first time is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.errors import DatabaseError, UsageError
from pgfan.plan.sqlstate import NOT_SUPPORTED
from pgfan.ports import Result
from pgfan.sql.places import with_statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.ports import PreparedTask, Session

SEPARATOR = "\n;"
"""Between statements of a message: a text may end in a line comment."""
_SAID = ("INSERT", "UPDATE", "DELETE", "MERGE")


def run_generating(session: Session, task: PreparedTask, opening: str) -> list[Result]:
    """Run `opening` and the task's statements; one answer for each, as for one message.

    That of a query that makes statements has their answers in `made`. Raises DatabaseError with
    its place counted as though all had been one message; of what a query made, with its text.
    """
    statements, begins = task.statements, 0
    results: list[Result] = []
    for at in (*sorted(task.makes), len(statements) - 1):
        part = statements[begins : at + 1]
        before = SEPARATOR.join([*statements[:begins], ""])
        try:
            if part:
                results += session.execute((opening if not begins else "") + SEPARATOR.join(part))
        except DatabaseError as error:
            error.completed += len(results)
            if error.statement_offset is not None and begins:
                error.statement_offset += len(opening) + len(before)
            raise
        if at in task.makes and at >= begins:
            results[-1] = _made(session, task, at, results)
        begins = at + 1
    return results


def said(answer: Result) -> str:
    """What psql says of a query whose rows are made into statements: of SELECT nothing."""
    return answer.tag if answer.tag.startswith(_SAID) else ""


def _made(session: Session, task: PreparedTask, at: int, results: Sequence[Result]) -> Result:
    """The answer that stands for the query and for all that its rows made."""
    made: list[Result] = []
    text = ""
    try:
        for text in task.makes[at](results[-1].rows):
            made += session.execute(text)
    except UsageError as error:
        refused = DatabaseError(error.message, sqlstate=NOT_SUPPORTED, hint=error.hint)
        refused.completed = len(results) - 1
        raise refused from error
    except DatabaseError as error:
        error.message = with_statement(error.message, "\\gexec", text)
        error.completed, error.statement_offset = len(results) - 1, None
        raise
    return Result(said(results[-1]), made=tuple(made))
