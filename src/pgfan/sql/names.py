"""What a name as written may mean, under a search_path and the definitions so far.

An answer that is not certain has several names: more is waited for than need be, never less.
Manual: "The Schema Search Path"; temporary relations and types hide all others of their name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import postgast
from msgspec import Struct

from pgfan.sql.definitions import TEMPORARY
from pgfan.sql.effects import ObjectName
from pgfan.sql.parsing import NestedTooDeepError
from pgfan.sql.tree import kind_of, names, parse_expression

if TYPE_CHECKING:
    from pgfan.sql.definitions import Definitions, Path
    from pgfan.sql.effects import ObjectKind
    from pgfan.sql.facts import Name

SYSTEM_SCHEMAS = frozenset({"pg_catalog", "information_schema", "pg_toast"})


class Resolved(Struct, frozen=True):
    """`names`: what may be meant. `hidden_by`: what would be meant instead if it existed."""

    names: tuple[ObjectName, ...] = ()
    hidden_by: tuple[ObjectName, ...] = ()


def resolve(definitions: Definitions, path: Path, kind: ObjectKind, name: Name) -> Resolved:
    """The objects that a name may mean. Of a relation there is always at least one.

    Functions are all of their name on the path: which one is called depends on the arguments.
    """
    last = name[-1]
    if len(name) > 1:
        return Resolved((ObjectName(kind, name[-2], last),))
    known = definitions.names.get((kind, last), ())
    temporary = ObjectName(kind, TEMPORARY, last)
    if kind != "function" and temporary in known:
        return Resolved((temporary,))
    if path is None:
        return Resolved((ObjectName(kind, None, last),) if kind == "relation" or known else ())
    on_path = [ObjectName(kind, schema, last) for schema in path if schema in definitions.schemas]
    if kind == "function":
        found = tuple(candidate for candidate in on_path if candidate in known)
        return Resolved(found, tuple(other for other in on_path if other not in known))
    for index, candidate in enumerate(on_path):
        if candidate in known:
            return Resolved((candidate,), tuple(on_path[:index]))
    if kind == "relation":
        return Resolved(tuple(on_path) or (ObjectName(kind, None, last),))
    return Resolved()


def home(definitions: Definitions, path: Path, kind: ObjectKind, name: Name) -> ObjectName:
    """The object that CREATE makes: in the schema that it names, or the first of the path."""
    if len(name) > 1:
        return ObjectName(kind, name[-2], name[-1])
    for schema in path or ():
        if schema in definitions.schemas:
            return ObjectName(kind, schema, name[-1])
    return ObjectName(kind, None, name[-1])


@lru_cache(maxsize=4096)
def name_in_text(text: str) -> Name | None:
    """The name in a text such as 's."T x"' (regclass, nextval); None when it is not one."""
    if not text.strip():
        return None
    try:
        node = parse_expression(text).column_ref
    except (postgast.PgQueryError, NestedTooDeepError, IndexError):
        return None
    found = names(node.fields) if kind_of(node) == "ColumnRef" else ()
    return found if found and len(found) == len(node.fields) else None


def path_of(text: str, user: str) -> tuple[str, ...]:
    """The schemas in search_path as set_config() takes it: names with commas between them."""
    entries = [entry.strip() for entry in text.split(",")]
    return with_user(
        [e[1:-1].replace('""', '"') if e[:1] == '"' else e.lower() for e in entries if e], user
    )


def with_user(entries: list[str], user: str) -> tuple[str, ...]:
    """The entries with "$user" put in; those without a schema are left out."""
    named = [user if entry == "$user" else entry for entry in entries]
    return tuple(entry for entry in named if entry and entry not in {TEMPORARY, "pg_catalog"})
