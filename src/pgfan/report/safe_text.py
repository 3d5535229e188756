"""Text that is safe to show: no control characters, no passwords.

Names, notices and error messages come from files, from the server and from other people's data, so
whatever shows them passes them through here first. Order matters: a password is found by parsing
the whole connection string, so redaction comes before any cut. The two forms of a connection string
are those of the manual's section "Connection Strings" (libpq-connstring).
"""

from __future__ import annotations

import re
import unicodedata
from itertools import zip_longest
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

MASK = "***"

_SECRET_KEYWORDS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)
# Joiners that Persian, Hindi and emoji need; every other format character can reorder or hide text.
_KEPT_FORMAT_CHARACTERS = "\u200c\u200d"

_URI_START = re.compile(r"postgres(?:ql)?://", re.IGNORECASE)
_URI_END = re.compile(r"[\s\"<>]")
_KEYWORD = re.compile(r"\s*([^=\s]+)\s*=\s*")
_WORD = re.compile(r"\s*\S+")
_ESCAPED = r"\\(?:.|\Z)"
_VALUE = re.compile(
    rf"'(?:[^'\\]|{_ESCAPED})*(?:'|\Z)|(?:[^\s\\']|{_ESCAPED})(?:[^\s\\]|{_ESCAPED})*|",
    re.DOTALL,
)
_NAMES = "|".join(sorted(_SECRET_KEYWORDS))
# The same in the middle of a message, and PGPASSWORD.
_PAIR_IN_MESSAGE = re.compile(
    rf"(?<![\w?&])(?:pg)?(?:{_NAMES})\s*=\s*({_VALUE.pattern})", re.DOTALL | re.IGNORECASE
)
_QUERY_START = re.compile(r"\?[\w%]+=")
_PAIR_IN_QUERY = re.compile(rf"[?&](?:{_NAMES})=([^&\s]*)", re.IGNORECASE)
# libpq quotes the rest of a password that holds a blank.
_LIBPQ_FRAGMENT = re.compile(r'missing "=" after "([^"]*)"')


def clean(text: str, max_chars: int) -> str:
    r"""One line of at most `max_chars` characters in which nothing can move the cursor.

    Line breaks and tabs become blanks; other control, format and unpaired surrogate characters
    become escapes that can be read (`\x1b`). What does not fit is cut and marked with "…".
    """
    cut = len(text) > max_chars
    shown = text[:max_chars]
    if not shown.isprintable():
        shown = "".join(map(_visible, shown))
        cut = cut or len(shown) > max_chars
    return shown[: max_chars - 1] + "…" if cut else shown


def _visible(character: str) -> str:
    if character in "\n\r\t\v\f\x85\u2028\u2029":
        return " "
    category = unicodedata.category(character)
    if category not in {"Cc", "Cf", "Cs"} or character in _KEPT_FORMAT_CHARACTERS:
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def redact_dsn(text: str) -> str:
    """`text` with the password of every connection string in it replaced by `***`.

    `text` is a connection string in either of libpq's forms, or a message that quotes one. Where
    a string is malformed the mask covers too much rather than too little.
    """
    pieces = []
    end = 0
    for start, stop in secret_spans(text):
        pieces.append(text[end:start])
        pieces.append(MASK)
        end = stop
    pieces.append(text[end:])
    return "".join(pieces)


def secret_spans(text: str) -> list[tuple[int, int]]:
    """Where the passwords in `text` are, as [start, stop) in order, without overlaps."""
    spans = [match.span(1) for match in _LIBPQ_FRAGMENT.finditer(text)]
    lowered = text.lower()
    if any(word in lowered for word in _SECRET_KEYWORDS):
        spans += _conninfo_spans(text)
        for pattern in (_PAIR_IN_MESSAGE, _PAIR_IN_QUERY):
            spans += [match.span(1) for match in pattern.finditer(text)]
    uris = list(_URI_START.finditer(text))
    for uri, following in zip_longest(uris, uris[1:]):
        # A URI in a message ends at a blank; the rest of a text that starts with one is all URI.
        alone = text[: uri.start()].isspace() or uri.start() == 0
        limit = following.start() if following else len(text)
        end = None if alone else _URI_END.search(text, uri.end(), limit)
        spans += _uri_spans(text, uri.end(), end.start() if end else limit)
    return _merged(span for span in spans if span[0] < span[1])


def _merged(spans: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _conninfo_spans(text: str) -> list[tuple[int, int]]:
    """The secret values of a keyword=value string.

    Words that are no pair may belong to a password that should have been quoted: masked as well.
    """
    spans: list[tuple[int, int]] = []
    in_secret = False
    position = 0
    stop = len(text.rstrip())
    while position < stop:
        keyword = _KEYWORD.match(text, position)
        if keyword is None:
            word = _WORD.match(text, position)
            if word is None or not (position or spans):
                return spans
            position = word.end()
            if in_secret:
                spans[-1] = (spans[-1][0], position)
            continue
        value = _VALUE.match(text, keyword.end())
        position = value.end() if value is not None else keyword.end()
        is_secret = keyword[1].lower() in _SECRET_KEYWORDS
        in_secret = is_secret and not text.startswith("'", keyword.end())
        if is_secret:
            spans.append((keyword.end(), position))
    return spans


def _uri_spans(text: str, start: int, stop: int) -> list[tuple[int, int]]:
    """The secrets of the URI that ends at `stop` and whose scheme ends at `start`.

    libpq ends the user's part at the first "@" before a "/". A password that holds an unescaped
    "@" or "/" is a mistake, but still a password: the mask reaches to the last "@".
    """
    spans = []
    slash = text.find("/", start, stop)
    first_at = text.find("@", start, slash if slash >= 0 else stop)
    query = _QUERY_START.search(text, max(first_at, start), stop)
    question = query.start() if query else -1
    last_at = text.rfind("@", start, question if question >= 0 else stop)
    colon = text.find(":", start, last_at) if last_at >= 0 else -1
    if colon >= 0:
        spans.append((colon + 1, last_at))
    position = question + 1 if question >= 0 else stop
    while position < stop:
        ampersand = text.find("&", position, stop)
        pair_stop = ampersand if ampersand >= 0 else stop
        equals = text.find("=", position, pair_stop)
        if equals >= 0 and unquote(text[position:equals]).lower() in _SECRET_KEYWORDS:
            spans.append((equals + 1, pair_stop))
        position = pair_stop + 1
    return spans
