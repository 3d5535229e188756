"""now() and its kin replaced by one value, the time at which the task began.

In one statement every row sees the same transaction time; chunks are transactions of their own.
CURRENT_USER and the like are the same for every connection and stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql import functions
from pgfan.sql.tree import Message, inner, kind_of, parse_expression

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
    stack = [tree]
    while stack:
        message = stack.pop()
        if kind_of(message) == "ResTarget":
            _keep_name(message, facts)
        for descriptor, value in list(message.ListFields()):
            if descriptor.type != descriptor.TYPE_MESSAGE:
                continue
            for child in (value,) if hasattr(value, "DESCRIPTOR") else value:
                if child.DESCRIPTOR.name == "Node":
                    replacement = _frozen(inner(child), frozen_at, facts)
                    if replacement is not None:
                        child.CopyFrom(replacement)
                        continue
                stack.append(inner(child))


def _frozen(node: Message, frozen_at: str, facts: CatalogFacts) -> Message | None:
    literal = f"'{frozen_at}'::pg_catalog.timestamptz"
    if kind_of(node) == "FuncCall" and functions.is_transaction_time(node, facts):
        return parse_expression(literal)
    if kind_of(node) == "SQLValueFunction" and _OP_NAMES[node.op] in _CASTS:
        type_name, _ = _CASTS[_OP_NAMES[node.op]]
        precision = f"({node.typmod})" if node.typmod >= 0 else ""
        return parse_expression(f"({literal})::pg_catalog.{type_name}{precision}")
    return None


def _keep_name(target: Message, facts: CatalogFacts) -> None:
    """Give an unnamed output column the name that it had before its function went away."""
    if target.name:
        return
    node = inner(target.val)
    while kind_of(node) in {"TypeCast", "CollateClause"}:
        node = inner(node.arg)
    if kind_of(node) == "FuncCall" and functions.is_transaction_time(node, facts):
        target.name = functions.base_name(node)
    elif kind_of(node) == "SQLValueFunction" and _OP_NAMES[node.op] in _CASTS:
        target.name = _CASTS[_OP_NAMES[node.op]][1]
