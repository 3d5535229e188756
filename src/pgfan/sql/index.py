"""All nodes of a tree that no longer changes, walked once, looked up by type and by place.

Every rule of the analysis asks the same tree for its nodes. A walk is what that costs: protobuf
makes a Python object for each message, and throws it away when nobody holds it. Here all of them
are held, numbered parents first and left to right, so that a part of the tree is a range of
numbers, and a message is one object, told from others by `is`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from pgfan.sql.tree import Message, Nodes, inner, kind_of, message_fields

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
    """The nodes of the tree under `root`, which must not change any more."""

    def __init__(self, root: Message) -> None:
        self._places: list[Place] = []
        self._parents: list[int] = []
        self._by_kinds: dict[frozenset[str], list[Place]] = {}
        stack = [(inner(root), -1, -1, "")]
        while stack:
            node, parent, around, field = stack.pop()
            number, kind = len(self._places), kind_of(node)
            self._places.append(Place(number, node, kind, around, field))
            self._parents.append(parent)
            fields = message_fields(node.__class__)
            if not fields:
                continue
            opens = kind == "SelectStmt" or parent < 0
            around = number if kind == "SelectStmt" else around
            found = []
            for name, is_single in fields:
                through = name if opens else field
                if not is_single:
                    for child in getattr(node, name):
                        found.append((inner(child), number, around, through))  # noqa: PERF401
                elif node.HasField(name):
                    found.append((inner(getattr(node, name)), number, around, through))
            found.reverse()
            stack += found

    @cached_property
    def nodes(self) -> Nodes:
        """All of them but the root: of an INSERT those of its SELECT last, else in order."""
        select = self._select
        before, after = self._places[1 : select.start], self._places[select.stop :]
        inside = self._places[select.start : select.stop]
        return Nodes(place.node for place in (*before, *after, *inside))

    def below(self, select: Message) -> Nodes:
        """A SELECT of the tree, and all that is below it."""
        number = self.number(select)
        return Nodes(place.node for place in self._places[number : self.end(number)])

    def of(self, kind: str, select: Message) -> list[Message]:
        """The nodes of one type below a SELECT of the tree."""
        start = self.number(select)
        numbers = range(start, self.end(start))
        return [place.node for place in self._of_kind.get(kind, ()) if place.number in numbers]

    def number(self, select: Message) -> int:
        """The number of a SELECT of the tree."""
        return self._selects[id(select)]

    def end(self, number: int) -> int:
        """One more than the number of the last node below that of this number."""
        return self._ends[number]

    def node(self, number: int) -> Message:
        """The node of a number."""
        return self._places[number].node

    def is_in_select(self, number: int) -> bool:
        """Whether the node is in what the root has as its `select_stmt`."""
        return number in self._select

    def places(self, kinds: frozenset[str]) -> Sequence[Place]:
        """The places of nodes of some types: parents first, and right to left."""
        if kinds not in self._by_kinds:
            found = [place for kind in kinds for place in self._of_kind.get(kind, ())]
            ends, depths = self._ends, self._depths
            found.sort(key=lambda place: depths[place.number] - ends[place.number])
            self._by_kinds[kinds] = found
        return self._by_kinds[kinds]

    @cached_property
    def _of_kind(self) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {}
        for place in self._places:
            found.setdefault(place.kind, []).append(place)
        return found

    @cached_property
    def _selects(self) -> dict[int, int]:
        return {id(place.node): place.number for place in self._of_kind.get("SelectStmt", ())}

    @cached_property
    def _select(self) -> range:
        for number, _, _, around, field in self._of_kind.get("SelectStmt", ()):
            if around < 0 and field == "select_stmt":
                return range(number, self._ends[number])
        return range(len(self._places), len(self._places))

    @cached_property
    def _ends(self) -> list[int]:
        ends = list(range(1, len(self._places) + 1))
        for number in range(len(ends) - 1, 0, -1):
            parent = self._parents[number]
            ends[parent] = max(ends[parent], ends[number])
        return ends

    @cached_property
    def _depths(self) -> list[int]:
        depths = [0]
        for parent in self._parents[1:]:
            depths.append(depths[parent] + 1)  # each builds on one before it
        return depths
