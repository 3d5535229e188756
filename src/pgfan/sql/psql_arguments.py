"""The arguments of psql's meta-commands: words, quotes and variables, by psql's rules.

See "Meta-Commands" in psql's manual. Words are separated by white space; in '...' C's escapes
hold and '' is a quote; in "..." all is taken as it stands, the quotes too; `:name`, `:'name'`,
`:"name"` and `:{?name}` are replaced outside of quotes; `` `...` `` would run a shell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pgfan.sql.variables import quoted_value

if TYPE_CHECKING:
    from collections.abc import Mapping

_PART = re.compile(
    r"""
    (?P<space>\s+)
  | '(?P<single>(?:[^'\\]+|''|\\.)*+)'
  | (?P<double>"[^"]*")
  | (?P<shell>`)
  | :\{\?(?P<tested>\w+)\}
  | :(?P<plain>\w+) | :'(?P<literal>\w+)' | :"(?P<name>\w+)"
  | (?P<separator>\\\\)
  | (?P<open>['"])
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"''|\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_CONTROLS = {"n": "\n", "t": "\t", "b": "\b", "r": "\r", "f": "\f"}


class ArgumentError(Exception):
    """What is wrong with the arguments, in words."""


def split_arguments(line: str, variables: Mapping[str, str]) -> tuple[list[str], int]:
    r"""The arguments in `line`, and how much of it they take: `\\` ends them.

    Raises ArgumentError for an unterminated quote and for backquotes.
    """
    found: list[str] = []
    word: list[str] | None = None
    for part in _PART.finditer(line):
        if part["separator"]:
            return _ended(found, word), part.end()
        if part["space"]:
            found, word = _ended(found, word), None
            continue
        if part["shell"]:
            raise ArgumentError("`...` would run a command of the shell")
        if part["open"]:
            raise ArgumentError("unterminated quoted string")
        word = [*(word or []), _value(part, variables)]
    return _ended(found, word), len(line)


def truth_of(text: str) -> bool | None:
    r"""What psql takes for true or false in `\if`; None for anything else."""
    word = text.strip().lower()
    for value, names, least in ((True, "true", 1), (False, "false", 1), (True, "yes", 1)):
        if len(word) >= least and names.startswith(word):
            return value
    if word and "no".startswith(word):
        return False
    return {"on": True, "1": True, "off": False, "of": False, "0": False}.get(word)


def _ended(found: list[str], word: list[str] | None) -> list[str]:
    return found if word is None else [*found, "".join(word)]


def _value(part: re.Match[str], variables: Mapping[str, str]) -> str:
    if part["single"] is not None:
        return _ESCAPE.sub(_unescaped, part["single"])
    if part["tested"] is not None:
        return "TRUE" if part["tested"] in variables else "FALSE"
    for kind in ("plain", "literal", "name"):
        if part[kind] is not None:
            value = variables.get(part[kind])
            return part[0] if value is None else quoted_value(value, kind)
    return part[0]


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if code is None:
        return "'"
    if code in _CONTROLS:
        return _CONTROLS[code]
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    return code
