"""What waits for what: the accesses of tasks to a directed graph without cycles.

A script runs as a superscalar processor runs a program: out of order, with the result of in order.
Two tasks whose effects meet on an object keep their order (read after write, write after read,
write after write); all others may change places or run at once. `WAITS_FOR` is the one table of
what meets; docs/order.md explains it.

The graph has few edges: for each object only the tasks that later ones could still have to wait for
are kept, and many that wait for many do so through a gate, a step without a task. So n appends and
then n reads of one table are 2n edges, not n * n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfan.sql.effects import Accesses, Effect, EffectKind, ObjectKind

T = TypeVar("T")

_CHANGES: frozenset[EffectKind] = frozenset({"define", "alter", "drop"})
_WRITES: frozenset[EffectKind] = frozenset({"append", "modify"})
_BUILDS: frozenset[EffectKind] = frozenset({"index", "analyse"})

WAITS_FOR: Mapping[EffectKind, frozenset[EffectKind]] = {
    "use": _CHANGES,
    "describe": _CHANGES | {"describe"},
    "read": _CHANGES | _WRITES | _BUILDS,
    "append": _CHANGES | _BUILDS | {"read", "modify", "lock"},
    "modify": _CHANGES | _BUILDS | _WRITES | {"read", "lock"},
    "index": _CHANGES | _WRITES | {"analyse", "lock"},
    "analyse": _CHANGES | _WRITES | _BUILDS | {"lock"},
    "lock": _CHANGES | _WRITES | _BUILDS | {"lock"},
    **dict.fromkeys(
        _CHANGES,
        _CHANGES | _WRITES | _BUILDS | {"use", "describe", "read", "lock"},
    ),
}
"""For each kind of effect the kinds that it waits for, when those come earlier in the script.

It is not symmetrical: a read waits for an index or statistics, to be planned with them, but neither
waits for a read."""

_Class: TypeAlias = "tuple[EffectKind, bool]"
"""The kind of an effect, and whether it is on a part."""


def _meets(later: _Class, earlier: _Class) -> bool:
    """Whether an effect waits for an earlier one on the same object.

    Rows of two parts meet in the part or not at all; which parts there are is one thing.
    """
    parts = later[1] and earlier[1] and not (later[0] in _CHANGES and earlier[0] in _CHANGES)
    return earlier[0] in WAITS_FOR[later[0]] and not parts


_CLASSES: tuple[_Class, ...] = tuple((kind, part) for kind in WAITS_FOR for part in (False, True))
_MET_BY = {
    later: frozenset(earlier for earlier in _CLASSES if _meets(later, earlier))
    for later in _CLASSES
}
_REPLACED_BY = {
    later: frozenset(
        earlier
        for earlier in _MET_BY[later]
        if all(_meets(next_, later) for next_ in _CLASSES if _meets(next_, earlier))
    )
    for later in _CLASSES
}
"""Whoever would wait for `earlier` waits for `later`, too, which waited for it: it is forgotten."""


class Step(Struct, Generic[T], frozen=True):
    """A node: a task, or a gate (`task` None), done as soon as all that it waits for is done.

    `after` are numbers of earlier steps, ascending, without duplicates. Not transitively reduced.
    """

    number: int
    after: tuple[int, ...]
    task: T | None = None
    pinned_to: str | None = None
    """The session whose one connection must run it; None: any other connection.

    Nothing else runs on that one: its temporary tables would hide others of their names.
    """


class _Open(Struct):
    """The steps that later effects on one object may still have to wait for."""

    steps: dict[_Class, list[int]] = field(default_factory=dict)


class Sequencer(Generic[T]):
    """Sequence mode: tasks come in program order, and each gets its steps at once.

    So the first can run while the last are not yet read.
    """

    def __init__(self) -> None:
        self._objects: dict[tuple[ObjectKind, str], dict[str | None, _Open]] = {}
        """By kind and name, then by schema; None: it may be in any."""
        self._count = 0
        self._barrier: int | None = None
        self._ends: set[int] = set()
        """The steps since the last barrier that no other waits for."""
        self._sessions: dict[str, int] = {}
        """The last pinned step of each session."""

    def add(self, task: T, accesses: Accesses, session: str = "") -> tuple[Step[T], ...]:
        """The next task's step, after the gates that it needs (usually none).

        `session` names the script whose connection a pinned task needs.
        """
        gates: list[Step[T]] = []
        after = set() if self._barrier is None else {self._barrier}
        pinned_to = session if accesses.is_pinned else None
        if pinned_to is not None and pinned_to in self._sessions:
            after.add(self._sessions[pinned_to])
        if accesses.barrier is not None:
            after |= self._ends
        else:
            for effect in accesses.effects:
                self._wait(effect, after, gates)
        if self._barrier is not None:  # it waited for all before it, and all since for it
            after = {number for number in after if number > self._barrier} or {self._barrier}
        step = self._step(tuple(sorted(after)), task, pinned_to)
        if pinned_to is not None:
            self._sessions[pinned_to] = step.number
        if accesses.barrier is not None:
            self._barrier, self._ends = step.number, {step.number}
            self._objects.clear()
        else:
            for effect in accesses.effects:
                self._record(effect, step.number)
        return (*gates, step)

    def _step(self, after: tuple[int, ...], task: T | None, pinned_to: str | None) -> Step[T]:
        step = Step(self._count, after, task, pinned_to)
        self._count += 1
        self._ends.difference_update(after)
        self._ends.add(step.number)
        return step

    def _wait(self, effect: Effect, after: set[int], gates: list[Step[T]]) -> None:
        own = effect.object.schema
        met_by = _MET_BY[effect.kind, effect.part]
        replaced = _REPLACED_BY[effect.kind, effect.part]
        schemas = self._objects.get((effect.object.kind, effect.object.name), {})
        for schema, found in schemas.items():
            if own is not None and schema not in {own, None}:
                continue
            for met, steps in found.steps.items():  # few, and never empty
                if met not in met_by:
                    continue
                if len(steps) > 1 and (met not in replaced or own not in {schema, None}):
                    # Others may wait for the same ones: all of them through one gate.
                    gate: Step[T] = self._step(tuple(steps), None, None)
                    gates.append(gate)
                    found.steps[met] = [gate.number]
                    after.add(gate.number)
                else:
                    after.update(steps)

    def _record(self, effect: Effect, number: int) -> None:
        name = effect.object
        own = (effect.kind, effect.part)
        replaced = _REPLACED_BY[own]
        schemas = self._objects.setdefault((name.kind, name.name), {})
        for schema, found in schemas.items():
            if name.schema is None or schema == name.schema:
                for met in replaced & found.steps.keys():
                    del found.steps[met]
        found = schemas.setdefault(name.schema, _Open())
        steps = found.steps.setdefault(own, [])
        if not steps or steps[-1] != number:
            steps.append(number)


def conflict(earlier: Accesses, later: Accesses) -> tuple[Effect | None, Effect | None] | None:
    """Why `later` waits for `earlier`: an effect of each; (None, None) for a barrier; or None.

    This is the definition, quadratic in the effects; `Sequencer` does the same with few steps. That
    pinned tasks of one session keep their order comes on top.
    """
    if earlier.barrier is not None or later.barrier is not None:
        return (None, None)
    for before in sorted(earlier.effects, key=str):
        for after in sorted(later.effects, key=str):
            one, two = before.object, after.object
            same = one.kind == two.kind and one.name == two.name
            same = same and (one.schema == two.schema or None in {one.schema, two.schema})
            if same and _meets((after.kind, after.part), (before.kind, before.part)):
                return (before, after)
    return None


def reduced(steps: Sequence[Step[T]]) -> tuple[tuple[int, ...], ...]:
    """For each step those of `after` that no other one of them waits for: for display.

    `steps` are all of them, by number. Memory is one bit for each pair of steps.
    """
    before: list[int] = []
    kept: list[tuple[int, ...]] = []
    for step in steps:
        reached, needed = 0, []
        for number in sorted(step.after, reverse=True):
            if not reached >> number & 1:
                needed.append(number)
                reached |= before[number] | 1 << number
        before.append(reached)
        kept.append(tuple(reversed(needed)))
    return tuple(kept)


def critical_path(steps: Sequence[Step[T]], seconds: Sequence[float]) -> tuple[float, ...]:
    """For each step the seconds from its start to the end of all that waits for it.

    `seconds` are the estimated durations, one for each step; gates take none.
    """
    longest = [0.0] * len(steps)
    for step in reversed(steps):
        longest[step.number] += seconds[step.number] if step.task is not None else 0.0
        for number in step.after:
            longest[number] = max(longest[number], longest[step.number])
    return tuple(longest)
