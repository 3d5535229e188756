"""Chunks that are cancelled so that idle workers share them: asked for, and given back in pieces.

Which one is worth it is said by `pgfan.plan.stragglers`; here is when to look, which chunks may be
cut, and what becomes of one whose worker reports that it was cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.plan import stragglers
from pgfan.plan.dag import UNANSWERED, Retry
from pgfan.plan.messages import CancelChunk

if TYPE_CHECKING:
    from pgfan.plan.caps import Caps
    from pgfan.plan.dag import Dag, Task
    from pgfan.plan.messages import Command
    from pgfan.plan.offers import Offers
    from pgfan.plan.ranges import Range
    from pgfan.plan.workers import Busy, Workers


class Rescue:
    """Looks at the scheduler's own tasks and workers, after all that could be dealt was dealt."""

    def __init__(self, dag: Dag, workers: Workers, offers: Offers, caps: Caps) -> None:
        self._dag = dag
        self._workers = workers
        self._offers = offers
        self._caps = caps
        self._cancelled: int | None = None
        """The worker whose chunk was last cancelled, until it reports."""
        self.look_again_s: float | None = None
        """The instant at which a Tick is due if no event comes before; None: at none."""

    def look(self, now_s: float) -> list[Command]:
        """Cancel a chunk that idle workers would end sooner, one at a time."""
        idle = self._workers.idle_count
        if not idle or self._offers.free or self._dag.startable:
            return []
        if self._cancelled is not None or self._dag.count(*UNANSWERED):
            return []
        found, self.look_again_s = stragglers.choose(self._candidates(now_s), idle, now_s)
        busy = self._workers.get(found.worker) if found is not None else None
        if found is None or busy is None:
            return []
        busy.shares, self._cancelled = found.pieces, found.worker
        return [CancelChunk(found.worker, busy.task)]

    def reported(self, worker: int) -> None:
        """A worker has ended what it had."""
        if worker == self._cancelled:
            self._cancelled = None

    def share_out(self, task: Task, busy: Busy, piece: Range, now_s: float) -> None:
        """Give the range of a cancelled chunk back in pieces, each with its part of the time."""
        one = _candidate(0, task, busy, piece)
        pieces = piece.divided(busy.shares)
        expected_s = one.share_s(now_s, len(pieces)) if one is not None else None
        task.retries.extend(Retry(part, 1, expected_s) for part in pieces)

    def _candidates(self, now_s: float) -> list[stragglers.Candidate]:
        """Running chunks that may be cut: not in doubt, and of a size that the user left open."""
        found: list[stragglers.Candidate] = []
        if not now_s:
            return found
        for worker, busy in self._workers.running():
            piece, task = busy.pieces[0], self._dag[busy.task]
            if (
                len(busy.pieces) == 1 == busy.attempt
                and piece.hi - piece.lo > 1
                and task.state == "running"
                and task.worker is None
                and self._caps.has_room(task)
            ):
                one = _candidate(worker, task, busy, piece)
                found += [one] if one is not None else []
        return found


def _candidate(worker: int, task: Task, busy: Busy, piece: Range) -> stragglers.Candidate | None:
    expected_s = busy.expects_s(piece, task.left)
    if expected_s is None or task.left is None:
        return None
    fixed_s = task.left.fixed_s(piece)
    return stragglers.Candidate(worker, len(piece), busy.began_s, expected_s, fixed_s)
