"""What a statement names: relations, functions, operators.

So far only the names that the split analysis looks up in the catalogue; what other statements
read, write and lock will live here too. Names are as written: resolving them is the server's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfan.sql.tree import Message, kind_of, names, parse_expression, walk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfan.sql.facts import Name


@dataclass(frozen=True)
class References:
    """The names in a statement, without duplicates."""

    relations: frozenset[Name] = frozenset()
    functions: frozenset[Name] = frozenset()
    operators: frozenset[Name] = frozenset()

    def __or__(self, other: References) -> References:
        return References(
            self.relations | other.relations,
            self.functions | other.functions,
            self.operators | other.operators,
        )


def references(tree: Message) -> References:
    """Everything that `tree` names, at any depth."""
    relations: set[Name] = set()
    functions: set[Name] = set()
    operators: set[Name] = set()
    for node in walk(tree):
        match kind_of(node):
            case "RangeVar":
                relations.add(relation_name(node))
            case "FuncCall":
                functions.add(names(node.funcname))
            case "A_Expr":
                operators.add(names(node.name))
            case "SubLink" if node.oper_name:
                operators.add(names(node.oper_name))
            case "SortBy" if node.use_op:
                operators.add(names(node.use_op))
            case _:
                pass
    return References(frozenset(relations), frozenset(functions), frozenset(operators))


def expression_references(expressions: Iterable[str]) -> References:
    """The names in SQL expressions, such as column defaults as pg_get_expr prints them."""
    found = References()
    for text in expressions:
        found |= references(parse_expression(text))
    return found


def relation_name(node: Message) -> Name:
    """The name in a RangeVar; a database qualifier is left to the server to judge."""
    return (node.schemaname, node.relname) if node.schemaname else (node.relname,)
