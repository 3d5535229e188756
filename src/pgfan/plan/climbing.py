"""Where the throughput of a server peaks, found by trying: the law behind `--jobs auto`.

Throughput as a function of the number of workers rises, bends at a knee (cores, disk, WAL, a lock)
and may fall beyond it. Nobody knows the curve beforehand and it changes while a run goes on, so it
is climbed: measure at one number, try another, keep the better one. That hill climbing fits the
multiprogramming level of a database is from Heiss and Wagner ("Adaptive load control in transaction
processing systems", VLDB 1991), how to keep noise from steering it from Hellerstein, Morrison and
Eilebrecht (the .NET thread pool, FeBID 2008), the stride that doubles after a success and halves
after a failure from Hooke and Jeeves (pattern search, 1961), and that trouble shrinks by a factor
while growth returns in small steps from Chiu and Jain (AIMD, 1989).

* An epoch is measured: chunks that begin while all workers are busy, two for each worker. Its
  throughput is workers times work per second of a worker, so it does not matter which chunks
  happened to end in it, nor how long they are. The error comes from how far single chunks are off.
* More workers are worth it when throughput grows by at least GAIN_SHARE of what it would grow if
  each new one did as much as the old ones; the same rule, read backwards, says when fewer do as
  well. An epoch goes on, up to a bound, while noise could turn that answer.
* A search moves by strides until none is worth it. Then the number holds, and single small strides,
  up and down in turn, look whether something has changed; fruitless ones make the pause between
  them longer. A throughput that changes by itself starts a search at once.
* Waits in the server say where to look first, and throughput decides: while most workers wait for
  I/O or WAL, fewer are tried before more. Two things shrink at once: workers that wait for locks,
  which do nothing meanwhile, and errors (no connection, no memory, a deadlock). Growth returns by
  the small strides. When all workers wait for locks, the holder is somebody else, and fewer of them
  would wait no shorter.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from msgspec import Struct

GAIN_SHARE = 0.2
GAIN_MIN = 0.02
"""Nobody can measure less."""
CHUNKS_PER_WORKER = 2
EPOCH_CHUNKS_MIN = 4
EPOCH_S_MIN = 2.0
"""Shorter than this, a checkpoint or a cold cache is all that is seen."""
EPOCH_EXTENDED = 4
"""An epoch that noise leaves undecided may have so many times the chunks."""
DOUBT = 1.5
"""How many standard errors apart two throughputs are told from each other."""
CHANGE_MIN = 0.2
"""A throughput that changes by more, with the same workers, means another server or other data."""
STRIDE_DIVISOR = 8
"""The smallest stride is this part of the workers: finer ones drown in noise."""
HOLD_EPOCHS_FIRST = 8
HOLD_EPOCHS_MAX = 16
WAIT_SAMPLES_MIN = 3
LOCKED_MIN = 0.25
LOCKED_BY_OTHERS = 0.95
SATURATED_MIN = 0.5
SHRINK_MAX = 0.5

Why: TypeAlias = Literal[
    "trying more",
    "trying fewer",
    "more are no faster",
    "fewer are slower",
    "lock waits",
    "no connection",
    "out of memory",
    "deadlock",
]


class Step(Struct, frozen=True):
    """A new number of workers, and why."""

    workers: int
    why: Why


class _Level(Struct, frozen=True):
    """What so many workers do together: work per second, and its relative standard error."""

    workers: int
    throughput: float
    error: float

    def with_newer(self, newer: _Level) -> _Level:
        """The mean of two epochs at the same number."""
        error = math.hypot(self.error, newer.error) / 2
        return _Level(self.workers, (self.throughput + newer.throughput) / 2, error)


class _Epoch:
    """Sums over the chunks that began since `began_s`."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.chunks = 0
        self._work = self._seconds = self._ww = self._ws = self._ss = 0.0

    def add(self, work: float, seconds: float) -> None:
        self.chunks += 1
        self._work += work
        self._seconds += seconds
        self._ww += work * work
        self._ws += work * seconds
        self._ss += seconds * seconds

    def level(self, workers: int) -> _Level:
        speed = self._work / self._seconds
        residuals = max(0.0, self._ww - 2 * speed * self._ws + speed * speed * self._ss)
        spread = math.sqrt(residuals * self.chunks / max(1, self.chunks - 1))
        return _Level(workers, workers * speed, spread / self._work)


class _Waits:
    """Mean shares of the workers that wait, over the samples since the number last changed."""

    def __init__(self) -> None:
        self.samples = 0
        self._locked = self._saturated = 0.0

    def add(self, locked: float, saturated: float) -> None:
        self.samples += 1
        self._locked += locked
        self._saturated += saturated

    @property
    def locked(self) -> float:
        return self._locked / self.samples if self.samples >= WAIT_SAMPLES_MIN else 0.0

    @property
    def saturated(self) -> float:
        return self._saturated / self.samples if self.samples >= WAIT_SAMPLES_MIN else 0.0


class Climb:
    """The number of workers, from 1 to `most`; it begins at `start` and first moves by `stride`."""

    def __init__(self, start: int, most: int, stride: int) -> None:
        self._most = max(1, most)
        self._room = self._most
        """What the server last had connections for."""
        self.workers = max(1, min(start, self._most))
        self._stride = max(1, stride)
        self._way = 1
        self._bound: int | None = None
        """The nearest number on the way that was tried and not worth it."""
        self._best: _Level | None = None
        self._speed = 1.0
        self._epoch: _Epoch | None = None
        self._waits = _Waits()
        self._searching = True
        self._turned = False
        self._fruitful = False
        self._held = 0
        self._hold_epochs = HOLD_EPOCHS_FIRST

    @property
    def speed(self) -> float:
        """Work per second of one worker, as last measured; 1 before that."""
        return self._speed

    # What is seen -------------------------------------------------------------------------------

    def staffed(self, now_s: float, *, fully: bool) -> None:
        """Whether from now on exactly `workers` are busy: what is measured otherwise is void."""
        if not fully:
            self._epoch = None
        elif self._epoch is None:
            self._epoch = _Epoch(now_s)

    def chunk_done(self, began_s: float, seconds: float, work: float) -> None:
        """A chunk did `work`, in any unit that stays the same, in `seconds` of one worker."""
        if self._epoch is not None and began_s >= self._epoch.began_s and seconds > 0 and work > 0:
            self._epoch.add(work, seconds)

    def waits(self, locked: float, saturated: float) -> None:
        """Shares of the workers that a sample found waiting: for locks, and for I/O or WAL."""
        self._waits.add(locked, saturated)

    def make_room(self, most: int) -> Step | None:
        """The server has connections for `most` workers now."""
        self._most = max(1, most)
        self._room = min(self._room, self._most)
        if self.workers > self._most:
            return self._shrink(self._most, "no connection")
        return None

    def refused(self, busy: int) -> Step | None:
        """No connection for a worker beyond the `busy` ones (53300): not before the next pause."""
        self._room = max(1, busy)
        if self.workers > self._room:
            return self._shrink(self._room, "no connection")
        return None

    def failed(self, why: Literal["out of memory", "deadlock"]) -> Step | None:
        """A chunk failed because there are too many at once (53200, 40P01)."""
        if self.workers == 1:
            return None
        part = SHRINK_MAX if why == "out of memory" else 1 - LOCKED_MIN
        return self._shrink(int(self.workers * part), why)

    # What follows -------------------------------------------------------------------------------

    def decide(self, now_s: float) -> Step | None:
        """The next number, when it is time for one."""
        locked = self._waits.locked
        if LOCKED_MIN <= locked < LOCKED_BY_OTHERS and self.workers > 1:
            part = max(SHRINK_MAX, 1 - locked)
            return self._shrink(min(self.workers - 1, round(self.workers * part)), "lock waits")
        epoch = self._epoch
        if epoch is None or now_s - epoch.began_s < EPOCH_S_MIN:
            return None
        if epoch.chunks < self._chunks_needed():
            return None
        level = epoch.level(self.workers)
        self._speed = level.throughput / level.workers
        if self._best is None or self._best.workers == self.workers:
            self._epoch = None
            return self._measured(level)
        worth = self._worth(
            self._best, level, may_wait=epoch.chunks < self._chunks_needed(EPOCH_EXTENDED)
        )
        return None if worth is None else self._tried(level, worth=worth)

    def _chunks_needed(self, times: int = 1) -> int:
        return times * max(EPOCH_CHUNKS_MIN, CHUNKS_PER_WORKER * self.workers)

    @staticmethod
    def _worth(best: _Level, level: _Level, *, may_wait: bool) -> bool | None:
        """Whether `level` should take the place of `best`; None when more chunks could tell."""
        low, high = sorted((best, level), key=lambda one: one.workers)
        gain = high.throughput / low.throughput - 1
        needed = max(GAIN_MIN, GAIN_SHARE * (high.workers / low.workers - 1))
        if may_wait and abs(gain - needed) < DOUBT * math.hypot(low.error, high.error):
            return None
        return (gain >= needed) == (level is high)

    def _measured(self, level: _Level) -> Step | None:
        """An epoch at the best number so far: go on searching, or hold."""
        before, self._best = self._best, level
        if self._searching:
            if self._waits.saturated >= SATURATED_MIN:
                self._way = -1
            return self._stride_on()
        if before is not None:
            change = level.throughput / before.throughput - 1
            if abs(change) > CHANGE_MIN + DOUBT * math.hypot(before.error, level.error):
                self._begin_search(1 if change > 0 else -1, max(1, self.workers // 2))
                self._best = None  # this epoch has seen some of both
                return None
            self._best = before.with_newer(level)
        self._held += 1
        if self._held < self._hold_epochs:
            return None
        self._room = self._most
        way = -1 if self._waits.saturated >= SATURATED_MIN else -self._way
        self._begin_search(way, self._stride_min())
        self._turned = True  # one stride, and no second way
        return self._stride_on()

    def _begin_search(self, way: int, stride: int) -> None:
        self._searching, self._turned, self._fruitful = True, False, False
        self._way, self._stride, self._bound = way, stride, None

    def _tried(self, level: _Level, *, worth: bool) -> Step | None:
        self._epoch = None
        if worth:
            self._best, self._fruitful = level, True
            self._stride *= 2
        else:
            self._bound = level.workers
            self._stride //= 2
        return self._stride_on()

    def _stride_on(self) -> Step | None:
        """To the next number that is worth trying, or back to the best."""
        best = self._best
        if best is None:
            return None
        stride = self._stride if self._way > 0 else min(self._stride, (best.workers + 1) // 2)
        if self._bound is not None:
            stride = min(stride, abs(self._bound - best.workers) // 2)
        target = max(1, min(best.workers + self._way * stride, self._most, self._room))
        if stride < self._stride_min() or (target - best.workers) * self._way <= 0:
            return self._end_of_way(best)
        return self._go(target, "trying more" if self._way > 0 else "trying fewer")

    def _end_of_way(self, best: _Level) -> Step | None:
        saturated = self._waits.saturated >= SATURATED_MIN
        if not self._fruitful and not self._turned and (self._way < 0 or saturated):
            step = self._turn(best)
            if step is not None:
                return step
        self._searching, self._held = False, 0
        longer = min(2 * self._hold_epochs, HOLD_EPOCHS_MAX)
        self._hold_epochs = HOLD_EPOCHS_FIRST if self._fruitful else longer
        if self.workers == best.workers:
            return None
        return self._go(
            best.workers,
            "more are no faster" if self.workers > best.workers else "fewer are slower",
        )

    def _turn(self, best: _Level) -> Step | None:
        self._turned, self._way, self._bound = True, -self._way, None
        self._stride = max(1, best.workers // 2)
        return self._stride_on()

    def _stride_min(self) -> int:
        workers = self._best.workers if self._best is not None else self.workers
        return max(1, workers // STRIDE_DIVISOR)

    def _shrink(self, workers: int, why: Why) -> Step:
        """Fewer, whatever was measured; growth returns after a pause."""
        self._best, self._searching, self._way, self._held = None, False, -1, 0
        self._hold_epochs = min(2 * self._hold_epochs, HOLD_EPOCHS_MAX)
        return self._go(max(1, workers), why)

    def _go(self, workers: int, why: Why) -> Step:
        self.workers, self._epoch, self._waits = workers, None, _Waits()
        return Step(workers, why)
