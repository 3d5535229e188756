from __future__ import annotations

import re
from itertools import pairwise

import pytest

from pgfan.bench.provinces import PEOPLE, SPAIN
from pgfan.bench.workloads import NAMES, Name, Workload, workloads


def parts(workload: Workload, chunks: int, blocks: int) -> list[tuple[int, int]]:
    """What each query reads, half-open and counted from zero."""
    series = re.compile(r"generate_series\((\d+), (\d+)\)")
    places = re.compile(r"t\.ctid >= '\((\d+),0\)' AND t\.ctid < '\((\d+),0\)'")
    found = []
    for query in workload.queries(chunks, blocks):
        (numbers,) = (series if workload.table is None else places).findall(query)
        lo, hi = (int(number) for number in numbers)
        found.append((lo - 1, hi) if workload.table is None else (lo, hi))
    return found


@pytest.mark.parametrize("row_ms", [None, 10.0])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chunks", [1, 7, 1000])
def test_queries_by_hand_cover_everything_once(
    name: Name, chunks: int, row_ms: float | None
) -> None:
    workload = workloads(0.01, row_ms)[name]
    pieces = parts(workload, chunks, 130)

    assert pieces[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(pieces))
    assert pieces[-1][1] == (130 if workload.table is not None else workload.total)
    assert len(pieces) <= chunks


def test_the_provinces_are_those_of_the_institute_of_statistics() -> None:
    assert len(PEOPLE) == 52
    assert sum(PEOPLE.values()) == SPAIN
    assert 0.14 < max(PEOPLE.values()) / SPAIN < 0.141


def test_every_province_has_a_query_of_its_own() -> None:
    by_province = workloads(0.01)["provinces"].by_province()

    assert len(set(by_province)) == 52
    assert not workloads(0.01)["wide"].by_province()
