"""What EXPLAIN expects of a statement, which is planned for it and not run.

See "EXPLAIN" in PostgreSQL's manual; the figures are those of its JSON format.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pgfan.errors import DatabaseError
from pgfan.postgres.toast import BYTE_COST
from pgfan.sql.reasons import Reason

if TYPE_CHECKING:
    from pgfan.ports import Result, Session

WRITE_COST = 0.1
"""What a row costs to write, about 1 us."""
_EXPLAIN = "EXPLAIN (FORMAT JSON) "
_SERIALLY = "BEGIN; SET LOCAL max_parallel_workers_per_gather = 0; "
_GATHERS = frozenset({"Gather", "Gather Merge"})
_BY_INDEX = frozenset({"Index Scan", "Index Only Scan", "Bitmap Heap Scan"})


class Explained(Struct, frozen=True):
    """Total cost in the planner's units, rows written or returned, bytes of a row returned."""

    cost: float = 0.0
    rows: float = 0.0
    width: float = 0.0
    is_parallel: bool = False
    """Whether any node gathers rows from parallel workers."""
    looks_up_from: str = ""
    """The alias of the table for whose rows a nested loop looks up others by an index, if any."""
    stored_apart: float = 0.0
    """Bytes of a row that are out of line, which EXPLAIN does not tell (`pgfan.postgres.toast`)."""

    @property
    def cost_with_writing(self) -> float:
        """The cost with that of storing the rows, which EXPLAIN leaves out."""
        return self.cost + self.rows * (WRITE_COST + self.stored_apart * BYTE_COST)


def explain(session: Session, sql: str, *, parallel: bool = True) -> Explained:
    """EXPLAIN's plan for one statement; `parallel` False allows no parallel plan.

    Raises DatabaseError, its place counted in `sql`, for what PostgreSQL cannot plan. The session
    must not be in a transaction.
    """
    before, after = (_EXPLAIN, "") if parallel else (_SERIALLY + _EXPLAIN, "COMMIT")
    return _explained(_answers(session, before, sql, after))


def explain_and(session: Session, sql: str, query: str) -> tuple[Explained, Result]:
    """EXPLAIN's plan for one statement, and the answer to a query, in one round trip."""
    explained_by, answer = _answers(session, _EXPLAIN, sql, query)
    return _explained([explained_by]), answer


def _answers(session: Session, before: str, sql: str, after: str) -> list[Result]:
    try:
        # `sql` may end in a line comment.
        return session.execute(f"{before}{sql}\n; {after}" if after else before + sql)
    except DatabaseError as error:
        session.rollback()
        if error.statement_offset is not None:
            error.statement_offset = max(0, error.statement_offset - len(before))
        raise


def _explained(answers: list[Result]) -> Explained:
    text = next(answer.rows[0][0] for answer in reversed(answers) if answer.rows)
    found = json.loads(text or "[]")
    # None for what a rule makes of it, or for CREATE TABLE IF NOT EXISTS of a table that is there.
    if not found or "Plan" not in found[0]:
        return Explained()
    top: dict[str, Any] = found[0]["Plan"]
    nodes, kinds = [top], set()
    while nodes:
        node = nodes.pop()
        kinds.add(node["Node Type"])
        nodes.extend(node.get("Plans", ()))
    return Explained(
        cost=float(top["Total Cost"]),
        rows=_rows(top),
        width=float(top["Plan Width"]),
        is_parallel=not kinds.isdisjoint(_GATHERS),
        looks_up_from=_looks_up_from(top),
    )


def _looks_up_from(plan: dict[str, Any]) -> str:
    """The table at the outer end of all joins, when one on the way is such a loop; or nothing."""
    found = False
    while True:
        below = {each.get("Parent Relationship"): each for each in plan.get("Plans", ())}
        if plan["Node Type"] == "Nested Loop" and "Inner" in below:
            inner = below["Inner"]
            while inner["Node Type"] in {"Memoize", "Materialize"}:
                inner = inner["Plans"][0]
            found = found or inner["Node Type"] in _BY_INDEX
        following = below.get("Outer") or below.get("Subquery")
        if following is None:
            return str(plan["Alias"]) if found and "Relation Name" in plan else ""
        plan = following


def explained(
    session: Session, sql: str, whose: str = "", *, parallel: bool = True
) -> Explained | Reason:
    """As `explain`, with a refusal as a reason; `whose` says of what (" of a chunk")."""
    try:
        return explain(session, sql, parallel=parallel)
    except DatabaseError as error:
        return Reason("explain", f"EXPLAIN{whose} failed: {error.message}")


def _rows(plan: dict[str, Any]) -> float:
    """What the statement writes or returns: a node that writes has no rows of its own."""
    if plan["Node Type"] != "ModifyTable":
        return float(plan["Plan Rows"])
    sources = [node for node in plan.get("Plans", ()) if node.get("Parent Relationship") == "Outer"]
    return sum(float(node["Plan Rows"]) for node in sources)
