"""A folder of SQL to a program: its files are a set, put into the order that they need.

A file that another one includes is a part of that one, not a member of the set. Each member is
read as psql would read it alone, started in the folder: with variables and a session of its own.
"""

from __future__ import annotations

import os
from collections import defaultdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pgfan.errors import UsageError
from pgfan.plan.file_order import CycleError, File, order_files
from pgfan.reading.texts import read_source, read_text
from pgfan.sql.directives import read_directives
from pgfan.sql.file_accesses import accesses_of_files
from pgfan.sql.program import Program, read_of_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pgfan.sql.effects import Accesses, ObjectName
    from pgfan.sql.program import Source
    from pgfan.sql.psql_script import PsqlScript
    from pgfan.sql.script import ScriptItem, Statement

_CONTAINERS = frozenset({"schema", "extension"})
"""Made with IF NOT EXISTS, they are the same whoever makes them."""


def read_folder(
    folder: Path, variables: Mapping[str, str], leave_out: Sequence[str] = ()
) -> Program:
    """The program of a folder; `leave_out` are patterns of paths in it, as for `find_scripts`.

    Raises UsageError before anything has run: for what cannot be read, for an object that two files
    make, for files that wait for each other.
    """
    root = os.path.normpath(folder)
    members = _members(root, find_scripts(root, leave_out), variables)
    scripts = [script for _, script in members]
    directives = read_directives([item for one in scripts for item in one.items], ordered=False)
    stated = [one.stated for one in directives]
    accesses = accesses_of_files([script.items for script in scripts], stated)
    _refuse_twice(scripts, accesses)
    files = [
        File(source.name, found, [item.source for item in script.items])
        for (source, script), found in zip(members, accesses, strict=True)
    ]
    try:
        order = order_files(files)
    except CycleError as error:
        raise UsageError(
            "\n".join(("these files wait for each other:", *error.waits)),
            hint="divide one of the files in two, or give the files in their order by name",
        ) from error
    sources = [members[number][0] for number in order]
    return Program.of_folder(root, sources, variables, [scripts[number] for number in order])


def find_scripts(folder: str, leave_out: Sequence[str] = ()) -> list[str]:
    """The paths of all *.sql files under a folder, sorted; hidden files and folders do not count.

    Nor do those that match one of `leave_out`: patterns as the shell's, in which * goes through
    folders, of paths from the folder on. Raises UsageError when there is none, for a folder that
    cannot be read, and for a link that leads out of it.
    """
    found, left_out = [], 0
    for path in _walk(folder):
        name = Path(os.path.relpath(path, folder)).as_posix()
        if any(fnmatchcase(name, pattern) for pattern in leave_out):
            left_out += 1
        else:
            found.append(path)
    if not found:
        what = "all of its files are left out" if left_out else "there is no .sql file in it"
        raise UsageError(f"{folder}: {what}", hint="a folder is run for its *.sql files")
    return sorted(found)


def _walk(folder: str) -> Iterator[str]:
    root = os.path.realpath(folder)

    def refuse(error: OSError) -> None:
        raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error

    for at, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *files):
            path = os.path.normpath(os.path.join(at, name))  # noqa: PTH118
            is_script = name in files and name.endswith(".sql") and not name.startswith(".")
            if name in folders and os.path.islink(path):  # noqa: PTH114  # walk() stops there
                raise UsageError(f"{path} is a link to a folder", hint=_HINT)
            if is_script and not _is_inside(path, root):
                raise UsageError(f"{path} is a link that leads out of {folder}", hint=_HINT)
            if is_script:
                yield path


_HINT = "put the files themselves there, or include them with \\i from scripts given by name"


def _is_inside(path: str, root: str) -> bool:
    return os.path.realpath(path).startswith(root.rstrip(os.sep) + os.sep)


def _members(
    folder: str, paths: Sequence[str], variables: Mapping[str, str]
) -> list[tuple[Source, PsqlScript]]:
    """Those of the files that no other one includes, read."""
    root = os.path.realpath(folder)

    def fetch(name: str) -> str:
        if not _is_inside(name, root):
            raise UsageError(f"{name} is outside of {folder}", hint=_HINT)
        return read_text(name)

    read: list[tuple[Source, PsqlScript]] = []
    failed: list[tuple[str, UsageError]] = []
    included: set[str] = set()
    for path in paths:
        source = read_source(Path(path))
        try:
            script = read_of_folder(folder, source, variables, fetch)
        except UsageError as error:  # it may lack the variables of the file that includes it
            failed.append((path, error))
            continue
        read.append((source, script))
        included.update(map(os.path.realpath, script.includes))
    for path, why in failed:
        if os.path.realpath(path) not in included:
            raise why
    return [pair for pair in read if os.path.realpath(pair[0].name) not in included]


def _refuse_twice(scripts: Sequence[PsqlScript], accesses: Sequence[Sequence[Accesses]]) -> None:
    """Raise UsageError for an object that two files make: which of them is meant?"""
    makers: dict[tuple[ObjectName, str], dict[int, Statement]] = defaultdict(dict)
    for number, (script, found) in enumerate(zip(scripts, accesses, strict=True)):
        for item, of_item in zip(script.items, found, strict=True):
            for name, arguments, statement in _made(item, of_item):
                makers[name, arguments].setdefault(number, statement)
    for (name, _), by_file in makers.items():
        first, *others = by_file.values()
        for other in others:
            if not _is_same(name, first, other):
                raise UsageError(
                    f"{name} is made in two files: {_place(first)} and {_place(other)}",
                    hint="leave one of them out of the folder, or give the files in their order "
                    "by name",
                )


def _made(item: ScriptItem, accesses: Accesses) -> Iterator[tuple[ObjectName, str, Statement]]:
    """What an item makes by name, and of functions the types of their arguments."""
    for effect in accesses.effects:
        name = effect.object
        if effect.kind != "define" or name.schema == "pg_temp":
            continue
        for statement in item.statements:
            is_function = hasattr(statement.tree, "funcname")
            if name.name.lower() not in statement.text.lower():
                continue  # a name that the server chooses, for an index or a sequence
            if name.kind != "function":
                yield name, "", statement
            elif is_function:
                types = [parameter.function_parameter for parameter in statement.tree.parameters]
                yield name, " ".join(str(one.arg_type.names) for one in types), statement


def _is_same(name: ObjectName, first: Statement, other: Statement) -> bool:
    """Whether the second one does nothing, whichever that is."""
    both = (first.tree, other.tree)
    if not all(getattr(tree, "if_not_exists", False) for tree in both):
        return False
    return name.kind in _CONTAINERS or first.text.split() == other.text.split()


def _place(statement: Statement) -> str:
    position = statement.position
    return f"{position.source}:{position.line}"
