"""Workers without threads: a random one does its whole job whenever the loop waits."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from pgfan.execute.threads import WorkerAnswer

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    import pytest


class SteppedWorkers:
    """Stands in for WorkerThreads and for the queue of their answers at once."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._jobs: list[tuple[int, Callable[[], Any]]] = []
        self._answers: deque[WorkerAnswer[Any] | None] = deque()
        self.before_job: Callable[[int], None] = lambda _worker: None
        self.waits = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have every runner from now on use these workers, and never wait before a retry."""
        monkeypatch.setattr("pgfan.execute.runner.WorkerThreads", lambda _answers: self)
        monkeypatch.setattr("pgfan.execute.runner.SimpleQueue", self._anew)
        monkeypatch.setattr("pgfan.plan.dealing.DELAY_S_FIRST", 0.0)

    def _anew(self) -> SteppedWorkers:
        """A new client: what an earlier one left to do is nobody's."""
        self._jobs.clear()
        self._answers.clear()
        self.waits = 0
        return self

    # As threads

    def submit(self, worker: int, job: Callable[[], Any]) -> None:
        assert worker not in {number for number, _ in self._jobs}, "two jobs for one worker"
        self._jobs.append((worker, job))

    def stop(self, timeout_s: float) -> None:
        assert timeout_s > 0

    # As a queue

    def put(self, answer: WorkerAnswer[Any] | None) -> None:
        self._answers.append(answer)

    def get(self, timeout: float | None = None) -> WorkerAnswer[Any] | None:  # noqa: ARG002  # as SimpleQueue has it
        self.waits += 1
        assert self.waits < 100_000, "the loop does not end"
        if not self._answers:
            assert self._jobs, "the loop waits, and nobody works"
            worker, job = self._jobs.pop(self._random.randrange(len(self._jobs)))
            self.before_job(worker)
            if self._answers:  # `before_job` interrupted: the job is not begun yet
                self._jobs.append((worker, job))
            else:
                return WorkerAnswer(worker, job())
        return self._answers.popleft()
