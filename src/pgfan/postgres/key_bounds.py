"""Bounds for a key that has several parts: columns, an index's expression, ctid.

A value that many rows have is divided by the part after it, so what is wanted is where rows of
equal shares begin in the order of all parts. No statistics tell that; a sample of a few hundred
blocks does, in one query, NULLs and hot values like all others. When the statistics of the first
part show no value with more than its share, they are enough, and nothing is sampled.

As in `pgfan.postgres.bounds`, the server reads the texts back in the order of the types' own btree
operators: bounds are good whatever the sample has missed.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.plan.column_ranges import ColumnRanges
from pgfan.plan.keys import heaviest_first
from pgfan.postgres.bounds import (
    DIV,
    LE,
    PORTABLE_TEXT,
    STORED_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    KeyColumn,
    bounds_of,
    read_column,
)
from pgfan.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.plan.column_ranges import Bound
    from pgfan.ports import Session
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.facts import CatalogFacts

_GT = "OPERATOR(pg_catalog.>)"
_TIMES = "OPERATOR(pg_catalog.*)"
_MINUS = "OPERATOR(pg_catalog.-)"
_TID = "pg_catalog.tid"


class KeyBounds(Struct, frozen=True):
    """How a key cuts its relation: `shares` of the rows for each ordinal, which add up to 1."""

    ranges: ColumnRanges
    shares: tuple[float, ...]
    rows: float
    """About how many rows the relation has."""

    @property
    def total(self) -> int:
        """How many ranges there are."""
        return len(self.ranges.values) + 1

    @property
    def largest(self) -> float:
        """The share of the range that has the most rows: no chunk can have fewer."""
        return max(self.shares)


class _Part(Struct, frozen=True):
    value: str
    type: str
    collate: str


def read_key_bounds(
    session: Session, candidate: Candidate, facts: CatalogFacts, parts: int
) -> KeyBounds:
    """At most `parts` ranges of about equal shares, the heavy ones first.

    Raises ValueError for a column that has no use as a key, as `read_bounds` does.
    """
    oid = facts.relations[candidate.relation or ()].oid
    key = (candidate, *candidate.then)
    columns = [_column(session, oid, one, facts) for one in key if one.key != "ctid"]
    first = bounds_of(session, columns[0], parts)
    values: tuple[Bound, ...] = tuple((text,) for text in first.bounds)
    shares, rows = first.shares, first.rows
    if candidate.then and columns[0].sampled and len(heaviest_first(shares)):
        described = [_Part(one.value, one.type, one.collate) for one in columns]
        if key[-1].key == "ctid":
            described.append(_Part("t.ctid", _TID, ""))
        values, shares = _from_sample(session, columns[0], described, parts)
    ctid_at = next((at for at, one in enumerate(key) if one.key == "ctid"), -1)
    order = heaviest_first(shares)
    ranges = ColumnRanges(values, order, ctid_at)
    return KeyBounds(ranges, tuple(shares[at] for at in order) if order else shares, rows)


def _column(session: Session, oid: int, one: Candidate, facts: CatalogFacts) -> KeyColumn:
    if one.key == "column":
        return read_column(session, oid, one.stored_as or "")
    expression = facts.expressions[oid]
    return read_column(session, oid, expression.attribute, expression)


def _from_sample(
    session: Session, column: KeyColumn, key: Sequence[_Part], parts: int
) -> tuple[tuple[Bound, ...], tuple[float, ...]]:
    rows = session.execute(PORTABLE_TEXT + _sample_sql(column, key, parts))[-1].rows
    found: dict[Bound, int] = {}
    for seen, at, *texts in rows:
        while texts and texts[-1] is None:  # the beginning of these rows, since NULLs come first
            texts.pop()
        if texts:
            found.setdefault(tuple(texts), int(at or 0))
        total = int(seen or 0)
    bounds = _read_back(session, key, list(found))
    if len(bounds) < len(found) or not bounds:
        return tuple(bounds), (1 / (len(bounds) + 1),) * (len(bounds) + 1)
    begins = (0, *(found[bound] for bound in bounds), total)
    return tuple(bounds), tuple((hi - lo) / total for lo, hi in pairwise(begins))


def _sample_sql(column: KeyColumn, key: Sequence[_Part], parts: int) -> str:
    """Rows of rows seen, the number of the first of them at a bound, and the bound's texts."""
    values = ", ".join(f"{part.value}::{part.type} AS v{n}" for n, part in enumerate(key))
    order = ", ".join(f"s.v{n}{part.collate} NULLS FIRST" for n, part in enumerate(key))
    names = ", ".join(f"s.v{n}" for n in range(len(key)))
    short = " AND ".join(
        f"(s.v{n} IS NULL OR pg_catalog.pg_column_size(s.v{n}) {LE} {STORED_BYTES_MAX})"
        for n in range(len(key))
    )
    legible = " AND ".join(
        f"pg_catalog.length(pg_catalog.format('%s', s.v{n})) {LE} {TEXT_CHARACTERS_MAX}"
        for n in range(len(key))
    )
    texts = ", ".join(
        f"CASE WHEN s.v{n} IS NOT NULL THEN pg_catalog.format('%s', s.v{n}) END"
        for n in range(len(key))
    )
    return f"""
WITH sampled AS MATERIALIZED (
    SELECT {values} FROM {column.sample[0]}
), numbered AS (
    SELECT {names}, pg_catalog.row_number() OVER (ORDER BY {order}) {_MINUS} 1 AS n,
        pg_catalog.count(*) OVER () AS seen
    FROM sampled AS s WHERE {short}
), cuts AS (
    SELECT * FROM numbered AS s WHERE s.n {_GT} 0
        AND (s.n {_TIMES} {parts} {DIV} s.seen)
            {_GT} ((s.n {_MINUS} 1) {_TIMES} {parts} {DIV} s.seen)
)
SELECT pg_catalog.max(s.seen), pg_catalog.min(s.n), {texts}
FROM cuts AS s WHERE {legible} GROUP BY {names} ORDER BY {order}"""


def _read_back(session: Session, key: Sequence[_Part], bounds: Sequence[Bound]) -> list[Bound]:
    """The bounds in the key's order under the session's settings; equal ones are one."""
    if not bounds:
        return []
    rows = ", ".join(
        "({})".format(
            ", ".join(
                [str(number), str(len(bound))]
                + [
                    f"{literal(bound[n] if n < len(bound) else None)}::{part.type}"
                    for n, part in enumerate(key)
                ]
            )
        )
        for number, bound in enumerate(bounds)
    )
    names = ", ".join(f"v{n}" for n in range(len(key)))
    order = ", ".join(f"g.v{n}{part.collate} NULLS FIRST" for n, part in enumerate(key))
    grouped = ", ".join(f"g.v{n}" for n in range(len(key)))
    found = session.execute(
        f"SELECT pg_catalog.min(g.number) FROM (VALUES {rows}) AS g(number, length, {names}) "
        f"GROUP BY {grouped} ORDER BY {order}"
    )[0].rows
    return [bounds[int(number or 0)] for (number,) in found]
