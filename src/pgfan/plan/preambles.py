"""DROP ... IF EXISTS in front of what a script makes: such a preamble has nothing to take back.

A script that people run again and again begins the life of each object by dropping what may be
left of it. Nothing of the project is there yet at that place, so what the DROP takes is somebody
else's, and by the script's own word: `Footprint.clears`. Hence

* a preamble that is changed or taken out has left nothing, and no version depends on it;
* an object that is cleared first may be somebody else's when it has to be made anew: its life
  begins with the DROP, which runs as it stands, and pgfan drops nothing of others;
* a preamble runs when it may find something. What the project has made is dropped before the run
  begins, and what stays as it was built must not be dropped: then it is left out.

The rules that follow from dropping are `pgfan.plan.rebuild`'s. Values in, values out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pgfan.plan.rebuild import Built, Task
    from pgfan.sql.effects import ObjectName

_ONE_OF_A_NAME = frozenset({"relation", "type"})
"""Kinds of which a schema has one of a name; of functions it may have many."""


class Preambles:
    """The preambles among `tasks`; `foreign` as `pgfan.plan.rebuild.rebuild` has it."""

    def __init__(
        self, tasks: Sequence[Task], built: Sequence[Built], foreign: Collection[ObjectName]
    ) -> None:
        self._foreign = foreign
        self._made: set[ObjectName] = set()
        """By whom does not matter: whether somebody else has one is known of these."""
        for footprint in (*(one.footprint for one in tasks), *(one.footprint for one in built)):
            self._made |= footprint.makes
        self._first: dict[ObjectName, int] = {}
        for number, task in enumerate(tasks):
            for name in task.footprint.clears:
                self._first.setdefault(name, number)
        self.tasks = {
            number: task.footprint.clears
            for number, task in enumerate(tasks)
            if task.footprint.clears and not task.footprint.leaves
        }
        """What the tasks drop that do nothing else."""

    def begins(self, name: ObjectName) -> bool:
        """Whether an object's life begins with a DROP, whosever the object is."""
        unique = name.kind == "schema" or (name.kind in _ONE_OF_A_NAME and name.schema is not None)
        return unique and name in self._first

    def needed_for(self, name: ObjectName) -> int | None:
        """The preamble that has to run where an object is made anew: it may be somebody else's."""
        return self._first[name] if self.begins(name) and self._may_be_others(name) else None

    def may_find(self, number: int) -> bool:
        """Whether a preamble may find something to drop that the project has not made."""
        return any(
            not self.begins(name) or self._may_be_others(name) for name in self.tasks[number]
        )

    def _may_be_others(self, name: ObjectName) -> bool:
        return name in self._foreign or name not in self._made
