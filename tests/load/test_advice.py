"""What is said about a row that COPY refused."""

from __future__ import annotations

import pytest

from pgfan.errors import DatabaseError
from pgfan.load.advice import advice_for
from pgfan.load.copy_options import CopyOptions

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
