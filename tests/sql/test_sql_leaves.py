"""Partitioned tables and parents in an inheritance tree, divided leaf by leaf."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from sql_catalogue import catalogue, in_words, relation, tree_of

from pgfan.sql.distribute import Split, distribute
from pgfan.sql.facts import Name, ViewFacts

LEAVES = "SELECT x, y FROM ONLY b UNION ALL SELECT x, y FROM ONLY c"

BY_COLUMN = "column x root, column y root, column n root, column age root, column count root"

# What follows "INSERT INTO t "; `root` has the leaves b and c, of 100 and 10 rows, and d has 50.
CASES = [
    ("SELECT x FROM root", "(ctid b | ctid c)"),
    ("SELECT * FROM root r", "(ctid b | ctid c)"),
    ("SELECT s.x FROM (SELECT x FROM root) s", "(ctid b | ctid c)"),
    ("SELECT root.x FROM root JOIN d ON d.z = root.x", "ctid d, (ctid b | ctid c)"),
    ("SELECT d.z FROM d LEFT JOIN root ON d.z = root.x", "ctid d"),
    ("SELECT x FROM root UNION ALL SELECT z FROM d", "(once no-driving-relation | ctid d)"),
    ("SELECT x FROM ONLY root", BY_COLUMN),
    ("SELECT root::text FROM root", BY_COLUMN),
    ("SELECT tableoid FROM root", BY_COLUMN),
    ("SELECT root.ctid FROM root", BY_COLUMN),
    ("SELECT d.z, (SELECT max(tableoid::int) FROM root) FROM d", "ctid d"),
    ("SELECT s.x FROM (SELECT tableoid AS o, x FROM root) s", BY_COLUMN),
    ("SELECT x, count(*) FROM root GROUP BY x", "column x root"),
    ("SELECT count(*) FROM root", "! aggregate"),
    ("SELECT x FROM root LIMIT 5", "! limit"),
]


@pytest.mark.parametrize(("query", "expected"), CASES, ids=[query for query, _ in CASES])
def test_leaves(query: str, expected: str) -> None:
    facts = catalogue()
    sized: dict[Name, float] = {("b",): 100.0, ("c",): 10.0, ("d",): 50.0}
    known = {
        name: replace(found, rows=sized.get(name, found.rows))
        for name, found in facts.relations.items()
    }
    root = replace(
        relation("b"), oid=900, name="root", kind="p", heap=False, rows=-1.0, view=ViewFacts(LEAVES)
    )
    facts = replace(facts, relations=known | {("root",): root})
    assert in_words(distribute(tree_of(f"INSERT INTO t {query}"), facts)) == expected


def test_leaves_are_taken_before_blocks_of_a_smaller_table() -> None:
    """A column of the root is not: it would be taken only where there is nothing else."""
    facts = catalogue()
    sized: dict[Name, float] = {("b",): 100.0, ("c",): 10.0, ("d",): 50.0}
    known = {name: replace(facts.relations[name], rows=rows) for name, rows in sized.items()}
    root = replace(relation("b"), oid=900, name="root", kind="p", heap=False, rows=110.0)
    known["root",] = replace(root, view=ViewFacts(LEAVES))
    facts = replace(facts, relations={**facts.relations, **known})
    found = distribute(tree_of("INSERT INTO t SELECT root.x FROM root, d"), facts)
    assert in_words(found) == "ctid d, (ctid b | ctid c)"


def test_a_change_is_not_divided_by_leaves() -> None:
    facts = catalogue()
    root = replace(relation("b"), oid=900, name="root", kind="p", heap=False)
    root = replace(root, view=ViewFacts(LEAVES))
    facts = replace(facts, relations=dict(facts.relations) | {("root",): root})
    found = distribute(tree_of("DELETE FROM root WHERE x > 3"), facts)
    assert isinstance(found, Split)
    assert {one.key for one in found.candidates} == {"column"}
    assert not found.unions
