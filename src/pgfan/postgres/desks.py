"""Where tasks are analysed: an analyst with a snapshot of its own, for one task at a time.

A split task keeps its desk, whose snapshot its chunks share, until it ends; then another task gets
it. So there are as many desks, and connections of them, as tasks were ever split at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.postgres.analysis import Analyst
    from pgfan.postgres.snapshot import SnapshotHolder


class Desk(Struct, frozen=True, eq=False):
    """An analyst, and the snapshots that it opens."""

    analyst: Analyst
    snapshots: SnapshotHolder


class Desks:
    """The desks of a run. Used by the loop's thread alone, but for `cancel`."""

    def __init__(self, make: Callable[[], Desk]) -> None:
        self._make = make
        self._taken: dict[int, Desk] = {}
        self._free: list[Desk] = []

    def of(self, task: int) -> Desk:
        """The task's desk: it has it until `release`."""
        desk = self._taken.get(task)
        if desk is None:
            desk = self._taken[task] = self._free.pop() if self._free else self._make()
        return desk

    def release(self, task: int) -> None:
        """The task needs its desk no more: its snapshot is let go, and the locks with it."""
        desk = self._taken.pop(task, None)
        if desk is not None:
            desk.snapshots.close()
            self._free.append(desk)

    def cancel(self) -> None:
        """Cancel what runs for any of them, such as EXPLAIN's wait for a lock."""
        for desk in [*self._taken.values(), *self._free]:
            desk.analyst.session.cancel()
            desk.snapshots.cancel()

    def end(self) -> None:
        """Close all snapshots' sessions."""
        for desk in [*self._taken.values(), *self._free]:
            desk.snapshots.end()
