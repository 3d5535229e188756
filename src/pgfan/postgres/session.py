"""One connection: SQL text in, results as text out, errors in pgfan's own tree.

The simple query protocol carries several statements in one message, which is what makes a
journaled chunk cost two round trips and no more. libpq is called through psycopg's C layer. See
"Message Flow" in PostgreSQL's manual, chapter Protocol.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq

from pgfan.errors import ConnectionLostError, DatabaseError
from pgfan.plan.sqlstate import TOO_MANY_CONNECTIONS, ends_connection
from pgfan.postgres.connection_errors import connection_failure
from pgfan.postgres.copying import again_if_stopped, blocks_of, put_blocks, take_messages
from pgfan.postgres.other_end import Backend, Silence, as_watchful, backend_of, end_sql
from pgfan.postgres.results import error_field, next_result, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pgfan.ports import CopyData, Result

SESSION_DEFAULTS = {
    # A backend whose client was killed in the middle of a statement finds out after a second.
    "client_connection_check_interval": "1000",
    # Every chunk reads a joined table from its start: the same order, so the same float sums.
    "synchronize_seqscans": "off",
    # The owner's session keeps the run's lock while it is idle.
    "idle_session_timeout": "0",
}
RESETS = re.compile(r"\b(reset|discard)\s+all\b")
"""What takes the session's defaults away; in lower case."""
RELEASES_LOCKS = re.compile(r"\bdiscard\s+all\b|\bpg_advisory_unlock_all\b")
"""What gives up the session's advisory locks, and with them the run's own; in lower case."""
CANCEL_TIMEOUT_S = 5.0
RESET = "RESET ALL"
NO_FLUSH = ("SET synchronous_commit = off",)
"""For chunks: chunk and journal row are lost together in a crash, and the commit that marks the
task done is synchronous, which makes all commits before it durable. The last of their settings."""
RECONNECT_PATIENCE_S = 60.0
RECONNECT_DELAY_S_FIRST = 0.05
RECONNECT_DELAY_S_MAX = 1.0


class PostgresSession:
    """Implements `pgfan.ports.Session`. Connects when first used, and again after it was lost.

    `on_connect` runs after each connect, with the session itself: locks and fences are taken
    there. An error in it closes the connection.
    """

    def __init__(
        self,
        dsn: str,
        on_connect: Callable[[PostgresSession], None] | None = None,
        patience_s: float = RECONNECT_PATIENCE_S,
        *,
        was_there: bool = False,
    ) -> None:
        """`patience_s`: how long to wait for a server that was there before and is away.

        `was_there`: another session has reached it already.
        """
        self._dsn = dsn
        self._was_there = was_there
        self.on_connect = on_connect
        self._patience_s = patience_s
        self.reconnected = False
        """Whether an earlier connection of this session was lost, or the first had to wait."""
        self._backend: Backend | None = None
        """The server process behind the last connection."""
        self._left_behind: Backend | None = None
        """One that may not have noticed that its connection is lost."""
        self._connection: psycopg.Connection | None = None
        self._settings: tuple[str, ...] = ()
        self.ended = 0
        """See `pgfan.ports.Session.ended`."""
        self._unlocked = False
        """Whether a statement has released what `on_connect` had locked."""
        self._notices: list[tuple[str, str]] = []

    @property
    def connection(self) -> psycopg.Connection:
        """The live psycopg connection, made if there is none."""
        if self._connection is None:
            self._connect()
        if self._connection is None:
            raise ConnectionLostError("the connection was closed while it was set up")
        return self._connection

    @property
    def is_open(self) -> bool:
        """Whether there is a connection (that has not been seen to break)."""
        return self._connection is not None

    @property
    def last_pid(self) -> int | None:
        """The server process behind the last connection; other threads may ask."""
        return self._backend.pid if self._backend is not None else None

    @property
    def backend_pid(self) -> int:
        """The server process behind this connection."""
        return self.connection.pgconn.backend_pid

    def execute(self, sql: str, copies: Sequence[CopyData] = ()) -> list[Result]:
        """See `pgfan.ports.Session.execute`."""
        return self._converse(sql, copies)

    def copy_from(self, sql: str, blocks: Iterable[bytes]) -> list[Result]:
        """See `pgfan.ports.Session.copy_from`."""
        return self._converse(sql, blocks=blocks)

    def copy_to(self, sql: str, take: Callable[[bytes], None]) -> list[Result]:
        """See `pgfan.ports.Session.copy_to`."""
        return self._converse(sql, take=take)

    def _converse(
        self,
        sql: str,
        copies: Sequence[CopyData] = (),
        blocks: Iterable[bytes] | None = None,
        take: Callable[[bytes], None] | None = None,
    ) -> list[Result]:
        """Send statements and take their answers, and the data of a COPY where one is expected."""
        pgconn = self.connection.pgconn
        failure: DatabaseError | None = None
        waiting = deque(copies)
        self._unlocked = self._unlocked or releases_locks(sql)
        try:
            pgconn.send_query(sql.encode())
            answers = []
            while (answer := next_result(pgconn, self._silence)) is not None:
                if answer.status == pq.ExecStatus.COPY_IN and waiting:
                    data = blocks_of(waiting.popleft())
                    failure = put_blocks(pgconn, data, lambda: len(self._notices))
                    continue
                answers.append(answer)
                if answer.status == pq.ExecStatus.COPY_IN and blocks is not None:
                    answers.pop()
                    failure = put_blocks(pgconn, blocks, lambda: len(self._notices))
                elif answer.status == pq.ExecStatus.COPY_OUT and take is not None:
                    answers.pop()
                    take_messages(pgconn, take)
                elif answer.status in {pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT}:
                    break
        except psycopg.Error as error:
            self.close()
            raise ConnectionLostError(str(error).strip()) from error
        except BaseException:
            self.close()  # in the middle of its messages it is of no more use
            raise
        for completed, answer in enumerate(answers):
            if answer.status == pq.ExecStatus.FATAL_ERROR:
                refusal = self._error(answer)
                if isinstance(refusal, DatabaseError):
                    refusal = failure or again_if_stopped(refusal)
                    refusal.completed = completed
                    refusal.answers = tuple(map(result_of, answers[:completed]))
                raise refusal
        if pgconn.status != pq.ConnStatus.OK:
            self.close()
            raise ConnectionLostError("the server closed the connection")
        return [result_of(answer) for answer in answers]

    def _silence(self) -> Silence | None:
        backend = self._backend
        return Silence(self._dsn, backend) if backend is not None and backend.remote else None

    def rollback(self) -> None:
        """See `pgfan.ports.Session.rollback`."""
        if self._connection is None:
            return
        if self._connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
            self.execute("ROLLBACK")

    def prepare(self, settings: tuple[str, ...]) -> None:
        """See `pgfan.ports.Session.prepare`."""
        _ = self.connection  # a new connection forgets what was in force
        self._lock_again()
        if settings == self._settings:
            return
        known = len(self._settings)
        if settings[:known] == self._settings:
            fresh = settings[known:]
        elif settings + NO_FLUSH == self._settings:  # what functions have set stays
            self.execute("RESET synchronous_commit")
            fresh = tuple(one for one in settings if "synchronous_commit" in one.lower())
        else:
            self.execute(RESET)
            self._set_defaults()
            fresh = settings
        for setting in fresh:
            self.execute(setting)
            if RESETS.search(setting.lower()):
                self._set_defaults()
        self._settings = settings
        self._lock_again()

    def _lock_again(self) -> None:
        """As on a new connection: whoever took the run over meanwhile is noticed."""
        if self._unlocked and self.on_connect is not None:
            self.on_connect(self)
        self._unlocked = False

    @property
    def settings(self) -> tuple[str, ...]:
        """Those that `prepare` or `assume` were last given."""
        return self._settings

    def assume(self, settings: tuple[str, ...]) -> None:
        """See `pgfan.ports.Session.assume`."""
        self._settings = settings

    def cancel(self) -> bool:
        """See `pgfan.ports.Session.cancel`."""
        connection = self._connection
        if connection is None:
            return True
        try:
            connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        except (psycopg.Error, OSError):
            return False
        return True

    def notices(self) -> list[tuple[str, str]]:
        """See `pgfan.ports.Session.notices`."""
        taken, self._notices = self._notices, []
        return taken

    def notifications(self) -> list[str]:
        """What NOTIFY has sent here since the last call; looks at the socket, asks nobody."""
        texts: list[str] = []
        connection = self._connection
        if connection is None:
            return texts
        try:
            connection.pgconn.consume_input()
            while (notification := connection.pgconn.notifies()) is not None:
                texts.append(notification.extra.decode("utf-8", "replace"))
        except psycopg.Error:
            pass  # the next statement meets the broken connection, and says so
        return texts

    def close(self) -> None:
        """See `pgfan.ports.Session.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self.ended += 1
            if connection.pgconn.transaction_status != pq.TransactionStatus.IDLE:
                self._left_behind = self._backend
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def describe(self, query: str) -> tuple[int, ...]:
        """Type oids of the columns that `query` gives, without running it."""
        pgconn = self.connection.pgconn
        answer = pgconn.prepare(b"", query.encode())
        if answer.status != pq.ExecStatus.COMMAND_OK:
            raise self._error(answer)
        answer = pgconn.describe_prepared(b"")
        return tuple(answer.ftype(column) for column in range(answer.nfields))

    def columns_of(self, query: str) -> tuple[tuple[str, str], ...]:
        """Name and type (as format_type writes it) of each column of `query`; it is not run."""
        pgconn = self.connection.pgconn
        self.describe(query)
        return self._described(pgconn.describe_prepared(b""))

    def columns_as_planned(self, query: str) -> tuple[tuple[str, str], ...]:
        """As `columns_of`, as the plan of `query` has them. To be called in a transaction.

        The planner may leave out what kept a type from having a modifier: arms of CASE, arguments
        of COALESCE, branches of UNION ALL.
        """
        self.execute(f"DECLARE pgfan_planned NO SCROLL CURSOR FOR {query}")
        found = self._described(self.connection.pgconn.describe_portal(b"pgfan_planned"))
        self.execute("CLOSE pgfan_planned")
        return found

    def _described(self, found: pq.abc.PGresult) -> tuple[tuple[str, str], ...]:
        numbers = range(found.nfields)
        names = [(found.fname(number) or b"").decode() for number in numbers]
        if not names:
            return ()
        types = ", ".join(
            f"pg_catalog.format_type({found.ftype(number)}, {found.fmod(number)})"
            for number in numbers
        )
        row = self.execute(f"SELECT {types}")[0].rows[0]
        return tuple((name, type_ or "") for name, type_ in zip(names, row, strict=True))

    def _connect(self) -> None:
        self._settings = ()
        self._unlocked = False
        connection = self._reach()
        connection.pgconn.nonblocking = 0
        connection.add_notice_handler(self._take_notice)
        self._connection, self._backend = connection, backend_of(connection)
        self._set_defaults()
        if self._left_behind is not None:
            with contextlib.suppress(DatabaseError):  # not allowed: its own timeouts end it
                self.execute(end_sql(self._left_behind))
            self._left_behind = None
        if self.on_connect is not None:
            try:
                self.on_connect(self)
            except BaseException:
                self.close()
                raise

    def _reach(self) -> psycopg.Connection:
        """Connect; wait for a server that restarts or recovers, if it was there before."""
        self.reconnected = self._backend is not None
        expected = self._was_there or self.reconnected
        deadline_s = time.monotonic() + (self._patience_s if expected else 0.0)
        delay_s = RECONNECT_DELAY_S_FIRST
        while True:
            try:
                return psycopg.connect(self._dsn, autocommit=True)
            except psycopg.OperationalError as error:
                failure = connection_failure(error)
                full = failure.sqlstate == TOO_MANY_CONNECTIONS
                if full or time.monotonic() + delay_s > deadline_s:
                    raise failure from error
            self.reconnected = True
            time.sleep(delay_s)
            delay_s = min(2 * delay_s, RECONNECT_DELAY_S_MAX)

    def _set_defaults(self) -> None:
        defaults = SESSION_DEFAULTS
        if self._backend is not None and self._backend.remote:
            defaults = SESSION_DEFAULTS | as_watchful(self.connection)
        settings = [f"SET {name} = {value}" for name, value in defaults.items()]
        try:
            self.execute("; ".join(settings))
        except DatabaseError:
            # Not every platform can check for orphans, and one refusal undoes the others.
            for setting in settings:
                with contextlib.suppress(DatabaseError):
                    self.execute(setting)

    def _take_notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        severity = diagnostic.severity_nonlocalized or diagnostic.severity or "NOTICE"
        self._notices.append((severity, diagnostic.message_primary or ""))

    def _error(self, answer: pq.abc.PGresult) -> DatabaseError | ConnectionLostError:
        message = error_field(answer, pq.DiagnosticField.MESSAGE_PRIMARY)
        sqlstate = error_field(answer, pq.DiagnosticField.SQLSTATE)
        broken = self._connection is None or (self._connection.pgconn.status != pq.ConnStatus.OK)
        if broken or not sqlstate or ends_connection(sqlstate):
            self.close()
            text = message or answer.error_message.decode("utf-8", "replace").strip()
            return ConnectionLostError(text or "the server closed the connection")
        position = error_field(answer, pq.DiagnosticField.STATEMENT_POSITION)
        return DatabaseError(
            message or "",
            sqlstate=sqlstate,
            detail=error_field(answer, pq.DiagnosticField.MESSAGE_DETAIL),
            hint=error_field(answer, pq.DiagnosticField.MESSAGE_HINT),
            statement_offset=int(position) - 1 if position else None,
            relation=(
                error_field(answer, pq.DiagnosticField.SCHEMA_NAME) or "",
                error_field(answer, pq.DiagnosticField.TABLE_NAME) or "",
            ),
            context=error_field(answer, pq.DiagnosticField.CONTEXT),
        )


def releases_locks(sql: str) -> bool:
    """Whether a text may give up the session's advisory locks. Texts are long: words first."""
    lower = sql.lower()
    may = "discard" in lower or "pg_advisory_unlock_all" in lower
    return may and RELEASES_LOCKS.search(lower) is not None
