"""Which of the known values of a column become bounds, so that ranges hold equal shares of rows.

No I/O and no values: a value is its position in the server's order, and what is known of it is
what ANALYZE keeps (`pg_stats` in PostgreSQL's manual): how often a common value occurs, and bounds
of buckets that hold equal shares of all the others. A sample is told in the same words.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEARCH_STEPS = 40
_ROUNDING = 1.0001


class KnownValue(Struct, frozen=True):
    """What statistics say of one value. Those of a column come in ascending order.

    A histogram may hold a value several times: all between two copies is that value.
    """

    frequency: float = 0.0
    """Share of all rows, from the list of most common values; 0 when it is not in there."""
    copies: int = 0
    """How many bounds of the histogram it is."""
    usable: bool = True
    """Whether it may be a bound."""


def choose_bounds(null_fraction: float, known: Sequence[KnownValue], parts: int) -> tuple[int, ...]:
    """Positions in `known` to cut at: at most `parts` - 1, ascending.

    A range begins at its bound and ends before the next; the first one also holds the NULLs, whose
    share of the rows is `null_fraction`. A value of more than two fair shares is a range of its
    own, up to the next known value; any other range holds at most two fair shares, or what lies
    between two known values when that is more. Figures that make no sense count as 0.
    """
    pieces = _pieces(_share(null_fraction), known)
    fair = sum(weight for _, weight in pieces) / max(parts, 1)
    if parts < 2 or not fair:
        return ()
    # Two neighbours together weigh more than the limit, or they would be one range: so there are
    # at most `parts` ranges at twice the fair share, and the least limit that does is in between.
    low, high = fair, 2 * fair * _ROUNDING
    chosen = _cut(pieces, low)
    if len(chosen) < parts:
        return chosen
    chosen = _cut(pieces, high)
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        tried = _cut(pieces, middle)
        if len(tried) < parts:
            chosen, high = tried, middle
        else:
            low = middle
    return chosen


def shares_of(
    null_fraction: float, known: Sequence[KnownValue], bounds: Sequence[int]
) -> tuple[float, ...]:
    """The shares of the rows in the ranges that bounds at these positions make; they add up to 1.

    Equal ones when nothing is known.
    """
    shares = [0.0] * (len(bounds) + 1)
    at = 0
    for position, weight in _pieces(_share(null_fraction), known):
        while at < len(bounds) and position >= bounds[at]:
            at += 1
        shares[at] += weight
    total = sum(shares)
    return tuple(share / total if total else 1 / len(shares) for share in shares)


def _cut(pieces: Sequence[tuple[int, float]], limit: float) -> tuple[int, ...]:
    """Fill each range up to `limit`; a piece that is heavier is a range of its own."""
    bounds = []
    filled = pieces[0][1]
    for position, weight in pieces[1:]:
        if filled and filled + weight > limit:
            bounds.append(position)
            filled = 0.0
        filled += weight
    return tuple(bounds)


def _pieces(null_fraction: float, known: Sequence[KnownValue]) -> list[tuple[int, float]]:
    """What cannot be cut: (position where it begins, share of the rows); first the NULLs, at -1."""
    pieces = [(-1, null_fraction)]
    for position, weight in enumerate(_weights(null_fraction, known)):
        if known[position].usable:
            pieces.append((position, weight))
        else:
            begin, before = pieces[-1]
            pieces[-1] = begin, before + weight
    return pieces


def _weights(null_fraction: float, known: Sequence[KnownValue]) -> list[float]:
    """For each value the share of the rows that are it, or lie between it and the next one."""
    weights = [_share(value.frequency) for value in known]
    rest = max(0.0, 1.0 - null_fraction - sum(weights))
    buckets = sum(value.copies for value in known) - 1
    if buckets < 1:
        # Nobody knows where the other rows are.
        return [weight + rest / len(known) for weight in weights]
    bucket = rest / buckets
    bounds = [position for position, value in enumerate(known) if value.copies]
    for position in bounds:
        weights[position] += bucket * (known[position].copies - 1)
    for begin, end in pairwise(bounds):
        # Common values lie inside of the bucket and cut it.
        for position in range(begin, end):
            weights[position] += bucket / (end - begin)
    return weights


def _share(figure: float) -> float:
    return min(figure, 1.0) if math.isfinite(figure) and figure > 0 else 0.0
