"""Which running chunk is worth cancelling, so that idle workers share its range.

A chunk that is cancelled is rolled back: what it has done so far is lost, and all of its range is
done again, in one piece for each worker that helps and one for its own. That pays when what the
chunk still needs takes longer than its share of doing everything again.

How long a chunk still needs is known from the fit until it has outrun its estimate. After that
only its age speaks, and ages of overdue work are heavy-tailed: it is taken to need one and a half
times as long again as it is over (the more it is late, the later it will be). Where more was
believed, single helpers threw away halves that were nearly done. One that is a little late is left
alone, because fits are not that exact, as is one that may still be paying what every chunk does,
and one where little is to be won: a cancelled write leaves dead rows behind.

Time is what the caller says it is; nothing here reads a clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

LATE_FACTOR = 1.5
"""A chunk is late when it has run for so many times its estimate, and its fixed cost besides."""
OVERRUN = 1.5
"""A chunk that is late by t is taken to need another OVERRUN * t."""
GAIN_S_MIN = 0.1
GAIN_SHARE_MIN = 0.1
"""Less than this part of what is left of a chunk is not worth a rollback."""

LOOK_EVERY_S = 0.01
"""No more often than that: an instant that rounding puts too early must not be asked for again."""


class Candidate(Struct, frozen=True):
    """A running chunk of more than one ordinal. Times are seconds.

    `expected_s` is for all of it; `fixed_s` is what each piece of it pays again, whatever its size.
    """

    worker: int
    units: int
    began_s: float
    expected_s: float
    fixed_s: float

    @property
    def late_s(self) -> float:
        """How long it has run when it is late."""
        return LATE_FACTOR * self.expected_s + self.fixed_s

    def left_s(self, now_s: float) -> float:
        """How long it is expected to go on."""
        over_s = now_s - self.began_s - self.expected_s
        return OVERRUN * over_s if over_s > 0 else -over_s

    def total_s(self, now_s: float) -> float:
        """How long it is expected to take from its start to its end."""
        return now_s - self.began_s + self.left_s(now_s)

    def share_s(self, now_s: float, pieces: int) -> float:
        """How long one of `pieces` equal ones is expected to take, done anew."""
        marginal_s = max(0.0, self.total_s(now_s) - self.fixed_s)
        return self.fixed_s + marginal_s / pieces

    def gain_s(self, now_s: float, pieces: int) -> float:
        """How much sooner it ends when it is cancelled and done in `pieces`; may be negative."""
        return self.left_s(now_s) - self.share_s(now_s, pieces)

    def is_worth_it(self, now_s: float, pieces: int) -> bool:
        """Whether to cancel it now."""
        elapsed_s = now_s - self.began_s
        if self.expected_s <= elapsed_s < self.late_s:
            return False
        left_s = self.left_s(now_s)
        if left_s < GAIN_S_MIN:  # most of them, at the end of a task
            return False
        return self.gain_s(now_s, pieces) >= max(GAIN_S_MIN, GAIN_SHARE_MIN * left_s)

    def worth_it_from_s(self, now_s: float, pieces: int) -> float:
        """The next instant at which it may become worth it, if it is not."""
        late_s = self.began_s + self.late_s
        # Both sides of the comparison are linear in the time from there on: solve for equality.
        enough_s = max(
            self._crossing_s(pieces, GAIN_S_MIN, 1.0),
            self._crossing_s(pieces, 0.0, 1.0 - GAIN_SHARE_MIN),
        )
        return max(now_s + LOOK_EVERY_S, late_s, self.began_s + enough_s)

    def _crossing_s(self, pieces: int, needed_s: float, left_share: float) -> float:
        """The age at which `left_share` of what is left exceeds a share by `needed_s`."""
        slope = OVERRUN * left_share - (1 + OVERRUN) / pieces
        if slope <= 0:
            return float("inf")
        fixed_s = self.fixed_s * (1 - 1 / pieces)
        offset_s = OVERRUN * self.expected_s * (left_share - 1 / pieces)
        return (needed_s + fixed_s + offset_s) / slope


class Rescue(Struct, frozen=True):
    """Cancel the worker's chunk and do its range in `pieces`."""

    worker: int
    pieces: int


def choose(
    candidates: Sequence[Candidate], idle: int, now_s: float
) -> tuple[Rescue | None, float | None]:
    """The chunk that `idle` workers should take over now, and when to look again if none is.

    Of those worth it, the one expected to end last. When there are several, the idle workers are
    shared between them. None and None: nothing will change by waiting.
    """
    if not idle or not candidates:
        return None, None
    worth = [one for one in candidates if one.is_worth_it(now_s, min(1 + idle, one.units))]
    if worth:
        last = max(worth, key=lambda one: (one.left_s(now_s), one.worker))
        helpers = max(1, idle // len(worth))
        pieces = min(1 + helpers, last.units)
        if last.is_worth_it(now_s, pieces):
            return Rescue(last.worker, pieces), None
        return Rescue(last.worker, min(1 + idle, last.units)), None
    soonest_s = float("inf")
    for one in candidates:
        if one.began_s + one.late_s < soonest_s:  # it is not worth it before that
            from_s = one.worth_it_from_s(now_s, min(1 + idle, one.units))
            soonest_s = min(soonest_s, from_s)
    return None, soonest_s if soonest_s < float("inf") else None
