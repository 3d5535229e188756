"""Two tables compared as multisets of rows, on the server.

A row is compared by its text, as record_out writes it: that works for types without equality (json,
xml, point), tells NULL from an empty string, and finds what an operator would call equal, such as
1.0 and 1.00. One pass counts each text up for one table and down for the other, which is EXCEPT ALL
both ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from msgspec import Struct

from pgfan.quoting import identifier, literal, qualified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.postgres.session import PostgresSession

SHOWN_MAX = 10
ROW_CHARS_MAX = 2000
"""Of a row that is shown."""

COLUMNS: LiteralString = """
SELECT k.attname, pg_catalog.format_type(k.atttypid, k.atttypmod) FROM pg_catalog.pg_attribute k
WHERE k.attrelid = {name}::pg_catalog.regclass AND k.attnum > 0 AND NOT k.attisdropped
ORDER BY k.attnum"""

DIFFERENCES: LiteralString = """
WITH counted (line, times) AS (
    SELECT line, pg_catalog.sum(side) FROM (
        SELECT {row} AS line, 1 AS side FROM {left} AS t
        UNION ALL SELECT {row}, -1 FROM {right} AS t) AS both_sides
    GROUP BY line HAVING pg_catalog.sum(side) <> 0
), numbered AS (
    SELECT line, times, pg_catalog.row_number() OVER same_side AS number,
        pg_catalog.sum(pg_catalog.abs(times)) OVER (PARTITION BY times > 0) AS total
    FROM counted WINDOW same_side AS (PARTITION BY times > 0 ORDER BY line)
)
SELECT times > 0, pg_catalog.left(line, {chars}), pg_catalog.abs(times), total FROM numbered
WHERE number <= {shown} ORDER BY 1 DESC, number"""


class Surplus(Struct, frozen=True):
    """Rows that one table has and the other lacks: how many, and the first of them with counts."""

    total: int = 0
    shown: tuple[tuple[str, int], ...] = ()


class Difference(Struct, frozen=True):
    """Rows, or columns in words, of either side; equal when there is nothing in it."""

    left: Surplus = Surplus()
    right: Surplus = Surplus()
    columns: str | None = None

    @property
    def is_none(self) -> bool:
        """Whether the two are the same."""
        return not (self.left.total or self.right.total or self.columns)


def columns_of(session: PostgresSession, table: tuple[str, str]) -> list[tuple[str, str]]:
    """Names and types."""
    rows = session.execute(COLUMNS.replace("{name}", literal(qualified(table))))[0].rows
    return [(name or "", kind or "") for name, kind in rows]


def compare(
    session: PostgresSession,
    left: tuple[str, str],
    right: tuple[str, str],
    columns: Sequence[str],
) -> Difference:
    """The difference in `columns`; with none of them, in the number of rows."""
    of_left, of_right = columns_of(session, left), columns_of(session, right)
    if of_left != of_right:
        words = [", ".join(" ".join(column) for column in side) for side in (of_left, of_right)]
        return Difference(columns=f"({words[0]}) and ({words[1]})")
    row = ", ".join(f"t.{identifier(column)}" for column in columns)
    query = (
        DIFFERENCES.replace("{left}", qualified(left))
        .replace("{right}", qualified(right))
        .replace("{shown}", str(SHOWN_MAX))
        .replace("{chars}", str(ROW_CHARS_MAX))
        .replace("{row}", f'ROW({row})::pg_catalog.text COLLATE pg_catalog."C"')
    )
    rows = session.execute(query)[0].rows
    return Difference(_surplus(rows, "t"), _surplus(rows, "f"))


def _surplus(rows: Sequence[tuple[str | None, ...]], side: str) -> Surplus:
    own = [row for row in rows if row[0] == side]
    if not own:
        return Surplus()
    return Surplus(int(own[0][3] or 0), tuple((row[1] or "", int(row[2] or 0)) for row in own))
