"""Chunk sizes in simulated runs: a chunk of n units takes a + b * n seconds of a virtual clock."""

from __future__ import annotations

import heapq
import itertools
import math

import pytest

from pgfan.bench.simulation import ModelServer, ModelTask, simulate
from pgfan.plan.scheduler import SchedulerOptions
from pgfan.plan.sizing import (
    CHUNK_BYTES_MAX,
    CHUNK_S_MIN,
    FIRST_BYTES_MAX,
    FIRST_UNITS_MAX,
    FIXED_SHARE_MAX,
    GROWTH_MAX,
    PANIC_DIVISOR,
    PROBE_DIVISORS,
    RAMP_GROWTH_MAX,
    SHARES_MIN,
    ChunkSizer,
    Costs,
    SizingOptions,
)

TARGET_S = 2.0
TOTAL = 10_000_000


def chunks(sizer: ChunkSizer, a: float, b: float, count: int, left: int = TOTAL) -> list[int]:
    """Sizes of the next chunks of one worker."""
    sizes = []
    for _ in range(count):
        units = sizer.next_units(left, 1)
        sizes.append(units)
        sizer.observe(units, a + b * units)
    return sizes


COSTS = [
    (0.0, 1e-6),
    (0.0, 1e-3),
    (0.001, 1e-5),
    (0.01, 1e-6),
    (0.05, 1e-6),
    (0.09, 1e-4),
]


@pytest.mark.parametrize(("a", "b"), COSTS)
def test_the_target_is_reached_within_a_few_chunks(a: float, b: float) -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    sizes = chunks(sizer, a, b, 25, left=10**12)
    seconds = [a + b * units for units in sizes]
    assert all(0.8 * TARGET_S <= s <= 1.1 * TARGET_S for s in seconds[-5:])
    # The first size is a guess, and the one after it at most a tenth.
    assert max(seconds[2:]) <= 1.6 * TARGET_S
    assert seconds[1] <= max(1.6 * TARGET_S, seconds[0] / 10)


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_chunk_is_a_small_part(workers: int) -> None:
    total = 500_000
    assert ChunkSizer(total, SizingOptions()).next_units(total, workers) == total // (256 * workers)
    assert ChunkSizer(10**15, SizingOptions()).next_units(10**15, workers) == FIRST_UNITS_MAX
    assert ChunkSizer(3, SizingOptions()).next_units(3, workers) == 1
    assert ChunkSizer(1, SizingOptions()).next_units(1, workers) == 1


@pytest.mark.parametrize(("a", "b"), [(0.2, 1e-5), (1.0, 1e-5), (3.0, 1e-4)])
def test_a_large_fixed_cost_makes_chunks_longer_than_the_target(a: float, b: float) -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    units = chunks(sizer, a, b, 40, left=10**12)[-1]
    assert a / (a + b * units) <= FIXED_SHARE_MAX * 1.1 or units >= TOTAL


def test_growth_is_bounded() -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    sizes = chunks(sizer, 0.0, 1e-7, 40, left=10**12)
    for before, after in itertools.pairwise(sizes):
        ramping = before * 1e-7 < TARGET_S / 8
        assert after <= math.ceil(before * (RAMP_GROWTH_MAX if ramping else GROWTH_MAX))


def test_a_chunk_far_over_the_target_divides_the_size_at_once() -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    before = chunks(sizer, 0.0, 1e-5, 25, left=10**12)[-1]
    sizer.observe(before, 5.1 * TARGET_S)
    assert sizer.next_units(10**12, 1) == before // PANIC_DIVISOR
    sizer.observe(1, 100.0)
    assert sizer.next_units(10**12, 1) == 1


def test_sizes_follow_data_that_becomes_dearer() -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    cheap = chunks(sizer, 0.0, 1e-6, 25, left=10**12)[-1]
    dear = chunks(sizer, 0.0, 4e-6, 40, left=10**12)[-1]
    assert dear * 4e-6 == pytest.approx(TARGET_S, rel=0.25)
    assert dear < cheap / 2


def test_sizes_follow_data_that_becomes_cheaper() -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    chunks(sizer, 0.01, 8e-6, 25, left=10**12)
    assert chunks(sizer, 0.01, 1e-6, 40, left=10**12)[-1] * 1e-6 == pytest.approx(2.0, rel=0.25)


@pytest.mark.parametrize("factor", [0.97, 1.03])
@pytest.mark.parametrize("a", [0.0, 0.02])
def test_sizes_follow_data_that_drifts(a: float, factor: float) -> None:
    sizer = ChunkSizer(10**12, SizingOptions())
    b = 1e-6
    seconds = []
    for units in chunks(sizer, a, b, 25, left=10**12)[-1:]:
        sizer.observe(units, a + b * units)
    for _ in range(100):
        b *= factor
        units = sizer.next_units(10**12, 1)
        sizer.observe(units, a + b * units)
        seconds.append(a + b * units)
    assert max(seconds) <= 2 * TARGET_S
    assert min(seconds) >= 0.4 * TARGET_S


def test_one_chunk_that_was_held_up_is_soon_forgotten() -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    usual = chunks(sizer, 0.01, 1e-6, 25, left=10**12)[-1]
    sizer.observe(usual, 4 * TARGET_S)
    sizes = chunks(sizer, 0.01, 1e-6, 25, left=10**12)
    assert min(sizes) >= usual / 5
    assert sizes[-1] == pytest.approx(usual, rel=0.25)


def test_a_late_answer_about_a_small_chunk_does_not_shrink_the_rest() -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    before = chunks(sizer, 0.0, 1e-6, 25, left=10**12)[-1]
    sizer.observe(10, 10e-6)
    assert sizer.next_units(10**12, 1) >= 0.9 * before


@pytest.mark.parametrize("seconds", [0.0, 1e-12])
def test_chunks_that_take_no_time(seconds: float) -> None:
    sizer = ChunkSizer(100, SizingOptions())
    for _ in range(20):
        units = sizer.next_units(100, 1)
        assert 1 <= units <= 100
        sizer.observe(units, seconds)
    assert sizer.seconds_for(50) == pytest.approx(0.0, abs=1e-9)


def test_a_clock_that_stands_still_and_then_does_not() -> None:
    sizer = ChunkSizer(1000, SizingOptions())
    sizer.observe(1, 0.0)
    sizer.observe(1, 0.0)
    sizer.observe(1, 3.0)
    assert sizer.next_units(1000, 1) >= 1
    fixed_s, unit_s = sizer.fit()
    assert fixed_s >= 0
    assert unit_s >= 0


@pytest.mark.parametrize("workers", [1, 3, 64])
@pytest.mark.parametrize("left", [1, 2, 5, 100])
def test_there_is_always_a_chunk_of_at_least_one_unit(workers: int, left: int) -> None:
    for observed in ((), ((1, 0.0),), ((5, 100.0),), ((1, 1.0), (9, 1.0)), ((9, 0.1), (3, 9.0))):
        sizer = ChunkSizer(100, SizingOptions())
        for units, seconds in observed:
            sizer.observe(units, seconds)
        assert sizer.next_units(left, workers) >= 1


@pytest.mark.parametrize("rows", [1, 7, 10**12])
def test_a_fixed_size_is_kept(rows: int) -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions(fixed_units=rows))
    assert set(chunks(sizer, 1.0, 1.0, 5)) == {rows}
    assert sizer.next_units(1, 64) == rows


@pytest.mark.parametrize(
    ("rows", "rows_per_unit", "units"),
    [
        (1000, 100.0, 10),
        (1000, 1.0, 1000),
        (10, 100.0, 1),
        (150, 100.0, 2),
        (5, 0.0, 5_000_000_000),
    ],
)
def test_a_fixed_size_in_rows_becomes_units(rows: int, rows_per_unit: float, units: int) -> None:
    assert SizingOptions(fixed_units=rows).in_units(rows_per_unit).fixed_units == units


def test_without_a_fixed_size_nothing_changes() -> None:
    options = SizingOptions(target_s=1.0)
    assert options.in_units(100.0) is options


@pytest.mark.parametrize("target_s", [0.0, -1.0, math.inf, math.nan])
def test_a_target_is_some_seconds(target_s: float) -> None:
    with pytest.raises(ValueError, match="cannot take"):
        SizingOptions(target_s=target_s)


@pytest.mark.parametrize("units", [0, -3])
def test_a_fixed_size_is_some_units(units: int) -> None:
    with pytest.raises(ValueError, match="cannot have"):
        SizingOptions(fixed_units=units)


def test_nothing_is_expected_before_a_chunk_has_finished() -> None:
    sizer = ChunkSizer(10, SizingOptions())
    assert sizer.seconds_for(5) is None
    sizer.observe(4, 2.0)
    assert sizer.seconds_for(6) == pytest.approx(3.0)


def run(a: float, b: float, workers: int, total: int, target_s: float) -> tuple[list[float], int]:
    """When each worker ends its last chunk, and how many chunks there were."""
    sizer = ChunkSizer(total, SizingOptions(target_s))
    busy = [(0.0, worker, 0) for worker in range(workers)]
    ends = [0.0] * workers
    left, count = total, 0
    while busy:
        now_s, worker, units = heapq.heappop(busy)
        if units:
            sizer.observe(units, a + b * units)
            ends[worker] = now_s
        if left:
            units = min(left, sizer.next_units(left, workers))
            left, count = left - units, count + 1
            heapq.heappush(busy, (now_s + a + b * units, worker, units))
    return ends, count


@pytest.mark.parametrize("workers", [1, 2, 4, 16])
@pytest.mark.parametrize(
    ("a", "b", "total"),
    [
        (0.001, 1e-6, 20_000_000),
        (0.005, 1e-5, 5_000_000),
        (0.02, 2e-5, 2_000_000),
        (0.0, 1e-3, 100_000),
        (0.05, 1e-4, 1_000_000),
    ],
)
def test_all_workers_end_within_one_floor(a: float, b: float, total: int, workers: int) -> None:
    ends, count = run(a, b, workers, total, TARGET_S)
    floor_s = max(a / FIXED_SHARE_MAX, CHUNK_S_MIN + a)
    assert max(ends) - min(ends) <= floor_s * 1.2
    # And the work is not paid for with many small chunks.
    assert count * a <= 0.1 * total * b + workers * 12 * a
    assert max(ends) <= 1.15 * total * b / workers + floor_s + 10 * a


@pytest.mark.parametrize("workers", [1, 8])
def test_a_domain_of_one_unit_is_one_chunk(workers: int) -> None:
    ends, count = run(0.5, 1.0, workers, 1, TARGET_S)
    assert count == 1
    assert max(ends) == 1.5


# Bytes, limits and company ---------------------------------------------------------------------


def test_wide_rows_make_the_first_chunk_small() -> None:
    wide = ChunkSizer(1_000_000, SizingOptions(), bytes_per_unit=2**20)
    assert wide.next_units(1_000_000, 2) == FIRST_BYTES_MAX // 2**20
    plain = ChunkSizer(1_000_000, SizingOptions(), bytes_per_unit=8192)
    assert plain.next_units(1_000_000, 2) == 1_000_000 // 512


def test_bytes_bound_what_seconds_would_allow() -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions(60.0), bytes_per_unit=2**20)
    assert chunks(sizer, 0.0, 1e-3, 60, left=10**12)[-1] == CHUNK_BYTES_MAX // 2**20


def test_a_hash_build_is_not_paid_more_often_for_the_sake_of_bytes() -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions(), bytes_per_unit=2**20)
    units = chunks(sizer, 1.0, 1e-3, 60, left=10**12)[-1]
    assert units > CHUNK_BYTES_MAX // 2**20
    assert 1.0 / (1.0 + 1e-3 * units) <= FIXED_SHARE_MAX * 1.1


def test_what_was_too_large_is_not_tried_again_at_once() -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    before = chunks(sizer, 0.0, 1e-5, 25, left=10**12)[-1]
    sizer.too_large(before)
    after = chunks(sizer, 0.0, 1e-5, 30, left=10**12)
    assert after[0] == math.ceil(before / 2)
    assert all(small <= large for small, large in itertools.pairwise(after))
    assert after[-1] == pytest.approx(before, rel=0.05)
    sizer.too_large(before)
    sizer.too_large(before)
    assert sizer.next_units(10**12, 2) == math.ceil(before / 4)


def test_a_worker_alone_cuts_no_tail() -> None:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    size = chunks(sizer, 0.0, 1e-5, 25, left=10**12)[-1]
    assert sizer.next_units(size - 1, 1) == size - 1
    assert sizer.next_units(size - 1, 2) == math.ceil((size - 1) / 4)


def test_chunks_are_of_several_sizes_until_the_first_has_finished() -> None:
    """Sizes tell what every chunk pays from what a unit costs."""
    sizer = ChunkSizer(TOTAL, SizingOptions())
    sizes = [sizer.next_units(TOTAL, 4) for _ in range(4)]
    assert sizes == [FIRST_UNITS_MAX // divisor for divisor in PROBE_DIVISORS]
    for units in sizes:
        sizer.observe(units, 1.0 + 1e-4 * units)
    fixed_s, unit_s = sizer.fit()
    assert fixed_s == pytest.approx(1.0)
    assert unit_s == pytest.approx(1e-4)


@pytest.mark.parametrize(("fixed_s", "ratio_max"), [(0.2, 1.25), (0.5, 1.4), (1.0, 1.45)])
def test_a_large_fixed_cost_is_not_paid_many_times_on_the_way(
    fixed_s: float, ratio_max: float
) -> None:
    """10 s of work for each of 16 workers; ramping up blindly came to twice the bound."""
    task = ModelTask(1_600_000, 1e-4, fixed_s)
    found = simulate([task], 16, SchedulerOptions(SizingOptions()))
    assert found.ratio <= ratio_max


# What EXPLAIN says, and what is shared --------------------------------------------------------


@pytest.mark.parametrize("workers", [2, 16])
def test_a_table_of_few_blocks_is_not_cut_into_single_ones(workers: int) -> None:
    """All first chunks were one block: nothing told what each paid again, and so it stayed."""
    task = ModelTask(200, 0.01, 2.0)
    found = simulate([task], workers, SchedulerOptions(SizingOptions()), ModelServer(noise=0.05))
    assert found.chunks <= 5 * workers
    assert found.ratio <= 5


@pytest.mark.parametrize(("work_s", "fixed_s", "workers"), [(45, 0.45, 16), (20, 2, 2), (2, 2, 4)])
def test_what_every_chunk_pays_again_is_paid_once_where_explain_tells(
    work_s: float, fixed_s: float, workers: int
) -> None:
    units = 4500
    told = Costs(fixed_s, work_s / units)
    task = ModelTask(units, work_s / units, fixed_s, expected=told)
    found = simulate([task], workers, SchedulerOptions(SizingOptions()))
    assert found.chunks == workers
    assert found.makespan_s == pytest.approx(fixed_s + work_s / workers, rel=0.01)


@pytest.mark.parametrize("ratio", [0.1, 0.3, 3.0, 10.0])
@pytest.mark.parametrize("unit", [0.1, 1.0, 10.0])
def test_explain_may_be_wrong_ten_times(ratio: float, unit: float) -> None:
    """In the ratio of the two costs, and in seconds; nothing told at all, it took longer still."""
    for work_s, fixed_s in ((20.0, 2.0), (45.0, 0.5)):
        told = Costs(fixed_s * ratio * unit, work_s / 9000 * unit)
        task = ModelTask(9000, work_s / 9000, fixed_s, expected=told)
        server = ModelServer(noise=0.1)
        found = simulate([task], 16, SchedulerOptions(SizingOptions()), server)
        assert found.makespan_s <= 1.6 * (fixed_s + work_s / 16)


def test_what_explain_says_of_a_fixed_cost_that_is_not_there_costs_no_balance() -> None:
    units = 600_000
    server = ModelServer(noise=0.1)
    for told in (Costs(), Costs(100.0, 1e-4)):
        task = ModelTask(units, 1e-4, 0.005, expected=told)
        found = simulate([task], 4, SchedulerOptions(SizingOptions()), server)
        assert found.ratio <= 1.15


def learnt(fixed_s: float, unit_s: float) -> ChunkSizer:
    sizer = ChunkSizer(TOTAL, SizingOptions())
    for _ in range(40):
        for units in (100, 100_000, 200_000):
            sizer.observe(units, fixed_s + unit_s * units)
    return sizer


@pytest.mark.parametrize(
    ("others_s", "share"),
    [
        ((), 250),
        ((0.0, 0.0, 0.0), 250),
        ((9e9, 9e9, 9e9), 1000),  # nobody else comes in time
        ((9e9, 9e9), 500),
        ((0.0, 0.1, 0.1), 300),  # 0.3 + (0.3 + 0.2 + 0.2) = 1 s
        ((0.8, 0.8, 0.8), 900),  # with one of them; the others would save 0.05 s
    ],
)
def test_where_half_a_share_is_mostly_fixed_cost_all_end_together(
    others_s: tuple[float, ...], share: int
) -> None:
    sizer = learnt(0.5, 1e-3)
    assert sizer.next_units(1000, 4, lambda: others_s) == pytest.approx(share, rel=0.03)


def test_few_workers_share_what_is_hardly_more_than_the_fixed_cost() -> None:
    """1 s of work and 20 s again for each: a third worker would save nearly nothing."""
    sizer = learnt(20.0, 1e-3)
    assert sizer.next_units(1000, 64) == 500


def test_where_chunks_are_cheap_each_worker_gets_several() -> None:
    """Nobody knows where the dear rows are; but a target of 2 s would be all of it."""
    sizer = learnt(0.0, 1e-7)
    assert sizer.next_units(TOTAL, 2) == TOTAL // (SHARES_MIN * 2)
    dear = learnt(0.1, 1e-7)
    assert dear.next_units(TOTAL, 2) > TOTAL // (SHARES_MIN * 2)
