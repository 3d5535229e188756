"""Values of a column that cut a relation into ranges of about equal numbers of rows.

They come from what ANALYZE keeps (the view pg_stats in PostgreSQL's manual). Where there is
nothing, or the relation has grown to more than twice its size since, a sample of a few hundred
blocks takes its place; no relation of more than a thousand blocks is read whole. Which values are
taken is decided in `pgfan.plan.bounds`.

Bounds are good whatever the statistics say: the server reads the texts back, in the order of the
column's own type and collation, before they are returned. Operators are pg_catalog's, or those of
the type's default btree order, which no search_path changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from random import random
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import DatabaseError
from pgfan.plan.bounds import KnownValue, choose_bounds, shares_of
from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.ports import Session
    from pgfan.sql.facts import IndexExpression

READ_WHOLE_BLOCKS_MAX = 1_000
SAMPLE_BLOCKS = 400
TABLESAMPLE_BLOCKS_MAX = 500_000
PLACES_PER_ROW = 1.3
"""Places of a block that are looked at for each row that it should have: some are empty."""
PLACES_MAX = 291
"""A block has no more (MaxHeapTuplesPerPage)."""
SAMPLE_PLACES_MAX = 6_000
"""Of all blocks together; each takes some microseconds."""
TEXT_CHARACTERS_MAX = 500
STORED_BYTES_MAX = 4 * TEXT_CHARACTERS_MAX
"""A wider value is no bound, so it is not fetched from where PostgreSQL keeps long values."""
BUCKETS_PER_PART = 8
BUCKETS_MAX = 4_096
GROWTH_MAX = 2.0
UNDEFINED_FUNCTION = "42883"
INSUFFICIENT_PRIVILEGE = "42501"

EQ = "OPERATOR(pg_catalog.=)"
NE = "OPERATOR(pg_catalog.<>)"
LE = "OPERATOR(pg_catalog.<=)"
DIV = "OPERATOR(pg_catalog./)"

PORTABLE_TEXT = (
    # Forms that every session reads in the same way, whatever its own settings are.
    "SET LOCAL DateStyle = 'ISO'; SET LOCAL IntervalStyle = 'iso_8601'; "
    "SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; "
)


@dataclass(frozen=True)
class ColumnBounds:
    """Where to cut a relation by one of its columns.

    The bounds b1 < b2 < ... < bk make k + 1 ranges: NULLs and all before b1, [b1, b2), ...,
    [bk, end). There may be none.
    """

    bounds: tuple[str, ...]
    """Strictly ascending in the column's btree order: text forms of its type, without quotes."""
    rows: float
    """About how many rows the relation has; -1 when that is unknown."""
    shares: tuple[float, ...] = field(default=(), compare=False)
    """Of the rows in each range, as far as statistics tell; they add up to 1."""


class KeyColumn(Struct, frozen=True):
    """A column, or an expression of an index, as what is asked of the server needs it."""

    relation: str
    """Schema and name, quoted."""
    schema: str
    table: str
    name: str
    """Schema, relation and attribute that have the statistics: for an expression the index's."""
    value: str
    """SQL, in a query of the relation as t."""
    type: str
    """Base type (a domain's checks do not matter here), qualified and quoted."""
    collate: str
    """A COLLATE clause, or nothing."""
    inherited: bool
    sampled: bool
    """Whether a sample can be taken: not of views or foreign tables."""
    blocks: int
    rows: float
    stale: bool

    has_tids: bool = False
    """Whether its rows have places in one heap."""

    @property
    def sample(self) -> tuple[str, float]:
        """What a sample is taken from, as SQL after FROM, and how many percent of the blocks.

        TABLESAMPLE looks at the number of every block there is, 15 ns each. In a large heap the
        rows of a few hundred blocks are asked for by their places.
        """
        if self.blocks <= READ_WHOLE_BLOCKS_MAX:
            return f"{self.relation} AS t", 100.0
        if self.blocks <= TABLESAMPLE_BLOCKS_MAX or not self.has_tids:
            percent = 100.0 * SAMPLE_BLOCKS / self.blocks
            return f"{self.relation} AS t TABLESAMPLE pg_catalog.system ({percent:.9f})", percent
        known = self.rows > 0
        places = ceil(self.rows / self.blocks * PLACES_PER_ROW) if known else PLACES_MAX
        places = max(1, min(places, PLACES_MAX))
        every = ceil(places * SAMPLE_BLOCKS / SAMPLE_PLACES_MAX)
        step = self.blocks / SAMPLE_BLOCKS
        blocks = ",".join(str(int((at + random()) * step)) for at in range(SAMPLE_BLOCKS))  # noqa: S311
        tids = (
            "SELECT pg_catalog.format('(%s,%s)', b.b, o.o)::pg_catalog.tid "
            f"FROM pg_catalog.unnest('{{{blocks}}}'::pg_catalog.int8[]) AS b(b) "
            f"CROSS JOIN pg_catalog.generate_series(1, {places}, {every}) AS o(o)"
        )
        return f"{self.relation} AS t WHERE t.ctid {EQ} ANY (ARRAY({tids}))", 100 / step / every


def read_bounds(session: Session, relation_oid: int, column: str, parts: int) -> ColumnBounds:
    """At most `parts` - 1 bounds on `column`; fewer when too few values are known.

    `session` is outside of a transaction and stays so; the settings in force are those under which
    chunks will read the bounds. A common value is a range of its own, up to the next value that is
    known. Values of more than 500 characters are never bounds.

    Raises ValueError for what has no use as a key: no such relation or column, a collation that is
    not deterministic, arrays, rows, types without a btree order. DatabaseError when the user may
    not read the column.
    """
    return bounds_of(session, read_column(session, relation_oid, column), parts)


def bounds_of(session: Session, found: KeyColumn, parts: int) -> ColumnBounds:
    """The same for what `read_column` has read."""
    if parts < 2:
        return ColumnBounds((), found.rows, (1.0,))
    try:
        answer = None if found.stale else _from_statistics(session, found, parts)
        if answer is None:
            answer = _from_sample(session, found, parts)
    except DatabaseError as error:
        if error.sqlstate == UNDEFINED_FUNCTION:
            raise ValueError(f"{found.type} has no btree order") from error
        raise
    return answer


def _from_statistics(session: Session, column: KeyColumn, parts: int) -> ColumnBounds | None:
    """None when there are none for this column, or not for this user."""
    try:
        rows = session.execute(PORTABLE_TEXT + _statistics_sql(column))[-1].rows
    except DatabaseError as error:
        if error.sqlstate == INSUFFICIENT_PRIVILEGE:  # some take pg_stats away from everybody
            return None
        raise
    null_fraction = float(rows[0][0] or 0.0) if rows else 0.0
    known = [row[1:] for row in rows if row[-1] is not None]
    if not known and null_fraction < 1.0:
        return None
    bounds, shares = _choose(session, column, null_fraction, known, parts)
    return ColumnBounds(bounds, column.rows, shares)


def _from_sample(session: Session, column: KeyColumn, parts: int) -> ColumnBounds:
    if not column.sampled:
        return ColumnBounds((), column.rows, (1.0,))
    source, percent = column.sample
    buckets = min(BUCKETS_PER_PART * parts, BUCKETS_MAX)
    rows = session.execute(PORTABLE_TEXT + _sample_sql(column, source, buckets))[-1].rows
    seen, nulls = int(rows[0][0] or 0), int(rows[0][1] or 0)
    known = [row[2:] for row in rows if row[-1] is not None]
    bounds, shares = _choose(session, column, nulls / seen if seen else 0.0, known, parts)
    return ColumnBounds(bounds, seen * 100.0 / percent, shares)


def _choose(
    session: Session,
    column: KeyColumn,
    null_fraction: float,
    known: Sequence[tuple[str | None, ...]],
    parts: int,
) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Choose among (text or None, frequency, copies), and have the server read the texts back.

    The bounds, and the shares of the rows in the ranges that they make.
    """
    values = [
        KnownValue(float(frequency or 0.0), int(copies or 0), usable=text is not None)
        for text, frequency, copies in known
    ]
    positions = choose_bounds(null_fraction, values, parts)
    chosen = [literal(known[at][0]) for at in positions]
    if not chosen:
        return (), (1.0,)
    pairs = ", ".join(f"({text}::pg_catalog.text, {text}::{column.type})" for text in chosen)
    rows = session.execute(
        f"SELECT pg_catalog.min(g.t) FROM (VALUES {pairs}) AS g(t, v) "
        f"WHERE g.v IS NOT NULL GROUP BY g.v ORDER BY g.v{column.collate}"
    )[0].rows
    bounds = tuple(text for (text,) in rows if text is not None)
    if len(bounds) < len(positions):  # two texts are one value as these settings read them
        return bounds, (1 / (len(bounds) + 1),) * (len(bounds) + 1)
    return bounds, shares_of(null_fraction, values, positions)


def _statistics_sql(column: KeyColumn) -> str:
    """Rows of null_frac, text, frequency, copies; one with NULLs when no value is known.

    The arrays are of a type that SQL cannot name, so they go through text; the server writes and
    reads it.
    """
    array = f"pg_catalog.text::{column.type}[]"
    return f"""
WITH stats AS MATERIALIZED (
    SELECT s.null_frac, s.most_common_vals::{array} AS common, s.most_common_freqs AS frequencies,
        s.histogram_bounds::{array} AS histogram
    FROM pg_catalog.pg_stats s
    WHERE s.schemaname {EQ} {literal(column.schema)} AND s.tablename {EQ} {literal(column.table)}
        AND s.attname {EQ} {literal(column.name)} AND s.inherited {EQ} {column.inherited}
), known AS (
    SELECT m.v, m.f::pg_catalog.float8 AS frequency, 0 AS copies FROM stats CROSS JOIN LATERAL
        ROWS FROM (pg_catalog.unnest(common), pg_catalog.unnest(frequencies)) AS m(v, f)
    UNION ALL
    SELECT h.v, 0, 1 FROM stats CROSS JOIN LATERAL pg_catalog.unnest(histogram) AS h(v)
), merged AS (
    SELECT v, pg_catalog.sum(frequency) AS frequency, pg_catalog.sum(copies) AS copies
    FROM known WHERE v IS NOT NULL GROUP BY v
)
SELECT s.null_frac, {_bound_text("m.v")}, m.frequency, m.copies
FROM stats s LEFT JOIN merged m ON true ORDER BY m.v{column.collate}"""


def _sample_sql(column: KeyColumn, source: str, buckets: int) -> str:
    """Rows of seen rows, NULLs among them, text, 0, copies; one with NULLs when there is no value.

    No REPEATABLE: with one seed every partition would give the same block numbers.
    """
    steps = f"pg_catalog.generate_series(0, {buckets}) AS g(i)"
    fractions = f"ARRAY(SELECT g.i::pg_catalog.float8 {DIV} {buckets} FROM {steps})"
    return f"""
WITH sampled AS MATERIALIZED (
    SELECT {column.value}::{column.type} AS v FROM {source}
), counted AS (
    SELECT pg_catalog.count(*) AS seen, pg_catalog.count(*) FILTER (WHERE v IS NULL) AS nulls,
        pg_catalog.percentile_disc({fractions}) WITHIN GROUP (ORDER BY v{column.collate})
            FILTER (WHERE pg_catalog.pg_column_size(v) {LE} {STORED_BYTES_MAX}) AS histogram
    FROM sampled
), merged AS (
    SELECT h.v, pg_catalog.count(*) AS copies
    FROM counted CROSS JOIN LATERAL pg_catalog.unnest(histogram) AS h(v)
    WHERE h.v IS NOT NULL GROUP BY h.v
)
SELECT c.seen, c.nulls, {_bound_text("m.v")}, 0, m.copies
FROM counted c LEFT JOIN merged m ON true ORDER BY m.v{column.collate}"""


def _bound_text(value: str) -> str:
    """What the type's output function writes (a cast to text may be a user's), NULL when long."""
    text = f"pg_catalog.format('%s', {value})"
    return f"CASE WHEN pg_catalog.length({text}) {LE} {TEXT_CHARACTERS_MAX} THEN {text} END"


def read_column(
    session: Session, relation_oid: int, column: str, expression: IndexExpression | None = None
) -> KeyColumn:
    """A column by its name, or an expression; see `read_bounds` for what is raised."""
    owner_oid = relation_oid if expression is None else expression.index_oid
    rows = session.execute(_column_sql(relation_oid, owner_oid, column))[0].rows
    if not rows:
        raise ValueError(f"relation {relation_oid} has no column {column}")
    kind, relation, schema, table, type_name, keyable, collate, deterministic = rows[0][:8]
    is_heap = rows[0][8]
    if deterministic == "f":
        raise ValueError(f"the collation of {column} is not deterministic")
    if keyable != "t":
        raise ValueError(f"{type_name} is no type to cut ranges of")
    members, foreign, *sizes = (float(value or 0) for value in rows[0][9:])
    blocks, pages, pages_known, rows_known, rows_then = sizes
    if pages_known:
        rows_now = rows_known / pages_known * blocks
    else:
        rows_now = -1.0 if blocks or foreign or kind == "v" else 0.0
    inherited = kind == "p" or members > 1
    grown = blocks > GROWTH_MAX * pages
    if kind == "p":  # its statistics may be older than those of its partitions
        grown = grown or rows_then < 0 or rows_now > GROWTH_MAX * rows_then
    if kind == "f":
        rows_now = rows_then
    return KeyColumn(
        relation=relation or "",
        schema=schema or "",
        table=table or "",
        name=column,
        value=f"t.{identifier(column)}" if expression is None else f"({expression.sql})",
        type=type_name or "",
        collate=collate or "",
        inherited=inherited,
        sampled=kind in {"r", "m", "p"} and not foreign,
        blocks=int(blocks),
        rows=rows_now,
        stale=grown,
        has_tids=kind in {"r", "m"} and members == 1 and is_heap == "t",
    )


def _column_sql(relation_oid: int, owner_oid: int, column: str) -> str:
    """One row, or none: the relation, the type, then figures of the relation and its children.

    The column is one of the relation, or of an index of it.
    """
    oid, owner = literal(relation_oid), literal(owner_oid)
    block = "pg_catalog.current_setting('block_size')::pg_catalog.int8"
    return f"""
WITH RECURSIVE family (oid) AS (
    SELECT {oid}::pg_catalog.oid
    UNION SELECT i.inhrelid FROM family f JOIN pg_catalog.pg_inherits i ON i.inhparent {EQ} f.oid
), types (oid, base, root) AS (
    SELECT t.oid, t.typbasetype, t.typbasetype {EQ} 0 FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_type t ON t.oid {EQ} a.atttypid
    WHERE a.attrelid {EQ} {owner} AND a.attname {EQ} {literal(column)}
        AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
    UNION ALL SELECT t.oid, t.typbasetype, t.typbasetype {EQ} 0 FROM types d
    JOIN pg_catalog.pg_type t ON t.oid {EQ} d.base
), members AS (
    SELECT c.relkind, c.relpages, c.reltuples,
        COALESCE(pg_catalog.pg_relation_size(c.oid), 0) {DIV} {block} AS blocks,
        c.reltuples OPERATOR(pg_catalog.>=) 0 AND c.relpages OPERATOR(pg_catalog.>) 0
            AND c.relkind {NE} 'p' AS known
    FROM family f JOIN pg_catalog.pg_class c ON c.oid {EQ} f.oid
)
SELECT c.relkind, pg_catalog.format('%I.%I', n.nspname, c.relname), n.nspname, w.relname,
    pg_catalog.format('%I.%I', s.nspname, t.typname),
    t.typtype {EQ} ANY ('{{b,e,r,m}}'::pg_catalog."char"[]) AND t.typcategory {NE} 'A',
    CASE WHEN k.oid IS NOT NULL
        THEN pg_catalog.format(' COLLATE %I.%I', o.nspname, k.collname) END,
    k.collisdeterministic,
    EXISTS (SELECT FROM pg_catalog.pg_am e WHERE e.oid {EQ} c.relam AND e.amname {EQ} 'heap'), m.*
FROM types d JOIN pg_catalog.pg_type t ON t.oid {EQ} d.oid AND d.root
JOIN pg_catalog.pg_namespace s ON s.oid {EQ} t.typnamespace
JOIN pg_catalog.pg_class c ON c.oid {EQ} {oid}
JOIN pg_catalog.pg_namespace n ON n.oid {EQ} c.relnamespace
JOIN pg_catalog.pg_class w ON w.oid {EQ} {owner}
JOIN pg_catalog.pg_attribute a ON a.attrelid {EQ} w.oid AND a.attname {EQ} {literal(column)}
LEFT JOIN pg_catalog.pg_collation k ON k.oid {EQ} a.attcollation
LEFT JOIN pg_catalog.pg_namespace o ON o.oid {EQ} k.collnamespace
CROSS JOIN (
    SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE relkind {EQ} 'f'),
        pg_catalog.sum(blocks), pg_catalog.sum(relpages) FILTER (WHERE relkind {NE} 'p'),
        pg_catalog.sum(relpages) FILTER (WHERE known),
        pg_catalog.sum(reltuples::pg_catalog.float8) FILTER (WHERE known),
        (SELECT p.reltuples FROM pg_catalog.pg_class p WHERE p.oid {EQ} {oid})
    FROM members
) AS m"""
