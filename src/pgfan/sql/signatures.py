"""The types of a function's arguments as PostgreSQL prints them: what tells overloads apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql.names import resolve
from pgfan.sql.tree import Message, inner, kind_of, names

if TYPE_CHECKING:
    from pgfan.sql.collector import Collector

_PRINTED = {
    "bool": "boolean",
    "bpchar": "character",
    "float4": "real",
    "float8": "double precision",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "time": "time without time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "timetz": "time with time zone",
    "varbit": "bit varying",
    "varchar": "character varying",
}
"""format_type of those whose name in the catalogue is another."""
_INPUTS = frozenset(
    {
        *(pb.FUNC_PARAM_IN, pb.FUNC_PARAM_INOUT, pb.FUNC_PARAM_VARIADIC, pb.FUNC_PARAM_DEFAULT),
        pb.FUNCTION_PARAMETER_MODE_UNDEFINED,
    }
)


def signature(collector: Collector, node: Message) -> str:
    """Of a CreateFunctionStmt or an ObjectWithArgs: "integer, s.kind[]"."""
    if kind_of(node) == "CreateFunctionStmt":
        parameters = [inner(parameter) for parameter in node.parameters]
        types = [one.arg_type for one in parameters if one.mode in _INPUTS]
    else:
        types = [inner(argument) for argument in node.objargs]
    return ", ".join(_printed(collector, one) for one in types)


def _printed(collector: Collector, node: Message) -> str:
    if kind_of(node) != "TypeName":
        return "none"
    name = names(node.names)
    array = "[]" if node.array_bounds else ""
    if name[0] == "pg_catalog":
        return _PRINTED.get(name[-1], name[-1]) + array
    found = resolve(collector.definitions, collector.path, "type", name).names
    if found and (len(name) > 1 or len(found) == 1):
        return f"{found[0]}{array}"
    return _PRINTED.get(name[-1], name[-1]) + array
