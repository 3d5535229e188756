"""pgfan's functions, called from Python: what they take, what they give back."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from side_by_side import query, reused_dsn

import pgfan
from pgfan.errors import UsageError
from pgfan.reading.paths import read_scripts
from pgfan.reading.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

dsn = reused_dsn


def test_a_folder_with_its_settings(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "a_late.sql").write_text("CREATE TABLE b AS SELECT :n + i AS i FROM a;")
    (tmp_path / "b_early.sql").write_text("CREATE TABLE a AS SELECT 1 AS i;")
    (tmp_path / "pgfan.toml").write_text('jobs = 1\njournal_schema = "notes"\n[variables]\nn = 5\n')
    result = pgfan.run(dsn, tmp_path)
    assert result.ok, result.error
    assert result.jobs == 1
    assert [task.state for task in result.tasks] == ["done", "done"]
    assert query(dsn, "SELECT i FROM b") == [(6,)]
    assert query(dsn, "SELECT count(*) FROM notes.task") == [(2,)]


def test_a_text_and_what_it_says(dsn: str) -> None:
    said: list[str] = []
    text = pgfan.Source("made here", "\\echo :word\nSELECT 1;\nSELECT nonsense;")
    options = pgfan.ExecOptions(variables={"word": "hello"})
    result = pgfan.run(dsn, text, options, on_echo=said.append)
    assert said == ["hello\n"]
    assert not result.ok
    assert str(result.tasks[1].error.position) == "made here:3:8"  # type: ignore[union-attr]


def test_scripts_and_texts_follow_each_other(tmp_path: Path) -> None:
    path = tmp_path / "one.sql"
    path.write_text("\\set v 3\nSELECT 1;")
    texts = [pgfan.Source("two", "SELECT :v;")]
    program, settings = read_scripts([str(path), *texts], {})
    assert [item.first.text for item in program.items] == ["SELECT 1", "SELECT 3"]
    assert settings == Settings()
    with pytest.raises(UsageError, match="no script"):
        read_scripts([], {})


def test_importing_pgfan_imports_little() -> None:
    code = (
        "import sys, pgfan; sys.exit(any(name in sys.modules for name in ('psycopg', 'msgspec')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
