"""Which statements may write many rows at once, and which may read many by a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.tree import kind_of

if TYPE_CHECKING:
    from pgfan.sql.tree import Message


def fills(tree: Message) -> bool:
    """Whether a statement may write many rows at once."""
    match kind_of(tree):
        case "CopyStmt":
            return bool(tree.is_from)
        case "InsertStmt":
            return _has_query(tree)
        case "SelectStmt":
            return bool(tree.HasField("into_clause"))
        case "CreateTableAsStmt" | "RefreshMatViewStmt" | "UpdateStmt" | "MergeStmt":
            return True
        case _:
            return False


def plans(tree: Message) -> bool:
    """Whether a statement may read many rows, by a plan that statistics would make better."""
    match kind_of(tree):
        case "InsertStmt":
            return _has_query(tree)
        case "CopyStmt":
            return bool(tree.HasField("query"))
        case "SelectStmt":
            return bool(tree.from_clause) or bool(tree.op and tree.HasField("larg"))
        case "CreateTableAsStmt" | "RefreshMatViewStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt":
            return True
        case _:
            return False


def _has_query(tree: Message) -> bool:
    """Whether an INSERT has a source other than VALUES."""
    query = tree.select_stmt.select_stmt
    return bool(tree.HasField("select_stmt")) and not query.values_lists
