"""The workers of a run: which are busy with what, which are idle, which found no connection.

Here is who could take a chunk, and nothing of which chunk that should be, nor of how many workers
there should be (`pgfan.plan.scaling`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import ItemsView

    from pgfan.plan.dag import Task
    from pgfan.plan.parts import Remainder
    from pgfan.plan.ranges import Range


class Busy(Struct):
    """What a worker has: chunks of one task, the first of which runs."""

    task: int
    pieces: list[Range]
    attempt: int
    began_s: float = 0.0
    expected_s: float | None = None
    """How long all of it should take; None when nobody knows."""
    shares: int = 0
    """In how many pieces its range is to be given back; 0 unless its cancel was asked for."""

    def expects_s(self, piece: Range, left: Remainder | None) -> float | None:
        """`expected_s`, or what is known by now of `piece`, if it began before any had ended.

        `left` is what is left of its task.
        """
        if self.expected_s is not None or left is None:
            return self.expected_s
        return left.seconds_for(piece)


class Workers:
    """Workers numbered from 0, of which `allowed` may be busy. A worker is idle, busy, or away.

    Away is one that the server gave no connection: it comes back when another has ended a chunk, or
    when nobody is busy any more.
    """

    def __init__(self, count: int) -> None:
        self._busy: dict[int, Busy] = {}
        self._allowed = self._known = count
        self._idle = set(range(count))
        self._away: set[int] = set()
        self.present = count or 1
        """How many share the work, at least 1."""

    @property
    def idle(self) -> list[int]:
        """Those who could take a chunk, in order."""
        room = self._allowed - len(self._busy)
        return sorted(self._idle)[:room] if room > 0 else []

    @property
    def idle_count(self) -> int:
        """How many could take a chunk."""
        idle, room = len(self._idle), self._allowed - len(self._busy)
        return idle if idle <= room else max(0, room)

    def is_idle(self, worker: int) -> bool:
        """Whether the worker could take a chunk."""
        return worker in self._idle

    @property
    def busy(self) -> int:
        """How many run a chunk now."""
        return len(self._busy)

    def allow(self, count: int) -> None:
        """Have `count` workers at most; those above it end what they have. 0 is a pause."""
        self._idle |= set(range(self._known, count))
        self._known = max(self._known, count)
        self._allowed = count
        self._count_present()

    def running(self) -> ItemsView[int, Busy]:
        """Who has what."""
        return self._busy.items()

    def ends_s(self, task: Task, now_s: float) -> list[float]:
        """In how many seconds each that is busy with `task` should have ended what it has.

        Negative for those that are late.
        """
        number, left = task.number, task.left
        return [
            busy.began_s - now_s + (busy.expected_s or busy.expects_s(busy.pieces[0], left) or 0.0)
            for busy in self._busy.values()
            if busy.task == number
        ]

    def get(self, worker: int) -> Busy | None:
        """What the worker has; None when it has nothing."""
        return self._busy.get(worker)

    def start(self, worker: int, busy: Busy) -> None:
        """Give an idle worker its chunks."""
        self._idle.remove(worker)
        self._busy[worker] = busy

    def end(self, worker: int) -> None:
        """A busy worker has nothing more: it is idle."""
        del self._busy[worker]
        self._idle.add(worker)
        if not self._busy:  # nobody is left who could call them back
            self.call_back()

    def send_away(self, worker: int) -> None:
        """An idle worker found no connection."""
        self._idle.discard(worker)
        self._away.add(worker)
        self._count_present()

    def call_back(self) -> None:
        """Those who are away may try again."""
        if self._away:
            self._idle |= self._away
            self._away.clear()
            self._count_present()

    def _count_present(self) -> None:
        self.present = min(self._known - len(self._away), self._allowed) or 1
