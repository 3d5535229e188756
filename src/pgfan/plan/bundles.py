"""Light tasks put together: one worker takes many of them at once, in program order.

A task that is over in less time than it takes to ask for the next one is not worth a place in the
scheduler: it goes into a bundle, which is one task there. Its members run one after the other, so
that a chain of them may be one bundle too.

A task joins a bundle only if all that it waits for is in the bundle, or is waited for by the
bundle's first member: no member waits for longer than it would have waited alone, but for the other
members. What comes after a member waits for all of them; a bundle is over in milliseconds.

The bundles, too, wait for each other without a cycle: whatever a bundle waits for begins, in
program order, before the bundle does. That holds for its first member, and each later one waits for
nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from pgfan.plan.dag import TaskSpec

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

COST_MAX = 256
"""Of the members together, in one-row INSERTs: 20 ms or so of the server's time."""
CHARS_MAX = 256 << 10
"""Of the members' texts together."""


class Light(Struct, frozen=True):
    """What is said of a light task: only those of one `kin` go together; `chars` of SQL.

    `cost` is how many one-row INSERTs take as long.
    """

    kin: Hashable
    chars: int
    cost: int = 1


class _Bundle(Struct):
    """One that is being put together; it is called by its first member."""

    after: frozenset[int]
    """Bundles and single tasks, by their first members."""
    kin: Hashable
    members: list[int] = field(default_factory=list)
    chars: int = 0
    cost: int = 0

    def has_room(self, light: Light) -> bool:
        """Whether a task may join, for all that it waits for."""
        fits = self.chars + light.chars <= CHARS_MAX and self.cost + light.cost <= COST_MAX
        return fits and self.kin == light.kin


class Bundles(Struct, frozen=True):
    """`specs` with each bundle under the number of its first member, and `members` by it.

    A bundle has two members or more.
    """

    specs: tuple[TaskSpec, ...]
    members: Mapping[int, tuple[int, ...]]


def bundled(specs: Sequence[TaskSpec], light: Mapping[int, Light]) -> Bundles:
    """Put the tasks in `light` together; `specs` are in program order, and so is the answer."""
    made: dict[int, _Bundle | TaskSpec] = {}
    first: dict[int, int] = {}
    """The first member of the bundle that a task is in; of other tasks the task itself."""
    waiting: dict[tuple[frozenset[int], Hashable], _Bundle] = {}
    """The last bundle that waits for these."""
    for spec in specs:
        # What has failed in an earlier segment is waited for, too, and stands in none of these.
        after = frozenset({first.get(number, number) for number in spec.after})
        one = light.get(spec.task)
        if one is None:
            first[spec.task] = spec.task
            made[spec.task] = _after(spec, after)
            continue
        bundle = _joined(after, one, made) or waiting.get((after, one.kin))
        if bundle is None or not bundle.has_room(one):
            bundle = made[spec.task] = waiting[after, one.kin] = _Bundle(after, one.kin)
        bundle.members.append(spec.task)
        bundle.chars += one.chars
        bundle.cost += one.cost
        first[spec.task] = bundle.members[0]
    known = {spec.task: spec for spec in specs}
    members = {
        number: tuple(bundle.members)
        for number, bundle in made.items()
        if isinstance(bundle, _Bundle) and len(bundle.members) > 1
    }
    return Bundles(
        tuple(
            one if isinstance(one, TaskSpec) else _spec(one, known[number])
            for number, one in made.items()
        ),
        members,
    )


def _joined(
    after: frozenset[int], light: Light, made: Mapping[int, _Bundle | TaskSpec]
) -> _Bundle | None:
    """The bundle that a task continues: it waits for that one, and for what that one waits for."""
    if not after:
        return None
    bundle = made[max(after)]
    if isinstance(bundle, TaskSpec) or not bundle.has_room(light):
        return None
    return bundle if after <= bundle.after | {max(after)} else None


def _after(spec: TaskSpec, after: frozenset[int]) -> TaskSpec:
    return TaskSpec(spec.task, after, spec.work_s, spec.divisible, spec.workers_max)


def _spec(bundle: _Bundle, first: TaskSpec) -> TaskSpec:
    if len(bundle.members) == 1:
        return _after(first, bundle.after)
    return TaskSpec(first.task, bundle.after, None, divisible=False, workers_max=1)
