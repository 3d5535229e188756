"""What an error code means for a chunk."""

from __future__ import annotations

import pytest

from pgfan.plan.sqlstate import disposition_of, ends_connection

CODES = [
    ("40001", "again"),
    ("40P01", "again"),
    ("53200", "halve"),
    ("53400", "halve"),
    ("57014", "halve"),
    ("23505", "fatal"),
    ("23503", "fatal"),
    ("22012", "fatal"),
    ("42P01", "fatal"),
    ("42601", "fatal"),
    ("40002", "fatal"),
    ("53100", "fatal"),
    ("55P03", "fatal"),
    ("25P02", "fatal"),
    ("XX000", "fatal"),
    ("", "fatal"),
]


@pytest.mark.parametrize(("sqlstate", "disposition"), CODES)
def test_what_to_do_about_a_chunk(sqlstate: str, disposition: str) -> None:
    assert disposition_of(sqlstate) == disposition


@pytest.mark.parametrize(
    ("sqlstate", "ends"),
    [
        ("57P01", True),
        ("57P02", True),
        ("57P03", True),
        ("57P05", True),
        ("25P03", True),
        ("08006", True),
        ("08P01", True),
        ("57014", False),
        ("25P02", False),
        ("53300", False),
        ("40001", False),
    ],
)
def test_whether_the_connection_is_gone(sqlstate: str, *, ends: bool) -> None:
    assert ends_connection(sqlstate) is ends
