"""What a load is asked for, what there is to load, and how it is cut.

A load is one task: its parts are groups of files that one COPY command understands, its ordinals
are pieces of files. What the journal keeps of it is enough to cut the same files alike again.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, to_builtins

from pgfan.errors import ResumeRefusedError, UsageError
from pgfan.load.copy_options import CopyOptions
from pgfan.load.delimited import PIECE_BYTES, DelimitedFile, Reading
from pgfan.load.discovery import find_files, open_source
from pgfan.load.feed import Feed
from pgfan.load.fewer import without
from pgfan.load.formats import TypedSource
from pgfan.load.infer import column_names
from pgfan.load.sample import header_by_looks
from pgfan.load.sources import FileError, Identity
from pgfan.plan.task import NewTable, Part, SplitPlan, TaskPlan, Whole
from pgfan.postgres.load_target import LoadTarget, column_list, read_load_target
from pgfan.quoting import qualified

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.load.sources import Source
    from pgfan.postgres.records import TaskRecord
    from pgfan.postgres.session import PostgresSession

MARKER_IN_CSV_BEFORE = 180000
REJECTING = "--reject FILE writes such rows to a file and loads the others"
ROWS_PER_PIECE = 10_000.0
"""About how many rows a megabyte holds; for --chunk-rows alone."""


class LoadRequest(Struct, frozen=True):
    """What the user asked for; the journal keeps it, and it tells a load from others.

    `files` are names as given, made absolute. `columns` are names of the table's columns in the
    files' order. `missing`: what to do about columns of the table that a file with a header lacks.
    """

    files: tuple[str, ...]
    table: str
    options: CopyOptions
    given_format: bool = False
    columns: tuple[str, ...] = ()
    missing: Literal["refuse", "default"] = "refuse"
    skip_columns: tuple[str, ...] = ()
    """Columns of the files that are left out, by the files' own names or those of `columns`."""
    truncate: bool = False
    upsert: tuple[str, ...] = ()
    defer_indexes: bool = False
    piece_bytes: int = PIECE_BYTES
    kind: str | None = None
    """A format that is none of COPY's, as told."""
    widths: tuple[int, ...] = ()
    layer: str | None = None
    create: bool = False
    """Make the table when it is not there."""
    row_by_row: bool = False
    """Whether bad rows are to be told from good ones, which a binary COPY does not allow."""
    verbatim: bool = False
    """One file, read as psql's \\copy reads it: nothing is unpacked or matched by its name."""

    def to_json(self) -> dict[str, Any]:
        """JSON values, in the form in which the journal keeps scripts."""
        return {"command": "load", "tasks": 1, **to_builtins(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LoadRequest:
        """The inverse of `to_json`."""
        own = {name: one for name, one in value.items() if name not in {"command", "tasks"}}
        own["options"] = CopyOptions.from_json(own["options"])
        names = ("files", "columns", "skip_columns", "upsert", "widths")
        lists = {name: tuple(own.get(name, ())) for name in names}
        return cls(**{**own, **lists})


class Loaded(Struct, frozen=True):
    """The sources of a load in the order of its domain, in groups, each with its columns."""

    target: LoadTarget
    groups: tuple[tuple[tuple[str, ...], tuple[Source, ...]], ...]
    identities: tuple[Identity, ...]
    created: bool = False
    """Whether the types of the table may come from a sample."""

    @property
    def size_bytes(self) -> int:
        """Of the files, as they are on disk."""
        return sum(identity.size for identity in self.identities)


def survey(session: PostgresSession, request: LoadRequest, server_version: int) -> Loaded:
    """What there is to load now. Raises UsageError; nothing is written."""
    target = read_load_target(session, request.table)
    try:
        paths = find_files(request.files)
        identities = [Identity.of(path) for path in paths]
        return open_files(request, target, identities, server_version)
    except FileError as error:
        raise UsageError(error.message, hint=error.hint) from error


def reading_of(
    request: LoadRequest, server_version: int, has_header: Callable[[list[str]], bool]
) -> Reading:
    """How the files are read."""
    return Reading(
        request.options,
        has_header,
        request.options.format == "text" or server_version < MARKER_IN_CSV_BEFORE,
        request.piece_bytes,
        request.kind,
        request.widths,
        request.layer,
    )


def open_files(
    request: LoadRequest, target: LoadTarget, identities: Sequence[Identity], server_version: int
) -> Loaded:
    """Read the beginnings of the files and match their columns."""
    if request.verbatim:
        (identity,) = identities
        return _verbatim(request, target, identity, server_version)
    reading = reading_of(request, server_version, _header_rule(request, target))
    named: tuple[str, ...] = ()
    if request.columns:
        kept, _ = _parted(request.columns, request.skip_columns)
        named = target.columns_for("--columns", kept, "default")
    skipped: set[str] = set()
    groups: dict[tuple[tuple[str, ...], CopyOptions, bytes], list[Source]] = defaultdict(list)
    for identity in identities:
        for source in open_source(identity, reading, given_format=request.given_format):
            columns = named
            if request.skip_columns:
                source, names = _without(request, source)  # noqa: PLW2901
                skipped |= names
            if source.columns is not None and not named:
                fields = column_names(source.columns) if request.create else source.columns
                columns = target.columns_for(source.name, fields, request.missing)
            if named and source.columns is not None and len(named) != len(source.columns):
                count = len(source.columns)
                raise UsageError(f"{source.name} has {count} columns, --columns {len(named)}")
            if isinstance(source, TypedSource):
                types = target.types_of(columns)
                source = source.for_columns(types, text=request.row_by_row)  # noqa: PLW2901
            if request.row_by_row and source.copy_options.format == "binary":
                raise UsageError(
                    f"{source.name} is of COPY's binary format, whose rows --reject cannot part",
                    hint="leave --reject out, or write the file again as CSV",
                )
            groups[columns, source.copy_options, source.line_end].append(source)
    if unknown := set(request.skip_columns) - skipped:
        raise UsageError(
            f"--skip-columns {', '.join(sorted(unknown))}: no file has such a column",
            hint="where files have no header, --columns names all of their columns",
        )
    ordered = tuple((columns, tuple(group)) for (columns, _, _), group in groups.items())
    return Loaded(target, ordered, tuple(identities), request.create)


def _verbatim(
    request: LoadRequest, target: LoadTarget, identity: Identity, server_version: int
) -> Loaded:
    source: Source = DelimitedFile(
        identity, reading_of(request, server_version, lambda _: bool(request.options.header))
    )
    return Loaded(target, ((request.columns, (source,)),), (identity,))


def _without(request: LoadRequest, source: Source) -> tuple[Source, set[str]]:
    """A file without the columns of --skip-columns, and which of them it had."""
    names = request.columns or source.columns or ()
    if source.columns is not None and len(source.columns) != len(names):
        count = len(source.columns)
        raise UsageError(f"{source.name} has {count} columns, --columns {len(names)}")
    _, found = _parted(names, request.skip_columns)
    if not found:
        return source, set()
    return without(source, names, frozenset(found)), set(found.values())


def _parted(names: Sequence[str], skip: Sequence[str]) -> tuple[list[str], dict[int, str]]:
    """The names that are not to be left out; and of the others the place and the name as given."""
    given = {name.strip().casefold(): name for name in skip}
    found = {
        at: given[name.strip().casefold()]
        for at, name in enumerate(names)
        if name.strip().casefold() in given
    }
    return [name for at, name in enumerate(names) if at not in found], found


def _header_rule(request: LoadRequest, target: LoadTarget) -> Callable[[list[str]], bool]:
    """Whether a first record is a header: as told, or when half of it are names of columns."""
    told = request.options.header

    def has_header(fields: list[str]) -> bool:
        if request.create:
            return header_by_looks(told, fields)
        if told is not None:
            return told
        if request.options.format != "csv":
            return False
        skipped = len(_parted(fields, request.skip_columns)[1])
        named = skipped + sum(target.is_named(field) for field in fields)
        if 0 < 2 * named < len(fields):
            raise UsageError(
                f"a file begins with {', '.join(fields)[:200]}: {named} of {len(fields)} are names "
                f"of columns of {target.sql}",
                hint="say whether that is a header: --header or --no-header",
            )
        return named > 0

    return has_header


def plan_of(
    loaded: Loaded,
    beside: NewTable | None,
    against: Sequence[tuple[str, str]] = (),
    advice: str | None = REJECTING,
) -> tuple[TaskPlan, Feed]:
    """How the files are cut, and where their rows come from.

    `beside`: the table that is filled in the target's place, on which no trigger is. `against`:
    reasons, as (code, message), for which they are one COPY whatever the table says. `advice`: the
    hint for a bad row.
    """
    target, name = loaded.target, loaded.target.sql
    reasons = list(against) or (_in_one_copy(target) if beside is None else [])
    if beside is not None:
        name = qualified((beside.schema, beside.hidden))
    hint = target.wider if loaded.created else None
    feed = Feed(
        [sources for _, sources in loaded.groups], whole=bool(reasons), hint=hint, advice=advice
    )
    parts = tuple(
        Part(
            total,
            (f"COPY {name}{column_list(columns)} FROM STDIN WITH {group[0].copy_options.sql()}",),
            Whole(),
            ROWS_PER_PIECE,
            cost=float(total),
        )
        for total, (columns, group) in zip(feed.parts, loaded.groups, strict=True)
    )
    first = parts[0]
    split = SplitPlan(
        key="file",
        unit=_unit(loaded),
        total=sum(feed.parts),
        pieces=first.pieces,
        bounds=Whole(),
        target=target.sql,
        rows_per_unit=ROWS_PER_PIECE,
        tag="COPY",
        creates=beside,
        parts=parts if len(parts) > 1 else (),
    )
    verdict: Literal["split", "serial"] = "serial" if reasons else "split"
    unlogged = target.unlogged or beside is not None
    hazards = ("not-atomic",) if beside is None and split.total > 1 else ()
    return TaskPlan(verdict, tuple(reasons), hazards, unlogged, split), feed


def kept_of(loaded: Loaded) -> dict[str, Any]:
    """What the journal keeps of the files and of the table, for `open_again`."""
    return {
        "files": [identity.to_json() for identity in loaded.identities],
        "oid": loaded.target.oid,
        "columns": [column.name for column in loaded.target.columns],
    }


def open_again(
    session: PostgresSession,
    request: LoadRequest,
    record: TaskRecord,
    server_version: int,
    advice: str | None = REJECTING,
) -> tuple[Loaded, Feed]:
    """What there is to load for a task that had begun, cut as it was then; `advice` as `plan_of`.

    Raises ResumeRefusedError when files or table are not what they were.
    """
    kept, plan = record.sources or {}, record.plan
    target = read_load_target(session, request.table)
    if (
        target.oid != kept["oid"]
        or [column.name for column in target.columns] != kept["columns"]
        or (target.unlogged != plan.unlogged and plan.creates is None)
    ):
        raise ResumeRefusedError(
            f"{target.sql} is not the table that the load began with: it was made anew, has "
            "other columns, or was made logged or unlogged",
            hint="begin anew with --restart, when what was loaded is out of the table",
        )
    identities = tuple(Identity(**one) for one in kept["files"])
    for identity in identities:
        identity.refuse_if_changed()
    loaded = open_files(request, target, identities, server_version)
    again, feed = plan_of(loaded, plan.creates, plan.reasons, advice)
    if again.to_json()["split"] != plan.to_json()["split"]:
        raise ResumeRefusedError(
            "the files would be cut otherwise than when the load began",
            hint="go on with the options and the version of pgfan that began it (of Parquet and "
            "Arrow, --reject is such an option)",
        )
    return loaded, feed


def _in_one_copy(target: LoadTarget) -> list[tuple[str, str]]:
    """Why rows could tell in how many COPYs they came: reasons as (code, message)."""
    reasons = []
    if target.triggers:
        reasons.append(("trigger", f"triggers of {target.sql} fire: {target.triggers}"))
    if target.references_itself:
        reasons.append(("target-references-itself", f"rows of {target.sql} refer to others of it"))
    return reasons


def _unit(loaded: Loaded) -> Literal["files", "MB", "pieces"]:
    """What a piece is, in words: 1 MB of a large file, or a small file."""
    sources: Sequence[Source] = [one for _, group in loaded.groups for one in group]
    if all(source.pieces == 1 for source in sources):
        return "files"
    plain = all(source.pieces * PIECE_BYTES >= source.identity.size for source in sources)
    return "MB" if plain and len(sources) < 100 else "pieces"
