"""Whole examples: a statement that writes, what to compare, what to expect; many on one schema."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from fuzz_dice import Dice
from fuzz_drives import Column, Drives, Expectation, by_key, expectation
from fuzz_expressions import Scope, condition, expression
from fuzz_queries import Builder
from fuzz_schema import DOMAIN, GOAL, KEY, MADE, Schema, Table, draw_schema
from fuzz_sources import Item, Query, Site, source, table_item
from hypothesis.strategies import SearchStrategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.internal.conjecture.data import ConjectureData

Compared: TypeAlias = Literal["rows", "counts"]

DEPTH = 2
_KINDS = {
    "insert": 40,
    "conflict": 10,
    "create": 12,
    "into": 5,
    "update": 14,
    "delete": 10,
    "merge": 9,
}


STATEMENTS_MAX = 8
"""On one schema, which takes longer to make than most statements take to run."""
_SPAN = 0x5EED
"""Label of the first statement's draws."""


@dataclass(frozen=True)
class Example:
    """One statement. `schema` makes what it is run on, `added` what it needs of its own.

    `restored` takes away what both and the statement did, but for `schema`. `compared` is "counts"
    where one connection alone would not promise the very rows either.
    """

    kind: str
    schema: tuple[str, ...]
    statement: str
    target: str
    expected: Expectation
    compared: Compared = "rows"
    chunk_rows: int = 1
    jobs: int = 2
    reads_view: bool = False
    added: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()

    @property
    def setup(self) -> tuple[str, ...]:
        """All that the statement needs, from nothing."""
        return (*self.schema, *self.added)


@dataclass(frozen=True)
class _Written:
    statement: str
    target: str
    drives: Drives
    compared: Compared = "rows"
    added: tuple[str, ...] = ()


class Examples(SearchStrategy[tuple[Example, ...]]):
    """Statements on one schema, drawn straight from Hypothesis, not through a strategy for each.

    Hypothesis makes most of its examples by copying what one strategy drew over what it drew
    elsewhere, and two thirds of the statements of a run were then ones that it had seen. So the
    draws of each statement, which shrinking leaves out together, have a label of their own.
    """

    def do_draw(self, data: ConjectureData) -> tuple[Example, ...]:
        dice = Dice(data.draw_integer)
        schema = draw_schema(dice)
        examples = []
        for number in range(STATEMENTS_MAX):
            data.start_span(_SPAN + number)
            if is_wanted := dice.chance(90) or number == 0:
                examples.append(draw_statement(Dice(data.draw_integer), schema))
            data.stop_span()
            if not is_wanted:
                break
        return tuple(examples)


def draw_example(dice: Dice) -> Example:
    return draw_statement(dice, draw_schema(dice))


def draw_statement(dice: Dice, schema: Schema) -> Example:
    site = Site(dice, schema)
    kind = dice.weighted(_KINDS)
    written = _Writer(site).write(kind)
    views = tuple(f"DROP VIEW {view} CASCADE" for view in reversed(site.views))
    return Example(
        kind,
        schema.setup,
        written.statement,
        written.target,
        expectation(written.drives, site.reads, written.target),
        written.compared,
        dice.number(1, 7),
        dice.number(2, 3),
        site.reads.views,
        (*site.views.values(), *written.added),
        (*views, *schema.restored(written.target)),
    )


class _Writer:
    """Builds one statement."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._dice = site.dice
        self._schema: Schema = site.schema
        self._builder = Builder(site)

    def write(self, kind: str) -> _Written:
        match kind:
            case "insert":
                return self._insert()
            case "conflict":
                return self._conflict()
            case "create" | "into":
                return self._create(kind)
            case "update":
                return self._update()
            case "delete":
                return self._delete()
            case _:
                return self._merge()

    def _insert(self) -> _Written:
        dice, goal = self._dice, self._schema.goal
        columns: Sequence[tuple[str, str]] = goal.columns
        named = dice.chance(50)
        if named and dice.chance(50):
            columns = dice.some(goal.columns, len(goal.columns))
            if dice.chance(40):
                columns = list(reversed(columns))
        query = self._builder.query([kind for _, kind in columns], DEPTH, top=True)
        listed = f" ({', '.join(name for name, _ in columns)})" if named else ""
        return _Written(_insert_text(dice, f"{GOAL}{listed}", query), GOAL, query.drives)

    def _conflict(self) -> _Written:
        """ON CONFLICT on the first column of the target; mostly the rows to insert do not clash."""
        dice, goal = self._dice, self._schema.goal
        key = goal.columns[0][0]
        rest = list(goal.columns[1:])
        index = f"CREATE UNIQUE INDEX ON {GOAL} ({key})"
        types = [kind for _, kind in goal.columns]
        clashing = dice.chance(30)
        by_column = dice.chance(40)
        if by_column:
            query = self._from_table(types)
        else:
            shape = "plain" if clashing else None
            query = self._builder.query(types, DEPTH, shape=shape, top=clashing)
        if not clashing:
            query = self._one_row_per_key(query)
        action = "DO NOTHING"
        # Rows that meet must be of one chunk, unless they are passed over and no snapshot is read.
        drives = by_key(query.drives, [query.columns[0].origins])
        free = not self._site.reads.relations and "ORDER BY" not in query.sql
        compared: Compared = "counts" if clashing else "rows"
        if rest and dice.chance(50):
            name = rest[0][0]
            value = dice.pick((f"EXCLUDED.{name}", f"COALESCE({GOAL}.{name}, EXCLUDED.{name})"))
            differs = f" WHERE {GOAL}.{name} IS DISTINCT FROM EXCLUDED.{name}"
            where = differs if dice.chance(20) else ""
            action = f"({key}) DO UPDATE SET {name} = {value}{where}"
            free = False
        elif dice.chance(50):
            action = f"({key}) DO NOTHING"
        if free:
            drives = query.drives
        listed = ", ".join(name for name, _ in goal.columns)
        text = _insert_text(dice, f"{GOAL} ({listed})", query) + f" ON CONFLICT {action}"
        return _Written(text, GOAL, drives, compared, (index,))

    def _from_table(self, types: Sequence[str]) -> Query:
        """Rows of one table, the first column one of its own."""
        item = table_item(self._site, self._dice.pick(self._schema.tables))
        scope = self._builder.scope(item.columns, (), DEPTH)
        first = self._dice.pick([column for column in item.columns if column.kind == "int"])
        rest = [expression(self._dice, scope, kind) for kind in types[1:]]
        names = [f"c{number}" for number in range(len(types))]
        values = [first.sql, *(one.sql for one in rest)]
        listed = [f"{value} AS {name}" for value, name in zip(values, names, strict=True)]
        columns = [Column(f"q.{names[0]}", "int", first.origins)]
        columns += [Column(f"q.{n}", kind) for n, kind in zip(names[1:], types[1:], strict=True)]
        return Query("", f"SELECT {', '.join(listed)} FROM {item.sql}", columns, item.drives)

    def _one_row_per_key(self, query: Query) -> Query:
        """The query, with its rows made one for each value of the first column."""
        first, *rest = query.columns
        outputs = [f"q.{first.name}"]
        for column in rest:
            call = "bool_or" if column.kind == "boolean" else self._dice.pick(("max", "min"))
            outputs.append(f"{call}(q.{column.name})")
        body = f"SELECT {', '.join(outputs)} FROM ({query.sql}) AS q GROUP BY q.{first.name}"
        columns = [first, *(replace(column, origins=frozenset()) for column in rest)]
        return Query("", body, columns, by_key(query.drives, [first.origins]))

    def _create(self, kind: str) -> _Written:
        query = self._builder.query(None, DEPTH, top=True)
        if self._dice.chance(25):  # mostly it fails, in one chunk of several
            ratio = f"12 / q.{query.columns[0].name} AS ratio"
            body = f"SELECT q.*, {ratio}{{into}} FROM ({query.sql}) AS q"
            query = Query("", body, query.columns, query.drives)
        elif self._dice.chance(15):
            domain = f"q.{query.columns[0].name}::{DOMAIN} AS whole"
            body = f"SELECT q.*, {domain}{{into}} FROM ({query.sql}) AS q"
            query = Query("", body, query.columns, query.drives)
        if kind == "into" and "{into}" in query.body:
            body = query.body.replace("{into}", f" INTO {MADE}")
            return _Written(query.with_clause + body, MADE, query.drives)
        return _Written(f"CREATE TABLE {MADE} AS {query.sql}", MADE, query.drives)

    def _target(self, *, assigned: bool) -> tuple[Table, Item, list[tuple[str, str]]]:
        """A table to change under an alias, and the columns that may be assigned."""
        reads = set(self._site.reads.relations)
        tables = list(self._schema.tables)
        table = self._dice.pick(tables)
        item = table_item(self._site, table, "target")
        self._site.reads.relations = reads  # being written is not being read
        free = [pair for pair in table.columns if pair[0] not in table.unique or not assigned]
        return table, item, free

    def _prefix(self) -> str:
        """A WITH clause in front of UPDATE or DELETE, whose names the statement may use."""
        return self._builder.with_clause(DEPTH - 1, ()) if self._dice.chance(10) else ""

    def _update(self) -> _Written:
        dice, prefix = self._dice, self._prefix()
        table, item, free = self._target(assigned=True)
        columns, joined, from_clause = list(item.columns), "", ""
        if dice.chance(40):
            query = self._one_row_per_key(self._builder.query(None, DEPTH - 1))
            kept = ", ".join(column.name for column in query.columns)
            from_clause = f" FROM ({query.sql}) AS s({kept})"
            target = dice.pick(Scope(item.columns).of("int")).sql
            joined = f"s.{query.columns[0].name} = {target}"
            columns += [replace(column, sql=f"s.{column.name}") for column in query.columns]
        scope = self._builder.scope(columns, (), DEPTH)
        sets = [
            f"{name} = {expression(dice, scope, kind).sql}" for name, kind in dice.some(free, 2)
        ]
        parts = [part for part in (joined, self._filter(scope)) if part]
        where = f" WHERE {' AND '.join(parts)}" if parts else ""
        text = f"{prefix}UPDATE {table.name} AS target SET {', '.join(sets)}{from_clause}{where}"
        return _Written(text, table.name, item.drives)

    def _delete(self) -> _Written:
        dice, prefix = self._dice, self._prefix()
        table, item, _ = self._target(assigned=False)
        columns, using, joined = list(item.columns), "", ""
        if dice.chance(40):
            other = source(self._site, self._builder, DEPTH - 1)
            using = f" USING {other.sql}"
            pairs = [(a, b) for a in item.columns for b in other.columns if a.kind == b.kind]
            if pairs:
                a, b = dice.pick(pairs)
                joined = f"{a.sql} = {b.sql}"
            columns += other.columns
        scope = self._builder.scope(columns, (), DEPTH)
        parts = [part for part in (joined, condition(dice, scope)) if part]
        text = f"{prefix}DELETE FROM {table.name} AS target{using} WHERE {' AND '.join(parts)}"
        return _Written(text, table.name, item.drives)

    def _filter(self, scope: Scope) -> str:
        return condition(self._dice, scope) if self._dice.chance(60) else ""

    def _merge(self) -> _Written:
        """The source has one row for each key, so that no row is changed twice."""
        dice, goal = self._dice, self._schema.goal
        matched = dice.chance(75)
        keyed = [table for table in self._schema.tables if KEY in table.unique]
        if keyed and dice.chance(50):
            item = table_item(self._site, dice.pick(keyed), "s")
            key = item.columns[0]
            origin, columns, drives = item.sql, item.columns, item.drives
        else:
            query = self._builder.query(None, DEPTH - 1)
            if matched or dice.chance(40):  # rows that match nothing may be equal
                query = self._one_row_per_key(query)
            names = ", ".join(column.name for column in query.columns)
            columns = [replace(column, sql=f"s.{column.name}") for column in query.columns]
            origin, key, drives = f"({query.sql}) AS s({names})", columns[0], query.drives
        source_scope = self._builder.scope(columns, (), 0)
        targets = [Column(f"g.{name}", kind) for name, kind in goal.columns]
        both = self._builder.scope([*targets, *columns], (), 0)
        actions = []
        drives = by_key(drives, [key.origins])
        if matched:
            only = f" AND {condition(dice, both)}" if dice.chance(30) else ""
            rest = goal.columns[1:]
            change = "DELETE"
            if rest and dice.chance(75):
                name, kind = dice.pick(rest)
                change = f"UPDATE SET {name} = {expression(dice, both, kind).sql}"
            actions.append(f"WHEN MATCHED{only} THEN {change}")
        if not matched or dice.chance(70):
            outputs = [expression(dice, source_scope, kind).sql for _, kind in goal.columns]
            if dice.chance(80):
                outputs[0] = key.sql
            if outputs[0] != key.sql:
                drives = ()  # a later chunk might meet the row
            values = ", ".join(outputs)
            names = ", ".join(name for name, _ in goal.columns)
            only = f" AND {condition(dice, source_scope)}" if dice.chance(20) else ""
            actions.append(f"WHEN NOT MATCHED{only} THEN INSERT ({names}) VALUES ({values})")
        text = f"MERGE INTO {GOAL} AS g USING {origin} ON g.{goal.columns[0][0]} = {key.sql} "
        return _Written(text + " ".join(actions), GOAL, drives)


def _insert_text(dice: Dice, target: str, query: Query) -> str:
    """WITH stands in front of INSERT or inside it; both mean the same."""
    body = query.body.replace("{into}", "")
    if query.with_clause and dice.chance(50):
        return f"{query.with_clause}INSERT INTO {target} {body}"
    return f"INSERT INTO {target} {query.with_clause}{body}"
