"""What pgfan says of each TPC-H statement, and the table of it in docs/tpch.md.

Verdict, driving relation, key and reasons are those of `pgfan.api.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from tpch_data import ROOT
from tpch_queries import QUERIES

from pgfan import api
from pgfan.postgres.analysis import Analyst
from pgfan.postgres.choosing import SplitOptions
from pgfan.postgres.server import probe_server
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.sql.program import Program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.plan.preview import StatementPlan
    from pgfan.plan.task import SplitPlan

PAGE = ROOT / "docs" / "tpch.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
HEADER = """\
| query | asks for | `CREATE TABLE AS` | `INSERT ... SELECT` |
| --- | --- | --- | --- |
"""
ALWAYS = api.ExecOptions(split="always")


@dataclass(frozen=True)
class TpchVerdict:
    """pgfan's verdict on one statement; `driving` is the relation that a split divides."""

    outcome: StatementPlan
    driving: str | None

    def __str__(self) -> str:
        if self.outcome.verdict == "split":
            return f"split: {self.driving} by {self.outcome.key}"
        codes = dict.fromkeys(code for code, _ in self.outcome.reasons)
        return f"{self.outcome.verdict}: " + ", ".join(f"`{code}`" for code in codes)


def verdicts(dsn: str, statements: Sequence[str]) -> list[TpchVerdict]:
    """The verdict on each statement, as if it were alone; nothing is run."""
    sources = [api.Source(f"{number}.sql", text) for number, text in enumerate(statements)]
    outcomes = api.plan(dsn, sources, ALWAYS)
    assert len(outcomes) == len(statements)
    return [
        TpchVerdict(outcome, outcome.by.relation if outcome.by else None) for outcome in outcomes
    ]


def cut(dsn: str, statement: str) -> SplitPlan | None:
    """How one statement is cut into chunks; None when it is not split."""
    session, snapshots = PostgresSession(dsn), SnapshotHolder(dsn)
    try:
        refuses = probe_server(session).refuses_split
        (item,) = Program.read([api.Source("-c", statement)], {}).items
        analyst = Analyst(session, snapshots, SplitOptions("always"), refuses)
        return analyst.analyse(item).plan.split
    finally:
        snapshots.end()
        session.close()


def table(dsn: str, scale: str) -> str:
    """The Markdown table of all queries; makes empty target tables in the schema planned."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS planned CASCADE")
        connection.execute("CREATE SCHEMA planned")
        for query in QUERIES:
            connection.execute(query.create_empty("planned", scale).encode())
    # A CREATE TABLE of a table that is there would fail; no table of public has such a name.
    created = verdicts(dsn, [query.create("public", scale) for query in QUERIES])
    inserted = verdicts(dsn, [query.insert("planned", scale) for query in QUERIES])
    lines = [
        f"| `{query.name}` | {query.title} | {by_create} | {by_insert} |\n"
        for query, by_create, by_insert in zip(QUERIES, created, inserted, strict=True)
    ]
    return HEADER + "".join(lines)


def table_in(page: str) -> str:
    """The table that a page holds between its two marks."""
    return page.partition(BEGIN)[2].partition(END)[0]


def with_table(page: str, new: str) -> str:
    """The page with another table between its marks."""
    before, mark, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"the page has no lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{BEGIN}{new}{END}{after}"
