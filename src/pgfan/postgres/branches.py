"""A UNION ALL's branches to the parts of a task: which are cut, which run once, and with whom.

Each branch is asked for its own cost, the others being empty. One that is worth it is cut on its
own driving relation; one that is small, or cannot be cut, runs once, small ones together. Parts
that cannot be cut come first, the longest of them at the very front: at the end of the task there
must be something to share. Neighbours lie in several tablespaces where there are several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.plan.keys import dealt
from pgfan.plan.task import Part, Whole
from pgfan.sql.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.events import Unit
    from pgfan.plan.task import SplitPlan
    from pgfan.sql.assemble import Assembly
    from pgfan.sql.branches import Branch, Branches
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.distribute import Split
    from pgfan.sql.rewrite import Template

TEXT_CHARS_MAX = 4_000_000
"""The SQL of all parts together, which the journal keeps: each holds the whole statement."""


class Cuttable(Struct, frozen=True):
    """A split that is chosen; `cut` measures its domain, once the snapshot is open."""

    cut: Callable[[], SplitPlan]
    driving: Candidate | None
    notes: tuple[Reason, ...] = ()
    """What people should know of it."""
    tablespace: int = 0
    """Where the relation that is divided lies."""


class Cutter(Struct, frozen=True):
    """What the branches of one statement are measured and cut with.

    `small_cost`: below it nothing is cut, and branches that run once are put together up to it.
    `cost` is EXPLAIN's. `prepare` says how a branch that costs so much is cut, given what puts its
    SQL into the whole statement.
    """

    small_cost: float
    cost: Callable[[str], float | Reason]
    prepare: Callable[[Split, float, Callable[[Template], Template]], Cuttable | Reason]


class _Once(Struct, frozen=True):
    template: Template
    cost: float


class Divided(Struct, frozen=True):
    """The branches of a statement on their way to parts."""

    once: tuple[_Once, ...]
    cuttable: tuple[tuple[Cuttable, float], ...]

    def parts(self) -> tuple[tuple[Unit | None, Part], ...]:
        """The parts as of the snapshot, in the order of the domain, and what their ordinals are.

        None of them is empty; one that runs once has no unit.
        """
        found: list[tuple[Unit | None, Part]] = [
            (None, Part(1, one.template.pieces, Whole(), cost=one.cost))
            for one in sorted(self.once, key=lambda one: -one.cost)
        ]
        longest_first = sorted(self.cuttable, key=lambda pair: -pair[1])
        for branch, cost in dealt(longest_first, lambda pair: pair[0].tablespace):
            cut = branch.cut()
            part = Part(
                cut.total,
                cut.pieces,
                cut.bounds,
                cut.rows_per_unit,
                cut.columns,
                cost,
                cut.bytes_per_unit,
                cut.expected,
            )
            found.append((cut.unit, part))
        return tuple((unit, part) for unit, part in found if part.total)

    @property
    def notes(self) -> tuple[Reason, ...]:
        """What people should know of some branch."""
        return tuple(dict.fromkeys(note for branch, _ in self.cuttable for note in branch.notes))

    def joined(self, plan: Callable[..., SplitPlan]) -> SplitPlan:
        """`plan` with the parts as of the snapshot."""
        parts = self.parts()
        units: set[Unit] = {unit for unit, _ in parts if unit}
        return plan(
            key="branches",
            unit=units.pop() if len(units) == 1 else "units",
            total=sum(part.total for _, part in parts),
            pieces=(),
            bounds=Whole(),
            parts=tuple(part for _, part in parts),
        )


def first_that_works(ways: Sequence[Callable[[], Cuttable | Reason]]) -> Cuttable | Reason:
    """What the first way that works comes to; the reason of the first when none does."""
    why: Reason | None = None
    for way in ways:
        found = way()
        if not isinstance(found, Reason):
            return found
        why = why or found
    return why or Reason("no-driving-relation", "there is nothing to divide")


def divide(branches: Branches, assembly: Assembly, cutter: Cutter) -> Divided | Reason:
    """Ask the server about every branch; a Reason when the statement is not worth dividing."""
    cuttable: list[tuple[Cuttable, float]] = []
    single: list[tuple[int, float]] = []
    why: list[Reason] = []
    chars = sum(map(len, (*assembly.whole, *assembly.empty)))
    if chars * len(branches) > TEXT_CHARS_MAX:
        long = "every chunk would carry all branches, and they are too long for that"
        return Reason("set-operation", long)
    for number, branch in enumerate(branches):
        cost = _cost(number, branch, assembly, cutter)
        if isinstance(cost, Reason):
            return cost
        found = _cut(number, branch, assembly, cutter, cost)
        if isinstance(found, Reason):
            why.append(found)
            single.append((number, max(cost, 1.0)))
        else:
            cuttable.append((found, max(cost, 1.0)))
    once = _together(single, assembly, cutter)
    if len(once) == 1 and not cuttable:
        return why[0]
    return Divided(once, tuple(cuttable))


def _cost(number: int, branch: Branch, assembly: Assembly, cutter: Cutter) -> float | Reason:
    """Of a branch at the top as a query of its own, of one in FROM with all that stands above."""
    if max(branch.path) < 0:
        cost = cutter.cost(assembly.whole[number])
        if not isinstance(cost, Reason):
            return cost
    return cutter.cost(assembly.statement({number: None}).pieces[0])


def _cut(
    number: int, branch: Branch, assembly: Assembly, cutter: Cutter, cost: float
) -> Cuttable | Reason:
    if not branch.candidates:
        return branch.reasons[0]
    if cost < cutter.small_cost:
        return Reason("small", f"a branch costs {cost:.0f} by EXPLAIN")
    return cutter.prepare(
        assembly.alone[number], cost, lambda template: assembly.statement({number: template})
    )


def _together(
    single: list[tuple[int, float]], assembly: Assembly, cutter: Cutter
) -> tuple[_Once, ...]:
    """Small branches in one chunk, as many as are worth one together."""
    groups: list[dict[int, float]] = []
    for number, cost in sorted(single, key=lambda pair: pair[1]):
        if not groups or sum(groups[-1].values()) + cost > cutter.small_cost:
            groups.append({})
        groups[-1][number] = cost
    return tuple(
        _Once(assembly.statement(dict.fromkeys(group)), sum(group.values())) for group in groups
    )
