from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pgfan.events import Message, Notice, RunStarted, TaskFinished
from pgfan.report.log import open_log

NOON = datetime(2026, 1, 2, 13, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=1)))


def logged(path: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def never(text: str) -> None:
    raise AssertionError(text)


def test_each_event_is_a_line_with_its_fields_and_the_time_in_utc(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    with open_log(path, on_warning=never, now=lambda: NOON) as log:
        log.emit(RunStarted("3f2a", 2, 1, resumed=False))
        log.emit(TaskFinished("a", "f.sql:3", "failed", None, 2, 1.5, "no", 1.23456789))
        # Each line is there when its event is over, not when the log is closed.
        assert len(logged(path)) == 2
    assert logged(path) == [
        {
            "at": "2026-01-02T12:00:00.500Z",
            "event": "RunStarted",
            "run_id": "3f2a",
            "jobs": 2,
            "tasks": 1,
            "resumed": False,
        },
        {
            "at": "2026-01-02T12:00:00.500Z",
            "event": "TaskFinished",
            "task_id": "a",
            "source": "f.sql:3",
            "state": "failed",
            "rows": None,
            "chunks": 2,
            "seconds": 1.5,
            "error": "no",
            "at_s": 1.234568,
        },
    ]


def test_a_second_run_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    for _ in range(2):
        with open_log(path, on_warning=never) as log:
            log.emit(Message("info", "x", 0.0))
    assert len(logged(path)) == 2
    moment = datetime.fromisoformat(logged(path)[0]["at"])
    assert moment.tzinfo == UTC


def test_secrets_and_odd_characters_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    long = "y" * 20_000
    with open_log(path, on_warning=never) as log:
        log.emit(Notice("a", "NOTICE", "postgresql://u:pw@h/d \x1b\n\ud800", 0.0))
        log.emit(Message("info", f"password='{long}' {long}", 0.0))
    first, second = logged(path)
    assert first["message"] == "postgresql://u:***@h/d \x1b\n\\ud800"
    assert b"\x1b" not in path.read_bytes()
    assert second["text"].startswith("password=*** yyy")
    assert len(second["text"]) == 10_000


def test_a_log_that_cannot_be_opened_costs_one_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    with open_log(tmp_path / "missing" / "run.log", on_warning=warnings.append) as log:
        log.emit(Message("info", "x", 0.0))
    assert len(warnings) == 1
    assert warnings[0].endswith("No such file or directory; the run goes on without it")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_costs_one_warning() -> None:
    warnings: list[str] = []
    with open_log(Path("/dev/full"), on_warning=warnings.append) as log:
        log.emit(Message("info", "x", 0.0))
        log.emit(Message("info", "y", 0.0))
    assert warnings == ["no log in /dev/full: No space left on device; the run goes on without it"]


def test_it_may_be_closed_twice(tmp_path: Path) -> None:
    log = open_log(tmp_path / "run.log", on_warning=never)
    log.close()
    log.close()
    log.emit(Message("info", "x", 0.0))
    assert logged(tmp_path / "run.log") == []
