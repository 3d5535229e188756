"""Which functions may run once per row in any chunk and give what one statement would have given.

Immutable functions may. Stable ones of pg_catalog may, but for those that look at the
transaction, the backend or the catalogue. Volatile ones may when a row's value does not depend on
other rows (random, nextval): docs "Function Volatility Categories". Transaction-time functions are
replaced by one value for the whole task (`pgfan.sql.freeze`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgfan.sql.reasons import Reason
from pgfan.sql.tree import Message, kind_of, names, walk

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
        "query_to_xml",
        "row_security_active",
        "schema_to_xml",
        "table_to_xml",
        "ts_rewrite",
        "ts_stat",
    }
)
"""Stable within one statement only, or reading tables that the analysis does not see."""
UNSTABLE_PREFIXES = ("pg_", "txid_")
"""Backends, snapshots, statistics, catalogue lookups."""
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

_SPECIAL_DATETIME = re.compile(r"\b(now|today|tomorrow|yesterday)\b", re.IGNORECASE)
_SPECIAL_CHARS_MAX = 64


def candidates(call: Message, facts: CatalogFacts) -> tuple[FunctionFacts, ...]:
    """Every function that the call's name may mean; empty when the catalogue knows none."""
    return facts.functions.get(names(call.funcname), ())


def is_builtin(call: Message, facts: CatalogFacts) -> bool:
    """Whether the name can only mean functions of pg_catalog."""
    found = candidates(call, facts)
    return bool(found) and all(function.schema == "pg_catalog" for function in found)


def base_name(call: Message) -> str:
    """The function's name without its schema."""
    return names(call.funcname)[-1]


def is_transaction_time(call: Message, facts: CatalogFacts) -> bool:
    """now() and its kin; CURRENT_DATE and its kin are another node."""
    return base_name(call) in TRANSACTION_TIME and not call.args and is_builtin(call, facts)


def is_volatile(call: Message, facts: CatalogFacts) -> bool:
    """Whether any function that the name may mean is volatile."""
    return any(function.volatility == "v" for function in candidates(call, facts))


def is_aggregate(call: Message, facts: CatalogFacts) -> bool:
    """Whether the call may be an aggregate."""
    return any(function.kind == "a" for function in candidates(call, facts))


def is_set_returning(call: Message, facts: CatalogFacts) -> bool:
    """Whether the call may return a set."""
    return any(function.returns_set for function in candidates(call, facts))


def is_window(call: Message, facts: CatalogFacts) -> bool:
    """Whether the call is a window function or has an OVER clause."""
    return call.HasField("over") or any(f.kind == "w" for f in candidates(call, facts))


def objection(call: Message, facts: CatalogFacts) -> Reason | None:
    """Why a call may not be run once per row in chunks, or None."""
    if is_transaction_time(call, facts):
        return None
    name = base_name(call)
    found = candidates(call, facts)
    if not found:
        return Reason("function-unknown", f"function {name}() is not in the catalogue")
    if is_builtin(call, facts):
        return _builtin_objection(name, call, found)
    for function in found:
        if function.schema != "pg_catalog" and function.volatility != "i":
            kind = "stable" if function.volatility == "s" else "volatile"
            return Reason(
                "function-volatile",
                f"{function.schema}.{name}() is {kind}: what it reads and writes is not known",
            )
    return None


def _builtin_objection(name: str, call: Message, found: tuple[FunctionFacts, ...]) -> Reason | None:
    if name in ROW_INDEPENDENT:
        return None
    if any(function.volatility == "v" for function in found):
        return Reason("function-volatile", f"{name}() is volatile and may depend on other rows")
    if all(function.volatility == "i" for function in found) or name in STABLE_PG:
        return None
    unstable = name in UNSTABLE or name.startswith(UNSTABLE_PREFIXES) or "_to_xml" in name
    if unstable or (name == "age" and len(call.args) == 1):
        return Reason("function-unstable", f"{name}() depends on the transaction or the backend")
    return None


def special_datetimes(tree: Message) -> Iterator[Reason]:
    """String constants such as 'now' or 'today', which mean the time of each chunk."""
    for node in walk(tree):
        if kind_of(node) != "A_Const" or node.WhichOneof("val") != "sval":
            continue
        text = node.sval.sval
        if len(text) <= _SPECIAL_CHARS_MAX and _SPECIAL_DATETIME.search(text):
            yield Reason(
                "special-datetime",
                f"the constant '{text}' may mean the time of the transaction",
            )
