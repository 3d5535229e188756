"""Interrupts, crashes and locked tables: nothing is left behind, and the next one sweeps up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan import verify as verification
from pgfan.errors import DatabaseError, InterruptedRunError
from pgfan.plan.task import SplitPlan
from pgfan.postgres import scratch
from pgfan.postgres.fence import lock_key
from pgfan.postgres.session import PostgresSession
from pgfan.verify import Verification, VerifyOptions, verify

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 30
SLEEPS = "INSERT INTO t SELECT g FROM generate_series(1, 9) g WHERE pg_sleep(600) IS NOT NULL"
COPIES = "INSERT INTO t SELECT g FROM generate_series(1, 90) g"
SLEEPING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event = 'PgSleep'"""
SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pgfan%' ORDER BY 1"


@pytest.fixture
def watcher(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (i int); CREATE TABLE src AS SELECT 1 AS i")
        yield connection


def wait_for_sleep(watcher: psycopg.Connection) -> None:
    """Until some backend of the database sleeps; the server itself does the waiting in between."""
    for _ in range(TIMEOUT_S * 20):
        (count,) = watcher.execute(SLEEPING.encode()).fetchone() or (0,)
        if count:
            return
        watcher.execute("SELECT pg_catalog.pg_stat_clear_snapshot(), pg_sleep(0.05)")
    pytest.fail("nothing sleeps")


def schemas(watcher: psycopg.Connection) -> list[str]:
    return [name for (name,) in watcher.execute(SCHEMAS.encode())]


def interrupted_while_asleep(dsn: str, watcher: psycopg.Connection, sql: str) -> None:
    started: list[Verification] = []

    def stop() -> None:
        wait_for_sleep(watcher)
        started[0].interrupt()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(InterruptedRunError):
        verify(dsn, sql, VerifyOptions(jobs=2), on_start=started.append)
    stopper.join(TIMEOUT_S)
    assert schemas(watcher) == []
    assert watcher.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_an_interrupt_in_the_serial_run(dsn: str, watcher: psycopg.Connection) -> None:
    interrupted_while_asleep(dsn, watcher, SLEEPS)


def test_an_interrupt_in_the_split_run(
    dsn: str, watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SplitPlan, "statement", lambda _plan, _piece: "SELECT pg_sleep(600)")
    interrupted_while_asleep(dsn, watcher, COPIES)


def test_an_interrupt_whose_cancel_requests_come_to_nothing(
    dsn: str, watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those to a worker that still connects: there is nothing to cancel, and then there is."""
    lost: list[PostgresSession] = []
    sound = PostgresSession.cancel

    def cancel(session: PostgresSession) -> None:
        if len(lost) < 6:  # the owner's, the snapshot's, the first worker's, both workers'
            lost.append(session)
        else:
            sound(session)

    monkeypatch.setattr(PostgresSession, "cancel", cancel)
    monkeypatch.setattr(SplitPlan, "statement", lambda _plan, _piece: "SELECT pg_sleep(600)")
    interrupted_while_asleep(dsn, watcher, COPIES)
    assert len(lost) == 6


def test_an_interrupt_of_the_last_estimate(
    dsn: str, watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's "canceling statement" is no verdict on the statement."""
    begun: list[Verification] = []

    def interrupted(*_: object) -> int:
        begun[0].interrupt()
        raise DatabaseError("canceling statement due to user request", sqlstate="57014")

    monkeypatch.setattr(verification, "estimate_rows", interrupted)
    with pytest.raises(InterruptedRunError):
        verify(dsn, COPIES, VerifyOptions(jobs=2), on_start=begun.append)
    assert schemas(watcher) == []


def test_an_interrupt_before_the_first_statement(dsn: str, watcher: psycopg.Connection) -> None:
    with pytest.raises(InterruptedRunError):
        verify(dsn, COPIES, on_start=Verification.interrupt)
    assert schemas(watcher) == []


def started(dsn: str, sql: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pgfan", "verify", "--jobs", "2", "-d", dsn, "-c", sql],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_ctrl_c(dsn: str, watcher: psycopg.Connection) -> None:
    with started(dsn, SLEEPS) as client:
        wait_for_sleep(watcher)
        os.kill(client.pid, signal.SIGINT)
        _, err = client.communicate(timeout=TIMEOUT_S)
    assert client.returncode == 130
    assert b"Traceback" not in err
    assert schemas(watcher) == []


def test_what_a_killed_client_leaves_is_dropped_by_the_next(
    dsn: str, watcher: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    with started(dsn, SLEEPS) as client:
        wait_for_sleep(watcher)
        client.kill()
        client.communicate(timeout=TIMEOUT_S)
    (left,) = schemas(watcher)
    (comment,) = watcher.execute(
        "SELECT obj_description(%s::regnamespace, 'pg_namespace')", [left]
    ).fetchone() or ("",)
    assert "pgfan verify" in comment
    # The lock goes with the backend, which notices within a second that its client is gone.
    watcher.execute("SELECT pg_advisory_lock(%s)", [lock_key("verify", left)])
    watcher.execute("SELECT pg_advisory_unlock_all()")
    result = verify(dsn, COPIES, VerifyOptions(jobs=2))
    assert result.left_overs == (left,)
    assert schemas(watcher) == []
    assert capsys.readouterr().out == ""


def test_schemas_of_others_are_kept(dsn: str, watcher: psycopg.Connection) -> None:
    live, plain = scratch.PREFIX + "live", scratch.PREFIX + "plain"
    watcher.execute(f"CREATE SCHEMA {live}; CREATE SCHEMA {plain}".encode())
    watcher.execute(f"COMMENT ON SCHEMA {live} IS '{scratch.COMMENT}'".encode())
    watcher.execute("SELECT pg_advisory_lock(%s)", [lock_key("verify", live)])
    assert verify(dsn, COPIES, VerifyOptions(jobs=2)).left_overs == ()
    assert schemas(watcher) == [live, plain]


def test_a_table_that_is_written_to(
    dsn: str, watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "LOCK_WAIT_MS", 100)
    sql = "INSERT INTO t SELECT i FROM src"
    with psycopg.connect(dsn) as writer:
        writer.execute("INSERT INTO src VALUES (2)")
        (waiting,) = verify(dsn, sql, VerifyOptions(jobs=2)).statements
        (without,) = verify(dsn, sql, VerifyOptions(jobs=2, lock=False)).statements
    assert waiting.state == "failed"
    assert waiting.error is not None
    assert "another session writes there" in waiting.error.message
    assert "--no-lock" in (waiting.error.hint or "")
    assert (without.state, without.rows_serial) == ("equal", 1)
    assert any("without locks" in note for note in without.notes)
    assert schemas(watcher) == []


def test_nobody_writes_to_a_source_meanwhile(
    dsn: str, watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []
    sound = SplitPlan.statement

    def writing(plan: SplitPlan, piece: object) -> str:
        try:
            watcher.execute("SET lock_timeout = 50; INSERT INTO src VALUES (3)")
        except psycopg.errors.LockNotAvailable as error:
            refused.append(str(error))
        return sound(plan, piece)  # type: ignore[arg-type]  # a Range, whatever it is called here

    monkeypatch.setattr(SplitPlan, "statement", writing)
    (found,) = verify(dsn, "INSERT INTO t SELECT i FROM src", VerifyOptions(jobs=1)).statements
    assert found.state == "equal"
    assert refused


def test_a_role_that_may_not_make_schemas(dsn: str, watcher: psycopg.Connection) -> None:
    watcher.execute("DROP ROLE IF EXISTS only_reads; CREATE ROLE only_reads LOGIN")
    watcher.execute("GRANT ALL ON t, src TO only_reads")
    (found,) = verify(f"{dsn} user=only_reads", COPIES, VerifyOptions(jobs=2)).statements
    watcher.execute("DROP OWNED BY only_reads; DROP ROLE only_reads")
    assert found.error is not None
    assert "GRANT CREATE ON DATABASE" in (found.error.hint or "")


def test_a_lost_connection_leaves_nothing(
    dsn: str, watcher: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = SplitPlan.statement

    def breaking(plan: SplitPlan, piece: object) -> str:
        watcher.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return sound(plan, piece)  # type: ignore[arg-type]  # a Range, whatever it is called here

    monkeypatch.setattr(SplitPlan, "statement", breaking)
    with pytest.raises(Exception, match="connection"):
        verify(dsn, COPIES, VerifyOptions(jobs=1))
    assert schemas(watcher) == []


def test_json_is_one_line(dsn18: str) -> None:
    with psycopg.connect(dsn18, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (i int)")
    result = verify(dsn18, COPIES, VerifyOptions(jobs=2)).to_json()
    (statement,) = json.loads(json.dumps(result))["statements"]
    assert (statement["state"], statement["key"], statement["error"]) == ("equal", "series", None)
