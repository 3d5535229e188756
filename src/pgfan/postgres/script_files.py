r"""A script's \copy ... FROM a file, cut into ranges as `pgfan load` cuts files.

Two ways lead here. A plain \copy is psql's: it is divided only when its file is a large one of CSV
or text whose records are found without a doubt, and when several transactions would write the rows
that one would (the rules for the target of an INSERT, and no default that looks at the time, since
it cannot be frozen in a COPY). Anything else is left to one COPY, which says what is wrong. With
`-- pgfan: load` before it the rules are those of a load: formats, compression, patterns, headers.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from pgfan.errors import ResumeRefusedError, UsageError
from pgfan.load.copy_options import CopyOptions
from pgfan.load.delimited import PIECE_BYTES, UTF8_BOM
from pgfan.load.discovery import find_files
from pgfan.load.formats import KINDS
from pgfan.load.remote import is_remote
from pgfan.load.sources import IO_ERROR, FileError, Identity
from pgfan.plan.sqlstate import NOT_SUPPORTED
from pgfan.postgres.catalog import read_facts
from pgfan.postgres.load_plan import LoadRequest, kept_of, open_again, open_files, plan_of
from pgfan.postgres.load_target import read_load_target
from pgfan.quoting import literal
from pgfan.sql import functions
from pgfan.sql.access import references
from pgfan.sql.copy_statement import as_insert, read_copy_from, truth
from pgfan.sql.reasons import Reason
from pgfan.sql.target import target_columns, target_objections
from pgfan.sql.tree import kind_of, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfan.load.feed import Feed
    from pgfan.plan.task import TaskPlan
    from pgfan.postgres.choosing import SplitOptions
    from pgfan.postgres.load_target import LoadTarget
    from pgfan.postgres.records import TaskRecord
    from pgfan.postgres.session import PostgresSession
    from pgfan.sql.copy_statement import Value
    from pgfan.sql.facts import CatalogFacts
    from pgfan.sql.reasons import Hazard
    from pgfan.sql.script import ScriptItem, Statement

SMALL_BYTES = 16_000_000
"""A smaller file is over in half a second; the start of more chunks is not worth it."""
_TEXTS = ("delimiter", "null", "quote", "escape", "default", "encoding")
_COLUMNS = ("force_null", "force_not_null")
_PLAIN = {"format", "header", *_TEXTS, *_COLUMNS} - {"default"}
_LOADED = {"format", "header", "missing", "widths", "layer", "skip_columns", *_TEXTS, *_COLUMNS}


class FileTask(Struct, frozen=True):
    """How a statement's files are cut, where the rows come from, and what the journal keeps."""

    plan: TaskPlan
    feed: Feed
    kept: dict[str, Any]


def look(
    session: PostgresSession,
    item: ScriptItem,
    options: SplitOptions,
    server_refuses_split: str | None,
    objection: Reason | None,
) -> FileTask | Reason:
    r"""How the file of a \copy is divided, or why it is one COPY, as the table is now.

    `objection`: what the item itself has against it. The session is at the item's settings. Raises
    FileError for what a load refuses, DatabaseError for what the server does.
    """
    if options.atomic and objection is None:
        objection = Reason("atomic", "--atomic: a COPY in ranges is not atomic while it runs")
    if asks_load(item):
        return _loaded(session, item, objection)
    if objection is not None:
        return objection
    return _copied(session, item, options, server_refuses_split)


def _copied(
    session: PostgresSession,
    item: ScriptItem,
    options: SplitOptions,
    server_refuses_split: str | None,
) -> FileTask | Reason:
    """A plain one in ranges, or why it is one COPY."""
    statement = item.first
    try:
        path = os.path.abspath(statement.client_file or "")  # noqa: PTH100  # links stay
        small = _small(path, SMALL_BYTES if options.split == "auto" else 0)
        if small is not None:
            return small
        request = _verbatim(session, statement, path)
        if isinstance(request, Reason):
            return request
        target = read_load_target(session, request.table)
        facts = read_facts(session, references(statement.tree), server_refuses_split)
        hazards = _judged(statement, request, target, facts)
        if isinstance(hazards, Reason):
            return hazards
        found = open_files(request, target, (Identity.of(path),), _version(session))
        if _is_marked(path):
            return _as_it_is(f"{path} begins with a byte order mark, which COPY takes for data")
    except (FileError, UsageError) as error:
        return _as_it_is(error.message)
    plan, feed = plan_of(found, None, advice=None)
    if plan.total == 1:
        return _as_it_is(f"{path} has one range only")
    return FileTask(replace(plan, hazards=(*plan.hazards, *hazards)), feed, kept_of(found))


def _loaded(session: PostgresSession, item: ScriptItem, objection: Reason | None) -> FileTask:
    """One after `-- pgfan: load`, in one COPY where there is an objection."""
    if objection is not None and objection.code == "session":
        raise FileError(
            f"a load works with connections of its own, and {objection.message}",
            sqlstate=NOT_SUPPORTED,
            hint="load into a permanent table",
        )
    against = [(str(objection.code), objection.message)] if objection is not None else []
    try:
        request = _loading(item.first)
        # Of a table that is not there the server's own error is wanted.
        session.execute(f"SELECT {literal(request.table)}::pg_catalog.regclass")
        target = read_load_target(session, request.table)
        identities = [Identity.of(path) for path in find_files(request.files)]
        found = open_files(request, target, identities, _version(session))
    except UsageError as error:
        raise FileError(error.message, hint=error.hint, sqlstate=IO_ERROR) from error
    plan, feed = plan_of(found, None, against, advice=None)
    return FileTask(plan, feed, kept_of(found))


def again(session: PostgresSession, item: ScriptItem, record: TaskRecord) -> Feed:
    """The rows of a task that had begun. Raises ResumeRefusedError, and FileError as `look`."""
    statement = item.first
    try:
        request = (
            _loading(statement)
            if asks_load(item)
            else _verbatim(session, statement, statement.client_file or "")
        )
        if isinstance(request, Reason):
            raise ResumeRefusedError(f"the statement is not what it was: {request.message}")
        _, feed = open_again(session, request, record, _version(session), advice=None)
    except UsageError as error:
        raise FileError(error.message, hint=error.hint, sqlstate=IO_ERROR) from error
    return feed


def asks_load(item: ScriptItem) -> bool:
    """Whether a directive has its files loaded as `pgfan load` does."""
    return item.directives is not None and item.directives.is_load


def _small(path: str, least_bytes: int) -> Reason | None:
    """Why it is no large file: a pipe is not even opened."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError as error:
        return _as_it_is(f"{path}: {error.strerror}")
    if not stat.S_ISREG(found.st_mode):
        return _as_it_is(f"{path} is no regular file")
    if found.st_size < least_bytes:
        return Reason("small", f"{path} has {found.st_size:,} bytes")
    return None


def _is_marked(path: str) -> bool:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read(len(UTF8_BOM)) == UTF8_BOM


def _verbatim(session: PostgresSession, statement: Statement, path: str) -> LoadRequest | Reason:
    """The file as psql would send it, when its records are found without a doubt."""
    copy = read_copy_from(statement.tree)
    given = dict(copy.options)
    unknown = sorted(given.keys() - _PLAIN)
    form, header = given.pop("format", "text"), truth(given.pop("header", False))
    if copy.objection is not None or unknown:
        return _as_it_is(copy.objection or f"{unknown[0].upper()} is for one COPY")
    if form not in {"csv", "text"} or header is None or (header and form == "text"):
        return _as_it_is("it is neither CSV nor text whose records are known")
    if "encoding" not in given:
        given["encoding"] = session.execute("SHOW client_encoding")[0].rows[0][0] or ""
    options = _copy_options(given, format=form, header=header)
    return LoadRequest(
        (path,),
        copy.table,
        options,
        columns=copy.columns,
        piece_bytes=PIECE_BYTES,
        verbatim=True,
    )


def _judged(
    statement: Statement, request: LoadRequest, target: LoadTarget, facts: CatalogFacts
) -> tuple[Hazard, ...] | Reason:
    """Why several transactions might write other rows than one; else in what they may differ."""
    if facts.server_refuses_split:
        return Reason("server", facts.server_refuses_split)
    relation = statement.tree.relation
    for reason in target_objections(relation, facts, ("insert",)):
        return reason
    written = [column.name for column in target.columns if not column.generated]
    columns = request.columns or tuple(written)
    if not columns or not set(columns) <= set(written):
        return _as_it_is("its columns are not those of the table")
    insert = as_insert(request.table, columns)
    left_out = target_columns(insert, insert.select_stmt.select_stmt, facts)
    for reason in left_out.reasons:
        return reason
    for column in left_out.frozen:
        why = f"the default of {column.name} looks at the time, which each COPY has of its own"
        return Reason("default-function", why)
    calls = (node for one in left_out.defaults for node in walk(one) if kind_of(node) == "FuncCall")
    draws = any(functions.base_name(node) == "nextval" for node in calls)
    return ("sequence-order",) if draws else ()


def _loading(statement: Statement) -> LoadRequest:
    """What `-- pgfan: load` asks for. Raises UsageError."""
    copy = read_copy_from(statement.tree)
    given = dict(copy.options)
    unknown = sorted(given.keys() - _LOADED)
    if copy.objection is not None or unknown:
        why = copy.objection or f"there is no option {unknown[0].upper()}"
        raise UsageError(f"a load cannot do this: {why}", hint="docs/load.md has its options")
    form, missing = given.pop("format", None), given.pop("missing", "refuse")
    header = truth(given.pop("header")) if "header" in given else None
    widths = _widths(given.pop("widths", ""))
    layer, skipped = given.pop("layer", None), given.pop("skip_columns", ())
    if missing not in {"refuse", "default"}:
        raise UsageError(f"MISSING {missing}: refuse or default")
    kind = "fixed" if widths else form if form in KINDS else None
    text = form if kind is None and form is not None else "csv"
    if text == "tsv":
        text, given["delimiter"] = "csv", given.get("delimiter", "\t")
    if text not in {"csv", "text"}:
        raise UsageError(f"FORMAT {text}: a load knows csv, tsv, text, {', '.join(sorted(KINDS))}")
    name = statement.client_file or ""
    return LoadRequest(
        (name if is_remote(name) else os.path.abspath(name),),  # noqa: PTH100  # keeps globs
        copy.table,
        _copy_options(given, format=text, header=header),
        given_format=form is not None or bool(widths),
        columns=copy.columns,
        missing="default" if missing == "default" else "refuse",
        skip_columns=_names(skipped),
        kind=kind if isinstance(kind, str) else None,
        widths=widths,
        layer=layer if isinstance(layer, str) else None,
    )


def _copy_options(given: Mapping[str, Value], **further: Any) -> CopyOptions:  # noqa: ANN401  # fields
    """COPY's options. Raises UsageError for values that make no sense."""
    fields: dict[str, Any] = {name: given[name] for name in _TEXTS if name in given}
    if not all(isinstance(value, str) for value in fields.values()):
        raise UsageError(f"{', '.join(fields)}: these are texts")
    fields |= {name: _names(given.get(name, ())) for name in _COLUMNS}
    options = CopyOptions(**fields, **further)
    options.check()
    _ = options.codec
    return options


def _names(value: Value) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return value
    raise UsageError(f"{value}: give names of columns in parentheses")


def _widths(value: Value) -> tuple[int, ...]:
    try:
        widths = tuple(int(one) for one in str(value).split(",") if one.strip())
    except ValueError:
        widths = (0,)
    if any(width < 1 for width in widths):
        raise UsageError(f"WIDTHS {value!r}: give numbers of characters, with commas")
    return widths


def _version(session: PostgresSession) -> int:
    return int(session.connection.info.server_version)


def _as_it_is(why: str) -> Reason:
    return Reason("copy-file", why)
