"""What is done to relations that exist: indexes, triggers, rules, policies, rights, COPY, VACUUM.

Manual: "Building Indexes Concurrently", "The Rule System", "Row Security Policies", "Routine
Vacuuming".
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace
from postgast import pg_query_pb2 as pb

from pgfan.sql.access import relation_name
from pgfan.sql.collector import Collector
from pgfan.sql.columns import choose_name
from pgfan.sql.definitions import Relation, Trigger
from pgfan.sql.effects import NOTHING, OTHERS_RIGHTS, ObjectName, file_effects
from pgfan.sql.names import resolve
from pgfan.sql.queries import code_of, collect, collect_all, write
from pgfan.sql.statement_drops import touch_in_schema, touch_object, touch_unknown_index
from pgfan.sql.tree import Message, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.sql.effects import Accesses, EffectKind

_ON_INSERT = 1 << 2  # TRIGGER_TYPE_INSERT of catalog/pg_trigger.h
_READERS_PASS = 2  # up to ROW SHARE of storage/lockdefs.h


def _index(collector: Collector, tree: Message) -> None:
    """Beside other CREATE INDEX on the same table, after its writers, before its later readers."""
    found = collector.relation("index", relation_name(tree.relation))
    parts = [inner(part) for part in (*tree.index_params, *tree.index_including_params)]
    code = [part.expr for part in parts if part.HasField("expr")]
    code += [tree.where_clause] if tree.HasField("where_clause") else []
    collect_all(collector, code)
    if tree.table_space:
        collector.named("use", "tablespace", tree.table_space)
    for part in parts:
        if part.collation:
            touch_in_schema(collector, "use", "collation", names(part.collation))
    if len(found) != 1:
        return
    table = found[0]
    if table in collector.definitions.parents:
        # The partitions get indexes that the server names, unless they have such ones already.
        collector.touch("alter", table)
        collector.definitions.has_unknown_indexes = True
    if tree.idxname:
        index = ObjectName("relation", table.schema, tree.idxname)
        collector.touch("define", index)
    else:
        if any(_index_column(part) is None for part in parts):
            # Its name is the server's to choose: what is made before and after decides it, too.
            collector.touch("alter", table)
        columns = _distinct([_index_column(part) or "expr" for part in parts])
        index = choose_name(collector, table, columns, "idx", set())
    plain = tree.unique and not code
    key = tuple(inner(part).name for part in tree.index_params) if plain else ()
    relation = Relation(index, "index", table=table, key=key)
    collector.then(partial(collector.definitions.put, relation))
    runs = _code(collector, *code) if code else NOTHING
    if runs != NOTHING:
        collector.then(partial(_runs_on_write, collector, table, runs))


def _index_column(part: Message) -> str | None:
    """The name that an index takes from one of its columns; None when that is not plain."""
    if part.name:
        return str(part.name)
    expression = inner(part.expr)
    return names(expression.funcname)[-1] if kind_of(expression) == "FuncCall" else None


def _distinct(columns: list[str]) -> list[str]:
    """ChooseIndexColumnNames: the second `a` is `a1`."""
    made: list[str] = []
    for column in columns:
        number, name = 0, column
        while name in made:
            number += 1
            name = f"{column}{number}"
        made.append(name)
    return made


def _code(collector: Collector, *nodes: Message) -> Accesses:
    """What expressions run, without touching anything here."""
    inside = Collector(collector.definitions, collector.session, collector.path)
    collect_all(inside, nodes)
    return inside.accesses


def _runs_on_write(collector: Collector, name: ObjectName, code: Accesses) -> None:
    relation = collector.definitions.relations.get(name)
    if relation is not None:
        changed = replace(relation, on_write=(*relation.on_write, code))
        collector.definitions.put(changed)


def _reindex(collector: Collector, tree: Message) -> None:
    if not tree.HasField("relation"):
        collector.block("every-table", "REINDEX of many tables", opaque=False)
        return
    found = collector.relation("modify", relation_name(tree.relation))
    if tree.kind == pb.REINDEX_OBJECT_INDEX:
        touch_unknown_index(collector, found)
    for name in found:
        relation = collector.definitions.relations.get(name)
        if relation is not None and relation.table is not None:
            collector.touch("modify", relation.table)


def _vacuum(collector: Collector, tree: Message) -> None:
    options = {inner(option).defname for option in tree.options}
    if not tree.rels:
        what = "VACUUM" if tree.is_vacuumcmd else "ANALYZE"
        collector.block("every-table", f"{what} of every table", opaque=False)
    for node in map(inner, tree.rels):
        kind: EffectKind = "modify" if "full" in options else "analyse"
        collector.relation(kind, relation_name(node.relation))


def _cluster(collector: Collector, tree: Message) -> None:
    if not tree.HasField("relation"):
        collector.block("every-table", "CLUSTER of every table", opaque=False)
        return
    for name in collector.relation("modify", relation_name(tree.relation)):
        if tree.indexname:
            collector.touch("use", ObjectName("relation", name.schema, tree.indexname))


def _refresh(collector: Collector, tree: Message) -> None:
    collector.relation("modify", relation_name(tree.relation))


def _trigger(collector: Collector, tree: Message) -> None:
    found = collector.relation("alter", relation_name(tree.relation))
    function = names(tree.funcname)
    collector.function("use", function)
    if tree.HasField("constrrel"):
        collector.relation("lock", relation_name(tree.constrrel))
    code = code_of(collector, tree.when_clause)
    functions = resolve(collector.definitions, collector.path, "function", function).names
    for name in found:
        for one in functions:
            is_insert = bool(tree.events & _ON_INSERT)
            runs = (code,) if code != NOTHING else ()
            trigger = Trigger(tree.trigname, one, is_insert, runs)
            collector.then(partial(_add_trigger, collector, name, trigger))


def _add_trigger(collector: Collector, name: ObjectName, trigger: Trigger) -> None:
    relation = collector.definitions.relations.get(name, Relation(name))
    kept = tuple(other for other in relation.triggers if other.name != trigger.name)
    collector.definitions.put(replace(relation, triggers=(*kept, trigger)))


def _rule(collector: Collector, tree: Message) -> None:
    found = collector.relation("alter", relation_name(tree.relation))
    if tree.event == pb.CMD_SELECT:
        collector.block("catalogue", "a rule ON SELECT makes a view of a table")
    runs = code_of(collector, *tree.actions, tree.where_clause)
    for name in found:
        collector.then(partial(_runs_on_write, collector, name, runs))


def _policy(collector: Collector, tree: Message) -> None:
    found = collector.relation("alter", relation_name(tree.table))
    for role in map(inner, tree.roles):
        if role.rolename:
            collector.named("use", "role", role.rolename)
    runs = code_of(collector, tree.qual, tree.with_check)
    for name in found:
        collector.then(partial(_add_policy, collector, name, runs))


def _add_policy(collector: Collector, name: ObjectName, code: Accesses) -> None:
    relation = collector.definitions.relations.get(name)
    if relation is not None and code != NOTHING:
        changed = replace(relation, on_access=(*relation.on_access, code))
        collector.definitions.put(changed)


def _statistics(collector: Collector, tree: Message) -> None:
    for node in map(inner, tree.relations):
        collector.relation("alter", relation_name(node))
    for part in map(inner, tree.exprs):
        collect(collector, part)
    if tree.defnames:
        touch_in_schema(collector, "define", "statistics", names(tree.defnames))


def _alter_statistics(collector: Collector, tree: Message) -> None:
    touch_in_schema(collector, "alter", "statistics", names(tree.defnames))


def _lock(collector: Collector, tree: Message) -> None:
    if tree.nowait:
        collector.block("every-table", "NOWAIT depends on who is at work", opaque=False)
    kind: EffectKind = "use" if tree.mode <= _READERS_PASS else "lock"
    for node in map(inner, tree.relations):
        collector.relation(kind, relation_name(node))


def _copy(collector: Collector, tree: Message) -> None:
    """COPY FROM adds rows; the columns that it does not name get their defaults."""
    if tree.is_program:
        collector.block("outside", "COPY ... PROGRAM runs a program on the server")
    elif tree.filename:
        collector.effects |= file_effects(tree.filename, is_written=not tree.is_from)
    if tree.HasField("query"):
        collect(collector, tree.query)
    elif tree.is_from:
        write(
            collector,
            "append",
            tree.relation,
            lambda target: names(tree.attlist) or _columns(collector, target[0]),
        )
        collect(collector, tree.where_clause)
    else:
        collector.relation("read", relation_name(tree.relation))


def _columns(collector: Collector, name: ObjectName) -> list[str]:
    return [column.name for column in collector.definitions.relations[name].columns or ()]


def _comment(collector: Collector, tree: Message) -> None:
    touch_object(collector, "describe", tree.objtype, inner(tree.object))


def _label(collector: Collector, tree: Message) -> None:
    touch_object(collector, "alter", tree.objtype, inner(tree.object))


def _owner(collector: Collector, tree: Message) -> None:
    node = tree.relation if tree.HasField("relation") else inner(tree.object)
    touch_object(collector, "alter", tree.object_type, node)
    if tree.object_type == pb.OBJECT_SCHEMA:
        collector.touch("alter", OTHERS_RIGHTS)
    if tree.newowner.rolename:
        collector.named("use", "role", tree.newowner.rolename)


def _depends(collector: Collector, tree: Message) -> None:
    collector.named("use", "extension", tree.extname.sval)
    if tree.HasField("relation"):
        collector.relation("alter", relation_name(tree.relation))
    else:
        touch_object(collector, "alter", tree.object_type, inner(tree.object))


def _grant(collector: Collector, tree: Message) -> None:
    for role in map(inner, tree.grantees):
        if role.rolename:
            collector.named("use", "role", role.rolename)
    if tree.targtype == pb.ACL_TARGET_ALL_IN_SCHEMA:
        for node in map(inner, tree.objects):
            _grant_all(collector, tree.objtype, node.sval)
        return
    if tree.objtype == pb.OBJECT_SCHEMA:  # those who use what is in it do not touch the schema
        collector.touch("alter", OTHERS_RIGHTS)
    for node in map(inner, tree.objects):
        touch_object(collector, "alter", tree.objtype, node)


def _grant_all(collector: Collector, object_type: int, schema: str) -> None:
    """What is in the schema now; whatever is made in it later has to wait for this."""
    definitions = collector.definitions
    collector.named("alter", "schema", schema)
    relations = object_type in {pb.OBJECT_TABLE, pb.OBJECT_SEQUENCE}
    for name in tuple(definitions.relations if relations else definitions.functions):
        if name.schema == schema:
            collector.touch("alter", name)


UPKEEP_RULES: dict[str, Callable[[Collector, Message], None]] = {
    "IndexStmt": _index,
    "ReindexStmt": _reindex,
    "VacuumStmt": _vacuum,
    "ClusterStmt": _cluster,
    "RefreshMatViewStmt": _refresh,
    "CreateTrigStmt": _trigger,
    "RuleStmt": _rule,
    "CreatePolicyStmt": _policy,
    "AlterPolicyStmt": _policy,
    "CreateStatsStmt": _statistics,
    "AlterStatsStmt": _alter_statistics,
    "LockStmt": _lock,
    "CopyStmt": _copy,
    "CommentStmt": _comment,
    "SecLabelStmt": _label,
    "AlterOwnerStmt": _owner,
    "AlterObjectDependsStmt": _depends,
    "GrantStmt": _grant,
}
