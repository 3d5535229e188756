"""Random statements on random tables: split by pgfan they leave what one connection leaves.

PGFAN_FUZZ_EXAMPLES and PGFAN_FUZZ_SEED choose how many and which; `make fuzz` runs more.
"""

from __future__ import annotations

import pytest
from fuzz_run import EXAMPLES, SEED, run


@pytest.mark.timeout(60 + 2 * EXAMPLES)
def test_split_statements_leave_what_one_connection_leaves(dsn: str) -> None:
    print(f"seed {SEED}, {EXAMPLES} examples")  # noqa: T201  # shown when the test fails
    print(run(dsn, EXAMPLES, SEED))  # noqa: T201
