"""The graph of a whole script before anything has run: what each task waits for, for people.

Edges are those of `pgfan.plan.graph`, reduced to what must be said, and gates to where they save
many. What the tasks touch comes from `pgfan.sql.accesses.accesses_of`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pgfan.plan.graph import Sequencer, reduced
from pgfan.sql.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.plan.graph import Step
    from pgfan.sql.effects import Accesses

GATE_MIN = 20
"""Fewer tasks than these are named one by one, however many others wait for them."""


class Outline(Struct, frozen=True):
    """The tasks' accesses and edges; tasks are numbered from 0, as the items of the script are.

    `after[n]` are the tasks that task n waits for, transitively reduced, ascending. Where many wait
    for the same many, they do so through a gate: a negative number, a key of `gates`, whose value
    is what the gate waits for. So edges stay few.
    """

    accesses: tuple[Accesses, ...]
    after: tuple[tuple[int, ...], ...]
    gates: dict[int, tuple[int, ...]]
    longest: int
    """Tasks that must run one after the other, at the most."""
    widest: int
    """Tasks that stand in one row when each stands as far to the front as it may."""

    def objection(self, number: int) -> Reason | None:
        """Why a task is not split, whatever its statement says."""
        return session_objection(self.accesses[number])

    def tasks_after(self, number: int) -> list[int]:
        """The tasks that task `number` waits for, gates opened, ascending."""
        found: set[int] = set()
        todo = list(self.after[number])
        while todo:
            one = todo.pop()
            if one < 0:
                todo += self.gates[one]
            else:
                found.add(one)
        return sorted(found)


def outline_of(accesses: Sequence[Accesses]) -> Outline:
    """The graph of tasks that touch these things, in program order."""
    sequencer: Sequencer[int] = Sequencer()
    steps: list[Step[int]] = []
    for number, found in enumerate(accesses):
        steps += sequencer.add(number, found)
    return _outline(tuple(accesses), _without_small_gates(steps))


def session_objection(accesses: Accesses) -> Reason | None:
    """Why a task that needs its script's one connection is not split; None for others."""
    if not accesses.is_pinned:
        return None
    uses = ", ".join(sorted(accesses.session))
    return Reason("session", f"only its own session has what it uses or leaves: {uses}")


def _without_small_gates(steps: Sequence[Step[int]]) -> list[Step[int]]:
    """`steps` numbered anew; what small gates wait for, and those of one user, in their place."""
    users = Counter(number for step in steps for number in step.after)
    stands_for: list[tuple[int, ...]] = []
    found: list[Step[int]] = []
    for step in steps:
        after = {one for number in step.after for one in stands_for[number]}
        if step.task is None and (users[step.number] < 2 or len(after) < GATE_MIN):
            stands_for.append(tuple(after))
        else:
            stands_for.append((len(found),))
            found.append(replace(step, number=len(found), after=tuple(sorted(after))))
    return found


def _outline(accesses: tuple[Accesses, ...], steps: Sequence[Step[int]]) -> Outline:
    names: list[int] = []
    after: list[tuple[int, ...]] = []
    gates: dict[int, tuple[int, ...]] = {}
    rows: list[int] = []
    for step, kept in zip(steps, reduced(steps), strict=True):
        before = tuple(sorted(names[number] for number in kept))
        row = max((rows[number] for number in kept), default=0)
        if step.task is None:
            names.append(-1 - len(gates))
            gates[names[-1]] = before
        else:
            names.append(step.task)
            after.append(before)
            row += 1
        rows.append(row)
    tasks = Counter(row for row, name in zip(rows, names, strict=True) if name >= 0)
    return Outline(
        accesses,
        tuple(after),
        gates,
        longest=max(tasks, default=0),
        widest=max(tasks.values(), default=0),
    )
