"""What the journal keeps of runs: to add up, to resume, to list, to forget, to refuse."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from side_by_side import Recorder, execute, pgfan, query, reused_dsn, value

from pgfan import api
from pgfan.errors import PgfanError, RunLockedError, UsageError
from pgfan.events import RunStarted
from pgfan.postgres import fence

if TYPE_CHECKING:
    from collections.abc import Iterator

database = reused_dsn

SCRIPT = "INSERT INTO t SELECT g FROM generate_series(1, 60) g"
GRANT = "GRANT USAGE ON SCHEMA public TO lowly"
HOSTILE = "jo\"ur'nal; -- 名"


@pytest.fixture
def dsn(database: str) -> str:
    """A database with no journal yet."""
    execute(
        database,
        "SET client_min_messages = warning; DROP SCHEMA IF EXISTS pgfan CASCADE",
        "CREATE TABLE t (i int)",
    )
    return database


def failing(dsn: str, **options: Any) -> str:  # noqa: ANN401  # options of several types
    """The id of a run that could not finish."""
    execute(dsn, "ALTER TABLE t ADD CONSTRAINT c CHECK (i <> 31)")
    outcome = pgfan(dsn, SCRIPT, **options)
    assert outcome.states == ["failed"]
    execute(dsn, "ALTER TABLE t DROP CONSTRAINT c")
    return outcome.result.run


def test_its_rows_add_up(dsn: str) -> None:
    script = f"{SCRIPT}; INSERT INTO t SELECT i FROM t; SELECT 1; VACUUM t"
    run = pgfan(dsn, script).result
    assert query(dsn, "SELECT id, state, ended_at >= started_at FROM pgfan.run") == [
        (run.run, "done", True)
    ]
    tasks = "SELECT number, kind, state, rows, chunks, error FROM pgfan.task ORDER BY number"
    assert query(dsn, tasks) == [
        (0, "insert", "done", 60, 9, None),
        (1, "insert", "done", 60, 1, None),
        (2, "select", "done", 1, 1, None),
        (3, "vacuum", "done", None, 1, None),
    ]
    assert query(
        dsn,
        "SELECT count(*), sum(hi - lo), min(lo), max(hi), sum(c.rows), bool_and(c.seconds >= 0) "
        "FROM pgfan.chunk c JOIN pgfan.task ON key = task WHERE number = 0",
    ) == [(9, 60, 0, 60, 60, True)]
    assert [task.chunks for task in run.tasks] == [9, 1, 1, 1]


def test_chunks_of_an_unlogged_target_are_unlogged(dsn: str) -> None:
    execute(dsn, "ALTER TABLE t SET UNLOGGED")
    assert pgfan(dsn, SCRIPT).result.ok
    counts = "SELECT (SELECT count(*) FROM pgfan.chunk), count(*), sum(rows) FROM pgfan.{}"
    assert query(dsn, counts.format("chunk_unlogged")) == [(0, 9, 60)]


def test_a_finished_run_runs_again(dsn: str) -> None:
    first, second = pgfan(dsn, SCRIPT).result, pgfan(dsn, SCRIPT).result
    assert first.run != second.run
    assert value(dsn, "SELECT count(*) FROM t") == 120


def test_an_unfinished_run_is_resumed(dsn: str) -> None:
    run = failing(dsn)
    stored = value(dsn, "SELECT count(*) FROM t")
    assert 0 < stored < 60
    recorder = Recorder()
    again = pgfan(dsn, SCRIPT, recorder)
    assert (again.result.run, again.last.rows, again.last.chunks) == (run, 60, 9)
    assert [event.resumed for event in recorder.of(RunStarted)] == [True]
    assert query(dsn, "SELECT count(*), count(DISTINCT i) FROM t") == [(60, 60)]


def test_resumed_without_its_text_and_with_other_options(dsn: str) -> None:
    run = failing(dsn)
    result = api.resume(dsn, run, api.ExecOptions(jobs=1, chunk_rows=3))
    assert (result.run, result.ok) == (run, True)
    assert query(dsn, "SELECT count(*), count(DISTINCT i) FROM t") == [(60, 60)]
    with pytest.raises(UsageError, match="no run is unfinished"):
        api.resume(dsn)
    with pytest.raises(UsageError, match=f"run {run} is done"):
        api.resume(dsn, run)
    with pytest.raises(UsageError, match="there is no run nonsense"):
        api.resume(dsn, "nonsense")


SOURCES = {
    "table": "CREATE TABLE s AS",
    "materialised view": "CREATE MATERIALIZED VIEW s AS",
    "unlogged table": "CREATE UNLOGGED TABLE s AS",
}


@pytest.mark.parametrize("create", SOURCES.values(), ids=list(SOURCES))
def test_a_source_is_as_it_was(dsn: str, create: str) -> None:
    execute(
        dsn,
        f"{create} SELECT g AS i, repeat('x', 200) AS pad FROM generate_series(1, 600) g",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (i <> 333)",
        "SELECT pg_stat_force_next_flush()",
    )
    script = "INSERT INTO t SELECT i FROM s"
    failed = pgfan(dsn, script, chunk_rows=40)
    assert (failed.states, failed.last.verdict) == (["failed"], "split")
    execute(dsn, "ALTER TABLE t DROP CONSTRAINT c")
    again = pgfan(dsn, script, chunk_rows=40)
    assert (again.result.ok, again.result.run) == (True, failed.result.run), again.result.error
    assert query(dsn, "SELECT count(*), count(DISTINCT i) FROM t") == [(600, 600)]


CHANGES = {
    "rows added": "INSERT INTO s SELECT 601, 'x'",
    "rows deleted": "DELETE FROM s WHERE i = 1",
    "rewritten": "VACUUM FULL s",
    "truncated": "TRUNCATE s",
    "dropped": "DROP TABLE s",
    "made anew": "DROP TABLE s; CREATE TABLE s AS SELECT 1 AS i, 'x' AS pad",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_source_is_not_as_it_was(dsn: str, change: str) -> None:
    execute(
        dsn,
        "CREATE TABLE s AS SELECT g AS i, repeat('x', 200) FROM generate_series(1, 600) g",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (i <> 333)",
        "SELECT pg_stat_force_next_flush()",
    )
    script = "INSERT INTO t SELECT i FROM s"
    assert pgfan(dsn, script, chunk_rows=40).states == ["failed"]
    stored = value(dsn, "SELECT count(*) FROM t")
    execute(dsn, "ALTER TABLE t DROP CONSTRAINT c", change, "SELECT pg_stat_force_next_flush()")
    again = pgfan(dsn, script, chunk_rows=40)
    assert again.states == ["failed"]
    assert value(dsn, "SELECT count(*) FROM t") == stored


def test_another_text_is_another_run(dsn: str) -> None:
    run = failing(dsn)
    stored = value(dsn, "SELECT count(*) FROM t")
    other = pgfan(dsn, SCRIPT.replace("60", "61")).result
    assert (other.ok, other.run != run) == (True, True)
    assert value(dsn, "SELECT count(*) FROM t") == stored + 61
    assert {(each.id, each.state) for each in api.status(dsn)} == {
        (run, "failed"),
        (other.run, "done"),
    }


def test_restart_begins_anew(dsn: str) -> None:
    run = failing(dsn)
    stored = value(dsn, "SELECT count(*) FROM t")
    again = pgfan(dsn, SCRIPT, restart=True).result
    assert (again.ok, again.run != run) == (True, True)
    assert value(dsn, "SELECT count(*) FROM t") == stored + 60
    assert {each.state for each in api.status(dsn)} == {"abandoned", "done"}


def test_a_run_goes_on_only_under_its_settings(dsn: str) -> None:
    failing(dsn)
    error = refused(f"{dsn} options='-c timezone=Asia/Tokyo'")
    assert "TimeZone" in error.message
    assert "--restart" in (error.hint or "")


def refused(dsn: str, **options: Any) -> Any:  # noqa: ANN401  # an error with attributes
    with pytest.raises(PgfanError) as caught:
        pgfan(dsn, SCRIPT, **options)
    return caught.value


def test_status(dsn: str) -> None:
    assert api.status(dsn) == []
    run = failing(dsn)
    chunks = value(dsn, "SELECT count(*) FROM pgfan.chunk")
    done = pgfan(dsn, f"{SCRIPT}; SELECT 1").result.run
    second, first = api.status(dsn)
    assert (first.id, first.state, first.tasks, first.tasks_done) == (run, "failed", 1, 0)
    stored = value(dsn, "SELECT count(*) FROM t")
    assert (first.rows + 60, first.chunks) == (stored, chunks)
    assert (second.id, second.state, second.tasks, second.tasks_done) == (done, "done", 2, 2)
    assert (second.rows, second.chunks) == (61, 10)
    assert SCRIPT.startswith(first.title[:40])
    assert "process" in first.client


def test_forget(dsn: str) -> None:
    run = failing(dsn)
    other = pgfan(dsn, "CREATE TABLE made (i int)").result.run
    with pytest.raises(UsageError, match="there is no run nonsense"):
        api.forget(dsn, [run, "nonsense"])
    assert api.forget(dsn, [run]) == [run]
    left = value(
        dsn, "SELECT string_agg(t.run, ',') FROM pgfan.chunk c JOIN pgfan.task t ON key = task"
    )
    assert left == other
    stored = value(dsn, "SELECT count(*) FROM t")
    assert pgfan(dsn, SCRIPT).result.run != run
    assert value(dsn, "SELECT count(*) FROM t") == stored + 60
    assert len(api.forget(dsn, every=True)) == 2
    assert value(dsn, "SELECT to_regnamespace('pgfan') IS NULL") is True
    assert api.forget(dsn, every=True) == []


def test_without_a_journal(dsn: str) -> None:
    execute(dsn, "ALTER TABLE t ADD CHECK (i <> 31)")
    outcome = pgfan(dsn, SCRIPT, journal_schema=None)
    assert (outcome.states, outcome.last.verdict) == (["failed"], "split")
    assert value(dsn, "SELECT to_regnamespace('pgfan') IS NULL") is True
    with pytest.raises(UsageError):
        api.resume(dsn)
    with pytest.raises(UsageError):
        api.resume(dsn, None, api.ExecOptions(journal_schema=None))


def test_a_journal_of_another_name(dsn: str) -> None:
    run = failing(dsn, journal_schema=HOSTILE)
    assert pgfan(dsn, SCRIPT, journal_schema=HOSTILE).result.run == run
    assert query(dsn, "SELECT count(*), count(DISTINCT i) FROM t") == [(60, 60)]
    assert [each.id for each in api.status(dsn, HOSTILE)] == [run]
    assert value(dsn, "SELECT to_regnamespace('pgfan') IS NULL") is True
    assert api.forget(dsn, every=True, journal_schema=HOSTILE) == [run]


def test_a_journal_of_a_newer_version(dsn: str) -> None:
    pgfan(dsn, "SELECT 1")
    execute(dsn, "INSERT INTO pgfan.version VALUES (2)")
    error = refused(dsn)
    assert isinstance(error, UsageError)
    assert "version 2" in error.message
    assert value(dsn, "SELECT count(*) FROM t") == 0


def test_a_schema_that_is_somebody_elses(dsn: str) -> None:
    """A schema named pgfan that is no journal is used as one, and nothing in it is touched."""
    execute(dsn, "CREATE SCHEMA pgfan", "CREATE TABLE pgfan.mine AS SELECT 1 AS i")
    assert pgfan(dsn, SCRIPT).result.ok
    assert value(dsn, "SELECT i FROM pgfan.mine") == 1


def test_the_script_stays_in_the_journal_and_no_password_does(dsn: str) -> None:
    pgfan(f"{dsn} password=hunter2", SCRIPT, variables={"x": "1"})
    text = value(dsn, "SELECT json_agg(run)::text FROM pgfan.run")
    assert "hunter2" not in text
    assert SCRIPT in json.dumps(json.loads(text))


@pytest.fixture
def role(dsn: str) -> Iterator[str]:
    execute(dsn, "CREATE ROLE lowly LOGIN", "GRANT ALL ON t TO lowly", GRANT)
    try:
        yield f"{dsn} user=lowly"
    finally:
        execute(dsn, "DROP OWNED BY lowly", "DROP ROLE lowly")


def test_a_role_that_may_not_make_a_journal(dsn: str, role: str) -> None:
    error = refused(role)
    assert isinstance(error, UsageError)
    assert "permission denied" in error.message
    assert "GRANT CREATE ON DATABASE" in (error.hint or "")
    assert "--no-journal" in (error.hint or "")
    assert value(dsn, "SELECT count(*) FROM t") == 0
    assert pgfan(role, SCRIPT, journal_schema=None).result.ok
    execute(dsn, "GRANT CREATE ON DATABASE acceptance TO lowly")
    assert pgfan(role, SCRIPT).result.ok
    assert value(dsn, "SELECT count(*) FROM t") == 120


def test_two_roles_share_a_journal_of_one(dsn: str, role: str) -> None:
    """The journal's owner may grant it; until then the error names what is missing."""
    pgfan(dsn, "SELECT 1")
    error = refused(role)
    assert "pgfan" in error.message
    assert "GRANT" in (error.hint or "")
    assert value(dsn, "SELECT count(*) FROM t") == 0


def test_two_runs_of_one_text_at_once(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one names the first and does nothing; another text is not in its way."""
    monkeypatch.setattr(fence, "OWNER_WAIT_MS", 300)
    execute(dsn, "ALTER TABLE t ADD PRIMARY KEY (i)")
    held = threading.Event()
    outcomes: list[Any] = []

    def first() -> None:
        recorder = Recorder(lambda _: held.set())
        outcomes.append(pgfan(dsn, SCRIPT, recorder))

    with psycopg.connect(dsn) as holder:
        holder.execute(sql.SQL("INSERT INTO t VALUES (31)"))
        thread = threading.Thread(target=first)
        thread.start()
        assert held.wait(20)
        error = refused(dsn)
        assert isinstance(error, RunLockedError)
        (run,) = api.status(dsn)
        assert run.id in error.message
        assert run.client in error.message
        with pytest.raises(RunLockedError):
            api.resume(dsn, run.id)
        with pytest.raises(RunLockedError):
            pgfan(dsn, SCRIPT, restart=True)
        with pytest.raises(RunLockedError):
            api.forget(dsn, [run.id])
        assert pgfan(dsn, SCRIPT.replace("1, 60", "101, 160")).result.ok
        holder.rollback()
    thread.join(20)
    assert outcomes[0].result.ok
    assert query(dsn, "SELECT count(*), count(DISTINCT i) FROM t") == [(120, 120)]
