"""Everything in a statement that calls a function: by name, by operator, by attribute.

`pgfan.sql.functions` says what one function may do; here its place in the statement decides. A
volatile function is sound where it is evaluated once for each row of the driving relation, and
nowhere else: every chunk evaluates the rest of the statement again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from postgast import pg_query_pb2 as pb

from pgfan.sql import functions
from pgfan.sql.access import OPERATOR_KINDS, attribute_names, operator_names
from pgfan.sql.inline import is_with_query
from pgfan.sql.levels import (
    Placed,
    belongs_to_own_level,
    is_column,
    is_evaluated_per_row,
    is_from_item,
    is_from_kind,
)
from pgfan.sql.reasons import Reason
from pgfan.sql.sources import from_items
from pgfan.sql.tree import Message, Nodes, inner, kind_of, names, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pgfan.sql.facts import CatalogFacts

_JUDGED_KINDS = frozenset({"A_Indirection", "FuncCall", "SubLink"})
CONTEXT_KINDS = frozenset(filter(is_from_kind, pb.DESCRIPTOR.message_types_by_name))
"""The types of nodes that a `Context` is made of."""
_DEFAULT_FRAME = 0x2 | 0x20 | 0x400
"""RANGE, from UNBOUNDED PRECEDING to CURRENT ROW: nodes/parsenodes.h, FRAMEOPTION_DEFAULTS."""
_RANKS = frozenset({"cume_dist", "dense_rank", "percent_rank", "rank"})
_ARRAY_SUBLINK = 7  # SubLinkType in nodes/primnodes.h, as libpg_query numbers it


class Context(Struct, frozen=True):
    """What calls are judged by.

    `from_nodes` is what names may mean. `per_row`: the subqueries that are evaluated again for each
    row of the driving relation.
    """

    facts: CatalogFacts
    from_nodes: list[Message]
    per_row: Sequence[Message] = ()

    def is_per_row(self, query: Message) -> bool:
        """Whether a SELECT is one of those."""
        return any(query is one for one in self.per_row)


def kinds_to_judge(columns: Iterable[Message], facts: CatalogFacts) -> frozenset[str]:
    """The types of nodes in which `call_objections` may find any; `columns` are all ColumnRefs.

    Most operators are nobody's, and what most columns are called is no function.
    """
    kinds = _JUDGED_KINDS
    if any(facts.operators.values()):
        kinds |= OPERATOR_KINDS
    qualified = [fields for fields in (column.fields for column in columns) if len(fields) > 1]
    attributes = {fields[-1].string.sval for fields in qualified}  # "" for a star
    if not all(functions.is_harmless_attribute(name, facts) for name in attributes):
        kinds |= {"ColumnRef"}
    return kinds


def call_objections(found: Placed, context: Context) -> Iterator[Reason]:
    """Why what a node calls does not give the same rows when the statement is split."""
    if found.kind == "FuncCall":
        yield from _named(found, context)
    elif found.kind in {"ColumnRef", "A_Indirection"}:
        yield from _attribute(found.node, context.from_nodes, context.facts)
    elif found.kind in OPERATOR_KINDS:
        yield from operator_objections(found.node, context.facts)
        yield from _array(found.node, context)


def expression_objections(expression: Message, facts: CatalogFacts) -> Iterator[Reason]:
    """The same for an expression of one row that stands alone: a column's default."""
    nodes = Nodes(walk(expression))
    yield from functions.special_datetimes(nodes)
    yield from type_objections(nodes, facts)
    yield from cycling(nodes, facts)
    yield from _unplaced_objections(nodes, [], facts)


def type_objections(nodes: Nodes, facts: CatalogFacts) -> Iterator[Reason]:
    """Why types that are named, for a cast or a column, are not the same in every chunk."""
    if not (facts.unsafe_types or facts.temporary_types):
        return
    for name in (names(node.names)[-1] for node in nodes.of("TypeName")):
        if name in facts.unsafe_types:
            yield checked(name)
        if name in facts.temporary_types:
            why = f"the type {name} is temporary: other connections cannot see it"
            yield Reason("temporary-table", why)


def checked(name: str) -> Reason:
    """Why a value of a type is not made in chunks."""
    why = f"the type {name} has a check whose function may look at other rows"
    return Reason("cast-function", why)


def cycling(nodes: Nodes, facts: CatalogFacts) -> Iterator[Reason]:
    """Values of a sequence that cycles: which come twice depends on how sessions take them."""
    calls = nodes.of("FuncCall") if facts.cycling_sequences else ()
    if any(functions.base_name(node) == "nextval" for node in calls):
        why = f"nextval() where a sequence ({facts.cycling_sequences[0]}) cycles"
        yield Reason("function-volatile", why)


def once_objections(query: Message, facts: CatalogFacts) -> Iterator[Reason]:
    """Why a query that one chunk evaluates whole may see what other chunks did.

    It may depend on the order of its rows: the single statement might have had them in this one.
    """
    nodes = Nodes(walk(query))
    yield from _unplaced_objections(nodes, list(filter(is_from_item, nodes)), facts)


def _unplaced_objections(
    nodes: Nodes, from_nodes: list[Message], facts: CatalogFacts
) -> Iterator[Reason]:
    """Why what nodes call may not be called in a chunk, wherever they stand."""
    for node in nodes:
        match kind_of(node):
            case "FuncCall":
                reason = functions.objection(node, functions.meant(node, facts))
                if reason is not None:
                    yield reason
            case "ColumnRef" | "A_Indirection":
                yield from _attribute(node, from_nodes, facts)
            case _:
                yield from operator_objections(node, facts)


def operator_objections(node: Message, facts: CatalogFacts) -> Iterator[Reason]:
    """Operators of users whose functions are not immutable, or return sets."""
    if not facts.operators:
        return
    for name in operator_names(node):
        for function in facts.operators.get(name, ()):
            if function.volatility != "i" or function.returns_set:
                what = "returns a set" if function.volatility == "i" else "is not immutable"
                yield Reason("operator-unknown", f"operator {name[-1]} of {function.schema} {what}")


def queries_per_row(found: Placed) -> Iterator[Message]:
    """The subquery that a node is, when each row of the driving relation evaluates it again."""
    if found.kind == "SubLink" and found.is_per_row:
        query = inner(found.node.subselect)
        # What reads a query in WITH has for all rows the one order that this has.
        nodes = Nodes(walk(query))
        if is_evaluated_per_row(query, found.select) and not any(
            map(is_with_query, nodes.of("RangeVar"))
        ):
            yield query


def _array(node: Message, context: Context) -> Iterator[Reason]:
    is_array = kind_of(node) == "SubLink" and node.sub_link_type == _ARRAY_SUBLINK
    if is_array and not context.is_per_row(inner(node.subselect)):
        yield Reason("row-order", "ARRAY(SELECT ...) depends on the order of rows")


def _named(found: Placed, context: Context) -> Iterator[Reason]:
    call, means = found.node, functions.meant(found.node, context.facts)
    has_over = call.HasField("over")
    if has_over or means.is_window:
        repeats = has_over and not found.is_on_path and _has_equal_peers(call.over, means)
        if not repeats and not (found.is_on_path and has_over):
            yield Reason("window", "window functions in a subquery depend on the order of rows")
        elif (reason := functions.objection(call, means)) is not None:
            yield reason
    elif means.is_aggregate:
        yield from _aggregate(found, means, context)
    elif (reason := functions.objection(call, means)) is not None:
        yield reason
    elif not means.is_volatile:
        return
    elif not found.is_per_row:
        yield Reason(
            "volatile-subquery",
            f"{means.name}() is volatile below the top level: every chunk would evaluate it again",
        )
    elif found.place == "where" and len(list(from_items(found.select))) > 1:
        # It may be evaluated before the join, once for a row that every chunk reads.
        yield Reason("volatile-subquery", f"{means.name}() is volatile in the WHERE of a join")


def _has_equal_peers(over: Message, means: functions.Meant) -> bool:
    """Whether a window call gives all rows that its ORDER BY leaves equal the same value.

    With the default frame, which ends with the last of them (manual, "Window Function Calls").
    """
    return (
        not (over.name or over.refname)
        and over.frame_options == _DEFAULT_FRAME
        and means.is_builtin
        and (means.name in _RANKS or means.name in functions.ORDER_FREE_AGGREGATES)
    )


def _aggregate(found: Placed, means: functions.Meant, context: Context) -> Iterator[Reason]:
    name = means.name
    if found.is_on_path:
        if not found.select.group_clause:
            yield Reason("aggregate", f"{name}() without GROUP BY looks at all rows")
        elif (reason := functions.objection(found.node, means)) is not None:
            yield reason
    elif not means.is_builtin or not (
        name in functions.ORDER_FREE_AGGREGATES or context.is_per_row(found.select)
    ):
        yield Reason("aggregate", f"{name}() in a subquery depends on the order of rows")
    elif not belongs_to_own_level(found.node, found.select, context.facts):
        yield Reason("aggregate", f"{name}() in a subquery may aggregate the rows around it")


def _attribute(node: Message, from_nodes: list[Message], facts: CatalogFacts) -> Iterator[Reason]:
    """`a.name` calls name(a) where a has no such column."""
    for name in attribute_names(node):
        if functions.is_harmless_attribute(name, facts) or is_column(node, from_nodes, facts):
            continue
        yield Reason("attribute-function", f".{name} may be a call of the function {name}()")
