"""FROM clauses: tables, views, subqueries, series, CTEs, VALUES, and joins of all kinds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from fuzz_dice import TYPES, literal
from fuzz_drives import (
    SERIES_VALUE,
    Column,
    Drive,
    Drives,
    Reads,
    by_key,
    equated,
    nullable,
    through_cte,
)
from fuzz_expressions import Scope, condition
from fuzz_schema import column_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz_dice import Dice
    from fuzz_schema import Schema, Table


@dataclass(frozen=True)
class Item:
    """Something in FROM. `names`: what USING and NATURAL see; None when it is a join of more."""

    sql: str
    columns: list[Column]
    drives: Drives
    names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Query:
    """A whole query; `columns` as it names them. `{into}` in `body` marks where INTO may stand."""

    with_clause: str
    body: str
    columns: list[Column]
    drives: Drives

    @property
    def sql(self) -> str:
        return self.with_clause + self.body.replace("{into}", "")


@dataclass(frozen=True)
class Cte:
    name: str
    columns: list[Column]
    drives: Drives


@dataclass
class Site:
    """Where the statement is built: the schema, what has been read, the CTEs that may be named.

    `views` are those that the statement reads besides the schema's, with what makes each.
    """

    dice: Dice
    schema: Schema
    reads: Reads = field(default_factory=Reads)
    ctes: list[Cte] = field(default_factory=list)
    views: dict[str, str] = field(default_factory=dict)


class Queries(Protocol):
    """Builds the queries inside of FROM and of expressions."""

    def query(
        self, types: Sequence[str] | None, depth: int, outer: Sequence[Column] = ()
    ) -> Query: ...

    def scope(self, columns: list[Column], outer: Sequence[Column], depth: int) -> Scope: ...


def table_item(site: Site, table: Table, alias: str | None = None) -> Item:
    """The table, or the view expanded in the mind: one more occurrence of what it reads."""
    site.reads.relations.add((table.base or table).name)
    site.reads.views |= table.base is not None
    number = site.reads.occurrence()
    drive = Drive(number, (table.base or table).indexed)
    alias = alias or site.dice.name("a")
    columns = [
        Column(f"{alias}.{name}", kind, frozenset({(number, name)})) for name, kind in table.columns
    ]
    drives: Drives = (drive,)
    if table.distinct:
        drives = by_key(drives, [column.origins for column in columns])
    names = tuple(name for name, _ in table.columns)
    return Item(f"{table.name} AS {alias}", columns, drives, names)


def source(site: Site, queries: Queries, depth: int, outer: Sequence[Column] = ()) -> Item:
    """One item of FROM."""
    dice = site.dice
    kinds = {"table": 55, "series": 8, "values": 3}
    if depth > 0:
        kinds["subquery"] = 22
        kinds["view of a query"] = 9
    if site.schema.views:
        kinds["view"] = 8
    if site.ctes:
        kinds["cte"] = 30
    match dice.weighted(kinds):
        case "subquery":
            return _aliased(dice, queries.query(None, depth - 1, outer))
        case "view of a query":
            return _view_item(site, queries, depth)
        case "view":
            return table_item(site, site.schema.views[0])
        case "cte":
            return _cte_item(site)
        case "series":
            return _series(site)
        case "values":
            return _values(dice)
        case _:
            tables = [*site.schema.tables, *site.schema.tables]
            if dice.chance(4):
                return table_item(site, site.schema.goal)
            return table_item(site, dice.pick(tables))


def from_clause(site: Site, queries: Queries, depth: int, outer: Sequence[Column] = ()) -> Item:
    """From one to three items, joined; equalities in WHERE come later."""
    item = source(site, queries, depth, outer)
    for _ in range(int(site.dice.weighted({"0": 45, "1": 40, "2": 15}))):
        item = _joined(site, queries, item, depth, outer)
    if site.dice.chance(12):
        item = _listed(item, source(site, queries, depth - 1, outer))
    return item


def _listed(left: Item, right: Item) -> Item:
    """Two items with a comma: a join that is equated in WHERE, if at all."""
    left = only_qualified(left)
    columns, drives = _sides("JOIN", left, right)
    return Item(f"{left.sql}, {right.sql}", columns, drives)


def _joined(site: Site, queries: Queries, left: Item, depth: int, outer: Sequence[Column]) -> Item:
    dice, left = site.dice, only_qualified(left)
    if depth > 0 and dice.chance(12):
        return _lateral(site, queries, left, depth, outer)
    right = source(site, queries, depth - 1, outer)
    if dice.chance(12):
        right = _joined(site, queries, right, depth - 1, outer)
        right = only_qualified(replace(right, sql=f"({right.sql})", names=None))
    if dice.chance(15):
        left, right = right, left
        if right.names is None:
            right = only_qualified(replace(right, sql=f"({right.sql})"))
    kind = dice.weighted({"JOIN": 45, "LEFT JOIN": 22, "RIGHT JOIN": 10, "FULL JOIN": 8, "": 15})
    if not kind:
        columns, drives = _sides("JOIN", left, right)
        return Item(f"{left.sql} CROSS JOIN {right.sql}", columns, drives)
    shared = _shared_names(left, right)
    if shared and dice.chance(30):
        if dice.chance(25):
            return _by_names(kind, f"NATURAL {kind}", "", left, right, shared)
        chosen = dice.some(shared, 2)
        return _by_names(kind, kind, f" USING ({', '.join(chosen)})", left, right, chosen)
    return _on(site, queries, kind, left, right, depth, outer)


def _on(
    site: Site,
    queries: Queries,
    kind: str,
    left: Item,
    right: Item,
    depth: int,
    outer: Sequence[Column],
) -> Item:
    dice = site.dice
    pairs = [(a, b) for a in left.columns for b in right.columns if a.kind == b.kind]
    both = left.columns + right.columns
    if kind == "FULL JOIN" and not pairs:
        kind = "LEFT JOIN"
    chosen = [dice.pick(pairs)] if pairs and (kind == "FULL JOIN" or dice.chance(88)) else []
    if chosen and kind != "FULL JOIN" and dice.chance(10):
        chosen.append(dice.pick(pairs))
    parts = [f"{a.sql} = {b.sql}" for a, b in chosen]
    if not parts or (kind != "FULL JOIN" and dice.chance(15)):
        parts.append(condition(dice, queries.scope(both, outer, depth - 1)))
    columns, drives = _sides(kind, left, right)
    if kind == "JOIN":
        for a, b in chosen:
            columns = equated(columns, _same(columns, a), _same(columns, b))
    return Item(f"{left.sql} {kind} {right.sql} ON {' AND '.join(parts)}", columns, drives)


def _same(columns: list[Column], wanted: Column) -> Column:
    return next(column for column in columns if column.sql == wanted.sql)


def _by_names(
    kind: str, word: str, using: str, left: Item, right: Item, shared: Sequence[str]
) -> Item:
    columns, drives = _sides(kind, left, right)
    for name in shared if kind == "JOIN" else ():
        pair = [column for column in columns if column.name == name]
        columns = equated(columns, pair[0], pair[1])
    merged = []
    for name in shared:
        pair = [column for column in columns if column.name == name]
        preserved = {"JOIN": 0, "LEFT JOIN": 0, "RIGHT JOIN": 1}.get(kind)
        origins = frozenset() if preserved is None else pair[preserved].origins
        merged.append(Column(name, pair[0].kind, origins))
    return Item(f"{left.sql} {word} {right.sql}{using}", columns + merged, drives)


def only_qualified(item: Item) -> Item:
    """The item without the bare names that USING and NATURAL give, for joining it on."""
    return replace(item, columns=[column for column in item.columns if "." in column.sql])


def _sides(kind: str, left: Item, right: Item) -> tuple[list[Column], Drives]:
    """The columns and the drives that a join of this kind leaves."""
    match kind:
        case "JOIN":
            return left.columns + right.columns, left.drives + right.drives
        case "LEFT JOIN":
            return left.columns + nullable(right.columns), left.drives
        case "RIGHT JOIN":
            return nullable(left.columns) + right.columns, right.drives
        case _:
            return nullable(left.columns) + nullable(right.columns), ()


def _shared_names(left: Item, right: Item) -> list[str]:
    if left.names is None or right.names is None:
        return []
    counts = Counter(left.names) + Counter(right.names)
    return [name for name in left.names if name in right.names and counts[name] == 2]


def _lateral(site: Site, queries: Queries, left: Item, depth: int, outer: Sequence[Column]) -> Item:
    below = queries.query(None, depth - 1, [*left.columns, *outer])
    right = _aliased(site.dice, below)
    if site.dice.chance(40):
        columns, drives = _sides("LEFT JOIN", left, right)
        return Item(f"{left.sql} LEFT JOIN LATERAL {right.sql} ON true", columns, drives)
    columns, drives = _sides("JOIN", left, right)
    return Item(f"{left.sql} CROSS JOIN LATERAL {right.sql}", columns, drives)


def _aliased(dice: Dice, query: Query) -> Item:
    alias = dice.name("s")
    names = tuple(column.name for column in query.columns)
    columns = [replace(column, sql=f"{alias}.{column.name}") for column in query.columns]
    return Item(f"({query.sql}) AS {alias}", columns, query.drives, names)


def _view_item(site: Site, queries: Queries, depth: int) -> Item:
    """A subquery that is stored as a view, mostly under other names of its columns."""
    dice, known = site.dice, site.ctes
    site.ctes = []  # a view is made before the statement, and sees none of its names
    below = queries.query(None, depth - 1)
    site.ctes = known
    view, alias = dice.name("v"), dice.name("s")
    names = [column.name for column in below.columns]
    listed = ""
    if dice.chance(60):
        names = [dice.name(f"{name}_") if dice.chance(40) else name for name in names]
        listed = f" ({', '.join(names)})"
    site.reads.views = True
    site.views[view] = f"CREATE VIEW {view}{listed} AS {below.sql}"
    columns = [
        replace(column, sql=f"{alias}.{name}")
        for column, name in zip(below.columns, names, strict=True)
    ]
    return Item(f"{view} AS {alias}", columns, below.drives, tuple(names))


def _cte_item(site: Site) -> Item:
    cte = site.dice.pick(site.ctes)
    site.reads.ctes[cte.name] += 1
    alias = site.dice.name("c")
    columns = [replace(column, sql=f"{alias}.{column.name}") for column in cte.columns]
    names = tuple(column.name for column in cte.columns)
    return Item(f"{cte.name} AS {alias}", columns, through_cte(cte.drives, cte.name), names)


def _series(site: Site) -> Item:
    dice, alias = site.dice, site.dice.name("g")
    low = dice.number(-2, 3)
    step = dice.pick(("", "", ", 2"))
    number = site.reads.occurrence()
    column = Column(f"{alias}.i1", "int", frozenset({(number, SERIES_VALUE)}))
    sql = f"generate_series({low}, {low + dice.number(0, 14)}{step}) AS {alias}(i1)"
    return Item(sql, [column], (Drive(number, frozenset({SERIES_VALUE})),), ("i1",))


def _values(dice: Dice) -> Item:
    types = [dice.pick(TYPES) for _ in range(dice.number(1, 2))]
    alias, names = dice.name("x"), column_names(types)
    rows = [
        f"({', '.join(f'{literal(dice, kind)}::{kind}' for kind in types)})"
        for _ in range(dice.number(1, 4))
    ]
    columns = [Column(f"{alias}.{n}", kind) for n, kind in zip(names, types, strict=True)]
    sql = f"(VALUES {', '.join(rows)}) AS {alias}({', '.join(names)})"
    return Item(sql, columns, (), tuple(names))
