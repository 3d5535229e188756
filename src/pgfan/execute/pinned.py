"""Tasks that run on one connection, because earlier ones have left there what they need.

What only a connection has is gone with it, also when another client goes on with the run. What
needs it must not run then (`pgfan.plan.session_state`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.errors import ResumeRefusedError
from pgfan.execute.worker import ChunkDoneReport, ChunkErrorReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.execute.worker import Report
    from pgfan.plan.session_state import Needs
    from pgfan.ports import PreparedTask, Session


class PinnedTasks:
    """Knows which tasks have run on the connection that `session` has now."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._ran: dict[int, int] = {}
        """How many connections had ended before, by task."""

    def run(
        self, number: int, needs: Needs, work: Callable[[], tuple[Report, ...]]
    ) -> tuple[Report, ...]:
        """Do the `work` of a task, unless what it `needs` is lost. From one thread at a time."""
        ended = self.session.ended
        for lost, tasks in needs.items():
            if any(self._ran.get(task) != ended for task in tasks):
                hint = "--restart begins anew: look first what the finished statements have written"
                return (ChunkErrorReport(ResumeRefusedError(lost, hint=hint), "fatal"),)
        reports = work()
        if all(isinstance(one, ChunkDoneReport) and not one.duplicate for one in reports):
            self._ran[number] = ended
        return reports


def is_pinned(task: PreparedTask) -> bool:
    """Whether a task runs on the one session of its script."""
    return task.pinned and task.plan.split is None
