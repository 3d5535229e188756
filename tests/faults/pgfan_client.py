"""pgfan as a process that can be killed, interrupted and frozen, and the moments to do so.

A moment is a condition of the server (so many chunks in the journal, a backend that waits for a
lock), looked for at short intervals up to a bound; never a stretch of time.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WAIT_S = 40.0
POLL_S = 0.005


@dataclass(frozen=True)
class Ended:
    """How a process ended; `report` is what --json printed, None when it printed nothing."""

    code: int
    report: dict[str, Any] | None
    said: str


class Client:
    """`pgfan COMMAND --json`; stderr is read all the time, and can be waited on."""

    def __init__(self, dsn: str, *command: str) -> None:
        source, sink = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pgfan", *command, "--json", "-d", dsn],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sink,
        )
        os.close(sink)
        self._said = bytearray()
        self._more = threading.Condition()
        self._ended = False
        self._listener = threading.Thread(target=self._listen, args=(source,), daemon=True)
        self._listener.start()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP, and no thread of it runs when this returns."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self.process.kill()
        self.process.communicate(timeout=WAIT_S)

    def wait_for_words(self, words: str) -> None:
        """Wait until stderr says so."""

        def says() -> bool:
            return words.encode() in self._said

        with self._more:
            self._more.wait_for(lambda: says() or self._ended, WAIT_S)
            assert says(), f"never said {words!r}, only {self._said.decode()}"

    def end(self) -> Ended:
        """Wait for its end."""
        out, _ = self.process.communicate(timeout=WAIT_S + 30)
        self._listener.join(WAIT_S)
        report = json.loads(out) if out else None
        return Ended(self.process.returncode, report, self._said.decode())

    def _listen(self, source: int) -> None:
        piece = b"-"
        with os.fdopen(source, "rb", buffering=0) as stream:
            while piece:
                piece = stream.read(65536)
                with self._more:
                    self._said += piece
                    self._ended = not piece
                    self._more.notify_all()


DEFAULTS = {"--split": "always", "--jobs": "3", "--chunk-rows": "20"}


@contextmanager
def client(dsn: str, script: str, *options: str) -> Iterator[Client]:
    """`pgfan exec` in small chunks on three connections, unless `options` say otherwise."""
    defaults = [word for pair in DEFAULTS.items() if pair[0] not in options for word in pair]
    with command(dsn, "exec", "-c", script, *defaults, *options) as started:
        yield started


@contextmanager
def command(dsn: str, *words: str) -> Iterator[Client]:
    """A client that is gone afterwards, whatever happens."""
    started = Client(dsn, *words)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.communicate(timeout=WAIT_S)
        if started.process.stdout is not None:
            started.process.stdout.close()


def run(dsn: str, script: str, *options: str) -> Ended:
    """Run a client to its end."""
    with client(dsn, script, *options) as started:
        return started.end()


def finish(dsn: str, script: str, *options: str) -> Ended:
    """Run a client to its end, which must be a good one."""
    ended = run(dsn, script, *options)
    assert ended.code == 0, ended.said
    assert ended.report is not None
    assert ended.report["ok"] is True
    return ended


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Look again and again until `holds`; fail with `what` after WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"never came: {what}"
        select.select([], [], [], POLL_S)


def execute(dsn: str, *statements: str) -> None:
    """Run statements in a connection of their own, each in its own transaction."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


def value(dsn: str, statement: str) -> Any:  # noqa: ANN401  # whatever the column holds
    ((only,),) = query(dsn, statement)
    return only


class Watcher:
    """A connection that looks at pgfan's journal and backends."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def chunks(self) -> int:
        """Committed chunks of all runs; 0 before there is a journal."""
        there = self._one("SELECT to_regclass('pgfan.chunk_unlogged') IS NOT NULL")
        both = "SELECT count(*) FROM (TABLE pgfan.chunk UNION ALL TABLE pgfan.chunk_unlogged) c"
        return int(self._one(both)) if there else 0

    def wait_for_chunks(self, number: int) -> None:
        wait_until(lambda: self.chunks() >= number, f"{number} chunks")

    def waiting(self) -> int:
        """Backends of pgfan that wait for another's transaction or table.

        Waits for a turn to lengthen a table are locks too, and mean nothing.
        """
        return len(self._backends("wait_event IN ('transactionid', 'relation')"))

    def wait_for_lock_wait(self, count: int = 1) -> None:
        wait_until(lambda: self.waiting() >= count, f"{count} backends that wait for a lock")

    def workers(self) -> list[int]:
        """Backends that run chunks: they hold the run's second lock in share mode."""
        return self._lockers("ShareLock")

    def owners(self) -> list[int]:
        """Backends that hold a run's first lock."""
        return self._lockers("ExclusiveLock")

    def snapshot_holders(self) -> list[int]:
        """Backends that keep a transaction open and do nothing else."""
        idle = self._backends("state = 'idle in transaction'")
        return [pid for pid in idle if pid not in set(self.workers() + self.owners())]

    def backends(self) -> list[int]:
        """All backends of pgfan."""
        return self._backends("true")

    def wait_for_nobody(self) -> None:
        wait_until(lambda: not self.backends(), "the end of all backends of pgfan")

    def terminate(self, pids: list[int]) -> None:
        for pid in pids:
            self._connection.execute("SELECT pg_terminate_backend(%s)", (pid,))

    def _lockers(self, mode: str) -> list[int]:
        rows = self._connection.execute(
            "SELECT DISTINCT a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE l.locktype = 'advisory' AND l.granted AND l.mode = %s "
            "AND a.application_name = 'pgfan' AND a.datname = current_database()",
            (mode,),
        ).fetchall()
        return [int(row[0]) for row in rows]

    def _backends(self, condition: str) -> list[int]:
        statement = (
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgfan' "
            f"AND datname = current_database() AND {condition}"
        )
        return [int(row[0]) for row in self._connection.execute(statement.encode()).fetchall()]

    def _one(self, statement: str) -> Any:  # noqa: ANN401  # whatever the column holds
        row = self._connection.execute(statement.encode()).fetchone()
        assert row is not None
        return row[0]


@contextmanager
def watching(dsn: str) -> Iterator[Watcher]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield Watcher(connection)


@contextmanager
def holding(dsn: str, statement: str) -> Iterator[psycopg.Connection]:
    """Keep a transaction open that has run `statement`; whoever needs its locks waits."""
    with psycopg.connect(dsn) as connection:
        connection.execute(statement.encode())
        yield connection
        connection.rollback()


def assert_holds(dsn: str, table: str, expected: str) -> None:
    """Fail unless `table` holds exactly the rows of the query `expected`, duplicates counted."""
    difference = query(
        dsn,
        f"WITH e AS ({expected}), t AS (TABLE {table}) SELECT "
        "(SELECT count(*) FROM (TABLE e EXCEPT ALL TABLE t) AS missing), "
        "(SELECT count(*) FROM (TABLE t EXCEPT ALL TABLE e) AS doubled)",
    )
    assert difference == [(0, 0)]
