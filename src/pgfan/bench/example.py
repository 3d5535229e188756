"""The introduction's example as a benchmark: every way, interleaved, repeated, on both tables.

Each round runs every way once, in an order shuffled with a seed that is printed: whatever drifts
(the disk, the neighbours) drifts for all. Ratios are made within a round, and their median counts.
"""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from pgfan.bench.tables import aligned
from pgfan.bench.ways import ONE_QUERY, PGFAN_EXEC, WAYS, Measurement, Way, Work, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.bench.site import Site

COLUMNS = (
    "table",
    "way",
    "median s",
    "min",
    "max",
    "x faster",
    "queries",
    "client CPU s",
    "server CPU s",
)


class Series(Struct):
    """All runs of one way on one kind of table, in the order of the rounds."""

    way: Way
    work: Work
    runs: list[Measurement] = field(default_factory=list)

    @property
    def good(self) -> list[Measurement]:
        """The runs that did their work."""
        return [run for run in self.runs if run.error is None]

    @property
    def seconds(self) -> list[float]:
        """Their times."""
        return [run.seconds for run in self.good]

    def times_of(self, other: Series) -> list[float]:
        """How long `other` took for each second of this one, round by round."""
        return [
            theirs.seconds / mine.seconds
            for mine, theirs in zip(self.runs, other.runs, strict=True)
            if mine.error is None and theirs.error is None
        ]


class ExampleResult(Struct, frozen=True):
    """The section `example`: what was run, and every single time."""

    seed: int
    cores: int
    series: tuple[Series, ...]

    @property
    def failures(self) -> list[str]:
        """A line for each way that failed: its name, and why the first time."""
        lines = []
        for one in self.series:
            errors = [run.error for run in one.runs if run.error is not None]
            if errors:
                place = f"{one.way.name} ({one.work.table} table)"
                lines.append(f"{place} failed in {len(errors)} of {len(one.runs)}: {errors[0]}")
        return lines

    def baseline(self, one: Series) -> Series | None:
        """The one query on the same kind of table, if it was run."""
        return self._find(one.work, lambda way: way == ONE_QUERY)

    def against_best_pool(self, work: Work) -> tuple[Series, float] | None:
        """The pool script with the best median, and pgfan's time as a multiple of its.

        None when either was not run.
        """
        pools = [
            one
            for one in self.series
            if one.work == work and one.way.peer == "pool" and one.seconds
        ]
        ours = self._find(work, lambda way: way == PGFAN_EXEC)
        if not pools or ours is None or not ours.seconds:
            return None
        best = min(pools, key=lambda one: median(one.seconds))
        ratios = best.times_of(ours)
        return (best, median(ratios)) if ratios else None

    def works(self) -> list[Work]:
        """The kinds of table, in order."""
        return list(dict.fromkeys(one.work for one in self.series))

    def _find(self, work: Work, wanted: Callable[[Way], bool]) -> Series | None:
        found = (one for one in self.series if one.work == work and wanted(one.way))
        return next(found, None)

    def to_json(self) -> dict[str, Any]:
        """JSON values: every single time, and what they come to."""
        best = {}
        for work in self.works():
            found = self.against_best_pool(work)
            if found is not None:
                best[work.table] = {"pool": found[0].way.name, "times": round(found[1], 4)}
        return {
            "seed": self.seed,
            "processes": self.cores,
            "results": [self._series_json(one) for one in self.series],
            "pgfan_against_best_pool": best,
        }

    def _series_json(self, one: Series) -> dict[str, Any]:
        baseline = self.baseline(one)
        ratios = one.times_of(baseline) if baseline else []
        return {
            "table": one.work.table,
            "way": one.way.name,
            "title": one.way.title(self.cores),
            "seconds": [_rounded(run.seconds, run) for run in one.runs],
            "ratios": [round(ratio, 4) for ratio in ratios],
            "queries": [run.queries for run in one.runs],
            "client_cpu_seconds": [_rounded(run.client_cpu_s, run) for run in one.runs],
            "server_cpu_seconds": [_rounded(run.server_cpu_s, run) for run in one.runs],
            "median_seconds": round(median(one.seconds), 6) if one.seconds else None,
            "ratio_median": round(median(ratios), 4) if ratios else None,
            "errors": [run.error for run in one.runs if run.error is not None],
        }

    def to_text(self) -> str:
        """The table for people."""
        text = aligned(COLUMNS, [self._row(one) for one in self.series], words=2)
        for work in self.works():
            found = self.against_best_pool(work)
            if found is not None:
                title = found[0].way.title(self.cores)
                text += f"{work.table}: pgfan took {found[1]:.3f} x the time of the best {title}\n"
        return text

    def _row(self, one: Series) -> tuple[str, ...]:
        title = one.way.title(self.cores)
        if not one.seconds:
            return (one.work.table, title, "failed", *["-"] * (len(COLUMNS) - 3))
        baseline = self.baseline(one)
        ratios = one.times_of(baseline) if baseline else []
        server_cpu = [run.server_cpu_s for run in one.good if run.server_cpu_s is not None]
        return (
            one.work.table,
            title,
            f"{median(one.seconds):.2f}",
            f"{min(one.seconds):.2f}",
            f"{max(one.seconds):.2f}",
            f"{median(ratios):.2f}" if ratios else "-",
            f"{median(run.queries for run in one.good):.0f}",
            f"{median(run.client_cpu_s for run in one.good):.2f}",
            f"{median(server_cpu):.2f}" if server_cpu else "-",
        )


def run_example(
    site: Site,
    rows: int,
    repeat: int,
    ways: Sequence[Way],
    *,
    seed: int,
    say: Callable[[str], None],
) -> ExampleResult:
    """Run `repeat` rounds of `ways` on a logged and an unlogged table of `rows` rows."""
    order = random.Random(seed)  # noqa: S311  # an order, not a secret
    series = [
        Series(way, Work(rows, unlogged))
        for unlogged in (False, True)
        for way in WAYS
        if way in ways
    ]
    for number in range(1, repeat + 1):
        for one in order.sample(series, len(series)):
            run = measure(site, one.way, one.work)
            one.runs.append(run)
            title = one.way.title(site.cores)
            outcome = f"FAILED: {run.error}" if run.error else f"{run.seconds:8.2f} s"
            say(f"round {number}/{repeat}  {one.work.table:8}  {title:28}  {outcome}")
    site.control.execute("DROP TABLE IF EXISTS numbers")
    return ExampleResult(seed, site.cores, tuple(series))


def _rounded(value: float | None, run: Measurement) -> float | None:
    return None if value is None or run.error is not None else round(value, 6)
