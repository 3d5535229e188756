"""Names and types of a new table's columns, from records sampled all over the files.

A type is taken only when it gives every sampled value back as it was: the number, the instant, the
JSON value. Digits with a leading zero or plus are names of things, and stay text, and so do numbers
that double precision would round, instants finer than a microsecond, and days that no calendar has.
What the sample does not show is for COPY to refuse, with the line; `widened` then names the type
that would have taken the value. Pure; see "Data Types" in PostgreSQL's manual.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from pgfan.quoting import identifier, qualified

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    Takes: TypeAlias = Callable[[Collection[str]], bool]

NAME_BYTES_MAX = 63
"""NAMEDATALEN less its end: PostgreSQL would cut longer names, and two might become one."""
ROOM = 10
"""smallint and integer must hold so many times the largest value of what is only a sample."""
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
NULL_SPELLINGS = ("NULL", "null", "NA", "N/A", "n/a", "\\N", "None", "nan", "NaN", "-", "?", "")
"""What files write where they have no value; COPY takes one of them, by its option NULL."""


class Column(Struct, frozen=True):
    """A column of the table to be made; `name` is not quoted, `type` is SQL.

    `note` says why the type is not a better one, where that could be changed.
    """

    name: str
    type: str
    note: str | None = None


def infer_columns(
    names: Sequence[str], records: Iterable[Sequence[str | None]], *, whole: bool = True
) -> tuple[Column, ...]:
    """A column for each name, of the best type that takes all of its values; None is NULL.

    Records that are not as long as `names` are left to COPY to refuse. `whole`: the records are
    all that there are. Without values a column is text.
    """
    width = len(names)
    found: list[set[str | None]] = [set() for _ in names]
    for record in records:
        if len(record) == width:
            for values, value in zip(found, record, strict=True):
                values.add(value)
    return tuple(
        _column(name, {value for value in values if value is not None}, whole=whole)
        for name, values in zip(names, found, strict=True)
    )


def column_names(header: Sequence[str]) -> tuple[str, ...]:
    """Names that one table can have, as close to the header as may be; the same every time.

    The first of equal names keeps it, the others are numbered; without a name, a column has its
    position as one.
    """
    wanted = [_cut(_clean(name)) for name in header]
    wanted = [f"{name}_" if name in SYSTEM_COLUMNS else name for name in wanted]
    taken = set(wanted)
    names: dict[str, None] = {}
    for position, given in enumerate(wanted, 1):
        name = given or f"column_{position}"
        if name in names or (not given and name in taken):
            free = (_cut(name, f"_{number}") for number in count(2))
            name = next(one for one in free if one not in taken and one not in names)
        names[name] = None
    return tuple(names)


def create_table(table: Sequence[str], columns: Sequence[Column]) -> str:
    """The DDL, every name quoted; a note stands beside its column as a comment."""
    lines = []
    for number, column in enumerate(columns, 1):
        comma = "," if number < len(columns) else ""
        note = f"  -- {_one_line(column.note)}" if column.note else ""
        lines.append(f"    {identifier(column.name)} {column.type}{comma}{note}\n")
    return f"CREATE TABLE {qualified(table)} (\n{''.join(lines)})"


def widened(type_: str, value: str) -> str:
    """The next type that takes what `type_` takes, and `value` too; text in the end."""
    for wider, takes in _WIDER.get(type_, ()):
        if takes({value}):
            return wider
    return "text"


def joined(first: str, second: str | None) -> str | None:
    """The type that takes the values of both; None when only text would, for they differ."""
    if second is None:
        return None
    if first == second:
        return first
    if "double precision" in {first, second} and {first, second} & {"bigint", "numeric"}:
        return "numeric"  # which keeps the digits of both
    for one, other in ((first, second), (second, first)):
        if other in {wider for wider, _ in _WIDER.get(one, ())}:
            return other
    return "numeric" if all(map(_is_exact, (first, second))) else None


def _is_exact(type_: str) -> bool:
    return type_ in _INTEGER_TYPES or type_.startswith("numeric")


def _column(name: str, values: set[str], *, whole: bool) -> Column:
    found = _best(values, whole=whole)
    if found != "text" or not values:
        return Column(name, found)
    for spelling in NULL_SPELLINGS:
        if spelling not in values:
            continue
        others = values - {spelling}
        better = _best(others, whole=whole) if others else "text"
        if better != "text":
            return Column(name, found, f"{better} but for '{spelling}', were that NULL")
    if all(map(_DAY_FIRST.fullmatch, values)):
        return Column(name, found, "days that date takes, with PGDATESTYLE=DMY or MDY")
    if all(map(_WITH_COMMAS.fullmatch, values)) and any("," in value for value in values):
        return Column(name, found, "numbers with commas, which numeric does not take")
    return Column(name, found)


def _best(values: Collection[str], *, whole: bool) -> str:
    if not values:
        return "text"
    if all(map(_INTEGER.fullmatch, values)):
        numbers = [int(value) for value in values]
        room = 1 if whole else ROOM
        for type_, least in _INTEGER_TYPES.items():
            if least <= min(numbers) * room and max(numbers) * room < -least:
                return type_
    return next((type_ for type_, takes in _TRIED if takes(values)), "text")


def _clean(name: str) -> str:
    return " ".join(name.replace("\0", " ").split())


def _cut(name: str, suffix: str = "") -> str:
    """`name` and `suffix` in at most NAME_BYTES_MAX bytes, no character cut in two."""
    kept = name.encode()[: NAME_BYTES_MAX - len(suffix)].decode("utf-8", "ignore")
    return kept + suffix


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


# Numbers ----------------------------------------------------------------------------------------

_WITH_COMMAS = re.compile(r" *[-+]?[0-9][0-9.,]* *")
_DAY_FIRST = re.compile(r"[0-9]{1,2}([/.-])[0-9]{1,2}\1[0-9]{4}")
"""Or its month; these two are for notes."""
_INTEGER = re.compile(r" *(?:0|-?[1-9][0-9]{0,18}) *")
_NUMBER = re.compile(r" *([+-]?)(?:0|[1-9][0-9]*|(?=\.[0-9]))(\.[0-9]*)?([eE][+-]?[0-9]{1,6})? *")
_NOT_FINITE = re.compile(r"NaN|-?Inf(?:inity)?", re.IGNORECASE)
_INTEGER_TYPES = {"smallint": -(1 << 15), "integer": -(1 << 31), "bigint": -(1 << 63)}
NUMERIC_DIGITS_MAX = (131_072, 16_383)
"""Digits that numeric keeps before and after the point."""


def _is_integer(least: int) -> Takes:
    def takes(values: Collection[str]) -> bool:
        return all(map(_INTEGER.fullmatch, values)) and all(
            least <= int(value) < -least for value in values
        )

    return takes


def _are_numbers(
    values: Collection[str], takes: Callable[[Decimal], bool], *, exponents: bool
) -> bool:
    """Whether all are numbers that `takes`, and at least one of them is finite."""
    finite = False
    for value in values:
        match = _NUMBER.fullmatch(value)
        if match is None:
            if not _NOT_FINITE.fullmatch(value):
                return False
            continue
        sign, fraction, exponent = match.groups()
        if (exponent and not exponents) or (sign == "+" and fraction is None):
            return False
        if not takes(Decimal(value.strip(" "))):
            return False
        finite = True
    return finite


def _numeric_keeps(number: Decimal) -> bool:
    before, after = NUMERIC_DIGITS_MAX
    exponent = number.as_tuple().exponent
    negative_zero = not number and number.is_signed()
    return (
        not negative_zero
        and isinstance(exponent, int)
        and -exponent <= after
        and number.adjusted() < before
    )


def _double_keeps(number: Decimal) -> bool:
    # Python, like PostgreSQL, writes the shortest digits that give the same double.
    return abs(number.adjusted()) < 400 and Decimal(repr(float(number))) == number


def _is_numeric(values: Collection[str]) -> bool:
    return _are_numbers(values, _numeric_keeps, exponents=False)


def _is_double(values: Collection[str]) -> bool:
    return _are_numbers(values, _double_keeps, exponents=True)


def _is_any_numeric(values: Collection[str]) -> bool:
    return _are_numbers(values, _numeric_keeps, exponents=True)


# Dates and times --------------------------------------------------------------------------------

_DAY = r" *(?P<year>[0-9]{4,6})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_TIME = r"[ T](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{0,6}0*)?)?"
_ZONE = r"(?:Z|[+-](?:0[0-9]|1[0-5])(?::?[0-5][0-9](?::[0-5][0-9])?)?)"
_ERA = r"(?P<bc> BC)? *"
_DATE = re.compile(_DAY + _ERA)
_TIMESTAMP = re.compile(f"{_DAY}(?:{_TIME})?{_ERA}")
_TIMESTAMPTZ = re.compile(_DAY + _TIME + _ZONE + _ERA)
_ENDLESS = re.compile(r"-?infinity")
YEARS_MAX = (4_712, 294_275)
"""The last years BC and AD that timestamps have whole, in every zone."""
_MONTH_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _are_instants(pattern: re.Pattern[str]) -> Takes:
    """Whether all are of the pattern and in the calendar, and one at least is not infinite."""

    def takes(values: Collection[str]) -> bool:
        finite = False
        for value in values:
            match = pattern.fullmatch(value)
            if match is not None and _in_calendar(match):
                finite = True
            elif not _ENDLESS.fullmatch(value):
                return False
        return finite

    return takes


def _in_calendar(match: re.Match[str]) -> bool:
    year, month, day = (int(match[part]) for part in ("year", "month", "day"))
    if not (1 <= year <= YEARS_MAX[not match["bc"]] and 1 <= month <= 12):
        return False
    if not 1 <= day <= _MONTH_DAYS[month - 1]:
        return False
    counted = 1 - year if match["bc"] else year
    is_leap = counted % 4 == 0 and (counted % 100 != 0 or counted % 400 == 0)
    return is_leap or (month, day) != (2, 29)


# The rest ---------------------------------------------------------------------------------------

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_BOOLEANS = ({"true", "false"}, {"t", "f"}, {"yes", "no"}, {"y", "n"}, {"on", "off"})
_NO_JSONB = re.compile(r"\\u(?:0000|d[89a-f])", re.IGNORECASE)
"""Escapes that jsonb refuses, or may: NUL, and halves of surrogate pairs."""
JSON_BYTES_MAX = 1 << 20
"""Of longer values only the first character is looked at."""


def _is_boolean(values: Collection[str]) -> bool:
    """One pair of spellings; both of them where one alone may be an initial or a word."""
    found = {value.lower() for value in values}
    return found in _BOOLEANS or found in ({"true"}, {"false"})


def _is_uuid(values: Collection[str]) -> bool:
    return all(map(_UUID.fullmatch, values))


def _is_json(values: Collection[str]) -> bool:
    return _are_json(values, _ANY_JSON.decode)


def _is_jsonb(values: Collection[str]) -> bool:
    """JSON that loses nothing as jsonb, which keeps one of equal keys."""
    if any(_NO_JSONB.search(value) for value in values):
        return False
    return _are_json(values, _UNIQUE.decode)


def _are_json(values: Collection[str], parse: Callable[[str], Any]) -> bool:
    """Objects and arrays only: other JSON is better as what it is."""
    for value in values:
        if not value.lstrip(" \t\r\n").startswith(("{", "[")):
            return False
        if len(value) <= JSON_BYTES_MAX:
            try:
                parse(value)
            except (ValueError, RecursionError):
                return False
    return True


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> object:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("equal keys")
    return made


_ANY_JSON = json.JSONDecoder(parse_constant=_no_constant)
_UNIQUE = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_unique)

_INTEGERS = tuple((type_, _is_integer(least)) for type_, least in _INTEGER_TYPES.items())
_TRIED: tuple[tuple[str, Takes], ...] = (
    ("boolean", _is_boolean),
    *_INTEGERS,
    ("numeric", _is_numeric),
    ("double precision", _is_double),
    ("numeric", _is_any_numeric),
    ("date", _are_instants(_DATE)),
    ("timestamp", _are_instants(_TIMESTAMP)),
    ("timestamptz", _are_instants(_TIMESTAMPTZ)),
    ("uuid", _is_uuid),
    ("jsonb", _is_jsonb),
    ("json", _is_json),
)
"""In this order."""
_NUMBERS = (("numeric", _is_any_numeric), ("double precision", _is_double))
_WIDER = {
    "smallint": (*_INTEGERS[1:], *_NUMBERS),
    "integer": (*_INTEGERS[2:], *_NUMBERS),
    "bigint": _NUMBERS,
    "double precision": _NUMBERS[:1],
    "date": (("timestamp", _are_instants(_TIMESTAMP)),),
    "jsonb": (("json", _is_json),),
}
"""Types that take all of another's values."""
