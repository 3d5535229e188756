"""A lost snapshot is replaced once, however many workers ask for another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psycopg

from pgfan.postgres.session import PostgresSession
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.postgres.task_sources import TaskSources


def test_who_asks_second_gets_what_the_first_one_got(dsn: str) -> None:
    holder = SnapshotHolder(dsn)
    owner = PostgresSession(dsn)
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute("CREATE TABLE s AS SELECT 1 AS i")
        sources = task_sources(owner, holder)
        split: Any = SimpleNamespace(target=None, creates=None, sources=("public.s",))
        first = sources.renew(0, split)
        assert sources.renew(0, split) is first
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [holder.session.backend_pid])
        second = sources.renew(0, split)
        assert second.name != first.name
        assert sources.renew(0, split) is second
        other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        other.execute(f"SET TRANSACTION SNAPSHOT '{second.name}'")  # it is still there
        other.execute("ROLLBACK")
    holder.end()
    owner.close()


def task_sources(owner: PostgresSession, holder: SnapshotHolder) -> TaskSources:
    desks: Any = SimpleNamespace(of=lambda _: SimpleNamespace(snapshots=holder))
    items: Any = [SimpleNamespace(settings=())]
    return TaskSources(owner, None, desks, items, new_snapshot=False)
