r"""psql's \copy: COPY from or to the client, with a file of the client's in it."""

from __future__ import annotations

import re

from pgfan.sql.psql_arguments import ArgumentError

_TOKEN = re.compile(
    r"\s+|'(?:[^']+|'')*+'|\"(?:[^\"]+|\"\")*+\"|[\w$.\x80-\U0010ffff]+|.", re.DOTALL
)
_STANDARD = frozenset({"stdin", "stdout"})


def client_copy(line: str) -> tuple[str, str | None]:
    r"""The COPY statement that the server gets, and the client's file; None for standard streams.

    `line` is what follows \copy. Raises ArgumentError for what is no \copy, and for PROGRAM.
    """
    depth = 0
    tokens = list(_TOKEN.finditer(line.strip().removesuffix(";")))
    for index, token in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if depth or token[0].lower() not in {"from", "to"}:
            continue
        way = token[0].upper()
        rest = tokens[index + 1 :]
        while rest and rest[0][0].isspace():
            rest.pop(0)
        if not rest:
            break
        if rest[0][0].lower() == "program":
            raise ArgumentError("PROGRAM runs a command of the shell")
        text = token.string
        head = text[: token.start()].strip()
        if rest[0][0].lower() in {"pstdin", "pstdout"}:
            raise ArgumentError(f"{rest[0][0]} is not read or written: name the file")
        name, end = _file_name(text, rest[0].start())
        stream = "STDIN" if way == "FROM" else "STDOUT"
        tail = text[end:].strip()
        return f"COPY {head} {way} {stream} {tail}".rstrip(), name
    raise ArgumentError("give FROM or TO, and a file")


def _file_name(text: str, start: int) -> tuple[str | None, int]:
    """The file's name at `start`, quoted or up to the next white space; None for std streams."""
    if text[start] == "'":
        found = re.compile(r"'((?:[^']+|'')*+)'").match(text, start)
        if found is None:
            raise ArgumentError("unterminated quoted string")
        return found[1].replace("''", "'"), found.end()
    word = re.compile(r"\S+").match(text, start)
    if word is None:
        raise ArgumentError("the file's name is missing")
    return (None if word[0].lower() in _STANDARD else word[0]), word.end()
