"""A database in a few lines: objects with rows that remember what made them, and a script's tasks.

What a task leaves depends on all that it saw, so that a rebuild which forgets a task, runs one too
many, or runs one against a state that is not its own, leaves something else than a fresh build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pgfan.plan.rebuild import Built, Rebuild, Task, rebuild
from pgfan.sql.effects import ObjectName
from pgfan.sql.footprint import NONE, TEMPORARY, Footprint

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE = "base"
"""A table that was there before the project."""


class Op(NamedTuple):
    """`make x`, `fill x y` (makes it from y), `add x y`, `modify x`, `alter x`, `drop x`,
    `view x y`, `read x`; `text` tells two of them apart."""

    verb: str
    name: str
    source: str = ""
    text: str = ""

    @property
    def task(self) -> Task:
        own, other = frozenset({name_of(self.name)}), frozenset({name_of(self.source)})
        match self.verb:
            case "make":
                found = Footprint(alters=own, makes=own)
            case "fill":
                found = Footprint(alters=own, makes=own, reads=other)
            case "view":
                found = Footprint(alters=own, makes=own, uses=other)
            case "add":
                found = Footprint(adds=own, reads=other if self.source else NONE)
            case "modify":
                found = Footprint(modifies=own)
            case "alter" | "drop":
                found = Footprint(alters=own)
            case _:
                found = Footprint(reads=own)
        return Task(repr(self), self.text or "a.sql", found)


def name_of(name: str) -> ObjectName:
    return ObjectName("relation", TEMPORARY if name.startswith("temp") else "s", name)


class Wrong(Exception):  # noqa: N818  # what the server would refuse
    """The model refuses an operation."""


class Database:
    """`objects`: what they are defined by, and their rows, sorted: a multiset."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[str, tuple[str, ...]]] = {BASE: ("", ())}
        self.views: dict[str, str] = {}

    def shape(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """All that outlives a session."""
        return {n: v for n, v in self.objects.items() if not n.startswith("temp")}

    def end_session(self) -> None:
        self.objects = self.shape()
        self.views = {name: of for name, of in self.views.items() if name in self.objects}

    def apply(self, op: Op, *, half: bool = False) -> None:
        """Run an operation; `half`: the client was killed while a split one ran."""
        verb, name, source, _ = op
        if (verb in {"make", "fill", "view"}) == (name in self.objects):
            raise Wrong(op)
        if source and source not in self.objects:
            raise Wrong(op)
        if name in self.views and verb not in {"view", "drop", "read"}:
            raise Wrong(op)
        definition, rows = self.objects.get(name, ("", ()))
        saw = str(self.objects.get(source)) if source else ""
        match verb:
            case "make":
                self.objects[name] = (repr(op), ())
            case "fill":
                self.objects[name] = (repr(op), (saw,))
            case "view":
                self.objects[name] = (repr(op), ())
                self.views[name] = source
            case "add":
                row = f"{op} {saw} {half}"
                self.objects[name] = (definition, tuple(sorted((*rows, row))))
            case "modify":
                self.objects[name] = (definition, tuple(f"{op}({row})" for row in rows))
            case "alter":
                self.objects[name] = (f"{definition} {op}", rows)
            case "drop":
                self.drop(name)

    def drop(self, name: str) -> None:
        if name in self.views.values():
            raise Wrong(f"a view needs {name}")
        del self.objects[name]
        self.views.pop(name, None)


def valid(ops: Sequence[Op]) -> list[Op]:
    """Those that a fresh database takes, one after the other."""
    database, kept = Database(), []
    for op in ops:
        try:
            database.apply(op)
        except Wrong:
            continue
        kept.append(op)
    return kept


def fresh(ops: Sequence[Op]) -> Database:
    database = Database()
    for op in ops:
        database.apply(op)
    database.end_session()
    return database


class Project:
    """A database with what is known to be built in it."""

    def __init__(self) -> None:
        self.database = Database()
        self.built: list[Built] = []

    def run(
        self, ops: Sequence[Op], *, full: bool = False, killed_at: int | None = None
    ) -> Rebuild:
        """Build what `ops` say now; `killed_at`: only so many tasks end, the next one not quite."""
        found = rebuild([op.task for op in ops], self.built, full=full)
        if found.refusals:
            return found
        for name in found.dropped:
            if name.name in self.database.objects:
                self.database.drop(name.name)
        self.built = [b for index, b in enumerate(self.built) if index not in found.undone]
        runs = [number for number, decision in enumerate(found.decisions) if decision.runs]
        for number in runs[:killed_at]:
            self.database.apply(ops[number])
            self._keep(ops[number], found.fingerprints[number])
        if killed_at is not None and killed_at < len(runs):
            number = runs[killed_at]
            if ops[number].verb == "add":
                self.database.apply(ops[number], half=True)
                self._keep(ops[number], found.fingerprints[number], complete=False)
        self.database.end_session()
        return found

    def _keep(self, op: Op, fingerprint: str, *, complete: bool = True) -> None:
        task = op.task
        self.built.append(
            Built(fingerprint, task.text, task.place, task.footprint, complete=complete)
        )
