"""What tells tasks of a script from each other, and files from what they were."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pgfan.reading.data_files import MISSING, look_at
from pgfan.reading.script_digests import ScriptDigests
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {"TimeZone": "UTC"}


def digests(script: str, settings: dict[str, str] = SETTINGS) -> ScriptDigests:
    program = Program.read_psql([Source("s.sql", script)], {}, lambda name: name)
    return ScriptDigests.of(program, settings, {})


def test_places_and_comments_do_not_count() -> None:
    one = digests("SELECT 1; SELECT 2;")
    assert digests("-- said\nSELECT 1;\n\n SELECT 2 ;").target == one.target


def test_text_order_settings_lines_and_directives_count() -> None:
    scripts = [
        "SELECT 1; SELECT 2;",
        "SELECT 2; SELECT 1;",
        "SELECT 1; SELECT  2;",
        "SET work_mem = '1MB'; SELECT 1; SELECT 2;",
        "-- pgfan: serial\nSELECT 1; SELECT 2;",
        "COPY t FROM STDIN;\n1\n\\.\n",
        "COPY t FROM STDIN;\n2\n\\.\n",
    ]
    targets = {digests(script).target for script in scripts}
    targets.add(digests(scripts[0], {"TimeZone": "CET"}).target)
    assert len(targets) == len(scripts) + 1


def test_a_setting_changes_what_follows_it_alone() -> None:
    before = digests("SELECT 1; SET work_mem = '1MB'; SELECT 2;").texts
    after = digests("SELECT 1; SET work_mem = '2MB'; SELECT 2;").texts
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, False]


def test_the_content_of_files_counts(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    script = f"\\copy t FROM '{path}'\nSELECT 1;"
    missing = digests(script)
    assert missing.files[1] == ""
    assert missing.looked_at[str(path)].sha256 == MISSING
    path.write_text("1", "utf-8")
    one = digests(script)
    path.write_text("2", "utf-8")
    os.utime(path, ns=(0, one.looked_at[str(path)].changed_ns + 1))
    other = digests(script)
    assert len({missing.files[0], one.files[0], other.files[0]}) == 3
    assert one.texts == other.texts


def test_a_file_that_the_script_writes_is_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    found = digests(f"\\copy t TO '{path}'\n\\copy t FROM '{path}'")
    assert (found.looked_at, found.files) == ({}, ("", ""))


def test_a_file_of_the_same_size_and_time_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("1", "utf-8")
    known = look_at([str(path)], {})
    changed_ns = known[str(path)].changed_ns
    path.write_text("2", "utf-8")
    os.utime(path, ns=(changed_ns, changed_ns))
    assert look_at([str(path)], known) == known
    os.utime(path, ns=(changed_ns, changed_ns + 1))
    assert look_at([str(path)], known)[str(path)].sha256 != known[str(path)].sha256


def test_a_pipe_is_another_one_each_time(tmp_path: Path) -> None:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    known = look_at([path], {})
    assert look_at([path], known) != known
