"""DDL of others between the look at the catalogue and the locks: no verdict outlives its facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan.postgres.analysis import TRIES_MAX, Analysis, Analyst
from pgfan.postgres.choosing import SplitOptions
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.postgres.snapshot import Snapshot

TABLES = """
CREATE TABLE a (i int, j int); INSERT INTO a SELECT g, g % 10 FROM generate_series(1, 1000) g;
CREATE TABLE t (i int, j int); ANALYZE a;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE VIEW v AS SELECT i, j FROM a"""
STATEMENT = "INSERT INTO t SELECT i, j FROM v"
TRIGGER = "CREATE TRIGGER noted AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note()"
LIMITED = "CREATE OR REPLACE VIEW v AS SELECT i, j FROM a LIMIT 5"


class LateHolder(SnapshotHolder):
    """Runs somebody else's SQL, if there is any left, before it takes its locks."""

    def __init__(self, dsn: str, others: Sequence[str]) -> None:
        super().__init__(dsn)
        self._dsn, self._others = dsn, list(others)
        self.opened = 0

    def open(
        self, settings: tuple[str, ...], target: str | None, sources: Sequence[str]
    ) -> Snapshot:
        self.opened += 1
        if self._others:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                connection.execute(self._others.pop(0).encode())
        return super().open(settings, target, sources)


def analysed(dsn: str, others: Sequence[str]) -> tuple[Analysis, int]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLES)
    session, snapshots = PostgresSession(dsn), LateHolder(dsn, others)
    try:
        (item,) = Program.read([Source("-c", STATEMENT)], {}).items
        found = Analyst(session, snapshots, SplitOptions("always"), None).analyse(item)
        return found, snapshots.opened
    finally:
        snapshots.end()
        session.close()


@pytest.mark.parametrize(
    ("other", "verdict", "code"),
    [
        (TRIGGER, "serial", "trigger"),
        (LIMITED, "serial", "limit"),
        ("ALTER TABLE t ADD COLUMN k int DEFAULT 7", "split", None),
        ("INSERT INTO a VALUES (0, 0); ANALYZE a", "split", None),
    ],
)
def test_the_verdict_is_that_of_the_locked_relations(
    dsn: str, other: str, verdict: str, code: str | None
) -> None:
    found, _ = analysed(dsn, [other])
    assert found.plan.verdict == verdict
    assert [reason for reason, _ in found.plan.reasons] == ([code] if code else [])


def test_new_rows_are_no_reason_to_look_again(dsn: str) -> None:
    assert analysed(dsn, ["INSERT INTO a VALUES (0, 0); ANALYZE a"])[1] == 1


def test_relations_that_never_stand_still_are_left_to_one_connection(dsn: str) -> None:
    changes = [f"ALTER TABLE t ADD COLUMN k{n} int" for n in range(TRIES_MAX)]
    found, opened = analysed(dsn, changes)
    assert (found.plan.verdict, opened) == ("serial", TRIES_MAX)
    assert found.plan.reasons[0][0] == "explain"
