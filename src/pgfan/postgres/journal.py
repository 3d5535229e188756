"""The journal: pgfan's tables in the target database, and every statement that touches them.

A chunk's row is written first in the chunk's own transaction, then the work, then COMMIT. The row
is unique on (task, range start): whoever comes second waits for the first transaction and then
fails with 23505, or goes on if the first one rolled back. All names are qualified and all
operators are pg_catalog's: the user's search_path has no say here.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pgfan.errors import DatabaseError, InternalError
from pgfan.plan.ranges import Range
from pgfan.plan.sqlstate import UNIQUE_VIOLATION
from pgfan.plan.task import NewTable
from pgfan.ports import TaskRow
from pgfan.postgres.journal_schema import JournalSchema, rows_of_query
from pgfan.postgres.records import (
    ChunkTotals,
    RunRecord,
    TaskRecord,
    run_record,
    task_record,
)
from pgfan.quoting import array, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.plan.task import TaskPlan
    from pgfan.ports import Session

UNFINISHED = ("running", "failed", "interrupted")
EQ = "OPERATOR(pg_catalog.=)"


class PostgresJournal(JournalSchema):
    """The journal in schema `schema`. Reads and writes go through the session given to each call.

    Nothing here begins or commits: single statements commit themselves.
    """

    # In a chunk's transaction -------------------------------------------------------------------

    def claim(self, task: int, lo: int, hi: int, *, unlogged: bool) -> str:
        """See `pgfan.ports.Journal.claim`."""
        return (
            f"INSERT INTO {self.chunk_table(unlogged=unlogged)} (task, lo, hi) "
            f"VALUES ({task}, {lo}, {hi});"
        )

    def settle(
        self, task: int, lo: int, rows: int | None, seconds: float, *, unlogged: bool
    ) -> str:
        """See `pgfan.ports.Journal.settle`."""
        return (
            f"UPDATE {self.chunk_table(unlogged=unlogged)} "
            f"SET rows = {literal(rows)}, seconds = '{seconds:.6f}' "
            f"WHERE task {EQ} '{task}' AND lo {EQ} '{lo}';"
        )

    def is_duplicate(self, error: Exception) -> bool:
        """See `pgfan.ports.Journal.is_duplicate`."""
        return (
            isinstance(error, DatabaseError)
            and error.sqlstate == UNIQUE_VIOLATION
            and error.relation[0] == self._name
            and error.relation[1] in {"chunk", "chunk_unlogged", "task"}
        )

    def chunk_of(
        self, session: Session, task: int, lo: int, *, unlogged: bool
    ) -> tuple[int, int | None]:
        """The upper bound and the rows of a chunk that is in the journal."""
        rows = rows_of_query(
            session,
            f"SELECT hi, rows FROM {self.chunk_table(unlogged=unlogged)} "
            f"WHERE task {EQ} '{task}' AND lo {EQ} '{lo}'",
        )
        if not rows:
            raise InternalError(f"the journal refused chunk {lo} of task {task} but has no row")
        hi, count = rows[0]
        return int(hi or 0), int(count) if count is not None else None

    def claim_tasks(self, rows: Sequence[TaskRow]) -> str:
        """See `pgfan.ports.Journal.claim_tasks`."""
        first = rows[0]
        values = ", ".join(
            f"({row.number}, {literal(row.source)}, {literal(row.kind)}, "
            f"{'NULL::pg_catalog.int8' if row.rows is None else row.rows})"
            for row in rows
        )
        # What they share is written, and read by the server, once.
        return (
            f"INSERT INTO {self._schema}.task "
            "(run, number, source, kind, state, plan, chunks, rows) "
            f"SELECT {literal(first.run)}, number, source, kind, 'done', {literal(first.plan)}, 1, "
            f"rows FROM (VALUES {values}) v (number, source, kind, rows);"
        )

    def settle_task(self, row: TaskRow, rows: int | None, seconds: float) -> str:
        """See `pgfan.ports.Journal.settle_task`."""
        return (
            f"UPDATE {self._schema}.task SET rows = {literal(rows)}, seconds = '{seconds:.6f}' "
            f"WHERE run {EQ} {literal(row.run)} AND number {EQ} '{row.number}';"
        )

    def rows_of(self, session: Session, row: TaskRow) -> int | None:
        """See `pgfan.ports.Journal.rows_of`."""
        found = rows_of_query(
            session,
            f"SELECT rows FROM {self._schema}.task WHERE run {EQ} {literal(row.run)} "
            f"AND number {EQ} '{row.number}' AND state {EQ} 'done'",
        )
        if not found:
            raise InternalError(f"the journal refused task {row.number} but has no row")
        return int(found[0][0]) if found[0][0] is not None else None

    def mark_outside(self, task: int) -> str:
        """See `pgfan.ports.Journal.mark_outside`."""
        return f"UPDATE {self._schema}.task SET state = 'outside' WHERE key {EQ} '{task}';"

    # Runs ---------------------------------------------------------------------------------------

    def runs(
        self,
        session: Session,
        *,
        run: str | None = None,
        fingerprint: str | None = None,
        states: Sequence[str] = (),
    ) -> list[RunRecord]:
        """Runs that match every condition given, newest first."""
        conditions = ["true"]
        if run is not None:
            conditions.append(f"id {EQ} {literal(run)}")
        if fingerprint is not None:
            conditions.append(f"fingerprint {EQ} {literal(fingerprint)}")
        if states:
            conditions.append(f"state {EQ} ANY ({array(list(states))})")
        rows = rows_of_query(
            session,
            "SELECT id, fingerprint, title, state, client, script, session, started_at, ended_at "
            f"FROM {self._schema}.run WHERE {' AND '.join(conditions)} "
            "ORDER BY started_at DESC, id DESC",
        )
        return [run_record(row) for row in rows]

    def insert_run(self, session: Session, run: RunRecord, owner: str) -> None:
        """Write a new run, which `owner` may work on."""
        session.execute(
            f"INSERT INTO {self._schema}.run "
            "(id, fingerprint, title, state, owner, client, script, session) VALUES ("
            + ", ".join(
                literal(value)
                for value in (
                    run.id,
                    run.fingerprint,
                    run.title,
                    run.state,
                    owner,
                    run.client,
                    json.dumps(run.script),
                    json.dumps(run.session),
                )
            )
            + ")"
        )

    def take_over(self, session: Session, run: str, owner: str, client: str) -> None:
        """Make `owner` the one that may work on the run."""
        session.execute(
            f"UPDATE {self._schema}.run SET owner = {literal(owner)}, client = {literal(client)}, "
            f"state = 'running', ended_at = NULL WHERE id {EQ} {literal(run)}"
        )

    def owner_of(self, session: Session, run: str) -> str | None:
        """The token of the client that may work on the run; None when the run is gone."""
        rows = rows_of_query(
            session, f"SELECT owner FROM {self._schema}.run WHERE id {EQ} {literal(run)}"
        )
        return rows[0][0] if rows else None

    def end_run(self, session: Session, run: str, state: str, *, also: str = "") -> None:
        """Set the run's state and its end, once; `also` are statements of the same transaction."""
        ended = (
            f"UPDATE {self._schema}.run SET state = {literal(state)}, "
            f"ended_at = pg_catalog.clock_timestamp() WHERE id {EQ} {literal(run)}"
        )
        session.execute(f"BEGIN; {also}; {ended}; COMMIT" if also else ended)

    def forget(self, session: Session, run: str) -> None:
        """Delete a run with its tasks and chunks, in one transaction."""
        keys = f"SELECT key FROM {self._schema}.task WHERE run {EQ} {literal(run)}"
        there = f"pg_catalog.to_regclass({literal(self._schema + '.reject')}) IS NOT NULL"
        rejects = rows_of_query(session, f"SELECT {there}")[0][0] == "t"  # only loads make it
        session.execute(
            "BEGIN; "
            + (f"DELETE FROM {self._schema}.reject WHERE task IN ({keys}); " if rejects else "")
            + f"DELETE FROM {self._schema}.chunk WHERE task IN ({keys}); "
            f"DELETE FROM {self._schema}.chunk_unlogged WHERE task IN ({keys}); "
            f"DELETE FROM {self._schema}.run WHERE id {EQ} {literal(run)}; "
            "COMMIT"
        )

    # Tasks --------------------------------------------------------------------------------------

    def tasks(self, session: Session, run: str) -> list[TaskRecord]:
        """The tasks of a run that have begun, in order."""
        rows = rows_of_query(
            session,
            "SELECT key, number, state, plan, sources, rows, chunks, seconds, error "
            f"FROM {self._schema}.task WHERE run {EQ} {literal(run)} ORDER BY number",
        )
        return [task_record(row) for row in rows]

    def unfinished_loads(
        self, session: Session, key: int | None, oid: int
    ) -> list[tuple[str, TaskRecord]]:
        """Loads into a table that runs have not finished, but for the run of task `key`."""
        rows = rows_of_query(
            session,
            "SELECT t.key, t.number, t.state, t.plan, t.sources, t.rows, t.chunks, t.seconds, "
            f"t.error, t.run FROM {self._schema}.task t "
            f"JOIN {self._schema}.run r ON r.id {EQ} t.run "
            f"WHERE r.state {EQ} ANY ({array([*UNFINISHED])}) "
            "AND t.state OPERATOR(pg_catalog.<>) 'done' "
            f"AND (t.sources OPERATOR(pg_catalog.->>) 'oid') {EQ} '{oid}' "
            f"AND NOT EXISTS (SELECT FROM {self._schema}.task own WHERE own.run {EQ} t.run "
            f"AND own.key {EQ} '{-1 if key is None else key}') ORDER BY t.key",
        )
        return [(row[-1] or "", task_record(row[:-1])) for row in rows]

    def unfinished_tables(self, session: Session, run: str) -> list[NewTable]:
        """The tables that tasks of a run had begun to fill."""
        found = "plan OPERATOR(pg_catalog.#>) '{split,creates}'"
        rows = rows_of_query(
            session,
            f"SELECT {found} FROM {self._schema}.task WHERE run {EQ} {literal(run)} "
            "AND state OPERATOR(pg_catalog.<>) 'done' "
            f"AND pg_catalog.jsonb_typeof({found}) {EQ} 'object' ORDER BY number",
        )
        return [NewTable(**json.loads(row[0] or "{}")) for row in rows]

    def vanished(self, session: Session, run: str) -> tuple[int, ...]:
        """Numbers of the tasks of a run that were done in unlogged tables, which a crash emptied.

        A crash empties the unlogged journal as a whole, so one chunk that is left tells of none.
        """
        rows = rows_of_query(
            session,
            f"SELECT t.number FROM {self._schema}.task t WHERE t.run {EQ} {literal(run)} "
            f"AND t.state {EQ} 'done' AND t.chunks OPERATOR(pg_catalog.>) 0 "
            "AND (t.plan OPERATOR(pg_catalog.->) 'unlogged')::pg_catalog.bool "
            f"AND NOT EXISTS (SELECT FROM {self.chunk_table(unlogged=True)} c "
            f"WHERE c.task {EQ} t.key) ORDER BY t.number",
        )
        return tuple(int(row[0] or 0) for row in rows)

    def begin_task(
        self, session: Session, run: str, number: int, label: tuple[str, str], plan: TaskPlan
    ) -> int:
        """Write a task that begins, or begins again with another plan; its key.

        `label` is its source and kind.
        """
        source, kind = label
        text = json.dumps(plan.to_json())
        rows = rows_of_query(
            session,
            f"INSERT INTO {self._schema}.task (run, number, source, kind, state, plan) VALUES "
            f"({literal(run)}, {number}, {literal(source)}, {literal(kind)}, 'running', "
            f"{literal(text)}) ON CONFLICT (run, number) DO UPDATE "
            "SET state = 'running', plan = EXCLUDED.plan, error = NULL RETURNING key",
        )
        return int(rows[0][0] or 0)

    def task_row(
        self,
        run: str,
        number: int,
        label: tuple[str, str],
        plan: TaskPlan,
        rows: int | None = None,
    ) -> TaskRow:
        """The row of a task that is one transaction. `label` is its source and kind."""
        return TaskRow(run, number, *label, _written(plan), rows)

    def set_sources(self, session: Session, task: int, sources: dict[str, Any]) -> None:
        """Keep what the source relations looked like under the task's snapshot."""
        session.execute(
            f"UPDATE {self._schema}.task SET sources = {literal(json.dumps(sources))} "
            f"WHERE key {EQ} '{task}'"
        )

    def set_state(self, session: Session, task: int, state: str, error: str | None = None) -> None:
        """Set a task's state: running, outside or failed."""
        session.execute(
            f"UPDATE {self._schema}.task SET state = {literal(state)}, error = {literal(error)} "
            f"WHERE key {EQ} '{task}'"
        )

    def finish_task(
        self, session: Session, task: int, rows: int | None, chunks: int, seconds: float
    ) -> None:
        """Mark a task done, whatever chunks it has."""
        session.execute(self._finish(task, rows, chunks, seconds))

    def finish_complete(
        self,
        session: Session,
        task: int,
        total: int,
        figures: tuple[int | None, int, float],
        *,
        unlogged: bool,
    ) -> bool:
        """Mark a task done if its chunks cover [0, `total`); False when some are missing.

        Its commit is synchronous, and so makes all the chunks that it has seen durable. `figures`
        are rows, chunks and seconds.
        """
        covered = (
            "SELECT COALESCE(pg_catalog.sum(hi OPERATOR(pg_catalog.-) lo), '0') "
            f"FROM {self.chunk_table(unlogged=unlogged)} WHERE task {EQ} '{task}'"
        )
        condition = f" AND ({covered}) {EQ} '{total}'"
        result = session.execute(self._finish(task, *figures) + condition)[0]
        return result.row_count == 1

    def keep_done(self, session: Session, task: int) -> None:
        """What a task did is in logged tables now: a crash takes its chunks, and not its work."""
        session.execute(
            f"UPDATE {self._schema}.task SET plan = pg_catalog.jsonb_set(plan, '{{unlogged}}', "
            f"'false') WHERE key {EQ} '{task}'"
        )

    def delete_chunks(self, session: Session, task: int) -> None:
        """Forget the chunks of a task, of whose work nothing is left."""
        session.execute(
            f"DELETE FROM {self.chunk_table(unlogged=False)} WHERE task {EQ} '{task}'; "
            f"DELETE FROM {self.chunk_table(unlogged=True)} WHERE task {EQ} '{task}'"
        )

    def _finish(self, task: int, rows: int | None, chunks: int, seconds: float) -> str:
        return (
            f"UPDATE {self._schema}.task SET state = 'done', rows = {literal(rows)}, "
            f"chunks = {chunks}, seconds = '{seconds:.6f}', error = NULL WHERE key {EQ} '{task}'"
        )

    def chunks(self, session: Session, task: int, *, unlogged: bool) -> ChunkTotals:
        """The committed chunks of a task."""
        rows = rows_of_query(
            session,
            f"SELECT lo, hi, rows, seconds FROM {self.chunk_table(unlogged=unlogged)} "
            f"WHERE task {EQ} '{task}' ORDER BY lo",
        )
        return ChunkTotals(
            done=tuple(Range(int(row[0] or 0), int(row[1] or 0)) for row in rows),
            rows=sum(int(row[2] or 0) for row in rows),
            seconds=sum(float(row[3] or 0) for row in rows),
        )

    def chunk_table(self, *, unlogged: bool) -> str:
        """The table of committed chunks, quoted."""
        return f"{self._schema}.{'chunk_unlogged' if unlogged else 'chunk'}"


@lru_cache(maxsize=8)
def _written(plan: TaskPlan) -> str:
    """A plan as JSON; all members of a bundle have the same."""
    return json.dumps(plan.to_json())
