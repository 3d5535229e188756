"""Statements verified on real servers: the same rows, broken splits found, nothing touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from msgspec.structs import replace

from pgfan import api
from pgfan.execute.outcome import RunResult, TaskOutcome
from pgfan.plan.task import SplitPlan
from pgfan.verify import VerifyOptions, verify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.execute.verdicts import VerifiedStatement
    from pgfan.plan.ranges import Range

SOURCE = """
CREATE TABLE src (i int PRIMARY KEY, t text, j json);
INSERT INTO src SELECT g, 'x' || g % 7, '{"a": 1}' FROM generate_series(1, 3000) g;
ANALYZE src"""

RELATIONS = """
SELECT c.oid::regclass::text, c.relkind::text, c.relfilenode
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_(catalog|toast)$' AND n.nspname <> 'information_schema'
ORDER BY 1"""


def execute(dsn: str, *scripts: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for script in scripts:
            connection.execute(script.encode())


def state(dsn: str) -> list[Any]:
    """Every schema, and every relation outside of the system's, with its file and its rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        found: list[Any] = connection.execute(
            # PostgreSQL keeps the empty schema of a session's temporary tables for the next one.
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_' ORDER BY 1"
        ).fetchall()
        for name, kind, file in connection.execute(RELATIONS.encode()).fetchall():
            rows = []
            if kind in {"r", "p", "S"}:
                what = "r.last_value, r.is_called" if kind == "S" else "r::text"
                rows = connection.execute(f"SELECT {what} FROM {name} r".encode()).fetchall()
            found.append((name, kind, file, rows))
        return found


def verified(dsn: str, sql: str, **options: Any) -> VerifiedStatement:  # noqa: ANN401  # of several types
    """The verdict on the last statement; the database is what it was."""
    before = state(dsn)
    result = verify(dsn, sql, VerifyOptions(**({"jobs": 2} | options)))
    assert state(dsn) == before
    return result.statements[-1]


EQUAL = [
    ("t (i int, t text, j json)", "INSERT INTO t SELECT * FROM src", set()),
    ("t (i int)", "INSERT INTO t SELECT g FROM generate_series(1, 999) g", set()),
    ("t (i int, i2 int DEFAULT 7, n int)", "INSERT INTO t (n) SELECT i FROM src", set()),
    ("t (id serial PRIMARY KEY, i int)", "INSERT INTO t (i) SELECT i FROM src", {"id"}),
    ("t (id serial PRIMARY KEY, i int)", "INSERT INTO t SELECT i, i FROM src", set()),
    (
        "t (id bigint GENERATED ALWAYS AS IDENTITY, i int)",
        "INSERT INTO t (i) SELECT i FROM src",
        {"id"},
    ),
    (
        "t (i int, at timestamptz DEFAULT now(), d date DEFAULT CURRENT_DATE)",
        "INSERT INTO t SELECT i FROM src",
        set(),
    ),
    ("t (i int, at timestamptz)", "INSERT INTO t SELECT i, now() FROM src", set()),
    ("t (i int, r float DEFAULT random())", "INSERT INTO t SELECT i FROM src", {"r"}),
    ("t (r float)", "INSERT INTO t SELECT random() FROM src", {"r"}),
    (
        "t (i int, g int GENERATED ALWAYS AS (i * 2) STORED)",
        "INSERT INTO t SELECT i FROM src",
        set(),
    ),
    (
        "t (x json, p point, b box, a int[], s text)",
        "INSERT INTO t SELECT j, point(i, i), NULL, ARRAY[i], '' FROM src",
        set(),
    ),
    ("t (i int) PARTITION BY RANGE (i)", "INSERT INTO t SELECT i FROM src", set()),
    ('"T ""a\'b" (i int)', 'INSERT INTO "T ""a\'b" SELECT i FROM src', set()),
    ('t ("select" int, "A %s {row}" int)', "INSERT INTO t SELECT i, -i FROM src", set()),
]


@pytest.mark.parametrize(("columns", "sql", "left_out"), EQUAL)
def test_the_same_rows(dsn: str, columns: str, sql: str, left_out: set[str]) -> None:
    execute(dsn, SOURCE, f"CREATE TABLE {columns}")
    if "PARTITION" in columns:
        execute(dsn, "CREATE TABLE t_1 PARTITION OF t DEFAULT")
    found = verified(dsn, sql)
    assert (found.state, found.error, found.reasons) == ("equal", None, ())
    assert found.rows_serial == found.rows_split
    assert found.chunks > 1
    assert set(found.left_out or ()) == left_out


def test_rows_that_are_there_and_sequences_that_have_begun(dsn: str) -> None:
    execute(
        dsn,
        SOURCE,
        "CREATE TABLE t (id serial PRIMARY KEY, i int UNIQUE)",
        "INSERT INTO t (i) SELECT -g FROM generate_series(1, 50) g",
        'CREATE SEQUENCE "Own s" INCREMENT BY -3',
        """SELECT nextval('"Own s"')""",
    )
    assert verified(dsn, "INSERT INTO t (i) SELECT i FROM src").state == "equal"
    sql = """INSERT INTO t (i) SELECT 1000 - nextval('"Own s"') FROM src"""
    drawn = verified(dsn, sql)
    assert (drawn.state, set(drawn.left_out or ())) == ("equal", {"i", "id"})


def test_search_path_and_settings_of_the_script(dsn: str) -> None:
    execute(
        dsn,
        SOURCE,
        'CREATE SCHEMA "My s"; CREATE TABLE "My s".t (i int, t text)',
        'CREATE DOMAIN pos AS int DEFAULT 5 CHECK (VALUE > 0); ALTER TABLE "My s".t ADD p pos',
    )
    script = """SET search_path = "My s", public; -- a comment at the end
        SET timezone = 'Asia/Tokyo';
        INSERT INTO t SELECT i, to_char(now(), 'HH24:MI TZ') FROM src"""
    assert verified(dsn, script).state == "equal"


def test_a_source_of_the_same_name(dsn: str) -> None:
    execute(dsn, SOURCE, "CREATE SCHEMA clean; CREATE TABLE clean.src (i int, t text)")
    found = verified(dsn, "INSERT INTO clean.src SELECT src.i, public.src.t FROM src")
    assert (found.state, found.rows_split) == ("equal", 3000)


def test_no_rows_are_said_to_test_nothing(dsn18: str) -> None:
    execute(dsn18, SOURCE, "CREATE TABLE t (i int)")
    found = verified(dsn18, "INSERT INTO t SELECT i FROM src WHERE i < 0")
    assert found.state == "equal"
    assert "no row was written" in found.notes[0]


def test_psql_variables_and_an_unlogged_target(dsn18: str) -> None:
    execute(dsn18, SOURCE, "CREATE UNLOGGED TABLE t (i int)")
    sql = "INSERT INTO t SELECT i FROM src WHERE i < :most"
    found = verified(dsn18, sql, variables={"most": "100"})
    assert (found.state, found.rows_split) == ("equal", 99)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("INSERT INTO t SELECT count(*) FROM src", "aggregate"),
        ("INSERT INTO t VALUES (1)", "not-insert-select"),
        ("INSERT INTO audited SELECT i FROM src", "trigger"),
        ("INSERT INTO t SELECT f(i) FROM src", "function-volatile"),
        ("BEGIN; INSERT INTO t SELECT i FROM src; COMMIT", "transaction-block"),
    ],
)
def test_what_is_not_split_is_not_run(dsn18: str, sql: str, code: str) -> None:
    execute(
        dsn18,
        SOURCE,
        "CREATE TABLE t (i int); CREATE TABLE audited (i int); CREATE TABLE log (i int)",
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'INSERT INTO log VALUES ($1) "
        "RETURNING i'",
        "CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER tr BEFORE INSERT ON audited FOR EACH ROW EXECUTE FUNCTION g()",
    )
    found = verified(dsn18, sql)
    assert found.state == "one connection"
    assert code in {reason for reason, _ in found.reasons}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM src",
        "CREATE TABLE n (i int)",
        "DROP TABLE src",
        "TRUNCATE src",
        "INSERT INTO t SELECT i FROM src WHERE random() < 0.5",
        "WITH d AS (DELETE FROM src RETURNING i) INSERT INTO t SELECT i FROM d",
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM src",
    ],
)
def test_what_is_not_verified_is_not_run(dsn18: str, sql: str) -> None:
    execute(dsn18, SOURCE, "CREATE TABLE t (i int)")
    found = verified(dsn18, sql)
    assert found.state == "not verified"
    assert found.notes


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("INSERT INTO t SELECT i + 0 / (i - 17) FROM src", "division by zero"),
        ("INSERT INTO t SELECT i FROM nowhere", "does not exist"),
        ("INSERT INTO nowhere SELECT i FROM src", "does not exist"),
        ("INSERT INTO t SELECT nothing FROM src", "does not exist"),
        ("INSERT INTO t SELECT i % 10 FROM src", "duplicate key"),
    ],
)
def test_a_statement_that_fails(dsn18: str, sql: str, message: str) -> None:
    execute(dsn18, SOURCE, "CREATE TABLE t (i int UNIQUE)")
    found = verified(dsn18, sql)
    assert found.state == "failed"
    assert found.error is not None
    assert message in found.error.message


# A split that is wrong ---------------------------------------------------------------------------


CHANGES = [
    "UPDATE goal SET n = n + 1 WHERE i % 3 = 0",
    "UPDATE goal z SET n = (SELECT count(*) FROM goal y WHERE y.k = z.k)",
    "UPDATE goal SET n = src.i FROM src WHERE src.i = goal.i",
    "DELETE FROM goal WHERE k = 3",
    "DELETE FROM goal USING src WHERE src.i = goal.i AND src.t = 'x3'",
    "INSERT INTO goal SELECT i + 100000, count(*) FROM src GROUP BY i",
    "WITH w AS (SELECT DISTINCT i FROM src) INSERT INTO goal SELECT i + 100000 FROM w",
    "INSERT INTO goal SELECT i, 1 FROM src ON CONFLICT (i) DO UPDATE SET n = goal.n + EXCLUDED.k",
    "INSERT INTO goal SELECT i FROM src ON CONFLICT ON CONSTRAINT goal_pkey DO UPDATE SET n = 7",
    "INSERT INTO goal SELECT i, i FROM src ON CONFLICT DO NOTHING",
    "INSERT INTO goal SELECT g FROM generate_series(1, 3000) g ON CONFLICT (i) DO NOTHING",
    """MERGE INTO goal USING src ON goal.i = src.i WHEN MATCHED AND src.t = 'x3' THEN DELETE
    WHEN MATCHED THEN UPDATE SET n = goal.n + 1
    WHEN NOT MATCHED THEN INSERT (i, k) VALUES (src.i, 5)""",
]


@pytest.mark.parametrize("sql", CHANGES)
def test_changes_and_groups_that_are_split(dsn: str, sql: str) -> None:
    make = "CREATE TABLE goal (i int PRIMARY KEY, k int, n bigint)"
    fill = "INSERT INTO goal SELECT g, g % 50, 0 FROM generate_series(1, 2000) g"
    execute(dsn, SOURCE, make, fill, "ANALYZE goal")
    statement = verified(dsn, sql)
    assert statement.state == "equal", statement
    assert statement.chunks > 1


def break_chunks(monkeypatch: pytest.MonkeyPatch, *, low: int, high: int, of: str) -> None:
    """Have the chunk that starts at 0 work on another range: `low` and `high` are added to it."""
    sound = SplitPlan.statement

    def broken(plan: SplitPlan, piece: Range) -> str:
        if piece.lo == 0:
            assert plan.key == of
            return sound(plan, replace(piece, lo=piece.lo + low, hi=piece.hi + high))
        return sound(plan, piece)

    monkeypatch.setattr(SplitPlan, "statement", broken)


def test_a_chunk_that_is_skipped(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(dsn, SOURCE, "CREATE TABLE t (i int, x text)")
    sound = SplitPlan.statement

    def skipping(plan: SplitPlan, piece: Range) -> str:
        return sound(plan, piece) + (" AND false" if piece.lo == 0 else "")

    monkeypatch.setattr(SplitPlan, "statement", skipping)
    found = verified(dsn, "INSERT INTO t SELECT i, t FROM src")
    assert found.state == "differs"
    assert (found.only_serial.total, found.only_split.total) == (
        (found.rows_serial or 0) - (found.rows_split or 0),
        0,
    )
    assert found.only_serial.shown[0] == ("(1,x1)", 1)
    assert len(found.only_serial.shown) == 10


def test_a_range_that_is_read_twice(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(dsn, "CREATE TABLE t (i int)")
    break_chunks(monkeypatch, low=0, high=1, of="series")
    found = verified(dsn, "INSERT INTO t SELECT g FROM generate_series(1, 500) g", chunk_rows=10)
    assert (found.state, found.only_serial.total) == ("differs", 0)
    assert (found.only_split.total, found.only_split.shown) == (1, (("(11)", 1),))


def test_a_difference_in_columns_that_cannot_be_compared_is_one_of_numbers(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(dsn, "CREATE TABLE t (r float)")
    break_chunks(monkeypatch, low=0, high=2, of="series")
    sql = "INSERT INTO t SELECT random() FROM generate_series(1, 500) g"
    found = verified(dsn, sql, chunk_rows=10)
    assert (found.state, found.only_split.shown) == ("differs", (("()", 2),))


def test_a_split_that_fails(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(dsn, SOURCE, "CREATE TABLE t (i int)")
    monkeypatch.setattr(SplitPlan, "statement", lambda _plan, _piece: "SELECT 1 / (SELECT 0)")
    found = verified(dsn, "INSERT INTO t SELECT i FROM src")
    assert found.state == "failed"
    assert found.error is not None
    assert "the split one failed" in found.error.message


NEW = [
    "CREATE TABLE n AS SELECT i, t, now() FROM src",
    "CREATE TABLE public.n (a, b) AS SELECT i, random() FROM src",
    "CREATE UNLOGGED TABLE IF NOT EXISTS src WITH (fillfactor = 20) AS SELECT i, 'x' FROM src",
    "SELECT i, t INTO n FROM src",
    "CREATE TABLE n AS SELECT i % 7 AS k, count(*) FROM (SELECT DISTINCT i FROM src) s GROUP BY i",
    """CREATE TABLE "N ""'" ("A b") AS SELECT g FROM generate_series(1, 3000) g""",
]


@pytest.mark.parametrize("sql", NEW)
def test_new_tables(dsn: str, sql: str) -> None:
    execute(dsn, SOURCE)
    found = verified(dsn, sql)
    assert (found.state, found.error, found.reasons) == ("equal", None, ())
    assert found.chunks > 1
    assert found.rows_serial == found.rows_split == 3000
    assert ("b" in (found.left_out or ())) is ("random" in sql)


def test_a_new_table_that_lacks_rows(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(dsn, SOURCE)
    statement = SplitPlan.statement
    monkeypatch.setattr(
        SplitPlan,
        "statement",
        lambda plan, piece: statement(plan, piece) + (" AND false" if not piece.lo else ""),
    )
    found = verified(dsn, "CREATE TABLE n AS SELECT i FROM src")
    assert (found.state, found.only_split.total) == ("differs", 0)


# Statements that are not split yet: a stand-in runs them on one connection ---------------------


def stand_in(monkeypatch: pytest.MonkeyPatch, *, works: bool = True) -> None:
    """Have every statement called split; `works`: it is really run."""
    task = TaskOutcome("1", "-c:1", "any", "done", "split", "ctid", chunks=3)

    def plan(_dsn: str, _sql: object, _options: object) -> tuple[TaskOutcome, ...]:
        return (task,)

    def run(dsn: str, sources: Sequence[api.Source], _options: object, **_: object) -> RunResult:
        if works:
            execute(dsn, sources[0].text)
        return RunResult("none", ok=True, seconds=0.0, jobs=1, tasks=(task,))

    monkeypatch.setattr(api, "plan", plan)
    monkeypatch.setattr(api, "exec", run)


OTHERS = [
    "UPDATE t SET v = t.v + s.i FROM src s WHERE s.i = t.id",
    "UPDATE public.t SET v = public.t.v + 1 WHERE id IN (SELECT id FROM t WHERE v > 5)",
    "UPDATE ONLY t AS k SET v = k.v + 1",
    "UPDATE t SET v = 5, r = random()",
    "DELETE FROM t WHERE t.v > 3",
    "DELETE FROM t USING src WHERE src.i = t.id AND src.i % 2 = 0",
    "INSERT INTO t (id, v) SELECT i, i FROM src ON CONFLICT (id) DO UPDATE SET v = t.v + 1",
    "INSERT INTO t (id, v) SELECT id + 10000, v FROM t",
    """WITH w AS (SELECT id, max(v) AS v FROM t GROUP BY id)
    INSERT INTO t (id, v) SELECT id + 20000, v FROM w""",
]


@pytest.mark.parametrize("sql", OTHERS)
def test_other_statements(dsn: str, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(
        dsn,
        SOURCE,
        "CREATE TABLE t (id int PRIMARY KEY, v int, r float DEFAULT 0)",
        "INSERT INTO t SELECT g, g % 10 FROM generate_series(1, 500) g",
    )
    stand_in(monkeypatch)
    found = verified(dsn, sql)
    assert (found.state, found.error) == ("equal", None)
    stand_in(monkeypatch, works=False)
    found = verified(dsn, sql)
    assert found.state == "differs"
    assert found.only_serial.total + found.only_split.total > 0


MERGE = """MERGE INTO t USING src s ON t.id = s.i
WHEN MATCHED AND t.v > 5 THEN DELETE
WHEN MATCHED THEN UPDATE SET v = t.v + s.i
WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.i, s.i)"""


def test_merge(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(dsn, SOURCE, "CREATE TABLE t (id int, v int)", "INSERT INTO t SELECT i, i FROM src")
    stand_in(monkeypatch)
    found = verified(dsn, MERGE)
    assert (found.state, found.error) == ("equal", None)
    assert found.rows_serial == 3000


def test_a_copy_that_does_not_fit_is_said(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(
        dsn,
        "CREATE TABLE t (id int, v int)",
        "CREATE FUNCTION f(t) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1.id'",
    )
    stand_in(monkeypatch)
    found = verified(dsn, "UPDATE t SET v = f(t)")
    assert found.state == "not verified"
    assert "copy" in found.notes[0]


def test_a_parallel_plan_of_the_servers_own_is_verified_too(dsn: str) -> None:
    execute(
        dsn,
        "CREATE TABLE wide (i int, pad text)",
        "ALTER TABLE wide ALTER pad SET STORAGE plain",
        "INSERT INTO wide SELECT g, repeat('x', 7000) FROM generate_series(1, 1300) g",
        "ANALYZE wide",
        "CREATE TABLE t (i bigint)",
    )
    costs = "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET cpu_operator_cost = 10;"
    statement = verified(dsn, f"{costs} INSERT INTO t SELECT sum(i * 2) FROM wide")
    assert (statement.state, statement.key, statement.rows_split) == ("equal", "native", 1)
