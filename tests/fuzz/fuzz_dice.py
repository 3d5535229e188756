"""Choices of the generator, and the types that its columns have.

Every choice is one draw from Hypothesis, whose least value is the plainest choice: so a failing
example shrinks towards the plainest statement that still fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

T = TypeVar("T")

TYPES = ("int", "text", "bigint", "numeric", "date", "timestamptz", "boolean")
LETTERS = {
    "int": "i",
    "text": "t",
    "bigint": "b",
    "numeric": "n",
    "date": "d",
    "timestamptz": "z",
    "boolean": "f",
}
"""Columns are named after their type, so that NATURAL joins and USING always compare alike."""

_WORDS = ("", "a", "ab", "Ab", "b", "ba", "zeta", "a'b", "x y", "ä")
_DATES = ("2001-01-01", "2001-01-31", "2001-02-01", "2004-02-29", "2010-12-31")
_TIMES = ("2001-01-01 00:00+00", "2001-01-31 23:59:59.999999+00", "2004-02-29 12:00+02")


class Draw(Protocol):
    """Hypothesis' draw of one number, both bounds included."""

    def __call__(self, low: int, high: int, /) -> int: ...


class Dice:
    """Draws; `serial` numbers names that must not meet."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._names = 0

    def number(self, low: int, high: int) -> int:
        return self._draw(low, high)

    def chance(self, percent: int) -> bool:
        """True in about `percent` of 100 draws; shrinks to False."""
        return self.number(0, 99) >= 100 - percent

    def pick(self, choices: Sequence[T]) -> T:
        """One of `choices`; shrinks to the first."""
        return choices[self.number(0, len(choices) - 1)]

    def weighted(self, weights: dict[str, int]) -> str:
        """A key of `weights`, as often as its weight says; shrinks to the first."""
        left = self.number(0, sum(weights.values()) - 1)
        for choice, weight in weights.items():
            left -= weight
            if left < 0:
                return choice
        raise AssertionError("weights do not add up")

    def some(self, choices: Sequence[T], most: int) -> list[T]:
        """From 1 to `most` different ones of `choices`, in their order."""
        left = list(range(len(choices)))
        wanted = self.number(1, min(most, len(left)))
        chosen = sorted(left.pop(self.number(0, len(left) - 1)) for _ in range(wanted))
        return [choices[index] for index in chosen]

    def name(self, prefix: str) -> str:
        self._names += 1
        return f"{prefix}{self._names}"


def literal(dice: Dice, kind: str) -> str:
    """A constant for expressions, with its type where the parser would not see it."""
    if dice.chance(8):
        return f"NULL::{kind}"
    match kind:
        case "int":
            return str(dice.number(0, 9))
        case "bigint":
            return f"{dice.number(0, 9)}::bigint"
        case "numeric":
            return f"{dice.number(0, 9)}.{dice.pick(('00', '50'))}"
        case "text":
            return f"{quote(dice.pick(_WORDS))}::text"
        case "date":
            return f"DATE '{dice.pick(_DATES)}'"
        case "timestamptz":
            return f"TIMESTAMPTZ '{dice.pick(_TIMES)}'"
        case _:
            return dice.pick(("true", "false"))


def stored(chance: random.Random, kind: str) -> str:
    """A value for a table's row, as a literal: NULLs, few different values, one far more often."""
    if chance.random() < 0.15:
        return "NULL"
    skewed = chance.random() < 0.35
    match kind:
        case "int" | "bigint":
            return "3" if skewed else str(chance.randrange(-2, 11))
        case "numeric":
            return "1.50" if skewed else f"{chance.randrange(-3, 9)}.{chance.choice(('00', '25'))}"
        case "text":
            return quote("a" if skewed else chance.choice(_WORDS))
        case "date":
            return quote(_DATES[0] if skewed else chance.choice(_DATES))
        case "timestamptz":
            return quote(_TIMES[0] if skewed else chance.choice(_TIMES))
        case _:
            return chance.choice(("true", "false"))


def quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
