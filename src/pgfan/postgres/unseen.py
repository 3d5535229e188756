"""What of a database no name in a statement tells: looked up whole, whatever the statement is.

Casts by functions of users, types whose values are checked by such functions, types that only the
session has, and sequences that cycle. Most databases have none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, LiteralString, TypeAlias, get_args

if TYPE_CHECKING:
    from pgfan.ports import Session

Kind: TypeAlias = Literal["cast", "type", "temporary", "sequence"]

UNSAFE_CONSTRAINTS: LiteralString = """pg_catalog.pg_constraint k
        JOIN pg_catalog.pg_depend d ON d.objid = k.oid
            AND d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
        LEFT JOIN pg_catalog.pg_operator o ON o.oid = d.refobjid
            AND d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass
        JOIN pg_catalog.pg_proc p ON p.oid = COALESCE(o.oprcode, d.refobjid)
            AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass,
                'pg_catalog.pg_operator'::pg_catalog.regclass)
        WHERE p.provolatile <> 'i'"""
"""Behind FROM: the constraints `k` that call a function which is not immutable."""

UNSEEN: LiteralString = (
    """
WITH RECURSIVE checked (oid) AS (
    SELECT k.contypid FROM """
    + UNSAFE_CONSTRAINTS
    + """ AND k.contypid <> 0
    UNION SELECT t.oid FROM checked JOIN pg_catalog.pg_type t ON checked.oid IN (
            t.typbasetype, t.typelem,
            (SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid))
        OR EXISTS (SELECT FROM pg_catalog.pg_attribute k WHERE k.attrelid = t.typrelid
            AND k.atttypid = checked.oid AND k.attnum > 0 AND NOT k.attisdropped)
)
SELECT 'cast', pg_catalog.format('%s as %s', c.castsource::pg_catalog.regtype,
    c.casttarget::pg_catalog.regtype)
FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
WHERE p.provolatile <> 'i'
    AND p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace
UNION ALL SELECT 'type', t.typname FROM checked JOIN pg_catalog.pg_type t ON t.oid = checked.oid
UNION ALL SELECT 'temporary', t.typname FROM pg_catalog.pg_type t
    WHERE t.typnamespace = pg_catalog.pg_my_temp_schema() AND t.typrelid = 0
UNION ALL SELECT 'sequence', c.relname FROM pg_catalog.pg_sequence q
    JOIN pg_catalog.pg_class c ON c.oid = q.seqrelid WHERE q.seqcycle
ORDER BY 1, 2"""
)


def read_unseen(session: Session) -> dict[str, tuple[str, ...]]:
    """Their names by `Kind`, sorted; a cast as "integer as pair"."""
    rows = session.execute(UNSEEN)[0].rows
    return {one: tuple(name or "" for kind, name in rows if kind == one) for one in get_args(Kind)}
