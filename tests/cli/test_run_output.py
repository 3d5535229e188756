r"""`pgfan run`: what it reads, what it prints and in which order, and what it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
from pgfan_command import pgfan

if TYPE_CHECKING:
    from pathlib import Path

MAIN = """
\\set ON_ERROR_STOP on
\\echo begin :name
CREATE TABLE slow AS SELECT 1 AS i FROM pg_sleep(0.3);
CREATE TABLE quick AS SELECT 2 AS i;
SELECT i AS slow FROM slow;
SELECT i AS quick FROM quick;
\\ir parts/more.sql
SET search_path = s, public;
CREATE TABLE there (i int);
SELECT tablename, schemaname FROM pg_tables WHERE tablename = 'there';
CREATE TEMP TABLE mine AS SELECT 5 AS i;
SELECT i AS mine FROM mine;
BEGIN;
\\echo in
SELECT count(*) FROM there;
COMMIT;
\\echo end
"""
MORE = "CREATE SCHEMA s;\nCOPY quick FROM stdin;\n7\n8\n\\.\n"
SAID = """begin x
SELECT 1
SELECT 1
 slow
------
    1
(1 row)

 quick
-------
     2
(1 row)

CREATE SCHEMA
COPY 2
SET
CREATE TABLE
 tablename | schemaname
-----------+------------
 there     | s
(1 row)

SELECT 1
 mine
------
    5
(1 row)

in
 count
-------
     0
(1 row)

end
"""


def scripts(folder: Path) -> Path:
    (folder / "parts").mkdir()
    (folder / "main.sql").write_text(MAIN, "utf-8")
    (folder / "parts" / "more.sql").write_text(MORE, "utf-8")
    return folder / "main.sql"


def test_answers_come_in_program_order(dsn18: str, tmp_path: Path) -> None:
    ended = pgfan("run", scripts(tmp_path), "--set", "name=x", "-d", dsn18, "--jobs", "3")
    lines = [line.rstrip() for line in ended.out.splitlines()]
    assert (ended.code, lines) == (0, SAID.splitlines()), ended.err


def test_json_is_all_there_is_on_stdout(dsn18: str, tmp_path: Path) -> None:
    ended = pgfan("run", scripts(tmp_path), "--set", "name=x", "-d", dsn18, "--json")
    found = json.loads(ended.out)
    assert (found["ok"], len(found["tasks"])) == (True, 12)
    reasons = {reason["code"] for task in found["tasks"] for reason in task["reasons"]}
    assert "session" in reasons


def test_scripts_follow_each_other(dsn18: str, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("CREATE TABLE t (i int);\n\\set v 3\n", "utf-8")
    (tmp_path / "b.sql").write_text("INSERT INTO t VALUES (:v);\n", "utf-8")
    ended = pgfan("run", "a.sql", "b.sql", "-d", dsn18, "-q", folder=tmp_path)
    assert ended.code == 0, ended.err
    found = pgfan("exec", "-c", "TABLE t", "-d", dsn18, "-q")
    assert found.out.split() == ["i", "---", "3", "(1", "row)"]


def test_standard_input(dsn18: str) -> None:
    ended = pgfan("run", "-d", dsn18, "-q", typed=b"\\echo hello\nSELECT 1 AS one;\n")
    assert (ended.code, ended.out.split()[0]) == (0, "hello")


def test_nothing_runs_when_something_is_refused(dsn18: str, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("CREATE TABLE t (i int);\n  \\! rm -rf x\n", "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, folder=tmp_path)
    assert ended.code == 2
    assert "a.sql:2:3" in ended.err
    assert "shell" in ended.err
    found = pgfan("exec", "-c", "SELECT to_regclass('t') IS NULL", "-d", dsn18, "-q")
    assert " t" in found.out


def test_a_failure_names_its_place_and_ends_the_run(dsn18: str, tmp_path: Path) -> None:
    text = "CREATE TABLE t (i int);\nSELECT 1;\nINSERT INTO t\n  SELECT x FROM t;\nTABLE t;\n"
    (tmp_path / "a.sql").write_text(text, "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, "--json", folder=tmp_path)
    assert ended.code == 1
    assert "a.sql:4:10" in ended.err
    states = [task["state"] for task in json.loads(ended.out)["tasks"]]
    assert (states[0], states[2], states[3]) == ("done", "failed", "not run")


CELLS = """CREATE TABLE t (i int);
SELECT 'INSERT INTO t VALUES (1)', 'INSERT INTO none VALUES (2)'
  \\gexec
TABLE t;
"""


def test_generated_statements_are_tasks_behind_the_one_that_made_them(
    dsn18: str, tmp_path: Path
) -> None:
    (tmp_path / "a.sql").write_text(CELLS.replace("none", "t"), "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, "--json", folder=tmp_path)
    tasks = [(task["id"], task["source"]) for task in json.loads(ended.out)["tasks"]]
    made = [("2.1", "a.sql:3"), ("2.2", "a.sql:3")]
    assert tasks == [("1", "a.sql:1"), ("2", "a.sql:2"), *made, ("3", "a.sql:4")]


def test_a_generated_statement_that_fails_is_shown_with_the_place_of_gexec(
    dsn18: str, tmp_path: Path
) -> None:
    (tmp_path / "a.sql").write_text(CELLS, "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, "--no-journal", folder=tmp_path)
    assert ended.code == 1
    assert 'a.sql:3:3: relation "none" does not exist' in ended.err
    assert "in the statement that \\gexec made: INSERT INTO none VALUES (2)" in ended.err
    (tmp_path / "b.sql").write_text(CELLS.split("\n", 1)[1].replace("INTO none", "INTO"), "utf-8")
    ended = pgfan("run", "b.sql", "-d", dsn18, "--no-journal", "-q", folder=tmp_path)
    assert 'b.sql:2:3: syntax error at or near "2"' in ended.err
    assert "made: INSERT INTO VALUES (2)" in ended.err


def test_for_each_row_of_a_query_there_is_a_task(dsn18: str, tmp_path: Path) -> None:
    text = (
        "CREATE TABLE shops AS SELECT g AS id, 'shop ' || g AS name FROM generate_series(1, 3) g;\n"
        "-- pgfan: for each id, name in (TABLE shops)\n"
        "CREATE TABLE :\"name\" AS SELECT :id AS id, :'name' AS name;\n"
        'TABLE "shop 1" UNION ALL TABLE "shop 3" ORDER BY 1;\n'
    )
    (tmp_path / "a.sql").write_text(text, "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, folder=tmp_path)
    lines = [line.strip() for line in ended.out.splitlines()]
    assert (ended.code, lines[:5]) == (
        0,
        ["SELECT 3", "SELECT 1", "SELECT 1", "SELECT 1", "id |  name"],
    )
    assert lines[6:8] == ["1 | shop 1", "3 | shop 3"]


def test_a_failed_statement_that_was_generated_in_a_block_is_placed(
    dsn18: str, tmp_path: Path
) -> None:
    (tmp_path / "a.sql").write_text(f"BEGIN;\n{CELLS}COMMIT;\n", "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, folder=tmp_path)
    assert ended.code == 1
    assert 'a.sql:3:1: relation "none" does not exist' in ended.err
    assert "in the statement that \\gexec made: INSERT INTO none VALUES (2)" in ended.err


def test_what_needs_a_failed_statement_is_not_run_and_all_else_is(
    dsn18: str, tmp_path: Path
) -> None:
    text = """CREATE TABLE a AS SELECT 1 / 0 AS i;
CREATE TABLE b AS SELECT 1 AS i;
CREATE TABLE c AS TABLE a;
\\echo of c
TABLE c;
SELECT 'INSERT INTO b VALUES (2)', 'INSERT INTO a VALUES (2)' \\gexec
SELECT i FROM a;
SELECT sum(i) FROM b;
"""
    (tmp_path / "a.sql").write_text(text, "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, "--json", "--keep-going", folder=tmp_path)
    tasks = {task["id"]: task for task in json.loads(ended.out)["tasks"]}
    states = {number: task["state"] for number, task in tasks.items()}
    lost = dict.fromkeys(["3", "4", "5.2", "6"], "not run")
    assert states == {"1": "failed", "2": "done", "5": "done", "5.1": "done", "7": "done", **lost}
    assert tasks["3"]["reasons"] == [
        {"code": "needs-failed", "message": "it waits for a.sql:1, which was not done"}
    ]
    assert ended.code == 1
    assert "not run  a.sql:3" in ended.err
    assert "4 done, 1 failed, 4 not run in" in ended.err


def test_nothing_follows_statements_that_nobody_knows(dsn18: str, tmp_path: Path) -> None:
    text = "SELECT 1;\nTABLE nowhere \\gexec\nCREATE TABLE b ();\n"
    (tmp_path / "a.sql").write_text(text, "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, "--keep-going", folder=tmp_path)
    assert ended.code == 1
    assert "1 done, 1 failed, 1 not run in" in ended.err


def test_a_file_that_is_not_there(dsn18: str, tmp_path: Path) -> None:
    ended = pgfan("run", "none.sql", "-d", dsn18, folder=tmp_path)
    assert (ended.code, "cannot read none.sql" in ended.err) == (2, True)


def test_files_of_the_client_and_lines_of_the_script(dsn18: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text('1,"a\nb"\n2,c\n', "utf-8")
    text = (
        "CREATE TABLE t (i int, s text);\n"
        "\\copy t from 'rows.csv' with (format csv)\n"
        "BEGIN;\nCOPY t FROM stdin;\n3\td\n\\.\nCOPY t (i) FROM stdin;\n4\n5\n\\.\nCOMMIT;\n"
        "SELECT string_agg(concat(i, s), ' ' ORDER BY i) FROM t;\n"
    )
    (tmp_path / "a.sql").write_text(text, "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, folder=tmp_path)
    assert ended.code == 0, ended.err
    lines = [line.strip() for line in ended.out.splitlines()]
    assert lines[:4] == ["CREATE TABLE", "COPY 2", "COPY 1", "COPY 2"]
    assert "b 2c 3d 4 5" in lines


def test_files_that_are_written_for_the_client(dsn18: str, tmp_path: Path) -> None:
    text = (
        "CREATE TABLE t AS SELECT g AS i FROM generate_series(1, 3) g;\n"
        "CREATE TABLE u (i int);\n"
        "\\copy (SELECT i * 2 FROM t, pg_sleep(0.2) ORDER BY 1) to 'out.csv' csv\n"
        "\\copy u from ./out.csv csv\n"
        "DELETE FROM t;\n"
        "\\copy u to 'kept.csv' with (format csv, header)\n"
        "\\copy t to /dev/null\n"
        "\\copy (SELECT 1 / 0) to 'kept.csv'\n"
    )
    (tmp_path / "a.sql").write_text(text, "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, "--jobs", "3", folder=tmp_path)
    assert (ended.code, "a.sql:8" in ended.err) == (1, True)
    said = ["SELECT 3", "CREATE TABLE", "COPY 3", "COPY 3", "DELETE 3", "COPY 3", "COPY 0"]
    assert ended.out.splitlines() == said
    assert (tmp_path / "out.csv").read_text() == "2\n4\n6\n"
    assert sorted((tmp_path / "kept.csv").read_text().split()) == ["2", "4", "6", "i"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.sql", "out.csv", "kept.csv"}


def test_a_file_of_the_client_that_cannot_be_written(dsn18: str, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("\\copy (SELECT 1) to 'no/such.csv'\n", "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, folder=tmp_path)
    assert (ended.code, "a.sql:1:1: no/such.csv: No such file" in ended.err) == (1, True)


def test_a_file_that_cannot_be_copied(dsn18: str, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("CREATE TABLE t (i int);\n\\copy t from 'none.csv'\n", "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, folder=tmp_path)
    assert (ended.code, "a.sql:2" in ended.err, "none.csv" in ended.err) == (1, True, True)


CHOSEN = """SET search_path = s;
CREATE TABLE a (i int);
CREATE TABLE b (i int);
INSERT INTO a VALUES (1);
INSERT INTO b SELECT i FROM a;
CREATE TABLE other (i int);
CREATE TABLE c AS SELECT * FROM b;
"""


def rows_of(dsn: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def test_tasks_that_were_asked_for(dsn18: str, tmp_path: Path) -> None:
    rows_of(dsn18, "CREATE SCHEMA s")
    (tmp_path / "a.sql").write_text(CHOSEN, "utf-8")
    words = ("run", "a.sql", "-d", dsn18, "--json")
    until = pgfan(*words, "--until", "a.sql:5", folder=tmp_path)
    assert until.code == 0, until.err
    assert [task["id"] for task in json.loads(until.out)["tasks"]] == ["2", "3", "4", "5"]
    assert rows_of(dsn18, "TABLE s.b") == [(1,)]
    since = pgfan(*words, "--from", "b", "--from", "7", "--until", "c", folder=tmp_path)
    assert since.code == 1, "b is there already"
    assert [task["id"] for task in json.loads(since.out)["tasks"]] == ["3", "5", "7"]
    last = pgfan(*words, "--from", "c", folder=tmp_path)
    assert last.code == 0, last.err
    assert rows_of(dsn18, "SELECT to_regclass('s.other'), (SELECT sum(i) FROM s.c)") == [(None, 1)]


def test_a_choice_is_gone_on_with_as_it_was(dsn18: str, tmp_path: Path) -> None:
    rows_of(dsn18, "CREATE SCHEMA s; CREATE VIEW s.b AS SELECT 1 AS j")
    (tmp_path / "a.sql").write_text(CHOSEN, "utf-8")
    words = ("run", "a.sql", "-d", dsn18, "--json")
    assert pgfan(*words, "--until", "c", folder=tmp_path).code == 1
    rows_of(dsn18, "DROP VIEW s.b")
    ended = pgfan("resume", "-d", dsn18, "--json", folder=tmp_path)
    assert ended.code == 0, ended.err
    assert [task["id"] for task in json.loads(ended.out)["tasks"]] == ["2", "3", "4", "5", "7"]
    assert rows_of(dsn18, "TABLE s.c") == [(1,)]


def test_a_name_that_no_task_has(dsn18: str, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text(CHOSEN, "utf-8")
    ended = pgfan("run", "a.sql", "-d", dsn18, "--only", "othr", folder=tmp_path)
    assert (ended.code, "--only othr" in ended.err, "other" in ended.err) == (2, True, True)
    ended = pgfan("run", "a.sql", "-d", dsn18, "--from", "c", "--until", "a", folder=tmp_path)
    assert (ended.code, "no task is left" in ended.err) == (2, True)
    found = rows_of(dsn18, "SELECT to_regclass('pgfan.run'), to_regnamespace('s')")
    assert found == [(None, None)]


def test_tasks_of_a_folder_that_were_asked_for(dsn18: str, tmp_path: Path) -> None:
    rows_of(dsn18, "CREATE SCHEMA s")
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "a.sql").write_text("CREATE TABLE total AS SELECT sum(i) FROM s.b;\n", "utf-8")
    (folder / "b.sql").write_text(
        "SET search_path = s;\nCREATE TABLE b (i int);\nINSERT INTO b VALUES (7);\n", "utf-8"
    )
    (folder / "c.sql").write_text("CREATE TABLE c AS SELECT 1 AS i;\n", "utf-8")
    ended = pgfan("run", folder, "-d", dsn18, "--json", "--until", "total")
    assert ended.code == 0, ended.err
    assert rows_of(dsn18, "SELECT sum, to_regclass('public.c') FROM public.total") == [(7, None)]
