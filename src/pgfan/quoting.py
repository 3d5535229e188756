"""Values and names as SQL text, for the simple protocol, which has no parameters.

`standard_conforming_strings` is on in every session that pgfan accepts, so doubling quotes is all
that a literal needs, and an E'' literal is never written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def literal(value: str | float | None) -> str:
    """A literal of no particular type; numbers are quoted too."""
    if value is None:
        return "NULL"
    text = str(value)
    if "\0" in text:
        raise ValueError("PostgreSQL text holds no NUL")
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted identifier."""
    if "\0" in name:
        raise ValueError("PostgreSQL names hold no NUL")
    return '"' + name.replace('"', '""') + '"'


def qualified(names: Iterable[str]) -> str:
    """A possibly qualified name: quoted identifiers with dots between them."""
    return ".".join(identifier(name) for name in names)


def array(values: list[str]) -> str:
    """An array of text."""
    return "ARRAY[" + ", ".join(literal(value) for value in values) + "]::pg_catalog.text[]"
