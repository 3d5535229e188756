"""MERGE: rows of several chunks must not look at, or change, the same rows of the target.

A MERGE joins each row of its source with the target as it was before, and acts on what it finds;
so it distributes over the rows of its source, the driving relation. What speaks against a split is
that a chunk may see what another has done: under a later snapshot, as after a crash. It cannot when
ON equates a column of the target to a value that no two ranges have (`pgfan.sql.determinants`),
rows are inserted with that value in the column, and nothing assigns the column: then each range of
the source has the rows of the target for itself. See "MERGE" in PostgreSQL's manual, and
docs/decisions/0010.

For the rules a MERGE is an INSERT of all expressions in its actions, from the source LEFT JOIN the
target. That INSERT is never run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec import Struct
from postgast import pg_query_pb2 as pb

from pgfan.sql.access import relation_name
from pgfan.sql.determinants import INTEGERS, is_stored_apart
from pgfan.sql.joins import conjuncts
from pgfan.sql.keys import KeyType
from pgfan.sql.levels import SYSTEM_COLUMNS
from pgfan.sql.reasons import Reason
from pgfan.sql.target import TargetColumns, target_columns
from pgfan.sql.tree import (
    Message,
    add_copies,
    copy_of,
    inner,
    kind_of,
    names,
    parse_expression,
    walk,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.sql.determinants import Determinant
    from pgfan.sql.facts import CatalogFacts, ColumnFacts, RelationFacts
    from pgfan.sql.keys import Column, Level

Event: TypeAlias = Literal["insert", "update", "delete"]

TARGET = 1
"""The target's ordinal in the FROM clause of `as_insert`; the source's is 0."""
_EVENTS: dict[int, Event] = {
    pb.CmdType.Value("CMD_INSERT"): "insert",
    pb.CmdType.Value("CMD_UPDATE"): "update",
    pb.CmdType.Value("CMD_DELETE"): "delete",
}
_INSERT = pb.CmdType.Value("CMD_INSERT")
_UPDATE = pb.CmdType.Value("CMD_UPDATE")
_BY_SOURCE = pb.MergeMatchKind.Value("MERGE_WHEN_NOT_MATCHED_BY_SOURCE")
_USER_VALUE = pb.OverridingKind.Value("OVERRIDING_USER_VALUE")


class MergeColumns(Struct, frozen=True):
    """A MERGE with the defaults that look at the time written out, and what they ask for."""

    tree: Message
    columns: TargetColumns


class MeetingColumn(Struct, frozen=True):
    """A column of the target that ON equates to the key; `ranged` when it has the key's type."""

    name: str
    ranged: str | None


def events(merge: Message) -> frozenset[Event]:
    """What its actions do to rows of the target."""
    commands = {clause.command_type for clause in clauses(merge)}
    return frozenset(event for command, event in _EVENTS.items() if command in commands)


def assigned(merge: Message) -> frozenset[str]:
    """The columns that its UPDATE actions change."""
    return frozenset(
        entry.res_target.name
        for clause in clauses(merge)
        if clause.command_type == _UPDATE
        for entry in clause.target_list
    )


def clauses(merge: Message) -> list[Message]:
    """Its WHEN clauses."""
    return [inner(node) for node in merge.merge_when_clauses]


def with_subquery(merge: Message) -> Message:
    """The MERGE with a subquery in place of the table or function that is its source.

    A subquery can be restricted; the source itself has no WHERE. It stays as it is when something
    refers to more of it than its columns.
    """
    source = inner(merge.source_relation)
    if not _is_replaceable(merge, source):
        return merge
    copy = copy_of(merge)
    select = pb.SelectStmt(limit_option="LIMIT_OPTION_DEFAULT", op="SETOP_NONE")
    star = pb.ColumnRef(fields=[wrap("a_star", pb.A_Star())])
    add_copies(select.target_list, [_output(wrap("column_ref", star))])
    subquery = pb.RangeSubselect()
    subquery.alias.CopyFrom(source.alias)
    subquery.alias.aliasname = _alias(source)
    if kind_of(source) == "RangeVar":
        plain = copy_of(source)
        plain.ClearField("alias")
        add_copies(select.from_clause, [wrap("range_var", plain)])
    else:
        add_copies(select.from_clause, [wrap("range_function", source)])
    subquery.subquery.CopyFrom(wrap("select_stmt", select))
    copy.source_relation.CopyFrom(wrap("range_subselect", subquery))
    return copy


def as_insert(merge: Message) -> Message:
    """What the rules look at."""
    join = pb.JoinExpr(jointype="JOIN_LEFT")
    join.larg.CopyFrom(merge.source_relation)
    join.rarg.CopyFrom(wrap("range_var", merge.relation))
    join.quals.CopyFrom(merge.join_condition)
    select = pb.SelectStmt(limit_option="LIMIT_OPTION_DEFAULT", op="SETOP_NONE")
    add_copies(select.from_clause, [wrap("join_expr", join)])
    for clause in clauses(merge):
        if clause.HasField("condition"):
            add_copies(select.target_list, [_output(clause.condition)])
        add_copies(select.target_list, map(_output, _values(clause)))
    insert = pb.InsertStmt(override="OVERRIDING_NOT_SET")
    insert.relation.CopyFrom(merge.relation)
    insert.select_stmt.CopyFrom(wrap("select_stmt", select))
    return insert


def merge_columns(merge: Message, facts: CatalogFacts) -> MergeColumns:
    """What has to be done about the columns that its INSERT actions leave out."""
    copy = copy_of(merge)
    reasons: list[Reason] = []
    defaults: list[Message] = []
    for clause in clauses(copy):
        if clause.command_type != _INSERT:
            continue
        select, insert = pb.SelectStmt(), pb.InsertStmt()
        add_copies(select.target_list, map(_output, clause.values))
        insert.relation.CopyFrom(merge.relation)
        add_copies(insert.cols, clause.target_list)
        found = target_columns(insert, select, facts)
        reasons += found.reasons
        defaults += found.defaults
        target = facts.relations.get(relation_name(merge.relation))
        if found.frozen and not clause.target_list and target is not None:
            for column in target.columns[: len(clause.values)]:
                clause.target_list.append(_named(column.name))
        for omitted in found.frozen:
            clause.target_list.append(_named(omitted.name))
            add_copies(clause.values, [parse_expression(omitted.default)])
    return MergeColumns(copy, TargetColumns((), tuple(reasons), tuple(defaults)))


def merge_objections(merge: Message) -> Iterator[Reason]:
    """What speaks against a split whatever the driving relation is."""
    if kind_of(inner(merge.source_relation)) != "RangeSubselect":
        yield Reason(
            "merge",
            "its source is not a table, a subquery or a generate_series, used by its columns only",
        )
    if any(clause.match_kind == _BY_SOURCE for clause in clauses(merge)):
        yield Reason(
            "merge", "WHEN NOT MATCHED BY SOURCE looks for rows that no row of the source matches"
        )
    entries = [entry.res_target for clause in clauses(merge) for entry in clause.target_list]
    if any(entry.indirection for entry in entries):
        yield Reason("merge", "an action assigns a part of a column")


def meeting_column(
    merge: Message, level: Level, found: Sequence[Determinant], facts: CatalogFacts
) -> MeetingColumn | Reason:
    """The column of the target that keeps chunks apart; or why rows of several may meet.

    `level` is the SELECT of `as_insert`.
    """
    reason = Reason(
        "merge-key",
        "rows of several chunks may meet: ON does not equate the split key to a column of the "
        "target",
    )
    target = facts.relations.get(relation_name(merge.relation))
    for one in found:
        for name in _equated(merge, level, one):
            column = next((c for c in target.columns if c.name == name), None) if target else None
            if target is None or column is None:
                continue
            against = _objection(merge, level, one, target, column)
            if against is None:
                alike = not one.is_series and column.type == one.key.type
                return MeetingColumn(name, name if alike else None)
            reason = against
    return reason


def _equated(merge: Message, level: Level, one: Determinant) -> Iterator[str]:
    """The columns of the target that ON equates to the value."""
    key = KeyType(one.key.type, one.key.collation)
    for pair in map(level.equated, conjuncts(merge.join_condition)):
        for own, other in (pair, pair[::-1]) if pair is not None else ():
            if own[0] != TARGET or other not in one.columns:
                continue
            kind = level.key_type(own)
            if kind == key or (kind is not None and {kind.type, key.type} <= INTEGERS):
                yield own[1]


def _objection(
    merge: Message, level: Level, one: Determinant, target: RelationFacts, column: ColumnFacts
) -> Reason | None:
    """Why a chunk may write rows that another looks at, though ON equates `column` to its key."""
    name = column.name
    if name in assigned(merge) or column.generated:
        return Reason("key-assigned", f"the statement changes {name}")
    for clause in clauses(merge):
        if clause.command_type == _INSERT:
            given = _given(clause, level, target, name)
            if given not in one.columns or not is_stored_apart(one.key, column):
                return Reason("merge", f"it inserts rows without the split key as their {name}")
    apart = all(name in index.plain for index in target.unique_indexes)
    if events(merge) >= {"insert", "delete"} and not apart:
        return Reason(
            "assigned-unique",
            "it deletes and inserts rows that are unique over all rows in another column",
        )
    return None


def _given(clause: Message, level: Level, target: RelationFacts, name: str) -> Column | None:
    """The column of the source that an INSERT action stores in a column of the target."""
    if clause.override == _USER_VALUE:
        return None
    named = [entry.res_target.name for entry in clause.target_list]
    order = named or [column.name for column in target.columns]
    if order.count(name) != 1 or order.index(name) >= len(clause.values):
        return None
    return level.resolve(inner(clause.values[order.index(name)]))


def _values(clause: Message) -> list[Message]:
    """The expressions of an action."""
    if clause.command_type == _UPDATE:
        return [entry.res_target.val for entry in clause.target_list]
    return list(clause.values)


def _is_replaceable(merge: Message, source: Message) -> bool:
    match kind_of(source):
        case "RangeVar":
            pass
        case "RangeFunction":
            plain = not (source.ordinality or source.is_rowsfrom or source.lateral)
            if not plain or source.coldeflist or _function(source) != "generate_series":
                return False
        case _:
            return False
    parts = (merge.join_condition, *merge.merge_when_clauses)
    return not any(_names_more(node, source) for part in parts for node in walk(part))


def _names_more(node: Message, source: Message) -> bool:
    """Whether a reference means a system column or a whole row, or spells out the schema."""
    if kind_of(node) != "ColumnRef":
        return False
    path, alias = names(node.fields), _alias(source)
    if len(node.fields) > 2:
        return True
    if len(node.fields) == 1:
        is_column = kind_of(source) == "RangeFunction" and not source.alias.colnames
        return path == (alias,) and not is_column
    return path[0] == alias and (len(path) == 1 or path[1] in SYSTEM_COLUMNS)


def _alias(source: Message) -> str:
    if source.HasField("alias"):
        return str(source.alias.aliasname)
    if kind_of(source) == "RangeVar":
        return str(source.relname)
    return _function(source)


def _function(source: Message) -> str:
    call = inner(source.functions[0].list.items[0])
    return names(call.funcname)[-1] if kind_of(call) == "FuncCall" else ""


def _output(value: Message) -> Message:
    target = pb.ResTarget()
    target.val.CopyFrom(value)
    return wrap("res_target", target)


def _named(name: str) -> Message:
    return wrap("res_target", pb.ResTarget(name=name))
