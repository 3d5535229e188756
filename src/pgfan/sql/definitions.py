"""The catalogue as a script has made it up to one of its statements.

It starts from `KnownObjects`, and every CREATE, ALTER and DROP of the script changes it, in program
order. Records are values that are replaced, so a copy for a block that is rolled back is cheap.
What an object runs when it is used is kept as `Code`: effects whose names are resolved already, or
SQL text in which every name has its schema.

Manual: "System Information Functions" (what is visible), "The Schema Search Path".
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from pgfan.sql.effects import Accesses, Effect, ObjectName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pgfan.sql.effects import ObjectKind
    from pgfan.sql.known import RelationKind

TEMPORARY = "pg_temp"
_Key = TypeVar("_Key")
Code: TypeAlias = Accesses | str
Path: TypeAlias = tuple[str, ...] | None
"""The schemas of search_path, "$user" put in; None: not known."""


class Column(Struct, frozen=True):
    """A column and what its default runs."""

    name: str
    default: tuple[Code, ...] = ()


class Trigger(Struct, frozen=True):
    """A trigger: which events call which function. `code` is its WHEN."""

    name: str
    function: ObjectName
    on_insert: bool = True
    code: tuple[Code, ...] = ()


class ForeignKey(Struct, frozen=True):
    """Of the relation that has it, to the one that it references."""

    references: ObjectName
    changes_rows: bool = False
    name: str = ""


class Relation(Struct, frozen=True):
    """An entry of pg_class; what its kind has not is empty."""

    name: ObjectName
    kind: RelationKind = "table"
    columns: tuple[Column, ...] | None = None
    """None: not all of them are known."""
    query: tuple[Code, ...] = ()
    """What reading a view, or refreshing a materialised one, runs."""
    on_write: tuple[Code, ...] = ()
    """CHECK constraints, generated columns, index expressions, rules."""
    on_access: tuple[Code, ...] = ()
    """Policies."""
    uses: frozenset[Effect] = frozenset()
    """Its columns' types: altering one of them alters this."""
    triggers: tuple[Trigger, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    parents: tuple[ObjectName, ...] = ()
    is_default_partition: bool = False
    table: ObjectName | None = None
    """Of an index or an owned sequence."""
    column: str = ""
    """Of an owned sequence."""
    key: tuple[str, ...] = ()
    """Of a unique index over all rows, of columns alone: their names when it was made."""
    server: str = ""
    is_others: bool = False
    """It belongs to another role: views, and checks of foreign keys, run with that one's rights."""
    drops_on_commit: bool = False
    former: tuple[ObjectName, ...] = ()
    """The names that it had before: its constraints may still be called after them."""

    @property
    def code(self) -> tuple[Code, ...]:
        """All that it may run."""
        codes = [*self.query, *self.on_write, *self.on_access]
        for column in self.columns or ():
            codes += column.default
        for trigger in self.triggers:
            codes += trigger.code
        return tuple(codes)

    @property
    def names_others(self) -> bool:
        """Whether its definition names other objects."""
        return bool(self.code or self.uses or self.triggers or self.foreign_keys or self.server)

    @property
    def is_plain(self) -> bool:
        """Whether reading and writing it runs nothing else, but for what others say of it."""
        return not (
            self.query
            or self.on_write
            or self.on_access
            or self.uses
            or self.triggers
            or self.foreign_keys
            or self.parents
            or self.server
            or self.table
            or self.former
            or self.is_others
        )


class Function(Struct, frozen=True):
    """One overload."""

    name: ObjectName
    definition: str = ""
    """Its CREATE statement. What it names is looked up at each call."""
    arguments: str = ""
    """What tells overloads apart."""
    language: str = "sql"
    volatility: str = "v"
    code: tuple[Code, ...] = ()
    """What was looked up when it was made (BEGIN ATOMIC, an aggregate's support functions)."""
    extension: str = ""


class TypeDefinition(Struct, frozen=True):
    """A domain, enum, range or base type; `code` are a domain's constraints."""

    name: ObjectName
    code: tuple[Code, ...] = ()


class Definitions(Struct):
    """What exists. Lookups by exact name; `pgfan.sql.names` resolves names as written."""

    schemas: set[str] = field(default_factory=set)
    relations: dict[ObjectName, Relation] = field(default_factory=dict)
    functions: dict[ObjectName, dict[str, Function]] = field(default_factory=dict)
    types: dict[ObjectName, TypeDefinition] = field(default_factory=dict)
    operators: dict[str, set[ObjectName]] = field(default_factory=dict)
    casts: tuple[ObjectName, ...] = ()
    event_triggers: tuple[ObjectName, ...] = ()
    wrappers: dict[str, str] = field(default_factory=dict)
    version: int = 0
    """Goes up with every change: what was worked out before holds no longer."""
    names: dict[tuple[ObjectKind, str], set[ObjectName]] = field(
        default_factory=lambda: defaultdict(set)
    )
    """The objects of a kind by their name without the schema."""
    below: dict[ObjectName, set[ObjectName]] = field(default_factory=lambda: defaultdict(set))
    """Partitions, children, indexes and owned sequences of a table."""
    referencing: dict[ObjectName, set[ObjectName]] = field(default_factory=lambda: defaultdict(set))
    """The tables with a foreign key to a table."""
    parents: set[ObjectName] = field(default_factory=set)
    """All that ever had a partition or child."""
    has_unknown_indexes: bool = False
    """The server has made indexes whose names are not followed: those of new partitions."""
    temporary: set[ObjectName] = field(default_factory=set)
    """Of the relations those of the session: they end with it."""
    until_commit: set[ObjectName] = field(default_factory=set)
    """Temporary tables that are dropped at COMMIT."""

    def copy(self) -> Definitions:
        """An independent copy; the records themselves never change."""
        return replace(
            self,
            schemas=set(self.schemas),
            relations=dict(self.relations),
            functions={name: dict(found) for name, found in self.functions.items()},
            types=dict(self.types),
            operators={symbol: set(found) for symbol, found in self.operators.items()},
            wrappers=dict(self.wrappers),
            names=_copied(self.names),
            below=_copied(self.below),
            referencing=_copied(self.referencing),
            parents=set(self.parents),
            temporary=set(self.temporary),
            until_commit=set(self.until_commit),
        )

    def put(self, relation: Relation) -> None:
        """Add a relation, or replace the one of its name."""
        self._unlink(relation.name)
        self.relations[relation.name] = relation
        if relation.name.schema == TEMPORARY:
            self.temporary.add(relation.name)
        self.names["relation", relation.name.name].add(relation.name)
        for parent in (*relation.parents, *((relation.table,) if relation.table else ())):
            self.below[parent].add(relation.name)
        for key in relation.foreign_keys:
            self.referencing[key.references].add(relation.name)
        self.parents.update(relation.parents)
        if relation.drops_on_commit:
            self.until_commit.add(relation.name)
        self.version += 1

    def remove(self, name: ObjectName) -> None:
        """Forget a relation, with its indexes, owned sequences and partitions."""
        if name not in self.relations:
            return
        self._unlink(name)
        del self.relations[name]
        self.temporary.discard(name)
        self.names["relation", name.name].discard(name)
        for below in tuple(self.below.pop(name, ())):
            self.remove(below)
        self.version += 1

    def _unlink(self, name: ObjectName) -> None:
        before = self.relations.get(name)
        if before is None:
            return
        for parent in (*before.parents, *((before.table,) if before.table else ())):
            self.below[parent].discard(name)
        for key in before.foreign_keys:
            self.referencing[key.references].discard(name)

    def put_function(self, function: Function) -> None:
        """Add an overload, or replace the one with its arguments."""
        self.functions.setdefault(function.name, {})[function.arguments] = function
        self.names["function", function.name.name].add(function.name)
        self.version += 1

    def remove_function(self, name: ObjectName, arguments: str | None) -> None:
        """Forget one overload, or all of them (None)."""
        found = self.functions.get(name)
        if found is None:
            return
        found.pop(arguments, None) if arguments is not None else found.clear()
        if not found:
            del self.functions[name]
            self.names["function", name.name].discard(name)
        self.version += 1

    def put_type(self, definition: TypeDefinition) -> None:
        """Add or replace a type."""
        self.types[definition.name] = definition
        self.names["type", definition.name.name].add(definition.name)
        self.version += 1

    def remove_type(self, name: ObjectName) -> None:
        """Forget a type."""
        if self.types.pop(name, None) is not None:
            self.names["type", name.name].discard(name)
            self.version += 1

    def exists(self, name: ObjectName) -> bool:
        """Whether there is an object of this very name."""
        return name in self.names.get((name.kind, name.name), ())

    def matching(self, name: ObjectName) -> tuple[ObjectName, ...]:
        """The objects that a name may mean: more than one only when its schema is not known."""
        if name.schema is not None:
            return (name,) if self.exists(name) else ()
        return tuple(self.names.get((name.kind, name.name), ()))

    def descendants(self, name: ObjectName) -> Iterator[Relation]:
        """Partitions and children at any depth."""
        todo, seen = [name], {name}
        while todo:
            for below in self.below.get(todo.pop(), ()):
                relation = self.relations[below]
                if below not in seen and relation.parents:
                    seen.add(below)
                    todo.append(below)
                    yield relation

    def dependents(self, name: ObjectName) -> Iterator[Relation]:
        """The relations whose definition names `name`: what CASCADE takes with it, or changes."""
        text = _in_text(name)
        for relation in tuple(self.relations.values()):
            if (
                any(_names(code, name, text) for code in relation.code)
                or any(effect.object == name for effect in relation.uses)
                or any(key.references == name for key in relation.foreign_keys)
                or any(trigger.function == name for trigger in relation.triggers)
                or name in relation.parents
            ):
                yield relation

    def rename(self, old: ObjectName, new: ObjectName, resolved: Callable[[str], Accesses]) -> None:
        """Give an object another name: what was made with it goes on meaning the same object.

        `resolved` reads text that names it, for the last time under its old name.
        """

        def renamed(relation: Relation) -> Relation:
            return _renamed(relation, old, new, resolved)

        for relation in self.dependents(old):
            self.put(renamed(relation))
        if old in self.relations:
            relation, below = self.relations[old], tuple(self.below.get(old, ()))
            self.below.pop(old, None)
            self.remove(old)
            self.put(replace(relation, name=new, former=(*relation.former, old)))
            for name in below:
                self.put(renamed(self.relations[name]))
        for function in tuple(self.functions.get(old, {}).values()):
            # Other overloads keep the old name, so all of them are kept under both.
            self.put_function(replace(function, name=new))
        if old in self.types:
            definition = self.types[old]
            self.remove_type(old)
            self.put_type(replace(definition, name=new))
        self.version += 1


def _in_text(name: ObjectName) -> re.Pattern[str]:
    """Finds an object in text in which every name has its schema."""
    parts = [re.escape(part.replace('"', '""')) for part in (name.schema or "", name.name)]
    return re.compile(r'(?<![\w"])"?{}"?\."?{}"?(?!\w)'.format(*parts))


def _names(code: Code, name: ObjectName, text: re.Pattern[str]) -> bool:
    if isinstance(code, str):
        return text.search(code) is not None
    return any(effect.object == name for effect in code.effects)


def _renamed(
    relation: Relation, old: ObjectName, new: ObjectName, resolved: Callable[[str], Accesses]
) -> Relation:
    text = _in_text(old)

    def of(name: ObjectName) -> ObjectName:
        return new if name == old else name

    def every(codes: tuple[Code, ...]) -> tuple[Code, ...]:
        return tuple(map(one, codes))

    def one(code: Code) -> Code:
        if not _names(code, old, text):
            return code
        found = resolved(code) if isinstance(code, str) else code
        effects = frozenset(e._replace(object=of(e.object)) for e in found.effects)
        return replace(found, effects=effects)

    columns = relation.columns
    return replace(
        relation,
        columns=columns and tuple(replace(c, default=every(c.default)) for c in columns),
        query=every(relation.query),
        on_write=every(relation.on_write),
        on_access=every(relation.on_access),
        uses=frozenset(effect._replace(object=of(effect.object)) for effect in relation.uses),
        triggers=tuple(
            replace(t, function=of(t.function), code=every(t.code)) for t in relation.triggers
        ),
        foreign_keys=tuple(
            replace(key, references=of(key.references)) for key in relation.foreign_keys
        ),
        parents=tuple(map(of, relation.parents)),
        table=relation.table and of(relation.table),
    )


def _copied(index: dict[_Key, set[ObjectName]]) -> dict[_Key, set[ObjectName]]:
    return defaultdict(set, {key: set(found) for key, found in index.items()})
