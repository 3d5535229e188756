"""What a task does to objects, as a rebuild has to know it: what it would take to take it back.

`Accesses` (`pgfan.sql.effects`) say what may change places within one run. Here the question is
another: whether what a task did in an earlier run still stands, once others have changed. Nine
kinds of touching become six, and what a session alone has (temporary tables, `currval`) becomes
objects too, which are gone with it. Values only; the decisions are `pgfan.plan.rebuild`'s.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pgfan.sql.effects import ANY_FILE, OTHERS_RIGHTS, ObjectName
from pgfan.sql.tree import kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.sql.effects import Accesses, EffectKind
    from pgfan.sql.script import ScriptItem

NONE: frozenset[ObjectName] = frozenset()
TEMPORARY = "pg_temp"
SESSION = "session"
"""The schema of what is no object of the database, but something that only a session has."""


class Footprint(Struct, frozen=True, omit_defaults=True):
    """The objects that a task touches, by how.

    `uses`: their definitions. `reads`: their rows, or their results. `adds`: rows whose values do
    not depend on the order. `modifies`: rows in any other way. `alters`: the definition, or what
    is said of it. `indexes`: builds an index, which `makes` names. `makes`: it brought them into
    being; they are in `alters` as well.
    """

    uses: frozenset[ObjectName] = NONE
    reads: frozenset[ObjectName] = NONE
    adds: frozenset[ObjectName] = NONE
    modifies: frozenset[ObjectName] = NONE
    alters: frozenset[ObjectName] = NONE
    indexes: frozenset[ObjectName] = NONE
    makes: frozenset[ObjectName] = NONE
    clears: frozenset[ObjectName] = NONE
    """What it drops if it exists, before any task of the script has touched it. That is in none of
    the others: whatever there was, nobody in the project had made it."""
    barrier: bool = False
    """All before it counts for it, and it counts for all after it."""
    opaque: str | None = None
    """Why nobody can see what it did, so that it cannot be taken back."""
    upkeep: bool = False
    """VACUUM and ANALYZE of everything: it leaves nothing that would have to be taken back."""

    @property
    def written(self) -> frozenset[ObjectName]:
        """What is not as it was without the task; a table with one more index is as it was."""
        return self.adds | self.modifies | self.alters | (NONE if self.makes else self.indexes)

    @property
    def leaves(self) -> bool:
        """Whether there may be anything of it to take back."""
        return bool(self.written or self.indexes or self.barrier or self.upkeep)

    @property
    def touched(self) -> frozenset[ObjectName]:
        """All of them."""
        return self.written | self.uses | self.reads | self.indexes


_FIELDS: dict[EffectKind, str] = {
    "use": "uses",
    "lock": "uses",
    "analyse": "uses",
    "read": "reads",
    "append": "adds",
    "modify": "modifies",
    "index": "indexes",
    "describe": "alters",
    "define": "alters",
    "alter": "alters",
    "drop": "alters",
}

_NO_OBJECTS = frozenset({ANY_FILE, OTHERS_RIGHTS})
"""Stand for others where the order counts; nobody makes or drops them."""
_ONLY_READS = frozenset({"catalogue-read"})
"""Codes of barriers whose effects on objects are all known."""


def footprints_of(
    items: Sequence[ScriptItem], accesses: Sequence[Accesses]
) -> tuple[Footprint, ...]:
    """The footprints of a whole script, whose accesses were read before anything has run.

    After a task that may have changed any definition (`Accesses.is_opaque`), what others touch is
    not known either: a trigger that a DO has made writes where no text says so. They are taken to
    touch everything, and cannot be taken back.
    """
    found: list[Footprint] = []
    of_forms: dict[int, Footprint] = {}
    preambles = _Preambles()
    hidden: str | None = None
    for item, touched in zip(items, accesses, strict=True):
        known = of_forms.get(id(touched)) if item.form is not None else None
        print_ = known or footprint_of(item, touched)
        if item.form is not None:  # a thousand of a form have the same accesses
            of_forms[id(touched)] = print_
        if hidden is not None and not print_.upkeep:
            print_ = replace(print_, barrier=True, opaque=print_.opaque or hidden)
        elif print_.opaque is not None and touched.is_opaque:
            hidden = f"{item.source} before it may have changed any definition"
        if print_ is not known:
            print_ = preambles.look(len(found), item, touched, print_)
        found.append(print_)
    for number, names in preambles.cut_off.items():
        found[number] = replace(found[number], alters=found[number].alters - names)
    return tuple(found)


class _Preambles:
    """Finds what `Footprint.clears` has to name, while a script is read.

    The CASCADE of a DROP may also alter what is dropped next, before anybody else has touched it:
    keys between tables that somebody else has made. Nothing is left of that.
    """

    def __init__(self) -> None:
        self._touched: set[ObjectName] = set()
        self._vague: set[tuple[str, str]] = set()
        """Kinds and names of what may be in any schema."""
        self._altered: dict[ObjectName, list[int]] = {}
        """By DROPs alone so far."""
        self._is_blind = False
        """Whether something may have been touched that nobody saw."""
        self.cut_off: dict[int, set[ObjectName]] = {}
        """By task, what its CASCADE alters and another DROP takes."""

    def look(
        self, number: int, item: ScriptItem, accesses: Accesses, print_: Footprint
    ) -> Footprint:
        """The footprint of the next task, with what it clears."""
        drops = _dropped_if_there(item, accesses) if not print_.barrier else NONE
        clears = frozenset(name for name in drops if self._is_new(name))
        for name in clears:
            for other in self._altered.pop(name, ()):
                self.cut_off.setdefault(other, set()).add(name)
        for name in (print_.written if drops else print_.touched) - clears:
            if drops and self._is_new(name):
                self._altered.setdefault(name, []).append(number)
                continue
            self._altered.pop(name, None)
            self._touched.add(name)
            if name.schema is None:
                self._vague.add((name.kind, name.name))
        self._is_blind |= print_.opaque is not None
        if not clears:
            return print_
        return replace(
            print_, uses=print_.uses - clears, alters=print_.alters - clears, clears=clears
        )

    def _is_new(self, name: ObjectName) -> bool:
        return not (
            self._is_blind or name in self._touched or (name.kind, name.name) in self._vague
        )


def _dropped_if_there(item: ScriptItem, accesses: Accesses) -> frozenset[ObjectName]:
    """What certainly does not exist after a task that only drops things, with IF EXISTS."""
    trees = [one.skeleton for one in item.statements if kind_of(one.skeleton) != "TransactionStmt"]
    if item.rolls_back or not all(
        kind_of(tree) == "DropStmt" and tree.missing_ok for tree in trees
    ):
        return NONE
    dropped = {effect.object for effect in accesses.effects if effect.kind == "drop"}
    of_name = Counter((name.kind, name.name) for name in dropped)  # two: one of them is meant
    return frozenset(
        name
        for name in dropped
        if of_name[name.kind, name.name] == 1
        and name.schema != TEMPORARY
        and (name.schema is not None or name.kind == "schema")
    )


def footprint_of(item: ScriptItem, accesses: Accesses) -> Footprint:
    """The footprint of a statement or block that touches what `accesses` say."""
    kinds = {kind_of(statement.skeleton) for statement in item.statements}
    if accesses.barrier is not None and kinds == {"VacuumStmt"}:
        return Footprint(upkeep=True)
    found: dict[str, set[ObjectName]] = {name: set() for name in (*_FIELDS.values(), "makes")}
    for effect in accesses.effects:
        if effect.object in _NO_OBJECTS:
            continue
        found[_FIELDS[effect.kind]].add(effect.object)
        if effect.kind == "define":
            found["makes"].add(effect.object)
    for use in accesses.session:  # temporary tables are objects with names of their own
        if use != "temporary":
            found["modifies"].add(ObjectName("relation", SESSION, use))
    barrier = accesses.barrier
    opaque = barrier.code if barrier is not None and barrier.code not in _ONLY_READS else None
    if kinds == {"CreateExtensionStmt"}:
        extension = ObjectName("extension", None, item.first.tree.extname)
        found["alters"].add(extension)
        found["makes"].add(extension)
        opaque = None
    sets = {name: frozenset(names) for name, names in found.items()}
    return replace(Footprint(**sets), barrier=barrier is not None, opaque=opaque)  # type: ignore[arg-type]
