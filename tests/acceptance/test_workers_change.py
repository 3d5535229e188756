"""The number of workers of a run that goes on: others come first, the user changes it, 10,000."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psycopg
import pytest
from side_by_side import execute, execute_alone, query

from pgfan import api
from pgfan.errors import UsageError
from pgfan.events import ChunkFinished, Message, TaskStarted, WorkersChanged
from pgfan.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pgfan.events import Event
    from pgfan.execute.outcome import RunResult
    from pgfan.execute.runner import Runner

ROWS = 160
CHUNK_ROWS = 4
SLOW = f"INSERT INTO t SELECT i, pg_sleep(0.004)::text FROM generate_series(1, {ROWS}) AS g(i)"
"""16 ms a chunk, so that there is time for something to happen."""


LOOKS_MAX = 5_000
"""Each costs a millisecond or so."""


class Watching:
    """Keeps all events; calls what was left for the next event of a kind, once."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._waiting: list[tuple[type, Callable[[], object]]] = []

    def at_next(self, kind: type, call: Callable[[], object]) -> None:
        self._waiting.append((kind, call))

    def emit(self, event: Event) -> None:
        self.events.append(event)
        due = [one for one in self._waiting if isinstance(event, one[0])]
        self._waiting = [one for one in self._waiting if one not in due]
        for _, call in due:
            call()

    @property
    def changes(self) -> list[tuple[int, str]]:
        return [(e.workers, e.why) for e in self.events if isinstance(e, WorkersChanged)]

    @property
    def said(self) -> str:
        return "\n".join(e.text for e in self.events if isinstance(e, Message))

    def workers_seen(self) -> set[int]:
        return {event.worker for event in self.events if isinstance(event, ChunkFinished)}


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgfan.execute.staffing.LOOK_S", 0.02)
    monkeypatch.setattr("pgfan.execute.runner.LOOK_S", 0.02)


@pytest.fixture
def table(dsn: str) -> str:
    execute(dsn, "CREATE TABLE t (i int, v text)")
    return dsn


def run(dsn: str, watching: Watching, options: api.ExecOptions, statement: str = SLOW) -> RunResult:
    return api.exec(dsn, statement, options, progress=watching)


def options(
    jobs: int | None, *, nice: int | None = None, max_load: int | None = None
) -> api.ExecOptions:
    return api.ExecOptions(
        jobs=jobs, nice=nice, max_load=max_load, chunk_rows=CHUNK_ROWS, split="always"
    )


def assert_exactly_once(dsn: str) -> None:
    expected = [(i, "") for i in range(1, ROWS + 1)]
    assert sorted(query(dsn, "SELECT i, v FROM t")) == expected


class Other:
    """Another client, busy with one statement in a thread of its own until it is stopped."""

    def __init__(self, dsn: str, statement: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._statement = statement
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._dsn = dsn

    def _work(self) -> None:
        with self._connection, suppress(psycopg.errors.QueryCanceled):
            self._connection.execute(self._statement.encode())

    def start(self) -> None:
        """Returns when the server shows the statement as active."""
        pid = self._connection.info.backend_pid
        self._thread.start()
        with psycopg.connect(self._dsn, autocommit=True) as looking:
            active = f"SELECT state = 'active' FROM pg_stat_activity WHERE pid = {pid}"
            for _ in range(LOOKS_MAX):
                if looking.execute(active.encode()).fetchone() == (True,):
                    return
        raise AssertionError(f"{self._statement} never began")

    def stop(self) -> None:
        self._connection.cancel_safe()

    def ended(self) -> None:
        self._thread.join(10)
        assert not self._thread.is_alive()


@contextmanager
def other(dsn: str, statement: str) -> Iterator[Other]:
    found = Other(dsn, statement)
    try:
        yield found
    finally:
        found.stop()
        found.ended()


# Others come first --------------------------------------------------------------------------------


def test_a_nice_run_pauses_while_others_are_busy_and_goes_on_afterwards(table: str) -> None:
    watching = Watching()
    with other(table, "SELECT pg_sleep(60)") as busy:
        watching.at_next(ChunkFinished, busy.start)
        watching.at_next(WorkersChanged, busy.stop)
        result = run(table, watching, options(2, nice=0))
    assert result.ok, result.error
    assert watching.changes == [(0, "others are active"), (2, "others are fewer")]
    assert_exactly_once(table)


def test_who_is_busy_before_the_run_has_it_wait_from_the_start(table: str) -> None:
    watching = Watching()
    with other(table, "SELECT pg_sleep(60)") as busy:
        busy.start()
        watching.at_next(WorkersChanged, busy.stop)
        result = run(table, watching, options(2, nice=0))
    assert result.ok, result.error
    kinds = [type(event) for event in watching.events]
    assert kinds.index(WorkersChanged) < kinds.index(ChunkFinished)
    assert_exactly_once(table)


def test_max_load_leaves_room_for_others(table: str) -> None:
    watching = Watching()
    with other(table, "SELECT pg_sleep(60)") as busy:
        busy.start()
        result = run(table, watching, options(4, max_load=3))
    assert result.ok, result.error
    assert watching.changes == [(2, "load of others")]
    assert watching.workers_seen() == {0, 1}
    assert_exactly_once(table)


def test_a_session_that_waits_for_the_runs_own_lock_does_not_pause_it_for_ever(
    table: str,
) -> None:
    source = "CREATE TABLE s AS SELECT i FROM generate_series(1, 160) AS g(i)"
    execute(table, source, "VACUUM ANALYZE s")
    statement = "INSERT INTO t SELECT i, pg_sleep(0.004)::text FROM s"
    watching = Watching()
    with other(table, "ALTER TABLE s ADD COLUMN late int") as waiting:
        watching.at_next(ChunkFinished, waiting.start)
        result = run(
            table, watching, api.ExecOptions(1, nice=0, chunk_rows=4, split="always"), statement
        )
        waiting.ended()
    assert result.ok, result.error
    assert_exactly_once(table)


def test_ctrl_c_ends_a_pause(table: str) -> None:
    watching = Watching()
    with other(table, "SELECT pg_sleep(60)") as busy:
        busy.start()

        def start(runner: Runner) -> None:
            watching.at_next(WorkersChanged, runner.interrupt)

        result = api.exec(table, SLOW, options(2, nice=0), progress=watching, on_start=start)
    assert result.interrupted
    assert run(table, Watching(), options(2)).ok
    assert_exactly_once(table)


# The user changes the number ----------------------------------------------------------------------


def test_a_run_is_told_another_number_through_the_server(table: str) -> None:
    watching = Watching()
    watching.at_next(ChunkFinished, lambda: api.change_jobs(table, 4))
    result = run(table, watching, options(1))
    assert result.ok, result.error
    assert watching.changes == [(4, "as asked")]
    assert (result.jobs, watching.workers_seen()) == (4, {0, 1, 2, 3})
    assert_exactly_once(table)


def test_a_run_is_paused_and_goes_on_through_the_server(table: str) -> None:
    watching = Watching()
    watching.at_next(ChunkFinished, lambda: api.change_jobs(table, 0))
    watching.at_next(WorkersChanged, lambda: api.change_jobs(table, 3))
    assert run(table, watching, options(2)).ok
    assert watching.changes == [(0, "as asked"), (3, "as asked")]
    assert_exactly_once(table)


def test_the_owners_session_hears_again_after_it_was_lost(table: str) -> None:
    watching = Watching()
    owner = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
        "AND mode = 'ExclusiveLock' AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    )

    def lose_it() -> None:
        assert query(table, owner) == [(True,)]
        # The end of this task needs the session, and so makes it anew.
        watching.at_next(TaskStarted, lambda: api.change_jobs(table, 3))

    watching.at_next(ChunkFinished, lose_it)
    first = "INSERT INTO t SELECT i, '' FROM generate_series(1, 8) AS g(i)"
    result = run(table, watching, options(1), f"{first}; TRUNCATE t; {SLOW}")
    assert result.ok, result.error
    assert watching.changes == [(3, "as asked")]
    assert_exactly_once(table)


def test_nobody_is_there_to_be_told(dsn18: str) -> None:
    with pytest.raises(UsageError, match="nobody is working"):
        api.change_jobs(dsn18, 3)
    assert api.exec(dsn18, "SELECT 1").ok
    with pytest.raises(UsageError, match="nobody is working"):
        api.change_jobs(dsn18, 3)
    with pytest.raises(UsageError, match="from 0 to 10000"):
        api.change_jobs(dsn18, 10_001)


# Room ---------------------------------------------------------------------------------------------


def test_ten_thousand_workers_are_as_many_as_there_is_room_for(table: str) -> None:
    watching = Watching()
    result = run(table, watching, options(10_000))
    assert result.ok, result.error
    room = int(query(table, "SELECT current_setting('max_connections')::int")[0][0])
    assert room - 10 <= result.jobs < room
    assert f"the server has room for {result.jobs} workers, not 10000" in watching.said
    assert_exactly_once(table)


def test_auto_on_a_server_with_few_connections(made18: Path) -> None:
    few = {"max_connections": "8", "superuser_reserved_connections": "1", "fsync": "off"}
    watching = Watching()
    with EmbeddedServer(made18, settings=few) as server, psycopg.connect(server.dsn):
        execute_alone(server.dsn, "CREATE TABLE t (i int, v text)")
        result = run(server.dsn, watching, options(None))
        with psycopg.connect(server.dsn) as looking:
            rows = looking.execute("SELECT i, v FROM t ORDER BY i").fetchall()
    assert result.ok, result.error
    # Eight, less one reserved, one taken, the run's own two and the one that looks.
    assert 1 <= result.jobs <= 3
    assert "gets no connection" not in watching.said
    assert rows == [(i, "") for i in range(1, ROWS + 1)]


# Files --------------------------------------------------------------------------------------------


def test_a_load_pauses_for_others_and_is_told_another_number(dsn18: str, tmp_path: Path) -> None:
    execute(dsn18, "CREATE TABLE t (i int, v text CHECK (pg_sleep(0.004) IS NOT NULL))")
    for first in range(1, ROWS + 1, CHUNK_ROWS):
        text = "".join(f'{i},""\n' for i in range(first, first + CHUNK_ROWS))
        (tmp_path / f"{first:03}.csv").write_text(text)
    watching = Watching()
    with other(dsn18, "SELECT pg_sleep(60)") as busy:
        watching.at_next(ChunkFinished, busy.start)
        watching.at_next(WorkersChanged, busy.stop)

        def start(runner: Runner) -> None:
            del runner
            watching.at_next(WorkersChanged, lambda: api.change_jobs(dsn18, 3))

        loading = api.LoadOptions(jobs=2, nice=0, chunk_rows=10_000)
        result = api.load(dsn18, [tmp_path], "t", loading, progress=watching, on_start=start)
    assert result.ok, result.error
    assert watching.changes[0] == (0, "others are active")
    assert watching.changes[-1][0] == result.jobs == 3
    assert_exactly_once(dsn18)


def test_an_unload_leaves_room_for_others_and_takes_more_workers(
    dsn18: str, tmp_path: Path
) -> None:
    watching = Watching()
    query_text = f"SELECT i, pg_sleep(0.004)::text AS v FROM generate_series(1, {ROWS}) AS g(i)"
    unloading = api.UnloadOptions(jobs=4, max_load=3, chunk_rows=CHUNK_ROWS, split="always")

    def start(runner: Runner) -> None:
        watching.at_next(ChunkFinished, lambda: runner.ask_more_workers(-3))

    with other(dsn18, "SELECT pg_sleep(60)") as busy:
        busy.start()
        result = api.unload(
            dsn18, query_text, tmp_path / "out", unloading, progress=watching, on_start=start
        )
    assert result.ok, result.error
    assert watching.changes == [(2, "load of others"), (1, "as asked")]
    files = (tmp_path / "out").glob("part-*")
    lines = [line for file in files for line in file.read_text().splitlines()[1:]]
    assert sorted(int(line.split(",")[0]) for line in lines) == [*range(1, ROWS + 1)]
