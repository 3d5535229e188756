"""Which tasks a selection means, by every kind of name; what is said of names that no task has."""

from __future__ import annotations

import pytest

from pgfan.errors import UsageError
from pgfan.plan.outline import outline_of
from pgfan.plan.selection import Selection, names_of, select
from pgfan.sql.accesses import accesses_of
from pgfan.sql.known import KnownObjects
from pgfan.sql.program import Program, Source

SCHEMA = """CREATE TABLE a (i int);
CREATE TABLE b (i int);
"""
BUILD = """INSERT INTO a
  VALUES (1);
INSERT INTO b SELECT i FROM a;
CREATE VIEW v AS SELECT * FROM b;
CREATE TABLE other (i int);
SELECT * FROM v;
"""
PROGRAM = Program.read_psql(
    [Source("db/schema.sql", SCHEMA), Source("db/build.sql", BUILD)], {}, str
)
OUTLINE = outline_of(accesses_of(PROGRAM.items, KnownObjects()))
NAMES = names_of(PROGRAM.items, OUTLINE)


def numbers(done: tuple[int, ...] = (), **asked: str) -> str:
    """The numbers of the tasks, from 1, in one text."""
    selection = Selection(**{name: tuple(text.split()) for name, text in asked.items()})
    found = select(NAMES, OUTLINE, selection, [one - 1 for one in done])
    return " ".join(str(number + 1) for number in sorted(found))


def test_without_a_selection_all_are_meant() -> None:
    assert numbers() == "1 2 3 4 5 6 7"


@pytest.mark.parametrize(
    ("name", "tasks"),
    [
        ("4", "1 2 3 4"),
        ("other", "6"),
        ("public.other", "6"),
        ("v", "2 5"),
        ("a", "1 3"),
        ("schema.sql", "1 2"),
        ("db/schema.sql", "1 2"),
        ("./db/schema.sql", "1 2"),
        ("build.sql:1", "1 3"),
        ("build.sql:2", "1 3"),
        ("db/build.sql:5", "6"),
        ("other v", "2 5 6"),
    ],
)
def test_until_takes_what_a_name_means_and_all_it_depends_on(name: str, tasks: str) -> None:
    assert numbers(until=name) == tasks


def test_since_takes_all_that_depends_on_it() -> None:
    assert numbers(since="a") == "1 3 4 7"
    assert numbers(since="build.sql:3") == "4 7"
    assert numbers(since="v") == "5 7"


def test_only_leaves_out_what_is_done_and_never_what_is_named() -> None:
    assert numbers(only="4") == "1 2 3 4"
    assert numbers(only="4", done=(1, 2)) == "3 4"
    assert numbers(only="4", done=(1, 2, 3, 4)) == "4"


def test_options_together_are_met_by_the_same_tasks() -> None:
    assert numbers(since="a", until="b") == "1 3 4"
    assert numbers(only="other", since="a") == ""


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("othr", "other"),
        ("biuld.sql", "build.sql"),
        ("build.sql:99", "build.sql"),
        ("0", "there are 7"),
        ("8", "there are 7"),
        ("zzzzzzzzzzz", "give a relation"),
    ],
)
def test_an_unknown_name_tells_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match="no task has") as caught:
        numbers(until=name)
    assert hint in (caught.value.hint or "")
    with pytest.raises(UsageError, match=f"--from {name}"):
        numbers(since=name)


def test_gates_are_gone_through() -> None:
    text = "CREATE TABLE t (i int);" + "INSERT INTO t VALUES (1);" * 50
    text += "".join(f"CREATE TABLE r{n} AS TABLE t;" for n in range(50))
    program = Program.read_psql([Source("a.sql", text)], {}, str)
    outline = outline_of(accesses_of(program.items, KnownObjects()))
    assert outline.gates
    names = names_of(program.items, outline)
    assert select(names, outline, Selection(until=("r7",))) == {*range(51), 58}
    assert select(names, outline, Selection(since=("2",))) == {1, *range(51, 101)}
