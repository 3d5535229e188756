"""A statement restricted to a range of its driving relation.

The tree is changed and deparsed by libpg_query; the text is parsed again and must give the same
tree. That is done once for a task: the bounds of a chunk are put into the finished text, where
two parameters mark their places.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from msgspec import Struct
from postgast import pg_query_pb2 as pb

from pgfan.quoting import qualified
from pgfan.sql.branches import add_condition, output_count, simple_selects
from pgfan.sql.freeze import freeze_time, looks_at_time
from pgfan.sql.index import TreeIndex
from pgfan.sql.keys import Level
from pgfan.sql.levels import placed_nodes
from pgfan.sql.render import RenderError, render
from pgfan.sql.shape import filtered
from pgfan.sql.sources import from_items, select_of
from pgfan.sql.tree import (
    Message,
    add_copies,
    copy_of,
    deparse_expression,
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
    from pgfan.sql.keys import Column


class RewriteError(RenderError):
    """The rewritten statement does not survive deparsing and parsing; it must run serially."""


class Template(Struct, frozen=True):
    """SQL around its holes: LOW and HIGH, or a condition on each of `columns`.

    Each of these is the parts of the key, as SQL, or the first few of them.
    """

    pieces: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...] = ()


class SeriesSpec(Struct, frozen=True):
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
    copy = prepared(split, facts, frozen_at)
    call = series_call(copy, candidate)
    low, high = unused_parameters(copy, 2)
    bounds = [parse_expression(_series_bound(marker, spec)) for marker in (low, high)]
    del call.args[:]
    add_copies(call.args, [*bounds, parse_expression(spec.step)])
    return _template(copy, low, high)


def restrict_blocks(
    split: Split, candidate: Candidate, facts: CatalogFacts, frozen_at: str
) -> Template:
    """The statement with `ctid >= LOW AND ctid < HIGH` on the driving heap."""
    copy = prepared(split, facts, frozen_at)
    low, high = unused_parameters(copy, 2)
    column = qualified((*candidate.alias, "ctid"))
    condition = parse_expression(
        f"{column} OPERATOR(pg_catalog.>=) {low}::pg_catalog.tid"
        f" AND {column} OPERATOR(pg_catalog.<) {high}::pg_catalog.tid"
    )
    add_condition(filtered(copy, candidate.path), "where_clause", condition)
    return _template(copy, low, high)


def restrict_column(
    split: Split, candidate: Candidate, facts: CatalogFacts, frozen_at: str
) -> Template:
    """The statement with a condition on the key, and on what a join equates to its first parts.

    PostgreSQL does not derive ranges over an equi-join: without the others, every chunk would read
    the joined relations from their first row.
    """
    copy = prepared(split, facts, frozen_at)
    holder = filtered(copy, candidate.path)
    key = (candidate, *candidate.then)
    places = [(holder, "where_clause", tuple(_part(one, holder, facts) for one in key))]
    if kind_of(holder) == "SelectStmt":
        places += _equated(holder, key, facts)
    if candidate.meets is not None:
        relation = copy.relation  # a range of the source is one of the target as well
        name = relation.alias.aliasname or relation.relname
        met = takewhile(lambda one: one.meets is not None, key)
        parts = tuple(qualified((name, one.meets or "")) for one in met)
        places.append((copy, "join_condition", parts))
    markers = unused_parameters(copy, len(places))
    for marker, (message, clause, _) in zip(markers, places, strict=True):
        add_condition(message, clause, parse_expression(marker))
    return _template(copy, *markers, columns=tuple(parts for _, _, parts in places))


def restrict_cells(
    split: Split, candidate: Candidate, facts: CatalogFacts, frozen_at: str
) -> Template:
    """The statement with a condition on the driving relation's own column, and on no other."""
    copy = prepared(split, facts, frozen_at)
    (marker,) = unused_parameters(copy, 1)
    holder = filtered(copy, candidate.path)
    add_condition(holder, "where_clause", parse_expression(marker))
    column = qualified((*candidate.alias, candidate.column or ""))
    return _template(copy, marker, columns=((column,),))


def restrict_nothing(split: Split, facts: CatalogFacts, frozen_at: str) -> Template:
    """The whole statement, as a chunk of its own."""
    return Template((render(prepared(split, facts, frozen_at)),))


def _part(one: Candidate, holder: Message, facts: CatalogFacts) -> str:
    """What one part of the key compares, as SQL."""
    if one.key == "ctid":
        return qualified((*one.alias, "ctid"))
    if one.key == "column":
        return qualified((*one.alias, one.column or ""))
    relation = facts.relations[one.relation or ()]
    expression = facts.expressions[relation.oid]
    seen = [column.name for column in relation.columns]
    if kind_of(holder) == "SelectStmt":
        seen = list(Level(holder, facts).names[one.ordinal] or ())
    called = dict(zip((column.name for column in relation.columns), seen, strict=False))
    node = parse_expression(f"({expression.sql})")
    for reference in walk(node):
        if kind_of(reference) == "ColumnRef":
            name = called[names(reference.fields)[0]]
            reference.fields[0].string.sval = one.alias[0]
            reference.fields.insert(1, wrap("string", pb.String(sval=name)))
    return f"({deparse_expression(node)}){expression.collate}"


def _equated(
    select: Message, key: tuple[Candidate, ...], facts: CatalogFacts
) -> list[tuple[Message, str, tuple[str, ...]]]:
    """Where else the key's range may be put: message, clause, and the parts that are known there.

    A further part counts where it stands in the same item of FROM as the parts before it.
    """
    level = Level(select, facts)
    partners = [_partners(level, select, one) for one in key]
    aliases = [item.alias for item in level.items]
    found = []
    for message, clause, first in partners[0]:
        ordinal = first[0]
        if aliases.count(aliases[ordinal]) != 1:
            continue
        parts = [first[1]]
        for others in partners[1:]:
            beside = [
                column[1]
                for holder, _, column in others
                if holder is message and column[0] == ordinal
            ]
            if not beside:
                break
            parts.append(beside[0])
        alias = level.items[ordinal].alias
        found.append((message, clause, tuple(qualified((*alias, name)) for name in parts)))
    return found


def _partners(level: Level, select: Message, one: Candidate) -> list[tuple[Message, str, Column]]:
    """The columns of other items of FROM that are equal to a part: message, clause, column."""
    own = (one.ordinal, one.column or "")
    key = level.key_type(own) if one.key == "column" else None
    if key is None:
        return []
    carried = level.carrying([own], key)
    found = [(select, "where_clause", column) for column in sorted(carried) if column[0] != own[0]]
    return found + [(join, "quals", column) for join, column in level.matched(carried, key)]


def series_call(tree: Message, candidate: Candidate) -> Message:
    """The generate_series call that `candidate` names, in this very tree."""
    select = filtered(tree, candidate.path)
    if candidate.ordinal >= 0:
        item = next(item for item in from_items(select) if item.ordinal == candidate.ordinal)
        return inner(item.node.functions[0].list.items[0])
    return next(
        found.node
        for found in placed_nodes(TreeIndex(tree), (select,), frozenset({"FuncCall"}))
        if found.place == "target" and names(found.node.funcname)[-1] == "generate_series"
    )


def prepared(split: Split, facts: CatalogFacts, frozen_at: str) -> Message:
    """A copy of the statement in which all chunks have one time; RewriteError where none can."""
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
    simple = list(simple_selects(select))
    if not insert.cols:
        name = (insert.relation.schemaname, insert.relation.relname)
        target = facts.relations[name if name[0] else name[1:]]
        for given in target.columns[: output_count(simple[0])]:
            insert.cols.append(wrap("res_target", pb.ResTarget(name=given.name)))
    for column in split.frozen_defaults:
        insert.cols.append(wrap("res_target", pb.ResTarget(name=column.name)))
        value = parse_expression(column.default)
        for each in simple:
            if not each.values_lists:
                each.target_list.add().res_target.val.CopyFrom(value)
            for row in each.values_lists:
                row.list.items.add().CopyFrom(value)


def _series_bound(marker: str, spec: SeriesSpec) -> str:
    if not spec.by_interval:
        return f"{marker}::{spec.type_name}"
    moment = (
        f"('2000-01-01'::pg_catalog.timestamp OPERATOR(pg_catalog.+) {marker}::pg_catalog.interval)"
    )
    return moment if spec.type_name == "timestamp" else f"pg_catalog.timezone('UTC', {moment})"


def unused_parameters(tree: Message, count: int) -> tuple[str, ...]:
    """Parameters that occur nowhere in the statement's text, and none within another."""
    text = str(tree)
    number = 900_001
    while any(str(number + more) in text for more in range(count)):
        number += count
    return tuple(f"${number + more}" for more in range(count))


def _template(tree: Message, *markers: str, columns: tuple[tuple[str, ...], ...] = ()) -> Template:
    text = render(tree)
    if columns:  # ON comes before WHERE
        found = sorted(zip(markers, columns, strict=True), key=lambda pair: text.find(pair[0]))
        markers, columns = zip(*found, strict=True)
    return Template(cut_at(text, *markers), columns)


def cut_at(text: str, *markers: str) -> tuple[str, ...]:
    """The SQL around the markers, which must each stand there once, and in this order."""
    if any(text.count(marker) != 1 for marker in markers):
        raise RewriteError("a bound has no single place in the rewritten statement")
    pieces: list[str] = []
    for marker in markers:
        before, text = text.split(marker) if marker in text else ("", text)
        pieces.append(before)
    if not all(pieces):
        raise RewriteError("the bounds change places in the rewritten statement")
    return (*pieces, text)
