"""Which statements leave a setting in their session that every other connection can be given.

pgfan repeats such a statement on each connection, after a reconnect, and when a run is resumed. So
repeating it must do nothing else, and give the same value each time: SET with its constants does,
`SELECT set_config('a.b', '1', false)` does. A call whose value is worked out, or that stands beside
something that draws from a sequence or writes, does not: what follows it needs the session that it
ran in (`pgfan.sql.collector.Session.has_own_settings`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.tree import inner, kind_of, names
from pgfan.sql.unsupported import calls

if TYPE_CHECKING:
    from pgfan.sql.script import Statement
    from pgfan.sql.tree import Message

NOT_CARRIED = frozenset({"transaction", "seed"})
_PLAIN_TYPES = frozenset({"text", "varchar", "bool"})


def is_setting(statement: Statement) -> bool:
    """Whether the statement changes the session for those after it, and may be repeated."""
    tree = statement.skeleton
    match kind_of(tree):
        case "VariableSetStmt":
            return not tree.is_local and tree.name.lower() not in NOT_CARRIED
        case "DiscardStmt":
            return True
        case "SelectStmt":
            return any(calls(statement, "set_config")) and only_sets_constants(tree)
        case _:
            return False


def only_sets_constants(tree: Message) -> bool:
    """Whether a SELECT is nothing but calls of set_config() with constants."""
    said = {field.name for field, _ in tree.ListFields()}
    return said <= {"target_list", "limit_option", "op"} and all(
        _sets_constant(inner(inner(target).val)) for target in tree.target_list
    )


def _sets_constant(node: Message) -> bool:
    return (
        kind_of(node) == "FuncCall"
        and names(node.funcname) in {("set_config",), ("pg_catalog", "set_config")}
        and all(map(_is_constant, map(inner, node.args)))
    )


def _is_constant(node: Message) -> bool:
    """Whether it is a literal, or one cast to a text or boolean: 'now'::date is worked out."""
    if kind_of(node) == "TypeCast" and names(node.type_name.names)[-1] in _PLAIN_TYPES:
        node = inner(node.arg)
    return kind_of(node) == "A_Const"
