"""Statements that pgfan does not run, whatever the script: who they are, and why.

They would take the journal's role away, change how text is read, or end a transaction that is not
theirs to end. Everything is refused before it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.errors import UnsupportedError
from pgfan.sql.tree import Message, kind_of, names, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.sql.script import Statement

_READ_ONLY = frozenset({"default_transaction_read_only", "transaction_read_only"})
ROLE_SETTINGS = frozenset({"role", "session_authorization"})


def refuse(statement: Statement, *, in_block: bool) -> None:
    """Raise UnsupportedError for a statement that is not run; `in_block`: after BEGIN."""
    tree = statement.skeleton
    match kind_of(tree):
        case _ if ROLE_SETTINGS & set(set_names(statement)):
            raise refusal(
                statement,
                "SET ROLE and SET SESSION AUTHORIZATION are not supported: the journal is written "
                "with the role that connected",
                "connect as that role",
            )
        case "VariableSetStmt" if _reads_literals_otherwise(tree):
            raise refusal(
                statement,
                "standard_conforming_strings = off is not supported: statements are read with "
                "backslashes as plain characters in '...'",
                "write E'...' where a backslash escapes",
            )
        case "VariableSetStmt" if _sends_other_bytes(tree):
            raise refusal(
                statement,
                "SET client_encoding is not supported for anything but UTF8: statements are sent "
                "in UTF-8",
                "convert the file to UTF-8 and remove the statement",
            )
        case "VariableSetStmt" | "TransactionStmt" if _is_read_only(tree):
            raise refusal(
                statement,
                "read-only transactions are not supported: the journal's rows are written in them",
                "remove READ ONLY",
            )
        case "CopyStmt" if not (tree.filename or tree.is_program) and not statement.has_client:
            raise refusal(
                statement,
                "COPY from or to the client is not supported here",
                "name a file on the server; for pgfan run, psql's \\copy and a file's name",
            )
        case "CopyStmt" if statement.writes_client_file and in_block:
            raise refusal(
                statement,
                "\\copy ... TO inside of BEGIN ... COMMIT is not supported",
                "take it out of the block",
            )
        case _ if in_block and statement.generates and statement.generates.template is not None:
            raise refusal(
                statement,
                "for each inside of BEGIN ... COMMIT is not supported: it makes a task of each "
                "row, and a block is one task",
                "take it out of the block, or use \\gexec there",
            )
        case "TransactionStmt" if tree.chain or "PREPARE" in transaction_kind(tree):
            raise refusal(
                statement,
                "AND CHAIN and two-phase transactions are not supported: a task must end with "
                "its own COMMIT",
                "use BEGIN and COMMIT",
            )
        case _:
            pass


def transaction_kind(tree: Message) -> str:
    """Which of BEGIN, COMMIT and the others it is: TRANS_STMT_BEGIN."""
    kinds = tree.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number
    return str(kinds[tree.kind].name)


def set_names(statement: Statement) -> Iterator[str]:
    """The settings that SET, RESET or set_config() with a constant name change, in lower case."""
    if kind_of(statement.skeleton) == "VariableSetStmt":
        yield statement.skeleton.name.lower()
    for call in calls(statement, "set_config"):
        for part in walk(call.args[0]) if call.args else ():
            if kind_of(part) == "A_Const" and part.WhichOneof("val") == "sval":
                yield part.sval.sval.lower()


def calls(statement: Statement, function: str) -> Iterator[Message]:
    """The calls of a function by name; only a text that has the name is walked."""
    if function in statement.text.lower():
        for node in walk(statement.skeleton):
            if kind_of(node) == "FuncCall" and names(node.funcname)[-1:] == (function,):
                yield node


def is_utf8(encoding: str) -> bool:
    """Whether it is a name of PostgreSQL's UTF8."""
    return encoding.lower().replace("-", "") in {"utf8", "unicode"}


def _reads_literals_otherwise(tree: Message) -> bool:
    value = [part.a_const for part in tree.args if part.WhichOneof("node") == "a_const"]
    return tree.name.lower() == "standard_conforming_strings" and not (
        not value or _is_on(value[0])
    )


def _is_read_only(tree: Message) -> bool:
    """Whether it makes this transaction, or those to come, read-only."""
    if kind_of(tree) == "VariableSetStmt" and tree.name.lower() in _READ_ONLY:
        values = [part for part in tree.args if part.WhichOneof("node") == "a_const"]
        return bool(values) and _is_on(values[0].a_const)
    options = tree.options if kind_of(tree) == "TransactionStmt" else tree.args
    return any(
        option.def_elem.defname == "transaction_read_only" and _is_on(option.def_elem.arg.a_const)
        for option in options
        if option.WhichOneof("node") == "def_elem"
    )


def _is_on(value: Message) -> bool:
    """Of a constant, as settings take it."""
    word = value.sval.sval.lower() if value.WhichOneof("val") == "sval" else ""
    return bool(word in {"on", "true", "yes", "1"} or value.ival.ival or value.boolval.boolval)


def _sends_other_bytes(tree: Message) -> bool:
    values = [part.a_const.sval.sval for part in tree.args if part.WhichOneof("node") == "a_const"]
    return tree.name.lower() == "client_encoding" and not (not values or is_utf8(values[0]))


def refusal(statement: Statement, message: str, hint: str) -> UnsupportedError:
    """The error, with the first line of the statement."""
    line = statement.text.split("\n", 1)[0]
    padded = " " * (statement.position.column - 1) + line
    return UnsupportedError(message, position=statement.position, source_line=padded, hint=hint)
