"""The loop's side of the number of workers: what the law is told, and when it is asked.

`pgfan.plan.scaling` decides; here are the thread that takes a sample of the server about every
second, the control that hears the user, the times of chunks, and the events that tell of changes.
Everything but the sampling happens in the loop's thread, which looks here when a chunk ends and at
least every LOOK_S. A run that ends before the first second never opens the sampler's connection,
unless others come first from the start.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from pgfan.errors import PgfanError
from pgfan.execute.worker import ChunkDoneReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.execute.account import RunAccount
    from pgfan.execute.worker import Report
    from pgfan.plan.ranges import Range
    from pgfan.plan.scaling import Scaling, ServerLoad, WorkersChange
    from pgfan.plan.task import SplitPlan
    from pgfan.ports import Clock, Control, Sampler

LOOK_S = 1.0
"""A pause ends, and a change is heard, within so much."""
SAMPLE_FAILED_S = 5.0
STOP_TIMEOUT_S = 5.0
HIDDEN = (
    "{count} sessions belong to roles that this one may not look at, and count as inactive: "
    "GRANT pg_read_all_stats to it, and --nice and --max-load see them"
)


class Staffing:
    """Keeps `scaling` informed. With `control` None nothing is heard but `ask_more`."""

    def __init__(
        self,
        scaling: Scaling,
        account: RunAccount,
        clock: Clock,
        sampler: Sampler | None,
        control: Control | None,
    ) -> None:
        self._scaling = scaling
        self._account = account
        self._clock = clock
        self._sampling = _Sampling(sampler) if sampler is not None else None
        self._control = control
        self._asked_more: SimpleQueue[int] = SimpleQueue()
        self._began_s: dict[int, float] = {}
        self._looked_s = clock.now_s()
        self.workers_most = scaling.workers
        """The largest number so far."""
        self._told_hidden = False

    @property
    def workers(self) -> int:
        """How many there are now."""
        return self._scaling.workers

    def begin(self) -> int:
        """Look at the server first where others come first; how many workers begin."""
        if self._sampling is not None and self._scaling.holds_back:
            self._sampling.sample()
            self._take_sample()
        self._sample_if_needed()
        self.workers_most = self._scaling.workers
        return self._scaling.workers

    def stop(self) -> None:
        """End the sampling."""
        if self._sampling is not None:
            self._sampling.stop()

    # Chunks -------------------------------------------------------------------------------------

    def task_prepared(self, task: int, split: SplitPlan | None) -> None:
        """A task's chunks are about to begin."""
        if split is not None:
            units = [part.total for part in split.parts] or [split.total]
            self._scaling.add_task(task, units)

    def chunk_started(self, worker: int, attempt: int) -> None:
        """A worker takes a batch. Only first attempts are timed: others wait before they begin."""
        if attempt == 1:
            self._began_s[worker] = self._clock.now_s()

    def batch_ended(
        self, worker: int, task: int, pieces: Sequence[Range], reports: Sequence[Report]
    ) -> None:
        """A worker's batch is over; whatever of it failed tells nothing of the pace."""
        began_s, now_s = self._began_s.pop(worker, None), self._clock.now_s()
        done = [
            piece
            for piece, report in zip(pieces, reports, strict=False)
            if isinstance(report, ChunkDoneReport) and not report.duplicate
        ]
        if began_s is None or not done or len(done) < len(reports):
            return
        units = sum(len(piece) for piece in done)
        self._scaling.chunk_done(task, done[0].lo, units, began_s, now_s - began_s)

    def chunk_failed(self, sqlstate: str) -> None:
        """A chunk failed with this error."""
        self._tell(self._scaling.chunk_failed(sqlstate))

    def refused(self, busy: int) -> None:
        """A worker got no connection while `busy` others have one."""
        self._tell(self._scaling.refused(busy))

    def staffed(self, since_s: float, busy: int) -> None:
        """`busy` workers have chunks, since that time of the clock."""
        self._scaling.staffed(since_s, busy)

    # Looking ------------------------------------------------------------------------------------

    def ask_more(self, count: int) -> None:
        """The user wants so many more, or fewer; heard at the next look. From any thread."""
        self._asked_more.put(count)

    def look(self) -> None:
        """After something has happened, or nothing for LOOK_S."""
        now_s = self._clock.now_s()
        while not self._asked_more.empty():
            self._tell(self._scaling.ask_more(self._asked_more.get()))
        self._tell(self._scaling.decide(now_s))
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self._take_sample()
            for jobs in self._control.heard() if self._control is not None else ():
                self._tell(self._scaling.ask(jobs))
            self._sample_if_needed()

    def _take_sample(self) -> None:
        if self._sampling is None:
            return
        load, failure = self._sampling.take()
        if failure is not None:
            self._account.say("warning", f"cannot look at the server's sessions: {failure}")
        if load is None:
            return
        if load.hidden and self._scaling.holds_back and not self._told_hidden:
            self._told_hidden = True
            self._account.say("warning", HIDDEN.format(count=load.hidden))
        self._tell(self._scaling.see(load))

    def _sample_if_needed(self) -> None:
        if self._sampling is not None and self._scaling.needs_samples:
            self._sampling.start()

    def _tell(self, change: WorkersChange | None) -> None:
        if change is not None:
            self.workers_most = max(self.workers_most, change.workers)
            self._account.workers_changed(change)


class _Sampling:
    """The thread that takes samples; the loop takes the latest."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._latest: ServerLoad | None = None
        self._failure: str | None = None
        self._failed = False
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pgfan-sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._sampler.cancel()
            self._thread.join(STOP_TIMEOUT_S)
        if self._thread is None or not self._thread.is_alive():
            self._sampler.close()

    def take(self) -> tuple[ServerLoad | None, str | None]:
        """The latest sample if it is new, and why there is none, told once in a row."""
        latest, self._latest = self._latest, None
        failure, self._failure = self._failure, None
        return latest, failure

    def sample(self) -> None:
        try:
            self._latest = self._sampler.sample()
            self._failed = False
        except PgfanError as error:
            if not self._failed:
                self._failure = error.message
            self._failed = True

    def _run(self) -> None:
        while not self._stopping.wait(SAMPLE_FAILED_S if self._failed else LOOK_S):
            self.sample()
