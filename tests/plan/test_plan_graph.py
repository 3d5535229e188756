"""Accesses to steps: what waits for what, with few edges, and nothing else."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgfan.plan.graph import WAITS_FOR, Sequencer, Step, conflict, critical_path, reduced
from pgfan.sql.effects import Accesses, Barrier, Effect, ObjectName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.sql.effects import EffectKind


def on(kind: EffectKind, name: str, schema: str | None = "s", *, part: bool = False) -> Effect:
    return Effect(kind, ObjectName("relation", schema, name), part)


def task(*effects: str, pinned: bool = False) -> Accesses:
    """`task("read a", "append b")`."""
    made = []
    for effect in effects:
        kind, name = effect.split()
        made.append(on(kind, name))  # type: ignore[arg-type]
    return Accesses(frozenset(made), session=frozenset({"temporary"}) if pinned else frozenset())


BARRIER = Accesses(barrier=Barrier("outside", "a test"))


def steps_of(tasks: Sequence[Accesses], sessions: Sequence[str] = ()) -> list[Step[int]]:
    sequencer: Sequencer[int] = Sequencer()
    found: list[Step[int]] = []
    for number, accesses in enumerate(tasks):
        found += sequencer.add(number, accesses, sessions[number] if sessions else "")
    return found


def waits(steps: Sequence[Step[int]]) -> set[tuple[int, int]]:
    """The pairs (task, task that it waits for), over any number of steps."""
    before: dict[int, set[int]] = {}
    pairs: set[tuple[int, int]] = set()
    for step in steps:
        reached: set[int] = set()
        for number in step.after:
            reached |= before[number]
            earlier = steps[number].task
            if earlier is not None:
                reached.add(earlier)
        before[step.number] = reached
        if step.task is not None:
            pairs |= {(step.task, earlier) for earlier in reached}
    return pairs


def closure_of_conflicts(
    tasks: Sequence[Accesses], sessions: Sequence[str] = ()
) -> set[tuple[int, int]]:
    """The quadratic definition."""
    before: list[set[int]] = []
    for later, accesses in enumerate(tasks):
        reached: set[int] = set()
        for earlier in range(later):
            same_session = not sessions or sessions[earlier] == sessions[later]
            pinned = accesses.is_pinned and tasks[earlier].is_pinned and same_session
            if pinned or conflict(tasks[earlier], accesses):
                reached |= {earlier} | before[earlier]
        before.append(reached)
    return {(later, earlier) for later, reached in enumerate(before) for earlier in reached}


# What two tasks do to one table, and whether the second waits.
PAIRS = [
    ("read t", "read t", False),
    ("read t", "append t", True),
    ("append t", "read t", True),
    ("append t", "append t", False),
    ("append t", "modify t", True),
    ("modify t", "append t", True),
    ("modify t", "modify t", True),
    ("append t", "index t", True),
    ("index t", "append t", True),
    ("index t", "index t", False),
    ("index t", "read t", True),
    ("read t", "index t", False),
    ("append t", "analyse t", True),
    ("analyse t", "append t", True),
    ("analyse t", "analyse t", True),
    ("analyse t", "read t", True),
    ("read t", "analyse t", False),
    ("index t", "analyse t", True),
    ("analyse t", "index t", True),
    ("define t", "read t", True),
    ("define t", "use t", True),
    ("use t", "append t", False),
    ("append t", "use t", False),
    ("use t", "modify t", False),
    ("use t", "drop t", True),
    ("use t", "alter t", True),
    ("read t", "drop t", True),
    ("drop t", "define t", True),
    ("describe t", "append t", False),
    ("append t", "describe t", False),
    ("describe t", "describe t", True),
    ("define t", "describe t", True),
    ("lock t", "append t", True),
    ("append t", "lock t", True),
    ("lock t", "read t", False),
    ("read t", "lock t", False),
    ("lock t", "lock t", True),
    ("lock t", "index t", True),
    ("read t", "modify u", False),
]


@pytest.mark.parametrize(("first", "second", "is_waiting"), PAIRS)
def test_what_waits_for_what(first: str, second: str, is_waiting: bool) -> None:
    tasks = [task(first), task(second)]
    assert waits(steps_of(tasks)) == ({(1, 0)} if is_waiting else set())
    assert bool(conflict(*tasks)) == is_waiting


def test_parts_of_one_table_do_not_wait_for_each_other() -> None:
    first, second = (Accesses(frozenset({on("modify", "t", part=True)})) for _ in range(2))
    whole = task("read t")
    assert waits(steps_of([first, second, whole])) == {(2, 0), (2, 1)}


def test_which_parts_there_are_is_one_thing() -> None:
    first, second = (Accesses(frozenset({on("alter", "t", part=True)})) for _ in range(2))
    rows = Accesses(frozenset({on("append", "t", part=True)}))
    assert waits(steps_of([first, rows, second, rows])) == {(2, 0)}


def test_a_name_in_any_schema_meets_all_of_its_name() -> None:
    tasks = [
        Accesses(frozenset({on("append", "t", "a")})),
        Accesses(frozenset({on("append", "t", "b")})),
        Accesses(frozenset({on("modify", "t", None)})),
        Accesses(frozenset({on("read", "t", "a")})),
    ]
    assert waits(steps_of(tasks)) == {(2, 0), (2, 1), (3, 2), (3, 0), (3, 1)}


def test_a_barrier_keeps_its_place_among_all() -> None:
    found = steps_of([task("read a"), task("read b"), BARRIER, task("read c"), task("read c")])
    assert waits(found) == {
        (2, 0),
        (2, 1),
        *((late, early) for late in (3, 4) for early in range(3)),
    }


def test_pinned_tasks_keep_their_order_in_their_session_only() -> None:
    tasks = [task("read a", pinned=True) for _ in range(4)]
    found = steps_of(tasks, ["one", "two", "one", "two"])
    assert waits(found) == {(2, 0), (3, 1)}
    assert [step.pinned_to for step in found] == ["one", "two", "one", "two"]


def test_many_that_wait_for_many_do_so_through_one_gate() -> None:
    found = steps_of([task("append t")] * 500 + [task("read t")] * 500)
    assert len(found) == 1001
    assert sum(len(step.after) for step in found) == 1000


def test_alternating_reads_and_appends_stay_sparse() -> None:
    found = steps_of([task("append t"), task("read t")] * 500)
    assert sum(len(step.after) for step in found) < 4000


def test_the_reduction_keeps_what_is_reached() -> None:
    steps = [Step(0, (), 0), Step(1, (0,), 1), Step(2, (0, 1), 2), Step(3, (0, 2), 3)]
    assert reduced(steps) == ((), (0,), (1,), (2,))


def test_the_critical_path_counts_what_waits() -> None:
    steps = [Step(0, (), 0), Step(1, (), 1), Step(2, (0, 1)), Step(3, (2,), 2)]
    assert critical_path(steps, [1.0, 2.0, 9.0, 4.0]) == (5.0, 6.0, 4.0, 4.0)


def test_every_kind_of_effect_has_its_row() -> None:
    assert all(kinds <= WAITS_FOR.keys() for kinds in WAITS_FOR.values())


EFFECTS = st.builds(
    on,
    st.sampled_from(sorted(WAITS_FOR)),
    st.sampled_from("tu"),
    st.sampled_from(["a", "b", None]),
    part=st.booleans(),
)
TASKS = st.one_of(
    *[
        st.builds(
            Accesses,
            st.frozensets(EFFECTS, max_size=4),
            st.none(),
            st.sampled_from([frozenset(), frozenset(), frozenset({"temporary"})]),
        )
    ]
    * 9,
    st.just(BARRIER),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(TASKS, st.sampled_from(["one", "two"])), max_size=14))
def test_conflicting_tasks_are_ordered_and_only_they(found: list[tuple[Accesses, str]]) -> None:
    tasks = [accesses for accesses, _ in found]
    sessions = [session for _, session in found]
    steps = steps_of(tasks, sessions)
    assert waits(steps) == closure_of_conflicts(tasks, sessions)
    for step in steps:
        assert list(step.after) == sorted(set(step.after))
        assert all(number < step.number for number in step.after)


@settings(max_examples=100, deadline=None)
@given(st.lists(TASKS, max_size=12))
def test_the_reduction_loses_nothing_and_has_nothing_to_lose(tasks: list[Accesses]) -> None:
    steps = steps_of(tasks)
    few = [Step(s.number, after, s.task) for s, after in zip(steps, reduced(steps), strict=True)]
    assert waits(few) == waits(steps)
    for step in few:
        for one, other in combinations(step.after, 2):
            assert one not in _reach(few, other)


def _reach(steps: Sequence[Step[int]], number: int) -> set[int]:
    found: set[int] = set()
    todo = [number]
    while todo:
        for before in steps[todo.pop()].after:
            if before not in found:
                found.add(before)
                todo.append(before)
    return found
