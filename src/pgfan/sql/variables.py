"""psql variables in SQL text: `:name`, `:'name'`, `:"name"`.

The rules are psql's (its manual, "SQL Interpolation"): nothing inside literals, dollar quotes or
comments is touched, `::` is a cast, and a name that is not set stays as it stands. Text is cut
into tokens by PostgreSQL's own scanner, so what is a literal is not guessed.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import postgast
from postgast import pg_query_pb2 as pb

from pgfan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

COLON = pb.Token.Value("ASCII_58")


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """`text` with the values of `variables` in place of their names.

    Text that the scanner cannot read (an unterminated literal) comes back as it is: the parser
    will say what is wrong, and where.
    """
    if not variables or ":" not in text:
        return text
    try:
        tokens = postgast.scan(text).tokens
    except postgast.PgQueryError:
        return text
    raw = text.encode()
    pieces: list[bytes] = []
    copied = 0
    for colon, name in itertools.pairwise(tokens):
        if colon.token != COLON or colon.end != name.start:
            continue
        value = _value(raw[name.start : name.end].decode(), variables)
        if value is not None:
            pieces += [raw[copied : colon.start], value.encode()]
            copied = name.end
    pieces.append(raw[copied:])
    return b"".join(pieces).decode()


def parse_assignment(text: str) -> tuple[str, str]:
    """NAME=VALUE of `--set`; psql's names are letters, digits and underscores."""
    name, equals, value = text.partition("=")
    if not equals or not _is_name(name):
        raise UsageError(
            f"--set {text!r} is not NAME=VALUE",
            hint="names are letters, digits and underscores: --set year=2024",
        )
    return name, value


def _value(token: str, variables: Mapping[str, str]) -> str | None:
    quote = token[:1]
    if quote not in {"'", '"'}:
        # The scanner reads keywords and digits in a name as other tokens; psql does not care.
        return variables.get(token) if _is_name(token) else None
    value = variables.get(token[1:-1])
    if value is None:
        return None
    if quote == '"':
        return '"' + value.replace('"', '""') + '"'
    quoted = "'" + value.replace("'", "''") + "'"
    return quoted if "\\" not in quoted else " E" + quoted.replace("\\", "\\\\")


def _is_name(text: str) -> bool:
    return bool(text) and all(letter.isalnum() or letter == "_" for letter in text)
