"""A folder whose files are named in a wrong order leaves what psql leaves in a right one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conftest import fresh_database
from scripts_alike import by_psql, clean, left

from pgfan import api
from pgfan.reading.paths import read_paths

if TYPE_CHECKING:
    from pathlib import Path

    from pgfan.postgres.embedded import EmbeddedServer

FILES = {
    "9_schema.sql": """
        CREATE SCHEMA shop;
        CREATE TABLE shop.items (id int PRIMARY KEY, price numeric);
        CREATE TABLE shop.log (id int, at_price numeric);
        """,
    "3_trigger.sql": """
        CREATE FUNCTION shop.note() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO shop.log VALUES (new.id, new.price); RETURN new; END $$;
        CREATE TRIGGER note BEFORE INSERT ON shop.items
            FOR EACH ROW EXECUTE FUNCTION shop.note();
        """,
    "7_load.sql": """
        SET search_path = shop;
        CREATE TEMP TABLE raw (id int, price text);
        COPY raw FROM STDIN;
1\t1.50
2\t2.50
\\.
        INSERT INTO items SELECT id, price::numeric FROM raw;
        """,
    "5_more.sql": """
        CREATE TEMP TABLE raw AS SELECT 100 + i AS id, i / 4.0 AS price
            FROM generate_series(1, 50) AS s (i);
        INSERT INTO shop.items SELECT id, price FROM raw;
        """,
    "4_view.sql": "CREATE VIEW dear AS SELECT * FROM shop.items WHERE price > 2;",
    "1_index.sql": "CREATE INDEX ON shop.items (price);",
    "0_report.sql": """
        CREATE TABLE report AS SELECT count(*) AS items, sum(price) AS total FROM dear;
        CREATE TABLE noted AS SELECT count(*) AS rows FROM shop.log;
        """,
}
"""In an order in which psql can run them; their names say another one."""


def test_names_do_not_matter(server: EmbeddedServer, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    with fresh_database(server) as serial, fresh_database(server) as parallel:
        expected = by_psql(serial, "DISCARD ALL;".join(FILES.values()))
        assert expected.ok
        for jobs in (1, 3):
            clean(parallel)
            options = api.ExecOptions(jobs=jobs, split="always", chunk_rows=7)
            ended = api.run(parallel, read_paths([tmp_path], {}), options)
            assert ended.ok, ended.error
            found = left(parallel, ok=True, said="")
            assert (found.rows, found.catalogue) == (expected.rows, expected.catalogue)


def test_a_run_that_failed_goes_on_where_it_was(server: EmbeddedServer, tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("CREATE TABLE n AS SELECT 1 / i AS x FROM t, gate;", "utf-8")
    text = "CREATE TABLE t AS SELECT 1 AS i;\nCREATE TEMP TABLE kept AS TABLE t;"
    (tmp_path / "b.sql").write_text(text, "utf-8")
    with fresh_database(server) as dsn:
        program = read_paths([tmp_path], {})
        assert [str(item.source) for item in program.items][-1].endswith("a.sql:1")
        assert not api.run(dsn, program).ok
        api.exec(dsn, "CREATE TABLE gate ()")
        api.exec(dsn, "INSERT INTO gate DEFAULT VALUES")
        ended = api.resume(dsn)
        assert ended.ok, ended.error
        assert [task.state for task in ended.tasks].count("skipped") >= 1
