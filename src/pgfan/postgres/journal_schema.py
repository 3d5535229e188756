"""The journal's schema: whether it is there, how it is made, and what rights it takes."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from pgfan.errors import DatabaseError, PgfanError, UsageError
from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.ports import Result, Session

VERSION = 1
SCHEMA_DEFAULT = "pgfan"
INSUFFICIENT_PRIVILEGE = "42501"
_MAKE_SCHEMA = "CREATE SCHEMA IF NOT EXISTS {schema};"
"""Wants CREATE on the database also where the schema is there, made for the role by its owner."""
_SETUP_LOCK = 0x7067_6661_6E00


class JournalSchema:
    """The tables in schema `schema`, as a whole."""

    def __init__(self, schema: str = SCHEMA_DEFAULT) -> None:
        self._name = schema
        self._schema = identifier(schema)

    def exists(self, session: Session) -> bool:
        """Whether the journal's tables are there, in the version that this code writes.

        Raises UsageError for a journal of another version.
        """
        found = f"pg_catalog.to_regclass({literal(self._schema + '.version')})"
        if rows_of_query(session, f"SELECT {found}")[0][0] is None:
            return False
        version = rows_of_query(
            session, f"SELECT pg_catalog.max(version) FROM {self._schema}.version"
        )
        if version[0][0] != str(VERSION):
            raise UsageError(
                f"the journal in schema {self._name} has version {version[0][0]}; "
                f"this pgfan writes version {VERSION}",
                hint="use the pgfan that made it, or another --journal-schema",
            )
        return True

    def create(self, session: Session) -> None:
        """Make the schema and its tables; two clients at once do not collide.

        Raises UsageError with the GRANT that is missing when the role may not.
        """
        script = resources.files(__package__).joinpath("journal.sql").read_text("utf-8")
        found = f"pg_catalog.to_regnamespace({literal(self._schema)})"
        if rows_of_query(session, f"SELECT {found}")[0][0] is not None:
            script = script.replace(_MAKE_SCHEMA, "")
        try:
            session.execute(
                f"BEGIN; SELECT pg_catalog.pg_advisory_xact_lock({_SETUP_LOCK}); "
                "SET LOCAL client_min_messages = warning; SET LOCAL synchronous_commit = off; "
                f"{script.replace('{schema}', self._schema)} COMMIT"
            )
        except DatabaseError as error:
            session.rollback()
            if error.sqlstate != INSUFFICIENT_PRIVILEGE:
                raise
            raise UsageError(
                f"no permission to make the journal: {error.message}",
                hint="GRANT CREATE ON DATABASE to this role once, or have its owner run "
                f"CREATE SCHEMA {self._schema} AUTHORIZATION this role; or run with --no-journal, "
                "with which nothing can be resumed",
            ) from error
        finally:
            session.notices()

    def without_permission(self, error: DatabaseError) -> PgfanError:
        """`error`, or what to GRANT when it says that the role may not use the journal."""
        if error.sqlstate != INSUFFICIENT_PRIVILEGE:
            return error
        schema = self._schema
        return UsageError(
            f"no permission to use the journal: {error.message}",
            hint=f"its owner can GRANT USAGE ON SCHEMA {schema} and GRANT SELECT, INSERT, UPDATE, "
            f"DELETE ON ALL TABLES IN SCHEMA {schema} to this role; or use a --journal-schema of "
            "your own, or --no-journal, with which nothing can be resumed",
        )

    def drop(self, session: Session) -> None:
        """Drop the schema with everything in it."""
        session.execute(f"DROP SCHEMA IF EXISTS {self._schema} CASCADE")


def rows_of_query(session: Session, sql: str) -> Sequence[tuple[str | None, ...]]:
    """The rows that the last statement of `sql` returns."""
    results: list[Result] = session.execute(sql)
    return results[-1].rows
