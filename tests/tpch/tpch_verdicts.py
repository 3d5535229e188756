"""What pgfan says of each TPC-H statement, and the table of it in docs/tpch.md.

Verdict, key and reasons are those of `pgfan.api.plan`. It does not say which relation drives a
split: that is read from the SQL of the split's chunks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from tpch_data import ROOT
from tpch_queries import QUERIES

from pgfan import api
from pgfan.postgres.analysis import Analyst, SplitOptions
from pgfan.postgres.server import probe_server
from pgfan.postgres.session import PostgresSession
from pgfan.postgres.snapshot import SnapshotHolder
from pgfan.sql.access import relation_name
from pgfan.sql.parsing import parse
from pgfan.sql.program import Program
from pgfan.sql.tree import kind_of, walk

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
# The restriction to a chunk is the last thing before its first bound.
RESTRICTED = re.compile(
    r'"?(?P<alias>\w+)"?\."?\w+"? (?:OPERATOR\(pg_catalog\.>=?\)|>=?) [^"]*\Z',
)


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
        TpchVerdict(outcome, _driving(dsn, text) if outcome.verdict == "split" else None)
        for outcome, text in zip(outcomes, statements, strict=True)
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


def _driving(dsn: str, statement: str) -> str:
    plan = cut(dsn, statement)
    assert plan is not None
    if plan.key == "series":
        return "generate_series"
    if plan.columns:
        alias = plan.columns[0].split(".")[0].strip('"')
    else:
        found = RESTRICTED.search(plan.pieces[0])
        assert found is not None, plan.pieces[0]
        alias = found["alias"]
    relations = {
        ".".join(relation_name(node))
        for node in walk(parse(statement))
        if kind_of(node) == "RangeVar"
        and alias == (node.alias.aliasname if node.HasField("alias") else node.relname)
    }
    assert len(relations) == 1, (alias, relations)
    return relations.pop()


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
