"""What is decided about one task before it runs: a value that the journal keeps as JSON.

A plan must outlive the client: a resume takes the stored one and cuts the same ranges. So it
holds the finished SQL around the bounds, the domain, and how an ordinal becomes a bound.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, assert_never

from msgspec import Struct, to_builtins

from pgfan.plan.cells import Cells
from pgfan.plan.column_ranges import ColumnRanges
from pgfan.plan.ranges import Range
from pgfan.plan.sizing import UNKNOWN, Costs

if TYPE_CHECKING:
    from pgfan.events import Unit

DIGITS_MAX = 150_000
"""Digits of arithmetic: numeric has at most 131,072 before the point and 16,383 after it."""
US_PER_DAY = 86_400_000_000


class Blocks(Struct, frozen=True):
    """Ordinals are block numbers of a heap; bounds are tids, the upper one exclusive."""

    kind: Literal["blocks"] = "blocks"

    def low(self, ordinal: int) -> str:
        """The first tid of the block."""
        return f"({ordinal},0)"

    def high(self, ordinal: int) -> str:
        """The tid before which the range [.., ordinal) ends."""
        return f"({ordinal},0)"


class NumberSeries(Struct, frozen=True):
    """Ordinal i is start + i * step; exact, with numeric's own scale."""

    start: str
    step: str
    kind: Literal["numbers"] = "numbers"

    def low(self, ordinal: int) -> str:
        """The value at the ordinal."""
        with localcontext() as context:
            context.prec = DIGITS_MAX
            if not ordinal:
                return self.start
            return f"{Decimal(self.start) + ordinal * Decimal(self.step):f}"

    def high(self, ordinal: int) -> str:
        """The last value of a range that ends before `ordinal`."""
        return self.low(ordinal - 1)


class TimeSeries(Struct, frozen=True):
    """Timestamps with a step of constant length; microseconds since 2000-01-01 UTC."""

    start_us: int
    step_us: int
    kind: Literal["times"] = "times"

    def low(self, ordinal: int) -> str:
        """The interval since 2000-01-01 at the ordinal."""
        return interval_text(self.start_us + ordinal * self.step_us)

    def high(self, ordinal: int) -> str:
        """The interval of the last value of a range that ends before `ordinal`."""
        return self.low(ordinal - 1)


class CalendarSeries(Struct, frozen=True):
    """Timestamps with a step of months or days, which add up from element to element.

    Each ordinal stands for a run of elements whose first and last the server has computed.
    """

    firsts_us: tuple[int, ...]
    lasts_us: tuple[int, ...]
    kind: Literal["calendar"] = "calendar"

    def low(self, ordinal: int) -> str:
        """The interval since 2000-01-01 of the run's first element."""
        return interval_text(self.firsts_us[ordinal])

    def high(self, ordinal: int) -> str:
        """The interval of the last element of the run before `ordinal`."""
        return interval_text(self.lasts_us[ordinal - 1])


class Whole(Struct, frozen=True):
    """One ordinal, 0, and nothing to restrict: the SQL has no holes."""

    kind: Literal["whole"] = "whole"


Bounds: TypeAlias = (
    Blocks | NumberSeries | TimeSeries | CalendarSeries | ColumnRanges | Cells | Whole
)


class Part(Struct, frozen=True):
    """Some branches of a UNION ALL, the others being empty: [0, `total`) of its own ordinals.

    The fields are those of SplitPlan.
    """

    total: int
    pieces: tuple[str, ...]
    bounds: Bounds
    rows_per_unit: float = 1.0
    columns: tuple[tuple[str, ...], ...] = ()
    cost: float = 1.0
    """EXPLAIN's cost of all of it."""
    bytes_per_unit: float = 0.0
    expected: Costs = UNKNOWN


class NewTable(Struct, frozen=True):
    """A table that the task makes: filled under a hidden name, renamed when the task is done.

    `statement` makes it empty under its final name, in `schema`; `query` has its columns. `oid` is
    0 before it is made, and afterwards what tells it from any other table of either name.
    """

    schema: str
    name: str
    hidden: str
    statement: str
    oid: int = 0
    query: str = ""


class SplitPlan(Struct, frozen=True):
    """How a task is cut: [0, `total`) of `unit`, each range filled into the SQL pieces."""

    key: str
    """"ctid", "series", the name of a column, or "branches"."""
    unit: Unit
    total: int
    pieces: tuple[str, ...]
    """The SQL around the holes: LOW and HIGH, or a condition for each of `columns`."""
    bounds: Bounds
    target: str
    """Quoted name of the relation that is written."""
    sources: tuple[str, ...] = ()
    """Quoted names of the relations that are read."""
    rows_per_unit: float = 1.0
    """About how many rows of the driving relation an ordinal stands for."""
    columns: tuple[tuple[str, ...], ...] = ()
    """What each condition restricts, as SQL: the parts of the key, or the first few of them."""
    shared_snapshot: bool = False
    """Whether all chunks need one snapshot although no other relation is read."""
    tag: str = "INSERT 0"
    """The command tag of the whole statement, without its count."""
    creates: NewTable | None = None
    """The table that is filled, when the statement makes it."""
    parts: tuple[Part, ...] = ()
    """What the domain is put together from, in this order; without any, it is one part."""
    bytes_per_unit: float = 0.0
    """Size of an ordinal's rows in the driving relation, out-of-line values too; 0: not known."""
    expected: Costs = UNKNOWN
    """What a chunk costs by EXPLAIN."""

    def statement(self, piece: Range) -> str:
        """The SQL of one chunk; ValueError when `piece` lies in two parts."""
        if not self.parts:
            return _filled(self.bounds, self.pieces, self.columns, piece)
        begins = 0
        for part in self.parts:
            if begins <= piece.lo < piece.hi <= begins + part.total:
                own = Range(piece.lo - begins, piece.hi - begins)
                return _filled(part.bounds, part.pieces, part.columns, own)
            begins += part.total
        raise ValueError(f"{piece} lies in no single part of the statement")


class TaskPlan(Struct, frozen=True):
    """A task's verdict; `split` is None when it runs on one connection."""

    verdict: Literal["split", "native", "serial"]
    reasons: tuple[tuple[str, str], ...] = ()
    """(code, message) pairs."""
    hazards: tuple[str, ...] = ()
    unlogged: bool = False
    split: SplitPlan | None = None
    notes: tuple[tuple[str, str], ...] = ()
    """(code, message) pairs: what people should know of a split that is made nevertheless."""
    statements: tuple[str, ...] = ()
    """What a native task runs in place of its statement, in one transaction; the last counts."""

    @property
    def total(self) -> int:
        """Ordinals in the domain; a serial task has one."""
        return self.split.total if self.split else 1

    @property
    def creates(self) -> NewTable | None:
        """The table that a split task makes."""
        return self.split.creates if self.split else None

    def to_json(self) -> dict[str, Any]:
        """JSON values only."""
        value: dict[str, Any] = to_builtins(self)
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TaskPlan:
        """The inverse of `to_json`; KeyError or TypeError for what it did not write."""
        split = value["split"]
        return cls(
            verdict=value["verdict"],
            reasons=tuple((code, message) for code, message in value["reasons"]),
            hazards=tuple(value["hazards"]),
            unlogged=value["unlogged"],
            split=_split_from_json(split) if split else None,
            notes=tuple((code, message) for code, message in value.get("notes", ())),
            statements=tuple(value.get("statements", ())),
        )


def _filled(
    bounds: Bounds, pieces: tuple[str, ...], columns: tuple[tuple[str, ...], ...], piece: Range
) -> str:
    """SQL with `piece` put into its holes."""
    if isinstance(bounds, Whole):
        (text,) = pieces
        return text
    if isinstance(bounds, ColumnRanges | Cells):
        text = pieces[0]
        for parts, following in zip(columns, pieces[1:], strict=True):
            text += bounds.condition(parts, piece) + following
        return text
    head, middle, tail = pieces
    low, high = bounds.low(piece.lo), bounds.high(piece.hi)
    return f"{head}'{low}'{middle}'{high}'{tail}"


def number_count(start: str, stop: str, step: str) -> int:
    """Elements of generate_series(start, stop, step) over numbers; ValueError for step 0."""
    with localcontext() as context:
        context.prec = DIGITS_MAX
        first, last, by = Decimal(start), Decimal(stop), Decimal(step)
        if not by or not all(number.is_finite() for number in (first, last, by)):
            raise ValueError(f"no series from {start} to {stop} by {step}")
        return max(0, int((last - first) // by) + 1) if (last - first) * by >= 0 else 0


def interval_text(microseconds: int) -> str:
    """An interval literal, exact, that reads the same under every IntervalStyle."""
    days, rest = divmod(microseconds, US_PER_DAY)
    seconds, fraction = divmod(rest, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{days} days +{hour:02}:{minute:02}:{second:02}.{fraction:06}"


def _split_from_json(value: dict[str, Any]) -> SplitPlan:
    return SplitPlan(
        key=value["key"],
        unit=value["unit"],
        total=value["total"],
        pieces=tuple(value["pieces"]),
        bounds=_bounds_from_json(value["bounds"]),
        target=value["target"],
        sources=tuple(value["sources"]),
        rows_per_unit=value["rows_per_unit"],
        columns=tuple(map(_listed, value["columns"])),
        shared_snapshot=value["shared_snapshot"],
        # Plans of earlier versions have none of these.
        tag=value.get("tag", "INSERT 0"),
        creates=NewTable(**value["creates"]) if value.get("creates") else None,
        parts=tuple(_part_from_json(part) for part in value.get("parts", ())),
        bytes_per_unit=value.get("bytes_per_unit", 0.0),
        expected=Costs(**value.get("expected", {})),
    )


def _listed(value: str | list[Any]) -> tuple[Any, ...]:
    """Plans of earlier versions have one column where there may now be several."""
    return (value,) if isinstance(value, str) else tuple(value)


def _part_from_json(value: dict[str, Any]) -> Part:
    return Part(
        total=value["total"],
        pieces=tuple(value["pieces"]),
        bounds=_bounds_from_json(value["bounds"]),
        rows_per_unit=value["rows_per_unit"],
        columns=tuple(map(_listed, value["columns"])),
        cost=value["cost"],
        bytes_per_unit=value.get("bytes_per_unit", 0.0),
        expected=Costs(**value.get("expected", {})),
    )


def _bounds_from_json(value: dict[str, Any]) -> Bounds:
    kind: Literal["blocks", "numbers", "times", "calendar", "column", "cells", "whole"]
    kind = value["kind"]
    match kind:
        case "blocks":
            return Blocks()
        case "numbers":
            return NumberSeries(value["start"], value["step"])
        case "times":
            return TimeSeries(value["start_us"], value["step_us"])
        case "calendar":
            return CalendarSeries(tuple(value["firsts_us"]), tuple(value["lasts_us"]))
        case "column":
            values = tuple(map(_listed, value["values"]))
            return ColumnRanges(values, tuple(value.get("order", ())), value.get("ctid_at", -1))
        case "cells":
            cuts = tuple((cut[0], cut[1], cut[2]) if cut else None for cut in value["cuts"])
            return Cells(value["space"], value["schema"], cuts)
        case "whole":
            return Whole()
        case _:
            assert_never(kind)
