"""What statements leave, as a rebuild has to know it."""

from __future__ import annotations

import pytest

from pgfan.sql.accesses import accesses_of
from pgfan.sql.footprint import Footprint, footprint_of, footprints_of
from pgfan.sql.known import KnownForeignKey, KnownObjects, KnownRelation
from pgfan.sql.program import Program, Source

BEFORE = "CREATE TABLE t (i int); CREATE TABLE u (i int);"


def footprint(sql: str) -> Footprint:
    """Of the last statement of a script that begins with two tables."""
    program = Program.read_psql([Source("a.sql", f"{BEFORE} {sql};")], {}, str)
    accesses = accesses_of(program.items, KnownObjects())
    return footprint_of(program.items[-1], accesses[-1])


def written(found: Footprint) -> str:
    """`uses t; reads u`, the schema public left out."""
    parts = []
    for field in ("uses", "reads", "adds", "modifies", "alters", "indexes", "makes", "clears"):
        names = sorted(
            f"{'' if one.kind == 'relation' else one.kind + ':'}{one}".replace("public.", "")
            for one in getattr(found, field)
            if one.kind != "schema" or field == "clears"
        )
        if names:
            parts.append(f"{field} {' '.join(names)}")
    return "; ".join(parts)


CASES = [
    ("INSERT INTO t SELECT i FROM u", "reads u; adds t"),
    ("UPDATE t SET i = 1", "modifies t"),
    ("SELECT * FROM t", "reads t"),
    ("CREATE VIEW v AS TABLE t", "uses t; alters v; makes v"),
    ("CREATE TABLE r AS TABLE t", "reads t; alters r; makes r"),
    ("CREATE INDEX n ON t (i)", "alters n; indexes t; makes n"),
    ("ALTER TABLE t ADD j int", "alters t"),
    ("COMMENT ON TABLE t IS 'x'", "alters t"),
    ("DROP TABLE t", "alters t"),
    ("ANALYZE t", "uses t"),
    ("LOCK TABLE t", "uses t"),
    ("CREATE TEMP TABLE x AS TABLE t", "reads t; alters pg_temp.x; makes pg_temp.x"),
    ("PREPARE p AS SELECT 1", "modifies session.prepared"),
    ("BEGIN; INSERT INTO t VALUES (1); DELETE FROM u; COMMIT", "adds t; modifies u"),
    ("SET work_mem = '8MB'", ""),
    ("CREATE EXTENSION cube", "alters extension:cube; makes extension:cube"),
]


@pytest.mark.parametrize(("sql", "expected"), CASES, ids=[sql for sql, _ in CASES])
def test_what_a_statement_leaves(sql: str, expected: str) -> None:
    assert written(footprint(sql)) == expected


def test_a_table_with_one_more_index_is_as_it_was() -> None:
    found = footprint("CREATE INDEX n ON t (i)")
    assert {str(name) for name in found.written} == {"public.n"}
    assert {str(name) for name in found.touched} == {"public.n", "public.t"}


@pytest.mark.parametrize(
    ("sql", "barrier", "opaque", "upkeep"),
    [
        ("DO $$ DECLARE s text := 'x'; BEGIN EXECUTE s; END $$", True, "dynamic-sql", False),
        ("SELECT * FROM pg_class", True, None, False),
        ("CREATE EXTENSION cube", True, None, False),
        ("VACUUM", False, None, True),
        ("ANALYZE", False, None, True),
        ("SELECT * FROM t", False, None, False),
    ],
)
def test_what_holds_for_all_before_and_after(
    sql: str, *, barrier: bool, opaque: str | None, upkeep: bool
) -> None:
    found = footprint(sql)
    assert (found.barrier, found.opaque, found.upkeep) == (barrier, opaque, upkeep)


def test_behind_a_change_that_nobody_foresees_nothing_is_known() -> None:
    sql = "SELECT 1; DO $$ BEGIN EXECUTE current_user; END $$; CREATE TABLE w (i int); VACUUM;"
    program = Program.read_psql([Source("a.sql", BEFORE + sql)], {}, str)
    found = footprints_of(program.items, accesses_of(program.items, KnownObjects()))
    assert [one.barrier for one in found] == [False, False, False, True, True, False]
    assert [one.opaque for one in found[:4]] == [None, None, None, "dynamic-sql"]
    assert found[4].opaque == "a.sql:1 before it may have changed any definition"
    assert found[5].upkeep


PREAMBLES = [
    ("DROP TABLE IF EXISTS x, y; CREATE TABLE x ()", ["clears x y", "alters x; makes x"]),
    ("DROP SCHEMA IF EXISTS s CASCADE", ["clears schema:s"]),
    ("DROP FUNCTION IF EXISTS f(int)", ["clears function:f"]),
    ("BEGIN; DROP TABLE IF EXISTS x; DROP VIEW IF EXISTS v; COMMIT", ["clears v x"]),
    ("DROP TABLE IF EXISTS x; DROP TABLE IF EXISTS x CASCADE", ["clears x", "clears x"]),
    # Its CASCADE alters what the next one takes.
    (
        "DROP TABLE IF EXISTS old CASCADE; DROP TABLE IF EXISTS ref",
        ["clears old", "uses old; clears ref"],
    ),
    (
        "DROP TABLE IF EXISTS ref; DROP TABLE IF EXISTS old",
        ["uses old; clears ref", "clears old"],
    ),
    # Something of the project's may be there, or something may be left.
    ("DROP TABLE IF EXISTS old CASCADE; TABLE ref", ["alters ref; clears old", "reads ref"]),
    ("CREATE TABLE x (); DROP TABLE IF EXISTS x", ["alters x; makes x", "alters x"]),
    ("INSERT INTO x VALUES (1); DROP TABLE IF EXISTS x", ["adds x", "alters x"]),
    ("DROP TABLE x", ["alters x"]),
    ("BEGIN; DROP TABLE IF EXISTS x; ROLLBACK", ["alters x"]),
    ("BEGIN; DROP TABLE IF EXISTS x; CREATE TABLE x (); COMMIT", ["alters x; makes x"]),
    ("DROP TRIGGER IF EXISTS r ON x", ["alters x"]),
    ("DROP ROLE IF EXISTS r", ["alters role:r"]),
    ("SET search_path = o, public; DROP TABLE IF EXISTS x", ["", "alters o.x x"]),
    (
        "CREATE TEMP TABLE x (); DROP TABLE IF EXISTS x",
        ["alters pg_temp.x; makes pg_temp.x", "alters pg_temp.x"],
    ),
    ("DO $$ BEGIN EXECUTE 'x'; END $$; DROP TABLE IF EXISTS x", ["", "alters x"]),
]


@pytest.mark.parametrize(("sql", "expected"), PREAMBLES, ids=[sql for sql, _ in PREAMBLES])
def test_what_is_dropped_before_anybody_has_touched_it(sql: str, expected: list[str]) -> None:
    known = KnownObjects(
        schemas=frozenset({"public", "o"}),
        relations=(
            KnownRelation(("public", "old"), "table"),
            KnownRelation(
                ("public", "ref"),
                "table",
                foreign_keys=(KnownForeignKey(references=("public", "old")),),
            ),
        ),
    )
    program = Program.read_psql([Source("a.sql", f"{sql};")], {}, str)
    found = footprints_of(program.items, accesses_of(program.items, known))
    shown = [written(one) for one in found]
    assert shown == expected
