"""What a free worker is given of a task: a range that failed before, or the next one, sized now.

A range that failed in a way that may pass is kept whole and comes before anything else: it may be
in doubt (COMMIT sent, no answer), and only the same range start meets the journal row that settles
the doubt. Ranges so short that asking between them would cost more than they do go out together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgfan.plan.dag import Task
    from pgfan.plan.parts import Remainder
    from pgfan.plan.ranges import Range

DELAY_S_FIRST = 0.1
DELAY_S_MAX = 5.0
BATCH_MAX = 64
BATCH_SHARE = 4
"""A batch is at most this part of a worker's fair share of what is left."""
BATCH_TICK_S = 1e-4
"""No chunk is taken to be shorter than this."""


class Hand(Struct):
    """Ranges for one worker, to be run in order, and how long all of them should take."""

    pieces: tuple[Range, ...]
    attempt: int
    delay_s: float = 0.0
    expected_s: float | None = None


class Dealer:
    """Deals chunks that together take about `batch_s` at once; 0: one at a time."""

    def __init__(self, batch_s: float, jitter: Callable[[], float]) -> None:
        self._batch_s = batch_s
        self._jitter = jitter

    def deal(
        self, task: Task, workers: int, others_s: Callable[[], Iterable[float]] = tuple
    ) -> Hand:
        """Take the next ranges off a task that has work and that `workers` share.

        `others_s`: in how many seconds each of the others will have ended what it has.
        """
        if task.retries:
            piece, attempt, expected_s = task.retries.popleft()
            if expected_s is None and task.left is not None:
                expected_s = task.left.seconds_for(piece)
            return Hand((piece,), attempt, self._delay_s(attempt), expected_s)
        if task.left is None:
            raise ValueError(f"task {task.number} has no work")
        if task.in_order:
            return Hand(task.left.take_units(), 1)
        piece = task.left.take(workers, others_s)
        seconds = task.left.seconds_for(piece)
        more = self._more(task.left, piece, seconds, workers)
        expected_s = None if seconds is None else seconds * (1 + len(more))
        return Hand((piece, *more), 1, 0.0, expected_s)

    def _delay_s(self, attempt: int) -> float:
        if attempt == 1:
            return 0.0
        delay_s: float = min(DELAY_S_MAX, DELAY_S_FIRST * 2 ** (attempt - 2))
        return delay_s * (0.5 + self._jitter())

    def _more(
        self, left: Remainder, first: Range, seconds: float | None, workers: int
    ) -> tuple[Range, ...]:
        if seconds is None or not self._batch_s:
            return ()
        if 2 * seconds > self._batch_s:
            return ()
        fair = left.units_beside(first) // (len(first) * BATCH_SHARE * workers)
        count = min(BATCH_MAX, fair, int(self._batch_s / max(seconds, BATCH_TICK_S)))
        return left.take_beside(first, count - 1)
