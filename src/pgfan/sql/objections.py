"""What speaks against a split whatever the driving relation is: the statement, its relations.

The rules about one driving relation and its key are in `pgfan.sql.distribute`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql import functions
from pgfan.sql.access import JSON_CALLS, operator_names, relation_name
from pgfan.sql.calls import checked, cycling, type_objections
from pgfan.sql.conflict import conflict_objections
from pgfan.sql.constructs import construct_objections, extent_objections
from pgfan.sql.inline import PREFIX, is_with_query, not_analysed
from pgfan.sql.merge import merge_objections
from pgfan.sql.reasons import Reason
from pgfan.sql.shape import IN_PLACE
from pgfan.sql.target import changed_columns, moves_rows, target_objections
from pgfan.sql.tree import Message, Nodes, children, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgfan.sql.facts import CatalogFacts, Name, RelationFacts
    from pgfan.sql.shape import Shape


def objections_everywhere(
    shape: Shape, facts: CatalogFacts, views: Mapping[Name, Reason]
) -> Iterator[Reason]:
    """What speaks against a split whatever the driving relation is."""
    yield from _objections_to_statement(shape, facts)
    yield from _objections_below(shape)
    yield from construct_objections(shape.nodes)
    if shape.kind != "create":  # what the name means now is not what will be written
        yield from target_objections(shape.insert.relation, facts, _events(shape, facts))
    yield from _objections_to_relations(shape, facts, views)
    if facts.unsafe_casts:
        yield Reason(
            "cast-function",
            f"the cast {facts.unsafe_casts[0]} calls a function that may look "
            "at other rows, and casts are applied unseen",
        )
    yield from functions.special_datetimes(shape.tree_nodes)
    yield from _objections_to_unseen(shape, facts)


def _objections_to_unseen(shape: Shape, facts: CatalogFacts) -> Iterator[Reason]:
    """What is called, or looked at, where no call stands."""
    yield from type_objections(shape.tree_nodes, facts)
    yield from cycling(shape.tree_nodes, facts)
    if facts.unsafe_types and _calls_users(shape.tree_nodes, facts):
        yield checked(min(facts.unsafe_types))  # may be the type of an argument
    target = facts.relations.get(relation_name(shape.insert.relation))
    for column in target.columns if target is not None else ():
        if column.type.removesuffix("[]").rpartition(".")[2].strip('"') in facts.unsafe_types:
            yield checked(column.type)
    for kind in JSON_CALLS.keys() & shape.tree_nodes.by_kind.keys():
        for name in JSON_CALLS[kind]:
            if any(one.schema != "pg_catalog" for one in facts.functions.get((name,), ())):
                yield Reason("function-volatile", f"there is a function {name}() of a user's own")
    if any(names(node.fields)[-1:] == ("xmax",) for node in shape.tree_nodes.of("ColumnRef")):
        yield Reason("function-unstable", "xmax tells which rows other chunks have locked")
    if shape.kind == "create" and any(map(_looks_name_up, shape.tree_nodes.of("TypeCast"))):
        why = "a cast to regclass or regtype may look for the new table, which has no name yet"
        yield Reason("function-unstable", why)


def _calls_users(nodes: Nodes, facts: CatalogFacts) -> bool:
    """Whether a function or an operator of a user's own may be called."""
    calls = (functions.meant(node, facts) for node in nodes.of("FuncCall"))
    if any(call.found and not call.is_builtin for call in calls):
        return True
    return any(facts.operators.get(name) for node in nodes for name in operator_names(node))


def _looks_name_up(cast: Message) -> bool:
    """Whether a cast may take the name of a relation or a type that the rows have."""
    value = inner(cast.arg)
    if names(cast.type_name.names)[-1:] not in {("regclass",), ("regtype",)}:
        return False
    is_number = kind_of(value) == "ColumnRef" and names(value.fields)[-1:] == ("tableoid",)
    return kind_of(value) != "A_Const" and not is_number


def _objections_to_statement(shape: Shape, facts: CatalogFacts) -> Iterator[Reason]:
    tree = shape.tree
    if tree.HasField("with_clause") and shape.kind not in IN_PLACE:
        yield Reason("cte", "WITH is read by more than the query: by ON CONFLICT, or by MERGE")
    if tree.HasField("returning_clause"):
        yield Reason("returning", "RETURNING gives one result, not one for each chunk")
    if shape.kind == "insert":
        yield from conflict_objections(tree, facts)
    elif shape.kind == "merge":
        yield from merge_objections(tree)
    target = facts.relations.get(relation_name(tree.relation))
    changes = shape.events & {"update", "delete"}
    if target is not None and target.cascades and changes:
        yield Reason("foreign-key-action", "a foreign key of another table acts on each change")
    if target is not None and "update" in changes:
        unique = target.unique_columns & changed_columns(target, shape.assigned)
        if unique or ("*" in target.unique_columns):
            what = ", ".join(sorted(unique)) or "columns of an index over expressions"
            yield Reason("assigned-unique", f"{what}: unique over all rows, and assigned")
        elif target.unique_columns and moves_rows(target, shape.assigned):
            why = "rows change partition, and a partition has a unique index of its own"
            yield Reason("assigned-unique", why)


def _events(shape: Shape, facts: CatalogFacts) -> frozenset[str]:
    """What happens to rows of the target; to one that changes partition all of it."""
    target = facts.relations.get(relation_name(shape.insert.relation))
    moved = target is not None and "update" in shape.events and moves_rows(target, shape.assigned)
    return frozenset(shape.events) | ({"insert", "delete"} if moved else frozenset())


def _objections_below(shape: Shape) -> Iterator[Reason]:
    """What no level may have, and what a subquery that every chunk repeats may not."""
    nodes = shape.select_nodes
    if any(map(not_analysed, nodes.of("WithClause"))):
        yield Reason("cte", "a query in WITH that writes, or has SEARCH or CYCLE")
    if nodes.of("LockingClause"):
        yield Reason("locking", "FOR UPDATE and FOR SHARE lock rows for one transaction")
    for node in nodes.of("ParamRef"):
        yield Reason("parameter", f"there is no value for parameter ${node.number}")
    yield from extent_objections(_outside_of_branches(shape))


def _outside_of_branches(shape: Shape) -> Nodes:
    """The nodes of the SELECT; a branch that runs once may have what the others may not.

    What speaks against a branch that is divided is found on the path to it.
    """
    if not shape.unions:
        return shape.select_nodes
    apart = [union.select for union in shape.unions]
    found, stack = [], [shape.select]
    while stack:
        node = stack.pop()
        found.append(node)
        if not any(node is union for union in apart):
            stack.extend(reversed(list(children(node))))
    return Nodes(found)


def _objections_to_relations(
    shape: Shape, facts: CatalogFacts, views: Mapping[Name, Reason]
) -> Iterator[Reason]:
    if any(name[-1].startswith(PREFIX) for name in facts.relations):
        yield Reason("cte", f"a relation has a name that begins with {PREFIX}")
    target = facts.relations.get(relation_name(shape.insert.relation))
    joined = shape.joined_target
    for node in shape.select_nodes.of("RangeVar"):
        if is_with_query(node):
            continue
        name = ".".join(relation_name(node))
        relation = facts.relations.get(relation_name(node))
        if relation is None or relation.kind == "?" or node.catalogname:
            yield Reason("relation-unknown", f"relation {name} is not in the catalogue")
            continue
        reads = target is not None and target.family & relation.family
        if reads and shape.kind in {"insert", "merge"} and node is not joined:
            yield Reason("reads-target", f"{name} is read and written by the same statement")
        if relation.kind == "v":
            yield views.get(relation_name(node), Reason("view", f"{name} is a view"))
        yield from _objections_to_source(name, relation)


def _objections_to_source(name: str, relation: RelationFacts) -> Iterator[Reason]:
    if relation.has_rules:
        yield Reason("rule", f"{name} has a rule")
    if relation.persistence == "t":
        yield Reason("temporary-table", f"{name} is temporary: other connections cannot see it")
    if relation.row_security:
        yield Reason("row-security", f"row-level security is on for {name}")
    if relation.kind in {"r", "p"} and not relation.readable:
        yield Reason("privilege", f"the role may not read all of {name}: it cannot be locked")
    if relation.kind == "S":
        yield Reason("sequence-relation", f"{name} is a sequence: it has no snapshot")
    if relation.kind == "f" or relation.foreign_partitions:
        yield Reason("foreign-table", f"{name} is foreign: it has no snapshot here")
