r"""SQL text as psql reads it: where a statement ends, where a backslash begins a meta-command.

psql cuts a file into statements before any grammar sees it (its manual, "SQL Interpolation" and
"Meta-Commands"): a semicolon ends one outside of quotes, comments, parentheses and the BEGIN ...
END of a function's body; a backslash outside of quotes and comments begins a meta-command, also in
the middle of a statement; `:name`, `:'name'`, `:"name"` and `:{?name}` are replaced outside of
quotes and comments. Variables change while a file is read, so the text is read in steps.

The value of `:name` is read like the text around it: it may hold the end of a statement, other
variables, or a meta-command, which is how a \copy is given the name of its file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from msgspec import Struct

from pgfan.sql.forms import PLAIN, form_of
from pgfan.sql.variables import quoted_value

if TYPE_CHECKING:
    from collections.abc import Mapping

Stop: TypeAlias = Literal["semicolon", "backslash", "end"]
"""What ended a step: a statement's end, a meta-command, or the text's end."""

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--[^\n]*)
  | (?P<nested>/\*)
  | (?P<escaped>[eE]'(?:[^'\\]+|''|\\.)*+(?:'(?:\s*\n\s*'(?:[^'\\]+|''|\\.)*+')*|\Z))
  | (?P<word>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)
  | (?P<quoted>'(?:[^']+|'')*+(?:'|\Z)|"(?:[^"]+|"")*+(?:"|\Z))
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?\$)
  | (?P<number>\d[\w.$]*|\$\d+)
  | (?P<cast>::|:=)
  | (?P<test>:\{\?(?P<tested>[\w\x80-\U0010ffff]+)\})
  | (?P<variable>:(?:(?P<plain>[\w\x80-\U0010ffff]+)|'(?P<literal>[\w\x80-\U0010ffff]+)'
      |"(?P<name>[\w\x80-\U0010ffff]+)"))
  | (?P<backslash>\\)
  | (?P<semicolon>;)
  | (?P<open>\()
  | (?P<close>\))
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_MARKS = re.compile(r"[\\;:'\"$()]|--|/\*")
"""What makes a difference where it stands in a value; all other values are words."""
_RUN = re.compile(
    r"""
    (?:
        [\s,.=<>+*%^&|~?!@#\[\]{}]++
      | (?![eE]')[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*+
      | \d[\w.$]*+
      | '(?:[^']++|'')*+'
    )++
    """,
    re.VERBOSE,
)
"""Tokens that do nothing in the middle of a statement, many at a time: they take most of it."""
_COMMENT_MARK = re.compile(r"/\*|\*/")
_BODY = re.compile(r"create (or replace )?(function|procedure)\b")
_HEAD_WORDS = 4
DATA_END = "\\."


class _Nesting(Struct):
    """What keeps a semicolon from ending the statement."""

    parentheses: int = 0
    begins: int = 0
    words: int = 0
    head: str = ""
    """The first words, in lower case."""
    ignores_words: bool = False
    """Whether further words mean nothing: only functions and procedures have a body."""

    def add(self, word: str) -> None:
        word = word.lower()
        if self.words < _HEAD_WORDS:
            self.head += word + " "
        self.words += 1
        self.ignores_words = not self.head.startswith("create")
        if self.parentheses or not _BODY.match(self.head):
            return
        if word == "begin" or (word == "case" and self.begins):
            self.begins += 1
        elif word == "end" and self.begins:
            self.begins -= 1

    @property
    def is_open(self) -> bool:
        return bool(self.parentheses or self.begins)


_SAYS_SOMETHING = re.compile(r"\s*+(?!--|\Z)")


class _Outer(NamedTuple):
    """A text, where to go on in it after a variable, and the variable."""

    text: str
    position: int
    begins: int
    variable: str


class PsqlLexer:
    """Reads one text from front to back; `position` is the offset of what comes next.

    Within the value of a variable `text` is that value; `origin` tells where the variable stands.

    The statement that is being put together is kept across meta-commands, as psql's query buffer.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self._outer: list[_Outer] = []
        self.open_comment: int | None = None
        """Where a comment begins that nothing ends."""
        self.reset()

    def reset(self) -> None:
        """Forget the statement that was begun."""
        self._pieces: list[str] = []
        self._nesting = _Nesting()
        self.form: str | None = None
        """That of the statement (`pgfan.sql.forms`), where it has one."""
        self.start: int | None = None
        """Where in the file the statement's first token is; None before there is one."""
        self.comments: list[str] = []
        self.comment_starts: list[int] = []
        """The comments since the last statement that stand before the first token."""

    @property
    def statement(self) -> str:
        """The text since the first token, variables replaced, without the semicolon."""
        return "".join(self._pieces).rstrip()

    @property
    def in_value(self) -> bool:
        """Whether the value of a variable is being read."""
        return bool(self._outer)

    def origin(self, offset: int) -> int:
        """Where in the file an offset of `text` is."""
        return self._outer[0].begins if self._outer else offset

    def insert(self, text: str, begins: int, variable: str = "") -> None:
        """Read `text`, which stands for what begins at offset `begins`, before what comes next."""
        self._outer.append(_Outer(self.text, self.position, begins, variable))
        self.text, self.position = text, 0

    def _leave_value(self) -> bool:
        """Go on behind the variable whose value has been read; False in the file itself."""
        if not self._outer:
            return False
        self.text, self.position, *_ = self._outer.pop()
        return True

    def step(self, variables: Mapping[str, str] | None) -> Stop:
        r"""Read on; `variables` None replaces nothing (in a branch of \if that is not taken)."""
        while True:
            while self.position >= len(self.text):
                if not self._leave_value():
                    return "end"
            if self.start is None and (plain := PLAIN.match(self.text, self.position)):
                self._put(plain["text"], plain.start("text"))
                self.form, self.position = form_of(plain), plain.end()
                return "semicolon"
            if self._nesting.ignores_words and (run := _RUN.match(self.text, self.position)):
                self._pieces.append(run[0])
                self.position = run.end()
                continue
            found = _TOKEN.match(self.text, self.position)
            if found is None:
                raise AssertionError("every character is a token")
            kind = found.lastgroup or ""
            if kind == "backslash":
                follows = self.text[found.end() : found.end() + 1]
                if follows not in {";", ":"}:
                    return "backslash"
                self.position = found.end() + 1
                self._put(follows, found.start())
                continue
            if kind == "semicolon" and not self._nesting.is_open:
                self.position = found.end()
                return "semicolon"
            self.position = found.end()
            if variables is None or not self._enter(found, variables):
                self._take(kind, found, variables)

    def _enter(self, found: re.Match[str], variables: Mapping[str, str]) -> bool:
        """Read a variable's value next, if that makes a difference."""
        value = variables.get(found["plain"] or "")
        if value is None or not _MARKS.search(value) or self._is_within(found):
            return False
        self.insert(value, found.start(), found["plain"])
        return True

    def _is_within(self, found: re.Match[str]) -> bool:
        """Whether this stands in the value of the variable that it names: psql lets it stand."""
        return any(outer.variable == found["plain"] for outer in self._outer)

    def _take(self, kind: str, found: re.Match[str], variables: Mapping[str, str] | None) -> None:
        text = found[0]
        match kind:
            case "space":
                if self.start is not None:
                    self._pieces.append(text)
                return
            case "comment" | "nested":
                if kind == "nested":
                    self.position = self._end_of_comment(found.end())
                    text = self.text[found.start() : self.position]
                if self.start is None:
                    self.comments.append(text)
                    self.comment_starts.append(found.start())
                else:
                    self._pieces.append(text)
                return
            case "dollar":
                end = self.text.find(text, found.end())
                self.position = end + len(text) if end >= 0 else len(self.text)
                text = self.text[found.start() : self.position]
            case "word":
                self._nesting.add(text)
            case "open":
                self._nesting.parentheses += 1
            case "close":
                self._nesting.parentheses = max(0, self._nesting.parentheses - 1)
            case "variable" | "test" if variables is not None:
                text = found[0] if self._is_within(found) else _replaced(found, variables)
            case _:
                pass
        self._put(text, found.start())

    def _put(self, text: str, start: int) -> None:
        if self.start is None:
            self.start = self.origin(start)
        self._pieces.append(text)

    def _end_of_comment(self, position: int) -> int:
        depth = 1
        for mark in _COMMENT_MARK.finditer(self.text, position):
            depth += 1 if mark[0] == "/*" else -1
            if not depth:
                return mark.end()
        self.open_comment = self.origin(position - 2)
        return len(self.text)

    def rest_of_line(self) -> str:
        """The text up to the end of the line, which is passed over."""
        end = self.text.find("\n", self.position)
        end = len(self.text) if end < 0 else end
        line = self.text[self.position : end]
        self.position = end
        return line + self.rest_of_line() if end == len(self.text) and self._leave_value() else line

    def data_lines(self) -> str:
        r"""What follows COPY ... FROM STDIN: the lines up to `\.`, or all that is left.

        What stands behind it in its own line is read after them, as psql does.
        """
        behind = self.origin(self.position)
        rest = self.rest_of_line()
        data = self._data()
        if _SAYS_SOMETHING.match(rest):
            self.insert(rest, behind)
        return data

    def _data(self) -> str:
        begin = at = min(self.position + 1, len(self.text))
        while at < len(self.text):
            end = self.text.find("\n", at)
            end = len(self.text) if end < 0 else end
            if self.text[at:end].rstrip("\r") == DATA_END:
                self.position = end
                return self.text[begin:at]
            at = end + 1
        self.position = len(self.text)
        return self.text[begin:]


def _replaced(found: re.Match[str], variables: Mapping[str, str]) -> str:
    """The value of a variable, or the reference itself when there is none."""
    if found["test"]:
        return "TRUE" if found["tested"] in variables else "FALSE"
    for kind in ("plain", "literal", "name"):
        if found[kind] is not None:
            value = variables.get(found[kind])
            if value is None:
                return found[0]
            return quoted_value(value, kind)
    return found[0]
