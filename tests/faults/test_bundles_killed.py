"""A script of light statements is killed, or its server is: each statement takes place once."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import psycopg
from pgfan_client import command, execute, holding, query, value, watching

from pgfan.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path

TABLES, EACH = 4, 300
STOPS = (40, 170)
"""Statements at which the run waits until it is killed: in the middle of a bundle."""
CRASH = {
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    # Commits that nobody waits for stay in memory, and are lost when it is.
    "wal_writer_delay": "10s",
}


def prepare(dsn: str, folder: Path) -> tuple[str, ...]:
    """A script of several bundles, whose statements share more or less with each other."""
    for n in range(TABLES):
        execute(dsn, f"CREATE TABLE t{n} (i int UNIQUE, at timestamptz, id serial)")
    lines = [
        f"INSERT INTO t{n} (i, at{', id' if n else ''}) "
        f"VALUES ({i}, {'NULL' if n < 2 else 'now()'}{f', {i}' if n else ''});"
        for i in range(EACH)
        for n in range(TABLES)
    ]
    (folder / "script.sql").write_text("\n".join(lines), "utf-8")
    return ("run", str(folder / "script.sql"), "--jobs", "2", "-q")


def done(dsn: str) -> int:
    if not value(dsn, "SELECT to_regclass('pgfan.task') IS NOT NULL"):
        return 0
    return int(value(dsn, "SELECT count(*) FROM pgfan.task WHERE state = 'done'"))


def assert_once(dsn: str) -> None:
    for n in range(TABLES):
        found = f"SELECT count(*), count(DISTINCT i), min(i), max(i) FROM t{n}"
        assert query(dsn, found) == [(EACH, EACH, 0, EACH - 1)]
    assert done(dsn) == TABLES * EACH


def test_the_client_is_killed(dsn18: str, tmp_path: Path) -> None:
    words = prepare(dsn18, tmp_path)
    reached = [0]
    for stop in STOPS:
        with (
            holding(dsn18, f"INSERT INTO t3 VALUES ({stop})"),
            watching(dsn18) as watcher,
            command(dsn18, *words) as started,
        ):
            watcher.wait_for_lock_wait()
            started.kill()
        reached.append(done(dsn18))
    assert sorted(set(reached)) == reached, "each of them did something"
    with command(dsn18, *words) as last:
        ended = last.end()
    assert ended.code == 0, ended.said
    assert_once(dsn18)


def test_the_server_crashes(made18: Path, tmp_path: Path) -> None:
    with EmbeddedServer(made18, settings=CRASH) as server:
        words = prepare(server.dsn, tmp_path)
        with ExitStack() as stack:
            stack.enter_context(suppress(psycopg.OperationalError))
            holder = stack.enter_context(holding(server.dsn, f"INSERT INTO t3 VALUES ({STOPS[1]})"))
            watcher = stack.enter_context(watching(server.dsn))
            started = stack.enter_context(command(server.dsn, *words))
            watcher.wait_for_lock_wait()
            os.kill(holder.info.backend_pid, signal.SIGKILL)
            ended = started.end()
        assert ended.code == 0, ended.said
        assert_once(server.dsn)
