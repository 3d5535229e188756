"""Gathers what one statement touches by itself: its names, resolved under its search_path.

Who finds the names is `pgfan.sql.queries` and the `statement_*` modules; what the objects stand for
(a view's tables, a trigger's function) is followed afterwards, by `pgfan.sql.closure`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from pgfan.sql import builtin_functions
from pgfan.sql.definitions import TEMPORARY
from pgfan.sql.effects import Accesses, Barrier, Effect, ObjectName
from pgfan.sql.names import SYSTEM_SCHEMAS, name_in_text, path_of, resolve
from pgfan.sql.tree import Message, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.sql.definitions import Definitions, Path
    from pgfan.sql.effects import BarrierCode, EffectKind, ObjectKind, SessionUse
    from pgfan.sql.facts import Name


class Session(Struct):
    """What a script's session has set so far."""

    path: Path
    lasting_path: Path
    """What `path` is again after a transaction: SET LOCAL ends with it."""
    user: str = ""
    first_path: Path = ()
    calls_currval: bool = False
    """currval() or lastval() may be called: who draws from a sequence shares a connection."""
    is_seeded: bool = False
    has_own_settings: bool = False
    """A setting was left that no other connection can be given: the rest belongs to this one."""
    may_have_own_settings: bool = False
    """An opaque statement may have left one: who asks for a setting belongs to this connection."""
    prepared: dict[str, Message] = field(default_factory=dict)
    paths_seen: set[str] = field(default_factory=set)
    """Every schema that was ever in search_path: making one changes what names mean."""
    builtins_used: set[str] = field(default_factory=set)
    """Names taken for PostgreSQL's own functions and types: making one changes what they mean."""


class Collector:
    """Gathers the effects of one statement, or of one piece of code that a statement runs."""

    def __init__(
        self, definitions: Definitions, session: Session, path: Path, *, may_set: bool = False
    ) -> None:
        """`may_set`: it does nothing but call set_config() with constants."""
        self._may_set = may_set
        self.definitions = definitions
        self.session = session
        self.path = path
        self.effects: set[Effect] = set()
        self.barrier: Barrier | None = None
        self.session_uses: set[SessionUse] = set()
        self.changes: list[Callable[[], None]] = []

    def then(self, change: Callable[[], None]) -> None:
        """Change the definitions, once all that the statement touches has been followed."""
        self.changes.append(change)

    @property
    def accesses(self) -> Accesses:
        """All that was gathered."""
        return Accesses(frozenset(self.effects), self.barrier, frozenset(self.session_uses))

    def touch(self, kind: EffectKind, name: ObjectName, *, part: bool = False) -> None:
        """Add an effect."""
        self.effects.add(Effect(kind, name, part))
        if name.schema == TEMPORARY:
            self.session_uses.add("temporary")

    def named(self, kind: EffectKind, object_kind: ObjectKind, name: str) -> None:
        """An effect on an object that has no schema."""
        self.touch(kind, ObjectName(object_kind, None, name))

    def block(self, code: BarrierCode, message: str, *, opaque: bool = True) -> None:
        """Keep the statement in its place among all others."""
        self.add(Accesses(frozenset(), Barrier(code, message, opaque)))

    def add(self, accesses: Accesses) -> None:
        """Add what something else touches."""
        self.effects |= accesses.effects
        self.session_uses |= accesses.session
        if accesses.barrier is not None and (self.barrier is None or not self.barrier.opaque):
            self.barrier = accesses.barrier

    def relation(
        self, kind: EffectKind, name: Name, *, part: bool = False
    ) -> tuple[ObjectName, ...]:
        """Touch a relation as it is named; what it may mean."""
        first = name[-1]
        if (len(name) > 1 and name[-2] in SYSTEM_SCHEMAS) or (
            first.startswith("pg_") and not self.definitions.names.get(("relation", first))
        ):
            is_read = kind in {"read", "use"}
            self.block(
                "catalogue-read" if is_read else "catalogue",
                f"{'.'.join(name)} is PostgreSQL's own",
                opaque=not is_read,
            )
            return ()
        found = resolve(self.definitions, self.path, "relation", name)
        for one in found.names:
            self.touch(kind, one, part=part)
        for other in found.hidden_by:
            self.touch("use", other)
        return found.names

    def type(self, name: Name) -> None:
        """Make values of a type as it is named: a user's, or the row type of a relation."""
        if len(name) > 1 and name[-2] in SYSTEM_SCHEMAS:
            return
        found = resolve(self.definitions, self.path, "type", name)
        if not any(map(self.definitions.matching, found.names)):
            rows = resolve(self.definitions, self.path, "relation", name)
            if any(map(self.definitions.matching, rows.names)):
                found = rows
        if not found.names:
            self.session.builtins_used.add(name[-1])
        for one in found.names:
            self.touch("read" if one.kind == "type" else "use", one)
        for other in found.hidden_by:
            self.touch("use", other)

    def function(self, kind: EffectKind, name: Name) -> bool:
        """Touch the user's functions of a name; whether PostgreSQL's own may be meant."""
        if len(name) > 1:
            if name[-2] in SYSTEM_SCHEMAS:
                return True
            self.touch(kind, ObjectName("function", name[-2], name[-1]))
            return False
        found = resolve(self.definitions, self.path, "function", name)
        for one in found.names:
            self.touch(kind, one)
        if found.names:
            for other in found.hidden_by:
                self.touch("use", other)
        else:
            self.session.builtins_used.add(name[-1])
        return True

    def builtin(self, name: str) -> None:
        """A call of PostgreSQL's own function that has no rule of its own."""
        if name in builtin_functions.SEQUENCE_VALUE:
            self.session_uses.add("sequence-value")
        elif name in builtin_functions.ADVISORY_LOCKS:
            self.session_uses.add("advisory-lock")
        elif name == "setseed":
            self.session.is_seeded = True
            self.session_uses.add("seed")
        elif name == "current_setting":
            self.asks_setting()
        elif name in {"random", "random_normal", "array_shuffle", "array_sample"}:
            if self.session.is_seeded:
                self.session_uses.add("seed")
        elif (barrier := builtin_functions.function_barrier(name)) is not None:
            self.add(Accesses(frozenset(), barrier))

    def draw(self, argument: Message) -> bool:
        """nextval() or setval(): the order in which values are given is part of the result.

        Whether `argument` named the sequence; else it is an expression still to be looked into.
        """
        text = constant_text(argument)
        name = name_in_text(text) if text is not None else None
        if name is None:
            name = self._serial_sequence(inner(argument))
        if name is None:
            if self.session.calls_currval:
                self.session_uses.add("sequence-value")
            self.block("name-hidden", "a sequence is named by an expression", opaque=False)
            return False
        self.relation("modify", name)
        return True

    def _serial_sequence(self, node: Message) -> Name | None:
        """The sequence in pg_get_serial_sequence('table', 'column')."""
        while kind_of(node) == "TypeCast":
            node = inner(node.arg)
        if kind_of(node) != "FuncCall" or names(node.funcname)[-1] != "pg_get_serial_sequence":
            return None
        table, column = (constant_text(arg) for arg in node.args)
        name = name_in_text(table) if table else None
        if name is None:
            return None
        for one in self.relation("use", name):
            for below in self.definitions.below.get(one, ()):
                owned = self.definitions.relations[below]
                if owned.kind == "sequence" and owned.column == column and below.schema:
                    return (below.schema, below.name)
        return None

    def set_config(self, node: Message) -> None:
        """What such a call leaves in the session."""
        texts = [constant_text(arg) for arg in node.args[:2]]
        setting, value = [*texts, None, None][:2]
        is_local = len(node.args) > 2 and inner(node.args[2]).boolval.boolval
        if setting is None or setting.lower() == "search_path":
            known = self._may_set and value is not None
            path = path_of(value or "", self.session.user) if known else None
            self.set_path(path, is_local=is_local)
        if not self._may_set:
            self.leaves_setting("set_config() of a value that is worked out", is_local=is_local)

    def leaves_setting(self, message: str, *, is_local: bool = False) -> None:
        """Leave a setting that must not be repeated on other connections."""
        self.block("setting", message)
        if not is_local:
            self.session.has_own_settings = True

    def asks_setting(self) -> None:
        """SHOW and current_setting(): what code that nobody can read may have set."""
        if self.session.may_have_own_settings:
            self.session_uses.add("setting")

    def set_path(self, path: Path, *, is_local: bool) -> None:
        """SET search_path, for this statement and those after it."""
        self.session.path = self.path = path
        if not is_local:
            self.session.lasting_path = path
        self.session.paths_seen.update(path or ())

    def notify(self, node: Message) -> None:
        """The channel that a call of pg_notify() writes to."""
        channel = constant_text(node.args[0]) if node.args else None
        if channel is None:
            self.block("name-hidden", "a channel is named by an expression", opaque=False)
        else:
            self.named("modify", "channel", channel)


def constant_text(node: Message) -> str | None:
    """The text of a string constant, with or without a cast; None for anything else."""
    node = inner(node)
    while kind_of(node) == "TypeCast":
        node = inner(node.arg)
    if kind_of(node) == "A_Const" and node.WhichOneof("val") == "sval":
        return str(node.sval.sval)
    return None
