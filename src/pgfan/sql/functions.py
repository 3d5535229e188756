"""Which functions may run once per row in any chunk and give what one statement would have given.

Immutable functions may. Stable ones of pg_catalog may, but for those that look at the
transaction, the backend or the catalogue. Volatile ones may when a row's value does not depend on
other rows (random, nextval): docs "Function Volatility Categories". Transaction-time functions are
replaced by one value for the whole task (`pgfan.sql.freeze`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, Nodes, kind_of, names, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgfan.sql.facts import CatalogFacts, FunctionFacts

TRANSACTION_TIME = frozenset({"now", "transaction_timestamp", "statement_timestamp"})
ROW_INDEPENDENT = frozenset(
    {
        "clock_timestamp",
        "gen_random_uuid",
        "nextval",
        "pg_sleep",
        "pg_sleep_for",
        "random",
        "random_normal",
        "timeofday",
        "uuidv4",
        "uuidv7",
    }
)
"""Volatile, and each call's value has nothing to do with other rows."""

UNSTABLE = frozenset(
    {
        "cursor_to_xml",
        "database_to_xml",
        "current_setting",  # transaction_isolation differs in a chunk
        "inet_client_addr",
        "inet_client_port",
        "inet_server_addr",
        "inet_server_port",
        "mxid_age",
        "query_to_xml",
        "row_security_active",
        "schema_to_xml",
        "table_to_xml",
        "ts_rewrite",
        "ts_stat",
    }
)
"""Stable within one statement only, or reading tables that the analysis does not see."""
UNSTABLE_PREFIXES = ("pg_", "txid_", "has_", "to_reg")
"""Backends, snapshots, statistics, catalogue lookups: a new table has another name meanwhile."""
STABLE_PG = frozenset({"pg_typeof", "pg_column_size", "pg_sleep", "pg_sleep_for", "pg_size_pretty"})

ORDER_FREE_AGGREGATES = frozenset(
    {
        "avg",
        "bit_and",
        "bit_or",
        "bit_xor",
        "bool_and",
        "bool_or",
        "count",
        "every",
        "max",
        "min",
        "stddev",
        "stddev_pop",
        "stddev_samp",
        "sum",
        "var_pop",
        "var_samp",
        "variance",
    }
)
"""Give the same value in whatever order rows come, but for the last digits of floats."""

# Digits and punctuation end a word in a datetime: '12:00today' and 'now_' are read as times.
_SPECIAL_DATETIME = re.compile(
    r"(?<![a-z])(now|today|tomorrow|yesterday)(?![a-z])", re.ASCII | re.IGNORECASE
)
_SHOWN_CHARS_MAX = 40


class Meant(NamedTuple):
    """What a call may mean: the function's name without its schema, and every function of it.

    None are `found` when the catalogue knows none.
    """

    name: str
    found: tuple[FunctionFacts, ...]

    @property
    def is_builtin(self) -> bool:
        """Whether it can only be a function of pg_catalog."""
        return bool(self.found) and all(one.schema == "pg_catalog" for one in self.found)

    @property
    def is_volatile(self) -> bool:
        """Whether any of them is volatile."""
        return any(function.volatility == "v" for function in self.found)

    @property
    def is_aggregate(self) -> bool:
        """Whether it may be an aggregate."""
        return any(function.kind == "a" for function in self.found)

    @property
    def is_set_returning(self) -> bool:
        """Whether it may return a set."""
        return any(function.returns_set for function in self.found)

    @property
    def is_window(self) -> bool:
        """Whether it may be a window function."""
        return any(function.kind == "w" for function in self.found)


def meant(call: Message, facts: CatalogFacts) -> Meant:
    """What a FuncCall may mean."""
    name = names(call.funcname)
    return Meant(name[-1], facts.functions.get(name, ()))


def base_name(call: Message) -> str:
    """The function's name without its schema."""
    return names(call.funcname)[-1]


def is_transaction_time(call: Message, facts: CatalogFacts) -> bool:
    """now() and its kin; CURRENT_DATE and its kin are another node."""
    return _is_time(call, meant(call, facts))


def _is_time(call: Message, means: Meant) -> bool:
    return means.name in TRANSACTION_TIME and not call.args and means.is_builtin


def is_volatile(call: Message, facts: CatalogFacts) -> bool:
    """Whether any function that the name may mean is volatile."""
    return meant(call, facts).is_volatile


def is_set_returning(call: Message, facts: CatalogFacts) -> bool:
    """Whether the call may return a set."""
    return meant(call, facts).is_set_returning


def objection(call: Message, means: Meant) -> Reason | None:
    """Why a call may not be run once per row in chunks, or None."""
    if _is_time(call, means):
        return None
    name, found = means
    if not found:
        return Reason("function-unknown", f"function {name}() is not in the catalogue")
    for function in found:
        if function.schema != "pg_catalog" and function.volatility != "i":
            kind = "stable" if function.volatility == "s" else "volatile"
            return Reason(
                "function-volatile",
                f"{function.schema}.{name}() is {kind}: what it reads and writes is not known",
            )
    builtin = tuple(function for function in found if function.schema == "pg_catalog")
    if len(builtin) < len(found) and name in TRANSACTION_TIME and builtin:
        # Which of them is called is the server's choice, so it cannot be frozen here.
        return Reason("function-unstable", f"{name}() may mean the time of the transaction")
    return _builtin_objection(name, len(call.args), builtin)


def is_harmless_attribute(name: str, facts: CatalogFacts) -> bool:
    """Whether `a.name`, should it be a call of name(a), is sound wherever it stands."""
    found = facts.functions.get((name,), ())
    if not found:
        return True
    if any(function.volatility == "v" or function.returns_set for function in found):
        return False
    if any(function.kind != "f" for function in found):
        return False
    if any(function.schema != "pg_catalog" and function.volatility != "i" for function in found):
        return False
    builtin = tuple(function for function in found if function.schema == "pg_catalog")
    return _builtin_objection(name, 1, builtin) is None


def _builtin_objection(name: str, args: int, found: tuple[FunctionFacts, ...]) -> Reason | None:
    if name in ROW_INDEPENDENT:
        return None
    if any(function.volatility == "v" for function in found):
        return Reason("function-volatile", f"{name}() is volatile and may depend on other rows")
    if all(function.volatility == "i" for function in found) or name in STABLE_PG:
        return None
    unstable = name in UNSTABLE or name.startswith(UNSTABLE_PREFIXES) or "_to_xml" in name
    if unstable or (name == "age" and args == 1):
        return Reason("function-unstable", f"{name}() depends on the transaction or the backend")
    return None


_NUMBERS = frozenset(
    ("pg_catalog", name) for name in ("bool", "float4", "float8", "int2", "int4", "int8", "numeric")
)


def special_datetimes(nodes: Nodes) -> Iterator[Reason]:
    """String constants such as 'now' or 'today', which mean the time of each chunk.

    Wherever they stand: 'now' is also the time in '{now}'::timestamptz[] and in a row or a range.
    """
    casts = [node for node in nodes.of("TypeCast") if not _is_to_number(node)]
    if any(_is_built_text(node.arg) for node in casts):
        yield Reason("special-datetime", "a cast of text put together may give such a time")
    for node in nodes.of("A_Const"):
        if node.WhichOneof("val") != "sval":
            continue
        text = node.sval.sval
        if may_mean_time(text):
            shown = text if len(text) <= _SHOWN_CHARS_MAX else f"{text[:_SHOWN_CHARS_MAX]}…"
            yield Reason(
                "special-datetime", f"the constant '{shown}' may mean the time of the transaction"
            )


def may_mean_time(text: str) -> bool:
    """Whether a string has a word such as 'now' in it."""
    return _SPECIAL_DATETIME.search(text) is not None


def _is_to_number(cast: Message) -> bool:
    """Whether the cast is to one of the grammar's own names for numbers and truth values."""
    return names(cast.type_name.names) in _NUMBERS


def _is_built_text(node: Message) -> bool:
    """Whether constants are put together by || ('no' || 'w'), with no column among them."""
    if node.WhichOneof("node") in {"a_const", "column_ref"}:
        return False
    parts = list(walk(node))
    return not any(kind_of(part) == "ColumnRef" for part in parts) and any(
        kind_of(part) == "A_Expr" and names(part.name)[-1:] == ("||",) for part in parts
    )
