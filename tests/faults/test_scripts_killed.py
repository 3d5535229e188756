"""A script that is killed half way: the same command goes on, each statement takes place once."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING

import pytest
from pgfan_client import Client, assert_holds, command, execute, query, wait_until

if TYPE_CHECKING:
    from pathlib import Path

TABLES, EACH = 6, 12
KILLS = 4


def script() -> str:
    """Tables that are filled by many small statements, each of which takes some milliseconds."""
    lines = [f"CREATE TABLE t{n} (i int);" for n in range(TABLES)]
    lines += [
        f"INSERT INTO t{n} SELECT {i} FROM pg_sleep(0.004);"
        for i in range(EACH)
        for n in range(TABLES)
    ]
    lines += [f"UPDATE t{n} SET i = i + 100; CREATE INDEX ON t{n} (i);" for n in range(TABLES)]
    lines += ["CREATE TABLE total AS SELECT i FROM t0 UNION ALL SELECT i FROM t1;"]
    return "\n".join(lines)


def test_killed_again_and_again(dsn18: str, tmp_path: Path) -> None:
    path = tmp_path / "script.sql"
    path.write_text(script(), "utf-8")
    words = ("run", str(path), "--jobs", "3")
    chance = random.Random(5)  # noqa: S311  # the same moments each time
    execute(dsn18, "CREATE TABLE wanted AS SELECT 0 AS statements")
    for wanted in sorted(chance.randrange(TABLES, TABLES * EACH) for _ in range(KILLS)):
        started = Client(dsn18, *words)
        wait_until(lambda: has_journal(dsn18), "the journal")
        wait_until(partial(has_done, dsn18, wanted), f"{wanted} statements")
        started.kill()
    with command(dsn18, *words) as last:
        ended = last.end()
    assert ended.code == 0, ended.said
    assert "going on with run" in ended.said
    for n in range(TABLES):
        assert_holds(dsn18, f"t{n}", f"SELECT g + 100 FROM generate_series(0, {EACH - 1}) g")
    both = f"SELECT g + 100 FROM generate_series(0, {EACH - 1}) g, generate_series(1, 2)"
    assert_holds(dsn18, "total", both)
    assert query(dsn18, "SELECT state FROM pgfan.run") == [("done",)]


GENERATING = """
CREATE TABLE asked (i int, chance float);
CREATE TABLE t0 (i int, chance float);
CREATE TABLE t1 (LIKE t0);
INSERT INTO asked SELECT g, random() FROM generate_series(1, 60) g RETURNING
    format('INSERT INTO t%s SELECT %s, %s FROM pg_sleep(0.01)', i % 2, i, chance) \\gexec
CREATE TABLE total AS TABLE t0 UNION ALL TABLE t1;
"""


def test_a_resumed_run_does_not_ask_again_for_its_statements(dsn18: str, tmp_path: Path) -> None:
    path = tmp_path / "script.sql"
    path.write_text(GENERATING, "utf-8")
    words = ("run", str(path), "--jobs", "2")
    execute(dsn18, "CREATE TABLE wanted AS SELECT 0 AS statements")
    for wanted in (4, 30):
        started = Client(dsn18, *words)
        wait_until(lambda: has_journal(dsn18), "the journal")
        wait_until(partial(has_done, dsn18, wanted), f"{wanted} statements")
        started.kill()
    with command(dsn18, *words) as last:
        ended = last.end()
    assert ended.code == 0, ended.said
    assert query(dsn18, "SELECT count(*) FROM asked") == [(60,)]
    assert_holds(dsn18, "total", "SELECT i, chance FROM asked")


def has_done(dsn: str, least: int) -> bool:
    (count,) = query(dsn, "SELECT count(*) FROM pgfan.task WHERE state = 'done'")[0]
    return bool(count >= least)


def has_journal(dsn: str) -> bool:
    return query(dsn, "SELECT to_regclass('pgfan.task') IS NOT NULL") == [(True,)]


SETTING = """
CREATE FUNCTION sets() RETURNS text LANGUAGE sql AS $$ SELECT set_config('a.b', '1', false) $$;
SELECT sets();
CREATE TABLE first AS SELECT current_setting('a.b', true) AS found;
CREATE TABLE slow AS SELECT 1 FROM pg_sleep(30);
CREATE TABLE last AS SELECT current_setting('a.b', true) AS found;
"""


def test_a_setting_that_only_the_lost_connection_had_is_not_done_without(
    dsn18: str, tmp_path: Path
) -> None:
    path = tmp_path / "script.sql"
    path.write_text(SETTING, "utf-8")
    started = Client(dsn18, "run", str(path), "--jobs", "2")
    wait_until(lambda: has_journal(dsn18), "the journal")
    wait_until(partial(has_done, dsn18, 3), "3 statements")
    started.kill()
    with command(dsn18, "run", str(path), "--jobs", "2") as again:
        ended = again.end()
    assert ended.code == 1, ended.said
    assert "the connection is lost on which a function has changed settings" in ended.said
    assert "--restart" in ended.said
    assert query(dsn18, "SELECT found, to_regclass('last') FROM first") == [("1", None)]


LEAVING = """
CREATE TABLE goal (i int);
CREATE TABLE w AS SELECT 1 AS i;
CREATE TEMP TABLE w AS SELECT 2 AS i;
INSERT INTO goal SELECT i FROM w, pg_sleep(20);
"""


@pytest.mark.parametrize("words", [("run", "--jobs", "2"), ("exec", "-f")], ids=["run", "exec"])
def test_another_table_is_not_taken_for_a_lost_temporary_one(
    dsn18: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    path = tmp_path / "script.sql"
    path.write_text(LEAVING, "utf-8")
    started = Client(dsn18, *words, str(path))
    wait_until(lambda: has_journal(dsn18), "the journal")
    wait_until(partial(has_done, dsn18, 3), "3 statements")
    started.kill()
    with command(dsn18, *words, str(path)) as again:
        ended = again.end()
    assert ended.code == 1, ended.said
    assert "needs what earlier ones had left in their session" in ended.said
    assert "--restart" in ended.said
    assert query(dsn18, "SELECT i FROM goal") == []
