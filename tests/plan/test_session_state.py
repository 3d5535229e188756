"""Which statements need what earlier ones have left in their session."""

from __future__ import annotations

import pytest

from pgfan.plan.session_state import needs_of
from pgfan.sql.program import Program, Source

CASES = {
    "a temporary table": ("CREATE TEMP TABLE w (); TABLE w", {1: {0}}),
    "its rows": (
        "CREATE TEMP TABLE w (); INSERT INTO w DEFAULT VALUES; TABLE w",
        {1: {0}, 2: {0, 1}},
    ),
    "who only reads it leaves nothing": (
        "CREATE TEMP TABLE w (); TABLE w; TABLE w",
        {1: {0}, 2: {0}},
    ),
    "a permanent table": ("CREATE TABLE w (); TABLE w; SELECT 'temp'", {}),
    "it is gone": ("CREATE TEMP TABLE w (); DROP TABLE w; TABLE w", {1: {0}}),
    "it is made anew": (
        "CREATE TEMP TABLE w (); DROP TABLE w; CREATE TEMP TABLE w (i int); TABLE w",
        {1: {0}, 3: {2}},
    ),
    "it goes with its block": (
        2 * "BEGIN; CREATE TEMP TABLE w () ON COMMIT DROP; TABLE w; COMMIT;",
        {},
    ),
    "it may be there": (
        "CREATE TEMP TABLE w (); CREATE TEMP TABLE IF NOT EXISTS w (); TABLE w",
        {1: {0}, 2: {0, 1}},
    ),
    "a view of it": (
        "CREATE TEMP TABLE w (); CREATE TEMP VIEW v AS TABLE w; TABLE v",
        {1: {0}, 2: {0, 1}},
    ),
    "a seed": ("SELECT setseed(0.5); SELECT random(); SELECT random()", {1: {0}, 2: {0, 1}}),
    "random() without one": ("SELECT random(); SELECT random() AS temp", {}),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=list(CASES))
def test_needs(text: str, expected: dict[int, set[int]]) -> None:
    assert needs_of(Program.read([Source("-c", text)], {}).items) == expected
