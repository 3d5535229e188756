"""DROP, TRUNCATE, and giving objects another name or schema; how statements name objects at all.

CASCADE takes what depends on an object with it: the relations that are known to.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from postgast import pg_query_pb2 as pb

from pgfan.sql.access import relation_name
from pgfan.sql.collector import Collector
from pgfan.sql.effects import ObjectName
from pgfan.sql.names import resolve
from pgfan.sql.queries import run
from pgfan.sql.signatures import signature
from pgfan.sql.tree import Message, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgfan.sql.effects import Accesses, EffectKind, ObjectKind
    from pgfan.sql.facts import Name

RELATIONS = frozenset(
    {
        *(pb.OBJECT_TABLE, pb.OBJECT_VIEW, pb.OBJECT_MATVIEW, pb.OBJECT_SEQUENCE, pb.OBJECT_INDEX),
        pb.OBJECT_FOREIGN_TABLE,
    }
)
OF_RELATIONS = frozenset(
    {
        *(pb.OBJECT_TRIGGER, pb.OBJECT_POLICY, pb.OBJECT_RULE, pb.OBJECT_COLUMN),
        pb.OBJECT_TABCONSTRAINT,
    }
)
"""Belong to a relation and are named after it."""
FUNCTIONS = frozenset(
    {pb.OBJECT_FUNCTION, pb.OBJECT_PROCEDURE, pb.OBJECT_ROUTINE, pb.OBJECT_AGGREGATE}
)
TYPES = frozenset({pb.OBJECT_TYPE, pb.OBJECT_DOMAIN})
IN_SCHEMAS: dict[int, ObjectKind] = {
    pb.OBJECT_COLLATION: "collation",
    pb.OBJECT_STATISTIC_EXT: "statistics",
}
WITHOUT_SCHEMA: dict[int, ObjectKind] = {
    pb.OBJECT_SCHEMA: "schema",
    pb.OBJECT_ROLE: "role",
    pb.OBJECT_TABLESPACE: "tablespace",
    pb.OBJECT_PUBLICATION: "publication",
    pb.OBJECT_FOREIGN_SERVER: "foreign server",
    pb.OBJECT_EXTENSION: "extension",
}


def name_of(node: Message) -> Name:
    """The name in a List of strings, a TypeName, an ObjectWithArgs, a RangeVar or a string."""
    match kind_of(node):
        case "List":
            last = inner(node.items[-1]) if node.items else None
            return name_of(last) if kind_of(last) == "TypeName" else names(node.items)
        case "TypeName":
            return names(node.names)
        case "ObjectWithArgs":
            return names(node.objname)
        case "RangeVar":
            return relation_name(node)
        case "String":
            return (node.sval,)
        case _:
            return ()


def touch_object(collector: Collector, kind: EffectKind, object_type: int, node: Message) -> None:
    """An effect on an object named by its ObjectType; a barrier where that is not followed."""
    name = name_of(node)
    if object_type in RELATIONS:
        found = collector.relation(kind, name)
        if object_type == pb.OBJECT_INDEX:
            touch_unknown_index(collector, found)
    elif object_type in OF_RELATIONS and (len(name) > 1 or kind_of(node) == "RangeVar"):
        collector.relation(kind, name if kind_of(node) == "RangeVar" else name[:-1])
    elif object_type == pb.OBJECT_DOMCONSTRAINT:
        touch_in_schema(collector, kind, "type", name_of(inner(node.items[0])))
    elif object_type in FUNCTIONS:
        touch_in_schema(collector, kind, "function", name)
    elif object_type in TYPES:
        touch_type(collector, kind, name)
    elif object_type in IN_SCHEMAS:
        touch_in_schema(collector, kind, IN_SCHEMAS[object_type], name)
    elif object_type in WITHOUT_SCHEMA:
        collector.named(kind, WITHOUT_SCHEMA[object_type], name[-1])
    else:
        kind_name = pb.ObjectType.Name(object_type)
        collector.block("catalogue", f"{kind_name} is not followed", opaque=kind == "drop")


def touch_unknown_index(collector: Collector, found: Iterable[ObjectName]) -> None:
    """A barrier where an index may be one that the server has named: a new partition's."""
    definitions = collector.definitions
    if definitions.has_unknown_indexes and not any(map(definitions.exists, found)):
        message = "an index may be one that the server has named"
        collector.block("name-hidden", message, opaque=False)


def touch_in_schema(
    collector: Collector, kind: EffectKind, object_kind: ObjectKind, name: Name
) -> tuple[ObjectName, ...]:
    """Touch an object that need not exist: every schema that it may be in."""
    resolved = resolve(collector.definitions, collector.path, object_kind, name)
    found = resolved.names
    for other in resolved.hidden_by if found else ():
        collector.touch("use", other)
    if not found:
        on_path = [s for s in collector.path or () if s in collector.definitions.schemas]
        schemas: list[str | None] = [*on_path] or [None]
        found = tuple(ObjectName(object_kind, schema, name[-1]) for schema in schemas)
    for one in found:
        collector.touch(kind, one)
    return found


def touch_type(collector: Collector, kind: EffectKind, name: Name) -> tuple[ObjectName, ...]:
    """A type, or the composite type that is a relation."""
    row = resolve(collector.definitions, collector.path, "relation", name).names
    if any(map(collector.definitions.matching, row)):
        return collector.relation(kind, name)
    return touch_in_schema(collector, kind, "type", name)


def _drop(collector: Collector, tree: Message) -> None:
    cascades = tree.behavior == pb.DROP_CASCADE
    for node in map(inner, tree.objects):
        kind = tree.remove_type
        name = name_of(node)
        if kind in RELATIONS:
            found = collector.relation("drop", name)
            if kind == pb.OBJECT_INDEX:
                touch_unknown_index(collector, found)
            for one in found:
                drop_relation(collector, one, cascades=cascades)
        elif kind in TYPES:
            for one in touch_type(collector, "drop", name):
                _drop_type(collector, one, cascades=cascades)
        elif kind in FUNCTIONS:
            _drop_function(collector, node, name, cascades=cascades)
        elif kind == pb.OBJECT_SCHEMA:
            _drop_schema(collector, name[-1])
        elif kind in {pb.OBJECT_TRIGGER, pb.OBJECT_POLICY, pb.OBJECT_RULE}:
            # What the table's writers ran before they go on being taken to run: more is waited for.
            collector.relation("alter", name[:-1])
        elif kind == pb.OBJECT_EXTENSION:
            collector.block("catalogue", "what belongs to an extension is not known")
        else:
            touch_object(collector, "drop", kind, node)
            if kind in {pb.OBJECT_COLLATION, pb.OBJECT_PUBLICATION, pb.OBJECT_FOREIGN_SERVER}:
                message = "who needed what is dropped is not followed"
                collector.block("every-table", message, opaque=False)


def drop_relation(collector: Collector, name: ObjectName, *, cascades: bool) -> None:
    """What goes with a relation: indexes, owned sequences, partitions; by CASCADE its views too."""
    definitions = collector.definitions
    todo, seen = [name], {name}
    while todo:
        one = todo.pop()
        collector.touch("drop", one)
        relation = definitions.relations.get(one)
        for parent in relation.parents if relation else ():
            collector.touch("alter", parent, part=True)
        gone = set(definitions.below.get(one, ()))
        if cascades:
            for dependent in definitions.dependents(one):
                if dependent.kind in {"view", "materialized view"}:
                    gone.add(dependent.name)
                elif dependent.name not in seen:
                    collector.touch("alter", dependent.name)
        todo += gone - seen
        seen |= gone
    for one in seen:
        collector.then(partial(definitions.remove, one))


def _drop_dependents(collector: Collector, name: ObjectName) -> None:
    for dependent in collector.definitions.dependents(name):
        if dependent.kind in {"view", "materialized view"}:
            drop_relation(collector, dependent.name, cascades=True)
        else:
            collector.touch("alter", dependent.name)


def _drop_type(collector: Collector, name: ObjectName, *, cascades: bool) -> None:
    if name.kind == "relation":
        drop_relation(collector, name, cascades=cascades)
        return
    if cascades:
        _drop_dependents(collector, name)
    collector.then(partial(collector.definitions.remove_type, name))


def _drop_function(collector: Collector, node: Message, name: Name, *, cascades: bool) -> None:
    arguments = None if node.args_unspecified else signature(collector, node)
    found = touch_in_schema(collector, "drop", "function", name)
    for one in found:
        if cascades:
            _drop_dependents(collector, one)
        if len(found) > 1:  # which of them is dropped depends on their arguments: all are kept
            continue
        collector.then(partial(collector.definitions.remove_function, one, arguments))


def _drop_schema(collector: Collector, schema: str) -> None:
    """With all that is in it: without CASCADE there is nothing in it."""
    definitions = collector.definitions
    collector.named("drop", "schema", schema)
    if schema in collector.session.paths_seen:
        what = f"schema {schema} was in search_path: names mean others without it"
        collector.block("name-hidden", what, opaque=False)
    for relation in tuple(definitions.relations):
        if relation.schema == schema:
            drop_relation(collector, relation, cascades=True)
    for function in tuple(definitions.functions):
        if function.schema == schema:
            collector.touch("drop", function)
            _drop_dependents(collector, function)
            collector.then(partial(definitions.remove_function, function, None))
    for one in tuple(definitions.types):
        if one.schema == schema:
            collector.touch("drop", one)
            _drop_type(collector, one, cascades=True)
    collector.then(partial(definitions.schemas.discard, schema))


def _truncate(collector: Collector, tree: Message) -> None:
    todo: list[ObjectName] = []
    for node in map(inner, tree.relations):
        todo += collector.relation("modify", relation_name(node))
    seen = set(todo)
    while todo:
        name = todo.pop()
        collector.touch("modify", name)
        for below in collector.definitions.below.get(name, ()):
            if tree.restart_seqs and collector.definitions.relations[below].kind == "sequence":
                collector.touch("modify", below)
        if tree.behavior == pb.DROP_CASCADE:
            new = collector.definitions.referencing.get(name, set()) - seen
            todo += new
            seen |= new


def _rename(collector: Collector, tree: Message) -> None:
    kind = tree.rename_type
    node = tree.relation if tree.HasField("relation") else inner(tree.object)
    if kind in RELATIONS or (kind in TYPES | FUNCTIONS and not tree.subname):
        _move(collector, kind, name_of(node), lambda old: old._replace(name=tree.newname))
    elif tree.HasField("relation"):
        for name in collector.relation("alter", relation_name(tree.relation)):
            relation = collector.definitions.relations.get(name)
            if kind in {pb.OBJECT_COLUMN, pb.OBJECT_ATTRIBUTE} and relation is not None:
                collector.then(partial(_rename_column, collector, name, tree))
    elif kind == pb.OBJECT_ROLE:
        collector.named("alter", "role", tree.subname)
        collector.named("define", "role", tree.newname)
    elif kind == pb.OBJECT_DOMCONSTRAINT:
        touch_type(collector, "alter", name_of(node))
    else:
        kind_name = pb.ObjectType.Name(kind)
        collector.block("catalogue", f"another name for {kind_name} is not followed")


def _rename_column(collector: Collector, name: ObjectName, tree: Message) -> None:
    from msgspec.structs import replace

    relation = collector.definitions.relations[name]
    columns = tuple(
        replace(column, name=tree.newname) if column.name == tree.subname else column
        for column in relation.columns or ()
    )
    if relation.columns is not None:
        collector.definitions.put(replace(relation, columns=columns))


def _set_schema(collector: Collector, tree: Message) -> None:
    kind = tree.object_type
    node = tree.relation if tree.HasField("relation") else inner(tree.object)
    collector.named("use", "schema", tree.newschema)
    if kind in RELATIONS | TYPES | FUNCTIONS:
        _move(collector, kind, name_of(node), lambda old: old._replace(schema=tree.newschema))
    elif kind == pb.OBJECT_EXTENSION:
        collector.block("catalogue", "what belongs to an extension is not known")
    else:
        kind_name = pb.ObjectType.Name(kind)
        collector.block("catalogue", f"another schema for {kind_name} is not followed")


def _move(
    collector: Collector, kind: int, name: Name, other: Callable[[ObjectName], ObjectName]
) -> None:
    """Another name or schema; what was made with the object goes on meaning it."""
    definitions = collector.definitions

    def resolved(text: str) -> Accesses:
        inside = Collector(definitions, collector.session, ())
        run(inside, (text,))
        return inside.accesses

    if kind in RELATIONS:
        found: Iterable[ObjectName] = collector.relation("alter", name)
        if kind == pb.OBJECT_INDEX:
            touch_unknown_index(collector, found)
    elif kind in TYPES:
        found = touch_type(collector, "alter", name)
    else:
        found = touch_in_schema(collector, "alter", "function", name)
    for old in found:
        new = other(old)
        collector.touch("define", new)
        if old.schema is not None:
            collector.named("use", "schema", old.schema)
        for relation in definitions.dependents(old):
            collector.touch("use", relation.name)
        if new.name in collector.session.builtins_used and kind not in RELATIONS:
            what = f"{new.name} was PostgreSQL's own before"
            collector.block("name-hidden", what, opaque=False)
        for below in definitions.below.get(old, ()):
            if other(old).schema != old.schema:  # indexes and sequences move with their table
                collector.touch("alter", below)
                collector.touch("define", other(below))
                collector.then(partial(definitions.rename, below, other(below), resolved))
        collector.then(partial(definitions.rename, old, new, resolved))


DROP_RULES: dict[str, Callable[[Collector, Message], None]] = {
    "DropStmt": _drop,
    "TruncateStmt": _truncate,
    "RenameStmt": _rename,
    "AlterObjectSchemaStmt": _set_schema,
}
