"""A mutant: one rule of the analysis broken on purpose, told as Python before and after.

What is replaced is found by its syntax tree, in the function or constant of a given name, wherever
in the mutated folders that stands: new line breaks and a move to another module do no harm, and
code that is not there any more is an error.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parents[2] / "src" / "pgfan"
FOLDERS = ("sql", "plan")

Definition: TypeAlias = ast.FunctionDef | ast.Assign | ast.AnnAssign


class StaleMutantError(Exception):
    """The code that a mutant replaces is not there, or is there more than once."""


@dataclass(frozen=True)
class Mutant:
    """`old` and `new` are both an expression, or both statements; `old` stands in `where`.

    `...` in it is any expression, and `f(...)` any call of f. An empty `old` is the whole body of
    the function.
    """

    name: str
    where: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutated:
    """A module's path below `SOURCE`, and its text with the mutant in it."""

    path: Path
    text: str


def mutate(mutant: Mutant) -> Mutated:
    """The module that `mutant` changes; raises StaleMutantError."""
    places: list[tuple[Path, ast.Module, _Place]] = []
    for path, text in _modules().items():
        if re.search(rf"^ *(def )?{mutant.where}\b", text, re.MULTILINE):
            tree = ast.parse(text)
            places += [(path, tree, place) for place in _places(tree, mutant)]
    if len(places) != 1:
        found = "more than once" if places else "no more"
        raise StaleMutantError(f"{mutant.name}: {mutant.where} holds `{mutant.old}` {found}")
    path, tree, place = places[0]
    place.put(ast.parse(mutant.new).body)
    return Mutated(path.relative_to(SOURCE), ast.unparse(ast.fix_missing_locations(tree)))


@dataclass(frozen=True)
class _Place:
    """Where the old code hangs: `length` statements of a list, or one expression of a node."""

    holder: ast.AST
    field: str
    index: int | None
    length: int | None = None

    def put(self, new: list[ast.stmt]) -> None:
        if self.length is not None and self.index is not None:
            getattr(self.holder, self.field)[self.index : self.index + self.length] = new
            return
        expression = _only_expression(new)
        if self.index is None:
            setattr(self.holder, self.field, expression)
        else:
            getattr(self.holder, self.field)[self.index] = expression


@cache
def _modules() -> dict[Path, str]:
    paths = [path for folder in FOLDERS for path in (SOURCE / folder).glob("*.py")]
    return {path: path.read_text("utf-8") for path in sorted(paths)}


def _places(tree: ast.Module, mutant: Mutant) -> list[_Place]:
    pattern = ast.parse(mutant.old).body
    expression = _only_expression(pattern)
    if _only_expression(ast.parse(mutant.new).body) is None:
        expression = None
    found: list[_Place] = []
    for definition in _definitions(tree, mutant.where):
        if not pattern and isinstance(definition, ast.FunctionDef):
            found.append(_Place(definition, "body", 0, len(definition.body)))
        elif expression is not None:
            found += _expressions(definition, expression)
        else:
            found += _statements(definition, pattern)
    return found


def _definitions(tree: ast.Module, name: str) -> Iterator[Definition]:
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() if node.name == name:
                yield node
            case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                yield node
            case ast.AnnAssign(target=ast.Name(id=target)) if target == name:
                yield node


def _only_expression(body: list[ast.stmt]) -> ast.expr | None:
    match body:
        case [ast.Expr(value=expression)]:
            return expression
        case _:
            return None


def _expressions(definition: ast.AST, pattern: ast.expr) -> Iterator[_Place]:
    for holder in ast.walk(definition):
        for field, value in ast.iter_fields(holder):
            if isinstance(value, list):
                for index, each in enumerate(value):
                    if isinstance(each, ast.expr) and _matches(pattern, each):
                        yield _Place(holder, field, index)
            elif isinstance(value, ast.expr) and _matches(pattern, value):
                yield _Place(holder, field, None)


def _statements(definition: ast.AST, pattern: list[ast.stmt]) -> Iterator[_Place]:
    for holder in ast.walk(definition):
        for field, value in ast.iter_fields(holder):
            if not isinstance(value, list):
                continue
            for index in range(len(value) - len(pattern) + 1):
                part = value[index : index + len(pattern)]
                if all(_matches(ours, theirs) for ours, theirs in zip(pattern, part, strict=True)):
                    yield _Place(holder, field, index, len(pattern))


def _matches(pattern: object, node: object) -> bool:
    if isinstance(pattern, ast.Constant) and pattern.value is ...:
        return isinstance(node, ast.expr)
    if isinstance(pattern, ast.Call) and isinstance(node, ast.Call):
        match pattern.args:
            case [ast.Constant(value=value)] if value is ...:
                return _matches(pattern.func, node.func)
    if isinstance(pattern, ast.AST):
        return type(pattern) is type(node) and all(
            _matches(value, getattr(node, field)) for field, value in ast.iter_fields(pattern)
        )
    if isinstance(pattern, list):
        return (
            isinstance(node, list)
            and len(pattern) == len(node)
            and all(map(_matches, pattern, node))
        )
    return pattern == node
