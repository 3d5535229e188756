"""`pgfan run --publish`: built aside, swapped at the end, and nothing is seen of it before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from side_by_side import execute, query

from pgfan import api
from pgfan.errors import ConnectionLostError, UsageError
from pgfan.postgres.journal import PostgresJournal
from pgfan.sql.program import Program, Source

if TYPE_CHECKING:
    from pgfan.execute.outcome import RunResult

SCRIPT = """
CREATE TABLE t (i int PRIMARY KEY);
INSERT INTO t SELECT i + {n} FROM generate_series(1, 1000) i;
CREATE VIEW v AS SELECT count(*) AS rows, min(i) AS least FROM t;
CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT rows FROM v; END;
"""


def publish(dsn: str, script: str, *, drop_old: bool = False, **options: object) -> RunResult:
    program = Program.read_psql([Source("s.sql", script)], {}, lambda name: name)
    asked = api.ExecOptions(jobs=2, publish=api.Publish("mart", drop_old), **options)  # type: ignore[arg-type]
    return api.run(dsn, program, asked)


def schemas(dsn: str) -> list[str]:
    names = query(dsn, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'mart%' ORDER BY 1")
    return [str(name).split("_until_", maxsplit=1)[0] for (name,) in names]


def test_the_new_one_takes_the_place_of_the_old_one_which_is_kept(dsn: str) -> None:
    assert publish(dsn, SCRIPT.format(n=0)).state == "done"
    assert schemas(dsn) == ["mart"]
    execute(dsn, "GRANT USAGE ON SCHEMA mart TO PUBLIC")
    execute(dsn, "CREATE VIEW outside AS SELECT min(i) FROM mart.t")
    assert publish(dsn, SCRIPT.format(n=5000)).state == "done"
    assert query(dsn, "SELECT rows, least, mart.f() FROM mart.v") == [(1000, 5001, 1000)]
    assert query(dsn, "SELECT * FROM outside") == [(1,)]
    assert schemas(dsn) == ["mart", "mart"]
    usage = "SELECT has_schema_privilege('public', 'mart', 'USAGE')"
    assert query(dsn, usage) == [(True,)]
    assert query(dsn, "SELECT obj_description('mart'::regnamespace)") == [(None,)]


def test_the_old_one_is_dropped_when_nothing_depends_on_it(dsn: str) -> None:
    publish(dsn, SCRIPT.format(n=0))
    execute(dsn, "CREATE VIEW outside AS SELECT min(i) FROM mart.t")
    execute(dsn, "CREATE TABLE child (i int REFERENCES mart.t)")
    with pytest.raises(UsageError, match="table child, view outside depend on it"):
        publish(dsn, SCRIPT.format(n=1), drop_old=True)
    assert query(dsn, "SELECT least FROM mart.v") == [(1,)]
    execute(dsn, "DROP VIEW outside; DROP TABLE child")
    assert publish(dsn, SCRIPT.format(n=1), drop_old=True).state == "done"
    assert query(dsn, "SELECT least FROM mart.v") == [(2,)]
    assert schemas(dsn) == ["mart"]


def test_a_build_that_fails_publishes_nothing_and_goes_on_when_mended(dsn: str) -> None:
    publish(dsn, SCRIPT.format(n=0))
    execute(dsn, "CREATE TABLE public.wanted (i int)")
    script = SCRIPT.format(n=7) + "SELECT 1 / (SELECT count(*) FROM wanted);"
    assert publish(dsn, script).state == "failed"
    assert query(dsn, "SELECT least FROM mart.v") == [(1,)]
    assert schemas(dsn) == ["mart", "mart_building"]
    execute(dsn, "INSERT INTO public.wanted VALUES (1)")
    assert publish(dsn, script).state == "done"
    assert query(dsn, "SELECT least, rows FROM mart.v") == [(8, 1000)]


def test_a_new_build_begins_empty(dsn: str) -> None:
    assert publish(dsn, "CREATE TABLE rest (i int); SELECT 1 / 0;").state == "failed"
    assert publish(dsn, "CREATE TABLE other (i int);").state == "done"
    assert query(dsn, "SELECT relname FROM pg_class WHERE relnamespace = 'mart'::regnamespace") == [
        ("other",)
    ]


def test_a_lost_answer_to_the_swap_does_not_swap_again(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(dsn, SCRIPT.format(n=0))
    lost: list[str] = []
    end_run = PostgresJournal.end_run

    def end_and_lose(*arguments: Any, also: str = "", **options: Any) -> None:  # noqa: ANN401
        end_run(*arguments, also=also, **options)
        if not lost:
            lost.append(also)
            raise ConnectionLostError("the answer to COMMIT was lost")

    monkeypatch.setattr(PostgresJournal, "end_run", end_and_lose)
    assert publish(dsn, SCRIPT.format(n=1)).state == "done"
    assert "RENAME" in lost[0]
    assert query(dsn, "SELECT least FROM mart.v") == [(2,)]
    assert schemas(dsn) == ["mart", "mart"]


def test_what_names_the_schema_or_sets_the_path_is_refused_before_anything_runs(dsn: str) -> None:
    publish(dsn, SCRIPT.format(n=0))
    with pytest.raises(UsageError, match=r"mart\.t is in the schema that") as found:
        publish(dsn, "CREATE TABLE mine (i int);\nINSERT INTO mart.t VALUES (0);")
    assert found.value.position is not None
    assert found.value.position.line == 2
    with pytest.raises(UsageError, match="may not set search_path"):
        publish(dsn, "SET search_path = public; CREATE TABLE mine (i int);")
    assert query(dsn, "SELECT to_regclass('mart_building.mine')") == [(None,)]
    assert query(dsn, "SELECT least, rows FROM mart.v") == [(1, 1000)]


def test_somebody_elses_schema_is_left_alone(dsn: str) -> None:
    execute(dsn, "CREATE SCHEMA mart_building; CREATE TABLE mart_building.precious ()")
    with pytest.raises(UsageError, match="pgfan has not made it"):
        publish(dsn, SCRIPT.format(n=0))
    assert query(dsn, "SELECT to_regclass('mart_building.precious') IS NULL") == [(False,)]


@pytest.mark.parametrize("schema", ["pg_catalog", "information_schema", "x" * 42])
def test_schemas_that_cannot_be_published(dsn: str, schema: str) -> None:
    program = Program.read_psql([Source("s.sql", "SELECT 1;")], {}, lambda name: name)
    with pytest.raises(UsageError, match="--publish"):
        api.run(dsn, program, api.ExecOptions(publish=api.Publish(schema)))
