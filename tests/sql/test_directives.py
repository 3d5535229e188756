"""Directives in comments: what they ask for, what `after` means, and what is wrong with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from accesses_known import KNOWN
from accesses_text import written

from pgfan.errors import UsageError
from pgfan.plan.graph import Sequencer
from pgfan.sql.accesses import ScriptAccesses, client_files
from pgfan.sql.directives import NO_DIRECTIVES, Directives
from pgfan.sql.program import Program, Source
from pgfan.sql.requested import read_request

if TYPE_CHECKING:
    from pgfan.sql.script import ScriptItem

FILES = {"part.sql": "SELECT 5;\nSELECT 6;\n"}


def program(text: str) -> Program:
    return Program.read_psql([Source("main.sql", text)], {}, FILES.__getitem__)


def read_all(text: str) -> list[tuple[ScriptItem, Directives]]:
    return [(item, item.directives or NO_DIRECTIVES) for item in program(text).items]


def of(comments: str, statement: str = "SELECT 1;") -> Directives:
    return read_all(f"{comments}\n{statement}")[0][1]


def accesses(text: str) -> list[str]:
    session = ScriptAccesses(KNOWN)
    found = []
    for item, directives in read_all(text):
        trees = [one.tree for one in item.statements]
        touched = session.read(trees, rolls_back=item.rolls_back, stated=directives.stated)
        found.append(" | ".join(written(touched)))
    return found


def waits(text: str) -> list[tuple[int, ...]]:
    """For each statement those that it waits for, gates left out."""
    session, sequencer = ScriptAccesses(KNOWN), Sequencer[int]()
    before: dict[int, set[int]] = {}
    found = []
    for number, (item, directives) in enumerate(read_all(text)):
        trees = [one.tree for one in item.statements]
        touched = session.read(trees, stated=directives.stated) | client_files(item)
        for step in sequencer.add(number, touched):
            on = {one for after in step.after for one in before[after]}
            before[step.number] = on if step.task is None else {step.task}
            if step.task is not None:
                found.append(tuple(sorted(on)))
    return found


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        ("-- pgfan: serial", Directives(is_serial=True)),
        ("--PGFAN:  Serial  ", Directives(is_serial=True)),
        ("/* pgfan: serial */", Directives(is_serial=True)),
        ("-- pgfan: jobs 4\r", Directives(jobs_max=4)),
        ("-- pgfan: split by a.x, y", Directives(by=read_request("a.x, y"))),
        ("-- pgfan: split by lower(x)", Directives(by=read_request("lower(x)"))),
        ("-- pgfan: split by x\n\n-- why\n-- pgfan: jobs 2", None),
        ("-- pgfan is meant for this", NO_DIRECTIVES),
        ("-- see pgfan: serial", NO_DIRECTIVES),
        ("SELECT '\n-- pgfan: serial';", NO_DIRECTIVES),
    ],
)
def test_what_directives_ask_for(comments: str, expected: Directives | None) -> None:
    if expected is None:
        expected = Directives(by=read_request("x"), jobs_max=2)
    assert of(comments) == expected


def test_directives_before_copy_and_before_a_block() -> None:
    text = "-- pgfan: serial\n\\copy t from x.csv\nSELECT 1;\n-- pgfan: jobs 2\nBEGIN; COMMIT;"
    assert [(one.is_serial, one.jobs_max) for _, one in read_all(text)] == [
        (True, None),
        (False, None),
        (False, 2),
    ]


@pytest.mark.parametrize("copy", ["\\copy t TO 'x'", "BEGIN;\n\\copy t FROM 'x'\nCOMMIT"])
def test_a_load_stands_before_a_copy_from_a_file_alone(copy: str) -> None:
    assert of("-- pgfan: load", "\\copy t FROM '*.gz'").is_load
    with pytest.raises(UsageError, match="outside of blocks"):
        of("-- pgfan: load", f"{copy};\n")


def test_a_load_of_a_pattern_waits_for_every_file_that_is_written() -> None:
    text = "\\copy a TO 'x/1.csv'\n\\copy b TO 'x/2.csv'\n-- pgfan: load\n\\copy c FROM 'x/*.csv'\n"
    assert waits(text) == [(), (), (0, 1)]


def test_directives_where_if_keeps_the_statement_out() -> None:
    text = "\\if no\n-- pgfan: serial\nSELECT 1;\n-- pgfan: nonsense\n\\endif\nSELECT 2;"
    assert [one for _, one in read_all(text)] == [NO_DIRECTIVES]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("-- pgfan: writes w", "modify w; read function:dyn t"),
        ("-- pgfan: reads s.x, U\n-- pgfan: writes w", "modify w; read function:dyn s.x t u"),
        ("-- pgfan: reads v", "read function:dyn function:f t u v"),
    ],
)
def test_reads_and_writes_stand_in_for_what_cannot_be_read(said: str, expected: str) -> None:
    assert accesses(f"{said}\nSELECT dyn() FROM t;") == [expected]


def test_what_certainly_changes_definitions_stays_a_barrier() -> None:
    assert accesses("-- pgfan: reads t\nCREATE EXTENSION hstore;") == [
        "read t | barrier catalogue, opaque"
    ]
    dynamic = "DO $$BEGIN EXECUTE 'SELECT 1' || ''; END$$;"
    found = accesses(f"{dynamic}\n-- pgfan: reads t\n{dynamic}")
    assert found[1].startswith("read t | barrier not-refreshed")


def test_after_a_task() -> None:
    text = "-- pgfan: name one\nSELECT 1;\nSELECT 2;\n-- pgfan: after one\nSELECT 3;"
    assert waits(text) == [(), (), (0,)]


def test_after_a_file() -> None:
    assert waits("\\i part.sql\nSELECT 1;\n-- pgfan: after part.sql\nSELECT 2;") == [
        (),
        (),
        (),
        (0, 1),
    ]


def test_after_a_relation() -> None:
    text = "INSERT INTO n VALUES (1);\nTABLE n;\n-- pgfan: after public.n\nSELECT 2;\nTABLE n;"
    assert waits(text) == [(), (0,), (0,), (0,)]


def test_after_several() -> None:
    text = "-- pgfan: name a.b\nSELECT 1;\nCREATE TABLE x ();\n-- pgfan: after a.b, X\nSELECT 2;"
    assert waits(text) == [(), (), (0, 1)]


def test_a_program_comes_back_from_the_journal_with_its_directives() -> None:
    read = program("-- pgfan: serial\nSELECT 1;")
    assert Program.from_json(read.to_json()) == read


WRONG = {
    "a word": ("-- pgfan: serail", "main.sql:1:1", "no directive 'serail'", "did you mean serial?"),
    "two words": ("\n  -- pgfan: splitby x", "main.sql:2:3", "'splitby x'", "mean split by?"),
    "half of it": ("-- pgfan: split x", "main.sql:1:1", "'split x'", "did you mean split by?"),
    "nothing like it": ("-- pgfan: quite other", "main.sql:1:1", "'quite other'", "there are:"),
    "nothing": ("-- pgfan:", "main.sql:1:1", "no directive ''", "there are: serial"),
    "serial with more": ("-- pgfan: serial please", "main.sql:1:1", "without 'please'", ""),
    "no number": ("-- pgfan: jobs many", "main.sql:1:1", "jobs many: give a number", ""),
    "none": ("-- pgfan: jobs 0", "main.sql:1:1", "from 1", ""),
    "no key": ("-- pgfan: split by", "main.sql:1:1", "split by", ""),
    "no column": ("-- pgfan: split by a b c", "main.sql:1:1", "split by a b c", "columns"),
    "no relation": ("-- pgfan: reads a-b", "main.sql:1:1", "names of relations", "s.t"),
    "no relation at all": ("-- pgfan: writes", "main.sql:1:1", "names of relations", ""),
    "no name": ("-- pgfan: name a b", "main.sql:1:1", "name a b", ""),
    "twice": ("-- pgfan: jobs 1\n-- pgfan: jobs 2", "main.sql:2:1", "jobs is said twice", ""),
    "load with more": ("-- pgfan: load csv", "main.sql:1:1", "without 'csv'", "in the \\copy"),
    "load of a query": ("-- pgfan: load", "main.sql:1:1", "before \\copy TABLE FROM", ""),
    "load by": ("-- pgfan: load\n-- pgfan: split by x", "main.sql:2:1", "only one of them", ""),
    "both": ("-- pgfan: serial\n-- pgfan: split by x", "main.sql:2:1", "only one of them", ""),
    "nobody": ("-- pgfan: after tt", "main.sql:1:1", "is called tt", "did you mean t?"),
    "no comma": ("-- pgfan: after t,", "main.sql:1:1", "a name is missing", ""),
    "another schema": ("TABLE s.x;\n-- pgfan: after r.x", "main.sql:2:1", "is called r.x", ""),
    "itself": ("-- pgfan: name a\n-- pgfan: after a", "main.sql:2:1", "wait for itself", ""),
    "its own file": ("-- pgfan: after main.sql", "main.sql:1:1", "wait for itself", ""),
    "behind": ("SELECT 1; -- pgfan: serial", "main.sql:1:11", "on a line of its own", ""),
    "inside": ("SELECT 1\n -- pgfan: serial\n, 2;", "main.sql:2:2", "before its statement", ""),
    "a file": ("-- pgfan: serial\n\\i part.sql", "main.sql:1:1", "a whole file", ""),
    "in a block": ("BEGIN;\n-- pgfan: serial\nSELECT 1; COMMIT;", "main.sql:2:1", "BEGIN", ""),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place", "message", "hint"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said_with_its_place(
    text: str, place: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as error:
        program(f"{text}\nTABLE t;")
    assert str(error.value.position) == place
    assert message in error.value.message
    assert hint in (error.value.hint or "")


def test_a_directive_without_a_statement() -> None:
    for end in ("", ";\nSELECT 1;"):
        with pytest.raises(UsageError, match="no statement follows"):
            program(f"SELECT 1;\n-- pgfan: serial\n{end}")


def test_a_later_task_cannot_be_waited_for() -> None:
    with pytest.raises(UsageError, match="comes later"):
        program("-- pgfan: after b\nSELECT 1;\n-- pgfan: name b\nSELECT 2;")


def test_a_name_for_two() -> None:
    with pytest.raises(UsageError, match=r"main.sql:2 has the name b, too"):
        program("-- pgfan: name b\nSELECT 1;\n-- pgfan: name b\nSELECT 2;")


def test_for_each_is_of_the_query_and_others_beside_it_are_too() -> None:
    items = program("-- pgfan: name q\n-- pgfan: for each x in (SELECT 1)\nSELECT :x;").items
    assert items[0].first.text == "SELECT 1"
    assert items[0].first.generates is not None
    assert [one.text for one in items[0].first.directives][:1] == ["name q"]
