"""Loading with --upsert: into a table beside the target, and from there in one statement.

The rows are copied by many connections into an unlogged table under a hidden name; then one
transaction makes sure that no key is there twice, writes them with INSERT ... ON CONFLICT and drops
the table. So nobody sees a part of it, and which of two rows with one key wins is never a matter of
which connection was faster: such files are refused. See "INSERT", ON CONFLICT, in PostgreSQL's
manual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import DatabaseError, UsageError
from pgfan.plan.sqlstate import UNIQUE_VIOLATION
from pgfan.plan.task import NewTable
from pgfan.postgres import new_tables
from pgfan.quoting import identifier, literal, qualified

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgfan.postgres.load_target import LoadTarget
    from pgfan.postgres.session import PostgresSession

NO_UNIQUE_INDEX = "42P10"


class Upsert(Struct, frozen=True):
    """The last step of such a load."""

    target: LoadTarget
    key: tuple[str, ...]
    columns: tuple[str, ...]

    @classmethod
    def of(cls, target: LoadTarget, key: Sequence[str], lists: Iterable[tuple[str, ...]]) -> Upsert:
        """`lists` are the columns of each group of files. Raises UsageError."""
        every = tuple(column.name for column in target.columns if not column.generated)
        found = {columns or every for columns in lists}
        if len({frozenset(columns) for columns in found}) > 1:
            raise UsageError(
                "the files do not all have the same columns",
                hint="--upsert writes every column of a row; load such files one kind at a time",
            )
        columns = min(found)
        lacking = [name for name in key if name not in columns]
        if lacking:
            raise UsageError(f"--upsert {lacking[0]}: the files have no such column")
        return cls(target, tuple(key), columns)

    def make(self, session: PostgresSession, run: str, number: int) -> NewTable:
        """Make the table beside the target. To be called in a transaction.

        Raises UsageError when nothing in the target makes the key unique.
        """
        hidden = new_tables.hidden_name(run, number)
        beside = qualified((self.target.schema, hidden))
        names = ", ".join(map(identifier, self.columns))
        session.execute(
            f"CREATE UNLOGGED TABLE {beside} AS SELECT {names} FROM {self.target.sql} WITH NO DATA"
        )
        oid = session.execute(f"SELECT {literal(beside)}::pg_catalog.regclass::pg_catalog.oid")
        table = NewTable(
            self.target.schema, self.target.name, hidden, "", int(oid[0].rows[0][0] or 0)
        )
        try:
            session.execute(f"EXPLAIN {self.statement(table)}")
        except DatabaseError as error:
            if error.sqlstate != NO_UNIQUE_INDEX:
                raise
            names = ", ".join(self.key)
            raise UsageError(
                f"--upsert {names}: no unique index or constraint of {self.target.sql} is on it",
                hint="CREATE UNIQUE INDEX on these columns first",
            ) from error
        return table

    def statement(self, table: NewTable) -> str:
        """INSERT ... ON CONFLICT from the table beside."""
        names = ", ".join(map(identifier, self.columns))
        key = ", ".join(map(identifier, self.key))
        changed = [name for name in map(identifier, self.columns) if name not in key.split(", ")]
        sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in changed)
        action = f"DO UPDATE SET {sets}" if sets else "DO NOTHING"
        return (
            f"INSERT INTO {self.target.sql} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} "
            f"FROM {qualified((table.schema, table.hidden))} ON CONFLICT ({key}) {action}"
        )

    def merge(self, session: PostgresSession, table: NewTable) -> None:
        """Write the rows and drop the table. To be called in the transaction that ends the task.

        Raises DatabaseError, for a key that is there twice with its values.
        """
        beside = qualified((table.schema, table.hidden))
        key = ", ".join(map(identifier, self.key))
        try:
            session.execute(f"CREATE UNIQUE INDEX ON {beside} ({key})")
        except DatabaseError as error:
            if error.sqlstate == UNIQUE_VIOLATION:
                error.message = f"the files have a key twice: {error.detail or error.message}"
                error.args = (error.message,)
                error.hint = "which of the rows counts is nobody's to guess: leave one of them"
            raise
        session.execute(self.statement(table))
        session.execute(f"DROP TABLE {beside}")
