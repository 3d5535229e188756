"""A changed tree as text that PostgreSQL reads as that very tree.

libpg_query's deparser has faults, so what it writes is parsed again and compared. A statement that
does not come back the same is not run in its changed form.
"""

from __future__ import annotations

import postgast

from pgfan.sql.parsing import is_deeper, parse
from pgfan.sql.tree import Message, copy_of, deparse_statement, fields, kind_of, wrap

LEVELS_MAX = 1000
"""libpg_query's deparser overflows an 8 MB stack at about 20,000 levels."""
_NODE_FIELDS = {
    "InsertStmt": "insert_stmt",
    "UpdateStmt": "update_stmt",
    "DeleteStmt": "delete_stmt",
    "MergeStmt": "merge_stmt",
    "CreateTableAsStmt": "create_table_as_stmt",
    "SelectStmt": "select_stmt",
}
_LOCATIONS = frozenset(
    {
        "list_end",
        "list_start",
        "location",
        "rexpr_list_end",
        "rexpr_list_start",
        "stmt_len",
        "stmt_location",
    }
)


class RenderError(Exception):
    """The changed statement has no text that means it."""


def render(tree: Message) -> str:
    """The statement as SQL. Raises RenderError when parsing that gives another tree."""
    if is_deeper(tree, LEVELS_MAX):
        raise RenderError("the statement is nested too deeply to be rewritten")
    statement = wrap(_NODE_FIELDS[kind_of(tree)], tree)
    try:
        text = deparse_statement(statement)
        again = parse(text)
    except postgast.PgQueryError as error:
        raise RenderError(f"the rewritten statement is not SQL: {error.message}") from error
    if len(again.stmts) != 1 or not same_tree(again.stmts[0].stmt, statement):
        raise RenderError("libpg_query does not give the rewritten statement back unchanged")
    return text


def same_tree(left: Message, right: Message) -> bool:
    """Whether two trees differ in nothing but locations."""
    return bool(_without_locations(left) == _without_locations(right))


def _without_locations(message: Message) -> Message:
    copy = copy_of(message)
    stack = [copy]
    while stack:
        current = stack.pop()
        for descriptor, _ in current.ListFields():
            if descriptor.name in _LOCATIONS:
                current.ClearField(descriptor.name)
        stack.extend(child for _, child in fields(current))
    return copy
