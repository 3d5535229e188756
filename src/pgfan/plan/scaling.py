"""How many workers there should be, at the beginning and from then on.

`--jobs auto` begins with the server's cores when the server runs on this machine (a Unix socket or
a loopback address), because a bulk write keeps one core busy per backend; elsewhere the cores
cannot be seen over the wire, and 4 is a start that no server minds. From there on
`pgfan.plan.climbing` looks for the number at which the most work is done. A number that the user
gives, on the command line or while the run goes on, stands instead of that.

Whatever the number, others come first where the user says so: with `nice` nothing is begun while
more than so many sessions of others are active, with `max_load` theirs and ours together stay at or
below it. A session that waits for a lock does not count as active: it uses nothing, and it may be
waiting for a table that this run has locked, which a pause would never give back. Others count as
the most of the last few samples: they are noticed at once and believed to be gone a moment later.

Values in, values out. Samples come about every second (`pgfan.execute.staffing`).
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct

from pgfan.plan import climbing
from pgfan.plan.climbing import Climb

if TYPE_CHECKING:
    from collections.abc import Sequence

REMOTE_JOBS = 4
JOBS_MAX = 10_000
AUTO_MAX = 64
"""Each backend may use work_mem several times over: more than this is for people to ask for."""
SPARE_CONNECTIONS = 2
"""The run's own: one that holds the lock and writes the journal, one that holds the snapshot."""
SAMPLED_CONNECTIONS = 1
"""One more, which looks at the server."""
SAMPLES_REMEMBERED = 3
RAMP_SHARE = 0.25
"""Chunks shorter than this part of their target are still growing: they cost more than others."""

Why: TypeAlias = (
    climbing.Why
    | Literal["as asked", "others are active", "load of others", "others are fewer", "auto again"]
)


class ServerLoad(Struct, frozen=True):
    """What the server's sessions were doing at one instant.

    `own` counts the run's workers that were active, `own_locked` those of them that waited for a
    lock of a table or row, `own_saturated` those that waited for I/O, WAL or the extension of a
    file. `others` counts active sessions of other clients, but for those that waited for a lock.
    `connections` are those the server has for workers of this run: free ones and the workers' own.
    `hidden` sessions belong to roles that this one may not look at; they count as inactive.
    """

    own: int
    own_locked: int
    own_saturated: int
    others: int
    connections: int
    hidden: int = 0


class WorkersChange(Struct, frozen=True):
    """From now on so many workers, none in a pause, and why."""

    workers: int
    why: Why


class ScalingOptions(Struct, frozen=True):
    """`jobs`: the user's number, or None for auto, which then starts at `start`.

    `most`: workers that there are connections for. `max_load` and `nice`: see the module.
    `cores_known`: `start` is the server's number of cores, not a guess. `full_s`: chunks that take
    less are not measured.
    """

    jobs: int | None
    start: int
    most: int
    max_load: int | None = None
    nice: int | None = None
    cores_known: bool = False
    full_s: float = 0.0


class Scaling:
    """The number of workers of one run. `workers` is what it is now."""

    def __init__(self, options: ScalingOptions) -> None:
        self._options = options
        self._asked = None if options.jobs is None else min(options.jobs, options.most)
        stride = options.start // 2 if options.cores_known else options.start
        self._climb = Climb(options.start, min(options.most, AUTO_MAX), stride)
        self._meter = WorkMeter(options.full_s)
        self._others: deque[int] = deque(maxlen=SAMPLES_REMEMBERED)
        self.workers = self._now()[0]

    @property
    def most(self) -> int:
        """How many there may ever be."""
        return self._options.most

    @property
    def needs_samples(self) -> bool:
        """Whether anything here depends on what the server is doing."""
        return self._asked is None or self.holds_back

    @property
    def holds_back(self) -> bool:
        """Whether others come first."""
        return self._options.max_load is not None or self._options.nice is not None

    # What happens -------------------------------------------------------------------------------

    def ask(self, jobs: int | None) -> WorkersChange | None:
        """The user wants so many workers from now on, 0 for a pause, None for auto."""
        self._asked = None if jobs is None else min(jobs, self._options.most)
        return self._change("auto again" if jobs is None else "as asked")

    def ask_more(self, count: int) -> WorkersChange | None:
        """So many more workers than there are, or fewer, but at least one."""
        now = self._asked if self._asked is not None else self._climb.workers
        return self.ask(max(1, now + count))

    def see(self, load: ServerLoad) -> WorkersChange | None:
        """A sample of the server."""
        self._others.append(load.others)
        if self._asked is None:
            if load.own:
                self._climb.waits(load.own_locked / load.own, load.own_saturated / load.own)
            step = self._climb.make_room(min(load.connections, self._options.most, AUTO_MAX))
            if step is not None:
                return self._change(step.why)
        return self._change("others are fewer")

    def staffed(self, now_s: float, busy: int) -> None:
        """`busy` workers have chunks from now on."""
        fully = busy == self.workers == self._climb.workers
        self._climb.staffed(now_s, fully=fully)

    def add_task(self, task: int, parts: Sequence[int]) -> None:
        """A split task, put together from parts of so many units."""
        self._meter.add_task(task, parts)

    def chunk_done(self, task: int, lo: int, units: int, began_s: float, seconds: float) -> None:
        """A worker did `units` of a task, from `lo` on, in one or several chunks."""
        work = self._meter.work(task, lo, units, seconds, self._climb.speed)
        if work is not None:
            self._climb.chunk_done(began_s, seconds, work)

    def chunk_failed(self, sqlstate: str) -> WorkersChange | None:
        """A chunk failed; some errors say that there are too many workers."""
        why = _TOO_MANY.get(sqlstate)
        if why is None or self._asked is not None:
            return None
        step = self._climb.failed(why)
        return self._change(step.why) if step is not None else None

    def refused(self, busy: int) -> WorkersChange | None:
        """The server had no connection for one worker more than the `busy` ones."""
        if self._asked is not None:
            return None
        step = self._climb.refused(busy)
        return self._change(step.why) if step is not None else None

    def decide(self, now_s: float) -> WorkersChange | None:
        """Whether it is time for another number."""
        if self._asked is not None:
            return None
        step = self._climb.decide(now_s)
        return self._change(step.why) if step is not None else None

    # The number ---------------------------------------------------------------------------------

    def _change(self, why: Why) -> WorkersChange | None:
        before = self.workers
        self.workers, held_back = self._now()
        if self.workers == before:
            return None
        return WorkersChange(
            self.workers, held_back if held_back and self.workers < before else why
        )

    def _now(self) -> tuple[int, Why | None]:
        """The number, and what holds it back, if anything does."""
        wanted = self._asked if self._asked is not None else self._climb.workers
        others, options = max(self._others, default=0), self._options
        if options.nice is not None and others > options.nice:
            return 0, "others are active"
        if options.max_load is not None and wanted > options.max_load - others:
            return max(0, options.max_load - others), "load of others"
        return wanted, None


_TOO_MANY: dict[str, Literal["out of memory", "deadlock"]] = {
    "53200": "out of memory",
    "40P01": "deadlock",
}


class WorkMeter:
    """Work of chunks, so that those of different tasks, and of different parts, add up.

    Work is in seconds of one worker at the speed that the server had when the first chunk of a part
    was measured; that first chunk is the gauge and tells nothing itself.
    """

    def __init__(self, full_s: float) -> None:
        """Chunks shorter than `full_s` are not measured."""
        self._full_s = full_s
        self._ends: dict[int, list[int]] = {}
        self._unit_cost: dict[tuple[int, int], float] = {}

    def add_task(self, task: int, parts: Sequence[int]) -> None:
        """A split task, put together from parts of so many units."""
        self._ends[task] = list(accumulate(parts))

    def work(self, task: int, lo: int, units: int, seconds: float, speed: float) -> float | None:
        """What a chunk of `units` from `lo` did; None when it does not tell.

        `speed` is the server's when this is the first chunk of its part.
        """
        ends = self._ends.get(task)
        if ends is None or seconds <= max(0.0, self._full_s) or not units:
            return None
        part = (task, bisect_right(ends, lo))
        if part in self._unit_cost:
            return self._unit_cost[part] * units
        self._unit_cost[part] = speed * seconds / units
        return None


# The beginning ----------------------------------------------------------------------------------


def is_local_host(host: str) -> bool:
    """Whether libpq's `host` names this machine: a socket folder, loopback, or nothing at all."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def jobs_wanted(asked: int | None, host: str, cores: int) -> int:
    """Workers for `--jobs`: the number `asked` for, or None for auto."""
    if asked is not None:
        return asked
    return cores if is_local_host(host) else REMOTE_JOBS


def jobs_allowed(wanted: int, connections_free: int, *, sampled: bool = False) -> int:
    """`wanted`, bounded by the connections the server can still give; at least 1.

    `sampled`: one of them is needed to look at the server.
    """
    spare = SPARE_CONNECTIONS + (SAMPLED_CONNECTIONS if sampled else 0)
    return max(1, min(wanted, connections_free - spare))
