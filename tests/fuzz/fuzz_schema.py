"""Schemas of the generator: tables with rows, keys, indexes and partitions; a view; the target.

Rows are spread over many pages, because a split by ctid divides pages: each row is stored with a
wide column, which is then dropped. PostgreSQL leaves a dropped column's bytes where they are
(manual, ALTER TABLE, Notes).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from fuzz_dice import LETTERS, TYPES, Dice, literal, stored

KEY = "k1"
"""The name of an int column with unique values."""
GOAL = "goal"
VIEW = "v1"
DOMAIN = "whole_number"
MADE = "made"


@dataclass(frozen=True)
class Table:
    """A table, or a view of one. `indexed`: columns that lead a btree index."""

    name: str
    columns: tuple[tuple[str, str], ...]
    indexed: frozenset[str] = frozenset()
    unique: frozenset[str] = frozenset()
    partitioned_by: str | None = None
    base: Table | None = None
    """For a view: the table it reads."""
    distinct: bool = False
    """For a view: whether it is a SELECT DISTINCT."""

    def of(self, kind: str) -> list[str]:
        return [name for name, other in self.columns if other == kind]


@dataclass(frozen=True)
class Schema:
    """`made` is what makes each relation, in order; `goal` is what INSERT fills."""

    tables: tuple[Table, ...]
    views: tuple[Table, ...]
    goal: Table
    analyzed: bool
    made: dict[str, tuple[str, ...]] = field(repr=False)

    @property
    def setup(self) -> tuple[str, ...]:
        """What makes all of it, from nothing."""
        parts = tuple(part for parts in self.made.values() for part in parts)
        return (*parts, "ANALYZE") if self.analyzed else parts

    def restored(self, target: str) -> tuple[str, ...]:
        """What makes `target` anew, row for row in its place, once a statement has written it."""
        if target == MADE:
            return (f"DROP TABLE IF EXISTS {MADE} CASCADE",)
        drop = f"DROP TABLE {target} CASCADE"
        anew = [
            target,
            *(view.name for view in self.views if view.base and view.base.name == target),
        ]
        parts = (part for name in anew for part in self.made[name])
        analyze = (f"ANALYZE {target}",) if self.analyzed else ()
        return (drop, *parts, *analyze)


def draw_schema(dice: Dice) -> Schema:
    made: dict[str, list[str]] = {}
    tables = []
    for number in range(dice.number(2, 4)):
        name = f"r{number}"
        tables.append(_table(dice, name, made.setdefault(name, [])))
    views = []
    if dice.chance(30):
        views.append(_view(dice, dice.pick(tables), made.setdefault(VIEW, [])))
    made[DOMAIN] = [f"CREATE DOMAIN {DOMAIN} AS int"]
    made["numbers"] = ["CREATE SEQUENCE numbers"]
    goal = _goal(dice, made.setdefault(GOAL, []))
    analyzed = dice.chance(30)
    return Schema(
        tuple(tables), tuple(views), goal, analyzed, {name: tuple(made[name]) for name in made}
    )


def column_names(types: list[str]) -> list[str]:
    """A name for each: its type's letter and a number."""
    counts: dict[str, int] = {}
    names = []
    for kind in types:
        counts[kind] = counts.get(kind, 0) + 1
        names.append(f"{LETTERS[kind]}{counts[kind]}")
    return names


def _table(dice: Dice, name: str, setup: list[str]) -> Table:
    types = ["int", *(dice.pick(TYPES) for _ in range(dice.number(0, 4)))]
    columns = list(zip(column_names(types), types, strict=True))
    key = dice.weighted({"none": 5, "PRIMARY KEY": 4, "UNIQUE": 1})
    if key != "none":
        columns.insert(0, (KEY, "int"))
    partition = None
    if dice.chance(15):
        partition = columns[0][0]  # a unique key must hold the partition key
    parts = [f"{column} {kind}" for column, kind in columns]
    if key != "none":
        parts.append(f"{key} ({KEY})")
    by = f" PARTITION BY RANGE ({partition})" if partition else ""
    setup.append(f"CREATE TABLE {name} ({', '.join(parts)}, pad text){by}")
    if partition:
        low = "FOR VALUES FROM (MINVALUE) TO (4)"
        setup.append(f"CREATE TABLE {name}_low PARTITION OF {name} {low}")
        setup.append(f"CREATE TABLE {name}_rest PARTITION OF {name} DEFAULT")
    leaves = (f"{name}_low", f"{name}_rest") if partition else (name,)
    setup.extend(f"ALTER TABLE {leaf} ALTER pad SET STORAGE PLAIN" for leaf in leaves)
    indexed = {KEY} if key != "none" else set()
    if dice.chance(45):
        column = dice.pick(columns)[0]
        setup.append(f"CREATE INDEX ON {name} ({column})")
        indexed.add(column)
    _fill(dice, name, columns, setup)
    setup.append(f"ALTER TABLE {name} DROP COLUMN pad")
    unique = frozenset({KEY}) if key != "none" else frozenset[str]()
    return Table(name, tuple(columns), frozenset(indexed), unique, partition)


def _fill(dice: Dice, name: str, columns: list[tuple[str, str]], setup: list[str]) -> None:
    count = dice.number(0, 2) if dice.chance(10) else dice.number(3, 18)
    salt = dice.number(0, 9999)
    wide = dice.pick((7000, 2600, 7000, 2600, 1500, 0))
    keys = list(range(1, 25))
    random.Random(salt).shuffle(keys)  # noqa: S311  # data
    rows = []
    for number in range(count):
        chance = random.Random(salt * 100 + number)  # noqa: S311
        values = [
            str(keys[number]) if column == KEY else stored(chance, kind) for column, kind in columns
        ]
        rows.append(f"({', '.join(values)}, repeat('x', {wide}))")
    if rows:
        setup.append(f"INSERT INTO {name} VALUES {', '.join(rows)}")


def _view(dice: Dice, base: Table, setup: list[str]) -> Table:
    columns = tuple(dice.some(base.columns, len(base.columns)))
    distinct = dice.chance(30)
    listed = ", ".join(name for name, _ in columns)
    where = f" WHERE {columns[0][0]} IS NOT NULL" if dice.chance(40) else ""
    word = "DISTINCT " if distinct else ""
    setup.append(f"CREATE VIEW {VIEW} AS SELECT {word}{listed} FROM {base.name}{where}")
    return Table(VIEW, columns, base=base, distinct=distinct)


def _goal(dice: Dice, setup: list[str]) -> Table:
    types = ["int", *(dice.pick(TYPES) for _ in range(dice.number(0, 3)))]
    columns = list(zip(column_names(types), types, strict=True))
    parts = [f"{column} {kind}" for column, kind in columns]
    defaults = {
        "tag": "text DEFAULT 'new'",
        "stamp": "timestamptz DEFAULT now()",
        "num": "bigint DEFAULT nextval('numbers')",
        "day": "date DEFAULT current_date",
    }
    chosen = [name for name in defaults if dice.chance(15)]
    parts += [f"{name} {defaults[name]}" for name in chosen]
    setup.append(f"CREATE TABLE {GOAL} ({', '.join(parts)})")
    for number in range(dice.number(0, 3)):
        values = [str(number), *(literal(dice, kind) for kind in types[1:])]
        listed = ", ".join(name for name, _ in columns)
        setup.append(f"INSERT INTO {GOAL} ({listed}) VALUES ({', '.join(values)})")
    return Table(GOAL, tuple(columns))
