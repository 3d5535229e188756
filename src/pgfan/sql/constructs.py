"""The node types that may stand in a statement that is split: everything else makes it serial.

A list of what is allowed, not of what is forbidden: syntax that a later PostgreSQL adds, or that
nobody thought of, is refused until somebody has thought of it. Refused here with reasons of their
own are the types whose meaning depends on other rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, Nodes, inner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Evaluated from its own parts alone: names, constants, operators, constructors.
_EXPRESSIONS = """
    A_ArrayExpr A_Const A_Expr A_Indices A_Indirection A_Star BitString BoolExpr Boolean
    BooleanTest CaseExpr CaseWhen CoalesceExpr CollateClause ColumnRef Float FuncCall GroupingFunc
    Integer List MinMaxExpr NamedArgExpr NullTest RowExpr SQLValueFunction String SubLink TypeCast
    TypeName XmlExpr XmlSerialize
"""
_JSON = """
    JsonArgument JsonArrayConstructor JsonBehavior JsonFormat JsonFuncExpr JsonIsPredicate
    JsonKeyValue JsonObjectConstructor JsonOutput JsonParseExpr JsonReturning JsonScalarExpr
    JsonSerializeExpr JsonTable JsonTableColumn JsonTablePathSpec JsonValueExpr
"""
# Queries, and what stands in their clauses.
_QUERIES = """
    Alias ColumnDef GroupingSet JoinExpr RangeFunction RangeSubselect RangeTableFunc
    RangeTableFuncCol RangeVar ResTarget SelectStmt SortBy WindowDef
"""
_EXISTS_SUBLINK = 1  # SubLinkType in nodes/primnodes.h, as libpg_query numbers it
ALLOWED = frozenset(f"{_EXPRESSIONS} {_JSON} {_QUERIES}".split())
"""`Node` without content (DISTINCT without ON, the columns of `()`) is allowed besides."""

# Refused elsewhere, with a reason that says more.
EXPLAINED = frozenset(
    {
        "CommonTableExpr",
        "InferClause",
        "IndexElem",
        "IntoClause",
        "LockingClause",
        "OnConflictClause",
        "ParamRef",
        "RangeTableSample",
        "ReturningClause",
        "ReturningOption",
        "WithClause",
    }
)


EXTENT_KINDS = frozenset({"RangeTableSample", "SelectStmt", "SubLink"})
"""The types of nodes that `extent_objections` looks at."""


def construct_objections(nodes: Nodes) -> Iterator[Reason]:
    """Why nodes of some types may not stand in a split statement."""
    for kind, found in nodes.by_kind.items():
        if kind not in ALLOWED and kind not in EXPLAINED:
            yield from _objections_to_kind(kind, found)


def _objections_to_kind(kind: str, nodes: Sequence[Message]) -> Iterator[Reason]:
    match kind:
        case "JsonArrayAgg" | "JsonObjectAgg":
            name = "JSON_ARRAYAGG" if kind == "JsonArrayAgg" else "JSON_OBJECTAGG"
            yield Reason("aggregate", f"{name} looks at all rows, in their order")
        case "JsonAggConstructor":
            pass  # inside of the two above
        case "JsonArrayQueryConstructor":
            yield Reason("row-order", "JSON_ARRAY(SELECT ...) depends on the order of rows")
        case "Node":
            if any(node.WhichOneof("node") for node in nodes):
                yield _unknown(kind)
        case _:
            yield _unknown(kind)


def extent_objections(nodes: Nodes) -> Iterator[Reason]:
    """Why some node gives some of its rows, and other ones each time."""
    if nodes.of("RangeTableSample"):
        yield Reason("tablesample", "TABLESAMPLE looks at the whole table")
    # Of these it counts only whether they give any row.
    exists = [
        inner(node.subselect)
        for node in nodes.of("SubLink")
        if node.sub_link_type == _EXISTS_SUBLINK
    ]
    for node in nodes.of("SelectStmt"):
        limited = node.HasField("limit_count") or node.HasField("limit_offset")
        if limited and not any(node is one for one in exists):
            yield Reason("limit", "LIMIT and OFFSET look at all rows")
            return


def _unknown(kind: str) -> Reason:
    return Reason("unknown-construct", f"{kind} is not known to be the same in every chunk")
