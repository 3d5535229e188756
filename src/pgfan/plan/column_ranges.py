"""Ranges of what a column, several columns, or an expression of a row come to, as SQL.

Rows are in the order of the key's parts, each in its own btree order, NULLs first. A bound is a
row of values; one with fewer values than the key has parts stands before all rows that begin with
them. So a value that many rows have may be a bound of its own, and be divided further by the next
part: by another column, or by ctid.

Every row lies in exactly one range, whatever its NULLs: the condition for "from L up to H" is
"at or after L" and not "at or after H", and where the second is written out it says the same. It
is written so that an index on the parts, or a scan of a range of tids, can use it. See "Row
Constructor Comparison" in PostgreSQL's manual.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from pgfan.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.plan.ranges import Range

Bound: TypeAlias = tuple[str | None, ...]
"""Values of the first parts of the key, as text without quotes; None is NULL."""


class ColumnRanges(Struct, frozen=True):
    """The bounds b1 < b2 < ... make the ranges [.., b1), [b1, b2), ..., [bk, ..), numbered from 0.

    Ordinal i stands for range number `order`[i], or i when `order` is empty. The first range has
    the rows whose parts are all NULL.
    """

    values: tuple[Bound, ...]
    order: tuple[int, ...] = ()
    ctid_at: int = -1
    """Which part is ctid, if one is: a scan of a range of tids bears no OR ... IS NULL."""
    kind: Literal["column"] = "column"

    @classmethod
    def of(cls, values: Sequence[str]) -> ColumnRanges:
        """Bounds of one column."""
        return cls(tuple((value,) for value in values))

    def condition(self, parts: tuple[str, ...], piece: Range) -> str:
        """SQL that is true for the rows of `piece`; `parts` are the key's, as SQL.

        With the first few parts only, it is also true for rows that agree in these with some of
        `piece`: for relations that a join equates in no more than these.
        """
        found = [self._between(parts, lo, hi) for lo, hi in self._runs(piece)]
        return found[0] if len(found) == 1 else f"({' OR '.join(found)})"

    def _runs(self, piece: Range) -> Iterator[tuple[int, int]]:
        """The numbers of the ranges as [lo, hi), those that touch together."""
        if not self.order:
            yield piece.lo, piece.hi
            return
        numbers = sorted(self.order[piece.lo : piece.hi])
        gaps = [at for at, (one, two) in enumerate(pairwise(numbers), 1) if two > one + 1]
        for begin, end in pairwise((0, *gaps, len(numbers))):
            yield numbers[begin], numbers[end - 1] + 1

    def _between(self, parts: tuple[str, ...], lo: int, hi: int) -> str:
        """The rows from range number `lo` up to, not including, range number `hi`."""
        low = self.values[lo - 1][: len(parts)] if lo else ()
        high = self.values[hi - 1] if hi <= len(self.values) else ()
        is_cut = len(high) > len(parts)
        high = high[: len(parts)]
        shared = 0
        while shared < min(len(low), len(high)) and low[shared] == high[shared]:
            shared += 1
        conditions = [_equal(*pair) for pair in zip(parts[:shared], low[:shared], strict=True)]
        if len(low) > shared:
            conditions.append(_at_or_after(parts[shared:], low[shared:]))
        if len(high) > shared:
            may_be_null = len(low) == shared or low[shared] is None
            conditions.append(
                _before(
                    parts[shared:],
                    high[shared:],
                    with_null=may_be_null and shared != self.ctid_at,
                    or_equal=is_cut,
                )
            )
        if len(conditions) == 1 and conditions[0].startswith("("):
            return conditions[0]
        return f"({' AND '.join(conditions)})" if conditions else "true"


def _equal(part: str, value: str | None) -> str:
    if value is None:
        return f"{part} IS NULL"
    return f"{part} OPERATOR(pg_catalog.=) {literal(value)}"


def _at_or_after(parts: tuple[str, ...], bound: Bound) -> str:
    """True for the rows at or after `bound`; false or NULL for all others."""
    if None not in bound:
        return _compared(">=", parts, bound)
    first, rest = bound[0], bound[1:]
    further = _at_or_after(parts[1:], rest) if rest else "true"
    if first is None:
        return f"({parts[0]} IS NOT NULL OR {further})"
    after = _compared(">", parts, (first,))
    return f"({after} OR ({_equal(parts[0], first)} AND {further}))"


def _before(parts: tuple[str, ...], bound: Bound, *, with_null: bool, or_equal: bool) -> str:
    """True for the rows before `bound`, or for those that begin with it, too.

    `with_null`: the first part may be NULL, which comes before all else. Rows that agree with more
    than the first value may be let through when `or_equal`.
    """
    part, first, rest = parts[0], bound[0], bound[1:]
    if first is None:
        if not rest:
            return f"{part} IS NULL" if or_equal else "false"
        further = _before(parts[1:], rest, with_null=True, or_equal=or_equal)
        return f"({part} IS NULL AND {further})"
    found = _compared("<=" if rest or or_equal else "<", parts, (first,))
    if with_null:
        found = f"({found} OR {part} IS NULL)"
    if rest and not or_equal:
        # NULL where a later part is: that comes before every value.
        found += f" AND ({_at_or_after(parts, bound)}) IS NOT TRUE"
    return found


def _compared(operator: str, parts: tuple[str, ...], bound: Bound) -> str:
    left = ", ".join(parts[: len(bound)])
    right = ", ".join(literal(value) for value in bound)
    sql = f"OPERATOR(pg_catalog.{operator})"
    return f"ROW({left}) {sql} ROW({right})" if len(bound) > 1 else f"{left} {sql} {right}"
