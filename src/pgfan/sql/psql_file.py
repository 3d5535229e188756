r"""A psql script that is being read: how far, and in which branches of \if."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from msgspec import Struct, field

from pgfan.errors import UnsupportedError
from pgfan.sql.directive_syntax import find_directives

if TYPE_CHECKING:
    from pgfan.sql.directive_syntax import Directive
    from pgfan.sql.places import LineIndex
    from pgfan.sql.psql_lexer import PsqlLexer


class Branch(Struct):
    r"""An \if: whether its text counts now, whether a branch was taken, and what is around it."""

    active: bool
    taken: bool
    around: bool
    begins: int
    has_else: bool = False


class PsqlFile(Struct):
    """A file: its text, what reads it, and where in it each offset is."""

    name: str
    text: str
    lexer: PsqlLexer
    lines: LineIndex
    branches: list[Branch] = field(default_factory=list)
    ended: bool = False

    @property
    def active(self) -> bool:
        """Whether what stands here counts."""
        return not self.branches or self.branches[-1].active

    def directives(self) -> tuple[Directive, ...]:
        """Those among the comments since the last statement."""
        lexer = self.lexer
        return find_directives(zip(lexer.comments, lexer.comment_starts, strict=True), self.lines)

    def refuse_directives(self, why: str) -> None:
        """Raise UsageError when there are any: they would hold for nothing."""
        for directive in self.directives():
            raise directive.error(
                f"{directive.text}: {why}", "a directive stands before its statement"
            )

    def refuse(self, offset: int, message: str, hint: str) -> NoReturn:
        """Raise UnsupportedError for what stands at an offset."""
        position, line = self.lines.locate(offset)
        raise UnsupportedError(message, position=position, source_line=line, hint=hint)
