"""A chunk that the server refuses: what is tried again, what is cut smaller, what ends the run."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest
from pgfan_client import (
    assert_holds,
    client,
    execute,
    finish,
    holding,
    query,
    run,
    value,
    watching,
)

from pgfan import api
from pgfan.errors import DatabaseError
from pgfan.events import ChunkFinished, WorkersChanged
from pgfan.plan import dealing

if TYPE_CHECKING:
    from pathlib import Path

    from pgfan.events import Event
    from pgfan.postgres.embedded import EmbeddedServer

EXPECTED = "SELECT g FROM generate_series(1, 200) g"
SERIES = f"INSERT INTO t {EXPECTED}"


def test_a_deferred_constraint_fails_at_commit(dsn: str) -> None:
    execute(
        dsn,
        "CREATE TABLE p (i int PRIMARY KEY)",
        "INSERT INTO p SELECT g FROM generate_series(1, 200) g WHERE g <> 130",
        "CREATE TABLE t (i int REFERENCES p DEFERRABLE INITIALLY DEFERRED)",
    )
    ended = run(dsn, SERIES)
    assert ended.code == 1
    assert "Key (i)=(130) is not present" in ended.said
    assert "23503" in ended.said
    assert "again" not in ended.said
    assert value(dsn, "SELECT count(*) FROM t WHERE i BETWEEN 121 AND 140") == 0
    execute(dsn, "INSERT INTO p VALUES (130)")
    finish(dsn, SERIES)
    assert_holds(dsn, "t", EXPECTED)


def test_a_deadlock(dsn18: str) -> None:
    """Two keys taken in the other order by somebody else; the chunk is the victim."""
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY)")
    script = f"SET deadlock_timeout = '1s'; {SERIES}"
    with watching(dsn18) as watcher, holding(dsn18, "INSERT INTO t VALUES (150)") as neighbour:
        neighbour.execute("SET LOCAL deadlock_timeout = '1h'")
        with client(dsn18, script, "--chunk-rows", "200") as started:
            watcher.wait_for_lock_wait()
            neighbour.execute("INSERT INTO t VALUES (50)")  # the chunk has it, and wants 150
            neighbour.rollback()
            ended = started.end()
    assert ended.code == 0, ended.said
    assert "deadlock detected" in ended.said
    assert_holds(dsn18, "t", EXPECTED)


def test_a_serialization_failure(dsn: str) -> None:
    """A row that is changed under REPEATABLE READ: the whole statement again."""
    execute(dsn, "CREATE TABLE t AS SELECT g AS i, 0 AS n FROM generate_series(1, 9) g")
    script = "SET default_transaction_isolation = 'repeatable read'; UPDATE t SET n = n + 1"
    with watching(dsn) as watcher, psycopg.connect(dsn) as neighbour:
        neighbour.execute("UPDATE t SET n = 100 WHERE i = 5")
        with client(dsn, script, "--split", "never") as started:
            watcher.wait_for_lock_wait()
            neighbour.commit()
            ended = started.end()
    assert ended.code == 0, ended.said
    assert "could not serialize access" in ended.said
    assert query(dsn, "SELECT n, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(1, 8), (101, 1)]


def test_a_split_update_waits_for_a_neighbour(dsn: str) -> None:
    """And changes the neighbour's version of the row, as one UPDATE does."""
    execute(dsn, "CREATE TABLE t AS SELECT g AS i, 0 AS n FROM generate_series(1, 90) g")
    with watching(dsn) as watcher, psycopg.connect(dsn) as neighbour:
        neighbour.execute("UPDATE t SET n = 100 WHERE i = 5")
        with client(dsn, "UPDATE t SET n = n + 1") as started:
            watcher.wait_for_lock_wait()
            neighbour.commit()
            ended = started.end()
    assert ended.code == 0, ended.said
    assert ended.report is not None
    assert ended.report["tasks"][0]["verdict"] == "split", ended.report
    assert query(dsn, "SELECT n, count(*) FROM t GROUP BY 1 ORDER BY 1") == [(1, 89), (101, 1)]


def test_a_serialization_failure_that_stays(dsn18: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent row was replaced after the snapshot: no chunk under it can succeed.

    The run must end, well or with the reason; and the same command must be able to go on.
    """
    monkeypatch.setattr(dealing, "DELAY_S_FIRST", 0.001)
    execute(
        dsn18,
        "CREATE TABLE p (i int PRIMARY KEY)",
        "INSERT INTO p SELECT generate_series(1, 200)",
        "CREATE TABLE s WITH (fillfactor = 10) AS SELECT g AS i FROM generate_series(1, 200) g",
        "SELECT pg_stat_force_next_flush()",
        "CREATE TABLE t (i int PRIMARY KEY REFERENCES p)",
    )
    replace = "BEGIN; DELETE FROM p WHERE i = 200; INSERT INTO p VALUES (200); COMMIT"

    class Neighbour:
        def __init__(self) -> None:
            self.chunks = 0

        def emit(self, event: Event) -> None:
            self.chunks += isinstance(event, ChunkFinished)
            if self.chunks == 1 and isinstance(event, ChunkFinished):
                execute(dsn18, replace)

    options = api.ExecOptions(split="always", chunk_rows=20, jobs=1)
    result = api.exec(dsn18, "INSERT INTO t SELECT i FROM s", options, progress=Neighbour())
    if not result.ok:
        assert "could not serialize access" in str(result.error)
        assert api.exec(dsn18, "INSERT INTO t SELECT i FROM s", options).ok
    assert_holds(dsn18, "t", EXPECTED)


@pytest.mark.parametrize("split", ["always", "never"])
def test_a_lock_that_somebody_keeps(dsn: str, split: str) -> None:
    execute(dsn, "CREATE TABLE t (i int)")
    script = f"SET lock_timeout = '100ms'; {SERIES}"
    with holding(dsn, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"):
        ended = run(dsn, script, "--split", split)
    assert ended.code == 1
    assert "lock timeout" in ended.said
    assert "55P03" in ended.said
    assert value(dsn, "SELECT count(*) FROM t") == 0
    finish(dsn, script, "--split", split)
    assert_holds(dsn, "t", EXPECTED)


@pytest.mark.parametrize("locked", ["s", "t"])
def test_a_lock_that_is_let_go(dsn18: str, locked: str) -> None:
    execute(dsn18, f"CREATE TABLE s AS {EXPECTED}", "CREATE TABLE t (i int)")
    with (
        watching(dsn18) as watcher,
        holding(dsn18, f"LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE") as holder,
        client(dsn18, "INSERT INTO t SELECT g FROM s") as started,
    ):
        watcher.wait_for_lock_wait()
        holder.rollback()
        assert started.end().code == 0
    assert_holds(dsn18, "t", EXPECTED)


def test_a_statement_timeout_halves_chunks(dsn: str) -> None:
    execute(dsn, "CREATE TABLE t (i int)")
    script = f"SET statement_timeout = '250ms'; {SERIES} WHERE pg_sleep(0.005) IS NOT NULL"
    ended = finish(dsn, script, "--chunk-rows", "100")
    assert ended.report is not None
    task = ended.report["tasks"][-1]
    assert (task["rows"], task["chunks"] >= 5) == (200, True)
    assert "statement timeout" in ended.said
    assert_holds(dsn, "t", EXPECTED)


def test_a_statement_timeout_that_no_chunk_can_meet(dsn18: str) -> None:
    execute(dsn18, "CREATE TABLE t (i int)")
    script = (
        "SET statement_timeout = '30ms'; INSERT INTO t SELECT g FROM generate_series(1, 8) g "
        "WHERE g <> 5 OR pg_sleep(30) IS NOT NULL"
    )
    ended = run(dsn18, script, "--chunk-rows", "8")
    assert ended.code == 1
    assert "statement timeout" in ended.said
    assert "57014" in ended.said


def test_somebody_cancels_a_chunk(dsn18: str) -> None:
    """pg_cancel_backend is somebody's will, and no timeout: the task fails at once."""
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY)")
    with (
        watching(dsn18) as watcher,
        holding(dsn18, "INSERT INTO t VALUES (150)"),
        client(dsn18, SERIES) as started,
    ):
        watcher.wait_for_lock_wait()
        waiting = (
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'pgfan' AND wait_event_type = 'Lock' "
            "AND datname = current_database()"
        )
        assert value(dsn18, waiting) is True
        ended = started.end()
    assert ended.code == 1
    assert "canceling statement due to user request" in ended.said
    finish(dsn18, SERIES)
    assert_holds(dsn18, "t", EXPECTED)


def test_temporary_files_that_are_too_large(dsn18: str) -> None:
    """temp_file_limit (53400): one statement would fail, smaller chunks fit."""
    execute(dsn18, "CREATE TABLE t (i int, t text)")
    select = "SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 8000) g"
    script = (
        f"SET temp_file_limit = '1200kB'; SET work_mem = '64kB'; INSERT INTO t {select} ORDER BY 2"
    )
    assert run(dsn18, script, "--split", "never", "--restart").code == 1
    finish(dsn18, script, "--restart", "--chunk-rows", "8000")
    assert_holds(dsn18, "t", select)


SHORT = (
    "CREATE SEQUENCE tries",
    """
    CREATE FUNCTION short(i int, code text, times int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        IF i = 111 AND nextval('tries') <= times THEN
            RAISE 'too little of something' USING ERRCODE = code;
        END IF;
        RETURN i;
    END $$""",
    "CREATE TABLE t (i int)",
)
"""A function that fails a few times, as the server would for want of memory or disk."""


def test_out_of_memory(dsn: str) -> None:
    """53200: fewer workers, and what did not fit again in halves."""
    execute(dsn, *SHORT)
    changes: list[WorkersChanged] = []

    class Workers:
        def emit(self, event: Event) -> None:
            changes.extend([event] if isinstance(event, WorkersChanged) else [])

    options = api.ExecOptions(split="always", chunk_rows=100)
    script = f"INSERT INTO t {EXPECTED} WHERE short(g, '53200', 3) = g"
    result = api.exec(dsn, script, options, progress=Workers())
    assert result.ok, result.error
    assert (result.tasks[0].verdict, result.tasks[0].rows) == ("split", 200)
    assert value(dsn, "SELECT last_value FROM tries") == 4
    assert query(dsn, "SELECT min(hi - lo), sum(rows) FROM pgfan.chunk") == [(12, 200)]
    assert (changes[0].why, changes[0].workers) == ("out of memory", result.jobs // 2)
    assert_holds(dsn, "t", EXPECTED)


def test_no_space_left(dsn: str) -> None:
    """53100: nothing new is begun, what is done stays, and the same command goes on."""
    execute(dsn, *SHORT)
    options = api.ExecOptions(split="always", chunk_rows=20)
    script = f"INSERT INTO t {EXPECTED} WHERE short(g, '53100', 1) = g"
    full = api.exec(dsn, script, options)
    assert isinstance(full.error, DatabaseError)
    assert (full.error.sqlstate, full.tasks[0].verdict) == ("53100", "split")
    rows = value(dsn, "SELECT sum(rows) FROM pgfan.chunk")
    assert 0 < rows == value(dsn, "SELECT count(*) FROM t") < 200
    assert api.exec(dsn, script, options).run == full.run
    assert_holds(dsn, "t", EXPECTED)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_full_disk(dsn18: str, server18: EmbeddedServer, scratch: Path) -> None:
    """53100: no new work, the journal intact; with more space the same command goes on."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(scratch)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted")
    try:
        shutil.chown(scratch, (server18.folder / "data").owner())
        execute(
            dsn18,
            f"CREATE TABLESPACE small LOCATION '{scratch}'",
            "CREATE TABLE t (i int, t text) TABLESPACE small",
        )
        select = "SELECT g, repeat('x', 2000) FROM generate_series(1, 4000) g"
        ended = run(dsn18, f"INSERT INTO t {select}", "--chunk-rows", "100")
        assert ended.code == 1
        assert "No space left on device" in ended.said
        rows = value(dsn18, "SELECT sum(rows) FROM pgfan.chunk")
        assert 0 < rows == value(dsn18, "SELECT count(*) FROM t") < 4000
        subprocess.run(["mount", "-o", "remount,size=40m", scratch], check=True)
        finish(dsn18, f"INSERT INTO t {select}", "--chunk-rows", "100")
        assert_holds(dsn18, "t", select)
        execute(dsn18, "DROP TABLE t", "DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", scratch], check=True)
