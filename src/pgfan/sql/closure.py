"""From what a statement names to what that makes the server do.

Reading a view reads its tables; writing a table calls its triggers' functions, looks into the
tables of its foreign keys, and may change the rows that reference it; calling a function does what
its body does; a partition is a part of its parent. Each effect is followed until nothing new turns
up.

Manual: "Overview of Trigger Behavior", "Constraints" (foreign keys), "The Rule System", "Row
Security Policies", "Inheritance".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.bodies import Body, body_of
from pgfan.sql.collector import Collector
from pgfan.sql.definitions import TEMPORARY, Relation
from pgfan.sql.effects import ANY_FILE, OTHERS_RIGHTS, Accesses, Effect
from pgfan.sql.names import with_user
from pgfan.sql.queries import defaults, run
from pgfan.sql.statements import collect_in_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.sql.collector import Session
    from pgfan.sql.definitions import Code, Definitions, Function, Path
    from pgfan.sql.effects import EffectKind

_WRITES = frozenset({"append", "modify"})
_EVALUATES = frozenset({"append", "modify", "index", "analyse", "alter"})
"""Evaluate a table's expressions: its checks, or those of its indexes."""
_NOT_OF_PARENTS = frozenset({"use", "describe"})
_CHANGES: frozenset[EffectKind] = frozenset({"define", "alter", "drop"})
_STAYS_ALONE = frozenset({"use", "describe", "define", "drop", "lock"})
"""Run nothing, whatever the relation is."""
HARMLESS_EXTENSIONS = frozenset(
    {
        *("btree_gin", "btree_gist", "citext", "cube", "earthdistance", "fuzzystrmatch", "hstore"),
        *("intarray", "isn", "ltree", "pg_trgm", "pgcrypto", "seg", "unaccent", "uuid-ossp"),
    }
)
"""Extensions whose functions in C look at their arguments alone, whatever their volatility says."""


class Closure:
    """Follows effects; what was worked out is kept until a definition changes."""

    def __init__(self, definitions: Definitions, session: Session, *, of_set: bool = False) -> None:
        """`of_set`: nothing is made anew, since what is known of it is what will be made."""
        self._lets_go_of = frozenset({"drop"}) if of_set else _CHANGES
        self._definitions = definitions
        self._session = session
        self._kept: dict[tuple[Effect, Path], Accesses] = {}
        self._version = -1

    def of(self, accesses: Accesses, path: Path) -> Accesses:
        """All that comes with `accesses`; function bodies are looked up under `path`."""
        if self._version != self._definitions.version:
            self._kept.clear()
            self._version = self._definitions.version
        found = accesses
        for effect in accesses.effects:
            if not self._is_alone(effect):
                found |= self._of_one(effect, path)
        return found

    def _is_alone(self, effect: Effect) -> bool:
        """Whether nothing comes with an effect: quickly, for most effects of most scripts."""
        name = effect.object
        if name.kind == "function":
            return effect.kind not in {"read", *_CHANGES}
        if name.kind != "relation":
            return name.kind != "type"
        if name.schema is None:
            return False
        relation = self._definitions.relations.get(name)
        if relation is None:
            return effect.kind in _STAYS_ALONE
        if effect.kind in _STAYS_ALONE:
            is_named = relation.parents or relation.former or relation.table
            return not is_named and not (effect.kind in _CHANGES and relation.names_others)
        return (
            relation.is_plain
            and not (effect.kind == "alter" and relation.names_others)
            and name not in self._definitions.parents
            and not self._definitions.referencing.get(name)
        )

    def _of_one(self, effect: Effect, path: Path) -> Accesses:
        kept = self._kept.get((effect, path))
        if kept is None:
            kept = self._kept[effect, path] = self._followed(effect, path)
        return kept

    def _followed(self, first: Effect, path: Path) -> Accesses:
        """Follow an effect to its end.

        A function with a search_path of its own has the names in what it calls looked up there: so
        each effect is followed under a path.
        """
        total = Collector(self._definitions, self._session, path)
        total.touch(first.kind, first.object, part=first.part)
        todo: list[tuple[Effect, Path]] = [(first, path)]
        done = set(todo)
        while todo:
            effect, under = todo.pop()
            for found in self._follow(effect, under):
                total.add(found.accesses)
                new = {(more, found.path) for more in found.effects} - done
                done |= new
                todo += new
        return total.accesses

    def _follow(self, effect: Effect, path: Path) -> Iterator[Collector]:
        definitions = self._definitions
        matching = definitions.matching(effect.object)
        found = Collector(definitions, self._session, path)
        is_called = effect.object.kind == "function" and effect.kind == "read"
        for name in matching:
            if name.kind == "relation":
                self._relation(effect, definitions.relations[name], found)
            elif name.kind == "type":
                self._type(effect.kind, definitions.types[name].code, found)
            elif name.kind == "function":
                for function in definitions.functions[name].values():
                    if is_called:
                        yield self._call(function, path)
                    elif effect.kind in self._lets_go_of:
                        self._lets_go(function.code, found)
        if effect.kind == "drop" and effect.object.schema not in {None, TEMPORARY}:
            found.named("use", "schema", effect.object.schema or "")  # it may be dropped once empty
        if effect.object.kind == "relation" and not matching:
            # Foreign keys and partitions may name it all the same.
            self._relation(effect, Relation(effect.object), found)
        if is_called and not matching:
            found.block("function-unknown", f"function {effect.object}() is not known")
        yield found

    def _type(self, kind: EffectKind, code: tuple[Code, ...], found: Collector) -> None:
        if kind in {"read", "alter"}:
            run(found, code)
        elif kind in self._lets_go_of:
            self._lets_go(code, found)

    def _relation(self, effect: Effect, relation: Relation, found: Collector) -> None:
        kind = effect.kind
        if kind not in _NOT_OF_PARENTS:
            for parent in relation.parents:
                found.touch(kind, parent, part=True)
        if kind in {"alter", "drop"}:
            # New constraints under a former name get other names; ON CONFLICT needs its index,
            # and a sequence goes with the table that owns it.
            table = (relation.table,) if relation.table else ()
            for name in (*relation.former, *table):
                found.touch("alter", name)
        if effect.part:
            return
        if kind in self._lets_go_of:
            self._lets_go_relation(relation, found)
        if kind in _STAYS_ALONE:
            return
        self._run(kind, relation, found)

    def _lets_go(self, code: tuple[Code, ...], found: Collector) -> None:
        """What is dropped or made anew no longer needs what it named, which may be dropped then."""
        inside = Collector(self._definitions, self._session, found.path)
        run(inside, code)
        for effect in inside.effects:
            found.touch("use", effect.object)

    def _lets_go_relation(self, relation: Relation, found: Collector) -> None:
        self._lets_go(relation.code, found)
        named = [use.object for use in relation.uses]
        named += [key.references for key in relation.foreign_keys]
        named += [trigger.function for trigger in relation.triggers]
        for name in named:
            found.touch("use", name)
        if relation.server:
            found.named("use", "foreign server", relation.server)

    def _run(self, kind: EffectKind, relation: Relation, found: Collector) -> None:
        """What an effect on a relation's rows evaluates, reads and writes."""
        found.effects |= relation.uses
        if relation.is_others:
            found.touch("read", OTHERS_RIGHTS)
        run(found, relation.on_access)
        for one in (relation, *self._definitions.descendants(relation.name)):
            if one.server and kind != "alter":
                self._foreign(one, found)
        if relation.kind == "view" and kind in {"read", *_WRITES}:
            self._view(kind, relation, found)
        elif relation.kind == "materialized view" and kind == "modify":
            run(found, relation.query)
        if kind in _EVALUATES:
            for one in (relation, *self._definitions.descendants(relation.name)):
                run(found, one.on_write)
                found.effects |= self._valued(one)
        if kind in _WRITES:
            for one in (relation, *self._definitions.descendants(relation.name)):
                self._written(kind, one, found)

    def _valued(self, relation: Relation) -> set[Effect]:
        """The types of which a relation's rows hold values, those in composite types included."""
        found, todo = set[Effect](), [relation]
        while todo:
            for use in todo.pop().uses - found:
                found.add(use)
                part = self._definitions.relations.get(use.object)
                todo += [part] if part is not None else []
        return found | {Effect("read", use.object) for use in found if use.object.kind == "type"}

    def _foreign(self, relation: Relation, found: Collector) -> None:
        found.named("read", "foreign server", relation.server)
        if self._definitions.wrappers.get(relation.server) != "file_fdw":
            message = f"{relation.name} is a foreign table: what it stands for is not known"
            found.block("foreign-data", message, opaque=False)
        else:
            found.touch("read", ANY_FILE)

    def _view(self, kind: EffectKind, view: Relation, found: Collector) -> None:
        """Reading a view, or writing through it: its tables get the rows."""
        run(found, view.query)
        if kind not in _WRITES:
            return
        inside = Collector(self._definitions, self._session, found.path)
        run(inside, view.query)
        for effect in inside.effects:
            if effect.object.kind == "relation" and effect.kind == "read":
                found.touch(kind, effect.object)
                defaults(found, effect.object, frozenset())

    def _written(self, kind: EffectKind, table: Relation, found: Collector) -> None:
        """A partition has the triggers and foreign keys of the tables above it, too."""
        for one in (table, *self._ancestors(table)):
            for trigger in one.triggers:
                if kind == "modify" or trigger.on_insert:
                    found.touch("read", trigger.function)
                    run(found, trigger.code)
            for key in one.foreign_keys:
                found.touch("read", key.references)
            if kind == "modify":
                self._referenced(one, found)

    def _ancestors(self, table: Relation) -> Iterator[Relation]:
        todo, seen = list(table.parents), set(table.parents)
        while todo:
            one = self._definitions.relations.get(todo.pop())
            if one is not None:
                yield one
                todo += set(one.parents) - seen
                seen |= set(one.parents)

    def _referenced(self, table: Relation, found: Collector) -> None:
        for name in self._definitions.referencing.get(table.name, ()):
            for key in self._definitions.relations[name].foreign_keys:
                if key.references == table.name:
                    found.touch("modify" if key.changes_rows else "read", name)

    def _call(self, function: Function, path: Path) -> Collector:
        body = body_of(function.definition) if function.definition else Body()
        if body.sets_path:
            own = body.search_path
            path = None if own is None else with_user(list(own), self._session.user)
        found = Collector(self._definitions, self._session, path)
        run(found, function.code)
        if function.language in {"c", "internal"}:
            if function.volatility != "i" and function.extension not in HARMLESS_EXTENSIONS:
                what = f"{function.name}() is written in {function.language} and not immutable"
                found.block("function-unknown", what)
        elif body.barrier is not None:
            found.add(Accesses(frozenset(), body.barrier))
        collect_in_body(found, body.statements)
        return found
