"""The connection is lost around a COMMIT: the chunk is done exactly once."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pgfan_client import assert_holds, command, execute, finish, query, run, value, watching
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from wire_proxy import SILENT, WireProxy, drop_what_arrives

from pgfan.errors import ConnectionLostError
from pgfan.postgres import other_end
from pgfan.postgres.conninfo import complete_dsn
from pgfan.postgres.embedded import EmbeddedServer
from pgfan.postgres.other_end import Backend, backend_of, end_sql
from pgfan.postgres.session import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wire_proxy import Fault

ROWS = 400
EXPECTED = f"SELECT g FROM generate_series(1, {ROWS}) g"
SERIES = f"INSERT INTO t {EXPECTED}"
HEAP = "INSERT INTO t SELECT i FROM s"
FILL = f"CREATE TABLE s AS SELECT g AS i, repeat('x', 300) FROM generate_series(1, {ROWS}) g"
# What is sent together with a chunk's COMMIT, and with nothing else.
SETTLE = b"SET rows = "
# As docs/faults.md says of what pgfan sets by itself, but in seconds and not in a minute.
NOTICED_SOON = "keepalives_idle=1 keepalives_interval=1 keepalives_count=1 tcp_user_timeout=1000"
FAULTS = pytest.mark.parametrize("fault", ["lose request", "lose answer"])


@contextmanager
def proxy(
    dsn: str, needle: bytes, fault: Fault, at: Collection[int] = (1,)
) -> Iterator[tuple[WireProxy, str]]:
    """A proxy to the server, and the connection string that goes through it."""
    parts = conninfo_to_dict(dsn)
    server_socket = Path(str(parts["host"])) / f".s.PGSQL.{parts['port']}"
    with (
        tempfile.TemporaryDirectory() as folder,
        WireProxy(server_socket, Path(folder), needle, fault, at) as between,
    ):
        yield between, make_conninfo(dsn, **between.where)


@FAULTS
@pytest.mark.parametrize("script", [SERIES, HEAP], ids=["series", "heap"])
def test_lost_around_the_commit_of_a_chunk(dsn: str, script: str, fault: Fault) -> None:
    execute(dsn, FILL, "SELECT pg_stat_force_next_flush()", "CREATE TABLE t (i int)")
    with proxy(dsn, SETTLE, fault, at={1, 2, 5, 11, 12, 13, 16}) as (between, through):
        ended = finish(through, script)
        assert between.struck >= 5
    assert ended.report is not None
    (task,) = ended.report["tasks"]
    assert (task["verdict"], task["rows"]) == ("split", ROWS)
    assert_holds(dsn, "t", EXPECTED)
    assert query(dsn, "SELECT sum(rows) FROM pgfan.chunk") == [(ROWS,)]
    assert task["chunks"] == value(dsn, "SELECT count(*) FROM pgfan.chunk")


@FAULTS
def test_lost_around_the_commit_of_a_serial_statement(dsn18: str, fault: Fault) -> None:
    execute(dsn18, "CREATE TABLE t (i int)", "CREATE TABLE u (i int)")
    script = f"{SERIES}; BEGIN; INSERT INTO u VALUES (1); INSERT INTO u VALUES (2); COMMIT"
    with proxy(dsn18, SETTLE, fault, at={1, 2}) as (between, through):
        finish(through, script, "--split", "never")
        assert between.struck == 2
    assert_holds(dsn18, "t", EXPECTED)
    assert_holds(dsn18, "u", "SELECT generate_series(1, 2)")


@pytest.mark.parametrize("split", ["always", "never"])
def test_a_commit_that_became_a_rollback(dsn18: str, split: str) -> None:
    execute(dsn18, "CREATE TABLE t (i int)")
    with proxy(dsn18, SETTLE, "roll back", at={1}) as (between, through):
        ended = run(through, SERIES, "--split", split)
        assert between.struck == 1
    assert ended.code == 1
    assert "COMMIT was answered with ROLLBACK" in ended.said
    # What the journal says is done is in the table, and nothing else.
    assert value(dsn18, "SELECT count(*) FROM t") == value(
        dsn18, "SELECT coalesce(sum(rows), 0) FROM pgfan.chunk"
    )
    finish(dsn18, SERIES, "--split", split)
    assert_holds(dsn18, "t", EXPECTED)


@FAULTS
def test_lost_in_the_work_of_a_chunk(dsn18: str, fault: Fault) -> None:
    execute(dsn18, "CREATE TABLE t (i int)")
    with proxy(dsn18, b"INSERT INTO t ", fault, at={4, 5, 6, 11}) as (between, through):
        finish(through, SERIES)
        assert between.struck == 4
    assert_holds(dsn18, "t", EXPECTED)


@pytest.mark.parametrize(
    ("needle", "fault"),
    [(b"COPY ", "lose request"), (b"name333", "lose request"), (SETTLE, "lose answer")],
    ids=["before it", "in its data", "after its COMMIT"],
)
def test_lost_in_a_copy(dsn18: str, tmp_path: Path, needle: bytes, fault: Fault) -> None:
    execute(dsn18, "CREATE TABLE t (i int, t text)")
    for number in range(4):
        text = "".join(f"{i}{number},name{i}\n" for i in range(ROWS))
        (tmp_path / f"{number}.csv").write_text(text)
    words = ("load", str(tmp_path / "*.csv"), "--into", "t", "--chunk-rows", "10000")
    with proxy(dsn18, needle, fault, at={1, 3}) as (between, through):
        with command(through, *words) as client:
            ended = client.end()
        assert between.struck == 2
    assert ended.code == 0, ended.said
    files = f"generate_series(0, {ROWS - 1}) i, generate_series(0, 3) f"
    assert_holds(dsn18, "t", f"SELECT (i || '' || f)::int, 'name' || i FROM {files}")


@FAULTS
@pytest.mark.parametrize("needle", [b"EXPLAIN", b"pg_export_snapshot"])
def test_lost_while_it_is_prepared(dsn18: str, needle: bytes, fault: Fault) -> None:
    execute(dsn18, FILL, "CREATE TABLE t (i int)")
    with proxy(dsn18, needle, fault) as (between, through):
        finish(through, HEAP)
        assert between.struck == 1
    assert_holds(dsn18, "t", EXPECTED)


SILENCE = pytest.mark.skipif(sys.platform != "linux", reason="made with Linux's socket filters")


@SILENCE
@pytest.mark.parametrize(
    ("fault", "script"), [("silent before", SERIES), ("silent after", HEAP)], ids=SILENT
)
def test_a_network_that_forwards_nothing_more(dsn18: str, script: str, fault: Fault) -> None:
    """Nobody closes a connection: the client notices by itself, and ends the backends it had."""
    execute(dsn18, FILL, "SELECT pg_stat_force_next_flush()", "CREATE TABLE t (i int)")
    with proxy(dsn18, SETTLE, fault, at={4}) as (between, through):
        ended = finish(f"{through} {NOTICED_SOON}", script)
        assert between.struck == 1
    assert ended.report is not None
    assert_holds(dsn18, "t", EXPECTED)
    assert query(dsn18, "SELECT sum(rows) FROM pgfan.chunk") == [(ROWS,)]
    assert query(dsn18, "SELECT state FROM pgfan.run") == [("done",)]


@pytest.mark.parametrize("fault", SILENT)
def test_a_proxy_that_hangs(dsn18: str, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its packets are acknowledged: only the server can say that nobody is at work."""
    monkeypatch.setattr(other_end, "LOOK_AFTER_S", 0.1)
    work = "BEGIN; CREATE TABLE t (i int)"
    with proxy(dsn18, work.encode(), fault) as (between, through):
        between.acknowledges = True
        with closing(PostgresSession(f"{through} application_name=pgfan")) as session:
            with pytest.raises(ConnectionLostError, match="nothing arrives any more"):
                session.execute(work)
            session.execute(work)  # waits for the first one's lock, were it not ended
            assert between.struck == 1


def test_a_long_statement_is_left_alone(dsn18: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_end, "LOOK_AFTER_S", 0.1)
    with proxy(dsn18, b"never sent", "silent after") as (_, through):
        session = PostgresSession(through)
        assert session.execute("SELECT pg_sleep(1.6), 7")[0].rows == [("", "7")]
        assert session.ended == 0
        session.close()


@SILENCE
def test_a_client_that_the_network_has_cut_off(made18: Path) -> None:
    """The server does not wait for hours with its locks: it looks as often as the client."""
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = str(chosen.getsockname()[1])
    settings = {"listen_addresses": "127.0.0.1", "port": port}
    with (made18 / "data" / "pg_hba.conf").open("w") as hba:
        hba.write("local all all trust\nhost all all 127.0.0.1/32 trust\n")
    with EmbeddedServer(made18, settings=settings) as server:
        where = make_conninfo(server.dsn, host="127.0.0.1", port=port)
        session = PostgresSession(complete_dsn(f"{where} {NOTICED_SOON}"))
        session.execute("BEGIN; CREATE TABLE t (i int)")
        with socket.socket(fileno=os.dup(session.connection.pgconn.socket)) as heard:
            drop_what_arrives(heard)
        with watching(server.dsn) as watcher:
            assert watcher.backends() == [session.last_pid]
            watcher.wait_for_nobody()
        session.close()


def test_a_session_ends_nobody_but_the_backend_that_it_had(dsn18: str) -> None:
    """A process number may be given out anew, and to others."""
    ours, other = (PostgresSession(f"{dsn18} application_name={name}") for name in ("pgfan", "x"))
    younger = Backend(ours.backend_pid, time.monotonic() - 60, remote=False)
    for session, backend in ((ours, younger), (other, backend_of(ours.connection))):
        assert session.execute(end_sql(backend))[0].rows == []
    assert ours.execute(end_sql(backend_of(other.connection)))[0].rows == []
    with closing(PostgresSession(f"{dsn18} application_name=pgfan")) as again:
        assert again.execute(end_sql(backend_of(ours.connection)))[0].rows == [("t",)]
    for session in (ours, other):
        session.close()


@FAULTS
def test_lost_without_a_journal(dsn18: str, fault: Fault) -> None:
    """Nothing can settle the doubt: the run stops and says so."""
    execute(dsn18, "CREATE TABLE t (i int)")
    with proxy(dsn18, b"COMMIT;", fault, at={3}) as (_, through):
        ended = run(through, SERIES, "--no-journal")
    assert ended.code == 3, ended.said
    stored = value(dsn18, "SELECT count(*) FROM t")
    assert (stored % 20, stored < ROWS) == (0, True)


OWNERS_WORDS = {
    "the run is written": b'INSERT INTO "pgfan".run ',
    "the task is written": b'INSERT INTO "pgfan".task ',
    "its sources are written": b"SET sources = ",
    "the task is done": b"SET state = 'done', rows",
    "the run is done": b"ended_at = pg_catalog.clock_timestamp() WHERE",
}


@FAULTS
@pytest.mark.parametrize("needle", OWNERS_WORDS.values(), ids=list(OWNERS_WORDS))
def test_lost_around_the_owners_words(dsn18: str, needle: bytes, fault: Fault) -> None:
    """Either the run goes on, or it says that it did not; the same command then ends it."""
    execute(dsn18, FILL, "SELECT pg_stat_force_next_flush()", "CREATE TABLE t (i int)")
    with proxy(dsn18, needle, fault) as (between, through):
        ended = run(through, HEAP)
        assert between.struck == 1
    if ended.code != 0:
        assert ended.code == 3, ended.said
        assert value(dsn18, "SELECT count(*) FROM pgfan.run WHERE state = 'done'") == 0
        finish(dsn18, HEAP)
    assert_holds(dsn18, "t", EXPECTED)
    assert query(dsn18, "SELECT state FROM pgfan.run") == [("done",)]
    assert query(dsn18, "SELECT state FROM pgfan.task") == [("done",)]


@FAULTS
@pytest.mark.parametrize("at", range(1, 4))
@pytest.mark.parametrize("options", [(), ("--restart",)], ids=["fresh", "restart"])
def test_lost_around_a_commit_while_the_run_begins(
    dsn18: str, at: int, options: tuple[str, ...], fault: Fault
) -> None:
    """The journal's, the owner's lock, the run's row: the client goes on by itself, with one run.

    What --restart gives up is cleared away all the same.
    """
    execute(dsn18, FILL, "CREATE TABLE t (i int)")
    if options:
        assert run(dsn18, CLEARED).code == 1
        assert query(dsn18, HIDDEN) == [(1,)]
    script = CLEARED if options else HEAP
    with proxy(dsn18, b"COMMIT", fault, at={at}) as (between, through):
        ended = run(through, script, *options)
        assert between.struck == 1
    if options:
        assert ended.code == 1, ended.said
        assert "division by zero" in ended.said
        assert query(dsn18, HIDDEN) == [(1,)]
        states = [("abandoned",), ("failed",)]
    else:
        assert ended.code == 0, ended.said
        assert_holds(dsn18, "t", EXPECTED)
        states = [("done",)]
    assert "going on with run" not in ended.said
    assert query(dsn18, "SELECT state FROM pgfan.run ORDER BY 1") == states


@FAULTS
def test_lost_while_a_run_is_taken_over(dsn18: str, fault: Fault) -> None:
    execute(dsn18, "CREATE TABLE t (i int PRIMARY KEY CHECK (i <> 350))")
    assert run(dsn18, SERIES).code == 1
    execute(dsn18, "ALTER TABLE t DROP CONSTRAINT t_i_check")
    with proxy(dsn18, b"SET owner = ", fault) as (between, through):
        finish(through, SERIES)
        assert between.struck == 1
    assert_holds(dsn18, "t", EXPECTED)
    assert query(dsn18, "SELECT state FROM pgfan.run") == [("done",)]


CLEARED = "CREATE TABLE n AS SELECT i / (350 - i) AS i FROM s"
CREATION = "CREATE TABLE t AS SELECT i FROM s"
HIDDEN = r"SELECT count(*) FROM pg_class WHERE relname LIKE 'pgfan\_%' AND relkind = 'r'"


@FAULTS
@pytest.mark.parametrize("at", range(3, 8))
def test_lost_around_a_commit_while_a_table_is_made(dsn18: str, at: int, fault: Fault) -> None:
    """After two that begin the run: EXPLAIN's, the hidden table's, two chunks', the name's."""
    execute(dsn18, FILL, "SELECT pg_stat_force_next_flush()")
    finish(dsn18, "SELECT 1")
    with proxy(dsn18, b"COMMIT", fault, at={at}) as (between, through):
        finish(through, CREATION, "--chunk-rows", "200")
        assert between.struck == 1
    assert_holds(dsn18, "t", EXPECTED)
    assert query(dsn18, HIDDEN) == [(0,)]


@FAULTS
@pytest.mark.parametrize("needle", [b"WITH NO DATA", b"RENAME TO", b"::pg_catalog.oid"])
def test_lost_while_a_table_is_made_and_named(dsn18: str, needle: bytes, fault: Fault) -> None:
    execute(dsn18, FILL, "SELECT pg_stat_force_next_flush()")
    with proxy(dsn18, needle, fault, at={1, 3}) as (between, through):
        finish(through, CREATION)
        assert between.struck
    assert_holds(dsn18, "t", EXPECTED)
    assert query(dsn18, HIDDEN) == [(0,)]
