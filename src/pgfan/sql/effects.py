"""What running a statement does to the database, as values that can be compared and written down.

An `Effect` is one way of touching one object; `Accesses` are those of a task. Which pairs of
effects may change places is not said here: that is `pgfan.plan.graph`'s table. Values only; who
works them out is `pgfan.sql.accesses`.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfan.sql.facts import Name

EffectKind: TypeAlias = Literal[
    "use", "read", "append", "modify", "index", "analyse", "lock", "describe",
    "define", "alter", "drop",
]  # fmt: skip
"""`use`: needs the definition, not the rows (a view's tables, a trigger's function). `read`: reads
rows; of a function: calls it; of a type: makes a value of it. `append`: adds rows whose values do
not depend on the order. `modify`: any other change of rows, or of a sequence. `index`: builds an
index. `analyse`: statistics. `lock`: keeps writers out. `describe`: COMMENT. `define`, `alter`,
`drop`: the object itself."""

ObjectKind: TypeAlias = Literal[
    "relation",  # all of pg_class: tables, views, sequences, indexes, composite types
    "function",  # procedures and aggregates too; all overloads are one object
    "type",
    "schema",
    "role",
    "extension",
    "operator",
    "collation",
    "text search",
    "statistics",
    "foreign server",
    "publication",
    "tablespace",
    "channel",
    "file",
    "task",  # what a directive names; nothing of the database
    "script",
]

BarrierCode: TypeAlias = Literal[
    "catalogue", "catalogue-read", "definition-in-function", "dynamic-sql", "every-table",
    "foreign-data", "function-unknown", "not-refreshed", "outside", "setting", "statement-unknown",
    "name-hidden",
]  # fmt: skip
"""Explained in docs/order.md."""

SessionUse: TypeAlias = Literal[
    "temporary", "prepared", "cursor", "sequence-value", "advisory-lock", "notification", "seed",
    "setting", "library",
]  # fmt: skip
"""What of its session a statement uses or leaves, that no other connection has."""


class ObjectName(NamedTuple):
    """An object. `schema` None: it may be in any schema, or its kind has none.

    Temporary objects have the schema `pg_temp`; which session's, the task's pin says. A tuple, like
    `Effect`: a script has a million of them, and tuples are hashed ten times as fast.
    """

    kind: ObjectKind
    schema: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


OTHERS_RIGHTS = ObjectName("role", None, "*")
"""What roles other than the one that runs the script may do: read by what runs as one of them."""


ANY_FILE = ObjectName("file", None, "*")
"""Written with every file: read by who does not say which one."""


class Effect(NamedTuple):
    """One way of touching one object.

    `part`: only a part of it, which another effect names: a partition of a table. What is done to
    the rows of two parts meets in the part or not at all.
    """

    kind: EffectKind
    object: ObjectName
    part: bool = False

    def __str__(self) -> str:
        part = "part of " if self.part else ""
        return f"{self.kind} {part}{self.object}"


class Barrier(Struct, frozen=True):
    """Why a task changes places with no other.

    `opaque`: it may have changed any definition. What follows is analysed with `KnownObjects` that
    were read after it has finished.
    """

    code: BarrierCode
    message: str
    opaque: bool = True


class Accesses(Struct, frozen=True):
    """What a task does. `effects` may be incomplete only when there is a barrier.

    `session` is not empty when the task must run on the connection of its script, in order with
    the others that must.
    """

    effects: frozenset[Effect] = frozenset()
    barrier: Barrier | None = None
    session: frozenset[SessionUse] = frozenset()

    @property
    def is_pinned(self) -> bool:
        """Whether it must run on the one connection of its script.

        What is opaque must, too: it may make temporary objects or change settings.
        """
        return bool(self.session) or self.is_opaque

    @property
    def is_opaque(self) -> bool:
        """Whether what follows must be analysed afresh after it."""
        return self.barrier is not None and self.barrier.opaque

    def __or__(self, other: Accesses) -> Accesses:
        barrier = self.barrier
        if barrier is None or (other.is_opaque and not barrier.opaque):
            barrier = other.barrier
        return Accesses(self.effects | other.effects, barrier, self.session | other.session)


NOTHING = Accesses()
AS_OWNER = Accesses(frozenset({Effect("read", OTHERS_RIGHTS)}))
"""What a function does that is SECURITY DEFINER."""

KNOWN_TO_CHANGE: frozenset[BarrierCode] = frozenset(
    {"catalogue", "definition-in-function", "not-refreshed", "setting"}
)
"""Barriers of what certainly changes definitions or settings: saying what it reads and writes does
not tell which."""


class Stated(Struct, frozen=True):
    """What directives say that a task touches: relations as they are named, and `effects`.

    `reads` and `writes` stand in for what could not be read; `after` comes on top.
    """

    reads: tuple[Name, ...] = ()
    writes: tuple[Name, ...] = ()
    after: tuple[Name, ...] = ()
    effects: frozenset[Effect] = frozenset()


NOTHING_STATED = Stated()


def annotated(
    accesses: Accesses, reads: Iterable[ObjectName], writes: Iterable[ObjectName]
) -> Accesses:
    """`accesses` with what a directive says of them in place of their barrier.

    The directive is trusted: it names all that the analysis could not see. What the analysis did
    see stays; definitions are taken not to change, unless they are known to.
    """
    barrier = accesses.barrier
    if barrier is not None and barrier.code not in KNOWN_TO_CHANGE:
        barrier = None
    said = {Effect("read", name) for name in reads} | {Effect("modify", name) for name in writes}
    return Accesses(accesses.effects | said, barrier, accesses.session)


def file_effects(path: str, *, is_written: bool) -> frozenset[Effect]:
    """Of a file of the server's, or of the client's, which may be on the same machine.

    By its last name: how paths lead there is not known.
    """
    name = ObjectName("file", None, posixpath.basename(path))
    if not is_written:
        return frozenset({Effect("read", name)})
    return frozenset({Effect("modify", name), Effect("append", ANY_FILE)})
