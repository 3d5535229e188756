"""Ids of runs: many may begin in one second, on one journal."""

from __future__ import annotations

from pgfan.postgres import runs


def test_runs_that_begin_together_have_ids_of_their_own() -> None:
    # 2,000 of 16 random bits would collide about 30 times.
    assert len({runs.new_run_id() for _ in range(2_000)}) == 2_000
