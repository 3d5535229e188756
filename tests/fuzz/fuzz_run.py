"""A seeded run of many examples against one database."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from fuzz_compare import Differential, MismatchError
from fuzz_statements import Examples
from hypothesis import HealthCheck, Phase, given, seed, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuzz_statements import Example

EXAMPLES = int(os.environ.get("PGFAN_FUZZ_EXAMPLES", "1000"))
"""On each server: 2,000 in `make test`."""
SEED = int(os.environ.get("PGFAN_FUZZ_SEED", "1"))


def run(
    dsn: str,
    count: int,
    chosen_seed: int,
    on_mismatch: Callable[[MismatchError], None] | None = None,
) -> str:
    """Check `count` examples; the report.

    Raises MismatchError for the first mismatch, shrunk. With `on_mismatch` it is given every one
    as it is found, and none is raised.
    """
    differential = Differential(dsn)

    def check(example: Example) -> None:
        try:
            differential.check(example)
        except MismatchError as mismatch:
            if on_mismatch is None:
                raise
            differential.tally.stopped = False
            on_mismatch(mismatch)

    test = given(Examples())(check)
    test = settings(
        max_examples=count,
        database=None,
        deadline=None,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )(test)
    began = time.monotonic()
    try:
        seed(chosen_seed)(test)()
    finally:
        differential.close()
    seconds = time.monotonic() - began
    return f"{differential.tally.report()}\n{count / seconds:.1f} examples/s"
