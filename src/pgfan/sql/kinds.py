"""What a statement is called, for people and in the journal: "insert", "create table as"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.tree import kind_of

if TYPE_CHECKING:
    from pgfan.sql.tree import Message

KINDS = {
    "InsertStmt": "insert",
    "UpdateStmt": "update",
    "DeleteStmt": "delete",
    "MergeStmt": "merge",
    "SelectStmt": "select",
    "CreateTableAsStmt": "create table as",
    "VariableSetStmt": "set",
    "TransactionStmt": "transaction",
}


def kind_in_words(tree: Message) -> str:
    """The kind of a statement; those without a name of their own have their node's."""
    name = kind_of(tree)
    return KINDS.get(name) or _words(name.removesuffix("Stmt"))


def _words(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
