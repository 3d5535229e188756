"""What is said about a row that COPY refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from load_files import source_of

from pgfan.errors import DatabaseError
from pgfan.load.advice import advice_for
from pgfan.load.copy_options import CopyOptions
from pgfan.load.feed import Feed
from pgfan.plan.ranges import Range

if TYPE_CHECKING:
    from pathlib import Path

SYNTAX, ENCODING, RANGE = "22P02", "22021", "22008"
COMMA, SEMICOLON = CopyOptions(), CopyOptions(delimiter=";")
CASES = {
    "another encoding": (ENCODING, '"UTF8": 0xe9 0x2c', None, COMMA, "--encoding says"),
    "NUL": (ENCODING, '"UTF8": 0x00', None, COMMA, "iconv -f UTF-16"),
    "another order of days": (RANGE, "out of range", "31/12/2020", COMMA, "PGDATESTYLE=DMY"),
    "semicolons": (SYNTAX, "invalid", "1;a", COMMA, "--delimiter ';'"),
    "tabs": ("22P04", "missing data", "1\ta", COMMA, r"--delimiter '\t'"),
    "a decimal comma": (SYNTAX, "invalid", "-1.234,50", SEMICOLON, "decimal comma"),
    "a bad value": (SYNTAX, "invalid", "abc", COMMA, None),
    "a semicolon in a file that has them": (SYNTAX, "invalid", "a;b", SEMICOLON, None),
    "thousands": (SYNTAX, "invalid", "1,234,567", SEMICOLON, None),
    "no value": ("23505", "duplicate key", None, COMMA, None),
}


def test_a_field_of_a_gigabyte_is_told_by_its_line(tmp_path: Path) -> None:
    """As PostgreSQL refuses one: with the line, and neither column nor value."""
    path = tmp_path / "data.csv"
    path.write_bytes(b"1,a\n2,b\n")
    message = "string buffer exceeds maximum allowed length (1073741823 bytes)"
    refused = DatabaseError(message, sqlstate="54000", context="COPY t, line 2")
    feed = Feed([[source_of(path, piece_bytes=100)]], advice="leave it out")
    error = feed.explained(Range(0, 1), refused)
    assert (error.message, error.hint) == (f"{path}:2: {message}", "leave it out")


@pytest.mark.parametrize(
    ("sqlstate", "message", "value", "options", "said"), CASES.values(), ids=list(CASES)
)
def test_the_likeliest_mistake_is_named(
    sqlstate: str, message: str, value: str | None, options: CopyOptions, said: str | None
) -> None:
    hint = 'Perhaps you need a different "DateStyle" setting.' if sqlstate == RANGE else None
    error = DatabaseError(message, sqlstate=sqlstate, hint=hint)
    found = advice_for(error, value, options)
    assert found == said or (said is not None and said in (found or ""))
