"""Which tasks of a script were asked for: `--only`, `--from`, `--until`.

A task is named by its number, by the file it stands in, by file and line, or by a relation that it
makes or changes. What one name means is one set of tasks; from there the graph decides. Several
options are met by the tasks that all of them have.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pgfan.plan.outline import Outline
    from pgfan.sql.script import ScriptItem

NEAREST_MAX = 3
_READS = frozenset({"use", "read"})


class Selection(Struct, frozen=True):
    """What was asked for, by name; several names of one option are all meant.

    `only`: these tasks, and what they need that is not done. `since`: these, and all that depends
    on them. `until`: these, and all that they depend on.
    """

    only: tuple[str, ...] = ()
    since: tuple[str, ...] = ()
    until: tuple[str, ...] = ()


class TaskNames(Struct, frozen=True):
    """What a task may be called: its place, and the relations that it makes or changes.

    `relations` are `name` and `schema.name`; lines count from 1, the last one included.
    """

    file: str
    line: int
    last_line: int
    relations: frozenset[str] = frozenset()


def names_of(items: Sequence[ScriptItem], outline: Outline) -> list[TaskNames]:
    """The names of the tasks of a script, by number."""
    found = []
    for item, accesses in zip(items, outline.accesses, strict=True):
        written = [
            effect.object
            for effect in accesses.effects
            if effect.object.kind == "relation" and effect.kind not in _READS
        ]
        begins, last = item.first.position, item.statements[-1]
        last_line = last.position.line + last.text.count("\n")
        relations = frozenset(name for one in written for name in (str(one), one.name))
        found.append(TaskNames(begins.source, begins.line, last_line, relations))
    return found


def select(
    names: Sequence[TaskNames],
    outline: Outline,
    selection: Selection,
    done: Collection[int] = (),
) -> set[int]:
    """The numbers of the tasks, from 0, that were asked for; `done` are those done already.

    Raises UsageError for a name that no task has, with the nearest ones that there are.
    """
    index = _Index(names)
    found = set(range(len(names)))
    before = {number: list(after) for number, after in enumerate(outline.after)}
    before |= {gate: list(after) for gate, after in outline.gates.items()}
    if selection.only:
        asked = index.tasks("--only", selection.only)
        found &= asked | (_reached(asked, before) - set(done))
    if selection.until:
        found &= _reached(index.tasks("--until", selection.until), before)
    if selection.since:
        dependents: dict[int, list[int]] = {}
        for number, after in before.items():
            for one in after:
                dependents.setdefault(one, []).append(number)
        found &= _reached(index.tasks("--from", selection.since), dependents)
    return found


class _Index:
    def __init__(self, names: Sequence[TaskNames]) -> None:
        self._names = names
        self._called: dict[str, set[int]] = {}
        for number, task in enumerate(names):
            for name in _called(task):
                self._called.setdefault(name, set()).add(number)

    def tasks(self, option: str, asked: Iterable[str]) -> set[int]:
        found: set[int] = set()
        for name in asked:
            these = self._tasks(name)
            if not these:
                raise self._unknown(option, name)
            found |= these
        return found

    def _tasks(self, name: str) -> set[int]:
        if name.isdecimal():
            number = int(name)
            return {number - 1} if 1 <= number <= len(self._names) else set()
        found = self._called.get(name.removeprefix("./"), set())
        file, colon, line = name.rpartition(":")
        if not found and colon and line.isdecimal():
            return {
                number
                for number in self._called.get(file.removeprefix("./"), ())
                if self._names[number].line <= int(line) <= self._names[number].last_line
            }
        return found

    def _unknown(self, option: str, name: str) -> UsageError:
        near = get_close_matches(name, self._called, NEAREST_MAX)
        hint = f"the nearest: {', '.join(near)}" if near else None
        if name.isdecimal():
            hint = f"there are {len(self._names)}"
        return UsageError(
            f"{option} {name}: no task has this number, place or relation",
            hint=hint or "give a relation that is written, a file, file:line, or a task's number",
        )


def _called(task: TaskNames) -> Iterator[str]:
    """Its relations; its file's path, and what is left of that without folders at its start."""
    yield from task.relations
    steps = task.file.removeprefix("./").split("/")
    for first in range(len(steps)):
        path = "/".join(steps[first:])
        yield path
        yield f"{path}:{task.line}"


def _reached(start: set[int], edges: Mapping[int, Sequence[int]]) -> set[int]:
    """`start` and the tasks that edges lead to from there; gates are gone through."""
    found = set(start)
    todo = list(start)
    while todo:
        for number in edges.get(todo.pop(), ()):
            if number not in found:
                found.add(number)
                todo.append(number)
    return {number for number in found if number >= 0}
