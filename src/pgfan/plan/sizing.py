"""How big the next chunk should be.

A chunk of n units takes about a + b * n seconds: a is what every chunk pays again (planning, hash
builds, COMMIT), b the cost of a unit. The two are learnt apart, because they change apart. Fixed
cost hardly changes, and small chunks tell it best: a is the constant of a least-squares fit of
relative errors over all chunks, with older ones fading slowly, and no more than the fastest chunk
took. The cost of a unit follows the data along the table: b is what is left of the last few
chunks. (One fit for both mistakes a cost that rises along the table for a fixed one, and grows
chunks without end to spread it.) From them come

* the target: the n that takes `target_s`;
* the floor: the smallest n whose share of fixed cost a / (a + b * n) is at most FIXED_SHARE_MAX;
* the tail: no more than a fair share of what is left, so that the workers end together (guided
  self-scheduling, Polychronopoulos and Kuck 1987; the divisor of two is factoring's, Hummel 1992).

A worker that has the task to itself, because there are others for the rest, needs no tail.

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

from msgspec import Struct
from msgspec.structs import replace

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
PROBE_DIVISOR = 4
"""Before anything is known, every other chunk is so much smaller: two sizes tell a from b."""
FIRST_UNITS_MAX = 5_000
"""Rows or blocks: milliseconds of work, however large the table is."""
FIRST_BYTES_MAX = 64 * 2**20
CHUNK_BYTES_MAX = 256 * 2**20
"""At the default target of 2 s a worker must write 128 MB/s to notice."""
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


class ChunkSizer:
    """Sizes the chunks of one task from the times of its finished chunks.

    `bytes_per_unit` is 0 where it is not known.
    """

    def __init__(
        self, total_units: int, options: SizingOptions, bytes_per_unit: float = 0.0
    ) -> None:
        self._options = options
        self._total_units = total_units
        self._first_units_max = FIRST_UNITS_MAX
        self._target_units_max = total_units
        if bytes_per_unit > 0:
            by_bytes = max(1, int(FIRST_BYTES_MAX / bytes_per_unit))
            self._first_units_max = min(FIRST_UNITS_MAX, by_bytes)
            self._target_units_max = max(1, int(CHUNK_BYTES_MAX / bytes_per_unit))
        self._size = 0
        self._probes = 0
        self._limit = 0.0
        """Units that the server takes at once; 0: no limit is known."""
        self._weight = self._sum_n = self._sum_t = 0.0
        self._fixed = _FixedCost()
        self._fit = (0.0, 0.0)

    def observe(self, units: int, seconds: float) -> None:
        """A chunk of `units` took `seconds` in one worker; sets the size to grow from."""
        target_s = self._options.target_s
        fixed_s, unit_s = self._fit
        # With a large fixed cost long chunks are wanted, and expected.
        is_far_over = seconds > PANIC_ABOVE * max(target_s, fixed_s + unit_s * units)
        self._limit *= LIMIT_GROWTH
        self._fixed.observe(units, seconds)
        self._weight = self._weight * FADE_UNIT + 1
        self._sum_n = self._sum_n * FADE_UNIT + units
        self._sum_t = self._sum_t * FADE_UNIT + seconds
        self._fit = self._fitted()
        if is_far_over:
            self._size = max(1, min(self._size, units) // PANIC_DIVISOR)
            return
        fixed_s, unit_s = self._fit
        wanted = self._wanted(fixed_s, unit_s)
        costly = fixed_s > TAIL_FIXED_SHARE_MAX * seconds
        ramping = costly or seconds < RAMP_BELOW * target_s
        growth = RAMP_GROWTH_MAX if ramping else GROWTH_MAX
        # A late answer about a small chunk must not shrink what larger ones have shown since.
        largest = max(math.ceil(units * growth), self._size)
        if costly and unit_s:  # what grows is the time, and most of it is paid anyway
            is_long = fixed_s > RAMP_BELOW * target_s
            longest_s = (COSTLY_GROWTH_MAX if is_long else growth) * seconds
            largest = max(largest, int((longest_s - fixed_s) / unit_s))
        self._size = max(1, min(wanted, largest))

    def fit(self) -> tuple[float, float]:
        """Seconds a chunk pays whatever its size, and seconds for each unit; neither negative."""
        return self._fit

    def _fitted(self) -> tuple[float, float]:
        fixed_s = min(self._fixed.seconds(), self._sum_t / self._weight)
        return fixed_s, (self._sum_t - fixed_s * self._weight) / self._sum_n

    def next_units(self, left_units: int, workers: int) -> int:
        """Units of the next chunk when `left_units` are not yet taken; at least 1."""
        if self._options.fixed_units is not None:
            return self._options.fixed_units
        if not self._size:
            first = self._total_units // (FIRST_CHUNKS_PER_WORKER * workers)
            self._size = max(1, min(first, self._first_units_max))
        if not self._weight:
            self._probes += 1
            if self._probes % 2 == 0:
                return max(1, self._size // PROBE_DIVISOR)
        size = min(self._size, math.ceil(self._limit)) if self._limit else self._size
        if workers == 1:  # nobody would idle at the end
            return max(1, min(size, left_units))
        fair = -(-left_units // (TAIL_DIVISOR * workers))
        if fair >= size:
            return size
        floor = self._floor(*self._fit, TAIL_FIXED_SHARE_MAX)
        return max(1, min(size, max(fair, floor)))

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


class _FixedCost:
    """The constant of a line through (units, seconds), each error taken relative to its seconds."""

    def __init__(self) -> None:
        self._weight = self._sum_n = self._sum_t = self._sum_nn = self._sum_nt = 0.0
        self._fastest_s = math.inf

    def observe(self, units: int, seconds: float) -> None:
        self._fastest_s = min(self._fastest_s * FASTEST_GROWTH, seconds)
        weight = 1 / max(seconds, TICK_S) ** 2
        self._weight = self._weight * FADE_FIXED + weight
        self._sum_n = self._sum_n * FADE_FIXED + weight * units
        self._sum_t = self._sum_t * FADE_FIXED + weight * seconds
        self._sum_nn = self._sum_nn * FADE_FIXED + weight * units * units
        self._sum_nt = self._sum_nt * FADE_FIXED + weight * units * seconds

    def seconds(self) -> float:
        mean_n, mean_t = self._sum_n / self._weight, self._sum_t / self._weight
        variance = self._sum_nn / self._weight - mean_n * mean_n
        # Sizes that hardly differ cannot tell fixed cost from marginal: all of it is marginal then.
        if variance <= (0.01 * mean_n) ** 2:
            return 0.0
        slope = max((self._sum_nt / self._weight - mean_n * mean_t) / variance, 0.0)
        return min(max(mean_t - slope * mean_n, 0.0), self._fastest_s)
