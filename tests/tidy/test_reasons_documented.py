from pathlib import Path
from typing import get_args

from pgfan.sql.reasons import HAZARDS, Hazard, ReasonCode

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"


def test_every_code_is_explained() -> None:
    text = PAGE.read_text("utf-8")
    missing = [code for code in get_args(ReasonCode) if f"`{code}`" not in text]
    assert not missing, f"explain these codes in docs/reasons.md: {missing}"


def test_every_hazard_is_explained() -> None:
    text = PAGE.read_text("utf-8")
    assert set(HAZARDS) == set(get_args(Hazard))
    missing = [hazard for hazard in HAZARDS if f"`{hazard}`" not in text]
    assert not missing, f"explain these hazards in docs/reasons.md: {missing}"
