import re
from pathlib import Path
from typing import get_args

from pgfan.sql.reasons import HAZARDS, Hazard, ReasonCode

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"


def test_every_code_is_explained() -> None:
    text = PAGE.read_text("utf-8")
    missing = [code for code in get_args(ReasonCode) if f"`{code}`" not in text]
    assert not missing, f"explain these codes in docs/reasons.md: {missing}"


def test_every_code_has_an_example_and_what_one_can_do() -> None:
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    explained = {
        code
        for row in rows
        for code in re.findall(r"`([^`]+)`", row[0])
        if len(row) == 3 and all(row)
    }
    lacking = [code for code in get_args(ReasonCode) if code not in explained]
    assert not lacking, f"give these codes all three columns in docs/reasons.md: {lacking}"


def test_every_hazard_is_explained() -> None:
    text = PAGE.read_text("utf-8")
    assert set(HAZARDS) == set(get_args(Hazard))
    missing = [hazard for hazard in HAZARDS if f"`{hazard}`" not in text]
    assert not missing, f"explain these hazards in docs/reasons.md: {missing}"
