"""A project's client is killed between the drops and the end: nothing is dropped or done twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan_client import Client, Ended, assert_holds, command, execute, query, wait_until

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
CREATE TABLE a (i int);
INSERT INTO a SELECT generate_series(1, {n});
CREATE TABLE b AS SELECT a.i FROM a, (SELECT seconds FROM other.wait) w, pg_sleep(seconds){more};
CREATE TABLE kept AS SELECT 1 AS i;
"""


def kill_in_the_middle(dsn: str, path: Path) -> None:
    """Build it, edit it, and kill the client that rebuilds when the table before b is filled."""
    words = ("run", str(path), "--project", "p")
    execute(dsn, "CREATE SCHEMA other", "CREATE TABLE other.wait AS SELECT 0 AS seconds")
    path.write_text(SCRIPT.format(n=10, more=""), "utf-8")
    with command(dsn, *words) as first:
        assert first.end().code == 0
    kept = query(dsn, "SELECT 'kept'::regclass::oid")
    execute(dsn, "UPDATE other.wait SET seconds = 600")
    path.write_text(SCRIPT.format(n=20, more=""), "utf-8")
    started = Client(dsn, *words)
    filled = (
        "SELECT count(*) FROM pgfan.task t JOIN pgfan.pending p ON p.run = t.run "
        "WHERE t.state = 'done'"
    )
    wait_until(lambda: query(dsn, filled) == [(2,)], "a filled table")
    started.kill()
    execute(dsn, "UPDATE other.wait SET seconds = 0")
    assert query(dsn, "SELECT to_regclass('b')") == [(None,)]
    assert query(dsn, "SELECT 'kept'::regclass::oid") == kept


def test_the_same_command_goes_on(dsn18: str, tmp_path: Path) -> None:
    path = tmp_path / "s.sql"
    kill_in_the_middle(dsn18, path)
    oid = query(dsn18, "SELECT 'a'::regclass::oid")
    ended = run_again(dsn18, path)
    assert "going on with run" in ended.said
    assert query(dsn18, "SELECT 'a'::regclass::oid") == oid


def test_resume_by_the_runs_id_counts_for_the_project(dsn18: str, tmp_path: Path) -> None:
    path = tmp_path / "s.sql"
    kill_in_the_middle(dsn18, path)
    with command(dsn18, "resume") as resumed:
        assert resumed.end().code == 0
    ended = run_again(dsn18, path)
    assert ended.report is not None
    assert ended.report["tasks"] == []


def test_another_script_is_decided_on_what_the_killed_client_had_done(
    dsn18: str, tmp_path: Path
) -> None:
    path = tmp_path / "s.sql"
    kill_in_the_middle(dsn18, path)
    oid = query(dsn18, "SELECT 'a'::regclass::oid")
    path.write_text(SCRIPT.format(n=20, more=" WHERE true"), "utf-8")
    ended = run_again(dsn18, path)
    assert ended.report is not None
    assert [task["id"] for task in ended.report["tasks"]] == ["3"]
    assert query(dsn18, "SELECT 'a'::regclass::oid") == oid


def run_again(dsn: str, path: Path) -> Ended:
    """The command again, to its end; then all is as it should be."""
    with command(dsn, "run", str(path), "--project", "p") as last:
        ended = last.end()
    assert ended.code == 0, ended.said
    assert_holds(dsn, "a", "SELECT generate_series(1, 20)")
    assert_holds(dsn, "b", "SELECT generate_series(1, 20)")
    assert query(dsn, "SELECT state, count(*) FROM pgfan.built GROUP BY 1") == [("done", 4)]
    assert query(dsn, "SELECT count(*) FROM pgfan.pending") == [(0,)]
    return ended
