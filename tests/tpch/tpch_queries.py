"""TPC-H's 22 queries with its validation parameters, and the statements made of them.

The queries are those of examples/tpch, one to a file. Those with a LIMIT come a second time without
it, because a LIMIT hides from the comparison what lies below it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "tpch" / "queries"
LIMIT = re.compile(r"\s*\nLIMIT \d+\s*\Z")


@dataclass(frozen=True)
class TpchQuery:
    """A query that has one result. `text` may hold :scale, TPC-H's scale factor."""

    name: str
    title: str
    text: str

    def select(self, scale: str) -> str:
        """The query for a database of this scale."""
        return self.text.replace(":scale", scale)

    def create(self, schema: str, scale: str) -> str:
        """The statement that makes the table `schema`.`name`, rows and all."""
        return f"CREATE TABLE {schema}.{self.name} AS\n{self.select(scale)}"

    def create_empty(self, schema: str, scale: str) -> str:
        """The statement that makes the table without its rows."""
        return f"{self.create(schema, scale)}\nWITH NO DATA"

    def insert(self, schema: str, scale: str) -> str:
        """The statement that fills the table."""
        return f"INSERT INTO {schema}.{self.name}\n{self.select(scale)}"


def _read() -> tuple[TpchQuery, ...]:
    found = []
    for path in sorted(FOLDER.glob("q*.sql")):
        lines = path.read_text(encoding="utf-8").splitlines()
        comments = [line.removeprefix("-- ") for line in lines if line.startswith("--")]
        text = "\n".join(line for line in lines if not line.startswith("--"))
        text = text.removeprefix(f"CREATE TABLE {path.stem} AS\n").rstrip().removesuffix(";")
        title = comments[0].partition(":")[0]
        found.append(TpchQuery(path.stem, title, text))
        if LIMIT.search(text):
            without = TpchQuery(f"{path.stem}_all", f"{title}, no LIMIT", LIMIT.sub("", text))
            found.append(without)
    return tuple(found)


QUERIES = _read()
