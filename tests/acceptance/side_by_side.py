"""A script run twice: by a plain connection into one table, by pgfan into another; then compared.

Here are the run and the comparison; what is run, and what it must come to, stands in the tests.
"""

from __future__ import annotations

import atexit
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from pgfan import api
from pgfan.events import ChunkFinished

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.events import Event
    from pgfan.execute.outcome import RunResult, TaskOutcome
    from pgfan.ports import Result
    from pgfan.postgres.embedded import EmbeddedServer

E = TypeVar("E")

SERIAL = "by_one"
SPLIT = "by_many"


@dataclass(frozen=True)
class Case:
    """`script` fills {target}, whose columns are `columns`; `setup` is run before, one by one.

    `chunks_min` is what a split must at least come to; 0 for an empty source.
    """

    script: str
    columns: str = "i bigint"
    setup: Sequence[str] = ()
    chunks_min: int = 2
    rows: int | None = None


@dataclass
class Recorder:
    """A display that keeps every event, and calls `at_chunk` with the number of each done one."""

    at_chunk: Callable[[int], None] | None = None
    events: list[Event] = field(default_factory=list)

    def emit(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, ChunkFinished) and self.at_chunk is not None:
            self.at_chunk(len(self.of(ChunkFinished)))

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]


@dataclass
class Outcome:
    """What a run gave back, said meanwhile, and answered."""

    result: RunResult
    recorder: Recorder
    answers: list[Result]

    @property
    def tasks(self) -> tuple[TaskOutcome, ...]:
        return self.result.tasks

    @property
    def last(self) -> TaskOutcome:
        return self.result.tasks[-1]

    @property
    def states(self) -> list[str]:
        return [task.state for task in self.result.tasks]

    @property
    def tags(self) -> list[str]:
        return [answer.tag for answer in self.answers]


CLEAN = """
SET client_min_messages = warning;
SET lock_timeout = '10s';
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT nspname FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'pgfan')
    LOOP EXECUTE format('DROP SCHEMA %I CASCADE', name); END LOOP;
END $$;
CREATE SCHEMA public"""


@cache
def make_database(dsn: str) -> None:
    execute_alone(dsn, "CREATE DATABASE acceptance")


@pytest.fixture
def reused_dsn(server: EmbeddedServer) -> str:
    """A database that holds nothing but the journal of the tests before.

    Making and dropping a database costs twice what a small comparison does.
    """
    conninfo = make_conninfo(server.dsn, dbname="acceptance")
    make_database(server.dsn)
    execute_alone(conninfo, CLEAN)
    return conninfo


@cache
def connected(dsn: str) -> psycopg.Connection:
    """A connection that the tests of one database share: connecting is most of a small query."""
    connection = psycopg.connect(dsn, autocommit=True)
    atexit.register(connection.close)
    return connection


def execute(dsn: str, *statements: str) -> None:
    """Run statements, each in its own transaction."""
    for statement in statements:
        connected(dsn).execute(statement.encode())


def execute_alone(dsn: str, script: str) -> None:
    """Run a script in a session of its own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(script.encode())


def query(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    return connected(dsn).execute(statement.encode()).fetchall()


def value(dsn: str, statement: str) -> Any:  # noqa: ANN401  # whatever the column holds
    ((only,),) = query(dsn, statement)
    return only


def pgfan(dsn: str, script: str, recorder: Recorder | None = None, **options: Any) -> Outcome:  # noqa: ANN401  # options of several types
    """Run `script` with pgfan, in small chunks on three connections unless `options` differ."""
    recorder = recorder or Recorder()
    answers: list[Result] = []
    defaults: dict[str, Any] = {"split": "always", "chunk_rows": 7, "jobs": 3}
    chosen = api.ExecOptions(**(defaults | options))
    result = api.exec(dsn, script, chosen, progress=recorder, on_result=answers.extend)
    return Outcome(result, recorder, answers)


def differences(dsn: str, left: str, right: str) -> tuple[int, int]:
    """How many rows of each table the other one lacks, duplicates and spelling counted."""
    # Aliases that no table in the tests has as a column.
    statement = (
        "WITH one_row AS (SELECT left_row::text FROM {l} left_row), "
        "other_row AS (SELECT right_row::text FROM {r} right_row) SELECT "
        "(SELECT count(*) FROM (TABLE one_row EXCEPT ALL TABLE other_row) x), "
        "(SELECT count(*) FROM (TABLE other_row EXCEPT ALL TABLE one_row) y)"
    )
    names = {"l": sql.Identifier(left), "r": sql.Identifier(right)}
    row = connected(dsn).execute(sql.SQL(statement).format(**names)).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def both_ways(
    dsn: str,
    case: Case,
    recorder: Recorder | None = None,
    **options: Any,  # noqa: ANN401  # options of several types
) -> Outcome:
    """Fill the two tables, and fail unless they hold the same rows."""
    execute(dsn, *case.setup)
    execute(dsn, *(f"CREATE TABLE {name} ({case.columns})" for name in (SERIAL, SPLIT)))
    execute_alone(dsn, case.script.replace("{target}", SERIAL))
    outcome = pgfan(dsn, case.script.replace("{target}", SPLIT), recorder, **options)
    assert outcome.result.ok, outcome.result.error
    assert differences(dsn, SERIAL, SPLIT) == (0, 0)
    rows = value(dsn, f"SELECT count(*) FROM {SERIAL}")
    assert case.rows is None or rows == case.rows
    return outcome


def split_both_ways(
    dsn: str,
    case: Case,
    recorder: Recorder | None = None,
    **options: Any,  # noqa: ANN401  # options of several types
) -> Outcome:
    """As `both_ways`, and the last statement must have been split."""
    outcome = both_ways(dsn, case, recorder, **options)
    assert outcome.last.verdict == "split", outcome.last.reasons
    assert outcome.last.chunks >= case.chunks_min
    assert outcome.last.rows == value(dsn, f"SELECT count(*) FROM {SPLIT}")
    return outcome


def make_targets(dsn: str, sources: Sequence[str], columns: str, fill: str) -> None:
    """The sources, and two equal targets: `fill` puts rows into {target}."""
    execute(dsn, *sources)
    for name in (SERIAL, SPLIT):
        execute(dsn, f"CREATE TABLE {name} ({columns})", fill.replace("{target}", name))


def tag_of(dsn: str, statement: str) -> str:
    """Run a statement on one connection; its command tag."""
    return connected(dsn).execute(statement.encode()).statusmessage or ""


def assert_split_alike(dsn: str, statement: str, key: str) -> None:
    """Split on `key`, {target} has the same rows afterwards, and the tag is the same."""
    tag = tag_of(dsn, statement.replace("{target}", SERIAL))
    outcome = pgfan(dsn, statement.replace("{target}", SPLIT), chunk_rows=40)
    assert outcome.result.ok, outcome.result.error
    assert (outcome.last.verdict, outcome.last.key) == ("split", key), outcome.last.reasons
    assert outcome.last.chunks > 2
    assert outcome.tags == [tag]
    assert differences(dsn, SERIAL, SPLIT) == (0, 0)
