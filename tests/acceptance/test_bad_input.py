"""Input that is wrong, huge or in motion: PostgreSQL's own error in its place, or the same rows.

Whatever it is, exec, plan and verify agree with one connection, and no task is left running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from side_by_side import (
    Recorder,
    execute,
    execute_alone,
    pgfan,
    query,
    reused_dsn,
    value,
)

from pgfan import api
from pgfan.errors import DatabaseError, PgfanError, UsageError
from pgfan.postgres import analysis, catalog, snapshot
from pgfan.verify import VerifyOptions, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pgfan.plan.preview import StatementPlan

dsn = reused_dsn

pytestmark = pytest.mark.timeout(120)
SETUP = (
    "CREATE TABLE a (i int, k int, v text)",
    "INSERT INTO a SELECT g, NULLIF(g % 20, 7), md5(g::text) FROM generate_series(1, 900) g",
    "CREATE INDEX ON a (k)",
    "CREATE TABLE b (k int, name text)",
    "INSERT INTO b SELECT g, 'n' || g FROM generate_series(0, 19) g",
    "CREATE TABLE t (i int, v text)",
    "ANALYZE",
)
RUNNING = "SELECT count(*) FROM pgfan.{} WHERE state = 'running'"


@pytest.fixture
def made(dsn: str) -> str:
    execute(dsn, *SETUP)
    return dsn


@pytest.fixture
def role(made: str) -> Iterator[str]:
    """A role that may write t, make schemas, and nothing else."""
    execute(
        made,
        "CREATE ROLE limited LOGIN",
        "GRANT ALL ON SCHEMA public TO limited",
        "GRANT CREATE ON DATABASE acceptance TO limited",
        "GRANT ALL ON t TO limited",
    )
    try:
        yield f"{made} user=limited"
    finally:
        execute(made, "DROP OWNED BY limited CASCADE", "DROP ROLE limited")


def plan(dsn: str, script: str) -> StatementPlan:
    options = api.ExecOptions(split="always", chunk_rows=100, jobs=2)
    return api.plan(dsn, script, options)[-1]


def by_one_connection(dsn: str, statement: str) -> tuple[str, str, int | None]:
    """PostgreSQL's message, SQLSTATE and offset for a statement that fails."""
    with pytest.raises(psycopg.Error) as failed, psycopg.connect(dsn) as connection:
        connection.execute(statement.encode())
    found = failed.value.diag
    position = found.statement_position
    offset = int(position) - 1 if position else None
    return found.message_primary or "", found.sqlstate or "", offset


def assert_as_psql(error: PgfanError | None, expected: tuple[str, str, int | None]) -> None:
    """The server's own error, at its own place in a statement that is the second line of -c."""
    message, sqlstate, offset = expected
    assert isinstance(error, DatabaseError), error
    assert (error.message, error.sqlstate) == (message, sqlstate)
    assert str(error.position) == f"-c:2:{(offset or 0) + 1}"


def assert_nothing_runs(dsn: str) -> None:
    assert value(dsn, RUNNING.format("run")) == 0
    tasks = "SELECT count(*) FROM pgfan.task JOIN pgfan.run r ON r.id = run "
    assert value(dsn, f"{tasks} WHERE task.state = 'running' AND r.state <> 'interrupted'") == 0


def filled(dsn: str, statement: str) -> list[tuple[Any, ...]]:
    """What one connection leaves in t, which is empty again afterwards."""
    execute_alone(dsn, statement)
    rows = query(dsn, "SELECT t::text, count(*) FROM t GROUP BY 1 ORDER BY 1")
    execute(dsn, "TRUNCATE t")
    return rows


WRONG = {
    "a function": "INSERT INTO t SELECT i, no_such(v) FROM a",
    "an overload": "INSERT INTO t SELECT i, lower(i) FROM a",
    "an operator": "INSERT INTO t SELECT i, v FROM a WHERE v = ANY (ARRAY[1])",
    "a type": "INSERT INTO t SELECT i::no_such, v FROM a",
    "a collation": "INSERT INTO t SELECT i, v COLLATE no_such FROM a",
    "a column": "INSERT INTO t SELECT no_such, v FROM a",
    "a column of the target": "INSERT INTO t (no_such) SELECT i FROM a",
    "a relation": "INSERT INTO t SELECT i, name FROM a JOIN no_such USING (k)",
    "a target": "INSERT INTO no_such SELECT i FROM a",
    "a schema": "INSERT INTO t SELECT i, v FROM no_such.a",
    "another database": "INSERT INTO t SELECT i, v FROM no_such.public.a",
    "an ambiguous column": "INSERT INTO t SELECT k, v FROM a, b",
    "an ambiguous group": "INSERT INTO t SELECT k, min(v) FROM a LEFT JOIN b ON true GROUP BY k",
    "ambiguous in DELETE": "DELETE FROM a USING b WHERE k = 3",
    "ambiguous in MERGE": "MERGE INTO a USING b ON k = b.k WHEN MATCHED THEN DELETE",
    "an assigned column": "UPDATE a SET no_such = 1",
    "too many columns": "INSERT INTO t SELECT i, v, k FROM a",
    "columns of other types": "INSERT INTO t SELECT v, i FROM a",
    "a new table": "CREATE TABLE n AS SELECT no_such(i) FROM a",
    "SELECT INTO": "SELECT no_such INTO n FROM a",
    "stack depth": f"INSERT INTO t {' UNION ALL '.join(['SELECT i, v FROM a'] * 10_000)}",
}


@pytest.mark.parametrize("statement", WRONG.values(), ids=list(WRONG))
def test_what_postgresql_refuses(made: str, statement: str) -> None:
    expected = by_one_connection(made, statement)
    script = f"SELECT 1;\n{statement}"
    assert_as_psql(plan(made, script).error, expected)
    outcome = pgfan(made, script, restart=True)
    assert outcome.states == ["done", "failed"]
    assert_as_psql(outcome.result.error, expected)
    found = verify(made, script, VerifyOptions(jobs=2)).statements[-1]
    assert found.state == "failed"
    assert_as_psql(found.error, expected)
    assert_nothing_runs(made)


def test_an_error_that_the_new_table_brings(made: str) -> None:
    """PostgreSQL finds it while it makes the table; nothing of it is left."""
    statement = "CREATE TABLE n AS SELECT i, i FROM a"
    outcome = pgfan(made, f"SELECT 1;\n{statement}", restart=True)
    assert_as_psql(outcome.result.error, by_one_connection(made, statement))
    assert value(made, "SELECT count(*) FROM pg_class WHERE relname LIKE 'pgfan%'") == 0
    assert_nothing_runs(made)


def nested(times: int, before: str, core: str, after: str) -> str:
    return before * times + core + after * times


CASES = nested(150, "CASE WHEN i > 1 THEN ", "true", " END")
LARGE = {
    "a literal of a megabyte": (
        f"INSERT INTO t SELECT i, left('{'x' * 1_100_000}', i) FROM a WHERE i < 300",
        "split",
    ),
    "parentheses": (f"INSERT INTO t SELECT i, v FROM a WHERE {nested(3000, '(', 'i>1', ')')}", ""),
    "five hundred conditions": (
        f"INSERT INTO t SELECT i, v FROM a WHERE {' OR '.join(['i = 1'] * 500)}",
        "split",
    ),
    "subqueries": (
        f"INSERT INTO t {nested(100, 'SELECT * FROM (', 'SELECT i, v FROM a', ') s')}",
        "serial",
    ),
    "INSERT": (f"INSERT INTO t SELECT i, v FROM a WHERE {CASES}", "split"),
    "a view": ("INSERT INTO t SELECT i, v FROM deep", "split"),
    "a default": ("INSERT INTO t (i) SELECT i FROM a", "split"),
    "MERGE": (
        (
            f"MERGE INTO t USING (SELECT i, max(v) AS v FROM a WHERE {CASES} GROUP BY i) s "
            f"ON s.i = t.i WHEN NOT MATCHED AND {CASES.replace('i >', 's.i >')} "
            "THEN INSERT VALUES (s.i, s.v)"
        ),
        "split",
    ),
}


@pytest.mark.parametrize(("statement", "verdict"), LARGE.values(), ids=list(LARGE))
def test_what_is_large_or_nested(made: str, statement: str, verdict: str) -> None:
    execute(
        made,
        f"CREATE VIEW deep AS SELECT i, v FROM a WHERE {CASES}",
        f"ALTER TABLE t ALTER v SET DEFAULT {nested(150, '(1 + ', '1', ')')}",
        "CREATE UNIQUE INDEX ON a (i)",
    )
    expected = filled(made, statement)
    assert expected
    assert plan(made, statement).verdict == verdict or not verdict
    outcome = pgfan(made, statement, chunk_rows=100, restart=True)
    assert outcome.result.ok, outcome.result.error
    assert outcome.last.verdict == verdict or not verdict, outcome.last.reasons
    assert query(made, "SELECT t::text, count(*) FROM t GROUP BY 1 ORDER BY 1") == expected
    execute(made, "TRUNCATE t")
    (found,) = verify(made, statement, VerifyOptions(jobs=2)).statements
    assert found.state in {"equal", "one connection"}, (found.error, found.notes)
    assert_nothing_runs(made)


@pytest.mark.parametrize("statement", ["CREATE TABLE n AS SELECT {}", "SELECT {}"])
def test_a_new_table_from_a_nested_query(made: str, statement: str) -> None:
    query_text = "i, v INTO n FROM a" if statement == "SELECT {}" else "i, v FROM a"
    script = f"{statement.format(query_text)} WHERE {CASES}"
    outcome = pgfan(made, script, chunk_rows=100, restart=True)
    assert outcome.result.ok, outcome.result.error
    assert (outcome.last.verdict, outcome.last.rows) == ("split", 899)
    (found,) = verify(made, script, VerifyOptions(jobs=2)).statements
    assert found.state == "equal", (found.error, found.notes)


def test_what_no_parser_reads(made: str) -> None:
    """Refused before anything is run, with its place and what to do."""
    text = nested(60_000, "NOT (", "true", ")")
    for command in (plan, pgfan, verify):
        with pytest.raises(UsageError, match="memory exhausted") as refused:
            command(made, f"SELECT 1;\nINSERT INTO t SELECT i, v FROM a WHERE {text}")
        assert str(refused.value.position).startswith("-c:2:")
        assert "nested too deeply" in (refused.value.hint or "")


QUOTED = [
    'INSERT INTO "T".t SELECT "select", "a b" FROM "T"."x""y.z"',
    'INSERT INTO "T".t SELECT "größe", min("a b") FROM "T"."x""y.z" GROUP BY "größe"',
    'UPDATE "T"."x""y.z" SET "select" = "größe"',
    'DELETE FROM "T"."x""y.z" AS "a ""b" WHERE "a ""b"."größe" = 3',
    'CREATE TABLE "T"."n o.w" AS SELECT "select" AS "a""b" FROM "T"."x""y.z"',
    (
        'MERGE INTO "T"."x""y.z" AS "x y" USING b ON "x y"."größe" = b.k '
        'WHEN MATCHED THEN UPDATE SET "a b" = name'
    ),
]


@pytest.mark.parametrize("statement", QUOTED)
def test_names_that_need_quotes(made: str, statement: str) -> None:
    execute(
        made,
        'CREATE SCHEMA "T"',
        'CREATE TABLE "T"."x""y.z" ("select" int, "a b" text, "größe" int)',
        """INSERT INTO "T"."x""y.z" SELECT g, 'x' || g, g % 20 FROM generate_series(1, 900) g""",
        'CREATE INDEX ON "T"."x""y.z" ("größe")',
        "CREATE INDEX ON b (k)",
        'CREATE TABLE "T".t (i int, v text)',
        "ANALYZE",
    )
    assert plan(made, statement).verdict == "split"
    (found,) = verify(made, statement, VerifyOptions(jobs=2)).statements
    assert (found.state, found.chunks > 1) == ("equal", True), (found.error, found.notes)
    outcome = pgfan(made, statement, chunk_rows=100, restart=True)
    assert outcome.result.ok, outcome.result.error
    assert outcome.last.verdict == "split"
    assert_nothing_runs(made)


# Relations that change while they are looked at --------------------------------------------------

SPLIT = "INSERT INTO t SELECT a.i, b.name FROM a JOIN b USING (k)"
GROUPED = "INSERT INTO t SELECT k, min(v) FROM a GROUP BY k"
CHANGES = {
    "a source is dropped": "DROP TABLE b",
    "the target is dropped": "DROP TABLE t",
    "a source's column is dropped": "ALTER TABLE b DROP COLUMN name",
    "a source's column is renamed": "ALTER TABLE a RENAME COLUMN k TO l",
    "a source is renamed": "ALTER TABLE a RENAME TO renamed",
    "a column's type is another": "ALTER TABLE a ALTER COLUMN k TYPE text",
    "the target's column is dropped": "ALTER TABLE t DROP COLUMN v",
    "a view takes its place": "ALTER TABLE b RENAME TO c; CREATE VIEW b AS TABLE c",
}


def before_the_lock(change: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have `change` happen once, when everything is decided and nothing is locked yet."""
    sound = snapshot.SnapshotHolder.open
    changed: list[bool] = []

    def late(*arguments: Any) -> Any:  # noqa: ANN401  # as the method's
        if not changed:
            changed.append(True)
            change()
        return sound(*arguments)

    monkeypatch.setattr(snapshot.SnapshotHolder, "open", late)


@pytest.mark.parametrize("statement", [SPLIT, GROUPED], ids=["join", "group"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_changed_between_the_analysis_and_the_chunks(
    made: str, change: str, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one connection does after the change: its error in its place, or its rows."""
    before_the_lock(lambda: execute_alone(made, change), monkeypatch)
    outcome = pgfan(made, f"SELECT 1;\n{statement}", chunk_rows=100, restart=True)
    assert_nothing_runs(made)
    if outcome.result.ok:
        rows = query(made, "SELECT t::text, count(*) FROM t GROUP BY 1 ORDER BY 1")
        execute(made, "TRUNCATE t")
        assert rows == filled(made, statement)
    else:
        message, sqlstate, _ = by_one_connection(made, statement)
        error = outcome.result.error
        assert isinstance(error, DatabaseError)
        assert (error.message, error.sqlstate) == (message, sqlstate)
        assert str(error.position).startswith("-c:2:")


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_changed_while_it_is_planned(
    made: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_lock(lambda: execute_alone(made, change), monkeypatch)
    found = plan(made, f"SELECT 1;\n{SPLIT}")
    if found.error is not None:
        assert_as_psql(found.error, by_one_connection(made, SPLIT))
    else:
        filled(made, SPLIT)


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_changed_between_the_facts_and_the_explain(
    made: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = catalog.read_facts
    changed: list[bool] = []

    def early(*arguments: Any) -> Any:  # noqa: ANN401  # as the function's
        facts = sound(*arguments)
        if not changed:
            changed.append(True)
            execute_alone(made, change)
        return facts

    monkeypatch.setattr(analysis, "read_facts", early)
    outcome = pgfan(made, f"SELECT 1;\n{SPLIT}", chunk_rows=100, restart=True)
    assert_nothing_runs(made)
    if not outcome.result.ok:
        assert_as_psql(outcome.result.error, by_one_connection(made, SPLIT))


@pytest.mark.parametrize("change", ["DROP TABLE b", "DROP TABLE t", "ALTER TABLE a DROP COLUMN i"])
def test_nobody_changes_what_the_chunks_use(made: str, change: str) -> None:
    refused: list[psycopg.Error] = []

    def drop(_: int) -> None:
        try:
            execute_alone(made, f"SET lock_timeout = 50; {change}")
        except psycopg.errors.LockNotAvailable as error:
            refused.append(error)

    outcome = pgfan(made, SPLIT, Recorder(at_chunk=drop), chunk_rows=100, jobs=1, restart=True)
    assert outcome.result.ok, outcome.result.error
    assert len(refused) >= outcome.last.chunks - 1
    assert value(made, "SELECT count(*) FROM t") == 855


@pytest.mark.parametrize("change", ["DROP TABLE a", "ALTER TABLE a DROP COLUMN v"])
def test_dropped_between_plan_and_run(made: str, change: str) -> None:
    script = "SELECT 1;\nINSERT INTO t SELECT i, v FROM a"
    assert plan(made, script).verdict == "split"
    execute(made, change)
    outcome = pgfan(made, script, restart=True)
    expected = by_one_connection(made, "INSERT INTO t SELECT i, v FROM a")
    assert_as_psql(outcome.result.error, expected)
    assert_nothing_runs(made)


# Views -------------------------------------------------------------------------------------------


def test_views_on_views_and_recursive_ones(made: str) -> None:
    execute(
        made,
        "CREATE VIEW v1 AS SELECT i, v, k FROM a",
        *(f"CREATE VIEW v{n} AS SELECT * FROM v{n - 1} WHERE i > {n}" for n in range(2, 31)),
        "CREATE RECURSIVE VIEW r (i) AS SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 50",
    )
    for view, verdict in (
        ("v3", "split"),
        ("v30", "serial"),
        ("(SELECT i, 'x' AS v FROM r) r", ""),
    ):
        statement = f"INSERT INTO t SELECT i, v FROM {view}"
        expected = filled(made, statement)
        outcome = pgfan(made, statement, chunk_rows=100, restart=True)
        assert outcome.result.ok, outcome.result.error
        assert outcome.last.verdict == (verdict or "serial")
        assert query(made, "SELECT t::text, count(*) FROM t GROUP BY 1 ORDER BY 1") == expected
        execute(made, "TRUNCATE t")
    assert_nothing_runs(made)


# Roles -------------------------------------------------------------------------------------------

PARTLY: dict[str, tuple[Sequence[str], str, str]] = {
    "some columns": (("GRANT SELECT (i, v) ON a TO limited",), "SELECT i, v FROM a", "privilege"),
    "of a joined table": (
        ("GRANT SELECT ON a TO limited", "GRANT SELECT (k, name) ON b TO limited"),
        "SELECT i, name FROM a JOIN b USING (k)",
        "privilege",
    ),
    "of a group": (
        ("GRANT SELECT (k, v) ON a TO limited",),
        "SELECT k, min(v) FROM a GROUP BY k",
        "privilege",
    ),
    "of the target": (
        (
            "GRANT SELECT ON a TO limited",
            "REVOKE ALL ON t FROM limited",
            "GRANT INSERT (i, v) ON t TO limited",
        ),
        "SELECT i, v FROM a",
        "privilege",
    ),
}


@pytest.mark.parametrize(("grants", "select", "code"), PARTLY.values(), ids=list(PARTLY))
def test_a_role_that_may_use_some_columns(
    made: str, role: str, grants: Sequence[str], select: str, code: str
) -> None:
    """LOCK TABLE takes the privilege on the table: so there is nothing to hold still."""
    execute(made, *grants)
    statement = f"INSERT INTO t (i, v) {select}"
    execute_alone(role, statement)
    expected = query(made, "SELECT t::text, count(*) FROM t GROUP BY 1 ORDER BY 1")
    execute(made, "TRUNCATE t")
    assert dict(plan(role, statement).reasons).keys() == {code}
    (found,) = verify(role, statement, VerifyOptions(jobs=2)).statements
    assert found.state == "one connection", found.error
    outcome = pgfan(role, statement, chunk_rows=100, journal_schema=None)
    assert outcome.result.ok, outcome.result.error
    assert outcome.last.verdict == "serial"
    assert dict(outcome.last.reasons).keys() == {code}
    assert query(made, "SELECT t::text, count(*) FROM t GROUP BY 1 ORDER BY 1") == expected


CHANGED = ["UPDATE a SET v = 'x'", "DELETE FROM a", "UPDATE a SET v = 'x' FROM b"]


@pytest.mark.parametrize("statement", CHANGED)
def test_a_role_that_may_change_what_it_may_not_read(made: str, role: str, statement: str) -> None:
    execute(made, "GRANT UPDATE, DELETE ON a TO limited", "GRANT SELECT ON b TO limited")
    outcome = pgfan(role, statement, chunk_rows=100, journal_schema=None)
    assert outcome.result.ok, outcome.result.error
    assert (outcome.last.verdict, outcome.last.rows) == ("serial", 900)


def test_a_role_that_sees_no_statistics(made: str, role: str) -> None:
    """A sample takes their place."""
    execute(made, "GRANT SELECT ON a TO limited", "REVOKE SELECT ON pg_stats FROM public")
    try:
        outcome = pgfan(role, GROUPED, journal_schema=None)
        (found,) = verify(role, GROUPED, VerifyOptions(jobs=2, lock=False)).statements
    finally:
        execute(made, "GRANT SELECT ON pg_stats TO public")
    assert outcome.result.ok, outcome.result.error
    assert (outcome.last.verdict, outcome.last.key) == ("split", "k")
    assert found.state == "equal", found.error
    rows = query(made, "SELECT t::text, count(*) FROM t GROUP BY 1 ORDER BY 1")
    execute(made, "TRUNCATE t")
    assert rows == filled(made, GROUPED)


NOT_ALLOWED = {
    "a source": "INSERT INTO t SELECT i, v FROM a",
    "a column": "INSERT INTO t SELECT k, name FROM b",
    "a source's schema": "INSERT INTO t SELECT i, v FROM closed.a",
    "the target's schema": "INSERT INTO closed.t SELECT g, 'x' FROM generate_series(1, 900) g",
    "both": "INSERT INTO closed.t SELECT i, v FROM closed.a",
    "UPDATE": "UPDATE b SET name = 'x'",
    "DELETE": "DELETE FROM closed.a",
}


@pytest.mark.parametrize("statement", NOT_ALLOWED.values(), ids=list(NOT_ALLOWED))
def test_what_a_role_may_not_do(made: str, role: str, statement: str) -> None:
    execute(
        made,
        "GRANT SELECT (name) ON b TO limited",
        "CREATE SCHEMA closed",
        "CREATE TABLE closed.a AS TABLE a",
        "CREATE TABLE closed.t AS TABLE t",
        "GRANT ALL ON ALL TABLES IN SCHEMA closed TO limited",
    )
    expected = by_one_connection(role, statement)
    assert expected[1] == "42501"
    script = f"SELECT 1;\n{statement}"
    assert_as_psql(plan(role, script).error, expected)
    assert_as_psql(pgfan(role, script, journal_schema=None).result.error, expected)
    found = verify(role, script, VerifyOptions(jobs=2)).statements[-1]
    assert found.state == "failed"
    assert_as_psql(found.error, expected)


@pytest.mark.parametrize("source", ["a", "seen"])
def test_verify_without_the_right_to_lock(made: str, role: str, source: str) -> None:
    """Reading takes SELECT, locking takes more: the message names the table and the way out."""
    execute(
        made,
        "GRANT SELECT ON a TO limited",
        "CREATE VIEW seen AS TABLE a",
        "GRANT SELECT ON seen TO limited",
    )
    statement = f"INSERT INTO t SELECT i, v FROM {source}"
    (found,) = verify(role, statement, VerifyOptions(jobs=2)).statements
    assert found.error is not None
    assert found.error.message.startswith('the role may not lock "public"."a"')
    assert "--no-lock" in (found.error.hint or "")
    (without,) = verify(role, statement, VerifyOptions(jobs=2, lock=False)).statements
    assert without.state == "equal", without.error
