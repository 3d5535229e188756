r"""Rows of a query to statements, as psql's `\gexec` has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from pgfan.errors import UsageError
from pgfan.sql.accesses import accesses_of
from pgfan.sql.agenda import Agenda
from pgfan.sql.generated import generated_items
from pgfan.sql.known import KnownObjects
from pgfan.sql.psql_script import read_psql

if TYPE_CHECKING:
    from pgfan.sql.script import ScriptItem


def items_of(text: str) -> tuple[ScriptItem, ...]:
    def nothing(name: str) -> str:
        raise AssertionError(name)

    return read_psql([("main.sql", text)], {}, nothing).items


def made_by(*row: str | None) -> tuple[ScriptItem, ...]:
    (item,) = items_of("SELECT 1 \\gexec")
    return generated_items(item, [row])


CELLS: list[tuple[tuple[str | None, ...], list[list[str]]]] = [
    (("SELECT 1", None, "SELECT 2;"), [["SELECT 1"], ["SELECT 2"]]),
    (("", "-- a comment", " ;"), []),
    (("SELECT 1; SELECT 2",), [["BEGIN", "SELECT 1", "SELECT 2", "COMMIT"]]),
    (("BEGIN", "SELECT 1; SELECT 2", "ROLLBACK"), [["BEGIN", "SELECT 1", "SELECT 2", "ROLLBACK"]]),
    (("BEGIN; SELECT 1; COMMIT", "SELECT 2"), [["BEGIN", "SELECT 1", "COMMIT"], ["SELECT 2"]]),
    (("SELECT ':x'",), [["SELECT ':x'"]]),
]


@pytest.mark.parametrize(("cells", "expected"), CELLS)
def test_cells_to_statements(cells: tuple[str | None, ...], expected: list[list[str]]) -> None:
    made = made_by(*cells)
    found = [[statement.text.strip() for statement in item.statements] for item in made]
    assert found == expected
    assert {item.generated_by for item in made} <= {"\\gexec"}
    assert all(str(item.first.position) == "main.sql:1:10" for item in made if not item.is_block)


REFUSED = [
    (("SELECT 1", "SELEC 2", "SELECT 3"), 1, "syntax error", "SELEC 2"),
    (("SELECT 1", "BEGIN", "SELECT 2"), 1, "never ended", "BEGIN"),
    (("COMMIT",), 0, "without BEGIN", "COMMIT"),
    (("SELECT 1; BEGIN; SELECT 2; COMMIT",), 0, "BEGIN or COMMIT after", "SELECT 1; BEGIN;"),
    (("SET ROLE someone",), 0, "SET ROLE", "SET ROLE someone"),
    (("COPY t FROM stdin",), 0, "COPY from or to the client", "COPY t FROM stdin"),
]


@pytest.mark.parametrize(("cells", "before", "message", "text"), REFUSED)
def test_what_is_no_statement_is_the_last_item(
    cells: tuple[str, ...], before: int, message: str, text: str
) -> None:
    *well, last = made_by(*cells)
    assert [item.refusal for item in well] == [None] * before
    assert last.refusal is not None
    assert message in last.refusal.message
    assert last.first.text.startswith(text)
    assert str(last.first.position) == "main.sql:1:10"


EACH = """\\set id_ 5
-- pgfan: for each id, name in (SELECT :id_, 'x')
CREATE TABLE t_:id AS SELECT :'name';"""


def test_for_each_fills_the_variables_of_a_statement() -> None:
    (item,) = items_of(EACH)
    assert item.first.text == "SELECT 5, 'x'"
    assert str(item.first.position) == "main.sql:2:33"
    made = generated_items(item, [("1", "it's"), ("2", ":id; DROP")])
    assert [one.first.text for one in made] == [
        "CREATE TABLE t_1 AS SELECT 'it''s'",
        "CREATE TABLE t_2 AS SELECT ':id; DROP'",
    ]
    assert str(made[1].first.position) == "main.sql:3:1"


@pytest.mark.parametrize(
    ("row", "message"),
    [(("1", None), "name is NULL in row 1"), (("1",), "2 columns"), (("x y", "z"), "syntax error")],
)
def test_a_row_that_makes_no_statement_is_refused(
    row: tuple[str | None, ...], message: str
) -> None:
    (item,) = items_of(EACH)
    (made,) = generated_items(item, [row])
    assert made.refusal is not None
    assert message in made.refusal.message


MISWRITTEN = {
    "-- pgfan: for each id (SELECT 1)\nSELECT :id;": ("1:1", "no for each"),
    "-- pgfan: for each id in (SELEC 1)\nSELECT :id;": ("1:27", "syntax error"),
    "-- pgfan: for each id in (DROP TABLE t)\nSELECT :id;": ("1:27", "no query"),
    "\\set id 1\n /* pgfan: for each id in (SELECT 1) */\nSELECT :id;": ("2:2", "variable id"),
    "-- pgfan: for each id in (SELECT 1)\nSELECT :id \\gexec": ("2:12", "gexec with for each"),
    "-- pgfan: for each id in (SELECT 1)\n\\copy t from f": ("2:1", "copy with for each"),
    "BEGIN;\n-- pgfan: for each id in (SELECT 1)\nSELECT :id;COMMIT;": ("2:27", "inside of BEGIN"),
}


@pytest.mark.parametrize("text", MISWRITTEN)
def test_a_for_each_that_cannot_be_done_is_refused_before_anything_runs(text: str) -> None:
    place, message = MISWRITTEN[text]
    with pytest.raises(UsageError) as caught:
        items_of(text)
    assert str(caught.value.position) == f"main.sql:{place}"
    assert message in caught.value.message


def test_settings_that_were_generated_end_with_their_session() -> None:
    items = items_of("SELECT 1 \\gexec\nSELECT 2;\nSET a.b = 1;\nSELECT 3;")
    sessions = ["a.sql", "a.sql", "b.sql", "b.sql"]
    agenda = Agenda([replace(one, session=name) for one, name in zip(items, sessions, strict=True)])
    agenda.insert(0, generated_items(agenda.items[0], [("SET a.d = 4",)]))
    assert [agenda.items[number].session for number in agenda.order] == ["a.sql", *sessions]
    settings = [agenda.items[number].settings for number in agenda.order]
    assert settings == [(), (), ("SET a.d = 4",), (), ("SET a.b = 1",)]


def test_nobody_knows_ahead_what_a_query_will_make() -> None:
    generating, plain = accesses_of(items_of("SELECT 1 \\gexec\nSELECT 1;"), KnownObjects())
    assert generating.barrier is not None
    assert plain.barrier is None


def test_files_of_the_client_keep_their_order() -> None:
    found = accesses_of(items_of("\\copy t to a/f\n\\copy u from b/../a/f\n"), KnownObjects())
    files = [
        sorted(str(one) for one in each.effects if one.object.kind == "file") for each in found
    ]
    assert files == [["append *", "modify f"], ["read f"]]


def test_what_follows_runs_under_the_settings_that_were_generated() -> None:
    agenda = Agenda(items_of("SET a.b = 1;\nSELECT 1 \\gexec\nSET a.c = 2;\nSELECT 3;"))
    maker = agenda.items[1]
    agenda.insert(1, generated_items(maker, [("SET a.d = 4", "SELECT setseed(0.5)")]))
    assert agenda.order == [0, 1, 4, 5, 2, 3]
    assert [agenda.ids[number] for number in agenda.order] == ["1", "2", "2.1", "2.2", "3", "4"]
    settings = [agenda.items[number].settings for number in agenda.order]
    assert settings[2] == ("SET a.b = 1",)
    assert settings[-1] == ("SET a.b = 1", "SET a.d = 4", "SET a.c = 2")
    assert [item.seeded for item in agenda.items] == [False, False, True, True, False, False]
