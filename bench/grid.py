"""Chunks and workers by hand against pgfan's own choice, on four kinds of work: docs/bench.md.

    bench/grid.py [--scale 1] [--repeat 5] [--seed 1] [--only NAME,...] [--json FILE] [--svg FILE]
    bench/grid.py --scale 3 --chunks 4,8,16,64 --workers 2,4    # a part of the grid, of larger work
    bench/grid.py --row-ms 10 [...]     # the same work as waits in the server, for 16 workers

By hand: the pool script (pgfan.bench.pool_script) with so many equal queries and so many processes,
and where there are provinces, a query for each. First every point of the grid once, then the best
`FINALISTS` of them, one query, and `pgfan exec` with no options (`--jobs 16` with waits) `--repeat`
times, each round in an order of its own. Whole commands are timed, start-up included; the CPU time
of the server's processes stands beside them. What is left in the table must be what one query
leaves, or the script ends with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from grid_picture import draw
from msgspec import Struct, field, to_builtins

from pgfan.bench.command import interruptible, run_command
from pgfan.bench.machine import machine_facts, server_cpu_s
from pgfan.bench.site import Site, packaged_site
from pgfan.bench.tables import aligned
from pgfan.bench.ways import PGFAN, POOL_SCRIPT, PYTHON
from pgfan.bench.workloads import NAMES, Workload, wait_function, workloads

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

CHUNKS = (1, 2, 4, 8, 16, 64, 200, 1000)
WORKERS = (1, 2, 4, 8)
WAITING_CHUNKS = (16, 52, 64, 200, 1000)
WAITING_WORKERS = (4, 16)
FINALISTS = 3
FINGERPRINT = "SELECT count(*), sum(hashtextextended(goal::text, 0)) FROM goal"
COUNT = "SELECT count(*), 0 FROM goal"


class Point(Struct, frozen=True):
    """A way to do the work; no `chunks`: pgfan's own."""

    chunks: int
    workers: int
    provinces: bool = False

    @property
    def title(self) -> str:
        """As the tables have it."""
        if not self.chunks:
            return "pgfan"
        what = "a query a province" if self.provinces else f"{self.chunks} queries"
        return f"{what}, {self.workers} workers" if self.chunks > 1 else "one query"


ONE_QUERY = Point(1, 1)


class Run(Struct, frozen=True):
    """One run of one way; what of it only pgfan tells is empty for the pool script."""

    seconds: float
    server_cpu_s: float
    chunks: int
    jobs: int
    task_s: float = 0.0
    key: str = ""


class Figures(Struct):
    """All runs of one point: `survey` once, `rounds` against each other."""

    point: Point
    survey: float = 0.0
    rounds: list[Run] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median, or what the survey found."""
        return median(run.seconds for run in self.rounds) if self.rounds else self.survey

    def middle(self, name: str) -> float:
        """The median of a figure of the rounds."""
        return float(median(getattr(run, name) for run in self.rounds))


class Bench:
    """Runs ways of one workload on one site, and checks what they leave."""

    def __init__(self, site: Site, workload: Workload, options: argparse.Namespace) -> None:
        self._site = site
        self._workload = workload
        self._options = options
        self._make()
        self._blocks = 0
        if workload.table is not None:
            size = f"SELECT pg_relation_size('{workload.table}') / 8192"
            self._blocks = int(site.value(size))
        self._expected: list[str | None] | None = None
        self.run(ONE_QUERY)  # for what it leaves, and for warm caches

    def run(self, point: Point) -> Run:
        """Run `point` once."""
        self._empty()
        with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as file:
            command = self._command(point, file.name)
            file.write("\0".join(self._queries(point)))
            file.flush()
            before_s = self._server_cpu_s()
            outcome = run_command(command)
            used_s = self._server_cpu_s() - before_s
        if outcome.code:
            raise SystemExit(f"{self._workload.name}, {point.title}: {outcome.complaint}")
        self._check(point)
        if point.chunks:
            return Run(outcome.seconds, used_s, point.chunks, point.workers)
        result = json.loads(outcome.output)
        task = result["tasks"][0]
        return Run(
            outcome.seconds,
            used_s,
            task["chunks"],
            result["jobs"],
            task["seconds"],
            task["key"] or ", ".join(reason["message"] for reason in task["reasons"]),
        )

    def grid(self) -> list[Point]:
        """Every point by hand: no more workers than chunks."""
        waits = self._options.row_ms is not None
        chunks = self._options.chunks or (WAITING_CHUNKS if waits else CHUNKS)
        workers = self._options.workers or (WAITING_WORKERS if waits else WORKERS)
        most = self._workload.chunks_max
        pairs = [(many, few) for many in chunks if many <= most for few in workers]
        found = [Point(many, few) for many, few in pairs if few <= many]
        provinces = len(self._workload.by_province())
        if provinces:
            found += [Point(provinces, few, provinces=True) for few in workers]
        return found

    def _make(self) -> None:
        execute = self._site.control.execute
        execute("DROP TABLE IF EXISTS prices, sold, people, pages, goal")
        execute("DROP FUNCTION IF EXISTS waited")
        if self._options.row_ms is not None:
            execute(wait_function(self._options.row_ms))
        if self._workload.make:
            execute(self._workload.make)
        execute("VACUUM ANALYZE")

    def _empty(self) -> None:
        execute = self._site.control.execute
        kind = "" if self._options.logged else "UNLOGGED "
        execute("DROP SCHEMA IF EXISTS pgfan CASCADE")
        execute("DROP TABLE IF EXISTS goal")
        execute(f"CREATE {kind}TABLE goal ({self._workload.columns})")
        self._site.checkpoint()

    def _queries(self, point: Point) -> list[str]:
        if point.provinces:
            return self._workload.by_province()
        return self._workload.queries(point.chunks, self._blocks) if point.chunks else []

    def _command(self, point: Point, file: str) -> list[str]:
        if point.chunks:
            size = [f"--file={file}", f"--processes={point.workers}"]
            return [*PYTHON, str(POOL_SCRIPT), self._site.dsn, *size]
        jobs = [f"--jobs={max(WAITING_WORKERS)}"] if self._options.row_ms is not None else []
        given = ["--json", *jobs, *self._options.pgfan.split(), "-c", self._workload.whole]
        return [*PGFAN, "exec", "-d", self._site.dsn, *given]

    def _server_cpu_s(self) -> float:
        return server_cpu_s(self._site.postmaster_pid) or 0.0

    def _check(self, point: Point) -> None:
        sql = FINGERPRINT if self._workload.repeatable else COUNT
        found = list(self._site.control.execute(sql)[0].rows[0])
        self._expected = self._expected or found
        if found != self._expected:
            what = f"{self._workload.name}, {point.title}"
            raise SystemExit(f"{what}: rows and their hashes {found}, not {self._expected}")


def main() -> int:
    """Make each workload, measure it, print its table; write the JSON and the picture."""
    options = read_options()
    names = [name for name in NAMES if not options.only or name in options.only.split(",")]
    found = workloads(options.scale, options.row_ms)
    dice = Random(options.seed)  # noqa: S311  # an order
    with (
        interruptible(),
        tempfile.TemporaryDirectory(prefix="pgfan-grid-") as folder,
    ):
        Path(folder).chmod(0o711)
        with packaged_site(Path(folder) / "server", "pgfan_grid") as site:
            record: dict[str, Any] = {"schema": 1, "options": as_given(options)}
            record["machine"] = machine_facts(site)
            print(f"{site.where}, {site.cores} cores, load {record['machine']['load_average'][0]}")
            record["workloads"] = [
                measure(Bench(site, found[name], options), found[name], options, dice)
                for name in names
            ]
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    if options.svg:
        options.svg.write_text(draw(record), "utf-8")
    return 0


def measure(
    bench: Bench, workload: Workload, options: argparse.Namespace, dice: Random
) -> dict[str, Any]:
    """The survey, then rounds of the best points; its table is printed."""
    grid = {point: Figures(point) for point in bench.grid()}
    for point in shuffled(grid, dice):
        grid[point].survey = bench.run(point).seconds
    best = sorted(grid.values(), key=lambda figures: figures.survey)[:FINALISTS]
    finalists = {figures.point: figures for figures in best}
    finalists |= {ONE_QUERY: grid.get(ONE_QUERY, Figures(ONE_QUERY))}
    if options.row_ms is not None:  # a minute and a half, for nothing new
        del finalists[ONE_QUERY]
    ours = Figures(Point(0, 0))
    for _ in range(options.repeat):
        for figures in shuffled([*finalists.values(), ours], dice):
            figures.rounds.append(bench.run(figures.point))
    print(f"\n{workload.name}: {workload.title}\n{survey_table(list(grid.values()))}\n")
    print(f"{final_table([*finalists.values(), ours])}\n{verdict(list(finalists.values()), ours)}")
    sys.stdout.flush()
    return {
        "name": workload.name,
        "title": workload.title,
        "points": [to_builtins(figures) | {"s": figures.seconds} for figures in grid.values()],
        "pgfan": to_builtins(ours)
        | {
            "s": ours.seconds,
            "chunks": ours.middle("chunks"),
            "jobs": ours.middle("jobs"),
            "ratio": ours.seconds / min(one.seconds for one in finalists.values()),
        },
    }


def shuffled(items: Iterable[T], dice: Random) -> list[T]:
    """In an order that the seed decides."""
    return sorted(items, key=lambda _: dice.random())


def survey_table(points: list[Figures]) -> str:
    """Seconds of each point: chunks down, workers across."""
    workers = sorted({one.point.workers for one in points})
    rows: list[list[str]] = []
    for key in dict.fromkeys((one.point.chunks, one.point.provinces) for one in points):
        mine = {
            one.point.workers: f"{one.survey:.2f}"
            for one in points
            if (one.point.chunks, one.point.provinces) == key
        }
        name = "a province each" if key[1] else f"{key[0]:,}"
        rows.append([name, *(mine.get(few, "") for few in workers)])
    return aligned(["queries", *(f"{few} workers" for few in workers)], rows)


def final_table(found: list[Figures]) -> str:
    """Medians of the rounds."""
    rows = [
        [
            figures.point.title,
            f"{figures.seconds:.2f}",
            f"{min(run.seconds for run in figures.rounds):.2f}",
            f"{figures.middle('server_cpu_s'):.2f}",
            f"{figures.middle('chunks'):.0f}",
            f"{figures.middle('jobs'):.0f}",
        ]
        for figures in found
    ]
    return aligned(["way", "median s", "least", "server CPU s", "queries", "workers"], rows)


def verdict(by_hand: list[Figures], ours: Figures) -> str:
    """Pgfan against the best point."""
    best = min(by_hand, key=lambda figures: figures.seconds)
    ratio, task_s = ours.seconds / best.seconds, ours.middle("task_s")
    startup_s = ours.seconds - task_s
    return (
        f"pgfan took {ratio:.3f} x the best point ({best.point.title}), split by "
        f"{ours.rounds[-1].key}; {startup_s:.2f} s of it before and after its task"
    )


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="how much work")
    parser.add_argument("--repeat", type=int, default=5, help="rounds of the best points")
    parser.add_argument("--seed", type=int, default=1, help="of the orders")
    parser.add_argument("--chunks", type=integers, help="of the grid: 4,8,16 in place of all")
    parser.add_argument("--workers", type=integers, help="of the grid: 2,4 in place of all")
    parser.add_argument("--row-ms", type=float, help="waits of each row in place of work")
    parser.add_argument("--only", default="", help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--logged", action="store_true", help="write a logged table")
    parser.add_argument("--pgfan", default="", help="options for pgfan, to try them")
    parser.add_argument("--json", type=Path, help="every figure")
    parser.add_argument("--svg", type=Path, help="the picture")
    return parser.parse_args()


def integers(text: str) -> tuple[int, ...]:
    """Numbers with commas between them."""
    return tuple(int(one) for one in text.split(","))


def as_given(options: argparse.Namespace) -> dict[str, Any]:
    """The options that the figures depend on."""
    names = ("scale", "repeat", "seed", "chunks", "workers", "row_ms", "logged", "pgfan")
    return {name: getattr(options, name) for name in names}


if __name__ == "__main__":
    sys.exit(main())
