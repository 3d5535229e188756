"""docs/order.md is in step with the code: its tables are the code's own."""

from __future__ import annotations

from typing import get_args

from links import ROOT

from pgfan.plan.graph import WAITS_FOR
from pgfan.sql.effects import BarrierCode, EffectKind

TEXT = (ROOT / "docs" / "order.md").read_text()
CHANGES = "define, alter, drop"


def table(first: str) -> list[list[str]]:
    """The rows of the table whose header begins with `first`, the header among them."""
    lines = TEXT[TEXT.index(first) :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if set(row[0]) != {"-"}]


def test_every_barrier_is_explained() -> None:
    assert {row[0].strip("`") for row in table("| code |")[1:]} == set(get_args(BarrierCode))


def test_every_effect_is_explained() -> None:
    shown = {
        kind for row in table("| effect |")[1:] for kind in row[0].replace("`", "").split(", ")
    }
    assert shown == set(get_args(EffectKind))


def test_the_table_of_what_waits_is_the_one_in_the_code() -> None:
    header, *rows = table("| | use |")
    for row in rows:
        for column, cell in zip(header[1:], row[1:], strict=True):
            for later in row[0].split(", "):
                for earlier in column.split(", "):
                    waits = earlier in WAITS_FOR[later]  # type: ignore[index]
                    assert (cell == "w") == waits, (later, earlier)
    assert {kind for row in rows for kind in row[0].split(", ")} == set(WAITS_FOR)
