"""Expressions and aggregates of a wanted type over the columns in scope.

Kept out, because a single connection does not promise them either: sums of floats, text of
transaction times, aggregates that depend on the order of rows. Numerics keep two digits after the
point, so that equal ones are written alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fuzz_dice import TYPES, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fuzz_dice import Dice
    from fuzz_drives import Column, Origins

FUNCTIONS: dict[str, tuple[str, ...]] = {
    "int": (
        "({int} + {int})",
        "({int} * 2 - {int})",
        "({int} % 5)",
        "COALESCE({int}, {int})",
        "NULLIF({int}, {int})",
        "length({text})",
        "abs({int})",
        "CASE WHEN {boolean} THEN {int} ELSE {int} END",
        "({bigint} % 1000)::int",
        "extract(month FROM {date})::int",
        "greatest({int}, {int})",
        "(({date} - {date}) % 7)",
    ),
    "bigint": (
        "{int}::bigint",
        "({bigint} + {int})",
        "COALESCE({bigint}, {int})",
        "CASE WHEN {boolean} THEN {bigint} END",
    ),
    "numeric": (
        "{int}::numeric(12, 2)",
        "({numeric} + {numeric})",
        "round({numeric} * 1.5, 2)",
        "COALESCE({numeric}, 0.00)",
        "CASE {int} WHEN 3 THEN {numeric} ELSE 1.00 END",
    ),
    "text": (
        "({text} || {text})",
        "upper({text})",
        "substr({text}, 1, 2)",
        "{int}::text",
        "COALESCE({text}, {date}::text)",
        "concat({text}, '-', {int})",
        "replace({text}, 'a', 'oo')",
        "CASE WHEN {boolean} THEN {text} ELSE 'other' END",
        "lpad({text}, 3, '.')",
    ),
    "date": ("({date} + {int})", "COALESCE({date}, {date})", "{timestamptz}::date", "current_date"),
    "timestamptz": (
        "({timestamptz} + interval '1 day')",
        "{date}::timestamptz",
        "COALESCE({timestamptz}, now())",
        "now()",
    ),
    "boolean": (
        "({int} < {int})",
        "({int} = {bigint})",
        "({text} LIKE 'a%')",
        "({text} > {text})",
        "({date} >= {date})",
        "({timestamptz} < now())",
        "({numeric} <> {int})",
        "({int} IS NULL)",
        "({text} IS NOT NULL)",
        "({int} IS DISTINCT FROM {int})",
        "({int} BETWEEN 1 AND {int})",
        "({int} IN (1, 2, {int}))",
        "(({int}, {text}) = (3, {text}))",
        "({boolean} AND {boolean})",
        "({boolean} OR {boolean})",
        "(NOT {boolean})",
        "({int} = ANY (ARRAY[1, 3, {int}]))",
    ),
}
AGGREGATES: dict[str, tuple[str, ...]] = {
    "int": ("count(*){f}::int", "max({int}){f}", "min({int}){f}", "(count({text}){f} % 100)::int"),
    "bigint": (
        "count(*){f}",
        "sum({int}){f}",
        "count(DISTINCT {int}){f}",
        "max({bigint}){f}",
        "count({date}){f}",
    ),
    "numeric": ("sum({numeric}){f}", "round(avg({int}){f}, 2)", "min({numeric}){f}"),
    "text": (
        "max({text}){f}",
        "string_agg(DISTINCT {=text}, ',' ORDER BY {=text}){f}",
        "array_agg({=int} ORDER BY {=int}){f}::text",
    ),
    "date": ("min({date}){f}", "max({date}){f}"),
    "timestamptz": ("min({timestamptz}){f}", "max({timestamptz}){f}"),
    "boolean": ("bool_or({boolean}){f}", "(count(*){f} > 1)", "every({boolean}){f}"),
}
_HOLE = re.compile(r"\{=?(\w+)\}")


@dataclass(frozen=True)
class Expression:
    """`origins` are a plain column's, else empty."""

    sql: str
    kind: str
    origins: Origins = frozenset()


@dataclass
class Scope:
    """Columns that an expression may use; `outer` ones belong to the queries around.

    `subquery` makes a subquery inside an expression: a scalar one of a type, or a condition.
    """

    own: list[Column]
    outer: list[Column] = field(default_factory=list)
    subquery: Callable[[Scope, str], str] | None = None

    def of(self, kind: str) -> list[Column]:
        return [column for column in self.own if column.kind == kind]

    def alone(self) -> Scope:
        """Without the columns around and without subqueries: what an aggregate may be given."""
        return Scope(self.own)

    def row_types(self) -> list[str]:
        return [kind for kind in TYPES if self.of(kind)]


def expression(dice: Dice, scope: Scope, kind: str, depth: int = 2) -> Expression:
    """Mostly a column; else a function of columns, a subquery or a constant."""
    own = scope.of(kind)
    outer = [column for column in scope.outer if column.kind == kind]
    if own and (depth <= 0 or not dice.chance(35)):
        if outer and dice.chance(15):
            return _plain(dice.pick(outer))
        return _plain(dice.pick(own))
    if depth <= 0:
        return Expression(literal(dice, kind), kind)
    if scope.subquery is not None and dice.chance(12):
        return Expression(scope.subquery(scope, kind), kind)
    if dice.chance(75):
        return Expression(function(dice, scope, kind, depth), kind)
    return Expression(literal(dice, kind), kind)


def function(dice: Dice, scope: Scope, kind: str, depth: int = 2) -> str:
    """A function or an operator of the type."""
    template = dice.pick(FUNCTIONS[kind])
    return _HOLE.sub(lambda hole: expression(dice, scope, hole[1], depth - 1).sql, template)


def condition(dice: Dice, scope: Scope) -> str:
    """A condition for WHERE, ON or CASE."""
    if scope.subquery is not None and dice.chance(25):
        return scope.subquery(scope, "condition")
    return function(dice, scope, "boolean")


def aggregate(dice: Dice, scope: Scope, kind: str) -> Expression:
    """An aggregate over the rows of `scope`."""
    alone = scope.alone()
    template = dice.pick(AGGREGATES[kind])
    only = f" FILTER (WHERE {function(dice, alone, 'boolean', 1)})" if dice.chance(10) else ""
    twice: dict[str, str] = {}

    def fill(hole: re.Match[str]) -> str:
        kind = hole[1]
        if not hole[0].startswith("{="):
            return expression(dice, alone, kind, 1).sql
        if kind not in twice:
            twice[kind] = expression(dice, alone, kind, 1).sql
        return twice[kind]

    return Expression(_HOLE.sub(fill, template.replace("{f}", only)), kind)


def window(dice: Dice, scope: Scope, kind: str, partition: Sequence[str]) -> Expression | None:
    """A window function over `partition`; None where there is none of the type."""
    by = f"PARTITION BY {', '.join(partition)}" if partition else ""
    order = f"ORDER BY {expression(dice, scope.alone(), 'int', 1).sql} + 0"
    every = f"ORDER BY {', '.join(column.sql for column in scope.own)}"
    argument = expression(dice, scope.alone(), "int", 1).sql
    choices = {
        "int": (
            f"(rank() OVER ({by} {order}))::int",
            f"(row_number() OVER ({by} {every}))::int",
            f"max({argument}) OVER ({by})",
            f"(dense_rank() OVER ({by} {order} DESC NULLS LAST))::int",
        ),
        "bigint": (
            f"count(*) OVER ({by})",
            f"sum({argument}) OVER ({by} {order})",
            f"row_number() OVER ({by} {every})",
        ),
        "numeric": (f"round(avg({argument}) OVER ({by}), 2)",),
    }
    return Expression(dice.pick(choices[kind]), kind) if kind in choices else None


def _plain(column: Column) -> Expression:
    return Expression(column.sql, column.kind, column.origins)
