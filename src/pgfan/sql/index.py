"""All nodes of a tree that no longer changes, walked once, looked up by type and by place.

Every rule of the analysis asks the same tree for its nodes. A walk is what that costs: protobuf
makes a Python object for each message, and throws it away when nobody holds it. Here all of them
are held, numbered parents first and left to right, so that a part of the tree is a range of
numbers, and a message is one object, told from others by `is`.

The String nodes that names consist of are left out: there are as many of them as of all others, and
no rule looks at one by itself.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from pgfan.sql.tree import Message, Nodes, inner, message_fields

if TYPE_CHECKING:
    from collections.abc import Sequence


class Place(NamedTuple):
    """Where a node stands: by number; the innermost SELECT around it, -1 for none.

    `field` is the field of that SELECT, or of the root, that leads to the node.
    """

    number: int
    node: Message
    kind: str
    around: int
    field: str


class TreeIndex:
    """The nodes of the tree under `root`, which must not change any more.

    `levels` tells how deep messages are nested, their wrappers included.
    """

    def __init__(self, root: Message) -> None:
        self.levels = 1
        self._nodes: list[Message] = []
        self._kinds: list[str] = []
        self._parents: list[int] = []
        self._around: list[int] = []
        self._fields: list[str] = []
        self._by_kinds: dict[frozenset[str], list[Place]] = {}
        self._walk(inner(root))

    def _walk(self, root: Message) -> None:
        # One step for every node of every statement: hence the tuples, and the loop without calls.
        nodes, kinds, parents = self._nodes, self._kinds, self._parents
        arounds, paths, deepest = self._around, self._fields, 1
        stack = [(root, -1, -1, "", 1)]
        while stack:
            node, parent, around, field, level = stack.pop()
            number, made = len(nodes), node.__class__
            kind = made.__name__
            nodes.append(node)
            kinds.append(kind)
            parents.append(parent)
            arounds.append(around)
            paths.append(field)
            if level > deepest:  # noqa: PLR1730  # a call of max is dearer
                deepest = level
            if kind == "Node":  # it is empty: nothing took its place
                continue
            opens = parent < 0
            if kind == "SelectStmt":
                opens, around = True, number
            found = []
            has, level = node.HasField, level + 1
            for name, is_single, is_wrapped in message_fields(made):
                if is_single and not has(name):
                    continue
                held, through = getattr(node, name), name if opens else field
                for child in (held,) if is_single else held:
                    if not is_wrapped:
                        found.append((child, number, around, through, level))
                        continue
                    which = child.WhichOneof("node")
                    if which is None:
                        found.append((child, number, around, through, level))
                    elif which != "string":
                        below = getattr(child, which)
                        found.append((below, number, around, through, level + 1))
                    elif level >= deepest:
                        deepest = level + 1
            found.reverse()
            stack += found
        self.levels = deepest

    @cached_property
    def nodes(self) -> Nodes:
        """All of them but the root: of an INSERT those of its SELECT last, else in order."""
        start, stop = self._select.start, self._select.stop
        nodes, kinds = (
            (*every[1:start], *every[stop:], *every[start:stop])
            for every in (self._nodes, self._kinds)
        )
        return Nodes(nodes, kinds)

    def below(self, node: Message) -> Nodes:
        """A node of the tree, and all that is below it."""
        number = self.number(node)
        end = self.end(number)
        return Nodes(self._nodes[number:end], self._kinds[number:end])

    def of(self, kind: str, node: Message) -> list[Message]:
        """The nodes of one type below a node of the tree."""
        start, numbers = self.number(node), self._of_kind.get(kind, ())
        end = self.end(start)
        return [self._nodes[number] for number in numbers if start <= number < end]

    def number(self, node: Message) -> int:
        """The number of a node of the tree."""
        return self._numbers[id(node)]

    def end(self, number: int) -> int:
        """One more than the number of the last node below that of this number."""
        return self._ends[number]

    def node(self, number: int) -> Message:
        """The node of a number."""
        return self._nodes[number]

    def is_in_select(self, number: int) -> bool:
        """Whether the node is in what the root has as its `select_stmt`."""
        return number in self._select

    def places(self, kinds: frozenset[str]) -> Sequence[Place]:
        """The places of nodes of some types: parents first, and right to left."""
        if kinds not in self._by_kinds:
            found = [number for kind in kinds for number in self._of_kind.get(kind, ())]
            ends, depths = self._ends, self._depths
            found.sort(key=lambda number: depths[number] - ends[number])
            self._by_kinds[kinds] = [
                Place(at, self._nodes[at], self._kinds[at], self._around[at], self._fields[at])
                for at in found
            ]
        return self._by_kinds[kinds]

    @cached_property
    def _of_kind(self) -> dict[str, list[int]]:
        found: defaultdict[str, list[int]] = defaultdict(list)
        for number, kind in enumerate(self._kinds):
            found[kind].append(number)
        return dict(found)

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {id(node): number for number, node in enumerate(self._nodes)}

    @cached_property
    def _select(self) -> range:
        """The numbers of what the root has as its `select_stmt`."""
        for number in self._of_kind.get("SelectStmt", ()):
            if self._around[number] < 0 and self._fields[number] == "select_stmt":
                return range(number, self._ends[number])
        return range(len(self._nodes), len(self._nodes))

    @cached_property
    def _ends(self) -> list[int]:
        parents, ends = self._parents, list(range(1, len(self._nodes) + 1))
        for number in range(len(ends) - 1, 0, -1):
            parent, end = parents[number], ends[number]
            if end > ends[parent]:  # noqa: PLR1730
                ends[parent] = end
        return ends

    @cached_property
    def _depths(self) -> list[int]:
        depths = [0]
        for parent in self._parents[1:]:
            depths.append(depths[parent] + 1)  # each builds on one before it
        return depths
