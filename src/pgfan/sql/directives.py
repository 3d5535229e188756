"""Directives: comments before a statement that say what pgfan is to do with it.

What is wrong with one is an error before anything runs: a directive that is passed over would be
believed to hold. `Stated` goes to `pgfan.sql.accesses`, the rest to whoever splits. `after` is an
effect like any other, on what it names: who has the name is its writer, who waits its reader.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pgfan.sql.directive_syntax import read_asked
from pgfan.sql.effects import NOTHING_STATED, Effect, ObjectName, Stated
from pgfan.sql.names import name_in_text
from pgfan.sql.tree import kind_of, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.sql.directive_syntax import Asked, Directive
    from pgfan.sql.facts import Name
    from pgfan.sql.requested import KeyRequest
    from pgfan.sql.script import ScriptItem


class Directives(Struct, frozen=True):
    """Those of one item. `jobs_max`: workers that may run its chunks at once; None: no bound."""

    is_serial: bool = False
    is_load: bool = False
    by: KeyRequest | None = None
    jobs_max: int | None = None
    stated: Stated = NOTHING_STATED


NO_DIRECTIVES = Directives()


def with_directives(items: Sequence[ScriptItem]) -> tuple[ScriptItem, ...]:
    """The items of a program, in their order, with their directives. Raises UsageError."""
    found = read_directives(items, ordered=True)
    return tuple(
        item if one == NO_DIRECTIVES else replace(item, directives=one)
        for item, one in zip(items, found, strict=True)
    )


def read_directives(items: Sequence[ScriptItem], *, ordered: bool) -> tuple[Directives, ...]:
    """The directives of each item.

    `ordered`: the items run in this order, so that none can wait for a later one. Raises UsageError
    with its place for a directive that is wrong.
    """
    if not any(one.directives for item in items for one in item.statements):
        return (NO_DIRECTIVES,) * len(items)
    asked = [_asked(item) for item in items]
    named = _Named(items, asked)
    effects: dict[int, set[Effect]] = defaultdict(set)
    relations: dict[int, list[Name]] = defaultdict(list)
    for number, directive, name in _waits(asked):
        found = named.tasks_of(directive, name)
        if found is None:
            relations[number].append(named.relation(directive, name))
            continue
        thing, others = found
        _check(number, others, directive, ordered=ordered)
        effects[number].add(Effect("read", thing))
        for other in others:
            effects[other].add(Effect("append", thing))
    return tuple(
        Directives(
            "serial" in one.words,
            "load" in one.words,
            one.by,
            one.jobs_max,
            Stated(one.reads, one.writes, tuple(relations[number]), frozenset(effects[number])),
        )
        for number, one in enumerate(asked)
    )


def _asked(item: ScriptItem) -> Asked:
    for statement in item.statements[1:]:
        for directive in statement.directives:
            raise directive.error(
                "a transaction block is one task: its directives stand before BEGIN"
            )
    asked = read_asked(item.first.directives)
    if "load" in asked.words and (item.is_block or not item.first.reads_client_file):
        directive = next(one for one in item.first.directives if one.is_load)
        raise directive.error(
            "load: this stands before \\copy TABLE FROM 'FILE', outside of blocks"
        )
    return asked


def _waits(asked: Sequence[Asked]) -> Iterator[tuple[int, Directive, str]]:
    for number, one in enumerate(asked):
        for directive, name in one.after:
            yield number, directive, name


def _check(number: int, others: Sequence[int], directive: Directive, *, ordered: bool) -> None:
    if number in others:
        raise directive.error(f"{directive.text}: the statement would wait for itself")
    if ordered and max(others) > number:
        raise directive.error(
            f"{directive.text}: that comes later, and scripts run with the result of in order",
            "put the statement further down",
        )


class _Named:
    """What names in `after` mean: a task, a file, or a relation, looked for in this order."""

    def __init__(self, items: Sequence[ScriptItem], asked: Sequence[Asked]) -> None:
        self._items = items
        self._tasks: dict[str, int] = {}
        self._files: dict[str, list[int]] = defaultdict(list)
        for number, (item, one) in enumerate(zip(items, asked, strict=True)):
            for file in {item.first.position.source, item.session} - {""}:
                self._files[file].append(number)
            if one.name and self._tasks.setdefault(one.name, number) != number:
                before = items[self._tasks[one.name]].source
                raise item.first.directives[0].error(f"{before} has the name {one.name}, too")

    def tasks_of(self, directive: Directive, name: str) -> tuple[ObjectName, Sequence[int]] | None:
        """What stands for the tasks of that name, and their numbers; None: it is no task's."""
        if name in self._tasks:
            return ObjectName("task", None, name), (self._tasks[name],)
        files = [file for file in self._files if file == name or file.endswith(f"/{name}")]
        if len(files) > 1 and name not in files:
            raise directive.error(
                f"{name} may be any of {', '.join(files)}", "write more of its path"
            )
        if not files:
            return None
        file = name if name in files else files[0]
        return ObjectName("script", None, file), self._files[file]

    def relation(self, directive: Directive, text: str) -> Name:
        """A relation that the program names. Raises UsageError for one that it does not."""
        name = name_in_text(text)
        if name is not None:
            schemas = self._relations.get(name[-1], set())
            if schemas and (len(name) == 1 or {name[-2], ""} & schemas):
                return name
        from difflib import get_close_matches

        known = [*self._tasks, *self._files, *self._relations]
        near = get_close_matches(text.rpartition(".")[2], known, 1) or get_close_matches(
            text, known
        )
        raise directive.error(
            f"{directive.text}: no task, file or relation here is called {text}",
            f"did you mean {near[0]}?" if near else "-- pgfan: name NAME gives a task its name",
        )

    @cached_property
    def _relations(self) -> dict[str, set[str]]:
        """The relations that statements name, each with the schemas that they say, "" for none."""
        found: dict[str, set[str]] = defaultdict(set)
        for statement in (one for item in self._items for one in item.statements):
            for node in walk(statement.skeleton):
                if kind_of(node) == "RangeVar":
                    found[node.relname].add(node.schemaname)
        return found
