"""CREATE TABLE, ALTER TABLE, and what else makes or changes relations.

Manual: "Data Definition". A new partition changes its parent in one part only, so partitions are
made and filled beside each other; a foreign key keeps the writers of the table it references out.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace
from postgast import pg_query_pb2 as pb

from pgfan.sql.access import relation_name
from pgfan.sql.collector import Collector
from pgfan.sql.columns import Parts, add_constraint, add_element, add_sequence, type_uses
from pgfan.sql.definitions import TEMPORARY, Column, Relation
from pgfan.sql.effects import Accesses, ObjectName
from pgfan.sql.names import home, resolve
from pgfan.sql.queries import code_of, collect, collect_all
from pgfan.sql.statement_drops import touch_unknown_index
from pgfan.sql.tree import Message, copy_of, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.sql.definitions import Definitions


_PARTITIONS = frozenset(
    {pb.AT_AttachPartition, pb.AT_DetachPartition, pb.AT_DetachPartitionFinalize}
)


def made_name(collector: Collector, node: Message) -> ObjectName:
    """The relation that a statement makes, touched with its schema."""
    if node.relpersistence == "t" or node.schemaname == TEMPORARY:
        name = ObjectName("relation", TEMPORARY, node.relname)
        collector.touch("define", name)
        return name
    name = home(collector.definitions, collector.path, "relation", relation_name(node))
    collector.touch("define", name)
    if name.schema is not None:
        collector.named("use", "schema", name.schema)
    return name


def create_table(collector: Collector, tree: Message, server: str = "") -> None:
    """CREATE TABLE in all its forms, and CREATE FOREIGN TABLE's part of it."""
    name = made_name(collector, tree.relation)
    parts = Parts(name)
    parents: list[ObjectName] = []
    for parent in tree.inh_relations:
        parents += _new_parent(collector, parent, parts, is_partition=tree.HasField("partbound"))
    if tree.HasField("of_typename"):
        parts.uses |= type_uses(collector, tree.of_typename)
    for element in map(inner, tree.table_elts):
        add_element(collector, element, parts)
    for element in map(inner, tree.constraints):
        add_element(collector, element, parts)
    bounds = [getattr(tree, name) for name in ("partspec", "partbound") if tree.HasField(name)]
    for node in bounds:
        parts.run_on_write(code_of(collector, node))
    if tree.tablespacename:
        collector.named("use", "tablespace", tree.tablespacename)
    if tree.if_not_exists and collector.definitions.exists(name):
        return
    relation = Relation(
        name,
        "foreign table" if server else "table",
        parents=tuple(parents),
        is_default_partition=tree.partbound.is_default,
        server=server,
        drops_on_commit=tree.oncommit == pb.ONCOMMIT_DROP,
    )
    collector.then(partial(_make, collector.definitions, relation, parts))


def _make(definitions: Definitions, relation: Relation, parts: Parts) -> None:
    definitions.remove(relation.name)
    definitions.put(parts.add_to(relation))
    for made in parts.made:
        definitions.put(made)


def _new_parent(
    collector: Collector, node: Message, parts: Parts, *, is_partition: bool
) -> list[ObjectName]:
    found = resolve(collector.definitions, collector.path, "relation", relation_name(inner(node)))
    for name in found.names:
        collector.touch("alter", name, part=True)
        for one in collector.definitions.matching(name):
            relation = collector.definitions.relations[one]
            parts.columns += relation.columns or ()
            parts.uses |= relation.uses
            parts.on_write += relation.on_write
        if is_partition:
            _look_into_default(collector, name)
            collector.definitions.has_unknown_indexes = True
    for other in found.hidden_by:
        collector.touch("use", other)
    return list(found.names)


def _look_into_default(collector: Collector, parent: ObjectName) -> None:
    """A new partition takes rows from none: the default partition is searched for such rows."""
    for below in collector.definitions.below.get(parent, ()):
        if collector.definitions.relations[below].is_default_partition:
            collector.touch("lock", below)
            collector.touch("read", below)


def _foreign_table(collector: Collector, tree: Message) -> None:
    collector.named("use", "foreign server", tree.servername)
    create_table(collector, tree.base_stmt, server=tree.servername)


def _create_as(collector: Collector, tree: Message) -> None:
    is_view = tree.objtype == pb.OBJECT_MATVIEW
    query = inner(tree.query)
    if kind_of(query) == "ExecuteStmt":
        prepared = collector.session.prepared.get(query.name)
        collector.session_uses.add("prepared")
        if prepared is None:
            collector.block("statement-unknown", f"{query.name} was not prepared by the script")
        else:
            collect(collector, prepared)
    elif tree.into.skip_data:
        code_of(collector, query)
    else:
        collect(collector, query)
    name = made_name(collector, tree.into.rel)
    if tree.into.table_space_name:
        collector.named("use", "tablespace", tree.into.table_space_name)
    if tree.if_not_exists and collector.definitions.exists(name):
        return
    relation = Relation(
        name,
        "materialized view" if is_view else "table",
        query=(_quietly(collector, query),) if is_view else (),
        drops_on_commit=tree.into.on_commit == pb.ONCOMMIT_DROP,
    )
    collector.then(partial(collector.definitions.put, relation))


def _quietly(collector: Collector, query: Message) -> Accesses:
    """What a query touches, without touching it here."""
    inside = Collector(collector.definitions, collector.session, collector.path)
    collect(inside, query)
    return inside.accesses


def select_into(collector: Collector, tree: Message) -> None:
    """SELECT ... INTO table."""
    into = tree.into_clause
    query = copy_of(tree)
    query.ClearField("into_clause")
    collect(collector, query)
    name = made_name(collector, into.rel)
    relation = Relation(name, drops_on_commit=into.on_commit == pb.ONCOMMIT_DROP)
    collector.then(partial(collector.definitions.put, relation))


def _view(collector: Collector, tree: Message) -> None:
    found = code_of(collector, tree.query)
    view = copy_of(tree.view)
    if "temporary" in found.session:  # a view of temporary relations is temporary
        view.relpersistence = "t"
    name = made_name(collector, view)
    before = collector.definitions.relations.get(name)
    keeps = before is not None and before.kind == "view" and tree.replace
    # CREATE OR REPLACE leaves its triggers, rules and defaults as they are.
    view_before = before if keeps and before is not None else Relation(name, "view")
    collector.then(partial(collector.definitions.put, replace(view_before, query=(found,))))


def _sequence(collector: Collector, tree: Message) -> None:
    name = made_name(collector, tree.sequence)
    if tree.if_not_exists and collector.definitions.exists(name):
        return
    table, column = _owner(collector, tree)
    relation = Relation(name, "sequence", table=table, column=column)
    collector.then(partial(collector.definitions.put, relation))


def _owner(collector: Collector, tree: Message) -> tuple[ObjectName | None, str]:
    for option in map(inner, tree.options):
        if option.defname == "owned_by":
            *table, column = names(inner(option.arg).items)
            if table:
                found = collector.relation("alter", tuple(table))
                return (found[0], column) if len(found) == 1 else (None, "")
    return None, ""


def _alter_sequence(collector: Collector, tree: Message) -> None:
    found = collector.relation("alter", relation_name(tree.sequence))
    table, column = _owner(collector, tree)
    for name in found:
        relation = collector.definitions.relations.get(name)
        if table is not None and relation is not None:
            owned = replace(relation, table=table, column=column)
            collector.then(partial(collector.definitions.put, owned))


def _composite(collector: Collector, tree: Message) -> None:
    name = made_name(collector, tree.typevar)
    parts = Parts(name)
    for column in map(inner, tree.coldeflist):
        add_element(collector, column, parts)
    relation = Relation(name, "composite type")
    collector.then(partial(_make, collector.definitions, relation, parts))


def _alter_table(collector: Collector, tree: Message) -> None:
    moves = all(inner(command).subtype in _PARTITIONS for command in tree.cmds)
    found = collector.relation(
        "alter", relation_name(tree.relation), part=moves and tree.objtype == pb.OBJECT_TABLE
    )
    if tree.objtype == pb.OBJECT_INDEX:
        touch_unknown_index(collector, found)
    elif tree.objtype == pb.OBJECT_TYPE:  # what holds its values gets others
        for dependent in (one for name in found for one in collector.definitions.dependents(name)):
            collector.touch("alter", dependent.name)
    target = found[0] if len(found) == 1 else None
    relation = collector.definitions.relations.get(target) if target else None
    state = relation or Relation(target or ObjectName("relation", None, ""))
    parts = Parts(state.name, validates=True)
    for command in map(inner, tree.cmds):
        state = _alter(collector, command, state, parts)
    if relation is None:
        return
    collector.then(partial(_apply, collector.definitions, state, parts))


def _apply(definitions: Definitions, relation: Relation, parts: Parts) -> None:
    definitions.put(parts.add_to(relation))
    for made in parts.made:
        definitions.put(made)


def _alter(collector: Collector, command: Message, state: Relation, parts: Parts) -> Relation:
    """One command of ALTER TABLE: what it touches besides the table, and the table after it."""
    node = inner(command.__getattribute__("def"))
    if command.HasField("newowner"):
        owner = command.newowner.rolename
        if owner:
            collector.named("use", "role", owner)
        return replace(state, is_others=owner not in {"", collector.session.user})
    match command.subtype:
        case pb.AT_AddColumn:
            collect(collector, node)  # rows that are there get the default
            add_element(collector, node, parts)
        case pb.AT_AddConstraint:
            collect_all(collector, (node.raw_expr, node.where_clause, *node.exclusions))
            add_constraint(collector, node, parts, "")
        case pb.AT_DropColumn:
            return _drop_column(collector, command.name, state)
        case pb.AT_ColumnDefault:
            default = (code_of(collector, node),) if kind_of(node) != "Node" else ()
            return _set_default(state, command.name, default)
        case pb.AT_AlterColumnType:
            parts.uses |= type_uses(collector, node.type_name)
            collect(collector, node)
        case pb.AT_AddIdentity:
            options = [inner(option) for option in node.options]
            drawn = add_sequence(collector, parts, command.name, options)
            return _set_default(state, command.name, (drawn,))
        case pb.AT_DropConstraint:
            kept = tuple(key for key in state.foreign_keys if key.name != command.name)
            return replace(state, foreign_keys=kept)
        case _:
            return _alter_more(collector, command, node, state)
    return state


def _alter_more(collector: Collector, command: Message, node: Message, state: Relation) -> Relation:
    match command.subtype:
        case pb.AT_ValidateConstraint:
            for key in state.foreign_keys:
                collector.touch("read", key.references)
        case pb.AT_ClusterOn | pb.AT_ReplicaIdentity:
            index = command.name or node.name
            if index:
                collector.touch("use", ObjectName("relation", state.name.schema, index))
        case pb.AT_SetTableSpace:
            collector.named("use", "tablespace", command.name)
        case _:
            return _alter_parents(collector, command, node, state)
    return state


def _alter_parents(
    collector: Collector, command: Message, node: Message, state: Relation
) -> Relation:
    match command.subtype:
        case pb.AT_AttachPartition if state.kind != "index":
            collect(collector, node.bound)
            _look_into_default(collector, state.name)
            for key in state.foreign_keys:  # the new partition's rows are checked
                collector.touch("read", key.references)
            collector.definitions.has_unknown_indexes = True
            _adopt(collector, node, state.name, is_default=node.bound.is_default)
        case pb.AT_DetachPartition | pb.AT_DetachPartitionFinalize:
            for name in collector.relation("alter", relation_name(node.name)):
                child = collector.definitions.relations.get(name)
                if child is not None:
                    parents = tuple(p for p in child.parents if p != state.name)
                    orphan = replace(child, parents=parents, is_default_partition=False)
                    collector.then(partial(collector.definitions.put, orphan))
        case pb.AT_AddInherit:
            parents = collector.relation("alter", relation_name(node))
            return replace(state, parents=(*state.parents, *parents))
        case pb.AT_DropInherit:
            parents = collector.relation("alter", relation_name(node))
            return replace(state, parents=tuple(p for p in state.parents if p not in parents))
        case _:
            collect(collector, node)
    return state


def _adopt(collector: Collector, node: Message, parent: ObjectName, *, is_default: bool) -> None:
    for name in collector.relation("alter", relation_name(node.name)):
        child = collector.definitions.relations.get(name)
        if child is not None:
            parents = (*child.parents, parent)
            adopted = replace(child, parents=parents, is_default_partition=is_default)
            collector.then(partial(collector.definitions.put, adopted))


def _set_default(state: Relation, name: str, default: tuple[Accesses, ...]) -> Relation:
    """The relation with another default; of a view, whose columns are not kept, with one more."""
    if state.columns is None:
        return replace(state, on_write=(*state.on_write, *default))
    columns = [c for c in state.columns if c.name == name] or [Column(name)]
    changed = replace(columns[0], default=default)
    kept = [changed if c.name == name else c for c in state.columns]
    return replace(state, columns=tuple(kept if changed in kept else [*kept, changed]))


def _drop_column(collector: Collector, name: str, state: Relation) -> Relation:
    definitions = collector.definitions
    for below in tuple(definitions.below.get(state.name, ())):
        owned = definitions.relations[below]
        if owned.kind == "sequence" and owned.column == name:
            collector.touch("drop", below)
            collector.then(partial(definitions.remove, below))
    columns = state.columns
    return replace(state, columns=columns and tuple(c for c in columns if c.name != name))


TABLE_RULES: dict[str, Callable[[Collector, Message], None]] = {
    "CreateStmt": create_table,
    "CreateForeignTableStmt": _foreign_table,
    "CreateTableAsStmt": _create_as,
    "ViewStmt": _view,
    "CreateSeqStmt": _sequence,
    "AlterSeqStmt": _alter_sequence,
    "CompositeTypeStmt": _composite,
    "AlterTableStmt": _alter_table,
}
