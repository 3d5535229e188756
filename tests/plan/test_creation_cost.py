"""Whether a split CREATE TABLE AS pays: what its rows cost to compute, to write and to log."""

from __future__ import annotations

import pytest

from pgfan.plan.creation_cost import CreationEstimate

MILLION = 1e6
# Cost of the plan, the same for one process; rows, width; jobs; whether the split is chosen for a
# logged table with WAL, one without WAL in the plain statement, and an unlogged one.
CASES = {
    "twenty million random numbers": ((250e3, 250e3, 20 * MILLION, 8, 2), "split plain split"),
    "twenty million on eight cores": ((250e3, 250e3, 20 * MILLION, 8, 8), "split split split"),
    "dear rows": ((5e6, 5e6, MILLION, 40, 2), "split split split"),
    "dear rows, read in parallel": ((2.2e6, 5e6, MILLION, 40, 2), "plain plain plain"),
    "the same on eight cores": (
        (2.2e6, 5e6, MILLION, 40, 8),
        "split split split",
    ),
    "a copy of wide rows": ((100e3, 100e3, MILLION, 1000, 2), "split plain split"),
    "a copy of narrow rows": ((150e3, 150e3, 10 * MILLION, 8, 2), "split plain split"),
    "a large aggregate": ((300e3, 900e3, 100, 40, 2), "plain plain plain"),
    "one worker": ((5e6, 5e6, MILLION, 40, 1), "plain plain plain"),
}


@pytest.mark.parametrize(("figures", "expected"), CASES.values(), ids=list(CASES))
def test_what_is_chosen(figures: tuple[float, float, float, float, int], expected: str) -> None:
    kinds = [(False, False), (False, True), (True, True)]
    found = [
        CreationEstimate(*figures, unlogged=unlogged, wal_minimal=minimal).costs().pays
        for unlogged, minimal in kinds
    ]
    assert " ".join("split" if pays else "plain" for pays in found) == expected


def test_an_unlogged_table_has_no_wal_whatever_the_level() -> None:
    both = [
        CreationEstimate(1e6, 1e6, 1e6, 8, 2, unlogged=True, wal_minimal=minimal).costs()
        for minimal in (False, True)
    ]
    assert both[0] == both[1]
