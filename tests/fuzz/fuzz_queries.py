"""Queries: SELECT in all its shapes, set operations, WITH; each with the drives that it leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fuzz_dice import TYPES
from fuzz_drives import Column, Drive, Drives, by_key, equated, unsure
from fuzz_expressions import Expression, Scope, aggregate, condition, expression, function, window
from fuzz_schema import column_names
from fuzz_sources import Cte, Item, Query, from_clause, table_item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz_drives import Origins
    from fuzz_sources import Site

_SHAPES = {
    "plain": 46,
    "group": 20,
    "distinct": 8,
    "window": 8,
    "aggregate": 4,
    "limit": 5,
    "distinct on": 4,
    "grouping sets": 5,
}


@dataclass(frozen=True)
class _Selected:
    """The parts of one SELECT around its FROM and WHERE."""

    outputs: list[Expression]
    drives: Drives
    word: str = ""
    tail: str = ""


class Builder:
    """Implements `fuzz_sources.Queries`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._dice = site.dice

    def query(
        self,
        types: Sequence[str] | None,
        depth: int,
        outer: Sequence[Column] = (),
        *,
        top: bool = False,
        shape: str | None = None,
    ) -> Query:
        """A query of the wanted types; of any when None."""
        dice = self._dice
        if types is None:
            types = ["int", *(dice.pick(TYPES) for _ in range(dice.number(0, 2)))]
        known = list(self._site.ctes)
        with_clause = self.with_clause(depth, outer) if depth > 0 and dice.chance(14) else ""
        if shape is None and depth > 0 and dice.chance(14):
            found = self._set_operation(types, depth - 1, outer)
        else:
            found = self._select(types, depth, outer, shape, top=top)
        self._site.ctes = known
        return replace(found, with_clause=with_clause)

    def scope(self, columns: list[Column], outer: Sequence[Column], depth: int) -> Scope:
        def subquery(around: Scope, wanted: str) -> str:
            return self._subquery(around, wanted, depth - 1)

        return Scope(columns, list(outer), subquery if depth > 0 else None)

    def with_clause(self, depth: int, outer: Sequence[Column]) -> str:
        dice, parts, recursive = self._dice, [], ""
        for _ in range(dice.number(1, 2)):
            name = dice.name("w")
            if dice.chance(20):
                recursive = "RECURSIVE "
                parts.append(self._recursive(name))
                continue
            below = self.query(None, depth - 1, outer)
            word = dice.pick(("", "MATERIALIZED ", "NOT MATERIALIZED "))
            parts.append(f"{name} AS {word}({below.sql})")
            self._site.ctes.append(Cte(name, below.columns, below.drives))
        return f"WITH {recursive}{', '.join(parts)} "

    def _recursive(self, name: str) -> str:
        item = table_item(self._site, self._dice.pick(self._site.schema.tables))
        column = Scope(item.columns).of("int")[0].sql
        again = self._dice.pick((f"SELECT i1 + 1 FROM {name} WHERE i1 < 6",))
        first = f"SELECT {column} FROM {item.sql} WHERE {column} > 1"
        self._site.ctes.append(Cte(name, [Column("i1", "int")], ()))
        return f"{name}(i1) AS ({first} UNION {again})"

    def _set_operation(self, types: Sequence[str], depth: int, outer: Sequence[Column]) -> Query:
        word = self._dice.weighted(
            {"UNION ALL": 45, "UNION": 20, "INTERSECT": 12, "EXCEPT": 15, "EXCEPT ALL": 8}
        )
        left, right = self.query(types, depth, outer), self.query(types, depth, outer)
        groups = [[column.origins for column in side.columns] for side in (left, right)]
        columns = [replace(column, origins=frozenset()) for column in left.columns]
        drives: Drives = ()
        match word:
            case "UNION ALL":
                # Each branch is a statement of its own, and one that cannot be divided runs once.
                own = Drive(self._site.reads.occurrence(), frozenset())
                drives = (own, *unsure(left.drives + right.drives))
            case "UNION":
                drives = unsure(by_key(left.drives, groups[0]) + by_key(right.drives, groups[1]))
            case "INTERSECT":
                drives = by_key(left.drives, groups[0]) + by_key(right.drives, groups[1])
            case _:
                drives = by_key(left.drives, groups[0])
                columns = left.columns
        body = f"({left.sql}) {word} ({right.sql})"
        if self._dice.chance(8):
            self._site.reads.ordered = True
            body, drives = f"{body} {self._order(len(types), limited=True)}", ()
        return Query("", body, columns, drives)

    def _order(self, count: int, *, limited: bool) -> str:
        order = ", ".join(
            f"{number}{self._dice.pick(('', ' DESC', ' NULLS FIRST'))}"
            for number in range(1, count + 1)
        )
        skip = f" OFFSET {self._dice.number(0, 4)}" if self._dice.chance(30) else ""
        return f"ORDER BY {order}" + (f" LIMIT {self._dice.number(0, 9)}{skip}" if limited else "")

    def _select(
        self,
        types: Sequence[str],
        depth: int,
        outer: Sequence[Column],
        shape: str | None,
        *,
        top: bool,
    ) -> Query:
        dice = self._dice
        item = from_clause(self._site, self, depth, outer)
        where, item = self._where(item, depth, outer, top=top)
        scope = self.scope(item.columns, outer, depth)
        match shape or dice.weighted(_SHAPES):
            case "group":
                made = self._grouped(scope, item, types)
            case "grouping sets":
                made = self._grouping_sets(scope, item, types)
            case "aggregate":
                outputs = [aggregate(dice, scope, kind) for kind in types]
                having = " HAVING count(*) > 2" if dice.chance(20) else ""
                made = _Selected(outputs, (), tail=having)
            case "window":
                made = self._windowed(scope, item, types)
            case other:
                made = self._rows(scope, item, types, other, top=top)
        tail = made.tail
        if not tail.startswith(" ORDER") and dice.chance(10 if top else 3):
            tail = f"{tail} {self._order(len(types), limited=False)}"
        names = column_names(list(types))
        listed = ", ".join(
            f"{output.sql} AS {name}" for output, name in zip(made.outputs, names, strict=True)
        )
        columns = [
            Column(name, output.kind, output.origins)
            for output, name in zip(made.outputs, names, strict=True)
        ]
        into = "{into}" if top else ""
        body = f"SELECT {made.word}{listed}{into} FROM {item.sql}{where}{tail}"
        return Query("", body, columns, made.drives)

    def _where(
        self, item: Item, depth: int, outer: Sequence[Column], *, top: bool
    ) -> tuple[str, Item]:
        dice, parts, columns = self._dice, list[str](), item.columns
        if dice.chance(45):
            parts.append(condition(dice, self.scope(columns, outer, depth)))
        pairs = [(a, b) for a in columns for b in columns if a.kind == b.kind and a.sql < b.sql]
        if pairs and dice.chance(12):
            a, b = dice.pick(pairs)
            parts.append(f"{a.sql} = {b.sql}")
            columns = equated(columns, a, b)
        inside = [(a, b) for a in columns for b in outer if a.kind == b.kind]
        if inside and dice.chance(60):
            a, b = dice.pick(inside)
            parts.append(f"{a.sql} = {b.sql}")
        if top and dice.chance(3):
            parts.append(dice.pick(("random() >= 0", "clock_timestamp() IS NOT NULL")))
        where = f" WHERE {' AND '.join(parts)}" if parts else ""
        return where, replace(item, columns=columns)

    def _rows(
        self, scope: Scope, item: Item, types: Sequence[str], shape: str, *, top: bool
    ) -> _Selected:
        """Plain rows, DISTINCT, DISTINCT ON, LIMIT."""
        outputs = [expression(self._dice, scope, kind) for kind in types]
        origins = [output.origins for output in outputs]
        match shape:
            case "distinct":
                return _Selected(outputs, by_key(item.drives, origins), "DISTINCT ")
            case "limit":
                self._site.reads.ordered = True
                return _Selected(outputs, (), "", f" {self._order(len(types), limited=True)}")
            case "distinct on":
                self._site.reads.ordered = self._site.reads.ordered or not top
                return self._distinct_on(scope, item, outputs)
            case _:
                return _Selected(outputs, item.drives)

    def _distinct_on(self, scope: Scope, item: Item, outputs: list[Expression]) -> _Selected:
        """Of the first columns; sometimes of a window function besides, which looks at more."""
        on = self._dice.number(1, len(outputs))
        numbers = [str(number) for number in range(1, len(outputs) + 1)]
        listed = numbers[:on]
        drives = by_key(item.drives, [output.origins for output in outputs[:on]])
        if self._dice.chance(25):
            by = [self._dice.pick(scope.own)] if self._dice.chance(60) else []
            partition = f"PARTITION BY {by[0].sql} " if by else ""
            order = ", ".join(column.sql for column in scope.own)
            listed.append(f"row_number() OVER ({partition}ORDER BY {order}) % 3")
            drives = by_key(drives, [column.origins for column in by])
        kept = ", ".join(listed)
        tail = f" ORDER BY {', '.join([*listed, *numbers[on:]])}"
        return _Selected(outputs, drives, f"DISTINCT ON ({kept}) ", tail)

    def _group_expressions(self, scope: Scope) -> list[Expression]:
        dice, chosen = self._dice, list[Expression]()
        for column in dice.some(scope.own, 2):
            if dice.chance(15):
                chosen.append(Expression(function(dice, scope.alone(), "int", 1), "int"))
                # A constant there would be a position, and a query of its own needs no group.
                if "." not in chosen[-1].sql:
                    chosen.pop()
                    continue
            else:
                chosen.append(Expression(column.sql, column.kind, column.origins))
        if not chosen:
            column = scope.own[0]
            chosen.append(Expression(column.sql, column.kind, column.origins))
        return chosen

    def _grouped(
        self, scope: Scope, item: Item, types: Sequence[str], clause: str = ""
    ) -> _Selected:
        groups = self._group_expressions(scope)
        return self._group_outputs(scope, item, types, groups, clause)

    def _group_outputs(
        self,
        scope: Scope,
        item: Item,
        types: Sequence[str],
        groups: list[Expression],
        clause: str = "",
    ) -> _Selected:
        dice, outputs, left = self._dice, list[Expression](), list(groups)
        for kind in types:
            fitting = [group for group in left if group.kind == kind]
            if fitting:
                outputs.append(fitting[0])
                left.remove(fitting[0])
            else:
                outputs.append(aggregate(dice, scope, kind))
        clause = clause or ", ".join(group.sql for group in groups)
        having = ""
        if dice.chance(20):
            having = f" HAVING {aggregate(dice, scope, 'boolean').sql}"
        drives = by_key(item.drives, [group.origins for group in groups])
        return _Selected(outputs, drives, tail=f" GROUP BY {clause}{having}")

    def _grouping_sets(self, scope: Scope, item: Item, types: Sequence[str]) -> _Selected:
        groups = self._group_expressions(scope)
        listed = [group.sql for group in groups]
        every = ", ".join(listed)
        sets: dict[str, list[Origins]] = {
            f"ROLLUP ({every})": [],
            f"CUBE ({every})": [],
            f"{listed[0]}, ROLLUP ({every})": [groups[0].origins],
            f"GROUPING SETS (({every}), ({listed[0]}))": [groups[0].origins],
            f"GROUPING SETS (({every}), ({listed[-1]}), ())": [],
        }
        clause = self._dice.pick(list(sets))
        made = self._group_outputs(scope, item, types, groups, clause)
        # NULL stands for a column that is not in a set: only one that is in all of them is itself.
        kept = groups[0].sql if sets[clause] else ""
        outputs = [
            output if output.sql == kept else replace(output, origins=frozenset())
            for output in made.outputs
        ]
        return replace(made, outputs=outputs, drives=by_key(item.drives, sets[clause]))

    def _windowed(self, scope: Scope, item: Item, types: Sequence[str]) -> _Selected:
        dice = self._dice
        by = dice.some(scope.own, 2) if dice.chance(85) else []
        outputs: list[Expression] = []
        windows = 0
        for kind in reversed(types):
            made = window(dice, scope, kind, [column.sql for column in by])
            if made is not None and (not windows or dice.chance(30)) and kind != types[0]:
                outputs.append(made)
                windows += 1
            else:
                outputs.append(expression(dice, scope, kind))
        outputs.reverse()
        if not windows and types[0] in {"int", "bigint", "numeric"} and len(types) == 1:
            outputs[0] = window(dice, scope, types[0], [c.sql for c in by]) or outputs[0]
            windows += 1
        drives = by_key(item.drives, [column.origins for column in by]) if windows else item.drives
        return _Selected(outputs, drives)

    def _subquery(self, around: Scope, wanted: str, depth: int) -> str:
        """In an expression: a scalar subquery of the type `wanted`, or a condition."""
        dice = self._dice
        outer = [column for column in (*around.own, *around.outer) if "." in column.sql]
        if wanted != "condition":
            shape = dice.pick(("aggregate", "first", "array"))
            below = self.query(
                [wanted], depth, outer, shape="aggregate" if shape == "aggregate" else "plain"
            )
            if shape == "aggregate":
                return f"({below.sql})"
            if shape == "array" and wanted == "int":
                return f"cardinality(ARRAY({below.sql}))"
            self._site.reads.ordered = True
            return f"(SELECT q.* FROM ({below.sql}) AS q ORDER BY 1 LIMIT 1)"
        kind = dice.weighted(
            {"EXISTS": 40, "IN": 20, "NOT IN": 10, "ANY": 10, "ALL": 10, "AGG": 10}
        )
        if kind == "EXISTS":
            word = dice.pick(("", "NOT "))
            return f"{word}EXISTS ({self.query(None, depth, outer).sql})"
        compared = dice.pick(("int", "text", "int", "date", "numeric"))
        left = expression(dice, around, compared, 1).sql
        below = self.query([compared], depth, outer, shape="aggregate" if kind == "AGG" else None)
        operator = {"IN": "IN", "NOT IN": "NOT IN", "ANY": "< ANY", "ALL": ">= ALL", "AGG": "<="}
        return f"({left} {operator[kind]} ({below.sql}))"
