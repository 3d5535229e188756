"""When a fresh table is analysed: by what a script does with it, and by its size."""

from __future__ import annotations

import pytest

from pgfan.plan.statistics import PAGES_MIN, TableStatistics, Unanalysed, is_due
from pgfan.sql.effects import Accesses, Effect, EffectKind, ObjectName

BIG = 10 * PAGES_MIN
SIZES = {
    "never analysed": (TableStatistics(BIG, 0, -1, analysed=False, rows_changed=0), True),
    "never analysed, and small": (
        TableStatistics(PAGES_MIN - 1, 0, -1, analysed=False, rows_changed=0),
        False,
    ),
    "an index was built, which counts rows": (
        TableStatistics(BIG, BIG, 1e6, analysed=False, rows_changed=0),
        True,
    ),
    "analysed": (TableStatistics(BIG, BIG, 1e6, analysed=True, rows_changed=0), False),
    "grown little": (
        TableStatistics(BIG, BIG - 100, 1e6, analysed=True, rows_changed=10_000),
        False,
    ),
    "grown much": (TableStatistics(BIG, BIG // 2, 1e6, analysed=True, rows_changed=0), True),
    "much of it changed": (
        TableStatistics(BIG, BIG, 1e6, analysed=True, rows_changed=100_001),
        True,
    ),
}


@pytest.mark.parametrize(("table", "due"), SIZES.values(), ids=list(SIZES))
def test_due(table: TableStatistics, due: bool) -> None:
    assert is_due(table) is due


def name(table: str, schema: str | None = "s") -> ObjectName:
    return ObjectName("relation", schema, table)


def does(*effects: tuple[EffectKind, ObjectName], temporary: bool = False) -> Accesses:
    return Accesses(
        frozenset(Effect(kind, table) for kind, table in effects),
        session=frozenset({"temporary"}) if temporary else frozenset(),
    )


JOIN = does(("read", name("a")), ("read", name("b")))


def filled(*tables: ObjectName) -> Unanalysed:
    found = Unanalysed()
    assert not found.take(does(*(("append", table) for table in tables)), fills=True, plans=False)
    return found


def test_what_was_filled_is_named_before_the_first_join_alone() -> None:
    script = filled(name("b"), name("a"), name("c"))
    assert script.take(JOIN, fills=False, plans=True) == [name("a"), name("b")]
    assert script.take(JOIN, fills=False, plans=True) == []


def test_what_is_filled_again_is_named_again() -> None:
    script = filled(name("a"))
    script.take(JOIN, fills=False, plans=True)
    script.take(does(("modify", name("a"))), fills=True, plans=True)
    assert script.take(JOIN, fills=False, plans=True) == [name("a")]


OTHERS = {
    "one table alone": (does(("read", name("a"))), True),
    "other tables": (does(("read", name("b")), ("read", name("c"))), True),
    "no plan": (JOIN, False),
    "definitions alone": (does(("use", name("a")), ("use", name("b"))), True),
}


@pytest.mark.parametrize(("accesses", "plans"), OTHERS.values(), ids=list(OTHERS))
def test_other_readers_are_no_reason(accesses: Accesses, plans: bool) -> None:
    assert filled(name("a")).take(accesses, fills=False, plans=plans) == []


@pytest.mark.parametrize("kind", ["analyse", "drop"])
def test_what_the_script_analyses_or_drops_itself_is_left_to_it(kind: EffectKind) -> None:
    script = filled(name("a"))
    script.take(does((kind, name("a"))), fills=False, plans=False)
    assert script.take(JOIN, fills=False, plans=True) == []


@pytest.mark.parametrize(
    ("writer", "fills"),
    [
        (does(("append", name("a"))), False),
        (does(("append", name("a", None))), True),
        (does(("append", name("a")), temporary=True), True),
        (does(("read", name("a"))), True),
    ],
    ids=["one row", "of no certain schema", "in the script's session", "read"],
)
def test_other_writers_fill_nothing(writer: Accesses, fills: bool) -> None:
    script = Unanalysed()
    script.take(writer, fills=fills, plans=False)
    anywhere = does(("read", name("a")), ("read", name("a", None)), ("read", name("b")))
    assert script.take(anywhere, fills=False, plans=True) == []
