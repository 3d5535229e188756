"""SQL text in lines for people: the same tokens in the same order, with other blanks between them.

For text that libpg_query has deparsed: line breaks are put where it has single blanks between two
tokens of PostgreSQL's own scanner, so the lines together still mean what it meant. How they are
coloured and clipped is for those who show them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import postgast

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLAUSES = frozenset(
    {
        *("SELECT", "FROM", "WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET"),
        *("UNION", "INTERSECT", "EXCEPT", "VALUES", "SET", "WHEN", "RETURNING"),
    }
)
_JOINS = frozenset({"JOIN", "LEFT", "RIGHT", "FULL", "INNER", "CROSS", "NATURAL"})
_INDENT = "  "


def laid_out(sql: str, width: int) -> list[str]:
    """`sql` in lines: each clause of the outermost level begins one, what exceeds `width` another.

    Nothing is broken within a token, so a long literal may exceed `width`. Text that does not scan,
    or that has line breaks or comments between its tokens, comes back as it is, line by line.
    """
    try:
        words = list(_words(sql))
    except (postgast.PgQueryError, ValueError):
        return sql.split("\n")
    lines: list[str] = []
    before = ""
    for word, depth in words:
        if not lines or (depth == 0 and _begins_line(word, before)):
            lines.append(_INDENT + word if word in _JOINS else word)
        elif len(lines[-1]) + 1 + len(word) > width:
            lines.append(_INDENT * 2 + word)
        else:
            lines[-1] += f" {word}"
        before = word
    return lines


def _words(sql: str) -> Iterator[tuple[str, int]]:
    """What stands between blanks, with the depth of parentheses before it.

    Raises ValueError for blanks that mean something, and for comments.
    """
    text = sql.strip().encode()
    word, end, depth, depth_before = b"", 0, 0, 0
    for token in postgast.scan(text.decode()).tokens:
        piece, gap = text[token.start : token.end], text[end : token.start]
        if gap.strip(b" ") or piece.startswith((b"--", b"/*")):
            raise ValueError("comments and line breaks between tokens stay as they are")
        if gap:
            yield word.decode(), depth_before
            word, depth_before = b"", depth
        word += piece
        end = token.end
        depth += (piece == b"(") - (piece == b")")
    yield word.decode(), depth_before


def _begins_line(word: str, before: str) -> bool:
    if before in _JOINS or (before, word) in {("DISTINCT", "FROM"), ("DELETE", "FROM")}:
        return False
    return word in _CLAUSES or word in _JOINS
