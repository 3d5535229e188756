"""A script as digests: what its tasks say, and what the files hold that they load.

What a task says is its statements, the lines given to COPY, and all settings that are in force. The
content of files is looked at by `pgfan.reading.data_files`. What the tasks touch is not asked here.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import UnsupportedError
from pgfan.reading.data_files import look_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pgfan.reading.data_files import DataFile
    from pgfan.sql.program import Program
    from pgfan.sql.script import ScriptItem


class ScriptDigests(Struct, frozen=True):
    """Digests by task: of its text, and of the content of its files, empty without any."""

    texts: tuple[str, ...]
    files: tuple[str, ...]
    looked_at: Mapping[str, DataFile]
    """The files, by their absolute paths."""
    target: str
    """Of all of it together, directives included."""

    @classmethod
    def of(
        cls, program: Program, settings: Mapping[str, str], known: Mapping[str, DataFile]
    ) -> ScriptDigests:
        """Those of a program run in a session with `settings`; `known` are files as they were.

        Raises UsageError for statements and files that are not known before the program has run.
        """
        _check(program)
        statements = program.statements
        written = {
            posixpath.basename(one.client_file or "")
            for one in statements
            if one.writes_client_file
        }
        # What the script itself writes is as the task that writes it: no need to look.
        read = [
            [path for path in _paths(item) if posixpath.basename(path) not in written]
            for item in program.items
        ]
        looked_at = look_at({path for some in read for path in some}, known)
        files = tuple(
            _digest([looked_at[path].sha256 for path in some]) if some else "" for some in read
        )
        texts = tuple(_text(item, settings) for item in program.items)
        said = [directive.text for one in statements for directive in one.directives]
        return cls(texts, files, looked_at, _digest([texts, files, said]))


def _check(program: Program) -> None:
    """Refuse what nobody can say of whether it is built."""
    for statement in program.statements:
        if statement.generates is not None:
            raise UnsupportedError(
                f"{statement.generates.name} in a project: which statements it makes is not known "
                "before it has run",
                position=statement.generates.position,
                hint="run this script without --project",
            )
        for directive in statement.directives:
            if directive.is_load:
                raise directive.error(
                    "load in a project: whether its files have changed is not looked at yet",
                    hint="\\copy without the directive, or run this script without --project",
                )


def _paths(item: ScriptItem) -> list[str]:
    # No link is followed: the file may be another one tomorrow, under the same path.
    return [
        os.path.abspath(path)  # noqa: PTH100
        for path in item.copies
        if isinstance(path, Path)
    ]


def _text(item: ScriptItem, settings: Mapping[str, str]) -> str:
    parts = [[one.text, one.data, one.client_file] for one in item.statements]
    return _digest([settings, item.settings, parts])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
