"""Walking PostgreSQL's parse tree: messages of libpg_query's protobuf, node by node.

Nothing here knows what a statement means. The tree's messages wrap every child in a `Node` with a
oneof; the walk hands out the inner message and where it hangs.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import postgast
from postgast import pg_query_pb2 as pb

from pgfan.sql.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Message: TypeAlias = Any
"""A protobuf message of pg_query; its classes are made at import time, so they have no types."""


def inner(node: Message) -> Message:
    """The message inside a Node; the message itself when it is not one."""
    if node.__class__ is pb.Node:
        which = node.WhichOneof("node")
        return getattr(node, which) if which else node
    return node


def kind_of(message: Message) -> str:
    """The node type's name, as in PostgreSQL's nodes/parsenodes.h."""
    name: str = message.__class__.__name__
    return name


def fields(message: Message) -> Iterator[tuple[str, Message]]:
    """The messages directly below as they are wrapped, each with the name of its field."""
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_MESSAGE:
            for child in (value,) if hasattr(value, "DESCRIPTOR") else value:
                yield descriptor.name, child


def children(message: Message) -> list[Message]:
    """The messages directly below, in the order of the tree, without their Node wrappers."""
    found: list[Message] = []
    if message.__class__ is pb.Node:
        child = inner(message)
        return [] if child is message else [child]
    for name, is_single, is_wrapped in message_fields(message.__class__):
        if is_single and not message.HasField(name):
            continue
        held = (getattr(message, name),) if is_single else getattr(message, name)
        if not is_wrapped:
            found += held
            continue
        for child in held:  # as `inner`, which is a call for each
            which = child.WhichOneof("node")
            found.append(getattr(child, which) if which else child)
    return found


@cache
def message_fields(kind: type[Any]) -> tuple[tuple[str, bool, bool], ...]:
    """The fields of a class of messages that hold messages.

    Whether each holds one only, and whether in a Node.
    """
    found = [field for field in kind.DESCRIPTOR.fields if field.message_type is not None]
    found.sort(key=lambda field: int(field.number))
    return tuple(
        (field.name, field.has_presence, field.message_type.name == "Node") for field in found
    )


class Nodes:
    """The nodes of a tree that no longer changes, in order and by their types.

    `kinds` are the types of all of them, where they are known.
    """

    def __init__(self, nodes: Iterable[Message], kinds: Iterable[str] | None = None) -> None:
        self._nodes = tuple(nodes)
        self._kinds = kinds

    def __iter__(self) -> Iterator[Message]:
        return iter(self._nodes)

    @cached_property
    def by_kind(self) -> dict[str, list[Message]]:
        """The nodes of each type that there is."""
        found: defaultdict[str, list[Message]] = defaultdict(list)
        kinds = map(kind_of, self._nodes) if self._kinds is None else self._kinds
        for kind, node in zip(kinds, self._nodes, strict=True):
            found[kind].append(node)
        return dict(found)

    def of(self, kind: str) -> Sequence[Message]:
        """The nodes of one type."""
        return self.by_kind.get(kind, ())


def walk(message: Message) -> Iterator[Message]:
    """The message and everything below it, parents first. Iterative: nesting may be deep."""
    stack = [inner(message)]
    while stack:
        current = stack.pop()
        yield current
        below = children(current)
        below.reverse()
        stack += below


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
    return tuple([part.string.sval for part in parts if part.WhichOneof("node") == "string"])


def wrap(field: str, message: Message) -> Message:
    """A Node that holds a copy of `message` in `field`."""
    node = pb.Node()
    getattr(node, field).CopyFrom(message)
    return node


def add_copies(holder: Message, messages: Iterable[Message]) -> None:
    """Copies of `messages` at the end of a repeated field.

    protobuf's own `append` and `extend`, and what is given to a constructor, are written and read
    again: that ends at 100 levels, while CopyFrom has no such limit.
    """
    for message in messages:
        holder.add().CopyFrom(message)


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
    select.target_list.add().res_target.val.CopyFrom(node)
    return deparse_statement(wrap("select_stmt", select)).removeprefix("SELECT ")
