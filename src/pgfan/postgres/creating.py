"""The table of a load with --create: made when it is not there, from what is in the files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.errors import DatabaseError, UsageError
from pgfan.load.advice import other_delimiter
from pgfan.load.compressed import CompressedFile
from pgfan.load.delimited import DelimitedFile
from pgfan.load.discovery import find_files, open_source
from pgfan.load.infer import create_table
from pgfan.load.sample import columns_of, header_by_looks
from pgfan.load.sources import FileError, Identity
from pgfan.postgres.load_plan import reading_of
from pgfan.quoting import literal

if TYPE_CHECKING:
    from pgfan.postgres.load_plan import LoadRequest
    from pgfan.postgres.session import PostgresSession

UNDEFINED_OBJECT = "42704"


def create_if_missing(
    session: PostgresSession, request: LoadRequest, server_version: int
) -> str | None:
    """The DDL of the table that was made; None when it was there. Raises UsageError."""
    name = literal(request.table)
    rows = session.execute(f"SELECT pg_catalog.to_regclass({name})")[0].rows
    if rows[0][0] is not None:
        return None
    parts = session.execute(
        f"SELECT part FROM pg_catalog.unnest(pg_catalog.parse_ident({name})) AS p(part)"
    )[0].rows
    told = request.options.header
    reading = reading_of(request, server_version, lambda fields: header_by_looks(told, fields))
    try:
        sources = [
            source
            for path in find_files(request.files)
            for source in open_source(Identity.of(path), reading, given_format=request.given_format)
        ]
        columns = columns_of(sources)
    except FileError as error:
        raise UsageError(error.message, hint=error.hint) from error
    if not columns:
        raise UsageError(
            "the files do not tell which columns they have",
            hint=f"CREATE TABLE {request.table} first",
        )
    by_looks = told is None and any(
        source.copy_options.format == "csv" and isinstance(source, DelimitedFile | CompressedFile)
        for source in sources
    )
    if by_looks and all(column.type == "text" for column in columns):
        hint = "say --header or --no-header"
        line = sources[0].columns or (columns[0].name,)
        if len(line) == 1 and (found := other_delimiter(line[0], request.options)):
            hint = f"{found}, if that is what is between the fields; or {hint}"
        raise UsageError(
            f"{sources[0].name}: the first line may be names or a row: no column has another type "
            "than text",
            hint=hint,
        )
    ddl = create_table([part or "" for (part,) in parts], columns)
    try:
        session.execute(ddl)
    except DatabaseError as error:
        error.statement_offset = None
        if error.sqlstate == UNDEFINED_OBJECT:
            error.hint = "CREATE EXTENSION postgis makes the type geometry"
        raise
    return ddl
