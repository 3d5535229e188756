"""Which key a statement is split by: the one whose chunks end first, by the server's own costs.

For each candidate the server's planner is asked (EXPLAIN) what a small and a large chunk cost. Two
figures follow: what every chunk pays again, whatever its size (planning, hash builds, relations
that are read whole), and what all chunks share. In them is all that makes one key better than
another: pages read one after the other or at random, the correlation of a column with the table's
order, an index that spares most of the table, a join that is cut on both sides. A third figure is
not EXPLAIN's: the share of the rows that cannot be cut further, such as those of one value.

With that the end of a split is foreseen: no worker is done before it has paid the fixed cost once,
and its part of the rest; and none before the largest piece is done. Estimates err, so a key takes
the place of one before it only when it is clearly better: the caller puts series and blocks first,
which need no statistics to be balanced, and larger relations before smaller ones. See "Using
EXPLAIN" and "Planner Cost Constants" in PostgreSQL's manual.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from pgfan.plan.sizing import UNKNOWN, Costs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

NEARLY = 1.2
"""How many times better a key must be to take the place of one before it."""
CHUNKS = 8
"""As many chunks as a statement by value is weighed with, against the one query."""
CHUNKS_COST_MAX = 1.5
"""How much dearer than one query these may be: two workers still gain a quarter."""
HEAVY = 2.0
"""A range is heavy with more than so many fair shares of the rows."""
HOT_SHARE = 0.5
"""A piece is hot when it has more than this part of what one worker does."""


COST_S = 1e-5
"""Seconds of one unit of EXPLAIN's cost, within a factor of ten or so: a page that is read in order
costs 1."""


class KeyCost(Struct, frozen=True):
    """In the units of EXPLAIN's costs; `repeated` for each chunk, `divided` for all together.

    `largest` is the share of the rows, from 0 to 1, in the largest piece that cannot be cut.
    """

    repeated: float
    divided: float
    largest: float = 0.0

    def together(self, chunks: int = CHUNKS) -> float:
        """What so many chunks cost."""
        return self.repeated * chunks + self.divided

    def expected(self, units: int) -> Costs:
        """In seconds, for a domain of so many units."""
        return Costs(self.repeated * COST_S, self.divided * COST_S / units) if units else UNKNOWN

    def longest(self, jobs: int) -> float:
        """What the worker that ends last has to do."""
        return self.repeated + self.divided * max(1 / jobs, self.largest)

    def is_too_dear(self, serial: float, jobs: int, *, by_value: bool) -> bool:
        """Whether one query, which costs `serial`, is better.

        Blocks and series are read once and in order, which EXPLAIN knows best: they have to end
        sooner than the one query. Estimates of scattered reads are less sure: ranges of values may
        cost little more than it in all.
        """
        if by_value:
            return self.together() > serial * CHUNKS_COST_MAX
        return self.longest(jobs) > serial


def in_words(times: float) -> str:
    """How much dearer something is, by what it costs of the other, which is more than once."""
    return f"{times:.1f} times as much as" if round(times, 1) > 1 else "more than"


def cost_of(small: tuple[float, float], large: tuple[float, float], largest: float) -> KeyCost:
    """From two chunks, each the share of the rows that it has and its cost.

    Without a difference between them, all of the cost is divided.
    """
    (small_share, small_cost), (large_share, large_cost) = small, large
    if large_share <= small_share:
        return KeyCost(0.0, large_cost / large_share if large_share else large_cost, largest)
    slope = max(0.0, (large_cost - small_cost) / (large_share - small_share))
    repeated = max(0.0, min(small_cost - slope * small_share, small_cost))
    return KeyCost(repeated, slope, largest)


def best_of(costs: Sequence[KeyCost], jobs: int) -> int:
    """The position of the key to take: the first that no other is clearly better than."""
    least = min(cost.longest(jobs) for cost in costs)
    return next(at for at, cost in enumerate(costs) if cost.longest(jobs) <= least * NEARLY)


def is_hot(share: float, jobs: int) -> bool:
    """Whether a piece with this share of the rows may keep one worker busy after all others."""
    return share * jobs > HOT_SHARE


def heaviest_first(shares: Sequence[float]) -> tuple[int, ...]:
    """The numbers of ranges, heavy ones first and largest first; empty when none is heavy.

    Who is done last should be doing something small; and ranges that are alike stay neighbours, so
    that a chunk of several is one range.
    """
    fair = 1 / len(shares) if shares else 0.0
    heavy = sorted(
        (at for at, share in enumerate(shares) if share > HEAVY * fair),
        key=lambda at: -shares[at],
    )
    if not heavy:
        return ()
    apart = set(heavy)
    return (*heavy, *(at for at in range(len(shares)) if at not in apart))


def dealt(items: Sequence[T], place_of: Callable[[T], int]) -> list[T]:
    """`items` dealt round-robin over the places where they are, else in their order.

    For partitions over tablespaces: neighbours are on several disks.
    """
    by_place: dict[int, list[T]] = {}
    for item in items:
        by_place.setdefault(place_of(item), []).append(item)
    absent = object()
    rounds = zip_longest(*by_place.values(), fillvalue=absent)
    return [item for each in rounds for item in each if item is not absent]  # type: ignore[misc]
