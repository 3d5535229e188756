"""A statement restricted to a range of its driving relation.

The tree is changed and deparsed by libpg_query; the text is parsed again and must give the same
tree. That is done once for a task: the bounds of a chunk are put into the finished text, where
two parameters mark their places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.quoting import qualified
from pgfan.sql.freeze import freeze_time, looks_at_time
from pgfan.sql.keys import Level
from pgfan.sql.levels import placed_nodes
from pgfan.sql.render import RenderError, render
from pgfan.sql.shape import filtered
from pgfan.sql.sources import from_items, select_of
from pgfan.sql.tree import (
    Message,
    copy_of,
    inner,
    kind_of,
    names,
    parse_expression,
    walk,
    wrap,
)

if TYPE_CHECKING:
    from pgfan.sql.candidates import Candidate
    from pgfan.sql.distribute import Split
    from pgfan.sql.facts import CatalogFacts


class RewriteError(RenderError):
    """The rewritten statement does not survive deparsing and parsing; it must run serially."""


@dataclass(frozen=True)
class Template:
    """SQL around its holes: LOW and HIGH, or a condition on each of `columns` (as SQL)."""

    pieces: tuple[str, ...]
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class SeriesSpec:
    """How a series' bounds are written: `type_name` of the values, `step` as SQL."""

    type_name: str
    step: str
    by_interval: bool = False
    """Bounds are intervals since 2000-01-01 (UTC), for timestamps with and without zone."""


def restrict_series(
    split: Split,
    candidate: Candidate,
    spec: SeriesSpec,
    facts: CatalogFacts,
    frozen_at: str,
) -> Template:
    """The statement with its generate_series bounds as the holes, both inclusive."""
    copy = _prepared(split, facts, frozen_at)
    call = series_call(copy, candidate)
    low, high = _markers(copy, 2)
    bounds = [parse_expression(_series_bound(marker, spec)) for marker in (low, high)]
    del call.args[:]
    call.args.extend([*bounds, parse_expression(spec.step)])
    return _template(copy, low, high)


def restrict_blocks(
    split: Split, candidate: Candidate, facts: CatalogFacts, frozen_at: str
) -> Template:
    """The statement with `ctid >= LOW AND ctid < HIGH` on the driving heap."""
    copy = _prepared(split, facts, frozen_at)
    low, high = _markers(copy, 2)
    column = qualified((*candidate.alias, "ctid"))
    condition = parse_expression(
        f"{column} OPERATOR(pg_catalog.>=) {low}::pg_catalog.tid"
        f" AND {column} OPERATOR(pg_catalog.<) {high}::pg_catalog.tid"
    )
    _and_where(filtered(copy, candidate.path), condition)
    return _template(copy, low, high)


def restrict_column(
    split: Split, candidate: Candidate, facts: CatalogFacts, frozen_at: str
) -> Template:
    """The statement with a condition on the key, and on each column that a join equates to it.

    PostgreSQL does not derive ranges over an equi-join: without the others, every chunk would read
    the joined relations from their first row.
    """
    copy = _prepared(split, facts, frozen_at)
    holder = filtered(copy, candidate.path)
    columns = [qualified((*candidate.alias, candidate.column or ""))]
    if kind_of(holder) == "SelectStmt":
        columns += _equated(holder, candidate, facts)
    markers = _markers(copy, len(columns))
    for marker in markers:
        _and_where(holder, parse_expression(marker))
    return _template(copy, *markers, columns=tuple(columns))


def _equated(select: Message, candidate: Candidate, facts: CatalogFacts) -> list[str]:
    level = Level(select, facts)
    key = level.key_type((candidate.ordinal, candidate.column or ""))
    if key is None:
        return []
    carried = level.carrying([(candidate.ordinal, candidate.column or "")], key)
    aliases = [item.alias for item in level.items]
    return [
        qualified((*level.items[ordinal].alias, name))
        for ordinal, name in sorted(carried)
        if ordinal != candidate.ordinal and aliases.count(aliases[ordinal]) == 1
    ]


def series_call(tree: Message, candidate: Candidate) -> Message:
    """The generate_series call that `candidate` names, in this very tree."""
    select = filtered(tree, candidate.path)
    if candidate.ordinal >= 0:
        item = next(item for item in from_items(select) if item.ordinal == candidate.ordinal)
        return inner(item.node.functions[0].list.items[0])
    return next(
        found.node
        for found in placed_nodes(tree, (select,))
        if found.place == "target"
        and kind_of(found.node) == "FuncCall"
        and names(found.node.funcname)[-1] == "generate_series"
    )


def _prepared(split: Split, facts: CatalogFacts, frozen_at: str) -> Message:
    copy = copy_of(split.tree)
    select = select_of(copy)
    if split.frozen_defaults:
        _write_out(copy, select, split, facts)
    if any(_is_time_in_from(node, facts) for node in walk(copy)):
        raise RewriteError("a time function in FROM would give its columns another name")
    freeze_time(copy, frozen_at, facts)
    return copy


def _is_time_in_from(node: Message, facts: CatalogFacts) -> bool:
    return kind_of(node) == "RangeFunction" and any(
        looks_at_time(inner(function.list.items[0]), facts) for function in node.functions
    )


def _write_out(insert: Message, select: Message, split: Split, facts: CatalogFacts) -> None:
    """Name the columns that have a default to freeze, and select the default."""
    if not insert.cols:
        name = (insert.relation.schemaname, insert.relation.relname)
        target = facts.relations[name if name[0] else name[1:]]
        for given in target.columns[: len(select.target_list)]:
            insert.cols.append(wrap("res_target", pb.ResTarget(name=given.name)))
    for column in split.frozen_defaults:
        insert.cols.append(wrap("res_target", pb.ResTarget(name=column.name)))
        value = pb.ResTarget(val=parse_expression(column.default))
        select.target_list.append(wrap("res_target", value))


def _series_bound(marker: str, spec: SeriesSpec) -> str:
    if not spec.by_interval:
        return f"{marker}::{spec.type_name}"
    moment = (
        f"('2000-01-01'::pg_catalog.timestamp OPERATOR(pg_catalog.+) {marker}::pg_catalog.interval)"
    )
    return moment if spec.type_name == "timestamp" else f"pg_catalog.timezone('UTC', {moment})"


def _and_where(select: Message, condition: Message) -> None:
    if not select.HasField("where_clause"):
        select.where_clause.CopyFrom(condition)
        return
    both = pb.BoolExpr(boolop=pb.BoolExprType.Value("AND_EXPR"))
    where = select.where_clause
    # The parser makes one list of a AND b AND c, so a list is what the tree must hold.
    flat = where.WhichOneof("node") == "bool_expr" and where.bool_expr.boolop == both.boolop
    both.args.extend(where.bool_expr.args if flat else [where])
    added = condition.WhichOneof("node") == "bool_expr"
    both.args.extend(condition.bool_expr.args if added else [condition])
    select.where_clause.CopyFrom(wrap("bool_expr", both))


def _markers(tree: Message, count: int) -> tuple[str, ...]:
    """Parameters that occur nowhere in the statement's text, and none within another."""
    text = str(tree)
    number = 900_001
    while any(str(number + more) in text for more in range(count)):
        number += count
    return tuple(f"${number + more}" for more in range(count))


def _template(tree: Message, *markers: str, columns: tuple[str, ...] = ()) -> Template:
    text = render(tree)
    if any(text.count(marker) != 1 for marker in markers):
        raise RewriteError("a bound has no single place in the rewritten statement")
    pieces: list[str] = []
    for marker in markers:
        before, text = text.split(marker) if marker in text else ("", text)
        pieces.append(before)
    if not all(pieces):
        raise RewriteError("the bounds change places in the rewritten statement")
    return Template((*pieces, text), columns)
