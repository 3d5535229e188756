"""What `pgfan plan` prints, where, the code that it ends with, and that it changes nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from pgfan_command import pgfan, pgfan_here

from pgfan import api
from pgfan.errors import Position

if TYPE_CHECKING:
    from pathlib import Path
    from typing import LiteralString

    from pgfan.plan.preview import StatementPlan

INSERT = "INSERT INTO t SELECT g FROM generate_series(1, 300) g"
BUILD = """\
CREATE TABLE made AS SELECT 1 AS i;

INSERT INTO t SELECT i FROM source;
INSERT INTO t SELECT i FROM made;
BEGIN; INSERT INTO t VALUES (1); COMMIT;
"""
LOCKS = (
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
    "WHERE d.datname = current_database() AND l.pid <> pg_backend_pid()"
)
STATE = """
SELECT (SELECT count(*) FROM t), (SELECT last_value FROM n_s_seq),
    (SELECT array_agg(nspname ORDER BY nspname) FROM pg_namespace),
    (SELECT array_agg(relname || relfilenode ORDER BY oid) FROM pg_class WHERE oid > 16383),
    (SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables)
"""


@pytest.fixture
def made(dsn: str) -> str:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE t (i int); CREATE TABLE n (s serial, i int);"
            "CREATE TABLE source (i int PRIMARY KEY);"
            "INSERT INTO source SELECT g FROM generate_series(1, 10000) g; ANALYZE source"
        )
    return dsn


def test_a_script(capsys: pytest.CaptureFixture[str], made: str, tmp_path: Path) -> None:
    file = tmp_path / "b.sql"
    file.write_text(BUILD)
    ended = pgfan_here(capsys, "plan", "-d", made, "--split", "always", "-f", file)
    assert (ended.code, ended.err) == (0, "")
    blocks = ended.out.replace(f"{tmp_path}/", "").split("\n\n")
    assert len(blocks) == 5
    assert [block.split()[0] for block in blocks[:4]] == [
        "b.sql:1",
        "b.sql:3",
        "b.sql:4",
        "b.sql:5",
    ]
    first, second, third, fourth, summary = (" ".join(block.split()) for block in blocks)
    assert "one connection: " in first
    assert "split by blocks of source, 45 blocks estimate 10,000 rows, cost " in second
    assert "chunk 1 of 45 blocks, for example: INSERT INTO t SELECT i FROM source" in second
    assert "'(22,0)'::pg_catalog.tid" in second
    assert "made is not there yet: b.sql:1 makes it" in third
    assert "relation-unknown" in third
    assert "(transaction-block)" in fourth
    assert summary.startswith("4 statements: 1 split, 2 on one connection, 1 to be judged again")
    assert summary.count("not-atomic: ") == 1


def test_nothing_is_changed_or_left_locked(made: str) -> None:
    statements = [
        INSERT,
        "INSERT INTO n (i) SELECT i FROM source",
        "INSERT INTO n (i) SELECT i FROM source GROUP BY i",
        "UPDATE source SET i = i + 1",
        "DELETE FROM source",
        "CREATE TABLE new AS SELECT * FROM source",
        "SELECT nextval('n_s_seq')",
        "TRUNCATE t",
        "SET lc_time = 'nowhere'",
        "DELETE FROM source WHERE i = 3",
    ]
    locks = []

    def look(_: StatementPlan) -> None:
        locks.append(connection.execute(LOCKS).fetchone())

    with psycopg.connect(made, autocommit=True) as connection:
        before = connection.execute(STATE).fetchone()
        options = api.ExecOptions(split="always")
        plans = api.plan(made, "; ".join(statements), options, on_statement=look)
        assert connection.execute(STATE).fetchone() == before
    assert [plan.verdict for plan in plans[:3]] == ["split"] * 3
    assert locks == [(0,)] * len(statements)


def test_what_holds_the_tables_up_is_waited_for_no_longer_than_asked(made: str) -> None:
    with psycopg.connect(made) as holder:
        holder.execute("LOCK TABLE source")
        (plan,) = api.plan(f"{made} options='-c lock_timeout=50ms'", "DELETE FROM source")
    assert plan.error is not None
    assert "lock timeout" in plan.error.message


def test_a_table_that_may_be_read_and_not_locked(made: str) -> None:
    with psycopg.connect(made, autocommit=True) as connection:
        connection.execute(
            "CREATE ROLE reader; GRANT SELECT ON source, t TO reader; "
            "GRANT USAGE ON SCHEMA public TO reader"
        )
        try:
            dsn = f"{made} options='-c role=reader'"
            options = api.ExecOptions(split="always")
            (found,) = api.plan(dsn, "INSERT INTO t SELECT i FROM source", options)
        finally:
            connection.execute("DROP OWNED BY reader; DROP ROLE reader")
    assert found.error is not None
    assert "permission denied for table t" in found.error.message
    assert (found.error.position, found.verdict) == (Position("-c", 1, 1), "serial")


def test_ctrl_c_while_it_waits_for_a_lock(made: str) -> None:
    # A shell that runs the tests in the background has SIGINT ignored, and so have its children.
    words = ["env", "--default-signal=INT", sys.executable, "-m", "pgfan", "plan"]
    words += ["-d", made, "-c", "DELETE FROM source"]
    waits = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with psycopg.connect(made) as holder, psycopg.connect(made, autocommit=True) as watcher:
        holder.execute("LOCK TABLE source")
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                wait_for(watcher, waits, 1)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=30)
            finally:
                process.kill()
        wait_for(watcher, waits, 0)
    assert (process.returncode, out, err) == (130, b"", b"")


def wait_for(watcher: psycopg.Connection, query: LiteralString, count: int) -> None:
    """Until the query gives `count`; each round trip to the server is the pause."""
    deadline_s = time.monotonic() + 30
    while watcher.execute(query).fetchone() != (count,):
        assert time.monotonic() < deadline_s


def test_json(capsys: pytest.CaptureFixture[str], made: str) -> None:
    words = ("plan", "-d", made, "--json", "--split", "always", "--chunk-rows", "100")
    ended = pgfan_here(capsys, *words, "-c", INSERT, "-c", "SELECT 1")
    assert (ended.code, ended.err, ended.out.count("\n")) == (0, "", 1)
    value = json.loads(ended.out)
    insert, select = value["tasks"]
    assert (insert["verdict"], insert["key"], insert["units"]) == ("split", "series", 300)
    assert (insert["state"], insert["rows"]) == ("planned", 300)
    assert (insert["example"]["lo"], insert["example"]["hi"]) == (100, 200)
    assert (select["verdict"], select["after"]) == ("serial", ["1"])
    with psycopg.connect(made, autocommit=True) as connection:
        connection.execute(insert["example"]["sql"])
        counts = "SELECT min(i), max(i), count(*) FROM t"
        assert connection.execute(counts).fetchone() == (101, 200, 100)


def test_the_example_whole(capsys: pytest.CaptureFixture[str], made: str) -> None:
    filters = " AND ".join(f"i <> {number}" for number in range(300))
    words = ("plan", "-d", made, "--split", "always")
    sql = f"INSERT INTO t SELECT i FROM source WHERE {filters}"
    assert "lines more: --sql" in pgfan_here(capsys, *words, "-c", sql).out
    whole = " ".join(pgfan_here(capsys, *words, "--sql", "-c", sql).out.split())
    assert f"WHERE {filters}" in whole


def test_a_mistake_is_placed_as_exec_places_it(
    capsys: pytest.CaptureFixture[str], made: str
) -> None:
    script = "SET work_mem = '8MB';\nINSERT INTO t SELECT i FROM source\nWHERE nope > 3"
    planned = pgfan_here(capsys, "plan", "-d", made, "-c", script)
    run = pgfan_here(capsys, "exec", "-q", "-d", made, "-c", script)
    assert (planned.code, run.code) == (1, 1)
    assert planned.err == run.err
    assert planned.err.startswith('error: -c:3:7: column "nope" does not exist\n')
    assert 'PostgreSQL refuses it: column "nope" does not exist' in planned.out
    assert "1 with an error" in planned.out


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE made AS SELECT i, i FROM source",
        "SELECT *, i INTO made FROM source",
        "CREATE TABLE made (j, k) AS SELECT i FROM source",
        "CREATE TABLE made (j) AS SELECT i, i AS j FROM source",
    ],
)
def test_columns_that_no_table_can_have_are_errors_of_the_plan_too(
    capsys: pytest.CaptureFixture[str], made: str, statement: str
) -> None:
    options = ("--split", "always", "-d", made, "-c", statement)
    planned = pgfan_here(capsys, "plan", *options)
    run = pgfan_here(capsys, "exec", "-q", *options)
    assert (planned.code, run.code) == (1, 1)
    assert planned.err.splitlines()[0] == run.err.splitlines()[0]
    assert "split by" not in planned.out
    (fine,) = api.plan(made, "CREATE TABLE made (j) AS SELECT i, i FROM source")
    assert not fine.is_wrong


def test_a_setting_that_is_refused_spoils_no_statement_after_it(made: str) -> None:
    script = (
        "SET work_mem = '8MB'; SET lc_time = 'nowhere'; SELECT 1; SET work_mem = '9MB'; SELECT 2"
    )
    plans = api.plan(made, script)
    assert [found.is_wrong for found in plans] == [False, True, False, False, False]
    assert plans[1].error is not None
    assert "lc_time" in plans[1].error.message
    assert [plans[2].estimate is None, plans[4].estimate is None] == [False, False]
    block = "BEGIN; SET lc_time = 'nowhere'; COMMIT; SET work_mem = '9MB'; SELECT 1"
    assert [found.is_wrong for found in api.plan(made, block)] == [False] * 3


def test_statements_are_looked_at_under_their_settings(made: str) -> None:
    with psycopg.connect(made, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA s; CREATE TABLE s.only_there (i int)")
    look = "SELECT * FROM only_there"
    script = f"{look}; SET search_path = s; {look}; RESET search_path; {look}"
    wrong = [found.is_wrong for found in api.plan(made, script)]
    assert wrong == [True, False, False, False, True]


def test_syntax_errors_come_before_any_connection(capsys: pytest.CaptureFixture[str]) -> None:
    ended = pgfan_here(capsys, "plan", "-d", "host=/nonexistent", "-c", "SELECT 1;\nSELEC 2")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: -c:2:1: ")
    assert pgfan_here(capsys, "plan", "-d", "host=/nonexistent", "-c", "SELECT 1").code == 3


def test_what_an_earlier_statement_may_mend_is_no_error(
    capsys: pytest.CaptureFixture[str], made: str
) -> None:
    script = "ALTER TABLE t ADD j int; INSERT INTO t (j) SELECT i FROM source"
    ended = pgfan_here(capsys, "plan", "-d", made, "-c", script)
    assert (ended.code, ended.err) == (0, "")
    assert "refuses it as of now: -c:1:" in ended.out


def test_a_table_that_is_there_is_not_waited_for(made: str) -> None:
    script = (
        "DROP TABLE IF EXISTS source; CREATE TABLE source (i int); CREATE TABLE other (i int);"
        "INSERT INTO t SELECT i FROM source; INSERT INTO t SELECT i FROM public.other;"
        "INSERT INTO t SELECT i FROM source, elsewhere"
    )
    plans = api.plan(made, script)
    assert [plan.not_yet for plan in plans[:4]] == [()] * 4
    assert [(one.relation, one.made_by) for one in plans[4].not_yet] == [("public.other", "-c:1")]
    assert (plans[5].not_yet, plans[5].may_pass) == ((), True)


def test_inputs_are_those_of_exec(made: str, tmp_path: Path) -> None:
    file = tmp_path / "x.sql"
    file.write_text("SELECT :n;")
    ended = pgfan(
        "plan", "-d", made, "--set", "n=42", "-f", file, "-f", "-", typed=b"SELECT :n + 1"
    )
    assert ended.code == 0
    assert f"{file}:1" in ended.out
    assert "SELECT 42 + 1" in ended.out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--split", "never"), "asked-serial"),
        (("--atomic",), "atomic"),
        (("--split", "always", "--by", "ctid"), "key-not-found"),
        ((), "small"),
    ],
)
def test_options_of_a_split(
    capsys: pytest.CaptureFixture[str], made: str, words: tuple[str, ...], code: str
) -> None:
    ended = pgfan_here(capsys, "plan", "-d", made, "-c", INSERT, *words)
    assert (ended.code, f"({code})" in ended.out) == (0, True)


def test_widths_and_no_colour(made: str) -> None:
    for width in (80, 120):
        environ = {"COLUMNS": str(width)}
        ended = pgfan("plan", "-d", made, "--split", "always", "-c", BUILD, environ=environ)
        assert ended.code == 0
        assert "\x1b" not in ended.out
        longest = max(map(len, ended.out.splitlines()))
        assert width - 10 < longest <= width


def test_a_dry_run_of_exec_is_the_same_without_the_chunk(
    capsys: pytest.CaptureFixture[str], made: str
) -> None:
    words = ("-d", made, "--split", "always", "-c", BUILD)
    planned = pgfan_here(capsys, "plan", *words).out.splitlines()
    run = pgfan_here(capsys, "exec", "--dry-run", *words).out.splitlines()
    at = next(n for n, line in enumerate(planned) if line.startswith("  chunk"))
    assert run == planned[:at] + planned[planned.index("", at) :]


def test_plans_arrive_one_by_one(made: str) -> None:
    arrived: list[str] = []
    plans = api.plan(
        made, "SELECT 1; SELECT 2", on_statement=lambda found: arrived.append(found.id)
    )
    assert arrived == [found.id for found in plans] == ["1", "2"]


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    ended = pgfan_here(capsys, "plan", "--help")
    assert (ended.code, ended.err) == (0, "")
    options = ("--command", "--file", "--set", "--sql", "--json", "--by", "--split", "--dsn")
    assert all(option in ended.out for option in (*options, "--embedded", "--atomic"))
    assert not any(option in ended.out for option in ("--jobs", "--restart"))


SCRIPT = """\
CREATE TABLE made (i int);
INSERT INTO made SELECT i FROM source;
\\ir more.sql
SELECT count(*) FROM made \\g
"""
DYNAMIC = "DO $$ DECLARE said text := 'TABLE t'; BEGIN EXECUTE said; END $$;\n"


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    (tmp_path / "a.sql").write_text(SCRIPT)
    (tmp_path / "more.sql").write_text("DELETE FROM t;\n" + DYNAMIC)
    return tmp_path / "a.sql"


def test_scripts_and_what_each_task_waits_for(
    capsys: pytest.CaptureFixture[str], made: str, scripts: Path
) -> None:
    with psycopg.connect(made, autocommit=True) as connection:
        before = connection.execute(STATE).fetchone()
        ended = pgfan_here(capsys, "plan", scripts, "-d", made, "--split", "always")
        assert connection.execute(STATE).fetchone() == before
    assert (ended.code, ended.err) == (0, "")
    text = " ".join(ended.out.replace(f"{scripts.parent}/", "").split())
    assert "2 a.sql:2 INSERT INTO made SELECT i FROM source judged when it runs" in text
    assert "3 more.sql:1 DELETE FROM t split by blocks of t" in text
    assert "5 a.sql:4 SELECT count(*) FROM made" in text
    assert "4 one after the other at the most; up to 2 at once barrier: more.sql:2 waits" in text


def test_scripts_as_json(capsys: pytest.CaptureFixture[str], made: str, scripts: Path) -> None:
    ended = pgfan_here(capsys, "plan", scripts, "-d", made, "--json")
    value = json.loads(ended.out)
    assert [task["after"] for task in value["tasks"]] == [[], ["1"], [], ["2", "3"], ["4"]]
    assert [task["id"] for task in value["tasks"] if task["barrier"]] == ["4"]
    assert value["gates"] == []


def test_a_script_is_no_list_of_statements(
    capsys: pytest.CaptureFixture[str], scripts: Path
) -> None:
    ended = pgfan_here(capsys, "plan", scripts, "-d", "host=/nonexistent", "-c", "SELECT 1")
    assert (ended.code, ended.err[:6]) == (2, "error:")
    scripts.write_text("SELECT 1;\n\\! ls\n")
    ended = pgfan_here(capsys, "plan", scripts, "-d", "host=/nonexistent")
    assert (ended.code, "a.sql:2:1" in ended.err) == (2, True)


def test_a_folder(capsys: pytest.CaptureFixture[str], made: str, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("CREATE TABLE late AS SELECT i FROM early;\n")
    (tmp_path / "b.sql").write_text("CREATE TABLE early (i int);\n")
    ended = pgfan_here(capsys, "plan", tmp_path, "-d", made, "--json")
    assert ended.code == 0, ended.err
    tasks = json.loads(ended.out)["tasks"]
    assert [task["after"] for task in tasks] == [[], ["1"]]
    assert tasks[1]["title"].startswith("CREATE TABLE late")
