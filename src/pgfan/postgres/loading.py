"""The coordinating side of a load: one task, whose ranges are pieces of files.

Implements `ports.Coordinator`. What must happen once, before the first row (TRUNCATE, dropping
indexes), commits together with the task's row in the journal, so a resume knows that it is done.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pgfan.errors import ConnectionLostError, InternalError, PgfanError, ResumeRefusedError
from pgfan.load.copy_options import CopyOptions
from pgfan.load.delimited import PIECE_BYTES, Reading
from pgfan.load.discovery import find_files, open_source
from pgfan.load.feed import Feed
from pgfan.load.sources import Identity
from pgfan.plan.task import Part, SplitPlan, TaskPlan, Whole
from pgfan.ports import ChunksLost, PreparedTask
from pgfan.postgres.coordinator import NO_FLUSH, again_when_lost
from pgfan.postgres.deferred import DeferredIndexes
from pgfan.postgres.load_target import LoadTarget, column_list, read_load_target
from pgfan.postgres.records import ChunkTotals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.load.sources import Source
    from pgfan.postgres.journal import PostgresJournal
    from pgfan.postgres.records import TaskRecord
    from pgfan.postgres.rejects import PostgresRejects
    from pgfan.postgres.runs import OpenRun
    from pgfan.postgres.session import PostgresSession

MARKER_IN_CSV_BEFORE = 180000
ROWS_PER_PIECE = 10_000.0
"""About how many rows a megabyte holds; for --chunk-rows alone."""


@dataclass(frozen=True)
class LoadRequest:
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
    truncate: bool = False
    defer_indexes: bool = False
    piece_bytes: int = PIECE_BYTES

    def to_json(self) -> dict[str, Any]:
        """JSON values, in the form in which the journal keeps scripts."""
        return {"command": "load", "tasks": 1, **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LoadRequest:
        """The inverse of `to_json`."""
        own = {name: one for name, one in value.items() if name not in {"command", "tasks"}}
        own["options"] = CopyOptions.from_json(own["options"])
        return cls(**{**own, "files": tuple(own["files"]), "columns": tuple(own["columns"])})


@dataclass(frozen=True)
class Loaded:
    """The sources of a load in the order of its domain, and the COPY of each group."""

    target: LoadTarget
    groups: tuple[tuple[str, tuple[Source, ...]], ...]
    identities: tuple[Identity, ...]

    @property
    def size_bytes(self) -> int:
        """Of the files, as they are on disk."""
        return sum(identity.size for identity in self.identities)


@dataclass(frozen=True)
class Errand:
    """What a load was asked for and found. `fresh`: what there is to load, for a run that begins.

    `rejects`: where bad rows go; None: they fail the load.
    """

    request: LoadRequest
    server_version: int
    fresh: Loaded | None
    rejects: PostgresRejects | None


class LoadCoordinator:
    """One run's coordinator. `journal` is None with --no-journal."""

    def __init__(
        self,
        owner: PostgresSession,
        journal: PostgresJournal | None,
        run: OpenRun,
        errand: Errand,
        connect: Callable[[], PostgresSession],
    ) -> None:
        """`connect` makes further sessions, for building indexes at the same time."""
        self._session = owner
        self._journal = journal
        self._run = run
        self._request = errand.request
        self._version = errand.server_version
        self._fresh = errand.fresh
        self._rejects = errand.rejects
        self._connect = connect
        self._prepared: PreparedTask | None = None
        self._deferred = DeferredIndexes(())

    @property
    def key(self) -> int | None:
        """The load's row in the journal, once there is one."""
        return self._prepared.key if self._prepared is not None else None

    def prepare(self, number: int) -> PreparedTask:
        """See `pgfan.ports.Coordinator.prepare`."""
        self._prepared = again_when_lost(lambda: self._prepare(number))
        return self._prepared

    def renew(self, number: int) -> str:
        """See `pgfan.ports.Coordinator.renew`."""
        raise InternalError(f"load {number} has no snapshot to renew")

    def finish(
        self, number: int, rows: int | None, chunks: int, seconds: float
    ) -> ChunksLost | None:
        """See `pgfan.ports.Coordinator.finish`."""
        del number
        prepared, journal = self._prepared, self._journal
        if prepared is None:
            raise InternalError("a load ended that was not prepared")
        self._deferred.build(self._connect)
        if journal is None:
            return None
        unlogged, total = prepared.plan.unlogged, prepared.plan.total

        def mark() -> ChunksLost | None:
            if journal.finish_complete(
                self._session, prepared.key, total, (rows, chunks, seconds), unlogged=unlogged
            ):
                return None
            totals = journal.chunks(self._session, prepared.key, unlogged=unlogged)
            return ChunksLost(totals.done, totals.rows)

        return again_when_lost(mark)

    def fail(self, number: int, error: PgfanError | None) -> str | None:
        """See `pgfan.ports.Coordinator.fail`."""
        del number
        prepared, journal = self._prepared, self._journal
        if prepared is None:
            return None
        unknown = isinstance(error, ConnectionLostError) and error.in_doubt
        self._deferred.build(self._connect)
        if journal is None or unknown:
            return None
        text = error.message if error is not None else None
        again_when_lost(lambda: journal.set_state(self._session, prepared.key, "failed", text))
        return None

    def vanished(self) -> tuple[int, ...]:
        """See `pgfan.ports.Coordinator.vanished`."""
        journal = self._journal
        if journal is None:
            return ()
        return again_when_lost(lambda: journal.vanished(self._session, self._run.id))

    def cancel(self) -> None:
        """See `pgfan.ports.Coordinator.cancel`."""
        self._session.cancel()

    # Preparing ----------------------------------------------------------------------------------

    def _prepare(self, number: int) -> PreparedTask:
        record = self._run.tasks.get(number)
        resumed = self._resumed(self._journal, record) if record and self._journal else None
        if resumed is not None:
            return resumed
        loaded = self._fresh or survey(self._session, self._request, self._version)
        plan, feed = plan_of(loaded)
        if self._request.defer_indexes:
            self._deferred = DeferredIndexes.of(self._session, loaded.target.oid)
        key = again_when_lost(lambda: self._begin(number, plan, loaded))
        return self._put_together(key, plan, feed, ChunkTotals((), 0, 0.0))

    def _begin(self, number: int, plan: TaskPlan, loaded: Loaded) -> int:
        """What happens once: the task's row, and with it TRUNCATE and DROP INDEX."""
        session, journal, key = self._session, self._journal, 0
        session.execute("BEGIN")
        try:
            if self._request.truncate:
                session.execute(f"TRUNCATE {loaded.target.sql}")
            self._deferred.drop(session)
            if journal is not None:
                label = (self._request.files[0], "load")
                key = journal.begin_task(session, self._run.id, number, label, plan)
                journal.set_sources(session, key, self._kept(loaded))
            session.execute("COMMIT")
        except PgfanError:
            session.rollback()
            raise
        return key

    def _kept(self, loaded: Loaded) -> dict[str, Any]:
        return {
            "files": [identity.to_json() for identity in loaded.identities],
            "columns": [column.name for column in loaded.target.columns],
            "indexes": self._deferred.to_json(),
        }

    def _resumed(self, journal: PostgresJournal, record: TaskRecord) -> PreparedTask | None:
        """What is left of a load that had begun; None when nothing of it was done."""
        kept = record.sources or {}
        self._deferred = DeferredIndexes.from_json(kept.get("indexes", []))
        totals = journal.chunks(self._session, record.key, unlogged=record.plan.unlogged)
        if record.state == "done" and not record.plan.unlogged:
            base = self._put_together(record.key, record.plan, None, totals)
            return replace(base, skipped=True, rows_done=record.rows or 0, counts=True)
        if not totals.chunks:
            self._deferred.build(self._connect)
            self._deferred = DeferredIndexes(())
            return None
        target = read_load_target(self._session, self._request.table)
        if [column.name for column in target.columns] != kept["columns"]:
            raise ResumeRefusedError(
                f"the columns of {target.sql} are not those that the load began with",
                hint="make them as they were; or begin anew with --restart, when what was loaded "
                "is out of the table",
            )
        identities = tuple(Identity(**one) for one in kept["files"])
        for identity in identities:
            identity.refuse_if_changed()
        loaded = open_files(self._request, target, identities, self._version)
        plan, feed = plan_of(loaded)
        if plan.to_json()["split"] != record.plan.to_json()["split"]:
            raise ResumeRefusedError(
                "the files would be cut otherwise than when the load began",
                hint="resume with the version of pgfan that began it",
            )
        journal.set_state(self._session, record.key, "running")
        return self._put_together(record.key, record.plan, feed, totals)

    def _put_together(
        self, key: int, plan: TaskPlan, feed: Feed | None, totals: ChunkTotals
    ) -> PreparedTask:
        if self._rejects is not None:
            self._rejects.begin(self._session, key)
        return PreparedTask(
            key=key,
            plan=plan,
            begin="BEGIN ISOLATION LEVEL READ COMMITTED;",
            statements=(),
            settings=NO_FLUSH if self._journal else (),
            done=totals.done,
            rows_done=totals.rows,
            chunks_done=totals.chunks,
            counts=True,
            feed=feed,
            rejects=self._rejects,
        )


def survey(session: PostgresSession, request: LoadRequest, server_version: int) -> Loaded:
    """What there is to load now. Raises UsageError and FileError; nothing is written."""
    target = read_load_target(session, request.table)
    paths = find_files(request.files)
    return open_files(request, target, [Identity.of(path) for path in paths], server_version)


def open_files(
    request: LoadRequest, target: LoadTarget, identities: Sequence[Identity], server_version: int
) -> Loaded:
    """Read the beginnings of the files and match their columns."""
    reading = Reading(
        request.options,
        _header_rule(request, target),
        request.options.format == "text" or server_version < MARKER_IN_CSV_BEFORE,
        request.piece_bytes,
    )
    named: tuple[str, ...] = ()
    if request.columns:
        named = target.columns_for("--columns", request.columns, "default")
    groups: dict[tuple[str, bytes], list[Source]] = defaultdict(list)
    for identity in identities:
        for source in open_source(identity, reading, given_format=request.given_format):
            columns = named
            if source.columns is not None and not named:
                columns = target.columns_for(source.name, source.columns, request.missing)
            command = (
                f"COPY {target.sql}{column_list(columns)} FROM STDIN WITH "
                f"{source.copy_options.sql()}"
            )
            groups[command, source.line_end].append(source)
    ordered = tuple((command, tuple(sources)) for (command, _), sources in groups.items())
    return Loaded(target, ordered, tuple(identities))


def _header_rule(request: LoadRequest, target: LoadTarget) -> Callable[[list[str]], bool]:
    """Whether a first record is a header: as told, or when half of it are names of columns."""
    told = request.options.header

    def has_header(fields: list[str]) -> bool:
        if told is not None:
            return told
        if request.options.format != "csv":
            return False
        named = sum(target.is_named(field) for field in fields)
        return named > 0 and 2 * named >= len(fields)

    return has_header


def plan_of(loaded: Loaded) -> tuple[TaskPlan, Feed]:
    """How the files are cut, and where their rows come from."""
    target, reasons = loaded.target, []
    if target.triggers:
        reasons.append(("trigger", f"triggers of {target.sql} fire: {target.triggers}"))
    if target.references_itself:
        reasons.append(("self-reference", f"rows of {target.sql} refer to others of it"))
    feed = Feed([sources for _, sources in loaded.groups], whole=bool(reasons))
    parts = tuple(
        Part(total, (command,), Whole(), ROWS_PER_PIECE, cost=float(total))
        for total, (command, _) in zip(feed.parts, loaded.groups, strict=True)
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
        parts=parts if len(parts) > 1 else (),
    )
    verdict: Literal["split", "serial"] = "serial" if reasons else "split"
    return TaskPlan(verdict, tuple(reasons), (), target.unlogged, split), feed


def _unit(loaded: Loaded) -> Literal["files", "MB", "pieces"]:
    """What a piece is, in words: 1 MB of a large file, or a small file."""
    sources: Sequence[Source] = [one for _, group in loaded.groups for one in group]
    if all(source.pieces == 1 for source in sources):
        return "files"
    plain = all(source.pieces * PIECE_BYTES >= source.identity.size for source in sources)
    return "MB" if plain and len(sources) < 100 else "pieces"
