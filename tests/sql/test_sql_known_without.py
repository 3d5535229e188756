"""What is known of a database, but for some objects."""

from __future__ import annotations

from pgfan.sql.effects import ObjectName
from pgfan.sql.known import (
    KnownForeignKey,
    KnownFunction,
    KnownObjects,
    KnownRelation,
    KnownTrigger,
    KnownType,
    without,
)

ROWS = KnownTrigger("t", ("s", "f"), frozenset({"insert"}))
KNOWN = KnownObjects(
    schemas=frozenset({"public", "s"}),
    relations=(
        KnownRelation(("s", "a")),
        KnownRelation(("s", "a_pkey"), "index", table=("s", "a")),
        KnownRelation(
            ("s", "theirs"), triggers=(ROWS,), foreign_keys=(KnownForeignKey(("s", "a")),)
        ),
        KnownRelation(("s", "pair"), "composite type"),
    ),
    functions=(KnownFunction(("s", "f"), arguments="integer"),),
    types=(KnownType(("s", "mood")),),
)


def names(known: KnownObjects) -> list[str]:
    found = [one.name[1] for one in known.relations]
    found += [one.name[1] for one in known.functions]
    found += [one.name[1] for one in known.types]
    return sorted([*found, *known.schemas])


def test_what_hangs_on_an_object_goes_with_it() -> None:
    found = without(KNOWN, [ObjectName("relation", "s", "a"), ObjectName("function", "s", "f")])
    assert names(found) == ["mood", "pair", "public", "s", "theirs"]
    assert found.relations[0] == KnownRelation(("s", "theirs"))


def test_types_and_schemas() -> None:
    gone = [
        ObjectName("type", "s", "mood"),
        ObjectName("type", "s", "pair"),
        ObjectName("schema", None, "s"),
    ]
    assert names(without(KNOWN, gone)) == ["a", "a_pkey", "f", "public", "theirs"]


def test_nothing_goes_by_a_name_without_its_schema() -> None:
    assert without(KNOWN, [ObjectName("relation", None, "a")]) == KNOWN


def test_a_function_stays_as_long_as_one_of_its_name_does() -> None:
    other = KnownFunction(("s", "f"), arguments="text")
    known = KnownObjects(functions=(*KNOWN.functions, other))
    f = ObjectName("function", "s", "f")
    assert without(known, [f]) == known
    assert without(known, [f, f]).functions == ()
