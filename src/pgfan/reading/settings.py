"""`pgfan.toml` of a folder: what of the command line's options goes with the files.

Only what is about the files is there. Which server, and who connects to it, is the user's to say: a
project cannot change the connection.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from pgfan.errors import Position, UsageError
from pgfan.reading.texts import read_text
from pgfan.sql.variables import parse_assignment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "pgfan.toml"
_OF_THE_USER = frozenset({"dsn", "host", "port", "dbname", "user", "password", "service"})
_JOBS = 'give a number of connections, from 1, or "auto"'
_PLACE = re.compile(r"line (\d+), column (\d+)")
_AT = re.compile(r" - (?:at|in) `(?:key in )?\$\.?(.*)`$")


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says; None: nothing. Options of the command line win."""

    variables: dict[str, str | int | float] = field(default_factory=dict)
    """psql's variables, as with --set."""
    leave_out: tuple[str, ...] = ()
    """Patterns of files that are not run, as for `pgfan.reading.folder.find_scripts`."""
    jobs: Annotated[int, Meta(ge=1)] | Literal["auto"] | None = None
    chunk_seconds: Annotated[float, Meta(gt=0)] | None = None
    keep_going: bool | None = None
    journal_schema: Annotated[str, Meta(min_length=1)] | None = None
    project: Annotated[str, Meta(min_length=1)] | None = None

    @property
    def psql_variables(self) -> dict[str, str]:
        """The variables as psql has them: texts."""
        return {name: str(value) for name, value in self.variables.items()}


def read_settings(folder: Path) -> Settings:
    """What a folder's pgfan.toml says; nothing without one.

    Raises UsageError, with the line, for what is no TOML, for unknown keys, and for values of a
    wrong type.
    """
    path = folder / NAME
    if not path.exists():
        return Settings()
    import tomllib  # nothing else reads TOML

    text = read_text(str(path))
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        where = Position(str(path), *map(int, place.groups())) if place else None
        raise UsageError(f"{path} is no TOML: {error}", position=where) from error
    for key in found:
        if key not in Settings.__struct_fields__:
            raise _unknown(path, text, key)
    try:
        settings = msgspec.convert(found, Settings)
    except msgspec.ValidationError as error:
        at = _AT.search(str(error))
        key = at[1].partition("[")[0] if at else ""
        what = _AT.sub("", str(error)).replace(" | null", "")
        what = _JOBS if key == "jobs" else what[0].lower() + what[1:]
        raise _wrong(path, text, key, f"{key}: {what}") from error
    for name, value in settings.psql_variables.items():
        try:
            parse_assignment(f"{name}={value}")
        except UsageError as error:
            why = f"variables: {name!r} is no name of a variable"
            raise _wrong(path, text, name, why, error.hint) from error
    return settings


def _unknown(path: Path, text: str, key: str) -> UsageError:
    if key in _OF_THE_USER:
        message = f"{key} cannot stand here: a project does not choose its server"
        hint = "give -d, or libpq's environment or service file"
        error = _wrong(path, text, key, message, hint)
        error.source_line = None  # it may hold a password
        return error
    from difflib import get_close_matches

    keys = Settings.__struct_fields__
    near = get_close_matches(key.replace("-", "_"), keys, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(keys)}"
    return _wrong(path, text, key, f"there is no setting {key!r}", hint)


def _wrong(path: Path, text: str, key: str, message: str, hint: str | None = None) -> UsageError:
    """An error at the line where the key stands."""
    last = re.escape(key.rpartition(".")[2])
    found = re.search(rf"^[ \t]*\[?[\"']?({last})\b", text, re.MULTILINE) if last else None
    if found is None:
        return UsageError(f"{path}: {message}", hint=hint)
    line = text.count("\n", 0, found.start(1)) + 1
    column = found.start(1) - text.rfind("\n", 0, found.start(1))
    where = Position(str(path), line, column)
    shown = text.split("\n")[line - 1]
    return UsageError(message, position=where, source_line=shown, hint=hint)


def settings_of(paths: Sequence[Path]) -> Settings:
    """What goes with the paths of a command: with a folder its file, with scripts nothing."""
    is_folder = len(paths) == 1 and os.path.isdir(paths[0])  # noqa: PTH112  # never raises
    return read_settings(paths[0]) if is_folder else Settings()
