"""From what is named to a program: scripts in their order, or one folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pgfan.errors import UsageError
from pgfan.reading.settings import Settings, read_settings, settings_of
from pgfan.reading.texts import read_source, read_text
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def read_paths(paths: Sequence[Path], variables: Mapping[str, str]) -> Program:
    """The program that `paths` are: a folder alone, or scripts that follow each other.

    No path, or -, is standard input. A folder's pgfan.toml gives variables, under `variables`, and
    says which files do not count. Raises UsageError, before anything has run.
    """
    folders = [path for path in paths if os.path.isdir(path)]  # noqa: PTH112  # never raises
    if not folders:
        sources = [read_source(path) for path in paths or (Path("-"),)]
        return Program.read_psql(sources, variables, read_text)
    if len(paths) > 1:
        raise UsageError(
            f"{folders[0]} is a folder, whose files are put into an order of their own: it is run "
            "alone",
            hint="name the folder that holds all of them, or name the files in their order",
        )
    from pgfan.reading.folder import read_folder

    settings = read_settings(folders[0])
    return read_folder(folders[0], {**settings.psql_variables, **variables}, settings.leave_out)


def read_scripts(
    given: Iterable[str | os.PathLike[str] | Source], variables: Mapping[str, str]
) -> tuple[Program, Settings]:
    """The program of scripts, paths or texts, that follow each other, or of one folder's path.

    With it comes what the folder's pgfan.toml says, or nothing. Raises UsageError as `read_paths`.
    """
    scripts = [one if isinstance(one, Source) else Path(one) for one in given]
    if not scripts:
        raise UsageError("no script: give paths, or texts as Source(name, text)")
    paths = [one for one in scripts if isinstance(one, Path)]
    if len(paths) == len(scripts):
        return read_paths(paths, variables), settings_of(paths)
    sources = [one if isinstance(one, Source) else read_source(one) for one in scripts]
    return Program.read_psql(sources, variables, read_text), Settings()
