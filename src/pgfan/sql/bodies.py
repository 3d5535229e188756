"""The bodies of functions, procedures and DO: the statements and expressions in them.

SQL bodies are parsed as they are; PL/pgSQL is cut by PostgreSQL's own PL/pgSQL parser, and each
piece of SQL in it parsed again. What is put together at run time (EXECUTE) cannot be read: a
constant text can.

Manual: "PL/pgSQL", chapters "Expressions" and "Basic Statements".
"""

from __future__ import annotations

import contextlib
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import postgast
from msgspec import Struct
from msgspec.structs import replace
from postgast import pg_query_pb2 as pb

from pgfan.sql.collector import constant_text
from pgfan.sql.effects import Barrier
from pgfan.sql.parsing import NestedTooDeepError, parse
from pgfan.sql.tree import Message, inner, kind_of, parse_expression

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATEMENTS = frozenset(
    {
        *("assert", "assign", "block", "call", "case", "close", "commit", "dynexecute", "dynfors"),
        *("execsql", "exit", "fetch", "forc", "foreach_a", "fori", "fors", "getdiag", "if", "loop"),
        *("open", "perform", "raise", "return", "return_next", "return_query", "rollback", "while"),
    }
)
_AFTER_TYPE = frozenset({"not", "collate", "default", ":=", "=", "%", "alias", "cursor", "no"})
_AROUND_DECLARATIONS = frozenset({"declare", "begin", ";"})
_TYPE_AT = 2
"""A variable's name, and then its type."""
_ASSIGNMENT = 3
"""From here on RawParseMode (parser/parser.h) means `target := expression`."""
_DYNAMIC = frozenset({"PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors"})
# libpg_query prints the special variables of triggers (TG_OP ...) as an object closed twice.
_BROKEN = re.compile(r'("(?:[^"\\]|\\.)*")|(?<=[\[,])\{\}\}')


class Body(Struct, frozen=True):
    """`statements` are trees, with expressions and a function's types among them.

    `barrier` says what could not be read.
    """

    statements: tuple[Message, ...] = ()
    barrier: Barrier | None = None
    declared: tuple[Message, ...] = ()
    """The types of a PL/pgSQL body's variables: looked up when the function is made, too."""
    is_atomic: bool = False
    """Written in standard SQL: its names were looked up when the function was made."""
    sets_path: bool = False
    search_path: tuple[str, ...] | None = None
    """The entries of its own SET search_path; None although `sets_path`: not known."""


UNREADABLE = Barrier("dynamic-sql", "the body of a function cannot be read")


@lru_cache(maxsize=4096)
def body_of(definition: str) -> Body:
    """The body in a CREATE FUNCTION, CREATE PROCEDURE or DO statement."""
    try:
        tree = inner(parse(definition).stmts[0].stmt)
        options = [inner(option) for option in _options(tree)]
        setting = next(filter(_is_search_path, options), None)
        body = _read(tree, options, definition)
        if kind_of(tree) == "CreateFunctionStmt":
            types = [inner(parameter).arg_type for parameter in tree.parameters]
            body = replace(body, statements=(*body.statements, *types, tree.return_type))
        if setting is None:
            return body
        entries = [constant_text(entry) for entry in inner(setting.arg).args]
        path = tuple(entry for entry in entries if entry is not None) or None
        return replace(body, sets_path=True, search_path=path)
    except (postgast.PgQueryError, NestedTooDeepError, ValueError, KeyError, IndexError):
        return Body(barrier=UNREADABLE)


def _read(tree: Message, options: list[Message], definition: str) -> Body:
    if kind_of(tree) == "CreateFunctionStmt" and tree.HasField("sql_body"):
        return Body(tuple(_atomic(tree.sql_body)), is_atomic=True)
    given = {option.defname: inner(option.arg) for option in options}
    language = given["language"].sval if "language" in given else "plpgsql"
    match language.lower():
        case "sql":
            text = inner(given["as"].items[0]).sval
            return Body(tuple(inner(statement.stmt) for statement in parse(text).stmts))
        case "plpgsql":
            code = given["as"]
            source = inner(code.items[0]) if kind_of(code) == "List" else code
            return _plpgsql(definition, source.sval)
        case "c" | "internal":
            return Body()
        case other:
            why = f"what a function in {other} does is not known"
            return Body(barrier=Barrier("function-unknown", why))


def _is_search_path(option: Message) -> bool:
    return option.defname == "set" and bool(inner(option.arg).name.lower() == "search_path")


def _options(tree: Message) -> Iterator[Message]:
    yield from tree.args if kind_of(tree) == "DoStmt" else tree.options


def _atomic(body: Message) -> Iterator[Message]:
    """The statements of BEGIN ATOMIC ... END, a list of lists; or the one of RETURN."""
    node = inner(body)
    if kind_of(node) == "List":
        for item in node.items:
            yield from _atomic(item)
    elif kind_of(node) == "ReturnStmt":
        yield inner(node.returnval)
    else:
        yield node


def _plpgsql(definition: str, source: str) -> Body:
    try:
        found = postgast.parse_plpgsql(definition)
    except json.JSONDecodeError as error:
        found = json.loads(_BROKEN.sub(lambda match: match[1] or "{}", error.doc))
    statements: list[Message] = []
    declared = list(_types_of_variables(source))
    barrier = None
    stack: list[Any] = [found]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack += node
        elif isinstance(node, dict):
            for key, value in node.items():
                if key == "PLpgSQL_type":
                    declared += _declared(value["typname"])
                else:
                    barrier = _piece(key, value, statements) or barrier
                stack.append(value)
    return Body((*declared, *reversed(statements)), barrier, tuple(declared))


def _piece(key: str, value: Any, found: list[Message]) -> Barrier | None:  # noqa: ANN401  # JSON
    """Add the SQL that stands at one key of the parsed body."""
    if key == "PLpgSQL_expr":
        found += _expression(value["query"], value.get("parseMode", 0))
    elif key in _DYNAMIC:
        return _dynamic(value["query"], found)
    elif key == "dynquery":
        return _dynamic(value, found)
    elif key.startswith("PLpgSQL_stmt_") and key.removeprefix("PLpgSQL_stmt_") not in _STATEMENTS:
        return Barrier("statement-unknown", f"{key} in a function is not known")
    return None


def _dynamic(query: Any, found: list[Message]) -> Barrier | None:  # noqa: ANN401  # JSON
    """EXECUTE: read where its text is constant."""
    text = constant_text(parse_expression(query["PLpgSQL_expr"]["query"]))
    if text is None:
        return Barrier("dynamic-sql", "EXECUTE runs a text that is put together at run time")
    found += [inner(statement.stmt) for statement in parse(text).stmts]
    return None


def _expression(query: str, mode: int) -> list[Message]:
    if mode == 0:
        return [inner(statement.stmt) for statement in parse(query).stmts]
    if mode >= _ASSIGNMENT:
        query = _assigned(query)
    return [inner(parse(f"SELECT {query}").stmts[0].stmt)]


def _assigned(query: str) -> str:
    """`target, expression` of an assignment: subscripts in the target are evaluated as well."""
    raw = query.encode()
    depth = 0
    for token in postgast.scan(query).tokens:
        if token.token in {pb.ASCII_91, pb.ASCII_40}:
            depth += 1
        elif token.token in {pb.ASCII_93, pb.ASCII_41}:
            depth -= 1
        elif not depth and token.token in {pb.COLON_EQUALS, pb.ASCII_61}:
            return f"{raw[: token.start].decode()}, {raw[token.end :].decode()}"
    raise ValueError(query)


def _types_of_variables(source: str) -> Iterator[Message]:
    """The types after the names in DECLARE: libpg_query takes user's types for records."""
    raw = source.encode()
    in_declare = False
    words = begins = 0
    for token in postgast.scan(source).tokens:
        word = raw[token.start : token.end].decode().lower()
        if word in _AROUND_DECLARATIONS | _AFTER_TYPE:
            if words >= _TYPE_AT and word != "%":
                with contextlib.suppress(postgast.PgQueryError):
                    yield parse_expression(f"NULL::{raw[begins : token.start].decode()}")
            words = -len(raw)  # what follows in the declaration is no type
        if word in _AROUND_DECLARATIONS:
            in_declare = word == "declare" or (in_declare and word == ";")
            words = 0
        elif in_declare and word != "constant":
            words += 1
            begins = token.start if words == _TYPE_AT else begins


def _declared(name: str) -> list[Message]:
    """A variable's type, as a cast; `t%ROWTYPE` is the row type of t."""
    name = re.sub(r"%rowtype$", "", name, flags=re.IGNORECASE)
    if name in {"UNKNOWN", "", "refcursor"}:
        return []
    if name.lower().endswith("%type"):
        definition = parse(f"CREATE FUNCTION f(x {name}) RETURNS void LANGUAGE c")
        return [inner(definition.stmts[0].stmt).parameters[0]]
    return [parse_expression(f"NULL::{name}")]
