"""Durations of earlier runs: which tasks are known again, and how long they took."""

from __future__ import annotations

from pgfan import api
from pgfan.postgres.durations import measured
from pgfan.postgres.journal import PostgresJournal
from pgfan.postgres.session import PostgresSession

TEXT = "CREATE TABLE t (i int);\nINSERT INTO t SELECT g FROM generate_series(1, 1000) g;"


def run(dsn: str, name: str, text: str) -> None:
    options = api.ExecOptions(jobs=2, chunk_rows=100, split="always", restart=True)
    assert api.exec(dsn, [api.Source(name, text)], options).ok


def test_tasks_are_known_again_by_their_place(dsn: str) -> None:
    run(dsn, "a.sql", TEXT)
    run(dsn, "a.sql", "DROP TABLE t;\nSELECT pg_sleep(0.02)")
    run(dsn, "-c", "SELECT 1")
    session = PostgresSession(dsn)
    try:
        found = measured(session)
        newest = PostgresJournal().runs(session)[0].fingerprint
        again = measured(session, newest)
    finally:
        session.close()
    assert {place: one.divisible for place, one in found.items()} == {
        ("a.sql:1", "create"): False,
        ("a.sql:1", "drop"): False,
        ("a.sql:2", "insert"): True,
        ("a.sql:2", "select"): False,
    }
    assert found["a.sql:2", "select"].work_s >= 0.02
    assert found["a.sql:2", "insert"].work_s > 0
    assert set(again) - set(found) == {("-c:1", "select")}


def test_the_newest_duration_counts(dsn18: str) -> None:
    run(dsn18, "a.sql", "SELECT 1")
    run(dsn18, "a.sql", "SELECT pg_sleep(0.05)")
    session = PostgresSession(dsn18)
    try:
        assert measured(session)["a.sql:1", "select"].work_s >= 0.05
    finally:
        session.close()
