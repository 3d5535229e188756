"""The sources of one run, read: their statements, and the way back from an error to its line.

The journal keeps a program as JSON, so that a run can be resumed without its files.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from pgfan.errors import DatabaseError, PgfanError, Position, UsageError
from pgfan.sql.places import excerpt, locate, with_statement
from pgfan.sql.script import ScriptItem, Statement, read_script
from pgfan.sql.variables import interpolate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pgfan.sql.psql_script import PsqlScript


class Source(Struct, frozen=True):
    """SQL text and what to call it in messages: a file name, `-c` or `<stdin>`."""

    name: str
    text: str


class Program(Struct, frozen=True):
    """Sources, the psql variables put into them, and the items that they hold."""

    sources: tuple[Source, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    items: tuple[ScriptItem, ...] = ()
    files: Mapping[str, str] | None = None
    """Of psql scripts, which may be run out of order: all texts by name, those included too."""
    ends_with: tuple[str, ...] = ()
    """What \\echo says after the last statement."""
    folder: str = ""
    """The folder whose files the sources are, each with variables and a session of its own."""
    numbers: tuple[int, ...] | None = None
    """Of a choice of a script's tasks: which they are, from 0; None: all of them."""
    passed_over: tuple[tuple[ScriptItem, ...], ...] = ()
    """Of a choice: the items that were left out before each one."""

    @classmethod
    def read_psql(
        cls,
        sources: Sequence[Source],
        variables: Mapping[str, str],
        fetch: Callable[[str], str],
    ) -> Program:
        """Read psql scripts; `fetch` gives the text of a file that one of them includes.

        Raises UsageError for the first thing that is wrong, before anything has run.
        """
        from pgfan.sql.directives import with_directives
        from pgfan.sql.psql_script import read_psql  # nothing else needs its patterns compiled

        pairs = [(source.name, source.text) for source in sources]
        found = read_psql(pairs, variables, fetch)
        return cls(
            tuple(sources),
            dict(variables),
            with_directives(found.items),
            found.files,
            found.ends_with,
        )

    @classmethod
    def of_folder(
        cls,
        folder: str,
        sources: Sequence[Source],
        variables: Mapping[str, str],
        scripts: Sequence[PsqlScript],
    ) -> Program:
        """The files of a folder in this order; `scripts` are what `read_of_folder` makes of them.

        Raises UsageError when there is no statement in them.
        """
        items: list[ScriptItem] = []
        files: dict[str, str] = {}
        said: tuple[str, ...] = ()
        for source, script in zip(sources, scripts, strict=True):
            of_file = [replace(item, session=source.name) for item in script.items]
            if of_file:
                of_file[0] = _after(said, of_file[0])
                said = ()
            said += script.ends_with
            items += of_file
            files.update(script.files)
        if not items:
            raise UsageError(f"no file of {folder} holds an SQL statement")
        from pgfan.sql.directives import with_directives

        read = (with_directives(items), files, said, folder)
        return cls(tuple(sources), dict(variables), *read)

    @classmethod
    def read(cls, sources: Sequence[Source], variables: Mapping[str, str]) -> Program:
        """Parse every source; raises UsageError for the first one that does not parse."""
        items = [
            item for source in sources for item in read_script(source.text, source.name, variables)
        ]
        return cls(tuple(sources), dict(variables), tuple(items))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Program:
        """The inverse of `to_json`."""
        files = value.get("files", {})
        sources = [Source(name, *(text or [files[name]])) for name, *text in value["sources"]]
        if value.get("folder"):
            folder, variables = value["folder"], value["variables"]
            fetch = value["files"].__getitem__
            scripts = [read_of_folder(folder, source, variables, fetch) for source in sources]
            found = cls.of_folder(folder, sources, variables, scripts)
        elif value["command"] == "run":
            found = cls.read_psql(sources, value["variables"], value["files"].__getitem__)
        else:
            found = cls.read(sources, value["variables"])
        return found.chosen(set(value["numbers"])) if "numbers" in value else found

    def to_json(self) -> dict[str, Any]:
        """JSON values; the text of a source stands among the files where it is one of them."""
        files = self.files or {}
        kept: dict[str, Any] = (
            {"command": "exec"}
            if self.files is None
            else {"command": "run", "files": {**self.files}}
        )
        if self.folder:
            kept["folder"] = self.folder
        if self.numbers is not None:
            kept["numbers"] = list(self.numbers)
        return {
            **kept,
            "sources": [
                [one.name] if files.get(one.name) == one.text else [one.name, one.text]
                for one in self.sources
            ],
            "variables": dict(self.variables),
            "tasks": len(self.items),
        }

    def chosen(self, numbers: Collection[int]) -> Program:
        """The items with these numbers, from 0, as a program of their own."""
        items: list[ScriptItem] = []
        passed_over: list[tuple[ScriptItem, ...]] = []
        left_out: list[ScriptItem] = []
        wanted = frozenset(numbers)
        for number, item in enumerate(self.items):
            if number in wanted:
                items.append(item)
                passed_over.append(tuple(left_out))
                left_out = []
            else:
                left_out.append(item)
        kept = tuple(sorted(numbers))
        return replace(self, items=tuple(items), numbers=kept, passed_over=tuple(passed_over))

    def number(self, index: int) -> int:
        """The number of an item in its whole script, from 0."""
        return index if self.numbers is None else self.numbers[index]

    @property
    def title(self) -> str:
        """The first statement on one line, and how many there are besides."""
        more = len(self.items) - 1
        return excerpt(self.items[0].first.text) + (f" (and {more} more)" if more else "")

    @property
    def statements(self) -> tuple[Statement, ...]:
        """All statements, those of transaction blocks too."""
        return tuple(statement for item in self.items for statement in item.statements)

    @property
    def texts(self) -> tuple[str, ...]:
        """What tells it from other programs: all statements, their files, what their rows make."""
        found: list[str] = []
        for statement in self.statements:
            found += (one for one in (statement.text, statement.client_file, statement.data) if one)
            if statement.generates is not None:
                found.append(statement.generates.template or statement.generates.name)
        return tuple(found)

    def place(self, item: ScriptItem, error: PgfanError, index: int) -> PgfanError:
        """`error` with its place in the source, for the statement of `item` at `index`.

        Statements of a block count from the one after BEGIN.
        """
        if error.position is not None:
            return error
        inside = item.statements[1:-1] if item.is_block else item.statements
        statement = inside[min(index, len(inside) - 1)] if inside else item.first
        position = statement.position
        if item.generated_by is not None:
            error.message = with_statement(error.message, item.generated_by, statement.text)
        elif isinstance(error, DatabaseError) and error.statement_offset is not None:
            found, _ = locate(statement.text, position.source, error.statement_offset)
            before = position.column - 1 if found.line == 1 else 0
            position = Position(
                position.source, position.line + found.line - 1, found.column + before
            )
        error.position = position
        error.source_line = self._line(position)
        return error

    def _line(self, position: Position) -> str | None:
        """The source line at a position; several -c share a name, so all of them are looked at."""
        if self.files is not None:
            lines = self.files.get(position.source, "").split("\n")
            return lines[position.line - 1].rstrip("\r") if position.line <= len(lines) else None
        for source in self.sources:
            lines = interpolate(source.text, self.variables).split("\n")
            if source.name == position.source and position.line <= len(lines):
                line = lines[position.line - 1].rstrip("\r")
                if len(line) >= position.column - 1:
                    return line
        return None


def read_of_folder(
    folder: str, source: Source, variables: Mapping[str, str], fetch: Callable[[str], str]
) -> PsqlScript:
    """A file of a folder, as psql would read it alone, started in the folder.

    Raises UsageError as `Program.read_psql`, but not for a file without statements.
    """
    from pgfan.sql.psql_script import read_psql

    pair = (source.name, source.text)
    return read_psql([pair], variables, fetch, folder=folder, may_be_empty=True)


def _after(said: tuple[str, ...], item: ScriptItem) -> ScriptItem:
    """`item`, before which more is said."""
    first = dataclasses.replace(item.first, echoes=said + item.first.echoes)
    return replace(item, statements=(first, *item.statements[1:]))
