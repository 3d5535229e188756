"""The server's side goes away: one session, all of them, the server itself, or room for more."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, closing
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
    wait_until,
    watching,
)

from pgfan import api
from pgfan.events import RunStarted
from pgfan.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfan_client import Ended

    from pgfan.events import Event

ROWS = 400
EXPECTED = f"SELECT g FROM generate_series(1, {ROWS}) g"
SERIES = f"INSERT INTO t {EXPECTED}"
HEAP = "INSERT INTO t SELECT i FROM s"
FILL = (
    # About 20 rows in a block.
    (
        "CREATE TABLE s WITH (fillfactor = 10) AS "
        f"SELECT g AS i, repeat('x', 15) AS pad FROM generate_series(1, {ROWS}) g"
    ),
    "ANALYZE s",
    "SELECT pg_stat_force_next_flush()",
)
HOLD = "INSERT INTO t VALUES (250)"
SETTINGS = {
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    # Commits that nobody waits for stay in memory, and are lost when it is.
    "wal_writer_delay": "10s",
}


@pytest.fixture
def own(made18: Path) -> Iterator[EmbeddedServer]:
    """A server that the test may crash."""
    with EmbeddedServer(made18, settings=SETTINGS) as server:
        yield server


SOURCES = pytest.mark.parametrize("script", [SERIES, HEAP], ids=["series", "heap"])
TARGETS = pytest.mark.parametrize("kind", ["", "UNLOGGED"], ids=["logged", "unlogged"])


@SOURCES
def test_workers_are_terminated(dsn: str, script: str) -> None:
    execute(dsn, *FILL, "CREATE TABLE t (i int PRIMARY KEY)")
    with watching(dsn) as watcher, holding(dsn, HOLD) as holder, client(dsn, script) as started:
        for _ in range(2):
            watcher.wait_for_lock_wait()
            workers = watcher.workers()
            watcher.terminate(workers)
            wait_until(lambda gone=workers: not set(gone) & set(watcher.backends()), "their end")  # type: ignore[misc]  # bound early
        holder.rollback()
        ended = started.end()
    assert ended.code == 0, ended.said
    assert "again" in ended.said
    assert_holds(dsn, "t", EXPECTED)


@SOURCES
def test_the_owners_session_is_terminated(dsn: str, script: str) -> None:
    execute(dsn, *FILL, "CREATE TABLE t (i int PRIMARY KEY)", "CREATE TABLE u (i int)")
    more = f"{script}; INSERT INTO u {EXPECTED}; SELECT 1"
    with watching(dsn) as watcher, holding(dsn, HOLD) as holder, client(dsn, more) as started:
        watcher.wait_for_lock_wait()
        owners = watcher.owners()
        assert len(owners) == 1
        watcher.terminate(owners)
        wait_until(lambda: not set(owners) & set(watcher.backends()), "the owner's end")
        holder.rollback()
        ended = started.end()
    assert ended.code == 0, ended.said
    assert_holds(dsn, "t", EXPECTED)
    assert_holds(dsn, "u", EXPECTED)
    assert query(dsn, "SELECT state FROM pgfan.run") == [("done",)]


def test_the_owners_session_is_terminated_before_an_interruption(dsn18: str) -> None:
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY)")
    with (
        watching(dsn18) as watcher,
        holding(dsn18, "INSERT INTO t VALUES (50), (70), (90), (110), (130), (150)") as holder,
        client(dsn18, SERIES) as started,
    ):
        watcher.wait_for_lock_wait(3)
        watcher.terminate(watcher.owners())
        wait_until(lambda: not watcher.owners(), "the owner's end")
        started.send(signal.SIGINT)
        started.wait_for_words("stopping")
        holder.rollback()
        ended = started.end()
    assert ended.code == 130, ended.said
    finish(dsn18, SERIES)
    assert_holds(dsn18, "t", EXPECTED)


def test_two_owners_are_never_at_work(dsn18: str) -> None:
    """The first one's lock is gone with its session; whoever takes over ends its workers."""
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY)")
    with watching(dsn18) as watcher, holding(dsn18, HOLD) as holder, client(dsn18, SERIES) as first:
        watcher.wait_for_chunks(12)
        watcher.wait_for_lock_wait()
        watcher.terminate(watcher.owners())
        wait_until(lambda: not watcher.owners(), "the owner's end")
        old = watcher.workers()
        with client(dsn18, SERIES) as second:
            wait_until(lambda: not set(old) & set(watcher.backends()), "the old workers' end")
            watcher.wait_for_lock_wait()
            holder.rollback()
            taken_over = second.end()
        lost = first.end()
    assert taken_over.code == 0, taken_over.said
    assert lost.code in {1, 2, 3}, lost.said
    assert "taken over" in lost.said
    assert_holds(dsn18, "t", EXPECTED)
    assert query(dsn18, "SELECT state FROM pgfan.run") == [("done",)]


def test_the_snapshot_is_lost_and_nothing_has_changed(dsn: str) -> None:
    execute(dsn, *FILL, "CREATE TABLE t (i int PRIMARY KEY)")
    with watching(dsn) as watcher, holding(dsn, HOLD) as holder, client(dsn, HEAP) as started:
        watcher.wait_for_lock_wait()
        lose_snapshot(watcher_holder := watcher.snapshot_holders(), watcher.terminate)
        wait_until(lambda: not set(watcher_holder) & set(watcher.backends()), "its end")
        watcher.terminate(watcher.workers())
        wait_until(lambda: bool(watcher.snapshot_holders()), "a new snapshot")
        holder.rollback()
        ended = started.end()
    assert ended.code == 0, ended.said
    assert_holds(dsn, "t", EXPECTED)


def lose_snapshot(pids: list[int], terminate: Callable[[list[int]], None]) -> None:
    assert len(pids) == 1
    terminate(pids)


@pytest.mark.parametrize("choice", ["--new-snapshot", "--restart"])
def test_the_snapshot_is_lost_and_the_source_has_changed(dsn18: str, choice: str) -> None:
    execute(dsn18, *FILL, "CREATE TABLE t (i int PRIMARY KEY)")
    with watching(dsn18) as watcher, holding(dsn18, HOLD) as holder, client(dsn18, HEAP) as started:
        watcher.wait_for_chunks(10)
        watcher.wait_for_lock_wait()
        lose_snapshot(gone := watcher.snapshot_holders(), watcher.terminate)
        wait_until(lambda: not set(gone) & set(watcher.backends()), "its end")
        # In the chunk that is held; its block has room for the new version.
        execute(
            dsn18,
            f"UPDATE s SET i = {ROWS + 1} WHERE i = 250",
            "SELECT pg_stat_force_next_flush()",
        )
        watcher.terminate(watcher.workers())
        holder.rollback()
        ended = started.end()
    assert ended.code == 1, ended.said
    assert "rows of" in ended.said
    assert "--new-snapshot" in ended.said
    again = run(dsn18, HEAP)
    assert (again.code, "--new-snapshot" in again.said) == (1, True), again.said
    if choice == "--restart":
        execute(dsn18, "TRUNCATE t")
    finish(dsn18, HEAP, choice)
    assert_holds(dsn18, "t", "SELECT i FROM s")


def run_through(
    server: EmbeddedServer,
    fault: Callable[[EmbeddedServer, int], None],
    script: str,
    *options: str,
    chunks: int = 0,
) -> Ended:
    """Run a client that cannot finish before the fault, which comes after so many chunks."""
    with closing(psycopg.connect(server.dsn)) as holder:
        holder.execute(HOLD.encode())
        with client(server.dsn, script, *options) as started:
            with watching(server.dsn) as watcher:
                watcher.wait_for_chunks(chunks)
                watcher.wait_for_lock_wait()
                fault(server, watcher.workers()[0])
            wait_until(lambda: not answers(holder), "the holder's end")
            return started.end()


def answers(connection: psycopg.Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def kill_a_backend(server: EmbeddedServer, pid: int) -> None:
    assert server.pid is not None
    os.kill(pid, signal.SIGKILL)


def crash(server: EmbeddedServer, _: int) -> None:
    server.stop("immediate")
    server.start()


def restart(server: EmbeddedServer, _: int) -> None:
    server.stop("fast")
    server.start()


CRASHES = pytest.mark.parametrize(
    "fault", [kill_a_backend, crash], ids=["backend killed", "server crashed"]
)


@CRASHES
@TARGETS
def test_a_crash_under_a_series(
    own: EmbeddedServer, fault: Callable[[EmbeddedServer, int], None], kind: str
) -> None:
    """What was committed and lost with the server's memory is done again."""
    execute(own.dsn, f"CREATE {kind} TABLE t (i int PRIMARY KEY)", "CREATE TABLE u (i int)")
    script = f"INSERT INTO u {EXPECTED}; {SERIES}; SELECT 1"
    ended = run_through(own, fault, script, chunks=32)
    assert ended.code == 0, ended.said
    assert ended.report is not None
    assert [task["rows"] for task in ended.report["tasks"]] == [ROWS, ROWS, 1]
    assert_holds(own.dsn, "u", EXPECTED)
    assert_holds(own.dsn, "t", EXPECTED)
    assert query(own.dsn, "SELECT state FROM pgfan.run") == [("done",)]


@CRASHES
@TARGETS
def test_a_crash_under_a_heap(
    own: EmbeddedServer, fault: Callable[[EmbeddedServer, int], None], kind: str
) -> None:
    """Statistics are gone: nobody knows whether the source is what it was."""
    execute(own.dsn, *FILL, f"CREATE {kind} TABLE t (i int PRIMARY KEY)")
    ended = run_through(own, fault, HEAP, chunks=6)
    assert ended.code == 1, ended.said
    assert "--new-snapshot" in ended.said
    finish(own.dsn, HEAP, "--new-snapshot")
    assert_holds(own.dsn, "t", EXPECTED)


@SOURCES
@TARGETS
def test_a_restart(own: EmbeddedServer, script: str, kind: str) -> None:
    """A clean one: nothing is lost, statistics stay, and the run goes on by itself."""
    execute(own.dsn, *FILL, f"CREATE {kind} TABLE t (i int PRIMARY KEY)")
    ended = run_through(own, restart, script, chunks=6)
    assert ended.code == 0, ended.said
    assert_holds(own.dsn, "t", EXPECTED)


def test_a_crash_under_a_serial_statement(own: EmbeddedServer) -> None:
    execute(own.dsn, "CREATE TABLE t (i int PRIMARY KEY)", "CREATE TABLE u (i int)")
    script = f"INSERT INTO u VALUES (1); {SERIES}; INSERT INTO u VALUES (2)"
    ended = run_through(own, crash, script, "--split", "never")
    assert ended.code == 0, ended.said
    assert_holds(own.dsn, "t", EXPECTED)
    assert_holds(own.dsn, "u", "SELECT generate_series(1, 2)")


def test_the_client_is_killed_and_the_server_crashes(own: EmbeddedServer) -> None:
    """Unlogged chunks and their rows are gone together."""
    execute(own.dsn, "CREATE UNLOGGED TABLE t (i int PRIMARY KEY)", HOLD)
    with client(own.dsn, SERIES) as started, watching(own.dsn) as watcher:
        watcher.wait_for_chunks(6)
        started.kill()
        crash(own, 0)
    assert value(own.dsn, "SELECT count(*) FROM t") == 0
    finish(own.dsn, SERIES)
    assert_holds(own.dsn, "t", EXPECTED)


@CRASHES
def test_a_crash_empties_what_an_earlier_statement_has_filled(
    own: EmbeddedServer, fault: Callable[[EmbeddedServer, int], None]
) -> None:
    """The run says so; the same command fills the table anew and goes on."""
    execute(own.dsn, "CREATE UNLOGGED TABLE u (i int)", "CREATE TABLE t (i int PRIMARY KEY)")
    script = f"INSERT INTO u {EXPECTED}; {SERIES}"
    ended = run_through(own, fault, script, chunks=25)
    assert ended.code == 1, ended.said
    assert "emptied an unlogged table" in ended.said
    finish(own.dsn, script)
    assert_holds(own.dsn, "u", EXPECTED)
    assert_holds(own.dsn, "t", EXPECTED)


def test_a_crash_empties_what_a_serial_statement_has_filled(own: EmbeddedServer) -> None:
    execute(own.dsn, "CREATE UNLOGGED TABLE u (i int)", "CREATE TABLE t (i int PRIMARY KEY)")
    script = f"INSERT INTO u {EXPECTED}; {SERIES}"
    ended = run_through(own, crash, script, "--split", "never")
    assert ended.code == 1, ended.said
    assert "emptied an unlogged table" in ended.said
    finish(own.dsn, script, "--split", "never")
    assert_holds(own.dsn, "u", EXPECTED)
    assert_holds(own.dsn, "t", EXPECTED)


def test_a_crash_empties_what_rows_in_values_have_filled(own: EmbeddedServer) -> None:
    """No split looks at VALUES; what a crash does to its table is the same."""
    execute(own.dsn, "CREATE UNLOGGED TABLE u (i int)", "CREATE TABLE t (i int PRIMARY KEY)")
    script = f"INSERT INTO u VALUES (1), (2); {SERIES}"
    ended = run_through(own, crash, script)
    assert ended.code == 1, ended.said
    assert "emptied an unlogged table" in ended.said
    finish(own.dsn, script)
    assert_holds(own.dsn, "u", "VALUES (1), (2)")
    assert_holds(own.dsn, "t", EXPECTED)


@pytest.mark.parametrize("split", ["always", "never"])
def test_a_crash_empties_a_table_that_the_run_had_made(own: EmbeddedServer, split: str) -> None:
    """The same command cannot make it again before it is dropped, and the hint says so."""
    execute(own.dsn, "CREATE TABLE t (i int PRIMARY KEY)")
    script = f"CREATE UNLOGGED TABLE u AS {EXPECTED}; {SERIES}"
    ended = run_through(own, crash, script, "--split", split)
    assert ended.code == 1, ended.said
    assert "drop the table first" in ended.said
    again = run(own.dsn, script)
    assert "already exists" in again.said
    execute(own.dsn, "DROP TABLE u")
    finish(own.dsn, script)
    assert_holds(own.dsn, "u", EXPECTED)
    assert_holds(own.dsn, "t", EXPECTED)


def test_a_crash_under_a_statement_outside_of_transactions(own: EmbeddedServer) -> None:
    execute(
        own.dsn,
        "CREATE TABLE t (i int PRIMARY KEY)",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS "
        "'BEGIN COMMIT; INSERT INTO t VALUES (250); COMMIT; END'",
    )
    ended = run_through(own, crash, "CALL p(); SELECT 1")
    assert ended.code == 3, ended.said
    again = run(own.dsn, "CALL p(); SELECT 1")
    assert (again.code, "--unknown" in again.said) == (1, True), again.said
    assert value(own.dsn, "SELECT count(*) FROM t") == 0


def test_fewer_connections_than_jobs(made18: Path) -> None:
    few = SETTINGS | {"max_connections": "8", "superuser_reserved_connections": "0"}
    with EmbeddedServer(made18, settings=few) as server, ExitStack() as stack:
        execute(server.dsn, "CREATE TABLE t (i int)")
        for _ in range(4):
            stack.enter_context(psycopg.connect(server.dsn))
        ended = finish(server.dsn, SERIES, "--jobs", "6")
        assert ended.report is not None
        assert 1 <= ended.report["jobs"] <= 3
        assert_holds(server.dsn, "t", EXPECTED)


def test_connections_that_others_take_meanwhile(made18: Path) -> None:
    """Room is measured before; then others come, and only one worker finds a place."""
    few = SETTINGS | {"max_connections": "8", "superuser_reserved_connections": "0"}
    with EmbeddedServer(made18, settings=few) as server, ExitStack() as stack:
        execute(server.dsn, *FILL, "CREATE TABLE t (i int)")
        taken: list[psycopg.Connection] = []

        class Hogs:
            def emit(self, event: Event) -> None:
                if isinstance(event, RunStarted):
                    free = 8 - count_connections(taken, server.dsn, stack)
                    assert free >= 2
                    more = range(free - 2)  # a worker and the snapshot
                    taken.extend(stack.enter_context(psycopg.connect(server.dsn)) for _ in more)

        options = api.ExecOptions(split="always", chunk_rows=20, jobs=5)
        result = api.exec(server.dsn, HEAP, options, progress=Hogs())
        assert result.ok, result.error
        assert result.jobs > 1
        assert len(taken) > 1
        stack.pop_all().close()
        assert_holds(server.dsn, "t", EXPECTED)


def count_connections(taken: list[psycopg.Connection], dsn: str, stack: ExitStack) -> int:
    """How many client connections there are now, one of them just made."""
    taken.append(stack.enter_context(psycopg.connect(dsn, autocommit=True)))
    row = (
        taken[0]
        .execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
        .fetchone()
    )
    assert row is not None
    return int(row[0])
