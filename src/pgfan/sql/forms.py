"""INSERTs of constants that differ in nothing but these: read and parsed once for all of a form.

A script of rows is the same statement over and over. Where the text of one is matched by `PLAIN`,
each of its constants is one token, the grammar takes any constant there for any other, and what
PostgreSQL's parser would say of it is known from the first of its form: that there is no syntax
error, and a tree that is the same but for the values. So whoever does not look at values may look
at the tree of another (`Statement.skeleton`); whoever does has the text parsed (`Statement.tree`).

What is matched is less than the grammar allows, so that nothing in it needs a second look: plain
names, no quoted ones; '...' without a prefix, which would say how it is read; numbers of digits; no
comments, casts, operators or calls. Manual: "Lexical Structure", "Constants".
"""

from __future__ import annotations

import re

CHARS_MAX = 8_192
"""A longer text is parsed for itself: its constants are most of it."""
_SPACE = r"[\ \t\n\r\f]"
_NAME = "[A-Za-z_][A-Za-z_0-9]*+"
_CONSTANT = r"'(?:[^']++|'')*+'|-?[0-9]++(?:\.[0-9]++)?"
_VALUE = rf"{_SPACE}*+(?:{_CONSTANT}|(?i:null|true|false)){_SPACE}*+"
_ROW = rf"\({_VALUE}(?:,{_VALUE})*+\){_SPACE}*+"
PLAIN = re.compile(
    rf"""
    {_SPACE}*+
    (?P<text>
        (?P<head>
            (?i:insert){_SPACE}++(?i:into){_SPACE}++{_NAME}(?:\.{_NAME})?+{_SPACE}*+
            (?:\({_SPACE}*+{_NAME}{_SPACE}*+(?:,{_SPACE}*+{_NAME}{_SPACE}*+)*+\){_SPACE}*+)?+
            (?i:values){_SPACE}*+
        )
        (?P<rows>{_ROW}(?:,{_SPACE}*+{_ROW})*+)
    )
    ;
    """,
    re.VERBOSE,
)
"""A statement with its semicolon, where one may begin."""
_CONSTANTS = re.compile(_CONSTANT)


def form_of(found: re.Match[str]) -> str | None:
    """What all statements of one form have in common; `found` is a match of `PLAIN`."""
    if found.end() - found.start() > CHARS_MAX:
        return None
    return found["head"] + _CONSTANTS.sub("?", found["rows"])
