"""What is known of a statement before it runs: values that `pgfan plan` shows.

Nothing here is kept or run: the plan that a run follows is `pgfan.plan.task.TaskPlan`, decided anew
when the statement's turn comes.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgfan.errors import PgfanError
    from pgfan.events import Unit
    from pgfan.plan.rebuild import Decision


class DrivingKey(Struct, frozen=True):
    """What a statement is, or might be, divided by.

    `relation` is the driving relation as the statement names it, "generate_series" for a series;
    `alias` what the statement calls it, the same when it has no other name there. `key` is "ctid",
    "series", the name of a column, or "branches" of a UNION ALL.
    """

    relation: str
    alias: str
    key: str


class RejectedKey(Struct, frozen=True):
    """A key that was not taken, with (code, message) pairs: unsound, or sound and not the best."""

    by: DrivingKey
    reasons: tuple[tuple[str, str], ...]


class Estimate(Struct, frozen=True):
    """EXPLAIN's estimate of the one statement: rows that it writes or returns, and total cost."""

    rows: float
    cost: float


class ExampleChunk(Struct, frozen=True):
    """One chunk as it might be cut: ordinals [lo, hi) of the key's units, and its SQL."""

    lo: int
    hi: int
    sql: str


class NotYet(Struct, frozen=True):
    """A relation that does not exist, and the earlier statement that will make it."""

    relation: str
    made_by: str


class StatementPlan(Struct, frozen=True):
    """What `exec` would do with one statement or transaction block, as the database is now.

    `source` is where it stands (`build.sql:3`), `kind` what it is in words, `title` its first
    words. `reasons` are the (code, message) pairs why it is not split, `hazards` the codes of how a
    split run may differ. What the analysis did not find out is None or empty.
    """

    id: str
    source: str
    kind: str
    title: str
    verdict: Literal["split", "native", "serial"]
    reasons: tuple[tuple[str, str], ...] = ()
    by: DrivingKey | None = None
    """What divides it; None for one connection."""
    after: tuple[str, ...] = ()
    """Ids of the statements that must be done before it begins, and of gates (`ProgramPlan`)."""
    barrier: tuple[str, str] | None = None
    """(code, message): why it waits for all before it, and all after it wait for it."""
    unit: Unit = "rows"
    units: int = 1
    """Into how many pieces of the key it can be cut; a chunk is some of them."""
    rejected: tuple[RejectedKey, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    """(code, message) pairs: what people should know of a split that is made nevertheless."""
    hazards: tuple[str, ...] = ()
    estimate: Estimate | None = None
    example: ExampleChunk | None = None
    statements: tuple[str, ...] = ()
    """What a native one runs in its place, for the server's own parallel plan."""
    not_yet: tuple[NotYet, ...] = ()
    """What it needs and is not there; nothing is wrong with it then."""
    error: PgfanError | None = None
    """What PostgreSQL says against it, with the place; None when `not_yet` explains it."""
    may_pass: bool = False
    """Whether statements before it, which have not run, may do away with `error`."""

    @property
    def key(self) -> str | None:
        """What `by` cuts by; None for one connection."""
        return self.by.key if self.by else None

    @property
    def is_wrong(self) -> bool:
        """Whether PostgreSQL will refuse it, whatever the statements before it do."""
        return self.error is not None and not self.may_pass


class ProgramPlan(Struct, frozen=True):
    """What `run` would do with the tasks of scripts.

    `gates` are ids with the ids that each waits for: where many tasks wait for the same many, they
    wait for one gate. `longest` tasks must run one after the other, `widest` may run at once.
    """

    tasks: tuple[StatementPlan, ...]
    gates: Mapping[str, tuple[str, ...]]
    longest: int
    widest: int


class ProjectPlan(Struct, frozen=True):
    """What a run of a project would do: the decisions in the order of its tasks.

    `drops` are statements. With `refusals` nothing would run.
    """

    decisions: tuple[Decision, ...]
    drops: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    unfinished: str | None = None
    """The id of an unfinished run of the same script, which would be gone on with."""


class PlanCounts:
    """How many statements got which verdict, and which reasons; filled one by one."""

    def __init__(self, statements: Iterable[StatementPlan] = ()) -> None:
        self.verdicts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        """Statements by reason code; one with two reasons counts for both."""
        self.hazards: Counter[str] = Counter()
        self.not_yet = 0
        """Statements that wait for relations of earlier ones."""
        self.wrong = 0
        """Statements with an error that nothing before them can do away with."""
        for statement in statements:
            self.add(statement)

    def add(self, statement: StatementPlan) -> None:
        """Count one more."""
        self.verdicts[statement.verdict] += 1
        self.reasons.update(list(dict.fromkeys(code for code, _ in statement.reasons)))
        self.hazards.update(statement.hazards)
        self.not_yet += bool(statement.not_yet)
        self.wrong += statement.is_wrong
