"""What of a script must run again, what is skipped, and what is dropped before it.

The database holds what earlier runs of the project built. A task's fingerprint covers its text and
settings, its data files, and what it saw: the fingerprints of the tasks that had written what it
touches. So a task whose fingerprint was built left what it would leave today, and a built one that
no task has today must be taken back.

To take a task back, every object that it wrote is dropped, and the object's life, all tasks that
touch it, is replayed. A replayed task needs what it touches as it was at its place in the script:
where a built task further down has written that since, that object is dropped as well. These
rules are applied until nothing more follows from them. A task that is new and has only built ones
before it is growth: it runs, and nothing is dropped.

Only objects that a task of the project made can be dropped. Where anything else would have to be
taken back, the answer is a refusal with the reason. Values in, values out.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pgfan.plan.fingerprints import by_text, fingerprints_of
from pgfan.plan.preambles import Preambles
from pgfan.sql.footprint import SESSION, TEMPORARY, Footprint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from pgfan.sql.effects import ObjectName

_REPLACED = frozenset({"file", "channel", "task", "script"})
"""Kinds of objects that are written over, never taken back; directives' names are no objects."""


class Task(Struct, frozen=True):
    """A task of the script: `text` and `files` are hashes, `place` is for people (`a.sql:3`).

    `text` is of its statements and the settings in force; `files` of the content of its data files,
    empty without any.
    """

    text: str
    place: str
    footprint: Footprint
    files: str = ""


class Built(Struct, frozen=True):
    """What an earlier run did; not `complete`: it ended in the middle, and left some of it."""

    fingerprint: str
    text: str
    place: str
    footprint: Footprint
    files: str = ""
    complete: bool = True


class Decision(Struct, frozen=True):
    """Whether a task runs, and why, in words."""

    runs: bool
    reason: str


class Rebuild(Struct, frozen=True):
    """What is to be done, by the numbers of the tasks.

    `dropped` come first, in this order: later ones may be needed by earlier ones. `undone` are the
    indexes of those built tasks of which nothing is left then. With any `refusals` nothing may run.
    """

    decisions: tuple[Decision, ...]
    fingerprints: tuple[str, ...]
    dropped: tuple[ObjectName, ...] = ()
    undone: frozenset[int] = frozenset()
    refusals: tuple[str, ...] = ()


def rebuild(
    tasks: Sequence[Task],
    built: Sequence[Built],
    *,
    foreign: Collection[ObjectName] = (),
    missing: Collection[ObjectName] = (),
    full: bool = False,
) -> Rebuild:
    """What is to be done so that the database is as though the whole script had run anew.

    `built` is in the order in which it was done. `foreign` are objects that exist and that no run
    of the project made, `missing` those that one had made and that somebody dropped since. `full`:
    nothing built is good enough.
    """
    canonical = _Canonical(tasks, built)
    return _Rebuilding(
        [canonical.task(one) for one in tasks],
        [canonical.built(one) for one in built],
        canonical.names(foreign),
        full=full,
    ).decided(canonical.names(missing))


class _Canonical:
    """One name for each object: where the schema is not known somewhere, it counts nowhere."""

    def __init__(self, tasks: Sequence[Task], built: Sequence[Built]) -> None:
        footprints = [*(task.footprint for task in tasks), *(one.footprint for one in built)]
        self._vague = {
            (name.kind, name.name)
            for footprint in footprints
            for name in footprint.touched
            if name.schema is None
        }

        self._known: dict[frozenset[ObjectName], frozenset[ObjectName]] = {}

    def names(self, names: Collection[ObjectName]) -> frozenset[ObjectName]:
        """The names that stand for them. Most tasks touch what others touch as well."""
        key = frozenset(names)
        if key not in self._known:
            self._known[key] = self._canonical(key)
        return self._known[key]

    def _canonical(self, names: Iterable[ObjectName]) -> frozenset[ObjectName]:
        return frozenset(
            name._replace(schema=None)
            if (name.kind, name.name) in self._vague and not _is_fleeting(name)
            else name
            for name in names
        )

    def _footprint(self, print_: Footprint) -> Footprint:
        sets = ("uses", "reads", "adds", "modifies", "alters", "indexes", "makes", "clears")
        changed = {name: self.names(getattr(print_, name)) for name in sets}
        return replace(print_, **changed)

    def task(self, task: Task) -> Task:
        """The task with canonical names."""
        return replace(task, footprint=self._footprint(task.footprint))

    def built(self, built: Built) -> Built:
        """The same of what was built."""
        return replace(built, footprint=self._footprint(built.footprint))


class _Last(Struct):
    """The last tasks that are built and write an object, by how."""

    alters: int = -1
    modifies: int = -1
    adds: int = -1


class _Rebuilding:
    """Applies the rules of this module until nothing more follows."""

    def __init__(
        self,
        tasks: Sequence[Task],
        built: Sequence[Built],
        foreign: frozenset[ObjectName],
        *,
        full: bool,
    ) -> None:
        self._tasks = tasks
        self._built = built
        self._foreign = foreign
        self._full = full
        self._fingerprints = fingerprints_of(tasks)
        self._preambles = Preambles(tasks, built, foreign)
        self._matches = self._matched()
        """The built task of each task that has one."""
        self._by_text: dict[str, list[Built]] = {}
        for one in built:
            self._by_text.setdefault(one.text, []).append(one)
        self._first_new: dict[ObjectName, int] = {}
        """Of each object the first task that was not built and writes it."""
        self._touching: dict[ObjectName, list[int]] = {}
        self._writing: dict[ObjectName, list[int]] = {}
        for number, task in enumerate(tasks):
            for name in task.footprint.touched:
                self._touching.setdefault(name, []).append(number)
            for name in task.footprint.written:
                self._writing.setdefault(name, []).append(number)
                if number not in self._matches:
                    self._first_new.setdefault(name, number)
        self._last: dict[ObjectName, _Last] = {}
        for number in sorted(self._matches):
            print_ = tasks[number].footprint
            for field in ("alters", "modifies", "adds"):
                for name in getattr(print_, field):
                    setattr(self._last.setdefault(name, _Last()), field, number)
        self._makers: dict[ObjectName, int] = {}
        """Of each object the last built task that made it."""
        for index, one in enumerate(built):
            self._makers |= dict.fromkeys(one.footprint.makes, index)
        self._runs: dict[int, str] = {}
        self._dirty: dict[ObjectName, str] = {}
        self._todo: deque[tuple[int, str]] = deque()
        self._refusals: dict[str, None] = {}

    def _matched(self) -> dict[int, int]:
        indexes = {one.fingerprint: index for index, one in enumerate(self._built) if one.complete}
        return {
            number: indexes[fingerprint]
            for number, fingerprint in enumerate(self._fingerprints)
            if fingerprint in indexes
        }

    def decided(self, missing: frozenset[ObjectName]) -> Rebuild:
        """The decisions; see `rebuild`."""
        stale = set(range(len(self._built))) - set(self._matches.values())
        stale_places = {self._built[index].place for index in stale}
        for number in range(len(self._tasks)):
            if number not in self._matches:
                if number not in self._preambles.tasks or self._preambles.may_find(number):
                    self._todo.append((number, self._why_new(number, stale_places)))
            elif self._full:
                self._todo.append((number, "--full"))
        for index in sorted(stale):
            self._take_back(self._built[index], "is no more as it was")
        for name in sorted(missing, key=by_text):
            self._drop(name, "is gone")
        while self._todo:
            self._run(*self._todo.popleft())
        self._run_preambles(stale_places)
        if self._runs:
            for number, task in enumerate(self._tasks):
                if task.footprint.upkeep:
                    self._runs.setdefault(number, "others run")
        undone = stale | {self._matches[n] for n in self._runs if n in self._matches}
        return Rebuild(
            tuple(
                Decision(number in self._runs, self._runs.get(number, "unchanged"))
                for number in range(len(self._tasks))
            ),
            self._fingerprints,
            self._in_order_of_drops(),
            frozenset(undone),
            tuple(self._refusals),
        )

    # Rules --------------------------------------------------------------------------------------

    def _run(self, number: int, reason: str) -> None:
        """A task runs: what it had done is taken back, and it finds what it is to find."""
        if number in self._runs:
            return
        self._runs[number] = reason
        task = self._tasks[number]
        if number in self._matches:
            self._take_back(self._built[self._matches[number]], "runs again")
        for name in task.footprint.touched:
            if _is_fleeting(name):
                why = f"makes {name.name}, which {task.place} needs"
                self._todo += [(writer, why) for writer in self._writing.get(name, ())]
            elif self._is_changed_after(number, name):
                self._drop(name, f"has changed since {task.place} would have seen it")
        for name in task.footprint.clears:
            if self._preambles.begins(name) or self._is_changed_after(number, name):
                self._drop(name, f"is dropped by {task.place}")
            else:
                why = f"uses {name.name}, which {task.place} drops"
                self._todo += [(other, why) for other in self._touching.get(name, ())]

    def _run_preambles(self, stale_places: Collection[str]) -> None:
        """What may run without harm, and has nothing to find: psql would have run it, too."""
        stand = {n for number in self._matches for n in self._tasks[number].footprint.makes}
        for number, names in self._preambles.tasks.items():
            if number in self._runs or not stand.isdisjoint(names - self._dirty.keys()):
                continue
            if number not in self._matches:
                self._runs[number] = self._why_new(number, stale_places)
            elif name := next((one for one in names if one in self._dirty), None):
                self._runs[number] = f"drops {name.name}, which is rebuilt"

    def _take_back(self, built: Built, why: str) -> None:
        print_ = built.footprint
        if print_.opaque is not None:
            self._refuse(
                f"what {built.place} did cannot be seen ({print_.opaque}), so it cannot be taken "
                f"back, and it {why}"
            )
        for name in sorted(print_.written, key=by_text):
            self._drop(name, f"was written by {built.place}, which {why}")

    def _drop(self, name: ObjectName, why: str) -> None:
        """An object is dropped, and all that touch it run."""
        if name in self._dirty or name.kind in _REPLACED or _is_fleeting(name):
            return
        self._dirty[name] = why
        preamble = self._preambles.needed_for(name)
        if preamble is not None:
            self._todo.append((preamble, f"drops {name.name}, which the project did not make"))
        elif self._preambles.begins(name):
            pass  # whatever there was is dropped by the time that its life begins
        elif name not in self._makers:
            self._refuse(f"{_shown(name)} {why}; the project did not make it")
        elif name in self._foreign:
            self._refuse(f"{_shown(name)} {why}; the one that exists was made by somebody else")
        for number in self._touching.get(name, ()):
            verb = "writes" if name in self._tasks[number].footprint.written else "reads"
            self._todo.append((number, f"{verb} {name.name}, which is rebuilt"))

    def _is_changed_after(self, number: int, name: ObjectName) -> bool:
        """Whether a built task further down, which stands, has changed what this one touches."""
        last = self._last.get(name)
        if last is None:
            return False
        print_ = self._tasks[number].footprint
        sees_rows = name in print_.reads or name in print_.modifies or name in print_.alters
        return (
            last.alters > number
            or (last.modifies > number and (sees_rows or name in print_.adds))
            or (last.adds > number and sees_rows)
        )

    def _refuse(self, text: str) -> None:
        self._refusals.setdefault(text)

    # Words and order ----------------------------------------------------------------------------

    def _why_new(self, number: int, stale_places: Collection[str]) -> str:
        """Why the fingerprint of a task was not built."""
        task = self._tasks[number]
        alike = self._by_text.get(task.text)
        if alike is None:
            return "text changed" if task.place in stale_places else "never built"
        if all(one.files != task.files for one in alike):
            return "file changed"
        if not any(one.complete for one in alike):
            return "ended in the middle"
        for name in sorted(task.footprint.touched, key=by_text):
            writer = self._first_new.get(name, number)
            if writer < number:
                return f"reads {name.name}, which {self._tasks[writer].place} changes"
        return "what it follows has changed"

    def _in_order_of_drops(self) -> tuple[ObjectName, ...]:
        """What was made last goes first: it may depend on what was made before it."""
        made = [name for name in self._dirty if name in self._makers]
        return tuple(sorted(made, key=lambda name: (-self._makers[name], by_text(name))))


def _is_fleeting(name: ObjectName) -> bool:
    """Whether it goes with its session."""
    return name.schema in {TEMPORARY, SESSION}


def _shown(name: ObjectName) -> str:
    return str(name) if name.kind == "relation" else f"{name.kind} {name}"
