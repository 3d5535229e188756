"""Light tasks are put together so that none waits for longer and nothing waits in a circle."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfan.plan import bundles, messages
from pgfan.plan.bundles import Light, bundled
from pgfan.plan.dag import TaskSpec
from pgfan.plan.ranges import Range
from pgfan.plan.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence


def specs_of(after: Sequence[Sequence[int]]) -> list[TaskSpec]:
    return [TaskSpec(number, frozenset(each)) for number, each in enumerate(after)]


def light(*numbers: int, kin: str = "", chars: int = 10) -> dict[int, Light]:
    return dict.fromkeys(numbers, Light(kin, chars))


CASES: dict[str, tuple[list[list[int]], dict[int, Light], dict[int, tuple[int, ...]]]] = {
    "tasks that wait for nothing": ([[], [], []], light(0, 1, 2), {0: (0, 1, 2)}),
    "a chain": ([[], [0], [1]], light(0, 1, 2), {0: (0, 1, 2)}),
    "what waits for the same": ([[], [0], [0], [0]], light(1, 2, 3), {1: (1, 2, 3)}),
    "what waits for different tables stays apart": (
        [[], [], [0], [1], [0], [1]],
        light(2, 3, 4, 5),
        {2: (2, 4), 3: (3, 5)},
    ),
    "a chain behind what its first waits for": ([[], [0], [0, 1]], light(1, 2), {1: (1, 2)}),
    "a heavy one in between is no obstacle": ([[], [], []], light(0, 2), {0: (0, 2)}),
    "nothing joins that waits for a heavy one more": ([[], [], [0, 1]], light(0, 2), {}),
    "nothing joins what a heavy one has waited for": ([[], [0], [1]], light(0, 2), {}),
    "one alone is no bundle": ([[], [0]], light(0), {}),
    "other settings": ([[], []], light(0) | light(1, kin="SET"), {}),
    "two long ones": ([[], []], light(0, 1, chars=bundles.CHARS_MAX), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_goes_together(name: str) -> None:
    after, tasks, expected = CASES[name]
    assert bundled(specs_of(after), tasks).members == expected


def test_a_bundle_has_an_end() -> None:
    count = bundles.COST_MAX * 2 + 1
    found = bundled(specs_of([[]] * count), light(*range(count)))
    assert [len(each) for each in found.members.values()] == [bundles.COST_MAX] * 2
    assert len(found.specs) == 3


def test_what_costs_more_fills_a_bundle_sooner() -> None:
    tasks = dict.fromkeys(range(6), Light("", 10, bundles.COST_MAX // 4))
    assert bundled(specs_of([[]] * 6), tasks).members == {0: (0, 1, 2, 3), 4: (4, 5)}


def test_a_full_bundle_is_followed_by_the_next_one() -> None:
    count = bundles.COST_MAX + 2
    found = bundled(specs_of([[], *([n] for n in range(count - 1))]), light(*range(count)))
    first, second = found.specs
    assert (first.after, second.after) == (frozenset(), frozenset({0}))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[list[int]], dict[int, Light]]:
    count = draw(st.integers(1, 30))
    after = [
        sorted(draw(st.sets(st.integers(0, number - 1), max_size=3))) if number else []
        for number in range(count)
    ]
    numbers = draw(st.sets(st.integers(0, count - 1)))
    kins = {number: Light(draw(st.sampled_from("ab")), 10) for number in sorted(numbers)}
    return after, kins


@given(graphs())
def test_no_order_is_lost_and_none_is_a_circle(
    graph: tuple[list[list[int]], dict[int, Light]],
) -> None:
    after, tasks = graph
    found = bundled(specs_of(after), tasks)
    home = {number: spec.task for spec in found.specs for number in members(found, spec.task)}
    assert sorted(home) == list(range(len(after)))
    order = list(TopologicalSorter({spec.task: spec.after for spec in found.specs}).static_order())
    done: set[int] = set()
    for first in order:  # raises CycleError for a circle
        for number in members(found, first):
            assert done >= set(after[number])
            done.add(number)


@given(graphs())
def test_no_member_waits_for_what_it_need_not(
    graph: tuple[list[list[int]], dict[int, Light]],
) -> None:
    """But for other members, and for what those wait for whom the first one waits for."""
    after, tasks = graph
    found = bundled(specs_of(after), tasks)
    home = {number: spec.task for spec in found.specs for number in members(found, spec.task)}
    for spec in found.specs:
        wanted = {home[before] for before in after[spec.task]} - {spec.task}
        assert spec.after == wanted


def members(found: bundles.Bundles, task: int) -> tuple[int, ...]:
    return found.members.get(task, (task,))


class Play:
    """A scheduler whose one bundle of five has been prepared on two workers."""

    def __init__(self, done: tuple[Range, ...] = ()) -> None:
        self.scheduler = Scheduler([TaskSpec(0, divisible=False, workers_max=1)], 2)
        self.tell(messages.Begin())
        self.commands = self.tell(messages.Prepared(0, 5, done, in_order=True))

    def tell(self, event: messages.Event) -> Sequence[messages.Command]:
        self.commands = self.scheduler.handle(event)
        return self.commands

    @property
    def pieces(self) -> list[int]:
        (start,) = self.commands
        assert isinstance(start, messages.StartChunk)
        return [piece.lo for piece in (start.piece, *start.more)]


def test_one_worker_takes_a_bundle_as_a_whole() -> None:
    play = Play()
    assert play.pieces == [0, 1, 2, 3, 4]
    assert play.tell(messages.ChunkDone(0, 0.1, 5)) == [messages.Finish(0)]


def test_members_that_were_done_before_are_left_out() -> None:
    assert Play((Range(1, 2), Range(3, 4))).pieces == [0, 2, 4]


def test_after_a_failure_that_may_pass_the_bundle_goes_on_in_order() -> None:
    play = Play()
    play.tell(messages.ChunkDone(0, 0.1, 2))
    play.tell(messages.ChunkFailed(0, "again"))
    assert play.pieces == [2]
    play.tell(messages.ChunkDone(0, 0.1))
    assert play.pieces == [3, 4]


def test_a_failure_for_good_ends_the_bundle() -> None:
    play = Play()
    play.tell(messages.ChunkDone(0, 0.1, 2))
    assert play.tell(messages.ChunkFailed(0, "fatal")) == [messages.Fail(0)]
    assert play.scheduler.is_over
