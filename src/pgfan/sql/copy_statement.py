"""What a COPY ... FROM asks for, read off its tree: the table, the columns, the options by name.

Nothing is judged here. COPY's grammar takes any name for an option and any word for a format, so
a load may be asked for in it, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from pgfan.quoting import identifier, qualified
from pgfan.sql.access import relation_name
from pgfan.sql.parsing import parse
from pgfan.sql.tree import Message, inner, kind_of, names

if TYPE_CHECKING:
    from collections.abc import Mapping

Value: TypeAlias = "str | bool | tuple[str, ...]"
"""A word or a number as text; True for a name that stands alone; names in parentheses."""
_TRUTH = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}


class CopyFrom(Struct, frozen=True):
    """A COPY ... FROM. `table` is quoted where it has to be."""

    table: str
    columns: tuple[str, ...]
    options: Mapping[str, Value]
    objection: str | None = None
    """What in it cannot be told here, in words."""


def read_copy_from(tree: Message) -> CopyFrom:
    """What a CopyStmt asks for."""
    options: dict[str, Value] = {}
    objection = "it has a WHERE" if tree.HasField("where_clause") else None
    for element in map(inner, tree.options):
        name = element.defname
        value = _value(element)
        if value is None:
            objection = f"{name.upper()} has no names"
        elif name in options:
            objection = f"{name.upper()} is said twice"
        else:
            options[name] = value
    columns = names(tree.attlist)
    return CopyFrom(qualified(relation_name(tree.relation)), columns, options, objection)


def truth(value: Value) -> bool | None:
    """What COPY takes an option for that is on or off; None for what is neither."""
    if isinstance(value, bool):
        return value
    return _TRUTH.get(value.lower()) if isinstance(value, str) else None


def as_insert(table: str, columns: tuple[str, ...]) -> Message:
    """An INSERT into the same columns: what its target has against a split, a COPY's has, too."""
    named = ", ".join(map(identifier, columns))
    return inner(parse(f"INSERT INTO {table} ({named}) SELECT 1").stmts[0].stmt)


def _value(element: Message) -> Value | None:
    if not element.HasField("arg"):
        return True
    value = inner(element.arg)
    match kind_of(value):
        case "String":
            return str(value.sval)
        case "Boolean":
            return bool(value.boolval)
        case "Integer":
            return str(value.ival)
        case "List":
            return names(value.items)
        case _:
            return None
