"""What the user wants statements to be divided by: `--by`, read by PostgreSQL's own grammar.

`ctid` and `series` are words; anything else is a list of columns, each perhaps with the name or
alias of its table before it, or one expression that an index begins with. Names fold to lower case
as in SQL; `ctid` may stand at the end of a list. Which statement has what is asked for, and whether
it is sound there, is not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import postgast
from msgspec import Struct

from pgfan.errors import UsageError
from pgfan.sql.parsing import NestedTooDeepError, parse
from pgfan.sql.tree import deparse_expression, inner, kind_of, names

if TYPE_CHECKING:
    from pgfan.sql.candidates import Candidate

PARTS_MAX = 4
_OF_A_LIST = {"target_list", "limit_option", "op"}
_HINT = "give ctid, series, columns such as province,municipality, or an index's expression"


class KeyRequest(Struct, frozen=True):
    """Either `parts`, each a name with qualifiers before it, or an `expression`.

    The words are parts of one name: ("ctid",) and ("series",).
    """

    text: str
    parts: tuple[tuple[str, ...], ...] = ()
    expression: str = ""

    @property
    def columns(self) -> frozenset[str]:
        """The names of columns in it."""
        return frozenset(part[-1] for part in self.parts if part not in {("ctid",), ("series",)})

    def means(self, candidate: Candidate, part: int = 0) -> bool:
        """Whether a candidate is what a part asks for."""
        if self.expression:
            return candidate.key == "expression"
        *qualifier, name = self.parts[part]
        if candidate.key in {"ctid", "series"}:
            return not qualifier and name == candidate.key
        called = {candidate.alias[-1:], (candidate.relation or ("",))[-1:]}
        is_meant = name in {candidate.stored_as, candidate.column}
        return (
            candidate.key in {"column", "cells"}
            and is_meant
            and (not qualifier or tuple(qualifier[-1:]) in called)
        )


def read_request(text: str) -> KeyRequest:
    """What `--by text` asks for. Raises UsageError for what is no list of columns or expression."""
    try:
        (only,) = parse(f"SELECT {text}\n").stmts
        statement = inner(only.stmt)
        values = [inner(target.res_target.val) for target in statement.target_list]
        plain = deparse_expression(statement.target_list[0].res_target.val) if values else ""
    except (postgast.PgQueryError, NestedTooDeepError, ValueError) as error:
        raise UsageError(f"--by {text}: {error}", hint=_HINT) from error
    given = {descriptor.name for descriptor, _ in statement.ListFields()}
    plain_only = given <= _OF_A_LIST and not any(
        target.res_target.name for target in statement.target_list
    )
    if not plain_only or not 1 <= len(values) <= PARTS_MAX or "\0" in text:
        raise UsageError(f"--by {text}: from one to {PARTS_MAX} columns", hint=_HINT)
    if all(kind_of(value) == "ColumnRef" for value in values):
        parts = tuple(names(value.fields) for value in values)
        if any(len(part) != len(value.fields) for part, value in zip(parts, values, strict=True)):
            raise UsageError(f"--by {text}: * is no column", hint=_HINT)
        if len(set(parts)) < len(parts):
            raise UsageError(f"--by {text}: a column is named twice", hint=_HINT)
        if ("ctid",) in parts[:-1] or (("series",) in parts and len(parts) > 1):
            raise UsageError(f"--by {text}: ctid comes last, series alone", hint=_HINT)
        return KeyRequest(text, parts)
    if len(values) > 1:
        raise UsageError(f"--by {text}: an expression stands alone", hint=_HINT)
    return KeyRequest(text, expression=plain)
