"""A seeded run of many statements against one database."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from fuzz_compare import Differential, MismatchError
from fuzz_pool import pooled
from fuzz_statements import Examples
from hypothesis import HealthCheck, Phase, given, seed, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuzz_statements import Example
    from fuzz_tally import Tally

STATEMENTS = int(os.environ.get("PGFAN_FUZZ_STATEMENTS", "1000"))
"""On each server: 2,000 in `make test`."""
SEED = int(os.environ.get("PGFAN_FUZZ_SEED", "1"))


class _EnoughError(BaseException):
    """Ends the run; Hypothesis takes it neither for a failure nor for something to catch."""


def run(
    dsn: str,
    count: int,
    chosen_seed: int,
    on_mismatch: Callable[[MismatchError], None] | None = None,
) -> Tally:
    """Check `count` statements; what came of them.

    Raises MismatchError for the first mismatch, shrunk. With `on_mismatch` it is given every one
    as it is found, and none is raised; an interrupt ends the run with its report then.
    """
    differential = Differential(dsn)
    tally = differential.tally

    def check(examples: tuple[Example, ...]) -> None:
        for example in examples:
            if tally.total == count and not tally.stopped:
                raise _EnoughError
            try:
                differential.check(example)
            except MismatchError as mismatch:
                if on_mismatch is None:
                    raise
                tally.stopped = False
                tally.outcomes["mismatch"] += 1
                on_mismatch(mismatch)

    test = given(Examples())(check)
    test = settings(
        max_examples=count + 1,  # each has a statement at least
        database=None,
        deadline=None,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )(test)
    try:
        with pooled(), suppress(_EnoughError):
            seed(chosen_seed)(test)()
    except KeyboardInterrupt:
        if on_mismatch is None:
            raise
    finally:
        differential.close()
    return tally
