"""Cells of space that hold about equal numbers of rows: a k-d tree over a sample of points.

A row stands where one point of it stands: the lower left corner of its box. The cells are
half-open boxes that cover the space within `REACH` of the origin without overlap, so a row is in
one of them or lies outside: NULL, empty, not finite, absurdly far. What lies outside is ordinal 0,
the cells follow along a Hilbert curve. Neighbours in that order are neighbours in space, so the box
around a range of them holds little else; and the range itself is the boxes of a few subtrees.

Values and SQL text only. The sample is taken in `pgfan.postgres.cells`. K-d trees: Bentley,
"Multidimensional binary search trees used for associative searching", CACM 18 (1975). The curve:
Hilbert, "Ueber die stetige Abbildung einer Linie auf ein Flaechenstueck", Math. Annalen 38 (1891).
"""

from __future__ import annotations

from functools import cached_property
from heapq import heappop, heappush
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Literal, TypeAlias, assert_never

from msgspec import Struct

from pgfan.quoting import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.plan.ranges import Range

Point: TypeAlias = tuple[float, ...]
Side: TypeAlias = tuple[str, str]
"""From, inclusive, and to, exclusive: numbers as text."""
Box: TypeAlias = tuple[Side, ...]
"""A side for each axis."""
Cut: TypeAlias = tuple[int, str, bool]
"""An axis, the number at which what is smaller goes to one side, and whether that side is last."""
Space: TypeAlias = Literal["geometry", "point", "earth"]
"""A point is a geometry that can be nothing else."""

REACH = "1e+30"
"""Far more than any coordinate, and a float4 still: PostGIS keeps boxes as such in its indexes."""
AXES: dict[Space, int] = {"geometry": 2, "point": 2, "earth": 3}
LEVELS_MAX = 40
"""Levels of a tree: a chunk's condition has at most two boxes for each."""
_GE = "OPERATOR(pg_catalog.>=)"
_LT = "OPERATOR(pg_catalog.<)"


class Cells(Struct, frozen=True, dict=True):
    """Ordinal 0 is what lies outside, ordinal i the i-th leaf of the tree.

    `cuts` is the tree in preorder, None for a leaf. `schema` is where the functions of `space` are:
    those of PostGIS, and those of cube for earth. All rows of earth must be points, which the
    domain's checks see to.
    """

    space: Space
    schema: str
    cuts: tuple[Cut | None, ...]
    kind: Literal["cells"] = "cells"

    @property
    def total(self) -> int:
        """Ordinals: the cells, and what lies outside."""
        return self._leaves[0] + 1

    def condition(self, columns: Sequence[str], piece: Range) -> str:
        """SQL that is true for the rows of `piece`; the only one of `columns` is SQL.

        By the operator that a GiST index serves for the box around all cells, which has about half
        as many again: one scan, that a join may restrict further. Then exactly.
        """
        if piece.lo == 0 and piece.hi >= self.total:
            return "true"
        (column,) = columns
        found: list[str] = []
        boxes = list(self.boxes(piece))
        if boxes:
            rough = self._overlaps(column, _hull(boxes))
            found.append(f"({rough} AND {self._stands_in(column, boxes)} IS NOT NULL)")
        if piece.lo == 0:
            found.append(f"{self._stands_in(column, [self._everywhere])} IS NULL")
        return f"({' OR '.join(found)})"

    def boxes(self, piece: Range) -> Iterator[Box]:
        """The largest subtrees with all their leaves in `piece`, in their order; not ordinal 0."""
        stack = [(0, 1, self._everywhere)]  # node, ordinal of its first leaf, box
        while stack:
            node, first, box = stack.pop()
            cut, leaves = self.cuts[node], self._leaves[node]
            if first >= piece.hi or first + leaves <= piece.lo:
                continue
            if cut is None or piece.lo <= first < first + leaves <= piece.hi:
                yield box
                continue
            halves = _halves(box, cut)
            left = self._leaves[node + 1]
            stack += [(node + 2 * left, first + left, halves[1]), (node + 1, first, halves[0])]

    @cached_property
    def _leaves(self) -> list[int]:
        """How many leaves there are at and below each node. The right arm comes after the left."""
        leaves = [1] * len(self.cuts)
        for node in reversed(range(len(self.cuts))):
            if self.cuts[node] is not None:
                left = leaves[node + 1]
                leaves[node] = left + leaves[node + 2 * left]
        return leaves

    @property
    def _everywhere(self) -> Box:
        return ((f"-{REACH}", REACH),) * AXES[self.space]

    def _overlaps(self, column: str, box: Box) -> str:
        """True for all rows in `box`, and for others: what an index finds."""
        schema, lows, highs = identifier(self.schema), *zip(*box, strict=True)
        match self.space:
            case "geometry" | "point":
                corners = ", ".join(map(_number, (*lows, *highs)))
                envelope = f"{schema}.st_makeenvelope({corners})"
                return f"{column} OPERATOR({schema}.&&) {envelope}"
            case "earth":
                around = f"{schema}.cube({_numbers(lows)}, {_numbers(highs)})"
                return f"{column}::{schema}.cube OPERATOR({schema}.&&) {around}"
            case _:
                assert_never(self.space)

    def _stands_in(self, column: str, boxes: Sequence[Box]) -> str:
        """True for a row whose point is in one of `boxes`, else NULL.

        PostgreSQL expects a CASE not to be NULL for nearly all rows, and so it is for those that an
        index found; of so many comparisons it would expect next to none.

        float8 orders NaN above all numbers, so nothing is left undecided. A box that reaches
        farther than its corner is not finite has no place: an index may see it anywhere.
        """
        lows = coordinates(self.space, self.schema, column)
        highs = "" if self.space != "geometry" else "st_xmax st_ymax"
        finite = "".join(
            f"{value} {_LT} {_number(REACH)} AND " for value in _of_box(highs, self.schema, column)
        )
        inside = " OR ".join(
            " AND ".join(
                f"{value} {_GE} {_number(low)} AND {value} {_LT} {_number(high)}"
                for value, (low, high) in zip(lows, box, strict=True)
            )
            for box in boxes
        )
        return f"CASE WHEN {finite}({inside}) THEN true END"


def _halves(box: Box, cut: Cut) -> tuple[Box, Box]:
    """In the order of the leaves."""
    axis, at, downwards = cut
    low, high = box[axis]
    lower = (*box[:axis], (low, at), *box[axis + 1 :])
    upper = (*box[:axis], (at, high), *box[axis + 1 :])
    return (upper, lower) if downwards else (lower, upper)


def _hull(boxes: Sequence[Box]) -> Box:
    """The smallest box around `boxes`."""
    return tuple(
        (min((low for low, _ in sides), key=float), max((high for _, high in sides), key=float))
        for sides in zip(*boxes, strict=True)
    )


def coordinates(space: Space, schema: str, column: str) -> list[str]:
    """SQL of the point where a row stands, axis by axis; `column` is SQL.

    Immutable functions of the row, each called with the type that it has: no other is meant.
    """
    match space:
        case "geometry":
            return _of_box("st_xmin st_ymin", schema, column)
        case "point":
            return [f"{identifier(schema)}.{name}({column})" for name in ("st_x", "st_y")]
        case "earth":
            cube = f"{column}::{identifier(schema)}.cube"
            return [f"{identifier(schema)}.cube_ll_coord({cube}, {axis})" for axis in (1, 2, 3)]
        case _:
            assert_never(space)


def _of_box(functions: str, schema: str, column: str) -> list[str]:
    # By way of box2d, which a large geometry has at its beginning: the rest is not fetched.
    box = f"{column}::{identifier(schema)}.box2d::{identifier(schema)}.box3d"
    return [f"{identifier(schema)}.{name}({box})" for name in functions.split()]


def _number(text: str) -> str:
    return f"{literal(text)}::pg_catalog.float8"


def _numbers(texts: Sequence[str]) -> str:
    return f"{literal('{' + ','.join(texts) + '}')}::pg_catalog.float8[]"


# Growing a tree ---------------------------------------------------------------------------------


class _Course(Struct, frozen=True):
    """How a Hilbert curve goes through a box: where it enters, and along which axis first.

    `axes` are the one that it crosses, and the one that it goes to and fro on; `downwards` is
    whether it enters at the high end of each. It leaves at the other end of the first.
    """

    axes: tuple[int, int]
    downwards: tuple[bool, bool]

    def quarters(self) -> tuple[_Course, ...]:
        """Through the four quarters of the box, in their order."""
        axes, (first, second) = self.axes[::-1], self.downwards
        return (
            _Course(axes, (second, first)),
            self,
            self,
            _Course(axes, (not second, not first)),
        )


class _Node(Struct):
    """A box with the course through it, or half of one with the courses through its quarters."""

    points: list[Point]
    courses: tuple[_Course, ...]
    axis: int
    downwards: bool
    level: int = 0
    cut: Cut | None = None
    arms: tuple[_Node, ...] = ()


def grow(points: Sequence[Point], cells_max: int) -> tuple[Cut | None, ...]:
    """A tree in preorder, whose leaves hold about equal numbers of `points`, `cells_max` at most.

    All points are finite. The leaf with the most points is cut next, near its median, on the two
    axes in turn on which all points are most apart. Points at one place stay together, however
    many. Without points, or with all of them at one place, the tree is one leaf.
    """
    if not points:
        return (None,)
    first, second, *_ = sorted(range(len(points[0])), key=lambda axis: -_extent(points, axis))
    course = _Course((first, second), (False, False))
    root = _Node(list(points), (course,), first, downwards=False)
    number = count()  # nodes are not compared
    heap: list[tuple[int, int, _Node]] = [(-len(root.points), next(number), root)]
    leaves = 1
    while heap and leaves < cells_max:
        _, _, node = heappop(heap)
        if node.level == LEVELS_MAX or not _divide(node):
            continue
        leaves += 1
        for arm in node.arms:
            heappush(heap, (-len(arm.points), next(number), arm))
    return tuple(_preorder(root))


def _preorder(root: _Node) -> Iterator[Cut | None]:
    stack = [root]
    while stack:
        node = stack.pop()
        yield node.cut
        stack += reversed(node.arms)


def _divide(node: _Node) -> bool:
    """Give `node` two arms; False when its points are all at one place."""
    points = node.points
    if len(points) < 2:
        return False
    # Another axis only where many points share a coordinate, and a cut between them would leave
    # next to nothing on one side.
    best: tuple[int, int, int] | None = None
    others = (axis for axis in range(len(points[0])) if axis != node.axis)
    for axis in (node.axis, *others):
        points.sort(key=itemgetter(axis))
        at = _boundary(points, axis)
        if at is None:
            continue
        smaller = min(at, len(points) - at)
        if best is None or smaller > best[0]:
            best = (smaller, axis, at)
        if 4 * smaller >= len(points):
            break
    if best is None:
        return False
    _, axis, at = best
    points.sort(key=itemgetter(axis))
    node.cut = (axis, repr(points[at][axis]), node.downwards)
    halves = [points[:at], points[at:]]
    node.arms = tuple(_arms(node, halves[::-1] if node.downwards else halves))
    node.points = []
    return True


def _arms(node: _Node, halves: Sequence[list[Point]]) -> Iterator[_Node]:
    """The two of them, in the order of the curve."""
    level = node.level + 1
    if len(node.courses) == 2:
        for half, course in zip(halves, node.courses, strict=True):
            yield _Node(half, (course,), course.axes[0], course.downwards[0], level)
        return
    (course,) = node.courses
    quarters, axis = course.quarters(), course.axes[1]
    for half, two, back in zip(halves, (quarters[:2], quarters[2:]), (False, True), strict=True):
        yield _Node(half, two, axis, course.downwards[1] != back, level)


def _extent(points: Sequence[Point], axis: int) -> float:
    values = [point[axis] for point in points]
    return max(values) - min(values)


def _boundary(points: Sequence[Point], axis: int) -> int | None:
    """Where the coordinate changes next to the middle of sorted `points`; None when it does not."""
    middle = len(points) // 2
    value = points[middle][axis]
    below = next((at for at in range(middle, 0, -1) if points[at - 1][axis] != value), None)
    above = next((at for at in range(middle, len(points)) if points[at][axis] != value), None)
    found = [at for at in (below, above) if at is not None]
    return min(found, key=lambda at: abs(at - middle), default=None)
