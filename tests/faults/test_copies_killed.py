r"""A script is killed while its \copy is divided: the same command loads each row once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from pgfan_client import assert_holds, command, execute, value, watching

if TYPE_CHECKING:
    from pathlib import Path

PIECES, EACH = 12, 20
ROWS = PIECES * EACH
# Rows that take two milliseconds each in the server: the kill lands inside of a chunk.
SLOW = (
    "CREATE FUNCTION slow(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
    "'BEGIN PERFORM pg_sleep(0.002); RETURN $1; END'"
)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A \\copy of 12 MB, whose rows are few and wide."""
    wide = "x" * (1_000_000 // EACH)
    (tmp_path / "a.csv").write_text("".join(f"{i},{wide}\n" for i in range(ROWS)))
    path = tmp_path / "main.sql"
    path.write_text(
        f"\\copy t FROM '{tmp_path}/a.csv' (FORMAT csv)\nCREATE TABLE total AS SELECT i FROM t;\n"
    )
    return path


def test_killed_and_resumed_each_row_is_there_once(dsn18: str, script: Path) -> None:
    execute(dsn18, SLOW, "CREATE TABLE t (i int, t text)", "CREATE INDEX ON t (slow(i))")
    words = ("run", str(script), "--jobs", "2", "--split", "always", "--chunk-rows", "10000")
    with watching(dsn18) as watcher, command(dsn18, *words) as killed:
        watcher.wait_for_chunks(3)
        killed.kill()
    file = script.with_name("a.csv")
    before, stamps = file.read_bytes(), file.stat()
    file.write_bytes(before[:-1] + b"y\n")
    with command(dsn18, *words) as refused:
        ended = refused.end()
    assert ended.code == 1
    assert "a.csv was changed since the load began" in ended.said
    file.write_bytes(before)
    os.utime(file, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))
    with command(dsn18, *words) as last:
        ended = last.end()
    assert ended.code == 0, ended.said
    assert_holds(dsn18, "total", f"SELECT generate_series(0, {ROWS - 1})")
    assert value(dsn18, "SELECT max(chunks) FROM pgfan.task") >= PIECES - 1
