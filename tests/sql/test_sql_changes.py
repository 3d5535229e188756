"""What an UPDATE, a DO UPDATE or a MERGE changes besides the columns that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace
from sql_catalogue import catalogue, in_words, verdict_of

from pgfan.sql.facts import ColumnFacts

if TYPE_CHECKING:
    from pgfan.sql.facts import CatalogFacts

GENERATED = ColumnFacts("g", '(x * "X y")', generated=True)
UNREADABLE = ColumnFacts("g", "(((", generated=True)


def changing(generated: ColumnFacts | None = None, **about: Any) -> CatalogFacts:  # noqa: ANN401  # facts of several types
    """Facts in which t is what `about` says, with a column that is generated."""
    facts = catalogue()
    own = facts.relations["t",]
    columns = (*own.columns, generated) if generated is not None else own.columns
    target = replace(own, columns=columns, **about)
    return replace(facts, relations={**facts.relations, ("t",): target})


UPSERT = "INSERT INTO t (id, x) SELECT x, y FROM b ON CONFLICT (id) DO UPDATE SET x = 1"
MERGE = "MERGE INTO t USING b ON t.id = b.x WHEN MATCHED THEN UPDATE SET x = 1"


@pytest.mark.parametrize("sql", ["UPDATE t SET x = x + 1", UPSERT, MERGE])
def test_a_unique_column_changes_with_what_it_is_generated_from(sql: str) -> None:
    facts = changing(GENERATED, unique_columns=frozenset({"g"}))
    assert "assigned-unique" in in_words(verdict_of(sql, facts))


def test_a_unique_column_stays_when_others_change() -> None:
    facts = changing(GENERATED, unique_columns=frozenset({"g"}))
    expected = "column id t, column x t, column g t"
    assert in_words(verdict_of("UPDATE t SET y = 1", facts)) == expected


@pytest.mark.parametrize("generated", [GENERATED, UNREADABLE])
def test_what_children_generate_may_change_with_anything(generated: ColumnFacts) -> None:
    facts = changing(generated, has_children=True)
    assert in_words(verdict_of("UPDATE t SET y = 1", facts)) == "column id t, column x t"
    facts = changing(generated, has_children=True, unique_columns=frozenset({"g"}))
    assert in_words(verdict_of("UPDATE t SET y = 1", facts)) == "! assigned-unique"


# The columns of the partition key; the rest of the facts; what is refused.
MOVES: list[tuple[set[str], dict[str, Any], str]] = [
    ({"x"}, {}, "column id t, column y t"),
    ({"x"}, {"triggers": ("audit",)}, "! trigger"),
    ({"x"}, {"delete_triggers": ("audit",)}, "! trigger"),
    ({"*"}, {"triggers": ("audit",)}, "! trigger"),
    ({"y"}, {"triggers": ("audit",), "delete_triggers": ("k",)}, "column id t, column y t"),
    ({"x"}, {"unique_columns": frozenset({"id"})}, "! assigned-unique"),
    ({"*"}, {"unique_columns": frozenset({"id"})}, "! assigned-unique"),
    ({"y"}, {"unique_columns": frozenset({"id"})}, "column id t, column y t"),
]


@pytest.mark.parametrize(("keys", "about", "expected"), MOVES)
def test_a_row_that_changes_partition_is_deleted_and_inserted(
    keys: set[str], about: dict[str, Any], expected: str
) -> None:
    facts = changing(kind="p", partition_columns=frozenset(keys), **about)
    assert in_words(verdict_of("UPDATE t SET x = x + 1", facts)) == expected


def test_rows_that_are_inserted_or_deleted_change_no_partition() -> None:
    facts = changing(kind="p", partition_columns=frozenset({"*"}), update_triggers=("audit",))
    assert in_words(verdict_of("INSERT INTO t SELECT x FROM b", facts)) == "ctid b"
    facts = changing(kind="p", partition_columns=frozenset({"*"}), triggers=("audit",))
    assert "trigger" not in in_words(verdict_of("DELETE FROM t", facts))
