"""What the loop tells the scheduler (events) and what the scheduler asks of it (commands).

Values only; `pgfan.plan.scheduler` gives them their meaning. Tasks and workers are numbers, and
ranges are ordinals of a task's domain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from pgfan.plan.sizing import UNKNOWN, Costs

if TYPE_CHECKING:
    from pgfan.plan.ranges import Range

Disposition: TypeAlias = Literal["fatal", "again", "halve", "renew", "duplicate", "cancelled"]
"""What to do about a failed chunk: give up the task, run it again, cut it in two, take a new
snapshot first, nothing, because its row was in the journal already, or share it out, because it
was cancelled for that (CancelChunk) and has been rolled back."""


class Begin(Struct, frozen=True):
    """Start the run."""


class PartSize(Struct, frozen=True):
    """Ordinals of one kind in a task's domain; `cost` of all of them in any unit, positive."""

    units: int
    rows_per_unit: float = 1.0
    cost: float = 1.0
    bytes_per_unit: float = 0.0
    """Size of what a unit reads or writes, whichever is known; 0: neither is."""
    expected: Costs = UNKNOWN
    """What a chunk costs by EXPLAIN."""


class Prepared(Struct, frozen=True):
    """A task's domain is [0, `total`); the journal holds `done`. `worker` pins it to one worker.

    `parts` follow each other in the domain, and no chunk reaches into two of them. Without any, all
    of it is one part. `target` names the table that its chunks write. `in_order`: a worker takes
    all ordinals that are left at once, each a chunk, and does them in order.
    """

    task: int
    total: int
    done: tuple[Range, ...] = ()
    worker: int | None = None
    rows_per_unit: float = 1.0
    parts: tuple[PartSize, ...] = ()
    bytes_per_unit: float = 0.0
    expected: Costs = UNKNOWN
    target: str | None = None
    in_order: bool = False


class PrepareFailed(Struct, frozen=True):
    """A task cannot start (or go on, after a Renew)."""

    task: int


class Skipped(Struct, frozen=True):
    """The journal says that the whole task is done."""

    task: int


class ChunkDone(Struct, frozen=True):
    """A worker's chunk is committed after `seconds`, or so are the `count` oldest that it has."""

    worker: int
    seconds: float
    count: int = 1


class ChunkFailed(Struct, frozen=True):
    """A worker's chunk left nothing behind, or is in doubt. See Disposition for what to do."""

    worker: int
    disposition: Disposition


class WorkerUnavailable(Struct, frozen=True):
    """The server gives this worker no connection for now (53300)."""

    worker: int


class WorkersAllowed(Struct, frozen=True):
    """From now on `count` workers may be busy; what runs beyond that is ended. 0 is a pause."""

    count: int


class Renewed(Struct, frozen=True):
    """The task's snapshot was taken anew; its chunks may go on."""

    task: int


class Finished(Struct, frozen=True):
    """The journal says that the task is done."""

    task: int


class FinishFailed(Struct, frozen=True):
    """Every range is done, but the server refuses the end of the task: it fails."""

    task: int


class Reopened(Struct, frozen=True):
    """The server crashed and lost chunks that were done: the journal holds `done` alone."""

    task: int
    done: tuple[Range, ...]


class Tick(Struct, frozen=True):
    """Nothing happened until the instant that the scheduler asked to be told of."""


class Drain(Struct, frozen=True):
    """Start nothing more; the run is over when what runs now has ended."""


Event: TypeAlias = (
    Begin
    | Prepared
    | PrepareFailed
    | Skipped
    | ChunkDone
    | ChunkFailed
    | WorkerUnavailable
    | WorkersAllowed
    | Renewed
    | Finished
    | FinishFailed
    | Reopened
    | Tick
    | Drain
)


class Prepare(Struct, frozen=True):
    """Find the task's verdict and domain; answer Prepared, Skipped or PrepareFailed."""

    task: int


class StartChunk(Struct, frozen=True):
    """Run `piece` of the task on the worker after `delay_s`; `attempt` counts from 1.

    `more` are further chunks to run after it, each its own transaction and each answered for, in
    order, until one fails: chunks so short that asking between them would cost more than they do.
    """

    worker: int
    task: int
    piece: Range
    attempt: int = 1
    delay_s: float = 0.0
    more: tuple[Range, ...] = ()


class CancelChunk(Struct, frozen=True):
    """Cancel what the worker runs of the task now, because idle workers would end it sooner.

    The worker's report decides: the chunk may be committed, or have failed, before that. The cancel
    must never reach what the worker runs afterwards.
    """

    worker: int
    task: int


class Renew(Struct, frozen=True):
    """The task's snapshot is gone: take a new one if that is sound; Renewed or PrepareFailed."""

    task: int


class Finish(Struct, frozen=True):
    """Every range is done: mark the task in the journal; Finished, FinishFailed or Reopened."""

    task: int


class Fail(Struct, frozen=True):
    """The task failed and nothing of it runs any more."""

    task: int


class LeaveOut(Struct, frozen=True):
    """The task needs the task `failed`, and will not run."""

    task: int
    failed: int


Command: TypeAlias = Prepare | StartChunk | CancelChunk | Renew | Finish | Fail | LeaveOut
