"""pgfan.toml: what it may say, what wins over it, and what is wrong with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pgfan.cli.options import Running, Target
from pgfan.errors import UsageError
from pgfan.reading.paths import read_paths
from pgfan.reading.settings import Settings, read_settings, settings_of

if TYPE_CHECKING:
    from pathlib import Path

ALL = """
jobs = 3
chunk_seconds = 5
keep_going = true
journal_schema = "build_journal"
leave_out = ["old/*", "*_test.sql"]

[variables]
year = 2024
region = "north"
"""


def written(folder: Path, text: str) -> Path:
    (folder / "pgfan.toml").write_text(text, "utf-8")
    return folder


def test_all_that_it_may_say(tmp_path: Path) -> None:
    assert read_settings(written(tmp_path, ALL)) == Settings(
        {"year": 2024, "region": "north"},
        ("old/*", "*_test.sql"),
        3,
        5.0,
        keep_going=True,
        journal_schema="build_journal",
    )
    assert read_settings(written(tmp_path, 'jobs = "auto"')).jobs == "auto"


def test_nothing_without_it_and_with_scripts(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings()
    (tmp_path / "a.sql").write_text("SELECT 1;", "utf-8")
    written(tmp_path, "jobs = 2")
    assert settings_of((tmp_path / "a.sql",)) == settings_of(()) == Settings()
    assert settings_of((tmp_path,)).jobs == 2


def test_variables_and_files_of_the_folder(tmp_path: Path) -> None:
    written(tmp_path, ALL)
    (tmp_path / "a.sql").write_text("SELECT :year, :'region';", "utf-8")
    (tmp_path / "a_test.sql").write_text("not SQL", "utf-8")
    (item,) = read_paths([tmp_path], {"region": "south"}).items
    assert item.first.text == "SELECT 2024, 'south'"


def test_options_of_the_command_line_win(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, ALL))
    options = Running().to_exec_options(Target(), settings=settings)
    assert (options.jobs, options.chunk_s, options.keep_going) == (3, 5.0, True)
    assert options.journal_schema == "build_journal"
    given = Running(jobs="auto", chunk_seconds=1.0, keep_going=False)
    options = given.to_exec_options(Target(schema="pgfan"), settings=settings)
    assert (options.jobs, options.chunk_s, options.keep_going) == (None, 1.0, False)
    assert options.journal_schema == "pgfan"
    options = Running().to_exec_options(Target())
    assert (options.jobs, options.chunk_s, options.keep_going) == (None, 2.0, False)
    assert options.journal_schema == "pgfan"


WRONG = {
    "a key": ("\njob = 2", "2:1", "there is no setting 'job'", "did you mean jobs?"),
    "a hyphen": ("chunk-seconds = 2", "1:1", "'chunk-seconds'", "did you mean chunk_seconds?"),
    "nothing like it": ("[colours]", "1:2", "there is no setting 'colours'", "there are: var"),
    "a server": ('dsn = "host=x"', "1:1", "a project does not choose its server", "give -d"),
    "a password": ('password = "x"', "1:1", "a project does not choose its server", "give -d"),
    "a type": ('jobs = "many"', "1:1", "jobs: give a number", ""),
    "a size": ('chunk_seconds = "10 GB"', "1:1", "chunk_seconds: expected `float`, got `str`", ""),
    "no worker": ("jobs = 0", "1:1", "jobs: give a number", ""),
    "no time": ("chunk_seconds = -1", "1:1", "chunk_seconds: expected `float` > 0.0", ""),
    "no list": ('leave_out = "x"', "1:1", "leave_out: expected `array`, got `str`", ""),
    "no text in it": ("leave_out = [1]", "1:1", "leave_out: expected `str`, got `int`", ""),
    "no truth": ("keep_going = 1", "1:1", "keep_going: expected `bool", ""),
    "a variable": ('[variables]\n"a b" = 1', "2:2", "'a b' is no name of a variable", "names are"),
    "a value": ("[variables]\na = [1]", "1:2", "variables: expected", ""),
    "no TOML": ("jobs = 2\nkeep_going = yes", "2:14", "is no TOML", ""),
}


@pytest.mark.parametrize(("text", "place", "message", "hint"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said_with_its_line(
    tmp_path: Path, text: str, place: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as error:
        read_settings(written(tmp_path, text))
    assert str(error.value.position) == f"{tmp_path}/pgfan.toml:{place}"
    assert message in error.value.message
    assert hint in (error.value.hint or "")


def test_a_password_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_settings(written(tmp_path, 'password = "hunter2"'))
    assert "hunter2" not in f"{error.value.message} {error.value.source_line}"
