"""An unload is killed: nothing that is there passes for a whole file, or for a whole folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pgfan_client import command, execute, wait_until

if TYPE_CHECKING:
    from pathlib import Path

ROWS, EACH = 400, 10
QUERY = f"SELECT i, pg_sleep(0.005)::text AS s FROM generate_series(1, {ROWS}) AS g (i)"


def test_a_killed_unload_is_no_folder_until_it_is_written_anew(dsn18: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pace = ("--split", "always", "--jobs", "2", "--chunk-rows", str(EACH))
    words = ("unload", "-c", QUERY, "--out", str(out), *pace)
    with command(dsn18, *words) as killed:
        wait_until(lambda: len(whole(out)) > 2, "three files")
        killed.kill()
    left = whole(out)
    assert 0 < len(left) < ROWS // EACH
    assert all(len(path.read_text().splitlines()) == EACH + 1 for path in left)
    assert not (out / "manifest.json").exists()
    with command(dsn18, *words) as again:
        ended = again.end()
    assert ended.code == 2
    assert "is not empty" in ended.said
    assert "--overwrite" in ended.said
    with command(dsn18, *words, "--overwrite") as last:
        ended = last.end()
    assert ended.code == 0, ended.said
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["rows"], len(manifest["files"])) == (ROWS, ROWS // EACH)
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.json",
        *sorted(file["file"] for file in manifest["files"]),
    ]


def test_a_file_that_is_not_whole_is_not_loaded(dsn18: str, tmp_path: Path) -> None:
    execute(dsn18, "CREATE TABLE t (i int)")
    (tmp_path / "part-0.csv").write_text("i\n1\n")
    (tmp_path / "part-1.csv.partial").write_text("i\n2")
    with command(dsn18, "load", str(tmp_path / "part-*"), "--into", "t") as client:
        ended = client.end()
    assert ended.code == 2
    assert "part-1.csv.partial: its name does not tell its format" in ended.said


def whole(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.csv"))
