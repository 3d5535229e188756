"""UNION ALL taken apart: its branches, and how one of them is made to give no rows.

A UNION ALL is the bag union of its branches, so a statement that distributes over its rows may be
run once for each branch, the others being empty. They stay in the statement: the types and the
names of the result are decided by all of them together ("UNION, CASE, and Related Constructs" in
PostgreSQL's manual).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct
from postgast import pg_query_pb2 as pb

from pgfan.sql.tree import Message, add_copies, kind_of, parse_expression, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.sql.candidates import Candidate
    from pgfan.sql.reasons import Reason

BRANCHES_MAX = 64
"""Every chunk carries, and the server parses and plans, all branches of the statement."""
LEFT_ARM = -1
RIGHT_ARM = -2
"""Steps of a path to a SELECT; steps from 0 on are ordinals of items of FROM."""


class Query(Struct, frozen=True):
    """A SELECT, the steps to it, and those around it, the statement's own first, itself last."""

    path: tuple[int, ...]
    selects: tuple[Message, ...]

    @property
    def select(self) -> Message:
        """The SELECT itself."""
        return self.selects[-1]


class Branch(Struct, frozen=True):
    """A branch of a UNION ALL: the steps to it, and on what it may be split, the others empty.

    Without candidates it runs once, whole, for `reasons`.
    """

    path: tuple[int, ...]
    candidates: tuple[Candidate, ...]
    reasons: tuple[Reason, ...]


Branches: TypeAlias = tuple[Branch, ...]


def is_union_all(select: Message) -> bool:
    """Whether the rows of `select` are those of its two arms, no more and no fewer."""
    limited = select.HasField("limit_count") or select.HasField("limit_offset")
    is_union = select.op == pb.SetOperation.Value("SETOP_UNION") and select.all
    return bool(select.HasField("larg") and is_union and not limited)


def branches_of(union: Query) -> tuple[Query, ...] | None:
    """The branches of a UNION ALL from left to right, nested ones too; None for too many."""
    if _more_than(BRANCHES_MAX, union.select):
        return None
    found: list[Query] = []
    stack = [union]
    while stack:
        query = stack.pop()
        if not is_union_all(query.select):
            found.append(query)
            continue
        for step, arm in ((RIGHT_ARM, query.select.rarg), (LEFT_ARM, query.select.larg)):
            stack.append(Query((*query.path, step), (*query.selects, arm)))
    return tuple(found)


def simple_selects(select: Message) -> Iterator[Message]:
    """The SELECTs and VALUES that set operations put together; `select` when there are none."""
    stack = [select]
    while stack:
        node = stack.pop()
        if node.HasField("larg"):
            stack.extend((node.rarg, node.larg))
        else:
            yield node


def leftmost(select: Message) -> Message:
    """The first SELECT of a set operation; it names the columns, and has the INTO of all."""
    while select.HasField("larg"):
        select = select.larg
    return select


def output_count(simple: Message) -> int:
    """How many entries its target list, or each row of its VALUES, has; a star is one."""
    if simple.values_lists:
        return len(simple.values_lists[0].list.items)
    return len(simple.target_list)


def make_empty(select: Message) -> None:
    """Change `select` so that it gives no rows and costs nothing, and the same columns as before.

    LIMIT 0 is what makes it empty, aggregates and VALUES too: nothing below is executed. `AND
    false` lets the planner leave out what is below. A set operation of empty queries is empty.
    """
    for simple in simple_selects(select):
        if not simple.values_lists:
            add_condition(simple, "where_clause", parse_expression("false"))
        simple.limit_count.CopyFrom(parse_expression("0"))
        simple.limit_option = pb.LimitOption.Value("LIMIT_OPTION_COUNT")


def add_condition(message: Message, clause: str, condition: Message) -> None:
    """Add a condition to WHERE (`where_clause`), or to the ON of a join (`quals`)."""
    before = getattr(message, clause)
    if not message.HasField(clause):
        before.CopyFrom(condition)
        return
    both = pb.BoolExpr(boolop=pb.BoolExprType.Value("AND_EXPR"))
    # The parser makes one list of a AND b AND c, so a list is what the tree must hold.
    flat = before.WhichOneof("node") == "bool_expr" and before.bool_expr.boolop == both.boolop
    add_copies(both.args, before.bool_expr.args if flat else [before])
    added = condition.WhichOneof("node") == "bool_expr"
    add_copies(both.args, condition.bool_expr.args if added else [condition])
    before.CopyFrom(wrap("bool_expr", both))


def step_into(select: Message, step: int) -> Message:
    """The arm of a set operation that a negative step means."""
    if kind_of(select) != "SelectStmt" or step not in {LEFT_ARM, RIGHT_ARM}:
        raise ValueError(f"{step} is no arm of a set operation")
    return select.larg if step == LEFT_ARM else select.rarg


def _more_than(branches_max: int, select: Message) -> bool:
    """Counted apart, as the paths of 10,000 branches would take a gigabyte."""
    count = 0
    stack = [select]
    while stack:
        node = stack.pop()
        if is_union_all(node):
            stack.extend((node.larg, node.rarg))
            continue
        count += 1
        if count > branches_max:
            return True
    return False
