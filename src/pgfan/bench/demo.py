"""`pgfan demo`: the pool script's example and a real join, once each, on the packaged server.

A benchmark repeats and interleaves; this shows one run of each way to somebody who is new here.
Text for people and JSON come from the same result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from pgfan.bench import flights
from pgfan.bench.site import packaged_site
from pgfan.bench.tables import aligned
from pgfan.bench.ways import ONE_QUERY, PGFAN_EXEC, Measurement, Way, Work, check_rows, measure
from pgfan.errors import PgfanError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfan.bench.flights import FlightsResult
    from pgfan.bench.site import Site

DATABASE = "pgfan_demo"
# More queries than processes, so that they end together; few enough that none is small.
POOL_SCRIPT = Way("pool-script", "pool", 16)
WAYS = (ONE_QUERY, POOL_SCRIPT, PGFAN_EXEC)
COLUMNS = ("way", "seconds", "x faster", "rows", "queries or chunks")
# Below this a ratio says more about the start of Python than about the server.
SHORT_S = 3.0


class DemoResult(Struct, frozen=True):
    """What the demo found. `flights` is None without the package that has them."""

    rows: int
    cores: int
    where: str
    numbers: tuple[Measurement, ...]
    flights: FlightsResult | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values, as `pgfan demo --json` prints them; `ratio`: times faster than one query."""
        return {
            "schema": 1,
            "rows": self.rows,
            "cores": self.cores,
            "server": self.where,
            "numbers": [
                {
                    "way": done.way,
                    "seconds": round(done.seconds, 6),
                    "ratio": round(self.numbers[0].seconds / done.seconds, 4),
                    "rows": self.rows,
                    "queries": done.queries,
                }
                for done in self.numbers
            ],
            "flights": self.flights.to_json() if self.flights else None,
        }


def run_demo(
    folder: Path,
    rows: int,
    *,
    keep: bool,
    show: bool,
    say: Callable[[str], None],
    write: Callable[[str], None],
) -> DemoResult:
    """Run the demo on the packaged server in `folder`.

    `say` gets lines of progress, `write` the text for people, part by part. With `show` the
    progress of pgfan goes to stderr. Raises PgfanError when a way fails or its rows are wrong.
    """
    check_rows(rows)
    say(f"starting the packaged server in {folder}")
    with packaged_site(folder, DATABASE, keep=keep) as site:
        write(_introduction(site, rows))
        result = DemoResult(rows, site.cores, site.where, _numbers(site, rows, show, say))
        write(_numbers_text(result))
        result = replace(result, flights=_flights(site, show, say, write))
    write(_farewell(folder, site, keep))
    return result


def _numbers(
    site: Site, rows: int, show: bool, say: Callable[[str], None]
) -> tuple[Measurement, ...]:
    done = []
    for number, way in enumerate(WAYS, 1):
        title = way.title(site.cores)
        say(f"{number}/{len(WAYS)} {title} ...")
        found = measure(site, way, Work(rows), show=show and way is PGFAN_EXEC)
        if found.error is not None:
            raise PgfanError(f"{title} failed: {found.error}")
        say(f"{number}/{len(WAYS)} {title}: {found.seconds:.2f} s")
        done.append(found)
    return tuple(done)


def _flights(
    site: Site, show: bool, say: Callable[[str], None], write: Callable[[str], None]
) -> FlightsResult | None:
    data = flights.find_data()
    if data is None:
        write(f"\nThe second part, a join of real rows, is left out: {flights.INSTALL}\n")
        return None
    say("loading airports, planes and flights")
    counts = flights.load_tables(site, data)
    say("building the joined table twice")
    result = flights.build_twice(site, show=show)
    write(_flights_text(counts, result))
    if result.differences:
        raise PgfanError(
            f"the two tables of flights differ in {result.differences:,} rows",
            hint="this is a bug of pgfan, and the worst that there is: please report it",
        )
    return result


def _introduction(site: Site, rows: int) -> str:
    return (
        f"{rows:,} random numbers into a new table, three ways:\n"
        "  1. one query                INSERT INTO numbers SELECT random() FROM "
        f"generate_series(1, {rows})\n"
        f"  2. the pool script          {POOL_SCRIPT.queries} equal queries, split by hand, run "
        f"by {site.cores} processes (this machine's cores)\n"
        "  3. pgfan exec               the one query of 1, with no options\n"
        "Each gets a table of its own, a CHECKPOINT before it, and a clock that counts start-up.\n"
        f"Server: {site.where}\n"
    )


def _numbers_text(result: DemoResult) -> str:
    rows = [
        (
            way.title(result.cores),
            f"{done.seconds:.2f}",
            f"{result.numbers[0].seconds / done.seconds:.2f}",
            f"{result.rows:,}",
            f"{done.queries:,}",
        )
        for way, done in zip(WAYS, result.numbers, strict=True)
    ]
    one, last = result.numbers[0], result.numbers[-1]
    return (
        f"\n{aligned(COLUMNS, rows)}Every table was counted: {result.rows:,} rows each.\n"
        f"{_reasons_text(last.reasons)}{_short_text(one.seconds)}"
    )


def _flights_text(counts: dict[str, int], result: FlightsResult) -> str:
    loaded = ", ".join(f"{count:,} {table}" for table, count in counts.items())
    faster = result.one_query_s / result.pgfan_s
    rows = [
        ("one query", f"{result.one_query_s:.2f}", "1.00", f"{result.rows:,}", "1"),
        (
            "pgfan exec",
            f"{result.pgfan_s:.2f}",
            f"{faster:.2f}",
            f"{result.rows:,}",
            f"{result.chunks:,}",
        ),
    ]
    verdict = "hold the same rows" if not result.differences else "DIFFER"
    return (
        f"\nReal rows: {loaded}.\n"
        "One INSERT..SELECT joins each flight with its airport and its plane:\n\n"
        f"{aligned(COLUMNS, rows)}"
        f"The two tables {verdict}: EXCEPT ALL, both ways, finds {result.differences:,} rows.\n"
        f"{_reasons_text(result.reasons)}{_short_text(result.one_query_s)}"
    )


def _reasons_text(reasons: tuple[str, ...]) -> str:
    return "".join(f"pgfan ran it on one connection: {reason}.\n" for reason in reasons)


def _short_text(one_query_s: float) -> str:
    """What to think of a ratio when there was too little to do."""
    if one_query_s >= SHORT_S:
        return ""
    return "So little work that starting the programs is a good part of it; look at the rows.\n"


def _farewell(folder: Path, site: Site, keep: bool) -> str:
    kept = f"The tables are dropped and the server is stopped; its folder {folder} stays.\n"
    if keep:
        kept = (
            f"The tables are kept in the database {DATABASE} of the server in {folder}, which is "
            "stopped.\n"
            f"While a pgfan uses the server: {site.psql} -h {folder.resolve()} -U postgres "
            f"{DATABASE}\n"
        )
    steps = (
        ('pgfan exec -d "dbname=mine" -f heavy.sql', "your own statement, on your own server"),
        (f"pgfan exec --embedded {folder} -f heavy.sql", "or on this one"),
        ("pgfan status, pgfan resume", "what was done, and going on after a crash"),
        ("pgfan bench example", "the first comparison, repeated, with more ways"),
    )
    width = max(len(command) for command, _ in steps)
    lines = "".join(f"  {command.ljust(width)}  {what}\n" for command, what in steps)
    return f"\n{kept}\nTry next:\n{lines}"
