"""Telling a run that goes on how many workers to use: signals, `pgfan jobs`, and bad numbers."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from pgfan_command import pgfan, pgfan_here

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SLOW = (
    "INSERT INTO t SELECT i FROM generate_series(1, 2500) AS g(i) WHERE pg_sleep(0.001) IS NOT NULL"
)
LOOKS_MAX = 1_000
NOWHERE = "host=/nonexistent"


def changes(log: Path) -> list[tuple[int, str]]:
    if not log.exists():
        return []
    events = [
        json.loads(line)
        for line in log.read_bytes().splitlines(keepends=True)
        if line.endswith(b"\n")
    ]
    return [(e["workers"], e["why"]) for e in events if e["event"] == "WorkersChanged"]


def test_signals_and_the_command(
    capsys: pytest.CaptureFixture[str],
    dsn18: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pgfan.execute.staffing.LOOK_S", 0.02)
    monkeypatch.setattr("pgfan.execute.runner.LOOK_S", 0.02)
    log, said = tmp_path / "log", []
    with psycopg.connect(dsn18, autocommit=True) as looking:
        looking.execute("CREATE TABLE t (i int)")

        def until(holds: Callable[[], bool]) -> None:
            for _ in range(LOOKS_MAX):
                if holds():
                    return
                looking.execute("SELECT pg_sleep(0.01)")
            raise AssertionError("it never happened")

        def tell() -> None:
            # Before the first chunk there may be no handler, and the signal would end the tests.
            until(lambda: log.exists() and b"ChunkFinished" in log.read_bytes())
            os.kill(os.getpid(), signal.SIGUSR1)
            until(lambda: len(changes(log)) == 1)
            os.kill(os.getpid(), signal.SIGUSR2)
            until(lambda: len(changes(log)) == 2)
            said.append(pgfan("jobs", "6", "-d", dsn18))

        telling = threading.Thread(target=tell, daemon=True)
        telling.start()
        common = ("--jobs", "2", "--chunk-rows", "10", "--split", "always", "--log-file", log)
        ended = pgfan_here(capsys, "exec", "-d", dsn18, "-c", SLOW, *common)
        telling.join(30)
        assert not telling.is_alive()
        assert ended.code == 0, ended.err
        assert changes(log) == [(3, "as asked"), (2, "as asked"), (6, "as asked")]
        assert said[0].code == 0
        assert said[0].err.startswith("told run ")
        assert said[0].err.endswith(": 6\n")
        row = looking.execute("SELECT count(*), count(DISTINCT i) FROM t").fetchone()
    assert row == (2500, 2500)


BAD = {
    "load of none": (["exec", "-c", "SELECT 1", "--max-load", "0"], "--max-load 0"),
    "load in words": (["exec", "-c", "SELECT 1", "--max-load", "much"], "much"),
    "nice below none": (["exec", "-c", "SELECT 1", "--nice", "-1"], "--nice -1"),
    "no worker for a table": (
        ["exec", "-c", "SELECT 1", "--max-per-table", "0"],
        "--max-per-table 0",
    ),
    "jobs in words": (["jobs", "many"], "'many'"),
    "fewer jobs than none": (["jobs", "-1"], "-1"),
    "too many jobs": (["jobs", "10001"], "from 0 to 10000"),
    "no number of jobs": (["jobs"], "JOBS"),
}


@pytest.mark.parametrize(("words", "said"), BAD.values(), ids=list(BAD))
def test_bad_numbers(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    ended = pgfan_here(capsys, *words, "-d", NOWHERE)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_nobody_to_tell(capsys: pytest.CaptureFixture[str], dsn18: str) -> None:
    ended = pgfan_here(capsys, "jobs", "3", "-d", dsn18)
    assert ended.code == 2
    assert "nobody is working on any run of this database" in ended.err
    assert "nobody is working on run x" in pgfan_here(capsys, "jobs", "3", "x", "-d", dsn18).err
