"""`pgfan run` analyses large tables that it has filled before they are joined, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pgfan import api
from pgfan.events import Message
from pgfan.plan import statistics
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.statistics import StatisticsUpkeep
from pgfan.sql.effects import ObjectName
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from pgfan.events import Event
    from pgfan.execute.outcome import RunResult
    from pgfan.ports import Progress

ROWS = "SELECT i, repeat('x', 500) FROM generate_series(1, 20000) AS i"
SCRIPT = f"""
CREATE TABLE big (id int, t text);
CREATE TABLE small (id int);
CREATE TEMP TABLE own (id int, t text);
BEGIN;
INSERT INTO big {ROWS};
SELECT count(*) FROM big, small;
COMMIT;
INSERT INTO small SELECT generate_series(1, 10);
INSERT INTO own {ROWS};
CREATE INDEX ON big (id);
CREATE TABLE one AS SELECT id FROM big JOIN small USING (id);
CREATE TABLE two AS SELECT id FROM own JOIN small USING (id) LEFT JOIN big USING (id);
"""
ANALYSED = """
SELECT relname FROM pg_stat_user_tables
WHERE last_analyze IS NOT NULL AND schemaname = 'public' ORDER BY 1"""


@pytest.fixture(autouse=True)
def _large_from_8_mb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "PAGES_MIN", 1024)


def run(
    dsn: str, script: str, *, analyse: bool = True, progress: Progress | None = None
) -> RunResult:
    program = Program.read_psql([Source("main.sql", script)], {}, lambda name: name)
    options = api.ExecOptions(jobs=2, analyse=analyse)
    return api.run(dsn, program, options, progress=progress)


def test_a_large_table_is_analysed_once_before_those_who_join_it(dsn: str) -> None:
    result = run(dsn, SCRIPT)
    assert result.ok, result.error
    assert result.to_json()["analysed"] == ["public.big"]
    assert [task.state for task in result.tasks] == ["done"] * 9
    with psycopg.connect(dsn) as connection:
        assert connection.execute(ANALYSED).fetchall() == [("big",)]
        assert connection.execute("SELECT count(*) FROM one").fetchone() == (10,)


def test_asked_not_to_it_analyses_nothing(dsn: str) -> None:
    result = run(dsn, SCRIPT, analyse=False)
    assert result.ok, result.error
    assert "analysed" not in result.to_json()
    with psycopg.connect(dsn) as connection:
        assert connection.execute(ANALYSED).fetchall() == []


def test_a_failed_analyze_is_said_and_fails_nothing(dsn: str) -> None:
    refuses = f"""
    CREATE TABLE small AS SELECT 1 AS id;
    CREATE TABLE big (id int, t text);
    INSERT INTO big {ROWS};
    CREATE STATISTICS bad ON (1 / (id - id)), t FROM big;
    CREATE TABLE one AS SELECT id FROM big JOIN small USING (id);
    """
    heard = Heard()
    result = run(dsn, refuses, progress=heard)
    assert result.ok, result.error
    assert any("division by zero" in text for text in heard.warnings)


class Heard:
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def emit(self, event: Event) -> None:
        if isinstance(event, Message) and event.level == "warning":
            self.warnings.append(event.text)


def due(dsn: str, table: str, role: str | None = None) -> list[str]:
    session = PostgresSession(dsn)
    try:
        if role is not None:
            session.execute(f"SET ROLE {role}")
        names = {-1: ObjectName("relation", "public", table)}
        found = StatisticsUpkeep(session, names).of(-1)
        return [] if found is None else list(found.tables)
    finally:
        session.close()


def test_a_partitioned_table_stands_for_its_large_leaves(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE parts (id int, t text) PARTITION BY RANGE (id);"
            "CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);"
            "CREATE TABLE part_2 PARTITION OF parts FOR VALUES FROM (100) TO (30000) "
            "PARTITION BY LIST (id);"
            'CREATE TABLE "part 2 a" PARTITION OF part_2 DEFAULT'
        )
        connection.execute(f"INSERT INTO parts {ROWS}".encode())
    assert due(dsn, "parts") == ['public."part 2 a"']


def test_a_table_of_another_role_is_left_alone(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE theirs AS {ROWS}".encode())
        connection.execute("CREATE ROLE somebody")
        try:
            connection.execute("GRANT ALL ON theirs TO somebody")
            assert due(dsn, "theirs") == ["public.theirs"]
            assert due(dsn, "theirs", "somebody") == []
            connection.execute("ALTER TABLE theirs OWNER TO somebody")
            assert due(dsn, "theirs", "somebody") == ["public.theirs"]
        finally:
            connection.execute("DROP OWNED BY somebody; DROP ROLE somebody")


def test_what_is_not_there_any_more_is_nothing_to_do(dsn: str) -> None:
    assert due(dsn, "gone") == []
