"""Columns whose types give rows a place, and cells of about equal numbers of rows for them.

Types of two extensions: geometry of PostGIS, and earth of earthdistance, a domain over cube. Their
functions and operators are named with the schema that the extension is in, which need not be in
search_path. The cells come from a sample of at most 500 blocks: what ANALYZE keeps of these types
is for their own estimators alone.

Not divided: geography, whose boxes are on the globe and have no corner to stand at; PostgreSQL's
point, and cube as such, because one NaN in their GiST indexes makes scans of the index miss other
rows (PostgreSQL 15 and 18), so a condition that uses the index would lose them. The checks of earth
let no NaN in, and PostGIS's index bears it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from msgspec import Struct

from pgfan.plan.cells import REACH, Cells, coordinates, grow
from pgfan.postgres.bounds import PORTABLE_TEXT
from pgfan.quoting import identifier, qualified
from pgfan.sql.facts import SpaceFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgfan.plan.cells import Space
    from pgfan.ports import Session
    from pgfan.sql.facts import RelationFacts

SAMPLE_BLOCKS = 500
SAMPLE_ROWS = 8_192
_TYPES = ("geometry", "earth")

SPACES: LiteralString = """
SELECT k.attrelid::pg_catalog.int8, k.attname, CASE WHEN y.typname = 'earth' THEN 'earth'
        WHEN k.atttypmod > 0 AND ((k.atttypmod >> 2) & 63) = 1 THEN 'point' ELSE 'geometry' END,
    n.nspname,
    EXISTS (SELECT FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_opclass o ON o.oid = (i.indclass::pg_catalog.oid[])[0]
        JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod AND m.amname = 'gist'
        WHERE i.indrelid = k.attrelid AND i.indisvalid AND i.indpred IS NULL AND o.opcdefault
            AND (i.indkey::pg_catalog.int2[])[0] = k.attnum)
FROM pg_catalog.pg_attribute k JOIN pg_catalog.pg_type y ON y.oid = k.atttypid
JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN y.typtype = 'd' THEN y.typbasetype ELSE y.oid END
JOIN pg_catalog.pg_namespace n ON n.oid = b.typnamespace
JOIN pg_catalog.pg_depend d ON d.objid = y.oid AND d.deptype = 'e'
    AND d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
    AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
WHERE k.attrelid = ANY ('{oids}'::pg_catalog.oid[]) AND k.attnum > 0 AND NOT k.attisdropped
    AND CASE WHEN y.typname = 'geometry' THEN e.extname = 'postgis'
        WHEN y.typname = 'earth' THEN e.extname = 'earthdistance' AND 3 = (
            SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint c
            WHERE c.contypid = y.oid AND c.convalidated
                AND c.conname IN ('not_point', 'not_3d', 'on_surface'))
        END"""
"""Columns of such types. An earth that lost its checks could be anything. Of a type modifier of
geometry the bits from 2 to 7 are the kind (liblwgeom.h); 1 is a point."""

_EXTENT: LiteralString = """
WITH RECURSIVE family (oid) AS (
    SELECT {oid}::pg_catalog.oid
    UNION SELECT i.inhrelid FROM family f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid
)
SELECT pg_catalog.sum(pg_catalog.pg_relation_size(c.oid)
        / pg_catalog.current_setting('block_size')::pg_catalog.int8)::pg_catalog.int8,
    pg_catalog.bool_or(c.relkind = 'f')
FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.oid"""


class SampledCells(Struct, frozen=True):
    """How a relation is cut by one of its columns; `rows` is about how many rows it has."""

    bounds: Cells
    rows: float

    @property
    def is_one(self) -> bool:
        """Whether there is a single cell: there are too few places to cut between."""
        return self.bounds.total <= 2


def read_spaces(
    session: Session, relations: Iterable[RelationFacts]
) -> dict[tuple[int, str], SpaceFacts]:
    """By oid and column; nothing is asked of the server when no type has such a name."""
    oids = {
        relation.oid
        for relation in relations
        if any(type_name(column.type) in _TYPES for column in relation.columns)
    }
    if not oids:
        return {}
    listed = "{" + ",".join(map(str, sorted(oids))) + "}"
    rows = session.execute(SPACES.replace("{oids}", listed))[-1].rows
    return {
        (int(oid or 0), column or ""): SpaceFacts(_space(space), schema or "", indexed == "t")
        for oid, column, space, schema, indexed in rows
    }


def _space(text: str | None) -> Space:
    match text:
        case "geometry" | "point" | "earth":
            return text
        case _:
            raise AssertionError(f"{text} is no space")


def type_name(formatted: str) -> str:
    """The name that format_type prints, without its schema."""
    return formatted.rpartition(".")[2]


def read_cells(
    session: Session, relation: RelationFacts, column: str, space: SpaceFacts, parts: int
) -> SampledCells:
    """At most `parts` cells of about equal numbers of rows.

    DatabaseError when the user may not read the column. A relation with foreign tables in it is
    not sampled: it is one cell.
    """
    blocks, foreign = session.execute(_EXTENT.replace("{oid}", str(relation.oid)))[-1].rows[0]
    percent = 100.0
    if int(blocks or 0) > SAMPLE_BLOCKS:
        percent = 100.0 * SAMPLE_BLOCKS / int(blocks or 0)
    rows: Sequence[tuple[str | None, ...]] = ()
    if foreign != "t":
        sql = PORTABLE_TEXT + _sample(relation, column, space, percent)
        rows = session.execute(sql)[-1].rows
    seen = float(rows[0][0] or 0) if rows else 0.0
    reach = float(REACH)
    points = [tuple(float(axis or "nan") for axis in row[1:]) for row in rows]
    inside = [point for point in points if all(-reach <= axis < reach for axis in point)]
    cells = Cells(space.space, space.schema, grow(inside, parts))
    return SampledCells(cells, seen * 100.0 / percent)


def _sample(relation: RelationFacts, column: str, space: SpaceFacts, percent: float) -> str:
    """Every n-th row of some blocks, the same ones each time; how many there were comes first."""
    name = qualified((relation.schema, relation.name))
    some = f" TABLESAMPLE SYSTEM ({percent:.9f}) REPEATABLE (0)" if percent < 100.0 else ""
    axes = coordinates(space.space, space.schema, f"t.{identifier(column)}")
    places = ", ".join(f"{axis} AS p{number}" for number, axis in enumerate(axes))
    kept = ", ".join(f"p{number}" for number in range(len(axes)))
    return f"""
SELECT seen, {kept} FROM (
    SELECT pg_catalog.count(*) OVER () AS seen, pg_catalog.row_number() OVER () AS number, {places}
    FROM {name} AS t{some}
) AS s WHERE number OPERATOR(pg_catalog.%)
    (seen OPERATOR(pg_catalog./) {SAMPLE_ROWS} OPERATOR(pg_catalog.+) 1) OPERATOR(pg_catalog.=) 0"""
