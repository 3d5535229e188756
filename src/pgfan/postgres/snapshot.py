"""One snapshot for all chunks of a task, and what to compare when it has to be taken anew.

A session of its own exports the snapshot and stays in its transaction until the task ends. It
holds the locks that the single statement would hold, ROW EXCLUSIVE on the target and ACCESS SHARE
on the relations that are read: so nobody can rewrite, truncate or drop them between two chunks.
See "Snapshot Synchronization Functions" in PostgreSQL's manual.

The snapshot dies with its session. Another may take its place only if the sources are what they
were: same file, same counters of inserted, updated and deleted rows, and no reset of the counters
(a crash of the server resets them, and then nobody can tell).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, LiteralString

from msgspec import Struct

from pgfan.errors import PgfanError, ResumeRefusedError
from pgfan.postgres.session import PostgresSession
from pgfan.quoting import array, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.plan.task import TaskPlan

STATE: LiteralString = """
WITH RECURSIVE down (root, oid) AS (
    SELECT name, name::pg_catalog.regclass::pg_catalog.oid
        FROM pg_catalog.unnest({names}) AS n(name)
    UNION ALL SELECT d.root, i.inhrelid FROM down d
        JOIN pg_catalog.pg_inherits i ON i.inhparent = d.oid
)
SELECT pg_catalog.json_build_object(
    'reset', (SELECT stats_reset::pg_catalog.text FROM pg_catalog.pg_stat_bgwriter),
    'relations', (SELECT pg_catalog.json_object_agg(root, state) FROM (
        SELECT root, pg_catalog.json_build_object(
            'files', pg_catalog.string_agg(
                COALESCE(pg_catalog.pg_relation_filenode(oid), 0)::pg_catalog.text, ','
                ORDER BY oid),
            'changes', pg_catalog.sum(pg_catalog.pg_stat_get_tuples_inserted(oid)
                + pg_catalog.pg_stat_get_tuples_updated(oid)
                + pg_catalog.pg_stat_get_tuples_deleted(oid))) AS state
        FROM down GROUP BY root) AS states))"""


KINDS: LiteralString = """
SELECT name, c.relkind FROM pg_catalog.unnest({names}) AS n(name)
JOIN pg_catalog.pg_class c ON c.oid = name::pg_catalog.regclass"""
TRANSACTION_TIMEOUT_SINCE = 170000


class Snapshot(Struct, frozen=True):
    """`name` for SET TRANSACTION SNAPSHOT; `state` of the sources for `difference`."""

    name: str
    state: dict[str, Any]


class SnapshotHolder:
    """Keeps one snapshot open at a time, in a session that does nothing else."""

    def __init__(self, dsn: str) -> None:
        self._session = PostgresSession(dsn)
        self._held: Snapshot | None = None

    @property
    def session(self) -> PostgresSession:
        """The session that holds it; for looking at only."""
        return self._session

    def open(
        self, settings: tuple[str, ...], target: str | None, sources: Sequence[str]
    ) -> Snapshot:
        """Lock target and sources (quoted names) and take a snapshot; the one before is let go."""
        self.close()
        session = self._session
        session.prepare(settings)
        found = session.execute(KINDS.replace("{names}", array(list(sources))))[0].rows
        views = [name or "" for name, kind in found if kind == "m"]
        tables = [source for source in sources if source not in views]
        session.execute(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; "
            "SET LOCAL idle_in_transaction_session_timeout = 0"
        )
        if session.connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
            session.execute("SET LOCAL transaction_timeout = 0")
        if target is not None:
            session.execute(f"LOCK TABLE {target} IN ROW EXCLUSIVE MODE")
        if tables:
            session.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS SHARE MODE")
        for view in views:  # LOCK TABLE does not take materialised views
            session.execute(f"SELECT FROM {view} LIMIT 0")
        state = session.execute(STATE.replace("{names}", array(list(sources))))[0].rows[0][0]
        name = session.execute("SELECT pg_catalog.pg_export_snapshot()")[0].rows[0][0]
        self._held = Snapshot(name or "", json.loads(state or "{}"))
        return self._held

    def holds(self, snapshot: Snapshot) -> bool:
        """Whether a snapshot is the open one, and still there: the server is asked."""
        if self._held is not snapshot or not self._session.is_open:
            return False
        try:
            self._session.execute("SELECT")
        except PgfanError:
            return False
        return True

    def blocks(self, relation: str) -> int:
        """Blocks of a relation as of now: every row that the snapshot sees lies below."""
        sql = (
            f"SELECT pg_catalog.pg_relation_size({literal(relation)}::pg_catalog.regclass) "
            "/ pg_catalog.current_setting('block_size')::pg_catalog.int8"
        )
        return int(self._session.execute(sql)[0].rows[0][0] or 0)

    def table_bytes(self, relation: str) -> int:
        """Size of a relation as of now with its out-of-line values; 0 where it has no storage."""
        sql = f"SELECT pg_catalog.pg_table_size({literal(relation)}::pg_catalog.regclass)"
        return int(self._session.execute(sql)[0].rows[0][0] or 0)

    def close(self) -> None:
        """Let the snapshot go, and the locks with it."""
        self._held = None
        try:
            self._session.rollback()
        except PgfanError:
            self._session.close()

    def cancel(self) -> None:
        """Cancel what runs in the session, such as a wait for a lock."""
        self._session.cancel()

    def end(self) -> None:
        """Close the session."""
        self._session.close()


def difference(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """What speaks against going on with a new snapshot, for people; None when nothing does."""
    if not before["relations"]:  # nothing is read
        return None
    for name, state in before["relations"].items():
        current = now["relations"].get(name)
        if current is None or current["files"] != state["files"]:
            return f"{name} was rewritten or truncated since"
        if current["changes"] > state["changes"]:
            count = current["changes"] - state["changes"]
            return f"{count} rows of {name} were inserted, updated or deleted since"
    if before["reset"] != now["reset"]:
        return "the server crashed or its statistics were reset since: changes cannot be ruled out"
    return None


def refuse_if_changed(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ResumeRefusedError when the sources may not be what they were."""
    why = difference(before, now)
    if why is not None:
        raise ResumeRefusedError(
            f"the snapshot that the chunks shared is gone, and {why}",
            hint="--restart begins anew; --new-snapshot goes on with the blocks not yet read: rows "
            "written since then may be missing or twice in the result",
        )


def begin_of(plan: TaskPlan, snapshot: Snapshot | None) -> str:
    """The start of a chunk's transaction; a series that reads no relation needs no snapshot."""
    split = plan.split
    if snapshot is None or split is None or not (split.sources or split.shared_snapshot):
        return "BEGIN ISOLATION LEVEL READ COMMITTED;"
    name = literal(snapshot.name)
    return f"BEGIN ISOLATION LEVEL REPEATABLE READ;SET TRANSACTION SNAPSHOT {name};"
