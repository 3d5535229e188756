"""A database in a few lines: objects with rows that remember what made them, and a script's tasks.

What a task leaves depends on all that it saw, so that a rebuild which forgets a task, runs one too
many, or runs one against a state that is not its own, leaves something else than a fresh build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from pgfan.plan.rebuild import Built, Rebuild, Task, rebuild
from pgfan.sql.effects import ObjectName
from pgfan.sql.footprint import NONE, TEMPORARY, Footprint

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE = "base"
"""A table that was there before the project."""


class Op(NamedTuple):
    """`make x`, `fill x y` (makes it from y), `add x y`, `modify x`, `alter x`, `drop x`,
    `clear x` (drops it if it exists), `view x y`, `read x`; `text` tells two of them apart."""

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
            case "alter" | "drop" | "clear":
                found = Footprint(alters=own)
            case _:
                found = Footprint(reads=own)
        return Task(repr(self), self.text or "a.sql", found)


def tasks_of(ops: Sequence[Op]) -> list[Task]:
    """A script's tasks; see `pgfan.sql.footprint.Footprint.clears`."""
    found, touched = [], set[ObjectName]()
    for op in ops:
        task, own = op.task, frozenset({name_of(op.name)})
        if op.verb == "clear" and not own & touched and not op.name.startswith("temp"):
            task = replace(task, footprint=Footprint(clears=own))
        touched |= task.footprint.touched
        found.append(task)
    return found


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
        if verb == "clear" and name not in self.objects:
            return
        if (verb in {"make", "fill", "view"}) == (name in self.objects):
            raise Wrong(op)
        if source and source not in self.objects:
            raise Wrong(op)
        if name in self.views and verb not in {"view", "drop", "clear", "read"}:
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
            case "drop" | "clear":
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
        self.owned: set[str] = set()
        """What the journal knows that the project has made; somebody may have dropped it."""
        self.others: set[str] = set()
        """What somebody else has made since."""

    def run(
        self, ops: Sequence[Op], *, full: bool = False, killed_at: int | None = None
    ) -> Rebuild:
        """Build what `ops` say now; `killed_at`: only so many tasks end, the next one not quite.

        Raises Wrong where the server would, which ends the run.
        """
        tasks = tasks_of(ops)
        foreign = [name_of(name) for name in self.foreign]
        missing = [name_of(name) for name in self.owned if name not in self.database.objects]
        missing += [name_of(name) for name in self.owned & self.others]
        found = rebuild(tasks, self.built, foreign=foreign, missing=missing, full=full)
        if found.refusals:
            return found
        for name in found.dropped:
            if name.name in self.owned - self.others and name.name in self.database.objects:
                self.database.drop(name.name)
            self.owned.discard(name.name)
        self.built = [b for index, b in enumerate(self.built) if index not in found.undone]
        runs = [number for number, decision in enumerate(found.decisions) if decision.runs]
        try:
            for number in runs[:killed_at]:
                self._apply(ops[number])
                self._keep(tasks[number], found.fingerprints[number])
            if killed_at is not None and killed_at < len(runs):
                number = runs[killed_at]
                if ops[number].verb == "add":
                    self.database.apply(ops[number], half=True)
                    self._keep(tasks[number], found.fingerprints[number], complete=False)
        finally:
            self.database.end_session()
        return found

    @property
    def foreign(self) -> set[str]:
        """What exists and the project has not made."""
        return self.others | {BASE}

    def replace_by_others(self, name: str) -> None:
        """Somebody drops what is called so, and makes another one."""
        if name in self.database.objects:
            self.database.drop(name)
        self.database.objects[name] = ("others", ("theirs",))
        self.others.add(name)

    def others_leave(self) -> None:
        """They drop what they have made."""
        for name in self.others:
            self.database.objects.pop(name, None)
        self.others.clear()

    def _apply(self, op: Op) -> None:
        self.database.apply(op)
        if op.verb in {"clear", "drop"}:
            self.owned.discard(op.name)
            self.others.discard(op.name)
        elif op.verb in {"make", "fill", "view"}:
            self.owned.add(op.name)

    def _keep(self, task: Task, fingerprint: str, *, complete: bool = True) -> None:
        self.built.append(
            Built(fingerprint, task.text, task.place, task.footprint, complete=complete)
        )
