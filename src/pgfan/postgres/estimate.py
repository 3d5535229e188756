"""What EXPLAIN expects of a statement, which is planned for it and not run.

See "EXPLAIN" in PostgreSQL's manual; the figures are those of its JSON format.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pgfan.errors import DatabaseError
from pgfan.plan.preview import Estimate

if TYPE_CHECKING:
    from pgfan.ports import Session

_EXPLAIN = "EXPLAIN (FORMAT JSON) "


def estimate(session: Session, sql: str) -> Estimate:
    """Rows and total cost of one statement.

    Raises DatabaseError, its place counted in `sql`, for one that PostgreSQL cannot plan.
    """
    try:
        text = session.execute(_EXPLAIN + sql)[0].rows[0][0]
    except DatabaseError as error:
        session.rollback()
        if error.statement_offset is not None:
            error.statement_offset = max(0, error.statement_offset - len(_EXPLAIN))
        raise
    plan: dict[str, Any] = json.loads(text or "[]")[0]["Plan"]
    return Estimate(_rows(plan), float(plan["Total Cost"]))


def _rows(plan: dict[str, Any]) -> float:
    """What the statement writes or returns: a node that writes has no rows of its own."""
    if plan["Node Type"] != "ModifyTable":
        return float(plan["Plan Rows"])
    sources = [node for node in plan.get("Plans", ()) if node.get("Parent Relationship") == "Outer"]
    return sum(float(node["Plan Rows"]) for node in sources)
