"""SIGKILL while a table is made and filled: it appears whole, and nothing is left beside it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from pgfan_client import (
    Ended,
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
from pgfan.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 2000
SOURCE = (
    "CREATE TABLE s (i int, k int) WITH (fillfactor = 10)",
    f"INSERT INTO s SELECT g, g % 50 FROM generate_series(1, {ROWS}) g",
    "ANALYZE s",
    "SELECT pg_stat_force_next_flush()",
)
SCRIPTS = {
    "logged": "CREATE TABLE t AS SELECT i, k FROM s WHERE pg_sleep(0.0005) IS NOT NULL",
    "unlogged": "CREATE UNLOGGED TABLE t AS SELECT i, k FROM s WHERE pg_sleep(0.0005) IS NOT NULL",
    "series": f"SELECT g AS i, g % 50 AS k INTO t FROM generate_series(1, {ROWS}) g "
    "WHERE pg_sleep(0.0005) IS NOT NULL",
}
SERIES = (
    f"SELECT g AS i, g % 50 AS k FROM generate_series(1, {ROWS}) g "
    "WHERE pg_sleep(0.0005) IS NOT NULL"
)
SETTINGS = {"fsync": "off", "shared_buffers": "32MB", "wal_writer_delay": "10s"}
EXPECTED = f"SELECT g, g % 50 FROM generate_series(1, {ROWS}) g"
HIDDEN = r"SELECT relname FROM pg_class WHERE relname LIKE 'pgfan\_%' AND relkind = 'r'"


def assert_done(dsn: str, ended: Ended) -> None:
    assert ended.report is not None
    assert ended.report["tasks"][-1]["verdict"] == "split", ended.report
    assert_holds(dsn, "t", EXPECTED)
    assert query(dsn, HIDDEN) == []
    assert query(dsn, "SELECT DISTINCT state FROM pgfan.run") == [("done",)]


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=list(SCRIPTS))
def test_killed_again_and_again(dsn18: str, script: str) -> None:
    execute(dsn18, *SOURCE)
    chance = random.Random(script)  # noqa: S311  # the same moments each time
    with watching(dsn18) as watcher, client(dsn18, script) as killed:
        watcher.wait_for_chunks(1)
        # Whoever reads the hidden table keeps it from getting its name.
        with holding(dsn18, f"SELECT FROM {value(dsn18, HIDDEN)}"):
            killed.kill()
            for moment in sorted(chance.randrange(4, 40) for _ in range(3)):
                with client(dsn18, script) as another:
                    watcher.wait_for_chunks(moment)
                    another.kill()
                assert value(dsn18, "SELECT to_regclass('t')") is None
    assert_done(dsn18, finish(dsn18, script))


def test_killed_between_the_last_chunk_and_the_name(dsn: str) -> None:
    execute(dsn, *SOURCE)
    script = SCRIPTS["logged"]
    with watching(dsn) as watcher, client(dsn, script) as killed:
        watcher.wait_for_chunks(1)
        with holding(dsn, f"SELECT FROM {value(dsn, HIDDEN)}"):
            watcher.wait_for_lock_wait()
            chunks = watcher.chunks()
            killed.kill()
            watcher.wait_for_nobody()
        assert value(dsn, "SELECT to_regclass('t')") is None
        assert_done(dsn, finish(dsn, script))
        assert watcher.chunks() == chunks


def test_killed_with_the_name_given_and_not_committed(dsn18: str) -> None:
    execute(dsn18, *SOURCE)
    script = SCRIPTS["logged"]
    with watching(dsn18) as watcher, client(dsn18, script) as killed:
        watcher.wait_for_chunks(1)
        with holding(dsn18, f"SELECT FROM {value(dsn18, HIDDEN)}"):
            watcher.wait_for_lock_wait()
            killed.freeze()
        killed.kill()
        watcher.wait_for_nobody()
        assert_done(dsn18, finish(dsn18, script))


def test_killed_before_the_table_is_made(dsn18: str) -> None:
    execute(dsn18, *SOURCE)
    script = SCRIPTS["logged"]
    with watching(dsn18) as watcher:
        with (
            holding(dsn18, "CREATE TABLE t (other int)"),
            client(dsn18, script) as killed,
        ):
            watcher.wait_for_lock_wait()
            killed.kill()
        watcher.wait_for_nobody()
    assert query(dsn18, HIDDEN) == []
    assert_done(dsn18, finish(dsn18, script))


def test_killed_before_the_first_chunk(dsn18: str) -> None:
    execute(dsn18, *SOURCE)
    finish(dsn18, "SELECT 1")
    script = SCRIPTS["logged"]
    with watching(dsn18) as watcher:
        with holding(dsn18, "LOCK TABLE pgfan.chunk"), client(dsn18, script) as killed:
            watcher.wait_for_lock_wait()
            first = value(dsn18, HIDDEN)
            killed.kill()
        watcher.wait_for_nobody()
    assert value(dsn18, HIDDEN) == first
    assert_done(dsn18, finish(dsn18, script))


def test_forgotten_after_a_kill(dsn18: str) -> None:
    execute(dsn18, *SOURCE)
    script = SCRIPTS["logged"]
    with watching(dsn18) as watcher, client(dsn18, script) as killed:
        watcher.wait_for_chunks(3)
        killed.kill()
        name = value(dsn18, "SELECT id FROM pgfan.run")
        watcher.wait_for_nobody()
    assert api.forget(dsn18, [name]) == [name]
    assert query(dsn18, HIDDEN) == []
    assert_done(dsn18, finish(dsn18, script))


def test_restarted_after_a_kill(dsn18: str) -> None:
    execute(dsn18, *SOURCE)
    script = SCRIPTS["unlogged"]
    with watching(dsn18) as watcher, client(dsn18, script) as killed:
        watcher.wait_for_chunks(3)
        killed.kill()
    ended = finish(dsn18, script, "--restart")
    assert ended.report is not None
    assert_holds(dsn18, "t", EXPECTED)
    assert query(dsn18, HIDDEN) == []


def test_interrupted_without_a_journal_leaves_nothing(dsn18: str) -> None:
    execute(dsn18, *SOURCE)
    with client(dsn18, SCRIPTS["logged"], "--no-journal", "-v") as stopped:
        wait_until(lambda: bool(query(dsn18, HIDDEN)), "the hidden table")
        stopped.process.terminate()
        stopped.process.terminate()
        assert stopped.end().code != 0
    assert query(dsn18, HIDDEN) == []
    assert run(dsn18, SCRIPTS["logged"], "--no-journal").code == 0
    assert_holds(dsn18, "t", EXPECTED)


@pytest.mark.parametrize("kind", ["", "UNLOGGED"], ids=["logged", "unlogged"])
def test_the_server_crashes(made18: Path, kind: str) -> None:
    """Chunks that a crash takes, out of the hidden table and the journal, are done again."""
    script = f"CREATE {kind} TABLE t AS {SERIES}"
    with EmbeddedServer(made18, settings=SETTINGS) as server:
        with client(server.dsn, script) as started, watching(server.dsn) as watcher:
            watcher.wait_for_chunks(10)
            server.stop("immediate")
            server.start()
            ended = started.end()
        assert ended.code == 0, ended.said
        assert_done(server.dsn, ended)


def test_the_client_is_killed_and_the_server_crashes(made18: Path) -> None:
    """The hidden table is there and empty, and so is its journal."""
    script = f"CREATE UNLOGGED TABLE t AS {SERIES}"
    with EmbeddedServer(made18, settings=SETTINGS) as server:
        with client(server.dsn, script) as killed, watching(server.dsn) as watcher:
            watcher.wait_for_chunks(10)
            killed.kill()
            server.stop("immediate")
        server.start()
        (hidden,) = query(server.dsn, HIDDEN)[0]
        assert value(server.dsn, f"SELECT count(*) FROM {hidden}") == 0
        assert_done(server.dsn, finish(server.dsn, script))
