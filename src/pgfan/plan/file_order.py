"""Set mode: a folder of SQL is a set, and this finds the order in which its files are read.

Whoever makes an object comes before all who touch it, whoever writes its rows before those who read
them, whatever the files are called; what that leaves open goes by name. The files are then one
sequence like any other (`pgfan.plan.graph`), so an order that is merely unlucky costs time, never
the result.

Files that only read an object come after those that read and write it, and those after files that
only write it; who uses a definition (a view's tables) waits for who makes it, not for rows.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pgfan.sql.effects import Accesses, Effect, EffectKind, ObjectName

_LEVELS: tuple[tuple[str, frozenset[EffectKind]], ...] = (
    ("makes", frozenset({"define"})),
    ("writes", frozenset({"append", "modify", "alter"})),
    ("reads and writes", frozenset()),
    ("indexes", frozenset({"index", "analyse"})),
    ("reads", frozenset({"read"})),
    ("drops", frozenset({"drop"})),
)
"""What a file does to an object, by the first of these that fits, in the order in which they come.
Within one of them files go by name."""
_WRITES, _READS_AND_WRITES, _DROPS = 1, 2, 5
_CHANGES: frozenset[EffectKind] = frozenset({"define", "alter"})
_USES: frozenset[EffectKind] = frozenset({"use"})

_Object: TypeAlias = "tuple[str, str | None, str]"


class File(Struct, frozen=True):
    """A file of the set.

    `accesses` are those of its tasks when the definitions of all files are known.
    """

    name: str
    accesses: Sequence[Accesses]
    places: Sequence[str] = ()
    """Where each of the tasks stands, such as `a.sql:3`; empty: the name says it."""

    def place(self, name: _Object | None, first: frozenset[EffectKind]) -> str:
        """Where it touches an object; if it does so more than once, where in one of the ways."""
        found = self.name
        for place, accesses in zip(self.places, self.accesses, strict=False):
            kinds = {e.kind for e in accesses.effects if name is not None and _means(e, name)}
            if kinds & first:
                return place
            if kinds and found == self.name:
                found = place
        return found


class CycleError(Exception):
    """Files that wait for each other. `path` has file, why, file, ..., and ends where it began.

    `waits` says the same backwards, one sentence for each file, with places.
    """

    def __init__(self, path: Sequence[str], waits: Sequence[str] = ()) -> None:
        super().__init__(" -> ".join(path))
        self.path = tuple(path)
        self.waits = tuple(waits)


class _Node(Struct):
    """A file, or a level of an object: everyone above waits for everyone below through it."""

    why: str = ""
    object: _Object | None = None
    kinds: frozenset[EffectKind] = frozenset()
    """What those above do to it."""
    waiting: int = 0
    followers: list[int] = field(default_factory=list)


def order_files(files: Sequence[File]) -> tuple[int, ...]:
    """The order in which to read `files`, as indexes. Those with a barrier come as late as may be.

    Raises CycleError.
    """
    nodes = [_Node() for _ in files]
    for roles in _roles(files):
        _link(nodes, roles)
    late = [any(a.barrier is not None for a in file.accesses) for file in files]

    def rank(number: int) -> tuple[bool, str, int]:
        if number >= len(files):  # a level of an object costs nothing: at once
            return (False, "", number)
        return (late[number], files[number].name, number)

    ready = [rank(number) for number, node in enumerate(nodes) if not node.waiting]
    heapify(ready)
    order: list[int] = []
    done = 0
    while ready:
        number = heappop(ready)[-1]
        done += 1
        if number < len(files):
            order.append(number)
        for follower in nodes[number].followers:
            nodes[follower].waiting -= 1
            if not nodes[follower].waiting:
                heappush(ready, rank(follower))
    if done < len(nodes):
        raise _cycle_error(files, nodes)
    return tuple(order)


class _Roles(Struct):
    """The files that touch one object."""

    object: _Object
    levels: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    changers: list[int] = field(default_factory=list)
    """Make or alter it: those who use its definition wait for them."""
    users: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        _, schema, name = self.object
        return f"{schema}.{name}" if schema else name


def _roles(files: Sequence[File]) -> Iterator[_Roles]:
    anywhere: set[tuple[str, str]] = {
        (effect.object.kind, effect.object.name)
        for file in files
        for accesses in file.accesses
        for effect in accesses.effects
        if effect.object.schema is None
    }
    kinds: dict[_Object, dict[int, set[EffectKind]]] = defaultdict(lambda: defaultdict(set))
    for number, file in enumerate(files):
        for accesses in file.accesses:
            for effect in accesses.effects:
                kinds[_identity(effect.object, anywhere)][number].add(effect.kind)
    for identity, found in kinds.items():
        if len(found) == 1:
            continue
        roles = _Roles(identity)
        for number, effects in found.items():
            level = _level(effects)
            if level is None:
                roles.users.append(number)
            else:
                roles.levels[level].append(number)
                if effects & _CHANGES:
                    roles.changers.append(number)
        yield roles


def _identity(name: ObjectName, anywhere: set[tuple[str, str]]) -> _Object:
    schema = None if (name.kind, name.name) in anywhere else name.schema
    return (name.kind, schema, name.name)


def _means(effect: Effect, name: _Object) -> bool:
    """Whether it is on the object, which may be in any schema."""
    kind, schema, last = name
    found = effect.object
    return (found.kind, found.name) == (kind, last) and schema in {None, found.schema}


def _level(kinds: set[EffectKind]) -> int | None:
    """None: it only uses the definition."""
    for level, (_, first) in enumerate(_LEVELS):
        if kinds & first:
            return _READS_AND_WRITES if level == _WRITES and "read" in kinds else level
    return None


def _link(nodes: list[_Node], roles: _Roles) -> None:
    """Each level waits for the one before it, who uses the definition for those who change it."""
    gate: int | None = None
    for level in sorted(roles.levels):
        members = roles.levels[level]
        if gate is not None:
            for number in members:
                _edge(nodes, gate, number)
        if level == _DROPS:
            why = _Node(f"uses {roles.name}", roles.object, _USES)
            _all_wait(nodes, roles.users, members, why)
        before = [*members] if gate is None else [gate, *members]
        gate = len(nodes)
        does, kinds = _LEVELS[level]
        nodes.append(_Node(f"{does} {roles.name}", roles.object, kinds or _LEVELS[_WRITES][1]))
        for number in before:
            _edge(nodes, number, gate)
    why = _Node(f"makes or alters {roles.name}", roles.object, _CHANGES)
    _all_wait(nodes, roles.changers, roles.users, why)


def _all_wait(nodes: list[_Node], before: list[int], after: list[int], why: _Node) -> None:
    if before and after:
        gate = len(nodes)
        nodes.append(why)
        for number in before:
            _edge(nodes, number, gate)
        for number in after:
            _edge(nodes, gate, number)


def _edge(nodes: list[_Node], before: int, after: int) -> None:
    nodes[before].followers.append(after)
    nodes[after].waiting += 1


def _cycle_error(files: Sequence[File], nodes: Sequence[_Node]) -> CycleError:
    around = _cycle(files, nodes)
    path = [files[at].name if at < len(files) else nodes[at].why for at in around]
    waits = []
    first = 0
    for at in range(1, len(around)):
        if around[at] < len(files):
            before, why, after = files[around[first]], nodes[around[first + 1]], files[around[at]]
            waits.append(
                f"{after.place(why.object, frozenset())} waits for "
                f"{before.place(why.object, why.kinds)}, which {why.why}"
            )
            first = at
    return CycleError(path, waits[::-1])


def _cycle(files: Sequence[File], nodes: Sequence[_Node]) -> list[int]:
    """A shortest way around among what still waits."""
    stuck = {number for number, node in enumerate(nodes) if node.waiting}
    best: list[int] = []
    for start in sorted(number for number in stuck if number < len(files))[:100]:
        came: dict[int, int] = {}
        todo = [start]
        while todo and start not in came:
            following: list[int] = []
            for number in todo:
                for follower in nodes[number].followers:
                    if follower in stuck and follower not in came:
                        came[follower] = number
                        following.append(follower)
            todo = following
        if start in came:
            path = [start]
            while not (len(path) > 1 and path[-1] == start):
                path.append(came[path[-1]])
            if not best or len(path) < len(best):
                best = path[::-1]
    return best
