"""A server as a curve: what so many workers do together, on a virtual clock.

Chunks are sized for about two seconds, as the real ones are, and each is off by some noise. All
busy workers share what the server gives at that moment, so a chunk slows down when others come.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from pgfan.plan.climbing import Climb, Step

CHUNK_S = 2.0
SAMPLE_S = 1.0


def knee(at: float, *, loss: float = 0.0, speed: float = 1.0) -> Callable[[int], float]:
    """Linear up to `at` workers; each one more makes all of them slower by `loss`."""

    def throughput(workers: int) -> float:
        return speed * min(workers, at) / (1 + loss * max(0.0, workers - at))

    return throughput


@dataclass
class _Running:
    began_s: float
    work: float
    left: float
    luck: float


@dataclass
class ModelledServer:
    """Runs chunks for a climb. `curve` and `waits` may be changed between two calls of `run`."""

    climb: Climb
    curve: Callable[[int], float]
    random: Random
    noise: float = 0.1
    waits: Callable[[int], tuple[float, float]] = lambda _workers: (0.0, 0.0)
    now_s: float = 0.0
    done: float = 0.0
    steps: list[tuple[float, Step]] = field(default_factory=list)
    chunks: dict[int, _Running] = field(default_factory=dict)
    sample_s: float = SAMPLE_S
    pace: float = 1.0

    def run(self, seconds: float) -> float:
        """Go on for so long; work per second of that time."""
        end_s, done_before = self.now_s + seconds, self.done
        while self.now_s < end_s:
            self._deal()
            self._advance(min(end_s, self.sample_s))
            if self.now_s >= self.sample_s:
                self.sample_s += SAMPLE_S
                self.climb.waits(*self.waits(len(self.chunks)))
            self._take(self.climb.decide(self.now_s))
        return (self.done - done_before) / seconds

    def _take(self, step: Step | None) -> None:
        if step is not None:
            self.steps.append((self.now_s, step))

    def _deal(self) -> None:
        free = (number for number in range(10_000) if number not in self.chunks)
        while len(self.chunks) < self.climb.workers:
            work = CHUNK_S * self.pace
            luck = math.exp(self.random.gauss(0, self.noise))
            self.chunks[next(free)] = _Running(self.now_s, work, work, luck)
        self.climb.staffed(self.now_s, fully=len(self.chunks) == self.climb.workers)

    def _advance(self, until_s: float) -> None:
        """To the end of the next chunk, or to `until_s`."""
        speed = self.curve(len(self.chunks)) / len(self.chunks)
        self.pace = speed
        first_s = min(one.left / (speed * one.luck) for one in self.chunks.values())
        step_s = max(0.0, min(first_s, until_s - self.now_s))
        self.now_s += step_s
        for number, one in list(self.chunks.items()):
            one.left -= step_s * speed * one.luck
            if one.left <= 1e-9:
                del self.chunks[number]
                self.done += one.work
                self.climb.chunk_done(one.began_s, self.now_s - one.began_s, one.work)
