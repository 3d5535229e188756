"""Run statements serially and split into scratch copies, and compare what they leave.

The parts are put together here: each statement is judged, made to write copies of its target
(`pgfan.postgres.trial`), run on one connection and by `pgfan.api.exec`, and the copies compared
(`pgfan.postgres.comparison`). The user's tables and sequences are only read. Whatever happens, the
scratch schema is dropped at the end.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from pgfan import api
from pgfan.errors import DatabaseError, InterruptedRunError, PgfanError
from pgfan.execute.verdicts import OnlyThere, VerifiedStatement, VerifyResult
from pgfan.plan.sqlstate import DUPLICATE_TABLE, QUERY_CANCELED
from pgfan.postgres.comparison import Difference, columns_of, compare
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.scratch import Scratch
from pgfan.postgres.server import probe_server
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.trial import Trial, chunk_rows_for, estimate_rows, make_sides, prepare_trial
from pgfan.quoting import qualified
from pgfan.sql.program import Program, Source
from pgfan.sql.render import RenderError
from pgfan.sql.retarget import RetargetError, Written, written_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgfan.execute.outcome import TaskOutcome
    from pgfan.execute.runner import Runner
    from pgfan.plan.preview import StatementPlan
    from pgfan.sql.script import ScriptItem

__all__ = ["Verification", "VerifyOptions", "VerifyResult", "verify"]

EARLIER = "statements before it are not run: what they make must be there already"
ONE_CONNECTION = "nothing to compare: pgfan exec runs it as it is"
UNDEFINED = frozenset({"42P01", "3F000", "42703", "42704", "42883"})
"""SQLSTATE of relations, schemas, columns, types and functions that do not exist."""
_EXPLAIN = "EXPLAIN "
_SEPARATOR = "\n;\n"
"""A setting's text may end in a line comment."""


class VerifyOptions(Struct, frozen=True):
    """Options of `verify`. `jobs` None means auto, `chunk_rows` None about 50 chunks.

    `lock` keeps others from writing to the tables that are read, until the statement is compared.
    """

    jobs: int | None = None
    chunk_rows: int | None = None
    lock: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)

    def to_exec(self, chunk_rows: int | None = None) -> api.ExecOptions:
        """The options of the split run: always split, and nothing left in a journal."""
        rows = self.chunk_rows if self.chunk_rows is not None else chunk_rows
        return api.ExecOptions(jobs=self.jobs, chunk_rows=rows, split="always", journal_schema=None)


def verify(
    dsn: str,
    sql: str | Sequence[Source],
    options: VerifyOptions | None = None,
    *,
    on_statement: Callable[[VerifiedStatement], None] | None = None,
    on_start: Callable[[Verification], None] | None = None,
) -> VerifyResult:
    """Verify each statement that writes rows; statements are not run on the user's tables.

    `on_statement` receives each verdict as it is known. `on_start` receives the Verification,
    whose `interrupt` stops it. A statement that fails does not raise: it is in the result. Raises
    UsageError for input that makes no sense, InterruptedRunError after `interrupt`.
    """
    options = options or VerifyOptions()
    options.to_exec().check()
    sources = [Source("-c", sql)] if isinstance(sql, str) else list(sql)
    verification = Verification(dsn, options, Program.read(sources, options.variables))
    if on_start is not None:
        on_start(verification)
    return verification.run(on_statement or (lambda _: None))


class Verification:
    """One call of `verify`. `interrupt` may be called by a signal handler."""

    def __init__(self, dsn: str, options: VerifyOptions, program: Program) -> None:
        self._dsn = dsn
        self._options = options
        self._program = program
        self._work = PostgresSession(complete_dsn(dsn))
        self._scratch = Scratch(complete_dsn(dsn))
        self._left_overs: list[str] = []
        self._runner: Runner | None = None
        self._asked = self._planning = self._ending = False

    def run(self, on_statement: Callable[[VerifiedStatement], None]) -> VerifyResult:
        """Verify every statement, in order, and clean up."""
        began_s = time.monotonic()
        statements = []
        try:
            probe_server(self._work)
            for number, item in enumerate(self._program.items, 1):
                self._stop_if_asked()
                statements.append(self._statement(number, item))
                on_statement(statements[-1])
        except KeyboardInterrupt:
            self._stop_if_asked()
            raise
        finally:
            self._ending = True
            self._work.cancel()
            self._work.close()
            self._scratch.drop()
        seconds = time.monotonic() - began_s
        return VerifyResult(tuple(statements), seconds, tuple(self._left_overs))

    def interrupt(self) -> None:
        """Cancel what runs; `run` then drops the scratch schema and raises InterruptedRunError."""
        self._asked = True
        if self._ending:
            return
        if self._runner is not None:
            _cancel(self._runner)
        elif self._planning:
            raise KeyboardInterrupt
        else:
            self._work.cancel()
            self._scratch.session.cancel()

    def _stop_if_asked(self) -> None:
        if self._asked:
            raise InterruptedRunError("interrupted: the scratch schema is dropped")

    def _statement(self, number: int, item: ScriptItem) -> VerifiedStatement:
        began_s = time.monotonic()

        def verdict(state: Any, **known: Any) -> VerifiedStatement:  # noqa: ANN401  # fields
            position = item.first.position
            source = f"{position.source}:{position.line}"
            seconds = time.monotonic() - began_s
            return VerifiedStatement(
                str(number), source, item.kind, state, seconds=seconds, **known
            )

        try:
            return verdict(**self._judge(number, item))
        except RenderError as error:
            self._stop_if_asked()  # it may be the interrupt that the server refused
            return verdict("not verified", notes=(str(error),))
        except DatabaseError as error:
            if self._asked and error.sqlstate == QUERY_CANCELED:
                self._stop_if_asked()
            self._work.rollback()
            error.statement_offset = None  # it counts in a text that the user has not written
            return verdict("failed", error=self._program.place(item, error, 0))

    def _judge(self, number: int, item: ScriptItem) -> dict[str, Any]:
        """The fields of the verdict; what cannot be split, or compared, is not run."""
        written = [written_by(statement.tree) for statement in item.statements]
        if item.is_block and any(isinstance(one, Written) for one in written):
            why = ("transaction-block", "a transaction block is one transaction")
            return {"state": "one connection", "reasons": (why,)}
        if isinstance(written[0], str):
            return {"state": "not verified", "notes": (written[0],)}
        self._check(item)
        if written[0].effect != "create":
            refusal = _refusal(self._plan(item, item.first.text))
            if refusal is not None:
                return refusal
        trial = prepare_trial(self._work, item, written[0])
        if trial.unrepeatable.nothing is not None:
            note = f"not comparable: {trial.unrepeatable.nothing}"
            return {"state": "not verified", "notes": (note,)}
        self._left_overs += self._scratch.make()
        self._stop_if_asked()
        self._scratch.lock(trial.locks if self._options.lock else ())
        try:
            fields = self._run_twice(number, trial)
        except BaseException:
            with contextlib.suppress(PgfanError):
                self._scratch.session.rollback()
            raise
        self._scratch.unlock()
        return fields

    def _run_twice(self, number: int, trial: Trial) -> dict[str, Any]:
        (serial, serial_sql), (split, split_sql) = make_sides(
            self._work, trial, self._scratch.name, number
        )
        if trial.target is None:
            refusal = _refusal(self._plan(trial.item, split_sql))
            if refusal is not None:
                return refusal
        self._stop_if_asked()
        try:
            rows = estimate_rows(self._work, trial, serial_sql)
        except DatabaseError as error:
            # The statement itself could be planned: it is the copy that does not fit.
            raise RetargetError(f"it cannot run on a copy of its table: {error.message}") from error
        rows_serial = self._work.execute(serial_sql)[-1].row_count
        self._stop_if_asked()
        task = self._split(trial.item, split_sql, chunk_rows_for(rows, rows_serial or 0))
        refusal = _refusal(task)
        if refusal is not None:
            return refusal
        left_out, names = self._compared(trial, serial)
        difference = compare(self._scratch.session, serial, split, names)
        self._stop_if_asked()
        # In the session that has just read them: its locks would hold up any other.
        self._scratch.session.execute(f"DROP TABLE {qualified(serial)}, {qualified(split)}")
        return {
            "state": "equal" if difference.is_none else "differs",
            "key": task.key or task.verdict,
            "chunks": task.chunks,
            "rows_serial": rows_serial,
            "rows_split": task.rows,
            "only_serial": OnlyThere(difference.left.total, difference.left.shown),
            "only_split": OnlyThere(difference.right.total, difference.right.shown),
            "left_out": left_out,
            "notes": tuple(self._notes(trial, (rows_serial, task.chunks), names, difference)),
        }

    def _compared(
        self, trial: Trial, serial: tuple[str, str]
    ) -> tuple[dict[str, str], tuple[str, ...]]:
        """The columns that are left out, with what feeds them, and those that are compared."""
        every = [name for name, _ in columns_of(self._scratch.session, serial)]
        found = trial.unrepeatable
        if found.counts_only is not None:
            return dict.fromkeys(every, found.counts_only), ()
        left_out = dict(found.columns)
        if trial.target is None:
            left_out |= {every[at]: why for at, why in found.positions.items()}
        return left_out, tuple(name for name in every if name not in left_out)

    def _notes(
        self,
        trial: Trial,
        counts: tuple[int | None, int],
        names: Sequence[str],
        difference: Difference,
    ) -> list[str]:
        rows, chunks = counts
        notes = []
        if difference.columns is not None:
            notes.append(f"the columns differ: {difference.columns}")
        if not names:
            notes.append("no column can be compared: only the numbers of rows are")
        if rows == 0:
            notes.append("no row was written: there is nothing to test the split with")
        if chunks <= 1:
            notes.append("one chunk only: there is too little data to test the split")
        tree = trial.item.first.tree
        if trial.written.effect == "insert" and tree.HasField("on_conflict_clause"):
            notes.append("ON CONFLICT: which of several conflicting new rows wins is not specified")
        if not self._options.lock:
            notes.append("without locks: a table that changed meanwhile may look like a difference")
        return notes

    def _check(self, item: ScriptItem) -> None:
        """Raise the server's own error for a statement that could not run on one connection."""
        self._work.prepare(item.settings)
        try:
            self._work.execute(_EXPLAIN + item.first.text)
        except DatabaseError as error:
            if error.sqlstate == DUPLICATE_TABLE:  # CREATE TABLE AS: nobody makes that one
                return
            if error.statement_offset is not None:
                error.statement_offset -= len(_EXPLAIN)
            if error.sqlstate in UNDEFINED and item is not self._program.items[0]:
                error.hint = error.hint or EARLIER
            self._program.place(item, error, 0)
            raise

    def _plan(self, item: ScriptItem, sql: str) -> StatementPlan:
        """What `pgfan exec --split always` would do with a statement, under its settings."""
        self._planning = True
        try:
            self._stop_if_asked()
            found = api.plan(self._dsn, _script(item, sql), self._options.to_exec())[-1]
        finally:
            self._planning = False
        if found.error is not None and not found.reasons:  # not even a verdict
            found.error.position = found.error.source_line = None
            raise found.error
        return found

    def _split(self, item: ScriptItem, sql: str, chunk_rows: int) -> TaskOutcome:
        def start(runner: Runner) -> None:
            self._runner = runner
            if self._asked:
                _cancel(runner)

        try:
            result = api.exec(
                self._dsn, _script(item, sql), self._options.to_exec(chunk_rows), on_start=start
            )
        finally:
            self._runner = None
        self._stop_if_asked()
        if result.error is not None:
            raise _explained(result.error)
        return result.tasks[-1]


def _refusal(task: TaskOutcome | StatementPlan) -> dict[str, Any] | None:
    """The verdict on a statement that runs as it is; None for one that does not."""
    if task.verdict != "serial":
        return None
    return {"state": "one connection", "reasons": task.reasons, "notes": (ONE_CONNECTION,)}


def _script(item: ScriptItem, sql: str) -> list[Source]:
    return [Source("split run", _SEPARATOR.join((*item.settings, sql)))]


def _cancel(runner: Runner) -> None:
    """Once lets the running chunks finish, twice cancels them."""
    runner.interrupt()
    runner.interrupt()


def _explained(error: PgfanError) -> PgfanError:
    """The error of a split run whose serial twin succeeded."""
    error.message = f"the serial run succeeded, the split one failed: {error.message}"
    error.position = error.source_line = None  # they count in a text that the user has not written
    return error
