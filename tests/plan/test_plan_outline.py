"""What is said of a script's graph: edges that must be said, through gates where they are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from pgfan.plan.graph import conflict
from pgfan.plan.outline import GATE_MIN, Outline, outline_of
from pgfan.sql.effects import Accesses, Barrier, Effect, ObjectName

if TYPE_CHECKING:
    from collections.abc import Sequence


def task(*effects: str) -> Accesses:
    """`task("read a", "append b")`."""
    made = set()
    for effect in effects:
        kind, name = effect.split()
        made.add(Effect(kind, ObjectName("relation", "s", name)))  # type: ignore[arg-type]
    return Accesses(frozenset(made))


BARRIER = Accesses(barrier=Barrier("outside", "a test"))


def all_before(outline: Outline, number: int) -> set[int]:
    """The tasks that must be done before a task, at any distance."""
    found: set[int] = set()
    todo = outline.tasks_after(number)
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += outline.tasks_after(one)
    return found


def defined(tasks: Sequence[Accesses]) -> list[set[int]]:
    """The same by the definition of what waits."""
    before: list[set[int]] = []
    for later, accesses in enumerate(tasks):
        direct = [earlier for earlier in range(later) if conflict(tasks[earlier], accesses)]
        before.append({one for earlier in direct for one in (earlier, *before[earlier])})
    return before


def test_only_what_must_be_said_is_said() -> None:
    outline = outline_of([task("define a"), task("append a"), task("read a"), task("drop a")])
    assert outline.after == ((), (0,), (1,), (2,))
    assert (outline.longest, outline.widest, outline.gates) == (4, 1, {})


def test_few_that_wait_for_few_are_named_one_by_one() -> None:
    outline = outline_of([task("append a")] * 3 + [task("read a")] * 2)
    assert outline.after == ((), (), (), (0, 1, 2), (0, 1, 2))
    assert (outline.longest, outline.widest, outline.gates) == (2, 3, {})


def test_many_that_wait_for_many_share_a_gate() -> None:
    outline = outline_of([task("append a")] * GATE_MIN + [task("read a")] * 500)
    assert outline.gates == {-1: tuple(range(GATE_MIN))}
    assert set(outline.after[GATE_MIN:]) == {(-1,)}
    assert outline.tasks_after(GATE_MIN) == list(range(GATE_MIN))
    assert (outline.longest, outline.widest) == (2, 500)


def test_one_that_waits_for_many_names_them() -> None:
    outline = outline_of([task("append a")] * 100 + [task("read a")])
    assert (outline.after[100], outline.gates) == (tuple(range(100)), {})


def test_a_barrier_has_all_before_it_and_all_after_it() -> None:
    outline = outline_of([task("read a"), task("read b"), BARRIER, task("read c")])
    assert outline.after == ((), (), (0, 1), (2,))


TASKS = st.one_of(
    *[
        st.lists(
            st.builds(
                "{} {}".format,
                st.sampled_from(["define", "append", "modify", "read", "use", "index"]),
                st.sampled_from("ab"),
            ),
            max_size=3,
        ).map(lambda effects: task(*effects))
    ]
    * 9,
    st.just(BARRIER),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(TASKS, max_size=7), st.sampled_from([1, 5]))
def test_what_is_said_is_what_waits(tasks: list[Accesses], times: int) -> None:
    repeated = [one for one in tasks for _ in range(times)]
    outline = outline_of(repeated)
    for number, expected in enumerate(defined(repeated)):
        assert all_before(outline, number) == expected
