"""The node types that may stand in a statement that is split: everything else makes it serial.

A list of what is allowed, not of what is forbidden: syntax that a later PostgreSQL adds, or that
nobody thought of, is refused until somebody has thought of it. Refused here with reasons of their
own are the types whose meaning depends on other rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, inner, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


def construct_objection(node: Message) -> Iterator[Reason]:
    """Why a node of this type may not stand in a split statement."""
    kind = kind_of(node)
    match kind:
        case "JsonArrayAgg" | "JsonObjectAgg":
            name = "JSON_ARRAYAGG" if kind == "JsonArrayAgg" else "JSON_OBJECTAGG"
            yield Reason("aggregate", f"{name} looks at all rows, in their order")
        case "JsonAggConstructor":
            pass  # inside of the two above
        case "JsonArrayQueryConstructor":
            yield Reason("row-order", "JSON_ARRAY(SELECT ...) depends on the order of rows")
        case "Node":
            if node.WhichOneof("node"):
                yield _unknown(kind)
        case _ if kind not in ALLOWED and kind not in EXPLAINED:
            yield _unknown(kind)
        case _:
            pass


def exists_queries(nodes: Iterable[Message]) -> list[Message]:
    """The queries of which it counts only whether they give any row."""
    return [
        inner(node.subselect)
        for node in nodes
        if kind_of(node) == "SubLink" and node.sub_link_type == _EXISTS_SUBLINK
    ]


def extent_objections(node: Message, exists: list[Message]) -> Iterator[Reason]:
    """Why a node gives some of its rows, and other ones each time."""
    if kind_of(node) == "RangeTableSample":
        yield Reason("tablesample", "TABLESAMPLE looks at the whole table")
    if kind_of(node) != "SelectStmt" or any(node is one for one in exists):
        return
    if node.HasField("limit_count") or node.HasField("limit_offset"):
        yield Reason("limit", "LIMIT and OFFSET look at all rows")


def _unknown(kind: str) -> Reason:
    return Reason("unknown-construct", f"{kind} is not known to be the same in every chunk")
