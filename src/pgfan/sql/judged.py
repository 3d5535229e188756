"""Verdicts kept by the shapes of their statements: scripts of like statements are judged quickly.

Scripts that programs write have thousands of statements that differ in a few constants. A verdict
follows from the statement's tree and the catalogue's facts alone, and few rules look at constants.
The shape of a statement is its text without those that no rule looks at where they stand, as the
right operand of an operator:

- whole numbers of up to nine digits, and decimal ones, after comparisons and arithmetic;
- after comparisons, strings that are a whole operand and hold no word such as 'now'.

All else is part of the shape as it is written: entries of GROUP BY, ORDER BY and DISTINCT ON,
LIMIT, IN lists, arguments, lengths, strings that are cast. A text is its own shape when it has
something that hides where constants are (comments, dollar quotes, backslashes), or a word that
gives them a meaning of their own.

A verdict is good for another statement of the shape under equal facts only: what DDL changed is
judged anew.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pgfan.sql.distribute import Serial, Split, Verdict, distribute
from pgfan.sql.functions import may_mean_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgfan.sql.facts import CatalogFacts
    from pgfan.sql.tree import Message

VERDICTS_MAX = 100
"""Facts are kept with them, which may be large: a table may have thousands of partitions."""
TEXT_CHARS_MAX = 16_384
"""Longer texts are judged each time, and not kept."""
_ITS_OWN_SHAPE = (
    *("--", "/*", "$", "\\", "\0"),
    *("generate_series", "nextval", "regclass", "tablesample", "pgfan_"),
)
"""pgfan_ is what the names begin with that WITH queries get, which must not be in the text."""
_WORDS = (
    "AND OR THEN WHEN ELSE END AS FROM WHERE GROUP ORDER HAVING WINDOW LIMIT OFFSET UNION EXCEPT "
    "INTERSECT ON JOIN LEFT RIGHT FULL INNER CROSS NATURAL RETURNING"
)
_OPERATOR = r"(?<![-+*/<>=~!@\#%^&|`?:])"
"""Before what begins an operator."""
_CONSTANT = re.compile(
    rf"""
    (?= ['"=<>!+*/%-] ) (?:          # what all of it begins with
    '(?:[^']|'')*' | "(?:[^"]|"")*"  # strings and names elsewhere: a look inside would mislead
    | (?P<before>
        {_OPERATOR} (?P<compares> <> | != | <= | >= | [<>=] ) \s*
        | {_OPERATOR} [+*/%] \s*
        | (?: (?<=[)\]"\d]) | (?<=[)\]"\d]\s) ) - \s*  # not a sign: that belongs to its number
      )
      (?: \d{{1,9}} (?P<decimal> \.\d+ )? (?! [\w.] | [^\x00-\x7f] )
        | (?(compares) (?P<string> '[^']*' ) (?! ' )
            (?= \s* (?: [),;] | \Z ) | \s+ (?:{"|".join(_WORDS.split())}) \b ) | (?!) )
      )
    )
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


def shape(text: str) -> str:
    """What statements have in common that get the same verdict; `text` is of one statement."""
    lower = text.lower()
    if any(part in lower for part in _ITS_OWN_SHAPE):
        return text
    return _CONSTANT.sub(_without, text)


def _without(found: re.Match[str]) -> str:
    before, string, decimal = found["before"], found["string"], found["decimal"]
    if before is None or (string is not None and may_mean_time(string)):
        return found[0]
    kind = "s" if string is not None else "i" if decimal is None else "f"
    return f"{before}\x00{kind}"


class _Judged(Struct, frozen=True):
    facts: CatalogFacts
    verdict: Verdict


class Judged:
    """The latest verdicts, at most `verdicts_max`. For one thread."""

    def __init__(self, verdicts_max: int = VERDICTS_MAX) -> None:
        self._verdicts_max = verdicts_max
        self._kept: OrderedDict[str, _Judged] = OrderedDict()

    def verdict(self, text: str, tree: Callable[[], Message], facts: CatalogFacts) -> Verdict:
        """What `distribute` says of `tree()`, which is that of `text`.

        The tree is asked for only when the statement has to be judged; of a split also when its
        rewritten tree is.
        """
        if len(text) > TEXT_CHARS_MAX:
            return distribute(tree(), facts)
        key = shape(text)
        known = self._kept.pop(key, None)
        if known is None or not (known.facts is facts or known.facts == facts):
            found = distribute(tree(), facts)
            known = _Judged(facts, _without_tree(found))
        else:
            found = known.verdict
            if not isinstance(found, Serial):
                found = replace(found, made=lambda: _rewritten(tree(), facts))
        self._kept[key] = known
        if len(self._kept) > self._verdicts_max:
            self._kept.popitem(last=False)
        return found


def _without_tree(verdict: Verdict) -> Verdict:
    """The verdict without the statement that it was found for."""
    return verdict if isinstance(verdict, Serial) else replace(verdict, made=_no_tree)


def _no_tree() -> Message:
    raise AssertionError("the tree of a verdict that is kept for other statements")


def _rewritten(tree: Message, facts: CatalogFacts) -> Message:
    verdict = distribute(tree, facts)
    if not isinstance(verdict, Split):
        raise AssertionError("a statement of the shape of one that is split")  # noqa: TRY004
    return verdict.tree
