"""What waits for what: the accesses of tasks to a directed graph without cycles.

A script runs as a superscalar processor runs a program: out of order, with the result of in order.
Two tasks whose effects meet on an object keep their order (read after write, write after read,
write after write); all others may change places or run at once. `CONFLICTS` is the one table of
what meets; docs/order.md explains it.

The graph has few edges: for each object only the tasks that later ones could still have to wait for
are kept, and many that wait for many do so through a gate, a step without a task. So n appends and
then n reads of one table are 2n edges, not n * n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pgfan.sql.effects import Accesses, Effect

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """A node: a task, or a gate (`task` None), done as soon as all that it waits for is done.

    `after` are numbers of earlier steps, ascending, without duplicates. Not transitively reduced.
    """

    number: int
    after: tuple[int, ...]
    task: T | None
    pinned_to: str | None = None
    """The session whose one connection must run it; None: any connection."""


class Sequencer(Generic[T]):
    """Sequence mode: tasks come in program order, and each gets its steps at once.

    So the first can run while the last are not yet read.
    """

    def add(self, task: T, accesses: Accesses, session: str = "") -> tuple[Step[T], ...]:
        """The next task's step, after the gates that it needs (usually none).

        `session` names the script whose connection a pinned task needs.
        """
        raise NotImplementedError


def conflict(earlier: Accesses, later: Accesses) -> tuple[Effect | None, Effect | None] | None:
    """Why `later` waits for `earlier`: an effect of each; (None, None) for a barrier; or None.

    This is the definition, quadratic in the effects; `Sequencer` does the same with few steps.
    """
    raise NotImplementedError


def order_files(files: Sequence[tuple[str, Sequence[Accesses]]]) -> tuple[int, ...]:
    """Set mode: the order in which files are then read as one sequence, as indexes into `files`.

    Definers come before writers, writers before readers, whatever the file names; ties by name;
    opaque ones as late as the others allow. Each file's accesses are those found when the
    definitions of all files are known. Raises CycleError.
    """
    raise NotImplementedError


class CycleError(Exception):
    """Files that wait for each other. `path` alternates file, effect, file, ...; the last file is
    the first one again."""

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(" -> ".join(path))
        self.path = tuple(path)


def reduced(steps: Sequence[Step[T]]) -> tuple[tuple[int, ...], ...]:
    """For each step those of `after` that no other one of them already waits for: for display."""
    raise NotImplementedError


def critical_path(steps: Sequence[Step[T]], seconds: Iterable[float]) -> tuple[float, ...]:
    """For each step the seconds from its start to the end of all that waits for it.

    `seconds` are the estimated durations, one for each step; gates take none.
    """
    raise NotImplementedError
