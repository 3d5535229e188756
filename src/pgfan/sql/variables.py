"""psql variables in SQL text: `:name`, `:'name'`, `:"name"`.

The rules are psql's (its manual, "SQL Interpolation"): nothing inside literals, dollar quotes or
comments is touched, `::` is a cast, and a name that is not set stays as it stands. Text is cut
into tokens by PostgreSQL's own scanner, so what is a literal is not guessed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import postgast
from postgast import pg_query_pb2 as pb

from pgfan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

COLON = pb.Token.Value("ASCII_58")
# psql's variable_char: letters, digits, underscores, and every byte outside of ASCII.
_NAME = rb"[A-Za-z0-9_\x80-\xff]+"
_REFERENCE = re.compile(_NAME + b"|'" + _NAME + b"'|\"" + _NAME + b'"')


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
    for token in tokens:
        if token.token != COLON or token.start < copied:
            continue
        # Where the name ends is psql's to say: the scanner reads :a$b and :'a''b' as more.
        reference = _REFERENCE.match(raw, token.end)
        value = _value(reference[0].decode(), variables) if reference else None
        if reference and value is not None:
            pieces += [raw[copied : token.start], value.encode()]
            copied = reference.end()
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


def _value(reference: str, variables: Mapping[str, str]) -> str | None:
    quote = reference[:1]
    if quote not in {"'", '"'}:
        return variables.get(reference)
    value = variables.get(reference[1:-1])
    if value is None:
        return None
    return quoted_value(value, "name" if quote == '"' else "literal")


def quoted_value(value: str, kind: str) -> str:
    """A value as it is put into SQL: "plain" as it stands, as a "literal", or as a "name"."""
    if kind == "plain":
        return value
    if kind == "name":
        return '"' + value.replace('"', '""') + '"'
    quoted = "'" + value.replace("'", "''") + "'"
    return quoted if "\\" not in quoted else " E" + quoted.replace("\\", "\\\\")


def _is_name(text: str) -> bool:
    return bool(text) and all(letter.isalnum() or letter == "_" for letter in text)
