"""Accesses as the cases of tests/sql/accesses/ write them down.

Effects by kind, `read t u; append w`: relations have no prefix, other objects one (`function:f`),
`part:` stands before a part, and `public` is left out. A schema that is not known is `?`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfan.sql.parsing import parse
from pgfan.sql.tree import Message, inner

if TYPE_CHECKING:
    from pgfan.sql.effects import Accesses, Effect

WITH_SCHEMA = {"relation", "function", "type", "collation", "statistics"}


def statement(sql: str) -> Message:
    return inner(parse(sql).stmts[0].stmt)


def written(accesses: Accesses) -> list[str]:
    lines: list[str] = []
    kinds: dict[str, list[str]] = {}
    for effect in accesses.effects:
        kinds.setdefault(effect.kind, []).append(_name(effect))
    if kinds:
        found = [f"{kind} {' '.join(sorted(names))}" for kind, names in sorted(kinds.items())]
        lines.append("; ".join(found))
    if accesses.barrier is not None:
        opaque = ", opaque" if accesses.barrier.opaque else ""
        lines.append(f"barrier {accesses.barrier.code}{opaque}")
    if accesses.session:
        lines.append(f"session {' '.join(sorted(accesses.session))}")
    return lines


def _name(effect: Effect) -> str:
    kind, schema, name = effect.object
    prefix = "" if kind == "relation" else f"{kind.replace(' ', '-')}:"
    if schema is None and kind in WITH_SCHEMA:
        name = f"?.{name}"
    elif schema not in {None, "public"}:
        name = f"{schema}.{name}"
    return f"{'part:' if effect.part else ''}{prefix}{name}"
