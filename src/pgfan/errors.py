"""The one tree of errors.

Whose mistake an error was decides its class, and the class decides the exit code. Attributes carry
what a program needs; the text is for people. Refusals that are part of normal work (a statement
that may not be split) are values with a reason code, not errors, and live in `pgfan.sql`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

EXIT_TASK_FAILED = 1
EXIT_USAGE = 2
EXIT_CONNECTION = 3
EXIT_INTERRUPTED = 130


class Position(Struct, frozen=True):
    """A place in the user's SQL; `source` is a file name, `-c` or `<stdin>`, numbers from 1."""

    source: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}"


class PgfanError(Exception):
    """The root: a message, where in the SQL, the source line there, and what to do next."""

    exit_code = EXIT_TASK_FAILED

    def __init__(
        self,
        message: str,
        *,
        position: Position | None = None,
        source_line: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.source_line = source_line
        self.hint = hint


class UsageError(PgfanError):
    """The caller's mistake: a wrong option, SQL that does not parse. Nothing was run."""

    exit_code = EXIT_USAGE
    sqlstate: str | None = None
    """42601 for a syntax error; None where PostgreSQL has no code for it."""


class UnsupportedError(UsageError):
    """The input means something that pgfan does not do, and says so before anything has run."""


class DatabaseError(PgfanError):
    """PostgreSQL refused something; `sqlstate` is its code, as in Appendix A of the manual."""

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str,
        detail: str | None = None,
        hint: str | None = None,
        statement_offset: int | None = None,
        relation: tuple[str, str] = ("", ""),
        context: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate
        self.detail = detail
        self.context = context
        """Where the server was: `COPY t, line 3, column c: "x"`, and functions that were called."""
        self.completed = 0
        """Statements of the same message that had succeeded before (and are rolled back)."""
        self.answers: tuple[Any, ...] = ()
        """What those statements had answered, as `pgfan.ports.Result`."""
        self.statement_offset = statement_offset
        """Characters before the error in the text that was sent, from 0; None when unknown."""
        self.relation = relation
        """Schema and table that a constraint violation names; empty when it names none."""


class ConnectionFailedError(PgfanError):
    """No connection could be made, or one was lost for good."""

    exit_code = EXIT_CONNECTION
    sqlstate: str | None = None
    """The server's reason, where it gave one: 53300 for too many connections."""


class ConnectionLostError(PgfanError):
    """A connection broke under a statement; `in_doubt`: COMMIT was sent and not answered."""

    exit_code = EXIT_CONNECTION

    def __init__(self, message: str, *, in_doubt: bool = False) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt


class RunLockedError(UsageError):
    """Another client works on the same run; the message names it."""


class RunEndedError(UsageError):
    """A run that was to be resumed has ended meanwhile."""


class ResumeRefusedError(PgfanError):
    """A run cannot go on as it was: sources changed, an outcome is unknown. Says the way out."""


class InterruptedRunError(PgfanError):
    """The user interrupted; the journal holds what is done and the run resumes."""

    exit_code = EXIT_INTERRUPTED


class InternalError(PgfanError):
    """pgfan broke one of its own rules; carries the history that led there."""
