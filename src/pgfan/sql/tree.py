"""Walking PostgreSQL's parse tree: messages of libpg_query's protobuf, node by node.

Nothing here knows what a statement means. The tree's messages wrap every child in a `Node` with a
oneof; the walk hands out the inner message and where it hangs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import postgast
from postgast import pg_query_pb2 as pb

from pgfan.sql.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

Message: TypeAlias = Any
"""A protobuf message of pg_query; its classes are made at import time, so they have no types."""


def inner(node: Message) -> Message:
    """The message inside a Node; the message itself when it is not one."""
    if node.DESCRIPTOR.name == "Node":
        which = node.WhichOneof("node")
        return getattr(node, which) if which else node
    return node


def kind_of(message: Message) -> str:
    """The node type's name, as in PostgreSQL's nodes/parsenodes.h."""
    return str(message.DESCRIPTOR.name)


def fields(message: Message) -> Iterator[tuple[str, Message]]:
    """The messages directly below as they are wrapped, each with the name of its field."""
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_MESSAGE:
            for child in (value,) if hasattr(value, "DESCRIPTOR") else value:
                yield descriptor.name, child


def children(message: Message) -> Iterator[Message]:
    """The messages directly below, in the order of the tree, without their Node wrappers."""
    return (inner(child) for _, child in fields(message))


def walk(message: Message) -> Iterator[Message]:
    """The message and everything below it, parents first. Iterative: nesting may be deep."""
    stack = [inner(message)]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(list(children(current))))


def slots(message: Message) -> Iterator[Message]:
    """Every Node below, parents first: put another message into it, and the walk goes on there."""
    stack = [message]
    while stack:
        current = stack.pop()
        if kind_of(current) == "Node":
            yield current
        stack.extend(child for _, child in fields(current))


def names(parts: Message) -> tuple[str, ...]:
    """The strings of a list of String nodes (a qualified name)."""
    return tuple(part.string.sval for part in parts if part.WhichOneof("node") == "string")


def wrap(field: str, message: Message) -> Message:
    """A Node that holds a copy of `message` in `field`."""
    node = pb.Node()
    getattr(node, field).CopyFrom(message)
    return node


def copy_of(message: Message) -> Message:
    """An independent copy."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def parse_expression(text: str) -> Message:
    """The Node of one expression, by PostgreSQL's own grammar."""
    tree = parse(f"SELECT {text}")
    return tree.stmts[0].stmt.select_stmt.target_list[0].res_target.val


def deparse_statement(statement: Message) -> str:
    """SQL of one statement Node."""
    result = pb.ParseResult()
    raw = result.stmts.add()
    raw.stmt.CopyFrom(statement)
    return str(postgast.deparse(result))


def deparse_expression(node: Message) -> str:
    """SQL of one expression Node."""
    select = pb.SelectStmt(limit_option="LIMIT_OPTION_DEFAULT", op="SETOP_NONE")
    select.target_list.append(wrap("res_target", pb.ResTarget(val=node)))
    return deparse_statement(wrap("select_stmt", select)).removeprefix("SELECT ")
