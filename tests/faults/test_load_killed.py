"""A load is killed at seeded moments, its server crashes; the same command loads each row once."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest
from pgfan_client import (
    assert_holds,
    command,
    execute,
    holding,
    query,
    value,
    wait_until,
    watching,
)

from pgfan import api
from pgfan.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pgfan_client import Client

FILES = 60
ROWS = FILES * 20
EXPECTED = f"SELECT g, 'name' || g FROM generate_series(0, {ROWS - 1}) g"
# Rows that take half a millisecond each: most moments then lie inside of a chunk.
TABLE = "CREATE {} TABLE t (i int PRIMARY KEY, t text CHECK (pg_sleep(0.0005) IS NOT NULL))"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(FILES):
        rows = range(number * 20, number * 20 + 20)
        text = "i,t\n" + "".join(f'{row},"name{row}"\n' for row in rows)
        (tmp_path / f"{number:03}.csv").write_text(text)
    return tmp_path


def loading(dsn: str, folder: Path, *options: str) -> AbstractContextManager[Client]:
    words = ("load", str(folder), "--into", "t", "--jobs", "3", "--chunk-rows", "20000")
    return command(dsn, *words, *options)


def finish(dsn: str, folder: Path, *options: str) -> None:
    with loading(dsn, folder, *options) as client:
        ended = client.end()
    assert ended.code == 0, ended.said
    assert ended.report is not None
    assert ended.report["tasks"][0]["rows"] == ROWS


@pytest.mark.parametrize("kind", ["", "UNLOGGED"], ids=["logged", "unlogged"])
def test_killed_again_and_again_each_row_is_loaded_once(
    dsn18: str, folder: Path, kind: str
) -> None:
    execute(dsn18, TABLE.format(kind), "CREATE INDEX by_t ON t (t)", "INSERT INTO t VALUES (-1)")
    chance = random.Random(kind)  # noqa: S311  # the same moments each time
    options = ("--truncate", "--defer-indexes")
    with watching(dsn18) as watcher, holding(dsn18, "SELECT 1"):
        for moment in sorted(chance.randrange(FILES // 2 - 5) for _ in range(2)):
            with loading(dsn18, folder, *options) as killed:
                watcher.wait_for_chunks(moment)
                killed.kill()
    finish(dsn18, folder, *options)
    assert_holds(dsn18, "t", EXPECTED)
    assert query(dsn18, "SELECT state FROM pgfan.run") == [("done",)]
    assert value(dsn18, "SELECT count(*) FROM pg_indexes WHERE tablename = 't'") == 2


@pytest.mark.parametrize("way", ["forget", "restart"])
def test_who_gives_a_load_up_builds_its_indexes(dsn18: str, folder: Path, way: str) -> None:
    execute(dsn18, TABLE.format(""), "CREATE INDEX by_t ON t (t)")
    options = ("--truncate", "--defer-indexes")
    with watching(dsn18) as watcher, loading(dsn18, folder, *options) as killed:
        watcher.wait_for_chunks(3)
        killed.kill()
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = 't'"
    assert value(dsn18, indexes) == 1
    if way == "forget":
        assert len(api.forget(dsn18, every=True)) == 1
    else:
        finish(dsn18, folder, *options, "--restart")
        assert_holds(dsn18, "t", EXPECTED)
    assert value(dsn18, indexes) == 2


def test_an_upsert_that_is_killed_is_all_there_or_not_at_all(dsn18: str, folder: Path) -> None:
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY, t text)", "INSERT INTO t VALUES (7, 'old')")
    options = ("--upsert", "i")
    with watching(dsn18) as watcher, holding(dsn18, "SELECT i FROM t WHERE i = 7 FOR UPDATE"):
        with loading(dsn18, folder, *options) as killed:
            watcher.wait_for_chunks(5)
            killed.kill()
        with loading(dsn18, folder, *options) as killed:
            watcher.wait_for_lock_wait()  # the last step, which meets the row that is held
            killed.kill()
        assert value(dsn18, "SELECT count(*) FROM t") == 1
    finish(dsn18, folder, *options)
    assert_holds(dsn18, "t", EXPECTED)
    assert query(dsn18, "SELECT relname FROM pg_class WHERE relname LIKE 'pgfan%'") == []


def test_interrupted_and_resumed_by_its_run(dsn18: str, folder: Path) -> None:
    execute(dsn18, TABLE.format(""))
    with watching(dsn18) as watcher, loading(dsn18, folder) as client:
        watcher.wait_for_chunks(3)
        client.send(signal.SIGINT)
        assert client.end().code == 130
    with command(dsn18, "resume") as client:
        ended = client.end()
    assert ended.code == 0, ended.said
    assert_holds(dsn18, "t", EXPECTED)


def test_a_backend_that_is_terminated_in_its_copy(dsn18: str, folder: Path) -> None:
    execute(dsn18, TABLE.format(""))
    with watching(dsn18) as watcher, loading(dsn18, folder) as client:
        for moment in (2, 5):
            watcher.wait_for_chunks(moment)
            wait_until(lambda: bool(watcher.workers()), "workers")
            watcher.terminate(watcher.workers()[:1])
        ended = client.end()
    assert ended.code == 0, ended.said
    assert_holds(dsn18, "t", EXPECTED)


@pytest.mark.parametrize("kind", ["", "UNLOGGED"], ids=["logged", "unlogged"])
def test_the_server_crashes_under_a_load(made18: Path, folder: Path, kind: str) -> None:
    """Commits that were not flushed are lost, and the unlogged table is empty: again with them."""
    settings = {"fsync": "off", "shared_buffers": "32MB", "wal_writer_delay": "10s"}
    with EmbeddedServer(made18, settings=settings) as server:
        execute(server.dsn, TABLE.format(kind))
        with loading(server.dsn, folder) as client:
            with watching(server.dsn) as watcher:
                watcher.wait_for_chunks(5)
            server.stop("immediate")
            server.start()
            ended = client.end()
        assert ended.code == 0, ended.said
        assert_holds(server.dsn, "t", EXPECTED)


def test_a_load_cancelled_in_its_copy_ends_and_goes_on(dsn18: str, folder: Path) -> None:
    execute(dsn18, TABLE.format(""))
    held = "INSERT INTO t VALUES (700, 'x')"
    with watching(dsn18) as watcher, holding(dsn18, held), loading(dsn18, folder) as client:
        watcher.wait_for_lock_wait()
        client.send(signal.SIGINT)
        client.wait_for_words("once more cancels")
        client.send(signal.SIGINT)
        assert client.end().code == 130
    finish(dsn18, folder)
    assert_holds(dsn18, "t", EXPECTED)


def test_bad_rows_are_written_once_though_the_load_is_killed(dsn18: str, folder: Path) -> None:
    execute(dsn18, TABLE.format(""))
    for number in range(0, FILES, 3):
        with (folder / f"{number:03}.csv").open("a") as file:
            file.write(f"bad{number},x\n")
    reject = folder.parent / "bad.csv"
    with watching(dsn18) as watcher:
        for moment in (4, 12):
            with loading(dsn18, folder, "--reject", str(reject)) as killed:
                watcher.wait_for_chunks(moment)
                killed.kill()
    finish(dsn18, folder, "--reject", str(reject))
    assert_holds(dsn18, "t", EXPECTED)
    lines = reject.read_text().splitlines()
    assert len(lines) == 1 + FILES // 3
    assert len(set(lines)) == len(lines)
