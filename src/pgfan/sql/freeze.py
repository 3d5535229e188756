"""now() and its kin replaced by one value, the time at which the task began.

In one statement every row sees the same transaction time; chunks are transactions of their own.
CURRENT_USER and the like are the same for every connection and stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql import functions
from pgfan.sql.tree import Message, inner, kind_of, parse_expression, slots

if TYPE_CHECKING:
    from pgfan.sql.facts import CatalogFacts

_CASTS = {
    "SVFOP_CURRENT_DATE": ("date", "current_date"),
    "SVFOP_CURRENT_TIME": ("timetz", "current_time"),
    "SVFOP_CURRENT_TIME_N": ("timetz", "current_time"),
    "SVFOP_CURRENT_TIMESTAMP": ("timestamptz", "current_timestamp"),
    "SVFOP_CURRENT_TIMESTAMP_N": ("timestamptz", "current_timestamp"),
    "SVFOP_LOCALTIME": ("time", "localtime"),
    "SVFOP_LOCALTIME_N": ("time", "localtime"),
    "SVFOP_LOCALTIMESTAMP": ("timestamp", "localtimestamp"),
    "SVFOP_LOCALTIMESTAMP_N": ("timestamp", "localtimestamp"),
}
_OP_NAMES = {value.number: value.name for value in pb.SQLValueFunctionOp.DESCRIPTOR.values}


def freeze_time(tree: Message, frozen_at: str, facts: CatalogFacts) -> None:
    """Replace every transaction-time function in `tree`, in place.

    `frozen_at` is a timestamptz as text with its offset ("2024-02-29 12:00:00.5+00").
    """
    for node in slots(tree):
        if kind_of(inner(node)) == "ResTarget":
            _keep_name(inner(node), facts)
        replacement = _frozen(inner(node), frozen_at, facts)
        if replacement is not None:
            node.CopyFrom(replacement)


def looks_at_time(node: Message, facts: CatalogFacts) -> bool:
    """Whether the node is a function that gives the transaction's time."""
    if kind_of(node) == "SQLValueFunction":
        return _OP_NAMES[node.op] in _CASTS
    return kind_of(node) == "FuncCall" and functions.is_transaction_time(node, facts)


def _frozen(node: Message, frozen_at: str, facts: CatalogFacts) -> Message | None:
    literal = f"'{frozen_at}'::pg_catalog.timestamptz"
    if not looks_at_time(node, facts):
        return None
    if kind_of(node) == "FuncCall":
        return parse_expression(literal)
    type_name, _ = _CASTS[_OP_NAMES[node.op]]
    precision = f"({node.typmod})" if node.typmod >= 0 else ""
    return parse_expression(f"({literal})::pg_catalog.{type_name}{precision}")


def _keep_name(target: Message, facts: CatalogFacts) -> None:
    """Give an unnamed output column the name that it had before its function went away."""
    if target.name:
        return
    node = inner(target.val)
    while kind_of(node) in {"TypeCast", "CollateClause", "CaseExpr"}:
        # CASE ... ELSE now() END is called now, too.
        node = inner(node.defresult if kind_of(node) == "CaseExpr" else node.arg)
    if looks_at_time(node, facts):
        is_call = kind_of(node) == "FuncCall"
        target.name = functions.base_name(node) if is_call else _CASTS[_OP_NAMES[node.op]][1]
