"""How long tasks took in earlier runs, by the journal's own tables.

A task is known again by where it stands and what it is: file, line and kind of statement. That
outlives a change of its text, and what moved within its file is taken for new or for a neighbour:
a wrong duration costs time and nothing else. `-c` and standard input name no place that means
anything in another script, so those are known again in a run of the same text only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.postgres.journal import EQ
from pgfan.postgres.journal_schema import SCHEMA_DEFAULT
from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from pgfan.postgres.session import PostgresSession


class Measured(Struct, frozen=True):
    """`work_s`: seconds of all chunks together; `divisible`: whether it was split."""

    work_s: float
    divisible: bool


def measured(
    session: PostgresSession, fingerprint: str = "", schema: str = SCHEMA_DEFAULT
) -> dict[tuple[str, str], Measured]:
    """Source ("file.sql:3") and kind of every task that was done before, the last time it was.

    `fingerprint` is that of the run to come. The journal must exist.
    """
    name = identifier(schema)
    chunks = " UNION ALL ".join(
        f"SELECT seconds FROM {name}.{table} c WHERE c.task {EQ} t.key"
        for table in ("chunk", "chunk_unlogged")
    )
    rows = session.execute(
        f"SELECT t.source, t.kind, t.plan OPERATOR(pg_catalog.->>) 'verdict', "
        f"COALESCE((SELECT pg_catalog.sum(seconds) FROM ({chunks}) c), t.seconds) "
        f"FROM (SELECT DISTINCT ON (t.source, t.kind) t.* FROM {name}.task t "
        f"JOIN {name}.run r ON r.id {EQ} t.run WHERE t.state {EQ} 'done' "
        f"AND (r.fingerprint {EQ} {literal(fingerprint)} "
        "OR pg_catalog.split_part(t.source, ':', 1) OPERATOR(pg_catalog.<>) "
        "ALL (ARRAY['-c', '<stdin>'])) "
        "ORDER BY t.source, t.kind, t.key DESC) t"
    )[-1].rows
    return {
        (source or "", kind or ""): Measured(float(seconds), verdict == "split")
        for source, kind, verdict, seconds in rows
        if seconds is not None  # those of a bundle have none of their own
    }
