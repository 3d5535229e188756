"""What `pgfan exec` prints, where, and the code that it ends with."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from pgfan_command import pgfan, pgfan_here

from pgfan import __version__

if TYPE_CHECKING:
    from pathlib import Path

INSERT = "INSERT INTO t SELECT g FROM generate_series(1, 300) g"
TABLE = "CREATE TABLE t (i int)"

TASK_TYPES: dict[str, tuple[type | None, ...]] = {
    "id": (str,),
    "source": (str,),
    "kind": (str,),
    "state": (str,),
    "verdict": (str,),
    "key": (str, None),
    "reasons": (list,),
    "hazards": (list,),
    "chunks": (int,),
    "stragglers": (int,),
    "rows": (int, None),
    "seconds": (float,),
    "error": (str, None),
}
RUN_TYPES: dict[str, tuple[type | None, ...]] = {
    "schema": (int,),
    "run": (str,),
    "ok": (bool,),
    "seconds": (float,),
    "jobs": (int,),
    "tasks": (list,),
}


def assert_typed(value: dict[str, Any], types: dict[str, tuple[type | None, ...]]) -> None:
    assert list(value) == list(types)
    for name, allowed in types.items():
        found = None if value[name] is None else type(value[name])
        assert found in allowed, f"{name} is {value[name]!r}"


@pytest.mark.parametrize("fails", [False, True])
def test_json(capsys: pytest.CaptureFixture[str], dsn18: str, fails: bool) -> None:
    script = f"{TABLE};\n{INSERT};\nSELECT count(*) FROM {'x' if fails else 't'};\nVACUUM t"
    ended = pgfan_here(
        capsys, "exec", "--json", "-d", dsn18, "--split", "always", "--jobs", "2", "-c", script
    )
    assert ended.code == (1 if fails else 0)
    assert ended.out.count("\n") == 1
    run = json.loads(ended.out)
    assert_typed(run, RUN_TYPES)
    assert (run["schema"], run["ok"], run["jobs"], len(run["tasks"])) == (1, not fails, 2, 4)
    for task in run["tasks"]:
        assert_typed(task, TASK_TYPES)
        for reason in task["reasons"]:
            assert_typed(reason, {"code": (str,), "message": (str,)})
        assert all(isinstance(hazard, str) for hazard in task["hazards"])
    table, insert, select, vacuum = run["tasks"]
    assert [task["id"] for task in run["tasks"]] == ["1", "2", "3", "4"]
    assert [task["source"] for task in run["tasks"]] == ["-c:1", "-c:2", "-c:3", "-c:4"]
    assert (table["kind"], table["verdict"], table["key"], table["rows"]) == (
        "create",
        "serial",
        None,
        None,
    )
    assert (insert["kind"], insert["verdict"], insert["key"]) == ("insert", "split", "series")
    assert (insert["state"], insert["rows"], insert["hazards"]) == ("done", 300, ["not-atomic"])
    assert (select["kind"], select["state"]) == ("select", "failed" if fails else "done")
    assert (select["error"] is None) is not fails
    assert (vacuum["kind"], vacuum["state"]) == ("vacuum", "not run" if fails else "done")


def test_json_without_a_server_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    ended = pgfan_here(capsys, "exec", "--json", "-d", "host=/nonexistent", "-c", "SELECT 1")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("error: ")
    assert "HINT: " in ended.err


def test_standard_output_holds_results_alone(
    capsys: pytest.CaptureFixture[str], dsn18: str
) -> None:
    script = f"{TABLE}; {INSERT}; SELECT count(*) FROM t; DO $$ BEGIN RAISE NOTICE 'n'; END $$"
    ended = pgfan_here(capsys, "exec", "-d", dsn18, "--split", "always", "-v", "-c", script)
    assert ended.out == "CREATE TABLE\nINSERT 0 300\n count \n-------\n   300\n(1 row)\n\nDO\n"
    assert "not-atomic" in ended.err
    assert "n" in ended.err.split()
    assert "300 rows" in ended.err


def test_quiet(capsys: pytest.CaptureFixture[str], dsn18: str) -> None:
    script = f"{TABLE}; {INSERT}; SELECT count(*) FROM t; DO $$ BEGIN RAISE WARNING 'w'; END $$"
    ended = pgfan_here(capsys, "exec", "-q", "-d", dsn18, "-c", script)
    assert ended.out == " count \n-------\n   300\n(1 row)\n\n"
    assert ended.err.count("\n") == 1
    assert "w" in ended.err.split()
    failed = pgfan_here(capsys, "exec", "-q", "-d", dsn18, "-c", "SELECT 1 / 0")
    assert (failed.code, failed.out) == (1, "")
    assert "division by zero" in failed.err


@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colour_where_there_is_no_terminal(dsn18: str, environ: dict[str, str]) -> None:
    ended = pgfan("exec", "-d", dsn18, "-c", "SELECT 1; SELECT nowhere", environ=environ)
    assert ended.code == 1
    assert "\x1b" not in ended.out + ended.err


def test_a_reader_that_goes_away(dsn18: str) -> None:
    """`pgfan ... | head -1`: what is done is done, and there is no traceback."""
    rows = "SELECT g FROM generate_series(1, 200000) g"
    with subprocess.Popen(
        [sys.executable, "-m", "pgfan", "exec", "-q", "-d", dsn18, "-c", f"{TABLE}; {rows}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"   g    \n"
        process.stdout.close()
        said = process.stderr.read()
    assert b"Traceback" not in said
    assert process.returncode == 0, said
    with psycopg.connect(dsn18) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_log_file(capsys: pytest.CaptureFixture[str], dsn18: str, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    script = f"{TABLE}; {INSERT}"
    for _ in range(2):
        pgfan_here(
            capsys, "exec", "-q", "-d", dsn18, "--log-file", log, "--split", "always", "-c", script
        )
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = [line["event"] for line in lines]
    assert kinds.count("RunStarted") == 2
    assert kinds.count("RunFinished") == 2
    assert "ChunkFinished" in kinds
    assert all(line["at"].endswith("Z") for line in lines)


@pytest.mark.parametrize("name", ["missing/run.log", "."])
def test_a_log_that_cannot_be_written_costs_a_warning(
    capsys: pytest.CaptureFixture[str], dsn18: str, tmp_path: Path, name: str
) -> None:
    log = tmp_path / name
    ended = pgfan_here(
        capsys, "exec", "-q", "-d", dsn18, "--log-file", log, "-c", "SELECT 1 AS one"
    )
    assert (ended.code, "one" in ended.out) == (0, True)
    assert ended.err.startswith(f"warning: no log in {log}: ")
    assert "Traceback" not in ended.err


def test_dry_run(capsys: pytest.CaptureFixture[str], dsn18: str) -> None:
    with psycopg.connect(dsn18) as connection:
        connection.execute(TABLE)
    ended = pgfan_here(capsys, "exec", "-d", dsn18, "--dry-run", "--split", "always", "-c", INSERT)
    assert (ended.code, "split by generate_series" in ended.out) == (0, True)
    with psycopg.connect(dsn18) as connection:
        counts = "SELECT count(*), to_regnamespace('pgfan') IS NULL FROM t"
        assert connection.execute(counts).fetchone() == (0, True)


def test_the_journals_commands(dsn18: str, capsys: pytest.CaptureFixture[str]) -> None:
    def status() -> list[dict[str, Any]]:
        ended = pgfan_here(capsys, "status", "-d", dsn18, "--json")
        value = json.loads(ended.out)
        assert (ended.code, value["schema"]) == (0, 1)
        runs = value["runs"]
        assert isinstance(runs, list)
        return runs

    assert status() == []
    nothing = pgfan_here(capsys, "resume", "-d", dsn18)
    assert (nothing.code, "no journal" in nothing.err) == (2, True)
    script = f"{TABLE}; {INSERT}; INSERT INTO u SELECT 1"
    assert pgfan_here(capsys, "exec", "-d", dsn18, "-c", script).code == 1
    (run,) = status()
    assert (run["state"], run["tasks"], run["tasks_done"], run["rows"]) == ("failed", 3, 2, 300)
    table = pgfan_here(capsys, "status", "-d", dsn18)
    assert (run["id"] in table.out, "failed" in table.out, "2/3" in table.out) == (True,) * 3
    with psycopg.connect(dsn18) as connection:
        connection.execute("CREATE TABLE u (i int)")
    resumed = pgfan_here(capsys, "resume", "--json", "-d", dsn18, run["id"])
    assert resumed.code == 0, resumed.err
    report = json.loads(resumed.out)
    assert report["run"] == run["id"]
    assert [task["state"] for task in report["tasks"]] == ["skipped", "skipped", "done"]
    assert pgfan_here(capsys, "forget", "-d", dsn18).code == 2
    assert pgfan_here(capsys, "forget", "-d", dsn18, "nonsense").code == 2
    gone = pgfan_here(capsys, "forget", "-d", dsn18, run["id"])
    assert (gone.code, gone.out, gone.err) == (0, "", "forgot 1 run\n")
    assert status() == []
    assert pgfan_here(capsys, "forget", "-d", dsn18, "--all").code == 0


@pytest.mark.parametrize(
    "words", [["--help"], [], ["exec", "--help"], ["resume", "--help"], ["forget", "--help"]]
)
def test_help(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    ended = pgfan_here(capsys, *words)
    assert (ended.code, ended.err) == (0, "")
    assert "Usage: pgfan" in ended.out
    for option in ("--dsn", "--embedded", "--jobs", "--json", "--log-file"):
        assert (option in ended.out) is (words[:1] in (["exec"], ["resume"])) or "forget" in words


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    ended = pgfan_here(capsys, "--version")
    assert (ended.code, ended.out.strip()) == (0, __version__)
