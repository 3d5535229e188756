"""Which tasks of a script need what earlier ones have left in their session.

Temporary tables, the state of random(), settings that a function has made are gone with the
connection that has them. A task that needs them must not run on another one: without its temporary
table a statement finds a permanent one of the same name, without its seed other numbers, without a
search_path other tables, and nobody would notice. What would be noticed is left to the server: it
refuses a cursor, a prepared statement, a currval() that it does not know.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from pgfan.sql.definitions import TEMPORARY
from pgfan.sql.effects import ObjectName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfan.sql.effects import Accesses, EffectKind
    from pgfan.sql.script import ScriptItem

Needs: TypeAlias = "Mapping[str, frozenset[int]]"
"""What to say when it is lost, and the tasks that had left it."""
STATE_LOST = (
    "this statement needs what earlier ones had left in their session (a temporary table, a seed), "
    "and that is gone with the connection"
)
SETTINGS_LOST = (
    "the connection is lost on which a function has changed settings, and they are with it"
)
SEED = ObjectName("task", TEMPORARY, "seed")
"""Stands for the state of random(), which every call of it changes."""
_READS: frozenset[EffectKind] = frozenset({"use", "read", "lock", "analyse"})


_MAY_LEAVE = re.compile(r"temp|seed", re.IGNORECASE)


class SessionState:
    """What the tasks of one session have left in it so far, by object."""

    def __init__(self) -> None:
        self._left: defaultdict[ObjectName, set[int]] = defaultdict(set)
        self._set: int | None = None

    def leave_settings(self, number: int) -> None:
        """A task has made settings that no text has: all that follow need them."""
        self._set = number if self._set is None else self._set

    def needs(self, number: int, item: ScriptItem, accesses: Accesses) -> Needs:
        """Take the next task in program order: what it needs, by what is said without it."""
        found: dict[str, frozenset[int]] = {}
        if self._set is not None:
            found[SETTINGS_LOST] = frozenset({self._set})
        if accesses.session and (state := self.add(number, item, accesses)):
            found[STATE_LOST] = state
        return found

    def add(self, number: int, item: ScriptItem, accesses: Accesses) -> frozenset[int]:
        """Take the next task in program order: the earlier tasks whose leavings it needs."""
        if_not_exists = any(
            getattr(statement.skeleton, "if_not_exists", False) for statement in item.statements
        )
        found = _by_object(accesses)
        needed: set[int] = set()
        for name, kinds in found.items():
            if "define" in kinds and "drop" not in kinds and not if_not_exists:  # it is not there
                self._left.pop(name, None)
            needed |= self._left.get(name, set())
            if "drop" in kinds and "define" not in kinds:
                self._left.pop(name, None)
            elif kinds - _READS:
                self._left[name].add(number)
        return frozenset(needed)


def needs_of(items: Sequence[ScriptItem]) -> dict[int, frozenset[int]]:
    """The same of statements that run one after the other, by number; of most there is nothing."""
    texts = (statement.text for item in items for statement in item.statements)
    if len(items) == 1 or not any(map(_MAY_LEAVE.search, texts)):
        return {}
    from pgfan.sql.accesses import accesses_of  # many commands need no analysis of accesses
    from pgfan.sql.known import KnownObjects

    state, found = SessionState(), {}
    for number, accesses in enumerate(accesses_of(items, KnownObjects())):
        if needs := state.add(number, items[number], accesses):
            found[number] = needs
    return found


def _by_object(accesses: Accesses) -> dict[ObjectName, set[EffectKind]]:
    found: dict[ObjectName, set[EffectKind]] = {}
    for effect in accesses.effects:
        if effect.object.schema == TEMPORARY:
            found.setdefault(effect.object, set()).add(effect.kind)
    if "seed" in accesses.session:
        found[SEED] = {"modify"}
    return found
