"""How big the next chunk should be.

A chunk of n units takes about a + b * n seconds: a is what every chunk pays again (planning, hash
builds, COMMIT), b the cost of a unit. The two are learnt apart, because they change apart. Fixed
cost hardly changes, and small chunks tell it best: a is the constant of a least-squares fit of
relative errors over all chunks, with older ones fading slowly, and no more than the fastest chunk
took. The cost of a unit follows the data along the table: b is what is left of the last few
chunks. (One fit for both mistakes a cost that rises along the table for a fixed one, and grows
chunks without end to spread it.) From them come

* the target: the n that takes `target_s`, or less: where small chunks are cheap, every worker gets
  SHARES_MIN of them at least, because nobody knows where the dear rows are;
* the floor: the smallest n whose share of fixed cost a / (a + b * n) is at most FIXED_SHARE_MAX;
* the share: the n with which this worker ends when all others do, each with what it has now and
  one chunk more, or none. The tail is half a share (factoring, Hummel 1992, with what is known of
  the chunks that run), so that the workers end together. Where half a share is mostly fixed cost,
  it is a whole one: what is left is divided once, among as many as make it shorter.

A worker that has the task to itself, because there are others for the rest, needs no tail.

Before any chunk has finished, EXPLAIN's costs stand for a and b. What they say of a against b is
mostly right within a few times, so a statement of which every chunk pays much again is cut into a
chunk for each worker, or into first chunks that are worth what they pay. Otherwise the first ones
are small, of several sizes, because two sizes tell a from b. The first that has finished takes the
place of what EXPLAIN said; as long as all had one size, its ratio of a to b is kept.

Bytes bound the target too, where the catalogue tells how large a unit's rows are, out-of-line
values included: a chunk's WAL, what a rollback throws away and what a logical replica must hold
back until COMMIT grow with its bytes, whatever its seconds are. The floor is not bounded by them:
paying a hash build twice as often costs time for certain, and the statement in one piece would
have written more at once than any chunk does.

Growth is bounded step by step because the first chunks are small and say little; while most of a
chunk is fixed cost its seconds are bounded, not its units, or many chunks would pay a hash build
on the way to the right size. A chunk that took far longer than the target, and than was expected
of its size, divides the size at once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FIXED_SHARE_MAX = 0.05
FADE_FIXED = 0.95
FASTEST_GROWTH = 1.005
"""How fast the fastest chunk is forgotten."""
FADE_UNIT = 0.7
TICK_S = 1e-3
"""Chunks below are all alike to the fit."""
GROWTH_MAX = 1.5
RAMP_GROWTH_MAX = 3.0
"""While chunks take less than an eighth of the target, their times are mostly fixed cost: grow
faster, or thousands of units go by before the first full-size chunk."""
RAMP_BELOW = 1 / 8
COSTLY_GROWTH_MAX = 8.0
"""While most of a chunk is a fixed cost that is not short itself: so many times the seconds, or a
hash build is paid often on the way. More gains nothing: the cost of a unit is known too badly."""
PANIC_ABOVE = 5.0
PANIC_DIVISOR = 10
FIRST_CHUNKS_PER_WORKER = 256
FIRST_UNITS_MAX = 5_000
"""Rows or blocks: milliseconds of work, however large the table is, if nothing tells what it is."""
FIRST_UNITS_MIN = 8
"""Of one unit there are no several sizes."""
FIRST_S = 0.2
"""By EXPLAIN, which may be far off."""
FIRST_PER_WORKER_MIN = 32
"""No first chunk of either kind is a larger part of a worker's share."""
PROBE_DIVISORS = (1, 4, 2, 8)
"""Before any has finished, chunks are so much smaller in turn: sizes tell a from b."""
PROBE_GROWTH = 2
"""While all sizes were the same, the next is another."""
FIRST_WORTH = 6
"""How many times the fixed cost that EXPLAIN expects every other of the first chunks does besides;
the others half as much."""
ONE_CHUNK_BELOW = 8
"""A worker's share that costs no more than so many times what it pays again is one chunk."""
FIRST_BYTES_MAX = 64 * 2**20
CHUNK_BYTES_MAX = 256 * 2**20
"""At the default target of 2 s a worker must write 128 MB/s to notice."""
SHARES_MIN = 16
SHARES_FIXED_SHARE_MAX = 0.02
"""But for them no more than this is paid again."""
WORTH_MIN = 0.04
"""A worker more is wanted when that makes what is left so much shorter."""
LIMIT_GROWTH = 1.05
"""What was too large in one place may fit in another: try again after some chunks."""
TAIL_DIVISOR = 2
TAIL_FIXED_SHARE_MAX = 0.2
"""The last few chunks may pay more: a worker that idles meanwhile costs more still."""
CHUNK_S_MIN = 0.02
"""No tail of ever smaller chunks: idling this long costs less than cutting finer."""


class SizingOptions(Struct, frozen=True):
    """`target_s`: seconds a chunk should take. `fixed_units`: the user's size, in rows, or None."""

    target_s: float = 2.0
    fixed_units: int | None = None

    def __post_init__(self) -> None:
        if not (self.target_s > 0 and math.isfinite(self.target_s)):
            raise ValueError(f"a chunk cannot take {self.target_s} seconds")
        if self.fixed_units is not None and self.fixed_units < 1:
            raise ValueError(f"a chunk cannot have {self.fixed_units} units")

    def in_units(self, rows_per_unit: float) -> SizingOptions:
        """The same with a fixed size in rows turned into units that hold so many rows each."""
        if self.fixed_units is None:
            return self
        return replace(self, fixed_units=max(1, round(self.fixed_units / max(rows_per_unit, 1e-9))))


class Costs(Struct, frozen=True):
    """What EXPLAIN expects a chunk to pay whatever its size, and for each unit.

    Both are 0 where nothing is known.
    """

    fixed_s: float = 0.0
    unit_s: float = 0.0

    @property
    def fixed_units(self) -> float:
        """So many units cost as much as what every chunk pays again."""
        return self.fixed_s / self.unit_s if self.unit_s else 0.0


UNKNOWN = Costs()


class ChunkSizer:
    """Sizes the chunks of one task from the times of its finished chunks.

    `bytes_per_unit` is 0 where it is not known.
    """

    def __init__(
        self,
        total_units: int,
        options: SizingOptions,
        bytes_per_unit: float = 0.0,
        expected: Costs = UNKNOWN,
    ) -> None:
        self._options = options
        self._total_units = total_units
        self._expected = expected
        self._first_units_max = self._target_units_max = total_units
        if bytes_per_unit > 0:
            self._first_units_max = max(1, int(FIRST_BYTES_MAX / bytes_per_unit))
            self._target_units_max = max(1, int(CHUNK_BYTES_MAX / bytes_per_unit))
        self._size = 0
        self._probes = 0
        self._limit = 0.0
        """Units that the server takes at once; 0: no limit is known."""
        self._weight = self._sum_n = self._sum_t = 0.0
        self._fixed = _FixedCost(expected.fixed_units)
        self._fit = (0.0, 0.0)

    def observe(self, units: int, seconds: float) -> None:
        """A chunk of `units` took `seconds` in one worker; sets the size to grow from."""
        fixed_s, unit_s = self._fit
        # With a large fixed cost long chunks are wanted, and expected.
        usual_s = max(self._options.target_s, fixed_s + unit_s * units)
        self._learn(units, seconds)
        if self._options.fixed_units is not None:  # it stays, whatever it takes
            return
        if seconds > PANIC_ABOVE * usual_s:
            self._size = max(1, min(self._size, units) // PANIC_DIVISOR)
        else:
            self._size = self._grown(units, seconds)

    def fit(self) -> tuple[float, float]:
        """Seconds a chunk pays whatever its size, and seconds for each unit; neither negative."""
        return self._fit

    def _learn(self, units: int, seconds: float) -> None:
        self._limit *= LIMIT_GROWTH
        self._weight = weight = self._weight * FADE_UNIT + 1
        self._sum_n = sum_n = self._sum_n * FADE_UNIT + units
        self._sum_t = sum_t = self._sum_t * FADE_UNIT + seconds
        fixed_s = min(self._fixed.observe(units, seconds), sum_t / weight)
        self._fit = fixed_s, (sum_t - fixed_s * weight) / sum_n

    def _grown(self, units: int, seconds: float) -> int:
        """The size to go on with after a chunk of `units` took `seconds`."""
        fixed_s, unit_s = self._fit
        wanted = self._wanted(fixed_s, unit_s)
        costly = fixed_s > TAIL_FIXED_SHARE_MAX * seconds
        ramping = costly or seconds < RAMP_BELOW * self._options.target_s
        growth = RAMP_GROWTH_MAX if ramping else GROWTH_MAX
        if not self._fixed.is_told_apart and wanted in range(units // 2, PROBE_GROWTH * units):
            wanted = PROBE_GROWTH * units  # another size tells what is fixed
            growth = max(growth, PROBE_GROWTH)
        # A late answer about a small chunk must not shrink what larger ones have shown since.
        largest = max(math.ceil(units * growth), self._size)
        if costly and unit_s:  # what grows is the time, and most of it is paid anyway
            is_long = fixed_s > RAMP_BELOW * self._options.target_s
            longest_s = (COSTLY_GROWTH_MAX if is_long else growth) * seconds
            largest = max(largest, int((longest_s - fixed_s) / unit_s))
        return max(1, min(wanted, largest))

    def next_units(
        self, left_units: int, workers: int, others_s: Callable[[], Iterable[float]] = tuple
    ) -> int:
        """Units of the next chunk when `left_units` are not yet taken; at least 1.

        `others_s`: in how many seconds the other workers will have ended what they have; those who
        are not told of have nothing. It is called near the end only.
        """
        if self._options.fixed_units is not None:
            return self._options.fixed_units
        if not self._weight:
            return min(left_units, self._first(workers))
        limit = math.ceil(self._limit) if self._limit else left_units
        size = min(self._size, limit)
        if workers == 1:  # nobody would idle at the end
            return max(1, min(size, left_units))
        fixed_s, unit_s = self._fit
        cheap = self._total_units // (SHARES_MIN * workers)
        if size > cheap and self._fixed.is_told_apart:
            size = min(size, max(cheap, self._floor(fixed_s, unit_s, SHARES_FIXED_SHARE_MAX)))
        if left_units >= TAIL_DIVISOR * workers * size:  # no share is less than an even one
            return max(1, size)
        left_s = left_units * unit_s
        # Chunks that take no time are dealt evenly.
        part = _share_s(left_s, fixed_s, others_s(), workers) / left_s if left_s else 1 / workers
        share = math.ceil(left_units * part)
        if share < TAIL_DIVISOR * self._floor(fixed_s, unit_s, TAIL_FIXED_SHARE_MAX):
            return max(1, min(share, left_units, limit))
        return max(1, min(size, -(-share // TAIL_DIVISOR)))

    def _first(self, workers: int) -> int:
        """The next of the chunks that begin before any has finished."""
        at, self._probes = self._probes, self._probes + 1
        known, share = self._expected, self._total_units / workers
        if share <= ONE_CHUNK_BELOW * known.fixed_units:
            return max(1, min(math.ceil(share), self._target_units_max))
        if known.unit_s:
            size = int(min(share / FIRST_PER_WORKER_MIN, FIRST_S / known.unit_s))
        else:
            size = min(int(share) // FIRST_CHUNKS_PER_WORKER, FIRST_UNITS_MAX)
        size = min(
            max(size, min(FIRST_UNITS_MIN, int(share) // FIRST_PER_WORKER_MIN)),
            self._first_units_max,
        )
        worth = min(int(FIRST_WORTH * known.fixed_units), self._target_units_max)
        if worth > size:
            return worth if at % 2 else -(-worth // 2)
        return max(1, size // PROBE_DIVISORS[at % len(PROBE_DIVISORS)])

    def too_large(self, units: int) -> None:
        """A chunk of `units` was more than the server takes at once: stay below, for a while."""
        self._limit = min(self._limit or units, units) / 2

    def seconds_for(self, units: int) -> float | None:
        """How long a chunk of `units` is expected to take; None before any has finished."""
        if not self._weight:
            return None
        fixed_s, unit_s = self._fit
        return fixed_s + unit_s * units

    def _wanted(self, fixed_s: float, unit_s: float) -> int:
        if not unit_s:
            return min(self._total_units, self._target_units_max)
        target = math.floor((self._options.target_s - fixed_s) / unit_s)
        target = min(target, self._target_units_max)
        return max(1, target, self._floor(fixed_s, unit_s, FIXED_SHARE_MAX))

    def _floor(self, fixed_s: float, unit_s: float, share_max: float) -> int:
        """The smallest chunk of which no more than `share_max` is fixed cost."""
        if not unit_s:
            return 1
        by_share = fixed_s * (1 - share_max) / (share_max * unit_s)
        by_time = min(CHUNK_S_MIN, self._options.target_s) / unit_s
        return max(1, math.ceil(min(self._total_units, max(by_share, by_time))))


def _share_s(work_s: float, fixed_s: float, others_s: Iterable[float], workers: int) -> float:
    """Seconds of `work_s` for a worker that is free, if all end together.

    Every worker pays `fixed_s` before its part; the others begin when they are free. Whoever comes
    late takes nothing, nor do those who would hardly make it shorter.
    """
    busy_s = sorted(others_s)[: workers - 1]
    free = workers - len(busy_s)
    least_s, waited_s = work_s / free, 0.0
    until_s = [work_s / count for count in range(1, free + 1)]
    for count, end_s in enumerate(busy_s, free + 1):
        if end_s >= least_s:
            break
        if end_s > 0:
            waited_s += end_s
        least_s = (work_s + waited_s) / count
        until_s.append(least_s)
    enough_s = least_s + WORTH_MIN * (least_s + fixed_s)
    return next(one_s for one_s in until_s if one_s <= enough_s)


class _FixedCost:
    """The constant of a line through (units, seconds), each error taken relative to its seconds."""

    def __init__(self, expected_units: float) -> None:
        """`expected_units` are thought to cost as much, until chunks of several sizes tell."""
        self._expected_units = expected_units
        self.is_told_apart = False
        self._weight = self._sum_n = self._sum_t = self._sum_nn = self._sum_nt = 0.0
        self._fastest_s = math.inf

    def observe(self, units: int, seconds: float) -> float:
        """The constant, with one chunk more."""
        self._fastest_s = fastest_s = min(self._fastest_s * FASTEST_GROWTH, seconds)
        weight = 1 / max(seconds, TICK_S) ** 2
        weighted = weight * units
        self._weight = total = self._weight * FADE_FIXED + weight
        self._sum_n = sum_n = self._sum_n * FADE_FIXED + weighted
        self._sum_t = sum_t = self._sum_t * FADE_FIXED + weight * seconds
        self._sum_nn = sum_nn = self._sum_nn * FADE_FIXED + weighted * units
        self._sum_nt = sum_nt = self._sum_nt * FADE_FIXED + weighted * seconds
        mean_n, mean_t = sum_n / total, sum_t / total
        variance = sum_nn / total - mean_n * mean_n
        # Sizes that hardly differ cannot tell fixed cost from marginal.
        self.is_told_apart = variance > (0.01 * mean_n) ** 2
        if not self.is_told_apart:
            share = self._expected_units / (self._expected_units + mean_n)
            return min(share * mean_t, fastest_s)
        slope = max((sum_nt / total - mean_n * mean_t) / variance, 0.0)
        return min(max(mean_t - slope * mean_n, 0.0), fastest_s)
