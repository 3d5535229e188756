"""Indexes that are dropped for a load and built after it.

Their definitions are in the journal before they are gone, in the transaction that drops them; they
are built again at the end of the load, well or not, by `pgfan resume` after a crash, and by
whatever gives the run up (--restart, `pgfan forget`). Indexes that enforce something (unique ones,
those of constraints) stay: a load without them could leave rows that they would have refused.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, LiteralString

from msgspec import Struct, to_builtins

from pgfan.quoting import literal, qualified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.session import PostgresSession

AT_ONCE_MAX = 4
"""Indexes that are built at the same time: each takes maintenance_work_mem."""

FIND: LiteralString = """
SELECT n.nspname, c.relname, pg_catalog.pg_get_indexdef(c.oid)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
WHERE i.indrelid = {oid} AND t.relkind = 'r' AND c.relkind = 'i' AND i.indisvalid
    AND NOT i.indisunique AND NOT i.indisexclusion AND NOT i.indisreplident
    AND NOT i.indisclustered
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid)
    AND pg_catalog.obj_description(c.oid, 'pg_class') IS NULL
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute k
        WHERE k.attrelid = c.oid AND k.attstattarget > 0)
ORDER BY c.relname"""


class Index(Struct, frozen=True):
    """An index, and the statement that makes it."""

    schema: str
    name: str
    definition: str


class DeferredIndexes(Struct, frozen=True):
    """Some indexes of one table."""

    indexes: tuple[Index, ...]

    @classmethod
    def of(cls, session: PostgresSession, table: int) -> DeferredIndexes:
        """Those of a plain table that may be dropped and built again without a trace.

        Not one with a comment, statistics targets of its own, CLUSTER's or REPLICA IDENTITY's mark:
        its definition does not tell those.
        """
        rows = session.execute(FIND.replace("{oid}", str(table)))[0].rows
        return cls(tuple(Index(s or "", n or "", d or "") for s, n, d in rows))

    @classmethod
    def from_json(cls, value: Iterable[dict[str, Any]]) -> DeferredIndexes:
        """The inverse of `to_json`."""
        return cls(tuple(Index(**one) for one in value))

    def to_json(self) -> list[dict[str, Any]]:
        """JSON values."""
        return [to_builtins(index) for index in self.indexes]

    def drop(self, session: PostgresSession) -> None:
        """Drop them. To be called in the transaction that writes them to the journal."""
        for index in self.indexes:
            session.execute(f"DROP INDEX {qualified((index.schema, index.name))}")

    def build(self, connect: Callable[[], PostgresSession]) -> None:
        """Build those that are not there, several at a time. Raises DatabaseError."""
        if not self.indexes:
            return
        with ThreadPoolExecutor(min(AT_ONCE_MAX, len(self.indexes))) as pool:
            for made in [pool.submit(_build, connect, index) for index in self.indexes]:
                made.result()


def restore_indexes(session: PostgresSession, journal: PostgresJournal, run: str) -> None:
    """Build what an unfinished load of a run that nobody will go on with had dropped."""
    for task in journal.tasks(session, run):
        dropped = (task.sources or {}).get("indexes")
        if task.state != "done" and dropped:
            for index in DeferredIndexes.from_json(dropped).indexes:
                _make(session, index)


def _build(connect: Callable[[], PostgresSession], index: Index) -> None:
    session = connect()
    try:
        _make(session, index)
    finally:
        session.close()


def _make(session: PostgresSession, index: Index) -> None:
    name = literal(qualified((index.schema, index.name)))
    if session.execute(f"SELECT pg_catalog.to_regclass({name}) IS NULL")[0].rows[0][0] == "t":
        session.execute(index.definition)
