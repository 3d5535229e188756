"""What a statement names: relations, functions, operators.

So far only the names that the split analysis looks up in the catalogue; what other statements
read, write and lock will live here too. Names are as written: resolving them is the server's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import postgast
from msgspec import Struct

from pgfan.sql.parsing import NestedTooDeepError
from pgfan.sql.tree import Message, kind_of, names, parse_expression, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pgfan.sql.facts import Name

_BETWEEN = {
    "AEXPR_BETWEEN": (">=", "<="),
    "AEXPR_BETWEEN_SYM": (">=", "<="),
    "AEXPR_NOT_BETWEEN": ("<", ">"),
    "AEXPR_NOT_BETWEEN_SYM": ("<", ">"),
}

CHANGING = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})
"""The types of statements that change the rows of a table."""
_LEAVES_DEFINITIONS = CHANGING | frozenset(
    {
        *("SelectStmt", "CopyStmt"),
        *("VariableSetStmt", "VariableShowStmt", "TransactionStmt", "ExplainStmt", "VacuumStmt"),
    }
)


JSON_CALLS = {
    "JsonArrayConstructor": ("json_array",),
    "JsonFuncExpr": ("json_exists", "json_query", "json_value"),
    "JsonObjectConstructor": ("json_object",),
    "JsonParseExpr": ("json",),
    "JsonScalarExpr": ("json_scalar",),
    "JsonSerializeExpr": ("json_serialize",),
}
"""SQL/JSON syntax that servers before 16 or 17 read as calls of these names."""


class References(Struct, frozen=True):
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
        operators.update(operator_names(node))
        functions.update((name,) for name in attribute_names(node))
        if kind_of(node) == "RangeVar":
            relations.add(relation_name(node))
        elif kind_of(node) == "FuncCall":
            functions.add(names(node.funcname))
        functions.update((name,) for name in JSON_CALLS.get(kind_of(node), ()))
    return References(frozenset(relations), frozenset(functions), frozenset(operators))


def made_relations(tree: Message) -> tuple[Name, ...]:
    """The relations that did not exist before this statement, by the names that it gives them."""
    match kind_of(tree):
        case "CreateStmt":
            return (relation_name(tree.relation),)
        case "CreateForeignTableStmt":
            return (relation_name(tree.base_stmt.relation),)
        case "CreateTableAsStmt":
            return (relation_name(tree.into.rel),)
        case "SelectStmt" if tree.HasField("into_clause"):
            return (relation_name(tree.into_clause.rel),)
        case "ViewStmt":
            return (relation_name(tree.view),)
        case "RenameStmt" if tree.newname and tree.HasField("relation") and not tree.subname:
            return ((*relation_name(tree.relation)[:-1], tree.newname),)
        case "AlterObjectSchemaStmt" if tree.HasField("relation"):
            return ((tree.newschema, tree.relation.relname),)
        case _:
            return ()


def may_define(tree: Message) -> bool:
    """Whether a statement may change what later ones find in the catalogue.

    A function that a SELECT calls may as well; such a one is not looked into.
    """
    return kind_of(tree) not in _LEAVES_DEFINITIONS or bool(made_relations(tree))


def expression_references(expressions: Iterable[str]) -> References:
    """The names in SQL expressions, such as column defaults as pg_get_expr prints them.

    An expression that this parser does not read has none: it is refused where it is judged.
    """
    found = References()
    for text in expressions:
        try:
            found |= references(parse_expression(text))
        except (postgast.PgQueryError, NestedTooDeepError):
            continue
    return found


OPERATOR_KINDS = frozenset({"A_Expr", "CaseExpr", "JoinExpr", "SortBy", "SubLink"})
"""The types of which `operator_names` may find any."""


def operator_names(node: Message) -> Iterator[Name]:
    """The operators that a node applies, those that its syntax implies included."""
    match kind_of(node):
        case "A_Expr":
            kinds = node.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number
            implied = _BETWEEN.get(kinds[node.kind].name)
            yield from ((symbol,) for symbol in implied) if implied else (names(node.name),)
        case "SubLink" if node.oper_name:
            yield names(node.oper_name)
        case "SortBy" if node.use_op:
            yield names(node.use_op)
        case "SubLink" | "JoinExpr":  # x IN (SELECT ...), USING, NATURAL
            yield ("=",)
        case "CaseExpr" if node.HasField("arg"):  # CASE x WHEN y
            yield ("=",)
        case _:
            pass


def attribute_names(node: Message) -> tuple[str, ...]:
    """The names in `a.name` and `(expression).name`.

    Each may be a function of what stands before it (manual, "Using Composite Types in Queries").
    """
    match kind_of(node):
        case "ColumnRef":
            fields = node.fields
            return names(fields[-1:]) if len(fields) > 1 else ()
        case "A_Indirection":
            return names(node.indirection)
        case _:
            return ()


def relation_name(node: Message) -> Name:
    """The name in a RangeVar; a database qualifier is left to the server to judge."""
    return (node.schemaname, node.relname) if node.schemaname else (node.relname,)
