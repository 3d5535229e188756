"""Set mode: the order of a folder's files comes from what they touch, and ties go by name."""

from __future__ import annotations

import pytest

from pgfan.plan.file_order import CycleError, File, order_files
from pgfan.sql.effects import Accesses, Barrier, Effect, ObjectName


def file(name: str, *effects: str, barrier: bool = False) -> File:
    made = [
        Effect(kind, ObjectName("relation", "s", table))  # type: ignore[arg-type]
        for kind, table in (effect.split() for effect in effects)
    ]
    return File(
        name, [Accesses(frozenset(made), Barrier("outside", "a test") if barrier else None)]
    )


def ordered(*files: File) -> str:
    return " ".join(files[number].name for number in order_files(files))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([("a", "read t"), ("b", "append t"), ("c", "define t")], "c b a"),
        ([("b",), ("a",), ("c",)], "a b c"),
        ([("b", "read t"), ("a", "read t")], "a b"),
        ([("b", "append t"), ("a", "append t"), ("z", "define t")], "z a b"),
        ([("a", "read t", "append t"), ("b", "append t"), ("c", "read t")], "b a c"),
        ([("a", "index t"), ("b", "append t"), ("c", "define t")], "c b a"),
        ([("a", "read t"), ("b", "index t")], "b a"),
        ([("a", "drop t"), ("b", "read t"), ("c", "define t")], "c b a"),
        ([("a", "drop t"), ("b", "use t"), ("c", "define t")], "c b a"),
        # A view needs the table's definition, not its rows.
        ([("a", "use t"), ("b", "append t"), ("c", "define t")], "c a b"),
        ([("a", "use t"), ("b", "alter t"), ("c", "define t")], "c b a"),
        # Loading and altering have no order but their names.
        ([("a", "append t"), ("b", "alter t"), ("c", "define t")], "c a b"),
        # A file that makes what it reads needs nobody.
        ([("a", "define t", "read t", "append t"), ("b", "append t")], "a b"),
        ([("a", "read v", "read t"), ("b", "define v", "use t"), ("c", "append t")], "b c a"),
    ],
)
def test_definers_come_first_and_readers_last(files: list[tuple[str, ...]], expected: str) -> None:
    assert ordered(*(file(*one) for one in files)) == expected


def test_what_is_a_barrier_comes_as_late_as_the_others_allow() -> None:
    found = ordered(file("a", "define t", barrier=True), file("b"), file("c", "read t"), file("d"))
    assert found == "b d a c"


def test_a_name_without_a_schema_meets_those_with_one() -> None:
    anywhere = Effect("define", ObjectName("relation", None, "t"))
    files = [file("a", "read t"), File("b", [Accesses(frozenset({anywhere}))])]
    assert order_files(files) == (1, 0)


def test_a_cycle_is_printed_as_a_way_around() -> None:
    with pytest.raises(CycleError) as error:
        ordered(
            file("a.sql", "define t", "read u"),
            file("b.sql", "define u", "read v"),
            file("c.sql", "define v", "read t"),
            file("d.sql", "read v"),
        )
    assert str(error.value) == (
        "a.sql -> makes s.t -> c.sql -> makes s.v -> b.sql -> makes s.u -> a.sql"
    )


def test_the_shortest_cycle_is_printed() -> None:
    with pytest.raises(CycleError) as error:
        ordered(
            file("a", "append t", "read u"),
            file("b", "append u", "read v"),
            file("c", "append v", "read t", "read w"),
            file("d", "append w", "read v"),
        )
    assert str(error.value) == "c -> writes s.v -> d -> writes s.w -> c"


def test_a_thousand_writers_and_readers_of_one_table_are_no_million_edges() -> None:
    files = [file(f"r{number:04}", "read t") for number in range(1000)]
    files += [file(f"w{number:04}", "append t") for number in range(1000)]
    order = order_files(files)
    assert order[:1000] == tuple(range(1000, 2000))
