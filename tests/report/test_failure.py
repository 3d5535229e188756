from __future__ import annotations

import pytest

from pgfan.errors import ConnectionFailedError, DatabaseError, PgfanError, Position, UsageError
from pgfan.report.failure import render_error
from pgfan.report.rows import character_width


def placed(line: str, column: int, *, number: int = 3, message: str = "syntax error") -> UsageError:
    return UsageError(message, position=Position("f.sql", number, column), source_line=line)


def database_error() -> DatabaseError:
    error = DatabaseError(
        'relation "nubmers" does not exist',
        sqlstate="42P01",
        detail="one\ntwo",
        hint='Perhaps you meant "numbers".',
    )
    error.position = Position("f.sql", 3, 13)
    error.source_line = "INSERT INTO nubmers SELECT 1\n"
    return error


CASES: list[tuple[PgfanError, str]] = [
    (UsageError("--jobs takes 1 or more"), "error: --jobs takes 1 or more\n"),
    (
        database_error(),
        (
            'error: f.sql:3:13: relation "nubmers" does not exist\n'
            "   3 | INSERT INTO nubmers SELECT 1\n"
            "     |             ^\n"
            "SQLSTATE 42P01\n"
            "DETAIL: one\n"
            "        two\n"
            'HINT: Perhaps you meant "numbers".\n'
        ),
    ),
    (
        placed("\tSELECT\t日本 FORM", 12),
        (
            "error: f.sql:3:12: syntax error\n"
            "   3 |     SELECT    日本 FORM\n"
            "     |                    ^\n"
        ),
    ),
    (
        placed("a\x1b[31m b", 8),
        "error: f.sql:3:8: syntax error\n   3 | a\\x1b[31m b\n     |           ^\n",
    ),
    (
        placed("SELECT 1", 99, number=12_345),
        "error: f.sql:12345:99: syntax error\n12345 | SELECT 1\n      |         ^\n",
    ),
    (
        placed("SELECT dblink('password=pw x', 'oops')", 33),
        (
            "error: f.sql:3:33: syntax error\n"
            "   3 | SELECT dblink('password=*** x', 'oops')\n"
            "     |                                  ^\n"
        ),
    ),
    (
        UsageError("not found", position=Position("f.sql", 1, 1)),
        "error: f.sql:1:1: not found\n",
    ),
    (
        ConnectionFailedError('connection to "postgresql://u:pw@h/d" failed:\n\tno route\x1b[2J'),
        'error: connection to "postgresql://u:***@h/d" failed:\n   no route\\x1b[2J\n',
    ),
    (UsageError("[red]x[/red] <script>"), "error: [red]x[/red] <script>\n"),
    (UsageError(""), "error: (no message)\n"),
]


@pytest.mark.parametrize(("error", "expected"), CASES)
def test_an_error_reads_as(error: PgfanError, expected: str) -> None:
    assert render_error(error, color=False, width=80) == expected


def test_a_connection_error_shows_its_sqlstate() -> None:
    error = ConnectionFailedError("sorry, too many clients already")
    error.sqlstate = "53300"
    assert render_error(error, color=False).endswith("already\nSQLSTATE 53300\n")


@pytest.mark.parametrize("filler", ["x ", "日本", "\t", "e\u0301", "\x07"])
@pytest.mark.parametrize("before", [0, 1, 7, 40, 1_000, 100_000])
@pytest.mark.parametrize("after", [0, 3, 10_000])
@pytest.mark.parametrize("width", [20, 80])
def test_a_long_line_is_cut_around_the_caret(
    filler: str, before: int, after: int, width: int
) -> None:
    line = filler * before + "!" + filler * after
    text = render_error(placed(line, line.index("!") + 1), color=False, width=width)
    _, excerpt, caret = text.splitlines()
    cells = "".join(character * character_width(character) for character in excerpt)
    assert len(cells) <= width
    assert cells[caret.index("^")] == "!"
    shown = {"\t": "    ", "\x07": r"\x07"}.get(filler, filler)
    head, _, tail = excerpt.removeprefix("   3 | ").partition("!")
    assert head.startswith("…") == (head != shown * before)
    assert tail.endswith("…") == (tail != shown * after)


def test_color_marks_and_changes_nothing_else() -> None:
    plain = render_error(database_error(), color=False, width=80)
    colored = render_error(database_error(), color=True, width=80)
    assert "\x1b" not in plain
    for code in ("\x1b[1;31m", "\x1b[1m", "\x1b[36m", "\x1b[0m"):
        assert code in colored
        colored = colored.replace(code, "")
    assert colored == plain


def test_a_message_of_many_lines_is_bounded() -> None:
    text = render_error(UsageError("x\n" * 10_000), color=False)
    assert len(text.splitlines()) == 40
