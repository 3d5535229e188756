"""Steps of pgfan's own between a script's tasks (`pgfan.ports.Upkeep`).

The scheduler sees a task of one chunk. It has no row in the journal: done twice, or not at all, it
changes nothing but the time that others take, and for the same reason a failure of it is said and
is none of the run's.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pgfan.errors import PgfanError
from pgfan.execute.worker import ChunkDoneReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.execute.account import RunAccount
    from pgfan.execute.context import RunContext
    from pgfan.execute.worker import Report
    from pgfan.ports import Session, Upkeep


class UpkeepSteps:
    """Asks the context for what a step has to do. Called from the loop's thread, but for jobs."""

    def __init__(self, context: RunContext, account: RunAccount) -> None:
        self._context = context
        self._account = account
        self._todo: dict[int, Upkeep] = {}
        self.analysed: list[str] = []
        """The tables of the steps that were begun."""

    def begin(self, number: int) -> bool:
        """Whether a step has anything to do; it is said then."""
        try:
            found = self._context.upkeep(number)
        except PgfanError as error:
            self._account.say("warning", f"statistics of new tables: {error.message}")
            return False
        if found is None:
            return False
        self._todo[number] = found
        self._account.say("info", f"ANALYZE {', '.join(found.tables)}: {found.why}")
        self.analysed.extend(found.tables)
        return True

    def job(self, number: int, session: Session) -> Callable[[], tuple[Report, ...]]:
        """What a worker does; it always ends well."""
        statement, clock = self._todo.pop(number).statement, self._context.clock

        def job() -> tuple[Report, ...]:
            began_s = clock.now_s()
            said: tuple[tuple[str, str], ...] = ()
            try:
                session.prepare(())
                session.execute(statement)
                said = tuple(session.notices())
            except PgfanError as error:
                said = (("WARNING", f"{statement}: {error.message}"),)
                with contextlib.suppress(PgfanError):
                    session.rollback()
            return (ChunkDoneReport(None, clock.now_s() - began_s, notices=said),)

        return job

    def ended(self, report: Report) -> float:
        """The seconds that a job took; what it had to say is said."""
        for _, text in report.notices:
            self._account.say("warning", text)
        return report.seconds if isinstance(report, ChunkDoneReport) else 0.0
