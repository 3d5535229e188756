"""What a task does to objects, as a rebuild has to know it: what it would take to take it back.

`Accesses` (`pgfan.sql.effects`) say what may change places within one run. Here the question is
another: whether what a task did in an earlier run still stands, once others have changed. Nine
kinds of touching become six, and what a session alone has (temporary tables, `currval`) becomes
objects too, which are gone with it. Values only; the decisions are `pgfan.plan.rebuild`'s.
"""

from __future__ import annotations

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
        found.append(print_)
    return tuple(found)


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
