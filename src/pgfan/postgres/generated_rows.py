r"""The rows that statements are made of (`\gexec`, `for each`), kept in the journal.

The query's own transaction writes them, with the row that says it is done: whoever resumes the run
makes the same statements of them, and does not ask the query again. The first rows stay, because
statements of theirs may be done. Without a journal they are kept in memory for this run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pgfan.errors import InternalError
from pgfan.postgres.journal_schema import rows_of_query
from pgfan.postgres.reconnecting import again_when_lost
from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.generated import Row

EQ = "OPERATOR(pg_catalog.=)"


class GeneratedRows:
    """Those of run `run`; `schema` is the journal's, None without one."""

    def __init__(self, session: PostgresSession, schema: str | None, run: str) -> None:
        self._session = session
        self._schema = identifier(schema) if schema is not None else None
        self._run = run
        self._in_memory: dict[int, Sequence[Row]] = {}

    def create(self) -> None:
        """Make the table in the journal's schema: only runs that generate statements need it."""
        if self._schema is not None:
            self._session.execute(
                "SET client_min_messages = warning; "
                f"CREATE TABLE IF NOT EXISTS {self._schema}.generated ("
                f"run text NOT NULL REFERENCES {self._schema}.run ON DELETE CASCADE, "
                "number integer NOT NULL, rows json NOT NULL, PRIMARY KEY (run, number)); "
                "RESET client_min_messages"
            )

    def keep(self, number: int, rows: Sequence[Row]) -> str:
        """SQL that keeps the rows of a task, for the end of its transaction."""
        if self._schema is None:
            self._in_memory[number] = rows
            return ""
        text = json.dumps(rows, ensure_ascii=False)
        return (
            f"INSERT INTO {self._schema}.generated (run, number, rows) VALUES "
            f"({literal(self._run)}, {number}, {literal(text)}) ON CONFLICT DO NOTHING;"
        )

    def read(self, number: int) -> Sequence[Row]:
        """The rows of a task that is done."""
        if self._schema is None:
            return self._in_memory.pop(number)
        query = (
            f"SELECT rows FROM {self._schema}.generated "
            f"WHERE run {EQ} {literal(self._run)} AND number {EQ} '{number}'"
        )
        found = again_when_lost(lambda: rows_of_query(self._session, query))
        if not found:
            raise InternalError(f"task {number} is done, and the journal has no rows of it")
        return [tuple(row) for row in json.loads(found[0][0] or "[]")]
