"""The bundles of a run, for the loop: the scheduler knows each as one task, people as its members.

A member is told of when its report is there, not before: it begins and ends in milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pgfan.execute.bundle import ALL
from pgfan.execute.worker import ChunkDoneReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.execute.account import RunAccount
    from pgfan.execute.worker import Report
    from pgfan.plan.ranges import Range
    from pgfan.ports import Clock, Member, PreparedTask, Result


class BundleAccount:
    """Keeps the bundles that were prepared. Called from the loop's thread alone."""

    def __init__(
        self,
        account: RunAccount,
        clock: Clock,
        on_result: Callable[[int, Sequence[Result]], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._account = account
        self._clock = clock
        self._on_result = on_result
        self._on_end = on_end
        self._bundles: dict[int, PreparedTask] = {}

    def __contains__(self, task: int) -> bool:
        return task in self._bundles

    def add(self, task: int, prepared: PreparedTask) -> None:
        """A bundle was prepared; some of its members may have been done by an earlier client."""
        self._bundles[task] = prepared
        for member in prepared.members:
            if member.task.skipped:
                self._account.add(member.number, member.task, self._clock.now_s())
                self._close(member.number, "skipped")

    def members(self, task: int, pieces: Sequence[Range]) -> tuple[Member, ...]:
        """Those that `pieces` of the bundle stand for."""
        every = self._bundles[task].members
        return tuple(every[piece.lo] for piece in pieces)

    def task_of(self, task: int, piece: Range) -> int:
        """The task whom a piece belongs to: of a bundle, the member."""
        bundle = self._bundles.get(task)
        return task if bundle is None else bundle.members[piece.lo].number

    def begin(self, task: int, piece: Range, seconds: float) -> None:
        """Tell of a member whose report, after `seconds`, is there; before, nobody did."""
        member = self._bundles[task].members[piece.lo]
        if member.number not in self._account:
            self._account.add(member.number, member.task, self._clock.now_s() - seconds)
            self._account.task_started(member.number, light=True)

    def take(
        self, task: int, worker: int, pieces: Sequence[Range], reports: Sequence[Report]
    ) -> int:
        """Tell of the members that are done, in order; how many they are."""
        for at, (piece, report) in enumerate(zip(pieces, reports, strict=False)):
            if not isinstance(report, ChunkDoneReport):
                return at
            self._done(task, piece, worker, report)
        return len(reports)

    def _done(self, task: int, piece: Range, worker: int, report: ChunkDoneReport) -> None:
        number = self.task_of(task, piece)
        self.begin(task, piece, report.seconds)
        self._account.notices(number, report.notices)
        self._account.chunk_done(number, worker, ALL, report)
        self._on_result(number, report.results)
        self._close(number, "done")

    def failed(self, task: int) -> tuple[int, ...]:
        """Of a bundle the members that began and are not done: at most one. Else the task."""
        if task not in self._bundles:
            return (task,)
        return tuple(
            member.number
            for member in self._bundles[task].members
            if member.number in self._account and not self._account.has_ended(member.number)
        )

    def _close(self, number: int, state: Literal["done", "skipped"]) -> None:
        self._account.close(number, state)
        self._on_end(number)
