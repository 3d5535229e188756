"""What may be divided by cells of space, and the SQL of a chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from sql_catalogue import catalogue, in_words, split_of, verdict_of

from pgfan.sql.facts import CatalogFacts, ColumnFacts, RelationFacts, SpaceFacts, UniqueIndex
from pgfan.sql.rewrite import restrict_cells

if TYPE_CHECKING:
    from pgfan.sql.facts import Name

NOW = "2024-02-29 12:00:00.5+00"


def places() -> CatalogFacts:
    """The catalogue with a column `g` that gives rows of b, part and t a place (t: generated)."""
    facts = catalogue()
    place = ColumnFacts("g", None, orderable=False, space=SpaceFacts("geometry", "gis"))
    made = replace(place, default="gis.st_makepoint(x, 0)", generated=True)
    columns = {"b": place, "part": place, "t": made}

    def with_place(name: str) -> RelationFacts:
        relation = facts.relations[name,]
        return replace(relation, columns=(*relation.columns, columns[name]))

    placed: dict[Name, RelationFacts] = {(name,): with_place(name) for name in columns}
    relations = {**facts.relations, **placed}
    return replace(facts, relations=relations, wanted=frozenset({"g"}))


CASES = [
    ("INSERT INTO t SELECT x FROM b", "ctid b, cells b"),
    ("INSERT INTO t SELECT x FROM part", "column x part, column y part, cells part"),
    ("INSERT INTO t SELECT c.x FROM c LEFT JOIN b USING (x)", "ctid c"),
    ("INSERT INTO t SELECT x FROM (SELECT * FROM b WHERE y > 0) s", "ctid b, cells b"),
    ("INSERT INTO t SELECT x FROM b k (x, y, n, age, count, place)", "ctid k, cells k"),
    ("INSERT INTO t SELECT x FROM b k (x, y, n, age, x)", "ctid k, cells k"),
    ("CREATE TABLE z AS SELECT x FROM b", "ctid b, cells b"),
    ("DELETE FROM b WHERE y = 1", "ctid b, cells b"),
    # Rows that belong together are not at one place, and equal places need not be the same.
    ("INSERT INTO t SELECT x, count(*) FROM b GROUP BY x", "column x b"),
    ("INSERT INTO t SELECT count(*) FROM b GROUP BY g", "! group-by"),
    ("INSERT INTO t SELECT DISTINCT g FROM b", "! distinct"),
    ("INSERT INTO t SELECT x FROM b LIMIT 5", "! limit"),
    # What an UPDATE leaves alone.
    ("UPDATE b SET x = 1", "column y b, column n b, column age b, column count b, cells b"),
    ("UPDATE b SET g = NULL", "column x b, column y b, column n b, column age b, column count b"),
    ("UPDATE t SET y = 1", "column id t, column x t, cells t"),
    ("UPDATE t SET x = 1", "column id t, column y t"),
    ("MERGE INTO t USING b ON t.id = b.x WHEN MATCHED THEN UPDATE SET y = b.y", "column x b"),
]


def test_a_unique_index_of_a_parent_says_nothing_of_its_children() -> None:
    """A child may have the same ids, and at another place."""
    sql = "INSERT INTO t SELECT x FROM b ON CONFLICT (id) DO UPDATE SET y = 1"
    by_id = UniqueIndex(("id",), frozenset({"id"}))
    for kind, has_children, expected in (
        ("r", False, "ctid b, column x b, cells b"),
        ("r", True, "column x b"),
        ("p", True, "column x b, cells b"),
    ):
        facts = places()
        b, t = facts.relations["b",], facts.relations["t",]
        columns = tuple(replace(one, unique=one.name == "x") for one in b.columns)
        b = replace(b, kind=kind, has_children=has_children, columns=columns)
        t = replace(t, unique_indexes=(by_id,), unique_columns=frozenset({"id"}))
        facts = replace(facts, relations={**facts.relations, ("b",): b, ("t",): t})
        assert in_words(verdict_of(sql, facts)) == expected


@pytest.mark.parametrize(("sql", "expected"), CASES, ids=[sql for sql, _ in CASES])
def test_where_cells_are_sound(sql: str, expected: str) -> None:
    assert in_words(verdict_of(sql, places())) == expected


CHUNKS = [
    ("INSERT INTO t SELECT x FROM b", "INSERT INTO t SELECT x FROM b WHERE []", '"b"."g"'),
    (
        "INSERT INTO t SELECT s.x FROM (SELECT * FROM b k WHERE y = 1 OR x = 2) s, c",
        "INSERT INTO t SELECT s.x FROM (SELECT * FROM b k WHERE (y = 1 OR x = 2) AND []) s, c",
        '"k"."g"',
    ),
    # The range of a column would go along the join; a place does not.
    (
        "INSERT INTO t SELECT b.x FROM b JOIN part p ON b.g = p.g",
        "INSERT INTO t SELECT b.x FROM b JOIN part p ON b.g = p.g WHERE []",
        '"b"."g"',
    ),
    ("UPDATE b SET x = 1", "UPDATE b SET x = 1 WHERE []", '"b"."g"'),
]


@pytest.mark.parametrize(("sql", "chunk", "column"), CHUNKS)
def test_the_sql_of_a_chunk(sql: str, chunk: str, column: str) -> None:
    facts = places()
    split = split_of(sql, facts)
    candidate = next(each for each in split.candidates if each.key == "cells")
    template = restrict_cells(split, candidate, facts, NOW)
    assert "[]".join(template.pieces) == chunk
    assert template.columns == ((column,),)


def test_rows_that_meet_are_told_apart_by_another_column() -> None:
    facts = places()
    source, target = facts.relations["b",], facts.relations["t",]
    unique = tuple(replace(one, unique=one.name == "x") for one in source.columns)
    indexes = tuple(UniqueIndex((name,), frozenset({name})) for name in ("id", "g"))
    changed: dict[Name, RelationFacts] = {
        ("b",): replace(source, columns=unique),
        ("t",): replace(target, unique_indexes=indexes),
    }
    facts = replace(facts, relations={**facts.relations, **changed})
    upsert = "INSERT INTO t (id) SELECT x FROM b ON CONFLICT (id) DO UPDATE SET x = 1"
    assert in_words(verdict_of(upsert, facts)) == "ctid b, column x b, cells b"
    by_place = "INSERT INTO t (g) SELECT g FROM b ON CONFLICT (g) DO UPDATE SET x = 1"
    assert in_words(verdict_of(by_place, facts)) == "! on-conflict"
