"""Directives of a script, on a server: what is split, by what, and what waits for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from pgfan import api
from pgfan.postgres.feed import DatabaseNow, ScriptFeed
from pgfan.postgres.generated_rows import GeneratedRows
from pgfan.postgres.session import PostgresSession
from pgfan.reading.paths import read_paths
from pgfan.sql.agenda import Agenda
from pgfan.sql.known import KnownObjects
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
CREATE TABLE big AS SELECT i, i % 10 AS k FROM generate_series(1, 20000) AS s (i);
CREATE INDEX ON big (k);
ANALYZE big;
CREATE TABLE a (LIKE big); CREATE TABLE b (LIKE big); CREATE TABLE c (LIKE big);
INSERT INTO a SELECT * FROM big;
-- pgfan: serial
INSERT INTO b SELECT * FROM big;
-- pgfan: split by k
INSERT INTO c SELECT * FROM big;
"""


def test_serial_and_split_by_hold_for_their_statement_alone(dsn18: str) -> None:
    program = Program.read_psql([Source("main.sql", SCRIPT)], {}, str)
    options = api.ExecOptions(split="always", chunk_rows=2000, jobs=2)
    ended = api.run(dsn18, program, options)
    assert ended.ok, ended.error
    a, b, c = (task.to_json() for task in ended.tasks[-3:])
    assert (a["verdict"], a["key"]) == ("split", "ctid")
    assert (b["verdict"], b["reasons"][0]["code"]) == ("serial", "asked-serial")
    assert (c["verdict"], c["key"]) == ("split", "k")
    with psycopg.connect(dsn18) as connection:
        for table in ("a", "b", "c"):
            query = f"SELECT count(*), count(DISTINCT i) FROM {table}"
            assert connection.execute(query.encode()).fetchall() == [(20000, 20000)]


def test_jobs_bound_the_workers_of_their_statement() -> None:
    text = "SELECT 1;\n-- pgfan: jobs 3\nSELECT 2;"
    program = Program.read_psql([Source("main.sql", text)], {}, str)
    feed = ScriptFeed(
        Agenda(program.items),
        DatabaseNow(KnownObjects),
        {},
        GeneratedRows(PostgresSession(""), None, ""),
    )
    assert [spec.workers_max for spec in feed.segment()] == [None, 3]


def test_a_folder_follows_what_directives_say(dsn18: str, tmp_path: Path) -> None:
    files = {
        "1_late.sql": "-- pgfan: after made\nCREATE TABLE late AS SELECT count(*) FROM log;",
        "2_note.sql": "-- pgfan: reads source\n-- pgfan: writes log\nSELECT note();",
        "3_made.sql": "-- pgfan: name made\n-- pgfan: after 2_note.sql\nANALYZE;",
        "9_base.sql": "CREATE TABLE log (i int); CREATE TABLE source AS SELECT 7 AS i;\n"
        "CREATE FUNCTION note() RETURNS void LANGUAGE plpgsql AS $$ BEGIN "
        "EXECUTE 'INSERT INTO ' || 'log SELECT i FROM source'; END $$;",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    ended = api.run(dsn18, read_paths([tmp_path], {}))
    assert ended.ok, ended.error
    with psycopg.connect(dsn18) as connection:
        assert connection.execute("TABLE late").fetchall() == [(1,)]
