"""Workers as threads: each has an inbox and one session, and answers into the loop's one queue.

A thread spends its life waiting for the server with the GIL released, so threads are enough; the
work is the server's.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")


class WorkerAnswer(Struct, Generic[Answer], frozen=True):
    """What a worker's job returned, or the exception that no job should raise."""

    worker: int
    answer: Answer | None
    crash: BaseException | None = None


class WorkerThreads(Generic[Answer]):
    """Threads numbered from 0, each started when it gets its first job."""

    def __init__(self, answers: SimpleQueue[WorkerAnswer[Answer] | None]) -> None:
        """`answers` receives one WorkerAnswer for each job."""
        self._answers = answers
        self._inboxes: dict[int, SimpleQueue[Callable[[], Answer] | None]] = {}
        self._threads: list[threading.Thread] = []

    def submit(self, worker: int, job: Callable[[], Answer]) -> None:
        """Have the worker run `job` after those it was given before."""
        inbox = self._inboxes.get(worker)
        if inbox is None:
            inbox = self._inboxes[worker] = SimpleQueue()
            thread = threading.Thread(
                target=self._work, args=(worker, inbox), name=f"pgfan-worker-{worker}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        inbox.put(job)

    def stop(self, timeout_s: float) -> None:
        """End every thread after its current job; give up on one after `timeout_s`."""
        for inbox in self._inboxes.values():
            inbox.put(None)
        for thread in self._threads:
            thread.join(timeout_s)

    def _work(self, worker: int, inbox: SimpleQueue[Callable[[], Answer] | None]) -> None:
        while (job := inbox.get()) is not None:
            try:
                self._answers.put(WorkerAnswer(worker, job()))
            except BaseException as crash:  # noqa: BLE001  # the loop raises it in its own thread
                self._answers.put(WorkerAnswer(worker, None, crash))
