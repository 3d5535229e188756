"""Ranks and workers for each task: by hand, and against every path of small graphs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfan.plan.dag import TaskSpec
from pgfan.plan.priority import Priorities, longest_paths, priorities


def specs(*tasks: tuple[set[int], float | None]) -> list[TaskSpec]:
    return [TaskSpec(at, frozenset(after), work_s) for at, (after, work_s) in enumerate(tasks)]


def test_a_rank_is_the_longest_path_to_the_end() -> None:
    tasks = specs((set(), 1.0), ({0}, 5.0), ({0}, 2.0), ({1, 2}, 1.0), (set(), 3.0))
    assert priorities(tasks, 1) == Priorities({0: 7.0, 1: 6.0, 2: 3.0, 3: 1.0, 4: 3.0}, 1)


def test_a_task_that_was_never_seen_is_a_typical_one() -> None:
    tasks = specs((set(), None), (set(), 2.0), (set(), 4.0), (set(), 90.0))
    assert priorities(tasks, 1).rank[0] == 4.0
    assert priorities(specs((set(), None), ({0}, None)), 1).rank == {0: 2.0, 1: 1.0}


def test_statements_that_wait_for_each_other_get_all_workers() -> None:
    chain = specs((set(), None), *(({at}, None) for at in range(99)))
    assert priorities(chain, 16).workers == 16
    assert priorities(specs((set(), 10.0)), 16).workers == 16
    assert priorities([], 16).workers == 1


def test_many_tasks_at_once_get_a_worker_each() -> None:
    assert priorities(specs(*[(set(), None)] * 1000), 16).workers == 1


def test_a_long_chain_beside_many_small_tasks_gets_what_it_needs() -> None:
    small: list[tuple[set[int], float | None]] = [(set(), 1.0)] * 640
    chain = [({640 + at - 1} if at else set(), 20.0) for at in range(4)]
    found = priorities(specs(*small, *chain), 16)  # 45 s of shared work, and 80 s of chain
    assert found.workers == 4
    assert min(found.rank[at] for at in range(640, 644)) > max(found.rank[at] for at in range(640))


def test_a_chain_that_cannot_be_divided_does_not_shrink() -> None:
    chain = [TaskSpec(at, frozenset({at - 1} if at else ()), 5.0, divisible=False) for at in (0, 1)]
    assert priorities(chain, 8).rank == {0: 10.0, 1: 5.0}


def test_a_cycle_and_a_missing_predecessor_do_not_loop() -> None:
    tasks = [TaskSpec(0, frozenset({1})), TaskSpec(1, frozenset({0})), TaskSpec(2, frozenset({9}))]
    assert priorities(tasks, 4).rank == {0: 0.0, 1: 0.0, 2: pytest.approx(0.25)}


@given(st.lists(st.tuples(st.sets(st.integers(0, 8)), st.integers(1, 9)), max_size=8))
def test_no_path_is_longer_than_the_rank(tasks: list[tuple[set[int], int]]) -> None:
    graph = [
        TaskSpec(at, frozenset(n for n in after if n < at)) for at, (after, _) in enumerate(tasks)
    ]
    durations = {at: float(cost) for at, (_, cost) in enumerate(tasks)}

    def longest(at: int) -> float:
        after = [spec.task for spec in graph if at in spec.after]
        return durations[at] + max((longest(number) for number in after), default=0.0)

    assert longest_paths(graph, durations) == {at: longest(at) for at in durations}
