"""How long the rows of a client's file are taken to take, before anybody has measured it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.plan.priority import TYPICAL_S
from pgfan.postgres.feed import COPY_BYTES_S, copy_s

if TYPE_CHECKING:
    from pathlib import Path


def test_a_large_file_takes_longer_than_other_statements(tmp_path: Path) -> None:
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(int(30 * COPY_BYTES_S))
    assert copy_s([tmp_path / "large.csv"]) == 30.0


def test_rows_in_the_script_count_as_well() -> None:
    assert copy_s(["1\n" * 20_000_000, "2\n"]) > TYPICAL_S


def test_little_and_what_is_not_there_is_typical(tmp_path: Path) -> None:
    assert copy_s(["1\n", tmp_path / "none.csv"]) == TYPICAL_S
