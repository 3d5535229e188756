"""What a run needs of the world, put together by whoever starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.errors import PgfanError
    from pgfan.plan.scaling import Scaling
    from pgfan.plan.scheduler import Scheduler
    from pgfan.ports import (
        Clock,
        Control,
        Coordinator,
        Journal,
        Progress,
        Result,
        Sampler,
        Session,
        Upkeep,
    )


class RunContext(Struct, frozen=True):
    """What a run needs of the world. `sessions` has one session for each worker there may be.

    `scaling` says how many there are; without one, as many as sessions.
    """

    run_id: str
    sessions: Sequence[Session]
    journal: Journal | None
    coordinator: Coordinator
    progress: Progress
    clock: Clock
    on_result: Callable[[int, Sequence[Result]], None]
    on_error: Callable[[int, PgfanError, int], PgfanError]
    """Task, error, index of its statement: the error with its place in the user's source."""
    order: Sequence[int] | None = None
    """Numbers of tasks as the result lists them; None: as they are."""
    resumed: bool = False
    notes: tuple[str, ...] = ()
    """What the user should know before the run starts."""
    scaling: Scaling | None = None
    sampler: Sampler | None = None
    control: Control | None = None
    script_session: Session | None = None
    """The session of pinned tasks, when no other task may see what they leave there (temporary
    tables hide others); None: the first worker's."""
    on_end: Callable[[int], None] = lambda _: None
    """A task will say nothing more."""
    upkeep: Callable[[int], Upkeep | None] = lambda _: None
    """What a step that is none of the script's tasks has to do. Raises PgfanError."""
    next_scheduler: Callable[[int, frozenset[int]], Scheduler | None] = lambda *_: None
    """Whoever decides, for so many workers, on the tasks known once all others have ended.

    It is told which of those have failed or were not run."""
    keep_going: bool = False
    """Whether more tasks follow when one has failed."""
