"""The light tasks of a script, while it is read, and the bundles that are made of them.

What is light, and what such tasks may share, is said by `pgfan.sql.light`; which go together, by
`pgfan.plan.bundles`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from pgfan.plan.bundles import Light, bundled
from pgfan.sql.light import (
    Unlogged,
    is_light_definition,
    rows_of_light,
    shared_without_clock,
    unless_clock,
)
from pgfan.sql.light_changes import is_light_change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.plan.dag import TaskSpec
    from pgfan.sql.definitions import Definitions
    from pgfan.sql.effects import Accesses
    from pgfan.sql.light import Shares
    from pgfan.sql.script import ScriptItem


DEFINITION_COST = 16
"""A CREATE TABLE with a key is a millisecond or two."""
Judged: TypeAlias = "tuple[int | None, Shares]"
"""The rows that a light task gives (None: it has none), and what it shares."""


class LightTask(Struct, frozen=True):
    """A member of a bundle; see `pgfan.ports.Member`. `rows`: as many as it most likely has."""

    number: int
    rows: int | None
    shares: Shares


class _OfForm(Struct, frozen=True):
    """What was found for the last statement of a form that was looked at in full."""

    found: Accesses
    version: int
    judged: Judged | None

    def holds_for(self, found: Accesses, definitions: Definitions) -> bool:
        """Whether another of the form that touches the same is judged alike."""
        return found is self.found and definitions.version == self.version


class LightTasks:
    """Takes a script's items in program order."""

    def __init__(self, read_unlogged: Callable[[], set[str]] | None, alone: frozenset[int]) -> None:
        """`read_unlogged`: the names of unlogged tables; without it nothing is light.

        The tasks in `alone` are in no bundle.
        """
        self._read_unlogged = read_unlogged
        self._unlogged = Unlogged(())
        self._alone = alone
        self._light: dict[int, LightTask] = {}
        self._specs: dict[int, Light] = {}
        self._of_forms: dict[str, _OfForm] = {}
        self._bundles: dict[int, tuple[LightTask, ...]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look at the database as it is now."""
        if self._read_unlogged is not None:
            self._unlogged.add(self._read_unlogged())

    def look(
        self, number: int, item: ScriptItem, found: Accesses, definitions: Definitions
    ) -> None:
        """Take the next item, and what it touches; `definitions` are those after it."""
        if self._read_unlogged is None or item.refusal is not None:
            return
        if item.form is None:
            self._unlogged.read(item)
        judged = self._judged(item, found, definitions)
        if judged is None or number in self._alone or self._unlogged.is_written(item):
            return
        rows, shares = judged
        shares = unless_clock(shares, item.first.text)
        self._light[number] = LightTask(number, rows, shares)
        cost = 1 if rows is not None else DEFINITION_COST
        # One plan, with its reasons, is in the journal for all of a bundle.
        self._specs[number] = Light((item.settings, item.kind), len(item.first.text), cost)

    def _judged(self, item: ScriptItem, found: Accesses, definitions: Definitions) -> Judged | None:
        """Of a light item; what it shares is without regard to the clock."""
        form = None if item.seeded else item.form
        known = self._of_forms.get(form) if form is not None else None
        if known is not None and known.holds_for(found, definitions):
            return known.judged
        rows = rows_of_light(item, found)
        judged: Judged | None = None
        if rows is not None:
            judged = (rows, shared_without_clock(item, found, definitions))
        elif is_light_change(item, found, definitions):
            judged = (1, "message")
        elif is_light_definition(item, found):
            judged = (None, "message")
        if form is not None:
            self._of_forms[form] = _OfForm(found, definitions.version, judged)
        return judged

    def bundled(self, specs: Sequence[TaskSpec]) -> tuple[TaskSpec, ...]:
        """The tasks of a segment, the light ones put together."""
        found = bundled(specs, self._specs)
        for first, members in found.members.items():
            self._bundles[first] = tuple(self._light[number] for number in members)
        return found.specs

    def bundle(self, number: int) -> tuple[LightTask, ...]:
        """The members of the bundle that begins with a task."""
        return self._bundles.get(number, ())
