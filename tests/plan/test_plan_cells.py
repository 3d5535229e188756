"""Cells of space: each row in one of them, about equal numbers in each, neighbours together."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgfan.plan.cells import AXES, LEVELS_MAX, Box, Cells, Point, Space, grow
from pgfan.plan.ranges import Range
from pgfan.plan.task import SplitPlan, TaskPlan

NUMBERS = st.one_of(
    st.integers(-3, 3).map(float),  # many at one place, or in one line
    st.floats(allow_nan=True, allow_infinity=True),
)
POINTS = st.integers(2, 3).flatmap(lambda axes: st.lists(st.tuples(*[NUMBERS] * axes), max_size=60))


def finite(points: list[Point]) -> list[Point]:
    return [point for point in points if all(-1e30 <= axis < 1e30 for axis in point)]


def cells_of(points: list[Point], cells_max: int) -> Cells:
    space: Space = "earth" if points and len(points[0]) == 3 else "point"
    return Cells(space, "public", grow(finite(points), cells_max))


def stands_in(point: Point, box: Box) -> bool:
    """As the server compares: NaN is above all numbers."""
    order = [(math.isnan(axis), 0.0 if math.isnan(axis) else axis) for axis in point]
    return all(
        (False, float(low)) <= axis < (False, float(high))
        for axis, (low, high) in zip(order, box, strict=True)
    )


def found_in(cells: Cells, points: list[Point], piece: Range) -> list[Point]:
    """The points in a range of ordinals, once for each box that has them."""
    return [p for box in cells.boxes(piece) for p in points if stands_in(p, box)]


@given(POINTS, st.integers(1, 40), st.lists(st.integers(1, 9)))
def test_every_point_is_in_one_range_or_outside(
    points: list[Point], cells_max: int, lengths: list[int]
) -> None:
    cells = cells_of(points, cells_max)
    assert 2 <= cells.total <= cells_max + 1
    lo, seen = 0, []
    for length in itertools.chain(lengths, itertools.repeat(5)):
        if lo >= cells.total:
            break
        seen += found_in(cells, points, Range(lo, min(lo + length, cells.total)))
        lo += length
    assert sorted(seen) == sorted(finite(points))


@given(st.permutations(range(80)), st.integers(0, 80))
def test_cells_of_points_apart_hold_equal_shares(rows: list[int], count: int) -> None:
    inside: list[Point] = [(float(x), y / 80) for x, y in enumerate(rows[:count])]
    cells = cells_of(inside, 8)
    sizes = [len(found_in(cells, inside, Range(i, i + 1))) for i in range(1, cells.total)]
    assert len(sizes) == max(1, min(8, len(inside)))
    assert max(sizes) <= 2 * max(1, min(sizes))


def test_a_crowded_place_is_a_cell_of_its_own() -> None:
    crowd: list[Point] = [(4.0, 4.0)] * 500
    around: list[Point] = [(float(i), float(j)) for i in range(10) for j in range(10)]
    cells = cells_of(crowd + around, 20)
    sizes = [len(found_in(cells, crowd + around, Range(i, i + 1))) for i in range(1, cells.total)]
    assert max(sizes) <= 510
    assert len(sizes) == 20


@pytest.mark.parametrize("points", [[], [(1.0, 1.0)], [(1.0, 1.0)] * 9])
def test_one_place_is_one_cell(points: list[Point]) -> None:
    assert grow(points, 100) == (None,)


def test_a_line_is_cut_along_its_length() -> None:
    line: list[Point] = [(7.0, float(i)) for i in range(64)]
    cells = cells_of(line, 8)
    sizes = [len(found_in(cells, line, Range(i, i + 1))) for i in range(1, cells.total)]
    assert sizes == [8] * 8


def test_a_tree_that_leans_ends() -> None:
    """Each cut can leave but one place on its left."""
    points: list[Point] = [(2.0**-i, 0.0) for i in range(60) for _ in range(2**10 >> min(i, 10))]
    cells = cells_of(points, 1_000)
    assert cells.total - 1 <= 60
    assert max(len(list(cells.boxes(Range(i, i + 1)))) for i in range(1, cells.total)) == 1


def test_a_range_of_cells_is_few_boxes() -> None:
    points: list[Point] = [(math.sin(i), i * 0.618 % 1 * i) for i in range(8_000)]
    cells = cells_of(points, 1_000)
    assert cells.total == 1_001
    boxes = [len(list(cells.boxes(Range(lo, lo + 300)))) for lo in range(1, 700, 7)]
    assert max(boxes) <= 2 * LEVELS_MAX
    assert max(boxes) <= 20
    assert len(list(cells.boxes(Range(0, 1_001)))) == 1


def test_the_box_around_a_range_holds_little_else() -> None:
    points: list[Point] = [(math.sin(i), i * 0.618 % 1 * i) for i in range(2_000)]
    cells = cells_of(points, 128)
    for length in (3, 8, 20):
        for lo in range(1, 128 - length, 17):
            sides = zip(*cells.boxes(Range(lo, lo + length)), strict=True)
            around = tuple(
                (min(map(float, lows)), max(map(float, highs)))
                for lows, highs in (zip(*side, strict=True) for side in sides)
            )
            inside = [
                point
                for point in points
                if all(low <= x < high for x, (low, high) in zip(point, around, strict=True))
            ]
            assert len(inside) <= 2.5 * len(found_in(cells, points, Range(lo, lo + length)))


@pytest.mark.parametrize("space", AXES)
def test_the_plan_survives_json(space: Space) -> None:
    points: list[Point] = [(0.1 * i, 1e-300 * i, 1e29 * i) for i in range(9)]
    cells = Cells(space, 'My "schema"', grow([p[: AXES[space]] for p in points], 9))
    split = SplitPlan("g", "cells", cells.total, ("SELECT ", ""), cells, "t", columns=(("c",),))
    plan = TaskPlan("split", split=split)
    again = TaskPlan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again == plan
    assert again.split is not None
    assert again.split.statement(Range(2, 4)) == split.statement(Range(2, 4))


SQL = {
    "point": (
        '("k"."g" OPERATOR("s".&&) "s".st_makeenvelope({-R}, {-R}, {R}, {5}) AND CASE WHEN'
        ' ("s".st_x("k"."g") >= {-R} AND "s".st_x("k"."g") < {R}'
        ' AND "s".st_y("k"."g") >= {-R} AND "s".st_y("k"."g") < {5}) THEN true END IS NOT NULL)'
    ),
    "geometry": (
        '("k"."g" OPERATOR("s".&&) "s".st_makeenvelope({-R}, {-R}, {R}, {5}) AND CASE WHEN'
        " [st_xmax] < {R} AND [st_ymax] < {R} AND ([st_xmin] >= {-R} AND [st_xmin] < {R}"
        " AND [st_ymin] >= {-R} AND [st_ymin] < {5}) THEN true END IS NOT NULL)"
    ),
    "earth": (
        '("k"."g"::"s".cube OPERATOR("s".&&) "s".cube('
        "'{-1e+30,-1e+30,-1e+30}'::pg_catalog.float8[], '{1e+30,5.0,1e+30}'::pg_catalog.float8[])"
        " AND CASE WHEN ([1] >= {-R} AND [1] < {R} AND [2] >= {-R} AND [2] < {5}"
        " AND [3] >= {-R} AND [3] < {R}) THEN true END IS NOT NULL)"
    ),
}


@pytest.mark.parametrize("space", AXES)
def test_the_sql_of_a_cell(space: Space) -> None:
    cells = Cells(space, "s", ((1, "5.0", False), None, None))
    expected = SQL[space].replace("{-R}", "'-1e+30'::pg_catalog.float8")
    expected = expected.replace("{R}", "'1e+30'::pg_catalog.float8")
    expected = expected.replace("{5}", "'5.0'::pg_catalog.float8")
    for name in ("st_xmin", "st_ymin", "st_xmax", "st_ymax"):
        call = f'"s".{name}("k"."g"::"s".box2d::"s".box3d)'
        expected = expected.replace(f"[{name}]", call)
    for axis in "123":
        expected = expected.replace(f"[{axis}]", f'"s".cube_ll_coord("k"."g"::"s".cube, {axis})')
    for sign in ("<", ">="):
        expected = expected.replace(f" {sign} ", f" OPERATOR(pg_catalog.{sign}) ")
    assert f"({expected})" == cells.condition(('"k"."g"',), Range(1, 2))


def test_the_sql_of_what_lies_outside() -> None:
    cells = Cells("point", "s", ((1, "5.0", False), None, None))
    outside = cells.condition(("g",), Range(0, 1))
    assert outside.startswith("(CASE WHEN (")
    assert outside.endswith(" THEN true END IS NULL)")
    assert cells.condition(("g",), Range(0, 3)) == "true"
    both = cells.condition(("g",), Range(0, 2))
    assert both == f"({cells.condition('g', Range(1, 2))[1:-1]} OR {outside[1:-1]})"
