"""One directive as it is written: `-- pgfan: jobs 4` to what it asks for, or what is wrong with it.

Nothing is looked up here: what the names in it mean is `pgfan.sql.directives`'s to say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import postgast
from msgspec import Struct
from postgast import pg_query_pb2 as pb

from pgfan.errors import Position, UsageError
from pgfan.sql.places import locate, placed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pgfan.sql.facts import Name
    from pgfan.sql.places import LineIndex
    from pgfan.sql.requested import KeyRequest

_DIRECTIVE = re.compile(r"(?:--|/\*)\s*pgfan:\s*(.*?)\s*(?:\*/)?\Z", re.IGNORECASE | re.DOTALL)
_MARK = re.compile(r"(?:--|/\*)\s*pgfan:", re.IGNORECASE)
_COMMENTS = {pb.Token.Value("SQL_COMMENT"), pb.Token.Value("C_COMMENT")}
_TASK_NAME = re.compile(r"[\w.-]+")
_NUMBER = re.compile(r"0*[1-9]\d{0,3}", re.ASCII)


class Directive(Struct, frozen=True):
    """What stands behind `-- pgfan:`; where the comment is, and its line."""

    text: str
    position: Position
    line: str

    @property
    def is_load(self) -> bool:
        """Whether it is `load`."""
        return self.text.lower() == "load"

    def error(self, message: str, hint: str | None = None) -> UsageError:
        """What is wrong with it, with the place."""
        return UsageError(message, position=self.position, source_line=self.line, hint=hint)


class Asked(Struct):
    """What the directives of one statement ask for; `after` are names with where they stand."""

    words: set[str]
    name: str = ""
    by: KeyRequest | None = None
    jobs_max: int | None = None
    after: tuple[tuple[Directive, str], ...] = ()
    reads: tuple[Name, ...] = ()
    writes: tuple[Name, ...] = ()


def find_directives(comments: Iterable[tuple[str, int]], lines: LineIndex) -> tuple[Directive, ...]:
    """Those among comments, which are given with their offsets in the text.

    Raises UsageError for one that shares its line: it would be taken for the statement before it.
    """
    found = []
    for comment, start in comments:
        match = _DIRECTIVE.match(comment)
        if match is not None:
            position, line = lines.locate(start)
            directive = Directive(match[1], position, line)
            if line[: position.column - 1].strip():
                raise directive.error(
                    "a directive stands before its statement, on a line of its own"
                )
            found.append(directive)
    return tuple(found)


def refuse_inside(text: str, begins: Position) -> None:
    """Raise UsageError for a directive in the middle of a statement, where nobody looks for it."""
    if not _MARK.search(text):  # in a literal it is none
        return
    raw = text.encode()
    for token in postgast.scan(text).tokens:
        if token.token in _COMMENTS:
            match = _DIRECTIVE.match(raw[token.start : token.end].decode())
            if match is not None:
                offset = len(raw[: token.start].decode())
                position, line = locate(text, begins.source, offset)
                directive = Directive(match[1], placed(position, begins), line)
                raise directive.error(f"{match[1]}: a directive stands before its statement")


def read_asked(directives: Iterable[Directive]) -> Asked:
    """What the directives of one statement ask for. Raises UsageError with the place."""
    asked = Asked(set())
    for directive in directives:
        word, rest = _divided(directive)
        if word in asked.words and word not in _SEVERAL:
            raise directive.error(f"{word} is said twice")
        asked.words.add(word)
        _READERS[word](asked, directive, rest)
        for pair in _APART:
            if pair <= asked.words:
                raise directive.error(f"{' and '.join(sorted(pair))}: only one of them can hold")
    return asked


def _divided(directive: Directive) -> tuple[str, str]:
    """The directive's word, or two, and what follows."""
    words = directive.text.split()
    for count in (2, 1):
        word = " ".join(words[:count]).lower()
        if word in _READERS:
            return word, " ".join(words[count:])
    from difflib import get_close_matches

    said = {" ".join(words[:count]).lower(): None for count in (2, 1)}
    near = [word for one in said for word in get_close_matches(one, _READERS, 1)]
    raise directive.error(
        f"there is no directive {' '.join(words[:2])!r}",
        f"did you mean {near[0]}?" if near else f"there are: {', '.join(_READERS)}",
    )


def _serial(_: Asked, directive: Directive, rest: str) -> None:
    if rest:
        raise directive.error(f"serial stands alone, without {rest!r}")


def _load(_: Asked, directive: Directive, rest: str) -> None:
    if rest:
        raise directive.error(
            f"load stands alone, without {rest!r}", "options stand in the \\copy: WITH (FORMAT ...)"
        )


def _split_by(asked: Asked, directive: Directive, rest: str) -> None:
    from pgfan.sql.requested import read_request

    try:
        asked.by = read_request(rest)
    except UsageError as error:
        text = error.message.replace("--by", "split by", 1)
        raise directive.error(text, error.hint) from error


def _jobs(asked: Asked, directive: Directive, rest: str) -> None:
    if not _NUMBER.fullmatch(rest):
        raise directive.error(f"jobs {rest}: give a number of connections, from 1 to 9999")
    asked.jobs_max = int(rest)


def _name(asked: Asked, directive: Directive, rest: str) -> None:
    if not _TASK_NAME.fullmatch(rest):
        raise directive.error(f"name {rest}: give letters, digits, dots, underscores and hyphens")
    asked.name = rest


def _after(asked: Asked, directive: Directive, rest: str) -> None:
    names = [name.strip() for name in rest.split(",")]
    if not all(names):
        raise directive.error(
            f"{directive.text}: a name is missing",
            "give names of tasks, files or relations, with commas in between",
        )
    asked.after += tuple((directive, name) for name in names)


def _reads(asked: Asked, directive: Directive, rest: str) -> None:
    asked.reads += _relations(directive, rest)


def _writes(asked: Asked, directive: Directive, rest: str) -> None:
    asked.writes += _relations(directive, rest)


def _relations(directive: Directive, text: str) -> tuple[Name, ...]:
    from pgfan.sql.names import name_in_text

    named = [name_in_text(part) for part in text.split(",")]
    names = tuple(name for name in named if name is not None)
    if len(names) < len(named):
        raise directive.error(
            f"{directive.text}: give names of relations, with commas in between",
            'as in SQL: s.t, or "S"."T"',
        )
    return names


def _for_each(_asked: Asked, _directive: Directive, _rest: str) -> None:
    """Read with the statement itself (`pgfan.sql.for_each`): what stands here is its query's."""


_READERS: Mapping[str, Callable[[Asked, Directive, str], None]] = {
    "serial": _serial,
    "load": _load,
    "split by": _split_by,
    "jobs": _jobs,
    "name": _name,
    "after": _after,
    "reads": _reads,
    "writes": _writes,
    "for each": _for_each,
}
_APART = ({"serial", "split by"}, {"load", "split by"})
_SEVERAL = frozenset({"after", "reads", "writes"})
