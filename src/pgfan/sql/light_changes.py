"""Which UPDATEs and DELETEs are over at once: those of one row, found by a key.

As with `pgfan.sql.light`, it must be known before anything runs. The WHERE names all columns of a
unique index, each equal to a constant, so at most one row is looked up, whatever the table holds;
and nothing else runs for it: no trigger, policy, foreign key in either direction, no function of a
user's, no other relation.

Changes of one table wait for each other, and a bundle keeps program order. Each has a transaction
of its own, as in psql, because a deferred constraint may be violated by one and mended by the next:
they share messages, which nobody can tell unless they ask for the time.

That a key is one is for the cost alone. If it was dropped, the statement does what it says, later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql.light import is_alone, is_constant, is_light, mentions_clock
from pgfan.sql.tree import inner, kind_of, names, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.sql.definitions import Definitions, Relation
    from pgfan.sql.effects import Accesses
    from pgfan.sql.script import ScriptItem
    from pgfan.sql.tree import Message

_BESIDES = ("with_clause", "from_clause", "using_clause", "returning_list", "returning_clause")


def is_light_change(item: ScriptItem, found: Accesses, definitions: Definitions) -> bool:
    """Whether an item is an UPDATE or DELETE of at most one row; it may share a message."""
    tree = item.first.skeleton
    if kind_of(tree) not in {"UpdateStmt", "DeleteStmt"} or not is_alone(item, found):
        return False
    fields = tree.DESCRIPTOR.fields_by_name
    if any(_has(tree, name) for name in _BESIDES if name in fields):
        return False
    if kind_of(tree) == "UpdateStmt" and not all(map(_is_light_target, tree.target_list)):
        return False
    relation = _only_target(found, definitions)
    if relation is None or not tree.HasField("where_clause"):
        return False
    wanted = _equal_to_constants(tree.where_clause)
    return wanted is not None and any(
        key and wanted.issuperset(key) for key in _keys(relation, definitions)
    )


def _has(tree: Message, name: str) -> bool:
    field = tree.DESCRIPTOR.fields_by_name[name]
    return bool(len(getattr(tree, name)) if field.is_repeated else tree.HasField(name))


def _is_light_target(target: Message) -> bool:
    """Whether a column gets a constant, or what little can be made of the row itself."""
    value = target.res_target.val
    if target.res_target.indirection or value.WhichOneof("node") == "set_to_default":
        return False
    return is_constant(value) or all(
        is_light(node) or kind_of(inner(node)) == "ColumnRef" for node in walk(value)
    )


def _only_target(found: Accesses, definitions: Definitions) -> Relation | None:
    """The table, if it is all that is touched and runs nothing."""
    touched = {effect.object for effect in found.effects}
    relation = definitions.relations.get(touched.pop()) if len(touched) == 1 else None
    if relation is None or relation.kind != "table" or definitions.referencing.get(relation.name):
        return None
    runs = relation.triggers or relation.foreign_keys or relation.on_access
    parts = relation.parents or relation.name in definitions.parents
    if runs or parts or not all(_is_timeless(code) for code in relation.on_write):
        return None
    return relation


def _is_timeless(code: Accesses | str) -> bool:
    """Whether a CHECK, generated column or rule, as the server prints it, asks for no time."""
    return isinstance(code, str) and not mentions_clock(code)


def _keys(relation: Relation, definitions: Definitions) -> Iterator[tuple[str, ...]]:
    for name in definitions.below.get(relation.name, ()):
        yield definitions.relations[name].key


def _equal_to_constants(where: Message) -> set[str] | None:
    """The columns that a WHERE wants to be constants; None if it says anything else."""
    found: set[str] = set()
    todo = [where]
    while todo:
        node = inner(todo.pop())
        if kind_of(node) == "BoolExpr" and node.boolop == pb.AND_EXPR:
            todo += node.args
            continue
        if kind_of(node) != "A_Expr" or node.kind != pb.AEXPR_OP or names(node.name) != ("=",):
            return None
        column = inner(node.lexpr)
        if kind_of(column) != "ColumnRef" or not _fits_index(node.rexpr):
            return None
        path = names(column.fields)
        if len(path) != len(column.fields):
            return None
        found.add(path[-1])
    return found


def _fits_index(value: Message) -> bool:
    """Whether it is a constant that an index of any usual type can be asked for.

    Of a number with a fraction there is no such index but of numeric: integers would be cast.
    """
    if not is_constant(value):
        return False
    constant = value.a_const
    whole: bool = constant.WhichOneof("val") != "fval" or constant.fval.fval.lstrip("-").isdigit()
    return whole
