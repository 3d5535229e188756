"""Chunks that outrun their estimate on a real server: cancelled, shared out, each row once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from pgfan import api
from pgfan.events import ChunkCancelled
from pgfan.plan import stragglers
from pgfan.plan.stragglers import Candidate, Rescue

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pgfan.events import Event

TRIES = 6
SETUP = (
    "SET client_min_messages = warning",
    "DROP SCHEMA IF EXISTS pgfan CASCADE",
    "DROP TABLE IF EXISTS t",
    "CREATE TABLE t (i int)",
    """CREATE OR REPLACE FUNCTION worked(i int, s float8) RETURNS int LANGUAGE plpgsql IMMUTABLE
    AS $$ BEGIN PERFORM pg_sleep(s); RETURN i; END $$""",
)


class Kept:
    """A display that keeps the cancels."""

    def __init__(self) -> None:
        self.cancelled: list[ChunkCancelled] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, ChunkCancelled):
            self.cancelled.append(event)


def run(dsn: str, sql: str, rows: int, chunk_s: float) -> tuple[int, list[ChunkCancelled]]:
    """Run the INSERT with 4 workers; how many chunks were shared out, once every row is there."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in SETUP:
            connection.execute(statement.encode())
        kept = Kept()
        options = api.ExecOptions(jobs=4, chunk_s=chunk_s, split="always")
        result = api.exec(dsn, sql, options, progress=kept)
        assert result.error is None
        (task,) = result.tasks
        assert (task.state, task.rows) == ("done", rows)
        differing = connection.execute(
            "SELECT i, count(*) FROM (SELECT i FROM t UNION ALL SELECT generate_series(1, %s)) x "
            "GROUP BY i HAVING count(*) <> 2",
            (rows,),
        ).fetchall()
        assert differing == []
        journal = connection.execute("SELECT sum(hi - lo), sum(rows) FROM pgfan.chunk").fetchone()
        assert journal == (rows, rows)
    return task.stragglers, kept.cancelled


def test_a_late_chunk_is_shared_by_idle_workers(dsn: str) -> None:
    late = "CASE WHEN g BETWEEN 196 AND 205 THEN 0.15 ELSE 0.003 END"
    sql = f"INSERT INTO t SELECT worked(g, {late}) FROM generate_series(1, 300) g"
    shared, cancelled = run(dsn, sql, 300, 1.0)
    assert shared == len(cancelled) >= 1
    assert any(event.lo < 205 and event.hi > 196 for event in cancelled)


def test_a_storm_of_cancels_at_any_instant(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is cancelled whenever anybody idles: before it has begun, or while it commits."""

    def choose(
        candidates: Sequence[Candidate], idle: int, _now_s: float
    ) -> tuple[Rescue | None, float | None]:
        assert idle >= 1
        if not candidates:
            return None, None
        return Rescue(candidates[0].worker, 2), None

    monkeypatch.setattr(stragglers, "choose", choose)
    sql = "INSERT INTO t SELECT worked(g, 0.001) FROM generate_series(1, 2000) g"
    cancels = 0
    for _ in range(TRIES):  # nobody idles while another has a chunk to share, now and then
        shared, cancelled = run(dsn, sql, 2000, 0.2)
        assert shared == len(cancelled)
        cancels += shared
        if cancels:
            break
    assert cancels
