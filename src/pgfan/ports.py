"""The edges of pgfan: what the loop needs of a database session, a journal, a clock and a display.

Only Protocols and the values that cross them. `pgfan.postgres` and `pgfan.report` implement them
for real, `tests/` with fakes; `pgfan.execute` knows nothing else of the world.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pgfan.errors import DatabaseError, PgfanError
    from pgfan.events import Event
    from pgfan.load.record_index import RecordIndex
    from pgfan.plan.ranges import Range
    from pgfan.plan.scaling import ServerLoad
    from pgfan.plan.task import TaskPlan
    from pgfan.sql.light import Shares


CopyData: TypeAlias = "str | Path"
"""What COPY ... FROM STDIN is given: text, or a file of the client's."""


class Result(Struct, frozen=True):
    """The answer to one statement, as text.

    `tag` is PostgreSQL's command tag ("INSERT 0 5"); `columns` is None for a statement that
    returns no rows; NULL is None; `numeric` tells which columns a table aligns to the right.
    """

    tag: str
    columns: tuple[str, ...] | None = None
    numeric: tuple[bool, ...] = ()
    rows: Sequence[tuple[str | None, ...]] = ()
    made: tuple[Result, ...] = ()
    """What statements answered that its rows made inside of a transaction block."""

    @property
    def row_count(self) -> int | None:
        """Rows that the statement touched, from its tag; None for tags without a count."""
        last = self.tag.rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else None


class Session(Protocol):
    """One connection. Not shared between threads, but for `cancel`."""

    @property
    def ended(self) -> int:
        """How many connections have ended: what had been left in them is gone."""
        ...

    def execute(self, sql: str, copies: Sequence[CopyData] = ()) -> list[Result]:
        """Send `sql` (one or more statements) over the simple protocol; one round trip.

        `copies` is what each COPY ... FROM STDIN in it is given, in order. Raises DatabaseError
        when the server refuses a statement (those after it did not run), and ConnectionLostError
        when the connection broke. Connects first if there is no connection.
        """
        ...

    def copy_from(self, sql: str, blocks: Iterable[bytes]) -> list[Result]:
        """The same for statements of which one is a COPY ... FROM STDIN of `blocks`.

        A DatabaseError that `blocks` raises fails the COPY and is raised here. When the server
        refuses a row, the rest of `blocks` is not asked for.
        """
        ...

    def copy_to(self, sql: str, take: Callable[[bytes], None]) -> list[Result]:
        """The same for statements of which one is a COPY ... TO STDOUT; `take` gets its messages.

        Whatever `take` raises is raised here, and the connection is given up.
        """
        ...

    def rollback(self) -> None:
        """Leave a transaction that failed; does nothing outside of one."""
        ...

    def prepare(self, settings: tuple[str, ...]) -> None:
        """Have the SET statements of the user's script in force, in order, before what follows."""
        ...

    def assume(self, settings: tuple[str, ...]) -> None:
        """Take these for what is in force: a task has just added the last of them itself."""
        ...

    def cancel(self) -> bool:
        """Ask the server to cancel what runs here now. From any thread; never raises.

        Whether the server has taken the request, so that it hits nothing that is sent later.
        """
        ...

    def notices(self) -> list[tuple[str, str]]:
        """Severity and text of the notices since the last call."""
        ...

    def close(self) -> None:
        """End the connection; what was not committed is gone."""
        ...


class TaskRow(Struct, frozen=True):
    """The journal's row of a task that is one transaction, written by that transaction as done.

    Writing it fails with 23505 when the task is done already.
    """

    run: str
    number: int
    source: str
    kind: str
    plan: str
    """As JSON. All of a bundle have the same."""
    rows: int | None


class Feed(Protocol):
    """Where the rows of a task come from that are not in the database. Used by many threads."""

    def blocks(self, piece: Range) -> Iterator[bytes]:
        """The bytes of the COPY for `piece`, the same each time. Raises DatabaseError."""
        ...

    def explained(self, piece: Range, error: DatabaseError) -> DatabaseError:
        """`error` of the COPY of `piece`, with its place in the files."""
        ...

    def records(self, piece: Range) -> RecordIndex:
        """The records of `piece`, one by one."""
        ...

    def place(self, piece: Range, line: int) -> str:
        """Where the `line`-th line of `piece`, from 1, is: `data.csv:1204`."""
        ...


class Rejects(Protocol):
    """Where the bad rows of a load go."""

    def check(self, count: int) -> None:
        """Raise DatabaseError when so many in one chunk, with all before, are too many."""
        ...

    def insert(self, task: int, lo: int, rejected: Sequence[Rejected]) -> str:
        """SQL that keeps the bad rows of a chunk, in its transaction, in place of earlier ones."""
        ...

    def committed(self, count: int) -> None:
        """So many are in the journal for good."""
        ...


class Rejected(Struct, frozen=True):
    """A record that COPY refused, and why."""

    place: str
    sqlstate: str
    reason: str
    data: bytes


class Sink(Protocol):
    """Where the rows of a task go that do not stay in the database. Used by many threads."""

    def write(self, piece: Range, rows: Callable[[Callable[[bytes], None]], int]) -> int:
        """Take the rows of `piece`, in place of any taken before; how many they were.

        `rows` hands the messages of the COPY to what it is given, and returns their number.
        """
        ...


class Journal(Protocol):
    """SQL that makes a chunk exactly-once; every text ends with a semicolon or is empty."""

    def claim(self, task: int, lo: int, hi: int, *, unlogged: bool) -> str:
        """The INSERT of the chunk's row: fails with 23505 when the chunk is already done."""
        ...

    def settle(
        self, task: int, lo: int, rows: int | None, seconds: float, *, unlogged: bool
    ) -> str:
        """The UPDATE that adds what the chunk did to its row, for the end of its transaction."""
        ...

    def is_duplicate(self, error: Exception) -> bool:
        """Whether `error` says that the chunk's row was there already."""
        ...

    def chunk_of(
        self, session: Session, task: int, lo: int, *, unlogged: bool
    ) -> tuple[int, int | None]:
        """The upper bound and the rows of a chunk that is in the journal."""
        ...

    def claim_tasks(self, rows: Sequence[TaskRow]) -> str:
        """The INSERT of the rows of tasks that are done by one transaction."""
        ...

    def settle_task(self, row: TaskRow, rows: int | None, seconds: float) -> str:
        """The UPDATE that adds to a task's row what it did, for the end of its transaction."""
        ...

    def rows_of(self, session: Session, row: TaskRow) -> int | None:
        """The rows of a task that is in the journal as done."""
        ...

    def mark_outside(self, task: int) -> str:
        """The UPDATE that says: from now on the task runs outside of a transaction."""
        ...


class Member(Struct, frozen=True):
    """A light task of a bundle, by its number.

    `shares`: what it may have in common with its neighbours that may, too (`pgfan.sql.light`).
    `rows` are those that its text has; None for a statement that counts none.
    """

    number: int
    task: PreparedTask
    shares: Shares
    rows: int | None


class PreparedTask(Struct, frozen=True):
    """A task that is ready to run, or that the journal has whole (`skipped`).

    `key` is its row in the journal. `begin` opens a chunk's transaction. `statements` is the text
    of a serial task; a split one has it in its plan. `done`, `rows_done` and `seconds_done` are
    what an earlier client committed.
    """

    key: int
    plan: TaskPlan
    begin: str
    statements: tuple[str, ...]
    settings: tuple[str, ...]
    """In force while it runs."""
    leaves: tuple[str, ...] = ()
    """Settings that its statements add to them."""
    done: tuple[Range, ...] = ()
    rows_done: int = 0
    chunks_done: int = 0
    counts: bool = False
    """Whether `rows_done` is a count, and not just the absence of one."""
    skipped: bool = False
    is_block: bool = False
    """Whether `begin` is the user's own."""
    rolls_back: bool = False
    pinned: bool = True
    """Whether only the first worker may run it, unless it is split."""
    needs: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Tasks that must have run on the connection that it runs on, since it needs what they left
    there, by what is said when that is lost."""
    row: TaskRow | None = None
    """The row that its own transaction writes; there are no chunks, and `key` is 0."""
    copies: tuple[CopyData, ...] = ()
    """What the statements' COPY ... FROM STDIN are given, in order."""
    feed: Feed | None = None
    """What a chunk's COPY ... FROM STDIN reads."""
    rejects: Rejects | None = None
    """Where bad rows go; None: they fail their chunk."""
    sink: Sink | None = None
    """What a chunk's COPY ... TO STDOUT writes."""
    keep: Callable[[Sequence[tuple[str | None, ...]]], str] | None = None
    """SQL that keeps the rows of a query, of which statements are made, in its transaction."""
    makes: Mapping[int, Callable[[Sequence[tuple[str | None, ...]]], Iterable[str]]] = field(
        default_factory=dict
    )
    """By the places in `statements` of queries that make statements: the texts of their rows."""
    members: tuple[Member, ...] = ()
    """The tasks of a bundle (`pgfan.plan.bundles`), which has nothing else of its own: its ordinals
    are their places."""


class Upkeep(Struct, frozen=True):
    """What pgfan does of its own between tasks: ANALYZE of `tables`, and why, in words."""

    statement: str
    tables: tuple[str, ...]
    why: str


class ChunksLost(Struct, frozen=True):
    """What the journal holds of a task after a crash of the server took some of it."""

    done: tuple[Range, ...]
    rows: int


class Coordinator(Protocol):
    """The part of a run that is not chunks: verdicts, snapshots, the journal's task rows.

    Called from the loop's thread, while the first worker's session is idle.
    """

    def prepare(self, number: int) -> PreparedTask:
        """Find the task's plan, or take the journal's. Raises PgfanError when it cannot run."""
        ...

    def renew(self, number: int) -> str:
        """A new snapshot in place of a lost one: the new `begin`. Raises ResumeRefusedError."""
        ...

    def finish(
        self, number: int, rows: int | None, chunks: int, seconds: float
    ) -> ChunksLost | None:
        """Mark the task done, durably; or, when the journal lacks chunks that were committed, not.

        A crash of the server takes the last commits that were not flushed, and all of an unlogged
        table: work and journal rows together. Raises DatabaseError when the task cannot end: a
        table of the name that it was to give is there.
        """
        ...

    def fail(self, number: int, error: PgfanError | None) -> str | None:
        """Mark the task failed; a task of unknown outcome stays what it is.

        What the task leaves behind that people would not look for, in words.
        """
        ...

    def vanished(self) -> tuple[int, ...]:
        """Tasks that were done and are no more: a crash has emptied their unlogged tables."""
        ...

    def cancel(self) -> None:
        """Cancel what runs in the coordinator's own sessions; from a signal handler."""
        ...


class Sampler(Protocol):
    """Looks at what the server is doing. Called from one thread, but for `cancel`."""

    def sample(self) -> ServerLoad:
        """The server's sessions at this instant. Raises PgfanError when it cannot tell."""
        ...

    def cancel(self) -> None:
        """Have a sample that is being taken end soon; from any thread, never raises."""
        ...

    def close(self) -> None:
        """End its connection."""
        ...


class Control(Protocol):
    """Hears what the user tells a run while it goes on."""

    def heard(self) -> list[int | None]:
        """Numbers of workers asked for since the last call, in order; None: auto. Never blocks."""
        ...


class Clock(Protocol):
    """Monotonic seconds."""

    def now_s(self) -> float:
        """Seconds since some fixed instant; never goes back."""
        ...


class Progress(Protocol):
    """Whoever shows a run."""

    def emit(self, event: Event) -> None:
        """Take the next event. Called from one thread, in order; must not raise or block long."""
        ...
