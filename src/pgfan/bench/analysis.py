"""What it costs to judge a statement, and to run many small ones.

Two sections: `analysis` times the catalogue's facts, the parser and the verdict on a statement of
middle size, and 20,000 statements of its shape without a server; `script` runs a script of small
statements by psql and by pgfan in turn.
"""

from __future__ import annotations

import tempfile
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pgfan.bench.overhead import timed
from pgfan.bench.tables import aligned
from pgfan.bench.ways import PGFAN
from pgfan.errors import PgfanError
from pgfan.postgres.catalog import read_facts
from pgfan.sql.access import references
from pgfan.sql.distribute import Split, distribute
from pgfan.sql.judged import Judged
from pgfan.sql.parsing import parse
from pgfan.sql.tree import inner

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.bench.site import Site
    from pgfan.sql.facts import CatalogFacts

DROP = "DROP TABLE IF EXISTS totals, orders, customers, lines, provinces;"
TABLES = f"""{DROP}
CREATE TABLE provinces (id int PRIMARY KEY, name text);
CREATE TABLE customers (id int PRIMARY KEY, province int, name text, made timestamptz);
CREATE TABLE orders (id int PRIMARY KEY, customer int, total numeric, day date);
CREATE TABLE lines (orders int, item int, price numeric, note text);
CREATE INDEX ON orders (customer);
CREATE TABLE totals (customer int, name text, orders bigint, spent numeric, last_day date)"""
STATEMENT = """
INSERT INTO totals (customer, name, orders, spent, last_day)
SELECT c.id, min(c.name), count(DISTINCT o.id), sum(l.price * (1 - {number}::numeric / 100)),
    max(o.day)
FROM customers c
JOIN orders o ON o.customer = c.id
LEFT JOIN (SELECT orders, sum(price) AS price FROM lines WHERE note IS NULL GROUP BY orders) l
    ON l.orders = o.id
WHERE c.province IN (SELECT id FROM provinces WHERE name LIKE 'A%' OR name = 'B{number}')
    AND o.day BETWEEN date '2020-01-01' AND date '2020-12-31'
    AND CASE WHEN o.total > {number} THEN c.made < timestamptz '2024-01-01 00:00+00' ELSE true END
GROUP BY c.id
HAVING sum(o.total) > {number}"""
STATEMENTS_MAX = 20_000
REPEAT_PER_ROUND = 50
SMALL_STATEMENTS_MAX = 1_000


class AnalysisResult(Struct, frozen=True):
    """The section `analysis`: seconds, one time for each try; `many_s` for `many` statements."""

    facts_s: tuple[float, ...]
    parse_s: tuple[float, ...]
    verdict_s: tuple[float, ...]
    many: int
    many_s: float

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "statements": self.many,
            "facts_ms": round(1e3 * median(self.facts_s), 3),
            "parse_ms": round(1e3 * median(self.parse_s), 3),
            "verdict_ms": round(1e3 * median(self.verdict_s), 3),
            "many_seconds": round(self.many_s, 3),
        }

    def to_text(self) -> str:
        """The table for people."""
        rows = [
            (name, f"{1e3 * median(times):.2f}", f"{1e3 * min(times):.2f}")
            for name, times in (
                ("facts of the catalogue", self.facts_s),
                ("parser", self.parse_s),
                ("verdict", self.verdict_s),
            )
        ]
        table = aligned(("of one statement", "median ms", "min"), rows)
        return (
            f"{table}{self.many:,} statements of its shape parsed and judged: {self.many_s:.1f} s\n"
        )


class ScriptResult(Struct, frozen=True):
    """The section `script`: seconds for a script of small statements."""

    statements: int
    psql_s: tuple[float, ...]
    pgfan_s: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values: every single time."""
        return {
            "statements": self.statements,
            "psql_seconds": [round(seconds, 6) for seconds in self.psql_s],
            "pgfan_seconds": [round(seconds, 6) for seconds in self.pgfan_s],
        }

    def to_text(self) -> str:
        """The table for people."""
        columns = ("statements", "psql s", "pgfan s", "added ms each")
        psql, pgfan = median(self.psql_s), median(self.pgfan_s)
        added = 1e3 * (pgfan - psql) / self.statements
        row = (f"{self.statements:,}", f"{psql:.2f}", f"{pgfan:.2f}", f"{added:.2f}")
        return aligned(columns, [row])


def run_analysis(
    site: Site, rows: int, repeat: int, *, say: Callable[[str], None]
) -> AnalysisResult:
    """Judge one statement again and again, then many. Raises PgfanError when it is not split."""
    session = site.control
    session.execute(TABLES)
    tree = inner(parse(STATEMENT.format(number=7)).stmts[0].stmt)
    facts = read_facts(session, references(tree), None)
    if not isinstance(distribute(tree, facts), Split):
        raise PgfanError("the statement of the comparison is not split")
    many = min(rows, STATEMENTS_MAX)
    tries = REPEAT_PER_ROUND * repeat
    result = AnalysisResult(
        _times(tries, lambda: read_facts(session, references(tree), None)),
        _times(tries, lambda: parse(STATEMENT.format(number=7))),
        _times(tries, lambda: distribute(tree, facts)),
        many,
        _many(facts, many),
    )
    session.execute(DROP)
    say(f"analysis  {1e3 * median(result.verdict_s):.2f} ms, {result.many_s:.1f} s for all")
    return result


def run_script(site: Site, rows: int, repeat: int, *, say: Callable[[str], None]) -> ScriptResult:
    """Run a script of small statements by psql and by pgfan in turn, once unmeasured."""
    site.control.execute(TABLES)
    statements = min(SMALL_STATEMENTS_MAX, max(10, rows // 20))
    lines = (
        f"INSERT INTO provinces SELECT id + {n}, name FROM provinces WHERE id = {n % 50};\n"
        for n in range(statements)
    )
    psql: list[float] = []
    pgfan: list[float] = []
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.writelines(lines)
        script.flush()
        for number in range(repeat + 1):
            for ours in (bool(number % 2), not number % 2):
                command = [*PGFAN, "exec", "-d", site.dsn, "-f", script.name]
                if not ours:
                    command = [*site.psql_command("")[:-2], "-f", script.name]
                seconds = timed("pgfan exec" if ours else "psql", command)[0]
                if number:
                    (pgfan if ours else psql).append(seconds)
    site.control.execute(DROP)
    say(f"script  psql {median(psql):.2f} s, pgfan {median(pgfan):.2f} s")
    return ScriptResult(statements, tuple(psql), tuple(pgfan))


def _times(tries: int, work: Callable[[], object]) -> tuple[float, ...]:
    found = []
    for _ in range(tries):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return tuple(found)


def _many(facts: CatalogFacts, count: int) -> float:
    begin = time.perf_counter()
    judged = Judged()
    for number in range(count):
        text = STATEMENT.format(number=number)
        tree = inner(parse(text).stmts[0].stmt)
        judged.verdict(text, lambda tree=tree: tree, facts)  # type: ignore[misc]
    return time.perf_counter() - begin
