"""The client is killed, interrupted, frozen; then the same command runs again."""

from __future__ import annotations

import random
import signal
import subprocess
from contextlib import ExitStack, suppress

import pytest
from pgfan_client import (
    assert_holds,
    client,
    command,
    execute,
    finish,
    holding,
    query,
    run,
    value,
    wait_until,
    watching,
)

ROWS = 3000
EXPECTED = f"SELECT g, md5(g::text) FROM generate_series(1, {ROWS}) g"
# Chunks that take some milliseconds: most moments then lie inside of one.
SERIES = f"INSERT INTO t {EXPECTED} WHERE pg_sleep(0.0005) IS NOT NULL"
HEAP = "INSERT INTO t SELECT i, t FROM s WHERE pg_sleep(0.0005) IS NOT NULL"
FLUSH = "SELECT pg_stat_force_next_flush()"

SMALL = "INSERT INTO t SELECT g FROM generate_series(1, 200) g"
SMALL_EXPECTED = "SELECT g FROM generate_series(1, 200) g"


@pytest.mark.parametrize("script", [SERIES, HEAP], ids=["series", "heap"])
@pytest.mark.parametrize("kind", ["", "UNLOGGED"], ids=["logged", "unlogged"])
def test_killed_again_and_again(dsn18: str, script: str, kind: str) -> None:
    """Five kills at seeded moments, each followed by the same command; the last one ends."""
    execute(
        dsn18,
        f"CREATE {kind} TABLE t (i int PRIMARY KEY, t text)",
        f"CREATE TABLE s AS SELECT g AS i, md5(g::text) AS t FROM generate_series(1, {ROWS}) g",
        FLUSH,
    )
    chunks = ROWS // 20 if script == SERIES else value(dsn18, "SELECT pg_relation_size('s') / 8192")
    chance = random.Random(f"{script} {kind}")  # noqa: S311  # the same moments each time
    # Nobody can finish before this row is let go.
    with watching(dsn18) as watcher, holding(dsn18, f"INSERT INTO t VALUES ({ROWS})"):
        for moment in sorted(chance.randrange(chunks * 4 // 5) for _ in range(5)):
            with client(dsn18, script) as killed:
                watcher.wait_for_chunks(moment)
                killed.kill()
    ended = finish(dsn18, script)
    assert ended.report is not None
    assert ended.report["tasks"][0]["rows"] == ROWS, ended.report
    assert_holds(dsn18, "t", EXPECTED)
    assert query(dsn18, "SELECT state FROM pgfan.run") == [("done",)]


SLOW = """
    INSERT INTO t SELECT g FROM generate_series(1, 200) g
    WHERE g <> 150 OR pg_sleep(30 * (SELECT count(*) FROM slow)) IS NOT NULL
"""


def test_an_orphan_is_gone_before_anybody_goes_on(dsn: str) -> None:
    """The backend notices by itself that its client is gone."""
    execute(dsn, "CREATE TABLE t (i int)", "CREATE TABLE slow AS SELECT 1 AS i", FLUSH)
    with watching(dsn) as watcher, client(dsn, SLOW) as killed:
        watcher.wait_for_chunks(9)
        killed.kill()
        orphans = watcher.workers()
        assert orphans
        execute(dsn, "TRUNCATE slow")
        resumed = run(dsn, SLOW, "--new-snapshot")
        assert resumed.code == 0, resumed.said
        assert not set(orphans) & set(watcher.backends())
    assert_holds(dsn, "t", SMALL_EXPECTED)


def test_an_orphan_that_hears_nothing_is_ended(dsn18: str) -> None:
    """The user's settings keep it from noticing; the resumed run terminates it."""
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY)")
    script = f"SET client_connection_check_interval = 0; {SMALL}"
    with watching(dsn18) as watcher, holding(dsn18, "INSERT INTO t VALUES (150)") as holder:
        with client(dsn18, script) as killed:
            watcher.wait_for_chunks(9)
            watcher.wait_for_lock_wait()
            killed.kill()
        wait_until(lambda: len(watcher.workers()) == 1, "the end of the other workers")
        (orphan,) = watcher.workers()
        with client(dsn18, script) as resumed:
            wait_until(lambda: orphan not in watcher.backends(), "the orphan's end")
            watcher.wait_for_lock_wait()
            holder.rollback()
            assert resumed.end().code == 0
    assert_holds(dsn18, "t", SMALL_EXPECTED)


def test_a_serial_statement_is_killed(dsn: str) -> None:
    execute(dsn, "CREATE TABLE t (i int PRIMARY KEY)")
    script = f"SELECT 1; {SMALL}; INSERT INTO t VALUES (0)"
    with (
        watching(dsn) as watcher,
        holding(dsn, "INSERT INTO t VALUES (150)"),
        client(dsn, script, "--split", "never") as killed,
    ):
        watcher.wait_for_lock_wait()
        killed.kill()
    ended = finish(dsn, script, "--split", "never")
    assert ended.report is not None
    assert [task["state"] for task in ended.report["tasks"]] == ["skipped", "done", "done"]
    assert_holds(dsn, "t", "SELECT generate_series(0, 200)")


@pytest.mark.parametrize(
    ("choice", "rows"), [("done", 1), ("again", 2), ("refuse", 1)], ids=["done", "again", "refuse"]
)
def test_a_statement_outside_of_transactions_is_killed(dsn18: str, choice: str, rows: int) -> None:
    """Nobody can know how it ended: the user is asked."""
    execute(
        dsn18,
        "CREATE TABLE t (i int)",
        "CREATE TABLE gate (i int PRIMARY KEY)",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (1); COMMIT; "
        "INSERT INTO gate VALUES (1) ON CONFLICT DO NOTHING; END'",
    )
    script = "CALL p(); SELECT 2"
    with (
        watching(dsn18) as watcher,
        holding(dsn18, "INSERT INTO gate VALUES (1)"),
        client(dsn18, script) as killed,
    ):
        watcher.wait_for_lock_wait()
        killed.kill()
        watcher.wait_for_nobody()
    refused = run(dsn18, script)
    assert refused.code == 1
    assert "--unknown" in refused.said
    with command(dsn18, "resume", "--unknown", choice) as resumed:
        again = resumed.end()
    assert (again.code == 0) is (choice != "refuse"), again.said
    assert value(dsn18, "SELECT count(*) FROM t") == rows


def test_ctrl_c_once_drains(dsn: str) -> None:
    execute(dsn, "CREATE TABLE t (i int PRIMARY KEY)")
    with (
        watching(dsn) as watcher,
        holding(dsn, "INSERT INTO t VALUES (50), (70), (90), (110), (130), (150)") as holder,
        client(dsn, SMALL) as stopped,
    ):
        watcher.wait_for_lock_wait(3)
        stopped.send(signal.SIGINT)
        stopped.wait_for_words("stopping")
        holder.rollback()
        ended = stopped.end()
        watcher.wait_for_nobody()
    assert ended.code == 130, ended.said
    assert ended.report is not None
    assert ended.report["ok"] is False
    done = value(dsn, "SELECT count(*) FROM t")
    assert (done % 20, 100 <= done < 200) == (0, True)
    assert query(dsn, "SELECT state FROM pgfan.run") == [("interrupted",)]
    assert f"pgfan resume {ended.report['run']}" in ended.said
    finish(dsn, SMALL)
    assert_holds(dsn, "t", SMALL_EXPECTED)
    assert query(dsn, "SELECT state FROM pgfan.run") == [("done",)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_twice_cancels(dsn18: str, number: signal.Signals) -> None:
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY)")
    with (
        watching(dsn18) as watcher,
        holding(dsn18, "INSERT INTO t VALUES (150)"),
        client(dsn18, SMALL) as stopped,
    ):
        watcher.wait_for_chunks(7)
        watcher.wait_for_lock_wait()
        stopped.send(number)
        stopped.wait_for_words("stopping")
        stopped.send(number)
        ended = stopped.end()
        assert ended.code == 130
        watcher.wait_for_nobody()
    assert value(dsn18, "SELECT count(*) FROM t WHERE i BETWEEN 141 AND 160") < 20
    finish(dsn18, SMALL)
    assert_holds(dsn18, "t", SMALL_EXPECTED)


def test_ctrl_c_in_a_serial_statement(dsn18: str) -> None:
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY)")
    script = f"SELECT 1; {SMALL}; SELECT 3"
    with (
        watching(dsn18) as watcher,
        holding(dsn18, "INSERT INTO t VALUES (150)"),
        client(dsn18, script, "--split", "never") as stopped,
    ):
        watcher.wait_for_lock_wait()
        stopped.send(signal.SIGINT)
        stopped.wait_for_words("stopping")
        stopped.send(signal.SIGINT)
        assert stopped.end().code == 130
    assert value(dsn18, "SELECT count(*) FROM t") == 0
    finish(dsn18, script, "--split", "never")
    assert_holds(dsn18, "t", SMALL_EXPECTED)


def test_ctrl_c_while_a_statement_is_prepared(dsn18: str) -> None:
    """Its table is locked, so nothing has begun yet; the client must not be stuck there."""
    execute(dsn18, "CREATE TABLE t (i int)")
    with (
        watching(dsn18) as watcher,
        holding(dsn18, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"),
        client(dsn18, SMALL) as stopped,
    ):
        watcher.wait_for_lock_wait()
        for _ in range(3):  # signals that come at the same instant are one
            stopped.send(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                stopped.process.wait(0.5)
        assert stopped.end().code == 130
    finish(dsn18, SMALL)
    assert_holds(dsn18, "t", SMALL_EXPECTED)


def test_a_frozen_client(dsn: str) -> None:
    """Stopped in a transaction until the server ends its session (25P03), then woken."""
    execute(dsn, "CREATE TABLE t (i int PRIMARY KEY)")
    script = f"SET idle_in_transaction_session_timeout = '50ms'; {SMALL}"
    with (
        watching(dsn) as watcher,
        holding(dsn, "INSERT INTO t VALUES (150)") as holder,
        client(dsn, script) as frozen,
    ):
        watcher.wait_for_chunks(8)
        watcher.wait_for_lock_wait()
        workers = set(watcher.workers())
        frozen.freeze()
        holder.rollback()
        wait_until(lambda: workers - set(watcher.backends()) != set(), "25P03")
        frozen.send(signal.SIGCONT)
        ended = frozen.end()
    assert ended.code == 0, ended.said
    assert_holds(dsn, "t", SMALL_EXPECTED)


def test_the_text_is_edited_before_the_second_command(dsn18: str) -> None:
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY)")
    with (
        watching(dsn18) as watcher,
        holding(dsn18, "INSERT INTO t VALUES (150)"),
        client(dsn18, SMALL) as killed,
    ):
        watcher.wait_for_chunks(7)
        killed.kill()
        watcher.wait_for_nobody()
    edited = SMALL.replace("SELECT g", "SELECT g + 1000")
    finish(dsn18, edited)
    assert query(dsn18, "SELECT state, count(*) FROM pgfan.run GROUP BY 1 ORDER BY 1") == [
        ("done", 1),
        ("running", 1),
    ]
    assert value(dsn18, "SELECT count(*) FROM t WHERE i > 1000") == 200
    finish(dsn18, SMALL)
    assert_holds(dsn18, "t", f"{SMALL_EXPECTED} UNION ALL SELECT generate_series(1001, 1200)")


def test_a_second_client_while_the_first_works(dsn18: str) -> None:
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY)")
    with (
        watching(dsn18) as watcher,
        holding(dsn18, "INSERT INTO t VALUES (150)") as holder,
        client(dsn18, SMALL) as first,
    ):
        watcher.wait_for_lock_wait()
        second = run(dsn18, SMALL)
        assert (second.code, second.report) == (2, None)
        assert f"process {first.process.pid}" in second.said
        assert "HINT: wait for it" in second.said
        holder.rollback()
        assert first.end().code == 0
    assert_holds(dsn18, "t", SMALL_EXPECTED)


def test_ctrl_c_before_the_run_has_begun(dsn18: str) -> None:
    """Somebody locks the journal; nothing listens for the signal yet."""
    execute(dsn18, "CREATE TABLE t (i int)")
    finish(dsn18, "SELECT 1")
    with (
        watching(dsn18) as watcher,
        holding(dsn18, "LOCK TABLE pgfan.run IN ACCESS EXCLUSIVE MODE"),
        client(dsn18, SMALL) as stopped,
    ):
        watcher.wait_for_lock_wait()
        stopped.send(signal.SIGINT)
        ended = stopped.end()
    assert (ended.code, ended.report) == (130, None), ended.said
    assert "Traceback" not in ended.said
    finish(dsn18, SMALL)
    assert_holds(dsn18, "t", SMALL_EXPECTED)


@pytest.mark.parametrize("same", [True, False], ids=["one text", "three texts"])
def test_three_clients_start_at_once_without_a_journal(dsn18: str, same: bool) -> None:
    """The journal is made once; of one text only one client at a time is at work."""
    execute(dsn18, "CREATE TABLE t (i int)")
    scripts = [SMALL if same else f"{SMALL} -- {number}" for number in range(3)]
    with ExitStack() as stack:
        started = [stack.enter_context(client(dsn18, script)) for script in scripts]
        ended = [each.end() for each in started]
    codes = sorted(each.code for each in ended)
    done = codes.count(0)
    assert codes == [0] * done + [2] * (3 - done), [each.said for each in ended]
    assert done >= (1 if same else 3)
    assert_holds(dsn18, "t", " UNION ALL ".join([SMALL_EXPECTED] * done))
    assert value(dsn18, "SELECT count(*) FROM pgfan.run WHERE state = 'done'") == done
