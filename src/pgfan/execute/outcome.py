"""What a run comes to: the typed result that Python returns and that `--json` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from pgfan.errors import PgfanError
    from pgfan.events import TaskState

SCHEMA = 1


class TaskOutcome(Struct, frozen=True):
    """One task. `rows` is what its statements touched, in all runs together; None: no count.

    `reasons` are (code, message) pairs; `seconds` is wall time in this run; `key` is None for a
    task that was not split; `stragglers` counts chunks that were cancelled so that idle workers
    could share them.
    """

    id: str
    source: str
    kind: str
    state: TaskState
    verdict: str = "serial"
    key: str | None = None
    reasons: tuple[tuple[str, str], ...] = ()
    hazards: tuple[str, ...] = ()
    chunks: int = 0
    rows: int | None = None
    seconds: float = 0.0
    error: PgfanError | None = None
    stragglers: int = 0
    rejected: int | None = None
    """Bad rows that a load has put aside, in all runs together; None when it puts none aside."""

    def to_json(self) -> dict[str, Any]:
        """JSON values, as documented for `--json`."""
        found = {
            "id": self.id,
            "source": self.source,
            "kind": self.kind,
            "state": self.state,
            "verdict": self.verdict,
            "key": self.key,
            "reasons": [{"code": code, "message": text} for code, text in self.reasons],
            "hazards": list(self.hazards),
            "chunks": self.chunks,
            "stragglers": self.stragglers,
            "rows": self.rows,
            "seconds": round(self.seconds, 6),
            "error": self.error.message if self.error else None,
        }
        return found if self.rejected is None else {**found, "rejected": self.rejected}


class RunResult(Struct, frozen=True):
    """A run. `ok`: every task is done or skipped. `interrupted`: the same command goes on."""

    run: str
    ok: bool
    seconds: float
    jobs: int
    tasks: tuple[TaskOutcome, ...]
    interrupted: bool = False
    analysed: tuple[str, ...] = ()
    """Tables that the run has analysed of its own accord before statements that join them."""
    as_built: int | None = None
    """Of a project: how many tasks did not run, because what they build is built."""

    @property
    def state(self) -> Literal["done", "interrupted", "failed"]:
        """As the journal has it."""
        if self.ok:
            return "done"
        return "interrupted" if self.interrupted else "failed"

    @property
    def error(self) -> PgfanError | None:
        """The first error of a task, if any failed."""
        return next((task.error for task in self.tasks if task.error), None)

    def to_json(self) -> dict[str, Any]:
        """JSON values, as documented for `--json`."""
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "run": self.run,
            "ok": self.ok,
            "seconds": round(self.seconds, 6),
            "jobs": self.jobs,
            "tasks": [task.to_json() for task in self.tasks],
        }
        if self.analysed:
            found["analysed"] = list(self.analysed)
        return found if self.as_built is None else {**found, "as_built": self.as_built}
