"""The coordinating side of an unload: one query, whose chunks are files.

Implements `ports.Coordinator`. For the analysis the query is that of a CREATE TABLE AS: what may
fill a table in parallel may fill a folder. Chunks share a snapshot. There is no journal: nothing in
the database changes, and the manifest says whether the folder is whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.errors import DatabaseError, UsageError
from pgfan.plan.task import TaskPlan
from pgfan.ports import PreparedTask
from pgfan.postgres.snapshot import begin_of
from pgfan.sql.creation import creation_of
from pgfan.sql.program import Program, Source
from pgfan.sql.tree import inner, kind_of

if TYPE_CHECKING:
    from pgfan.errors import PgfanError
    from pgfan.plan.task import SplitPlan
    from pgfan.ports import ChunksLost
    from pgfan.postgres.analysis import Analyst
    from pgfan.postgres.snapshot import SnapshotHolder
    from pgfan.sql.script import ScriptItem
    from pgfan.unload.folder import Folder

HIDDEN = "pgfan_unload_target"
"""Stands in the SQL of a chunk between what writes and the query."""
PREFIX = "CREATE UNLOGGED TABLE pgfan_unload AS "
OUTPUT = (
    "SET DateStyle = 'ISO'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 1",
    "SET bytea_output = 'hex'",
)
ORDERED = ("row-order", "the query has an order, which one file keeps")


class UnloadCoordinator:
    """One unload. `begin` and `end` are called around the run."""

    def __init__(
        self, analyst: Analyst, snapshots: SnapshotHolder, query: str, folder: Folder, options: str
    ) -> None:
        """`options`: WITH (...) of the COPY that writes the files."""
        self._analyst = analyst
        self._snapshots = snapshots
        self._query = query
        self._folder = folder
        self._copy = (f"COPY ({query}\n) TO STDOUT WITH {options}", f"\n) TO STDOUT WITH {options}")

    def prepare(self, number: int) -> PreparedTask:
        """See `pgfan.ports.Coordinator.prepare`."""
        del number
        plan, begin = self._plan()
        self._folder.expect(plan.total)
        whole = () if plan.split else (self._copy[0],)
        return PreparedTask(
            key=0, plan=plan, begin=begin, statements=whole, settings=OUTPUT, sink=self._folder
        )

    def renew(self, number: int) -> str:
        """See `pgfan.ports.Coordinator.renew`: the files are of a snapshot that is gone."""
        del number
        raise DatabaseError(
            "the snapshot that the files share is gone: its session ended",
            sqlstate="25000",
            hint="run the same command again, with --overwrite",
        )

    def finish(
        self, number: int, rows: int | None, chunks: int, seconds: float
    ) -> ChunksLost | None:
        """See `pgfan.ports.Coordinator.finish`."""
        del number, rows, chunks, seconds
        self._folder.finish()
        self._snapshots.close()
        return None

    def fail(self, number: int, error: PgfanError | None) -> str | None:
        """See `pgfan.ports.Coordinator.fail`."""
        del number, error
        self._snapshots.close()
        return None

    def vanished(self) -> tuple[int, ...]:
        """See `pgfan.ports.Coordinator.vanished`."""
        return ()

    def cancel(self) -> None:
        """See `pgfan.ports.Coordinator.cancel`."""
        self._analyst.session.cancel()
        self._snapshots.cancel()

    def _plan(self) -> tuple[TaskPlan, str]:
        (item,) = Program.read([Source("-c", PREFIX + self._query)], {}).items
        if _is_ordered(item):
            return TaskPlan("serial", (ORDERED,)), "BEGIN;"
        analysis = self._analyst.analyse(item, HIDDEN)
        plan = analysis.plan
        if plan.split is None or analysis.snapshot is None:
            return TaskPlan("serial", plan.reasons), "BEGIN;"
        plan = replace(plan, unlogged=False, split=self._copying(plan.split))
        return plan, begin_of(plan, analysis.snapshot)

    def _copying(self, split: SplitPlan) -> SplitPlan:
        """The same chunks, each a COPY in place of an INSERT."""
        parts = tuple(replace(part, pieces=self._around(part.pieces)) for part in split.parts)
        pieces = self._around(split.pieces) if split.pieces else ()
        return replace(split, pieces=pieces, parts=parts, tag="COPY", creates=None)

    def _around(self, pieces: tuple[str, ...]) -> tuple[str, ...]:
        _, found, query = pieces[0].partition(HIDDEN)
        if not found:
            raise UsageError("the query cannot be told from what would be filled with it")
        query = query.removeprefix('"')
        first, last = f"COPY ({query}", self._copy[1]
        if len(pieces) == 1:
            return (first + last,)
        return (first, *pieces[1:-1], pieces[-1] + last)


def query_of(text: str) -> str:
    """The one query of `text`, or all rows of the table that it names. Raises UsageError."""
    try:
        items = Program.read([Source("-c", text)], {}).items
    except UsageError:
        if not _is_name(text):
            raise
        return f"SELECT * FROM {text}"
    if len(items) != 1 or items[0].is_block:
        raise UsageError("an unload takes one query, or the name of a table")
    tree = items[0].first.tree
    if kind_of(tree) != "SelectStmt" or items[0].kind != "select" or _has_into(tree):
        raise UsageError(
            f"an unload takes a query, and this is {items[0].kind.upper()}",
            hint="SELECT what it leaves in a table",
        )
    return items[0].first.text


def _is_name(text: str) -> bool:
    try:
        items = Program.read([Source("-c", f"TABLE {text}")], {}).items
    except UsageError:
        return False
    return len(items) == 1 and kind_of(items[0].first.tree) == "SelectStmt"


def _has_into(tree: object) -> bool:
    return creation_of(tree) is not None


def _is_ordered(item: ScriptItem) -> bool:
    return bool(inner(item.first.tree.query).sort_clause)
