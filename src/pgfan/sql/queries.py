"""Queries and expressions: every name in them, given to a `Collector`.

What has no rule here is walked through, so that no name is missed, in whatever node type it stands.
WITH queries hide relations of their names where they are visible (manual, "WITH Queries"): the
target of INSERT, UPDATE, DELETE and MERGE is never one of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import postgast
from postgast import pg_query_pb2 as pb

from pgfan.sql import builtin_functions
from pgfan.sql.access import OPERATOR_KINDS, attribute_names, operator_names, relation_name
from pgfan.sql.collector import Collector, constant_text
from pgfan.sql.effects import ObjectName
from pgfan.sql.names import name_in_text
from pgfan.sql.parsing import NestedTooDeepError, parse
from pgfan.sql.tree import Message, inner, kind_of, names, parse_expression, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgfan.sql.definitions import Code
    from pgfan.sql.effects import Accesses, EffectKind

Scope: TypeAlias = frozenset[str]
"""The names of the WITH queries that are visible."""
Stack: TypeAlias = list[tuple[Message, Scope]]
NO_SCOPE: Scope = frozenset()

_LEAVES = frozenset({"a_const", "string", "a_star", "integer", "float", "boolean", "param_ref"})
_SKIPPED = frozenset({"alias", "locked_rels", "into_clause"})
"""Fields with names that mean no relation of their own."""
_hows: dict[object, str] = {}
"""How many messages each field of libpg_query's messages holds: "" for those that are skipped."""
_STATEMENT = re.compile(r"\s*(select|with|values|create\s+rule)\b", re.IGNORECASE)
_REG_TYPES = frozenset(
    {"regclass", "regproc", "regprocedure", "regtype", "regnamespace", "regrole"}
)


def collect(collector: Collector, node: Message, scope: Scope = NO_SCOPE) -> None:
    """Everything in a node and below it. Iterative: nesting may be deep."""
    stack: Stack = []
    _push(node, scope, stack)
    while stack:
        current, scope = stack.pop()
        rule = _RULES.get(current.__class__)
        if rule is not None:
            rule(collector, current, scope, stack)
        else:
            _below(current, scope, stack)


def collect_all(collector: Collector, nodes: Iterable[Message]) -> None:
    """Several of them."""
    for node in nodes:
        collect(collector, node)


def code_of(collector: Collector, *nodes: Message) -> Accesses:
    """What `nodes` run when they are used; here only the definitions that they need are touched."""
    inside = Collector(collector.definitions, collector.session, collector.path)
    collect_all(inside, nodes)
    found = inside.accesses
    for effect in found.effects:
        collector.touch("use", effect.object)
    return found


def run(collector: Collector, codes: Iterable[Code]) -> None:
    """Everything that pieces of code run. In text every name has its schema."""
    for code in codes:
        if isinstance(code, str):
            inside = Collector(collector.definitions, collector.session, ())
            trees = trees_of(code)
            if trees is None:
                inside.block("statement-unknown", f"{code[:60]} is not understood")
            collect_all(inside, trees or ())
            collector.add(inside.accesses)
        else:
            collector.add(code)


@lru_cache(maxsize=10_000)
def trees_of(code: str) -> tuple[Message, ...] | None:
    """The trees of an expression, a query, or the actions of a CREATE RULE; None if unreadable."""
    try:
        if _STATEMENT.match(code) is None:
            return (parse_expression(code),)
        tree = inner(parse(code).stmts[0].stmt)
    except (postgast.PgQueryError, NestedTooDeepError, IndexError):
        return None
    if kind_of(tree) == "RuleStmt":
        return (*tree.actions, tree.where_clause)
    return (tree,)


def write(
    collector: Collector,
    kind: EffectKind,
    target: Message,
    given: Callable[[tuple[ObjectName, ...]], Iterable[str]] | None,
) -> None:
    """Touch the target of a statement that writes rows.

    `given` says which columns get values from it: the defaults of all others are evaluated. None:
    no default is.
    """
    found = collector.relation(kind, relation_name(target))
    if given is None:
        return
    relations = collector.definitions.relations
    for name in found:
        for one in collector.definitions.matching(name):
            if any(column.default for column in relations[one].columns or ()):
                defaults(collector, one, frozenset(given((one,))))


def defaults(collector: Collector, name: ObjectName, given: frozenset[str]) -> None:
    """What the defaults of a relation's columns run, but for the columns that are given."""
    for one in collector.definitions.matching(name):
        for column in collector.definitions.relations[one].columns or ():
            if column.default and column.name not in given:
                run(collector, column.default)


def _push(node: Message, scope: Scope, stack: Stack) -> None:
    """Visit what is in a node; there is nothing to visit in a constant."""
    if node.__class__ is pb.Node:
        which = node.WhichOneof("node")
        if which is None or which in _LEAVES:
            return
        node = getattr(node, which)
    stack.append((node, scope))


def _below(message: Message, scope: Scope, stack: Stack) -> None:
    for descriptor, value in message.ListFields():
        how = _hows.get(descriptor)
        if how is None:
            skipped = descriptor.type != descriptor.TYPE_MESSAGE or descriptor.name in _SKIPPED
            one = hasattr(value, "DESCRIPTOR")
            how = _hows[descriptor] = "" if skipped else "one" if one else "many"
        if how == "many":
            for part in value:
                _push(part, scope, stack)
        elif how == "one":
            _push(value, scope, stack)


def _with(message: Message, scope: Scope, stack: Stack) -> Scope:
    """What is visible beside the WITH clause of a statement; its queries go on the stack."""
    clause = message.with_clause
    queries = [inner(query) for query in clause.ctes]
    every = scope | {query.ctename for query in queries}
    for query in queries:
        _below(query, every if clause.recursive else scope, stack)
        scope |= {query.ctename}
    return every


def _select(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    if node.HasField("with_clause"):
        scope = _with(node, scope, stack)
        before = len(stack)
        _below(node, scope, stack)
        stack[before:] = [p for p in stack[before:] if p[0].__class__ is not pb.WithClause]
    else:
        _below(node, scope, stack)
    if node.HasField("into_clause"):  # as a statement it has a rule of its own: here it is refused
        collector.block("statement-unknown", "SELECT INTO stands inside of a statement")


def _insert(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    if node.HasField("with_clause"):
        scope = _with(node, scope, stack)
    kind: EffectKind = "modify" if node.HasField("on_conflict_clause") else "append"
    write(collector, kind, node.relation, lambda target: _given(collector, node, target))
    _push(node.select_stmt, scope, stack)
    if kind == "modify":
        stack.append((node.on_conflict_clause, scope))
    if node.HasField("returning_clause"):
        stack.append((node.returning_clause, scope))


def _given(collector: Collector, node: Message, target: tuple[ObjectName, ...]) -> Iterable[str]:
    """The columns of an INSERT that get no default."""
    select = node.select_stmt.select_stmt
    rows = [inner(row).items for row in select.values_lists]
    if node.override == pb.OVERRIDING_USER_VALUE or any(
        part.WhichOneof("node") == "set_to_default" for row in rows for part in row
    ):
        return ()
    if node.cols:
        return [inner(column).name for column in node.cols]
    count = len(rows[0]) if rows else _width(select)
    columns = collector.definitions.relations[target[0]].columns
    return [column.name for column in (columns or ())[:count]]


def _nothing(_target: object) -> tuple[str, ...]:
    return ()


def _width(select: Message) -> int:
    """How many columns a SELECT gives; 0 when a star hides it."""
    while select.HasField("larg"):
        select = select.larg
    for target in select.target_list:
        last = inner(target.res_target.val)
        if kind_of(last) in {"ColumnRef", "A_Indirection"} and any(
            kind_of(part) == "A_Star" for part in walk(last)
        ):
            return 0
    return len(select.target_list)


def _update(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    if node.HasField("with_clause"):
        scope = _with(node, scope, stack)
    sets_default = any(
        part.WhichOneof("node") == "res_target"
        and part.res_target.val.WhichOneof("node") == "set_to_default"
        for part in node.target_list
    )
    write(collector, "modify", node.relation, _nothing if sets_default else None)
    for part in (*node.target_list, *node.from_clause, node.where_clause, node.returning_clause):
        _push(part, scope, stack)


def _delete(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    if node.HasField("with_clause"):
        scope = _with(node, scope, stack)
    write(collector, "modify", node.relation, None)
    for part in (*node.using_clause, node.where_clause, node.returning_clause):
        _push(part, scope, stack)


def _merge(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    if node.HasField("with_clause"):
        scope = _with(node, scope, stack)
    write(collector, "modify", node.relation, _nothing)
    parts = (node.source_relation, node.join_condition, *node.merge_when_clauses)
    for part in (*parts, node.returning_clause):
        _push(part, scope, stack)


def _relation(collector: Collector, node: Message, scope: Scope, _: Stack) -> None:
    if node.schemaname or node.relname not in scope:
        collector.relation("read", relation_name(node))


def _call(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    name = names(node.funcname)
    before = len(stack)
    _below(node, scope, stack)
    if not collector.function("read", name):
        return
    last = name[-1]
    if last in builtin_functions.SEQUENCE and node.args:
        if collector.draw(node.args[0]):
            del stack[before:]
            for argument in node.args[1:]:
                _push(argument, scope, stack)
    elif last == "set_config":
        collector.set_config(node)
    elif last == "pg_notify":
        collector.notify(node)
    else:
        collector.builtin(last)


def _type(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    name = names(node.names)
    if node.pct_type:
        collector.relation("use", name[:-1])
    elif name and name[0] != "pg_catalog":
        collector.type(name)
    for part in node.typmods:
        _push(part, scope, stack)


def _cast(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    _below(node, scope, stack)
    target = names(node.type_name.names)[-1:]
    if not target or target[0] not in _REG_TYPES:
        return
    name = name_in_text(constant_text(node.arg) or "")
    match target[0]:
        case "regclass" if name:
            collector.relation("use", name)
        case "regproc" if name:
            collector.function("use", name)
        case "regtype" if name:
            collector.type(name)
        case _ if _is_oid(inner(node.arg)):
            pass
        case _:
            message = f"a text is looked up as {target[0]}"
            collector.block("catalogue-read", message, opaque=False)


def _is_oid(node: Message) -> bool:
    """Whether a cast to regclass only prints a number's name: tableoid, a constant number."""
    if kind_of(node) == "ColumnRef":
        return names(node.fields)[-1:] == ("tableoid",)
    return kind_of(node) == "A_Const" and node.WhichOneof("val") == "ival"


def _locking(collector: Collector, node: Message, _scope: Scope, _stack: Stack) -> None:
    """FOR UPDATE only waits; with SKIP LOCKED and NOWAIT others at work change the result."""
    if node.wait_policy != pb.LockWaitBlock:
        what = "SKIP LOCKED and NOWAIT depend on who is at work"
        collector.block("every-table", what, opaque=False)


def _collate(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    name = names(node.collname)
    if name and name[0] != "pg_catalog":
        schema = name[-2] if len(name) > 1 else None
        collector.touch("use", ObjectName("collation", schema, name[-1]))
    _push(node.arg, scope, stack)


def _attribute(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    """`a.name` calls name(a) where a has no such column."""
    if kind_of(node) == "ColumnRef" and len(node.fields) == 1:
        return
    for name in attribute_names(node):
        if collector.definitions.names.get(("function", name)):
            collector.function("read", (name,))
    if kind_of(node) == "A_Indirection":
        _below(node, scope, stack)


def _operator(collector: Collector, node: Message, scope: Scope, stack: Stack) -> None:
    operators = collector.definitions.operators
    if operators:
        for name in operator_names(node):
            for function in operators.get(name[-1], ()):
                collector.touch("read", function)
    _below(node, scope, stack)


_RULES: dict[type, Callable[[Collector, Message, Scope, Stack], None]] = {
    pb.SelectStmt: _select,
    pb.InsertStmt: _insert,
    pb.UpdateStmt: _update,
    pb.DeleteStmt: _delete,
    pb.MergeStmt: _merge,
    pb.RangeVar: _relation,
    pb.FuncCall: _call,
    pb.TypeName: _type,
    pb.TypeCast: _cast,
    pb.LockingClause: _locking,
    pb.CollateClause: _collate,
    pb.ColumnRef: _attribute,
    pb.A_Indirection: _attribute,
    **{getattr(pb, kind): _operator for kind in OPERATOR_KINDS},
}
