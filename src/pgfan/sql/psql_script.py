r"""A psql script to items: statements, and what psql's meta-commands make of the text around them.

The whole script is read before anything runs, so what psql would decide while it runs (`\gset`,
variables such as :ROW_COUNT) has no place here and is refused, as is all that reaches a shell,
another database or the environment. See "Meta-Commands" in psql's manual.
"""

from __future__ import annotations

import contextlib
import posixpath
import re
from typing import TYPE_CHECKING

import postgast
from msgspec import Struct

from pgfan.errors import UnsupportedError, UsageError
from pgfan.sql.directive_syntax import refuse_inside
from pgfan.sql.for_each import HINT, read_for_each
from pgfan.sql.generated import Generator, returns_rows
from pgfan.sql.parsing import NestedTooDeepError, parse
from pgfan.sql.places import LineIndex
from pgfan.sql.psql_arguments import ArgumentError, split_arguments, truth_of
from pgfan.sql.psql_commands import IGNORED, INCLUDES, REFUSED, WITHOUT_EFFECT
from pgfan.sql.psql_copy import client_copy
from pgfan.sql.psql_file import Branch, PsqlFile
from pgfan.sql.psql_lexer import PsqlLexer
from pgfan.sql.psql_variables import PsqlVariables
from pgfan.sql.script import (
    ScriptItem,
    Statement,
    items_of,
    refuse_characters,
    syntax_error,
    too_deep,
)
from pgfan.sql.tree import Message, inner, kind_of
from pgfan.sql.unsupported import is_utf8

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pgfan.errors import Position
    from pgfan.sql.directive_syntax import Directive
    from pgfan.sql.for_each import ForEach
    from pgfan.sql.psql_lexer import Stop

GIVE_IT = "write the value itself, or give it with --set"
INCLUDES_MAX = 100
"""Files in files: a file that includes itself ends here."""
_NAME = re.compile(r"[^\s\\]+")


class PsqlScript(Struct, frozen=True):
    r"""What was read: `ends_with` is what \echo says after the last statement.

    `files` are all texts by name, those that were included too. `includes` names what is included
    anywhere, also where \if keeps it out.
    """

    items: tuple[ScriptItem, ...]
    ends_with: tuple[str, ...]
    files: Mapping[str, str]
    includes: frozenset[str] = frozenset()


def read_psql(
    sources: Sequence[tuple[str, str]],
    variables: Mapping[str, str],
    fetch: Callable[[str], str],
    *,
    folder: str = "",
    may_be_empty: bool = False,
) -> PsqlScript:
    r"""The items of `sources` (pairs of name and text), one after the other.

    `fetch` gives the text of a file that is included, by its name: as written for `\i`, in the
    folder of the file that includes it for `\ir`. `folder` is where relative names begin that are
    written in `\i` and `\copy`: where psql would have been started. Raises UsageError and
    UnsupportedError with the place in the script, before anything has run.
    """
    reader = _Reader(dict(variables), fetch, folder)
    for name, text in sources:
        reader.read(name, text)
    if not (reader.statements or may_be_empty):
        raise UsageError("the script holds no SQL statement", hint="give at least one statement")
    items = tuple(items_of(reader.statements))
    return PsqlScript(items, tuple(reader.said), reader.files, frozenset(reader.included))


class _Reader:
    def __init__(
        self,
        variables: dict[str, str],
        fetch: Callable[[str], str],
        folder: str,
    ) -> None:
        self._variables = PsqlVariables(variables)
        self._fetch = fetch
        self._folder = folder
        self._open: list[str] = []
        self._forms: dict[str, Message] = {}
        """The tree of the first statement of each form."""
        self.statements: list[Statement] = []
        self.said: list[str] = []
        self.files: dict[str, str] = {}
        self.included: set[str] = set()

    def read(self, name: str, text: str) -> None:
        refuse_characters(text, name)
        text = text.removeprefix("\ufeff")
        self.files[name] = text
        self._open.append(name)
        file = PsqlFile(name, text, PsqlLexer(text), LineIndex(text, name))
        while not file.ended:
            match self._step(file):
                case "semicolon":
                    self._send(file)
                case "backslash":
                    self._command(file)
                case _:
                    if file.lexer.open_comment is not None:
                        file.refuse(file.lexer.open_comment, "unterminated /* comment", "end it")
                    self._send(file)
                    file.ended = True
        if file.branches:
            file.refuse(file.branches[-1].begins, "this \\if has no \\endif", "add one")
        self._open.pop()

    def _step(self, file: PsqlFile) -> Stop:
        begins = file.lexer.position
        try:
            return file.lexer.step(self._variables if file.active else None)
        except ArgumentError as error:
            found = file.lexer.text.find(":", begins, file.lexer.position)
            file.refuse(file.lexer.origin(max(found, begins)), str(error), GIVE_IT)

    # Statements ---------------------------------------------------------------------------------

    def _send(self, file: PsqlFile, gexec_at: int | None = None) -> None:
        r"""The statement that was put together is one, if it counts.

        `gexec_at`: where the \gexec is that its rows go to.
        """
        lexer = file.lexer
        text, start, comments = lexer.statement, lexer.start, tuple(lexer.comments)
        if start is None or not file.active:
            if file.active:
                file.refuse_directives("no statement follows it")
            lexer.reset()
            return
        directives = file.directives()
        position, _ = file.lines.locate(start)
        each = read_for_each(comments, file.lines, start, self._variables)
        if each is not None:
            if gexec_at is not None:
                file.refuse(gexec_at, "\\gexec with for each", "use one of them")
            lexer.reset()
            self._add(self._for_each(file, each, text, position, directives))
            return
        form = lexer.form
        tree = self._forms.get(form) if form is not None else None
        if tree is None:
            tree = self._parsed(text, position)
            refuse_inside(text, position)
            if form is not None:
                self._forms[form] = tree
        data = None
        if kind_of(tree) == "CopyStmt" and tree.is_from and not (tree.filename or tree.is_program):
            data = lexer.data_lines()
        lexer.reset()
        generator = None
        if gexec_at is not None and returns_rows(tree):
            generator = Generator(file.lines.locate(gexec_at)[0])
        echoes = self._echoes()
        self._add(
            Statement(
                text, position, tree, data, None, generator, echoes, comments, directives, form
            )
        )

    def _for_each(
        self,
        file: PsqlFile,
        each: ForEach,
        text: str,
        position: Position,
        directives: tuple[Directive, ...],
    ) -> Statement:
        """The query of the directive, which makes a statement of `text` for each row."""
        begins, line = file.lines.locate(each.offset)
        tree = self._parsed(each.query, begins)
        if kind_of(tree) != "SelectStmt" or not returns_rows(tree):
            why = "for each: this is no query"
            raise UnsupportedError(why, position=begins, source_line=line, hint=HINT)
        generator = Generator(position, each.columns, text)
        return Statement(
            each.query,
            begins,
            tree,
            generates=generator,
            echoes=self._echoes(),
            directives=directives,
        )

    def _add(self, statement: Statement) -> None:
        self.statements.append(statement)

    def _echoes(self) -> tuple[str, ...]:
        said, self.said = tuple(self.said), []
        return said

    def _parsed(self, text: str, position: Position) -> Message:
        try:
            found = parse(text).stmts
        except postgast.PgQueryError as error:
            raise syntax_error(text, position, error) from error
        except NestedTooDeepError as error:
            raise too_deep(text, position) from error
        if len(found) != 1:
            raise UnsupportedError(
                "several statements in one message (\\;) are not supported",
                position=position,
                hint="write them between BEGIN and COMMIT: that is what psql makes of them",
            )
        return inner(found[0].stmt)

    # Meta-commands ------------------------------------------------------------------------------

    def _command(self, file: PsqlFile) -> None:
        lexer = file.lexer
        start = lexer.origin(lexer.position)
        found = _NAME.match(lexer.text, lexer.position + 1)
        if found is None:
            file.refuse(start, "a backslash without a command", "remove it")
        name = found[0]
        lexer.position = found.end()
        if name in {"if", "elif", "else", "endif"}:
            self._condition(file, name, start)
        elif not file.active:
            self._pass_over(file, name)
        elif name == "copy":
            self._copy(file, start)
        elif name in REFUSED or (name[0] in "dls" and name not in {"set", "startpipeline"}):
            why = REFUSED.get(name, "it shows something to people")
            file.refuse(start, f"\\{name} is not supported: {why}", "remove it")
        else:
            self._act(file, name, self._arguments(file, start), start)

    def _arguments(self, file: PsqlFile, start: int) -> list[str]:
        lexer = file.lexer
        begin, in_value = lexer.position, lexer.in_value
        line = lexer.rest_of_line()
        try:
            found, length = split_arguments(line, self._variables)
        except ArgumentError as error:
            file.refuse(start, str(error), GIVE_IT)
        if not in_value:
            lexer.position = begin + length
        elif length < len(line):
            lexer.insert(line[length:], start)
        return found

    def _act(self, file: PsqlFile, name: str, arguments: list[str], start: int) -> None:
        match name:
            case "echo" | "qecho":
                bare = arguments[:1] == ["-n"]
                self.said.append(" ".join(arguments[bare:]) + ("" if bare else "\n"))
            case "set" | "unset" if arguments:
                self._set(file, name, arguments, start)
            case "i" | "include" | "ir" | "include_relative":
                self._include(file, name, arguments, start)
            case "g" | "gx" if not arguments or arguments[0].startswith("("):
                self._send(file)
            case "gexec":
                self._send(file, start)
            case "r" | "reset":
                file.lexer.reset()
            case "q" | "quit":
                file.ended, file.branches = True, []
            case "encoding" if arguments and not is_utf8(arguments[0]):
                why = f"\\encoding {arguments[0]}: files are read as UTF-8"
                file.refuse(start, why, "convert the file to UTF-8, with iconv for one")
            case _ if name not in IGNORED:
                why = f"\\{' '.join((name, *arguments))} is not supported"
                file.refuse(start, why, "remove it")

    def _set(self, file: PsqlFile, command: str, arguments: list[str], start: int) -> None:
        name, *values = arguments
        if command == "unset":
            self._variables.pop(name, None)
            return
        value = "".join(values)
        if name in WITHOUT_EFFECT and truth_of(value or "on") is not (name == "AUTOCOMMIT"):
            why = f"\\set {name} {value}: every statement outside of BEGIN is a transaction here"
            file.refuse(start, why, "write BEGIN and COMMIT")
        self._variables[name] = value

    def _pass_over(self, file: PsqlFile, command: str) -> None:
        r"""A command where \if keeps it out; a file that it would include is one all the same."""
        line = file.lexer.rest_of_line()
        if command in INCLUDES:
            with contextlib.suppress(ArgumentError):
                arguments, _ = split_arguments(line, self._variables)
                self.included.update(self._file_name(file, command, one) for one in arguments[:1])

    def _file_name(self, file: PsqlFile, command: str, name: str) -> str:
        if command in {"ir", "include_relative"}:
            return posixpath.normpath(posixpath.join(posixpath.dirname(file.name), name))
        return self._in_folder(name)

    def _in_folder(self, name: str) -> str:
        if not self._folder or "://" in name:  # an address, for -- pgfan: load
            return name
        return posixpath.normpath(posixpath.join(self._folder, name))

    def _include(self, file: PsqlFile, command: str, arguments: list[str], start: int) -> None:
        if not arguments:
            file.refuse(start, "the name of the file is missing", "give it")
        if len(self._open) >= INCLUDES_MAX:
            why = f"{arguments[0]} includes itself, or files are {INCLUDES_MAX} deep"
            file.refuse(start, why, "break the circle")
        name = self._file_name(file, command, arguments[0])
        self.included.add(name)
        try:
            text = self._fetch(name)
        except UsageError as error:
            file.refuse(start, error.message, error.hint or "give the right name")
        if file.lexer.start is not None:
            file.refuse(start, "\\include in the middle of a statement", "end it first")
        file.refuse_directives("it would hold for a whole file")
        self.read(name, text)

    def _copy(self, file: PsqlFile, start: int) -> None:
        lexer = file.lexer
        position, _ = file.lines.locate(start)
        line = lexer.rest_of_line()
        try:
            sql, name = client_copy(line)
        except ArgumentError as error:
            file.refuse(start, f"\\copy: {error}", "see \\copy in psql's manual")
        if read_for_each(lexer.comments, file.lines, start, self._variables) is not None:
            file.refuse(start, "\\copy with for each is not supported", "use COPY")
        tree = self._parsed(sql, position)
        data = lexer.data_lines() if name is None and tree.is_from else None
        path = None if name is None else self._in_folder(name)
        directives = file.directives() if lexer.start is None else ()
        if lexer.start is None:
            lexer.reset()
        echoes = self._echoes()
        self._add(Statement(sql, position, tree, data, path, None, echoes, directives=directives))

    # Conditions ---------------------------------------------------------------------------------

    def _condition(self, file: PsqlFile, name: str, start: int) -> None:
        if file.active and file.lexer.start is not None:
            file.refuse(start, f"\\{name} in the middle of a statement", "end it first")
        if not file.active:
            file.lexer.reset()  # what a branch that is not taken has begun ends with it
        branches = file.branches
        if name == "if":
            around = file.active
            value = self._truth(file, start) if around else self._skipped(file)
            branches.append(Branch(around and value, value, around, start))
            return
        if not branches or (branches[-1].has_else and name != "endif"):
            file.refuse(start, f"\\{name} without \\if", "remove it")
        branch = branches[-1]
        if name == "elif" and branch.around and not branch.taken:
            branch.active = branch.taken = self._truth(file, start)
            return
        file.lexer.rest_of_line()
        if name == "endif":
            branches.pop()
        else:
            branch.active = name == "else" and branch.around and not branch.taken
            branch.has_else = name == "else"

    def _truth(self, file: PsqlFile, start: int) -> bool:
        text = " ".join(self._arguments(file, start))
        value = truth_of(text)
        if value is None:
            why = f"{text!r} is neither true nor false"
            file.refuse(start, why, "psql takes true, false, yes, no, on, off, 1 and 0")
        return value

    def _skipped(self, file: PsqlFile) -> bool:
        file.lexer.rest_of_line()
        return False
