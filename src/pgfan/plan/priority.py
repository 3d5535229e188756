"""Which task should begin first, and how many workers should be on one task at a time.

A task's rank is the time from its start to the end of the longest chain of tasks that wait for it,
its own included (the upward rank of HEFT: Topcuoglu, Hariri and Wu 2002). The higher goes first.

Workers on one task: as few as the longest chain allows. No run ends before its longest chain, and
none before its work shared by all workers; while the chain is well below the share, more workers
on one task only pay its fixed cost more often (the two bounds are those of CPA: Radulescu and van
Gemund 2001). A script whose statements wait for each other is one chain: all workers on each.

Durations are those of earlier runs; a task that was never seen is taken for a typical one that can
be divided. A wrong duration costs time and nothing else.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfan.plan.dag import TaskSpec

TYPICAL_S = 1.0
"""When no duration is known, only the number of tasks on a path counts."""
CHAIN_SHARE_MAX = 0.5
"""Up to this part of the shared work the longest chain leaves enough to choose from."""


class Priorities(Struct, frozen=True):
    """`rank` in seconds, for each task; `workers` that should be on one task at a time."""

    rank: Mapping[int, float]
    workers: int


def priorities(specs: Sequence[TaskSpec], workers: int) -> Priorities:
    """For a run with so many workers, at least 1; tasks in a cycle have rank 0."""
    known = [spec.work_s for spec in specs if spec.work_s is not None]
    typical_s = median(known) if known else TYPICAL_S
    work = {spec.task: spec.work_s if spec.work_s is not None else typical_s for spec in specs}
    shared_s = sum(work.values()) / workers
    on_each = 1
    while True:
        rank = longest_paths(
            specs,
            {spec.task: work[spec.task] / (on_each if spec.divisible else 1) for spec in specs},
        )
        if on_each >= workers or max(rank.values(), default=0.0) <= CHAIN_SHARE_MAX * shared_s:
            return Priorities(rank, min(on_each, workers))
        on_each *= 2


def longest_paths(specs: Sequence[TaskSpec], durations: Mapping[int, float]) -> dict[int, float]:
    """From each task's start to the end of what waits for it; in Kahn's order, from the end."""
    before = {spec.task: spec.after for spec in specs}
    waiting = dict.fromkeys(before, 0)
    for spec in specs:
        for number in spec.after:
            if number in waiting:
                waiting[number] += 1
    behind = dict.fromkeys(before, 0.0)
    found = dict.fromkeys(before, 0.0)
    ready = [number for number, count in waiting.items() if not count]
    while ready:
        number = ready.pop()
        found[number] = durations[number] + behind[number]
        for earlier in before[number]:
            if earlier not in waiting:
                continue
            behind[earlier] = max(behind[earlier], found[number])
            waiting[earlier] -= 1
            if not waiting[earlier]:
                ready.append(earlier)
    return found
