"""pgfan's own chunks against the best of a grid by hand, simulated: a table of docs/scheduling.md.

    bench/simulate_grid.py [--explain FIXED,UNIT] [--seeds 3] [--worst 10] [--workers 4,16]

`pgfan.bench.tuning` has the cases and the grid. `--explain 1,1` has EXPLAIN say what is true, and
`0.1,1` a tenth of the fixed cost; without it nothing is known. The figures are pgfan's makespan
over that of the best point with as many workers, means over the seeds. Each side has its own luck,
and the best of some twenty points is the luckiest of them.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import TYPE_CHECKING

from pgfan.bench.tables import aligned
from pgfan.bench.tuning import FIXED_S, Found, cases, compare
from pgfan.plan.scheduler import SchedulerOptions
from pgfan.plan.sizing import SizingOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

AS_RUN = SchedulerOptions(SizingOptions(), batch_s=0.02)


def main() -> None:
    """Play every case, print the summary and the worst."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--explain", help="multiples of the two costs that EXPLAIN tells")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--worst", type=int, default=10, help="how many cases to print")
    parser.add_argument("--workers", help="only cases with so many")
    options = parser.parse_args()
    told = None
    if options.explain:
        fixed, unit = map(float, options.explain.split(","))
        told = (fixed, unit)
    workers = {int(word) for word in (options.workers or "").split(",") if word}
    found = [
        compare(case, AS_RUN, options.seeds)
        for case in cases(told)
        if not workers or case.workers in workers
    ]
    print(summary(found))
    if options.worst:
        print(f"\n{worst(found, options.worst)}")


def summary(found: Sequence[Found]) -> str:
    """Median and worst for each fixed cost: even and skewed rows, and with too few cores."""
    rows = []
    for fixed_s in (*FIXED_S, None):
        mine = [one for one in found if fixed_s in (None, one.case.fixed_s)]
        enough = [one for one in mine if one.case.workers <= one.case.cores]
        groups = (
            [one.ratio for one in enough if not one.case.skewed],
            [one.ratio for one in enough if one.case.skewed],
            [one.ratio for one in mine if one.case.workers > one.case.cores],
        )
        name = "all" if fixed_s is None else f"{fixed_s:g} s"
        rows.append([name, *(_middle_and_worst(group) for group in groups)])
    heads = ["fixed cost", "even: median, worst", "skewed", "more workers than cores"]
    return aligned(heads, rows)


def _middle_and_worst(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} {max(ratios):6.2f}" if ratios else ""


def worst(found: Sequence[Found], count: int) -> str:
    """The cases in which pgfan is farthest from the best."""
    rows = []
    for one in sorted(found, key=lambda one: -one.ratio)[:count]:
        case = one.case
        rows.append(
            [
                f"{case.fixed_s:g} s",
                f"{case.work_s:g} s",
                f"{case.unit_s:g} s",
                f"{case.workers}/{case.cores}",
                "10x" if case.skewed else "",
                f"{one.seconds:.2f}",
                f"{one.chunks:.0f}",
                f"{one.same_s:.2f}",
                f"{one.best_s:.2f} ({one.best_chunks} by {one.best_workers})",
                f"{one.ratio:.2f}",
            ]
        )
    heads = ["fixed", "work", "a unit", "workers/cores", "skew", "pgfan s", "chunks"]
    return aligned([*heads, "best s", "with fewer workers too", "ratio"], rows)


if __name__ == "__main__":
    main()
