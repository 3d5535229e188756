r"""The directive `for each`: a statement once for every row of a query.

    -- pgfan: for each id, name in (SELECT id, name FROM shops ORDER BY id)
    CREATE TABLE shop_:id AS SELECT * FROM sales WHERE shop = :'name';

The row's columns are psql variables in the statement, which is read when the rows are known. In the
query itself the script's own variables count.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from pgfan.errors import UnsupportedError
from pgfan.sql.psql_lexer import PsqlLexer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pgfan.sql.places import LineIndex

_DIRECTIVE = re.compile(r"(?:--|/\*)\s*pgfan:\s*for\s+each\b", re.IGNORECASE)
_WHOLE = re.compile(
    r"\s+(?P<names>\w+(?:\s*,\s*\w+)*)\s+in\s*\((?P<query>.*)\)\s*(?:\*/)?\s*",
    re.IGNORECASE | re.DOTALL,
)
HINT = "write it as: -- pgfan: for each id, name in (SELECT id, name FROM t)"


class ForEach(Struct, frozen=True):
    """A directive: the variables, the query, and where that begins in the file."""

    columns: tuple[str, ...]
    query: str
    offset: int


def read_for_each(
    comments: Sequence[str], lines: LineIndex, before: int, variables: Mapping[str, str]
) -> ForEach | None:
    """The directive among `comments`, which stand in a file before the offset `before`; or None.

    Raises UnsupportedError with its place for one that does not say what is to be done.
    """
    found = [comment for comment in comments if _DIRECTIVE.match(comment)]
    if not found:
        return None
    comment = found[-1]
    offset = lines.text.rfind(comment, 0, before)
    begin = _DIRECTIVE.match(comment)
    whole = _WHOLE.fullmatch(comment, begin.end()) if begin is not None else None
    names = re.split(r"\s*,\s*", whole["names"]) if whole is not None else []
    taken = next((name for name in names if name in variables or names.count(name) > 1), None)
    why = None
    if whole is None:
        why = "this is no for each"
    elif taken is not None:
        why = f"for each: there is a variable {taken} already"
    elif len(found) > 1:
        why = "two for each in front of one statement"
    if whole is None or why is not None:
        position, line = lines.locate(offset)
        raise UnsupportedError(why or "", position=position, source_line=line, hint=HINT)
    lexer = PsqlLexer(whole["query"])
    lexer.step(variables)
    return ForEach(tuple(names), lexer.statement, offset + whole.start("query"))
