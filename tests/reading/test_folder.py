"""A folder as a set of files: which belong, in which order they come, and what is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pgfan.errors import UsageError
from pgfan.reading.folder import read_folder
from pgfan.reading.paths import read_paths
from pgfan.sql.program import Program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def folder(at: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(text, "utf-8")
    return at


def order(at: Path, files: Mapping[str, str], *leave_out: str, **variables: str) -> str:
    """The files whose statements are run, in their order, without `.sql`."""
    program = read_folder(folder(at, files), variables, leave_out)
    names = [os.path.relpath(item.session, at).removesuffix(".sql") for item in program.items]
    return " ".join(dict.fromkeys(names))


def refusal(at: Path, files: Mapping[str, str]) -> str:
    with pytest.raises(UsageError) as error:
        read_folder(folder(at, files), {})
    return str(error.value).replace(f"{at}/", "").replace(f"{at.parent}/", "")


CASES: dict[str, tuple[dict[str, str], str]] = {
    "makers, writers, readers": (
        {
            "a": "CREATE TABLE report AS SELECT * FROM v",
            "b": "CREATE VIEW v AS SELECT * FROM s.t",
            "c": "INSERT INTO s.t VALUES (1)",
            "d": "CREATE TABLE s.t (i int)",
            "e": "CREATE SCHEMA s",
        },
        "e d b c a",  # a view needs the table alone, who reads it the rows
    ),
    "a view that is made further on is known": (
        {
            "a": "CREATE TABLE x AS TABLE w",
            "b": "CREATE VIEW w AS TABLE v",
            "c": "CREATE TABLE t ()",
        }
        | {"d": "CREATE VIEW v AS TABLE t", "e": "INSERT INTO t DEFAULT VALUES"},
        "c d b e a",
    ),
    "functions and triggers": (
        {
            "a": "SELECT f()",
            "b": "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql "
            "BEGIN ATOMIC SELECT count(*) FROM t; END",
            "c": "INSERT INTO t VALUES (1)",
            "d": "CREATE TABLE t (i int)",
        },
        "d b c a",
    ),
    "the path that a file sets": (
        {"a": "SELECT * FROM s.t", "b": "SET search_path = s; CREATE TABLE t ()"}
        | {"c": "CREATE SCHEMA s", "d": "SELECT * FROM t", "e": "CREATE TABLE t ()"},
        "c b a e d",
    ),
    "what a file drops at first": (
        {"a": "SELECT * FROM v", "b": "DROP VIEW IF EXISTS v; CREATE VIEW v AS TABLE t"}
        | {
            "c": "DROP TABLE IF EXISTS t CASCADE; CREATE TABLE t ()",
            "d": "INSERT INTO t VALUES (1)",
        },
        "c b d a",
    ),
    "what a file drops at last": (
        {"a": "DROP TABLE t", "b": "SELECT * FROM t", "c": "CREATE TABLE t ()"},
        "c b a",
    ),
    "what a file makes anew under another name": (
        {"a": "SELECT * FROM t", "b": "CREATE TABLE n (); ALTER TABLE n RENAME TO t"},
        "b a",
    ),
    "temporary tables are each file's own": (
        {"b": "CREATE TEMP TABLE t (); TABLE t", "a": "CREATE TEMP TABLE t (); TABLE t"},
        "a b",
    ),
    "names": ({"b/a": "SELECT 1", "a": "SELECT 1", "b": "SELECT 1"}, "a b b/a"),
    "what nobody can read comes late": (
        {"a": "CREATE EXTENSION hstore", "b": "CREATE TABLE t ()", "c": "DO $$BEGIN END$$"},
        "b c a",
    ),
    "what both make if it is not there": (
        {"a": "CREATE SCHEMA IF NOT EXISTS s; CREATE TABLE s.a AS TABLE s.b"}
        | {"b": "CREATE SCHEMA IF NOT EXISTS s; CREATE TABLE s.b ()"},
        "b a",
    ),
    "names that differ in case alone": (
        {"a": 'TABLE "T"', "b": "TABLE t", "c": "CREATE TABLE T ()", "d": 'CREATE TABLE "T" ()'},
        "c b d a",
    ),
    "what reads itself waits for nobody": (
        {"a": "CREATE TABLE t AS TABLE t", "b": "INSERT INTO u TABLE u"}
        | {"c": "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN f()"},
        "a b c",
    ),
    "what no file makes is the server's": (
        {"a": "SELECT * FROM nowhere JOIN t ON true", "b": "CREATE TABLE t AS TABLE not_here"},
        "b a",
    ),
    "overloads are two functions": (
        {"a": "SELECT f(1)", "b": "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql RETURN 1"}
        | {"c": "CREATE FUNCTION f(text) RETURNS int LANGUAGE sql RETURN 1"},
        "b c a",
    ),
}


@pytest.mark.parametrize(("files", "expected"), CASES.values(), ids=list(CASES))
def test_the_order_is_the_one_that_the_files_need(
    tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    assert order(tmp_path, {f"{name}.sql": f"{sql};" for name, sql in files.items()}) == expected


def test_what_another_file_includes_is_no_member(tmp_path: Path) -> None:
    files = {
        "a.sql": "\\set t x\n\\i parts/one.sql\n\\if no\n\\ir parts/two.sql\n\\endif\n",
        "parts/one.sql": "SELECT :'t';\n\\ir three.sql\n",
        "parts/two.sql": "SELECT :nobody gives that;",
        "parts/three.sql": "SELECT 3;",
        "parts/four.sql": "SELECT 4;",
    }
    assert order(tmp_path, files) == "a parts/four"


def test_hidden_files_and_other_kinds_do_not_count(tmp_path: Path) -> None:
    files = {"a.sql": "SELECT 1;", ".b.sql": "x", ".git/c.sql": "x", "d.txt": "x", "e.sql": ""}
    assert order(tmp_path, files) == "a"


def test_files_may_be_left_out(tmp_path: Path) -> None:
    files = {"a.sql": "\\i old/b.sql\n", "old/b.sql": "SELECT 1;", "old/deep/c.sql": "x"}
    assert order(tmp_path, files, "old/*") == "a"


def test_each_file_has_its_own_variables_and_settings(tmp_path: Path) -> None:
    files = {
        "a.sql": "\\set v 2\nSET work_mem = '8MB';\nSELECT :v;\n\\echo end of a\n",
        "b.sql": "SELECT :v;\n",
    }
    program = read_folder(folder(tmp_path, files), {"v": "1"})
    found = [(item.first.text, item.settings, item.first.echoes) for item in program.items]
    assert found == [
        ("SET work_mem = '8MB'", (), ()),
        ("SELECT 2", ("SET work_mem = '8MB'",), ()),
        ("SELECT 1", (), ("end of a\n",)),
    ]
    assert Program.from_json(program.to_json()) == program


def test_a_cycle_is_shown_with_its_places(tmp_path: Path) -> None:
    files = {
        "a.sql": "SELECT 1;\nCREATE TABLE t AS SELECT * FROM u;",
        "b.sql": "CREATE TABLE u AS\nSELECT * FROM w;\nSELECT 1;",
        "c.sql": "CREATE TABLE w AS SELECT * FROM t;",
    }
    assert refusal(tmp_path, files).splitlines() == [
        "these files wait for each other:",
        "a.sql:2 waits for b.sql:1, which makes public.u",
        "b.sql:1 waits for c.sql:1, which makes public.w",
        "c.sql:1 waits for a.sql:2, which makes public.t",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CREATE TABLE t ()", "CREATE TABLE IF NOT EXISTS t ()"),
        ("CREATE TABLE IF NOT EXISTS t ()", "CREATE TABLE IF NOT EXISTS t (i int)"),
        ("CREATE TABLE t ()", "CREATE TABLE n (); ALTER TABLE n RENAME TO t"),
        ("CREATE VIEW t AS SELECT 1", "CREATE OR REPLACE VIEW t AS SELECT 2"),
        ("DROP TABLE IF EXISTS t; CREATE TABLE t ()", "DROP TABLE IF EXISTS t; CREATE TABLE t ()"),
        (
            "CREATE FUNCTION t(int) RETURNS int LANGUAGE sql RETURN 1",
            "CREATE OR REPLACE FUNCTION t(int) RETURNS int LANGUAGE sql RETURN 2",
        ),
        ("CREATE TYPE t AS ENUM ()", "CREATE TYPE t AS ENUM ()"),
    ],
)
def test_two_makers_of_one_object_are_named(tmp_path: Path, one: str, other: str) -> None:
    said = refusal(tmp_path, {"a.sql": f"\n{one};", "b.sql": f"{other};"})
    assert said == "public.t is made in two files: a.sql:2 and b.sql:1"


def test_a_folder_without_scripts(tmp_path: Path) -> None:
    assert refusal(tmp_path, {"a.txt": ""}).endswith(": there is no .sql file in it")
    assert "no file of" in refusal(tmp_path, {"a.sql": "-- nothing\n"})
    with pytest.raises(UsageError, match="all of its files are left out"):
        read_folder(tmp_path, {}, ["*.sql"])


def test_a_folder_does_not_reach_out_of_itself(tmp_path: Path) -> None:
    (tmp_path / "secret.sql").write_text("SELECT 1;", "utf-8")
    inside = tmp_path / "inside"
    said = refusal(inside, {"a.sql": "SELECT 1;\n\\i ../secret.sql\n"})
    assert said == "secret.sql is outside of inside"
    (inside / "a.sql").unlink()
    (inside / "b.sql").symlink_to(tmp_path / "secret.sql")
    assert "is a link that leads out of" in refusal(inside, {})


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    assert refusal(tmp_path, {"a.sql": "SELECT 1;"}) == "loop is a link to a folder"
    (tmp_path / "self").symlink_to(tmp_path / "self")
    with pytest.raises(UsageError, match="Too many levels of symbolic links"):
        read_paths([tmp_path / "self"], {})


def test_files_that_include_each_other(tmp_path: Path) -> None:
    said = refusal(tmp_path, {"a.sql": "\\i b.sql\n", "b.sql": "\\i a.sql\n"})
    assert "files are 100 deep" in said


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_folder(folder(tmp_path, {"a.sql": "SELECT 1;", "b.sql": "\nSELEC 1;"}), {})
    assert str(error.value.position) == f"{tmp_path}/b.sql:2:1"


def test_a_folder_is_run_alone(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("SELECT 1;", "utf-8")
    with pytest.raises(UsageError, match="it is run alone"):
        read_paths([tmp_path, tmp_path / "a.sql"], {})
