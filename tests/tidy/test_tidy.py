"""Style as a test: what the linter does not check, each rule a function on one file's text.

A rule yields a line number and what to do there; its name, the files it covers and a snippet that
it must catch stand in `RULES`. The rules themselves are tested on those snippets.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

import pytest
from links import ROOT, repository_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
VAGUE_NAMES = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"}

# Assembled so that this file, too, is free of what it looks for.
HOME_PATH = re.compile(r"(?<![\w.)}\]*-])/(?:root|work|workspace|(?:home|Users)/\w+)/")
REGISTRY_HOST = re.compile(
    r"\b(?:pypi\.org|python[h]osted\.org|conda\.anaconda\.org|registry\.npmjs\.org|crates\.io"
    r"|proxy\.golang\.org|deb\.debian\.org|archive\.ubuntu\.com)\b"
)

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Offence: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class Source:
    """One file: its path from the root of the repository, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    def functions(self) -> Iterator[Function]:
        for node in self.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Each call, and what is called as dotted text with import aliases resolved."""
        aliases: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                prefix = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                aliases |= {name.asname or name.name: prefix + name.name for name in node.names}
        for node in self.nodes:
            if isinstance(node, ast.Call):
                first, dot, rest = ast.unparse(node.func).partition(".")
                yield node, aliases.get(first, first) + dot + rest


def long_module(source: Source) -> Iterator[Offence]:
    count = len(source.text.splitlines())
    if count > MODULE_LINES_MAX:
        yield 1, f"{count} lines; over {MODULE_LINES_MAX} a module is two (aim at 300)"


def long_function(source: Source) -> Iterator[Offence]:
    for node in source.functions():
        count = (node.end_lineno or node.lineno) - node.lineno + 1
        if count > FUNCTION_LINES_MAX:
            advice = f"move its leaves out (at most {FUNCTION_LINES_MAX})"
            yield node.lineno, f"{node.name} has {count} lines; {advice}"


def vague_name(source: Source) -> Iterator[Offence]:
    for part in PurePosixPath(source.path).with_suffix("").parts:
        if VAGUE_NAMES & set(part.split("_")):
            yield 1, f"'{part}' says nothing; name the module after the noun it holds"


def module_docstring(source: Source) -> Iterator[Offence]:
    doc = ast.get_docstring(source.tree)
    if not doc:
        yield 1, "no module docstring; say what belongs here and what does not"
    elif source.path.endswith("/__init__.py") and len(re.findall(r"[.!?](?=\s|$)", doc)) < 2:
        yield 1, "a folder's docstring has two sentences at least: what lives here, what must not"


def public_docstring(source: Source) -> Iterator[Offence]:
    yield from _undocumented(source.tree.body)


def _undocumented(body: list[ast.stmt]) -> Iterator[Offence]:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _undocumented(node.body)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
        if node.name.startswith("_") or marks & {"overload", "override", "setter", "deleter"}:
            continue
        if not ast.get_docstring(node):
            yield node.lineno, f"{node.name} is public and has no docstring; first line: what it is"
        if isinstance(node, ast.ClassDef):
            yield from _undocumented(node.body)


def prints(source: Source) -> Iterator[Offence]:
    for node, name in source.calls():
        if name in {"print", "builtins.print"}:
            yield (
                node.lineno,
                "print() belongs in cli/ and report/; return a value or emit an event",
            )


def sleeps(source: Source) -> Iterator[Offence]:
    for node, name in source.calls():
        if name in {"time.sleep", "asyncio.sleep"}:
            yield node.lineno, f"{name}() in a test; wait on a signal or condition with a timeout"


def bare_ignore(source: Source) -> Iterator[Offence]:
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and re.search(r"type:\s*ignore(?!\[)", token.string):
            yield token.start[0], "name the error that is ignored: type: ignore[code]"


def unreasoned_skip(source: Source) -> Iterator[Offence]:
    what = "has no reason; say why, and what would make it run"
    for node, name in source.calls():
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        # skip() and xfail() take the reason first; skipif() takes conditions there.
        marked = name in {"pytest.mark.skipif", "pytest.mark.xfail"}
        if marked or name in {"pytest.skip", "pytest.xfail", "pytest.mark.skip"}:
            reason = keywords.get("reason", node.args[0] if node.args and not marked else None)
            if reason is None or (isinstance(reason, ast.Constant) and not reason.value):
                yield node.lineno, f"{name}() {what}"
    for decorated in source.nodes:
        for mark in getattr(decorated, "decorator_list", ()):
            if ast.unparse(mark) in {"pytest.mark.skip", "pytest.mark.xfail"}:
                yield mark.lineno, f"@{ast.unparse(mark)} {what}"


def machine_path(source: Source) -> Iterator[Offence]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if match := HOME_PATH.search(line):
            yield (
                number,
                f"'{match[0]}' is a folder of one machine; use a relative path or tmp_path",
            )


def registry_host(source: Source) -> Iterator[Offence]:
    for number, line in enumerate(source.text.splitlines(), 1):
        if match := REGISTRY_HOST.search(line):
            yield number, f"'{match[0]}' is a package registry's address; name the package alone"


def unreleased_section(source: Source) -> Iterator[Offence]:
    if not re.search(r"^##\s+\[?Unreleased\b", source.text, re.MULTILINE | re.IGNORECASE):
        yield 1, "no section '## Unreleased'; every change is told there in its user's words"


@dataclass(frozen=True)
class Rule:
    """A checker, the paths it covers, a file it must catch and one it must not.

    `line` is where the first offence of the bad file stands; `catches` is how many there are.
    """

    check: Callable[[Source], Iterator[Offence]]
    covers: str
    bad: str
    good: str
    line: int = 1
    bad_path: str = "src/pgfan/plan/ranges.py"
    good_path: str = "src/pgfan/plan/ranges.py"
    catches: int = 1

    @property
    def name(self) -> str:
        return self.check.__name__

    def applies(self, path: str) -> bool:
        return re.fullmatch(self.covers, path) is not None


SRC = r"src/.*\.py"
PYTHON = r"(?:src|tests|bench)/.*\.py"
TESTS = r"tests/.*\.py"

RULES = [
    Rule(long_module, SRC, bad="x = 1\n" * 401, good="x = 1\n" * 400),
    Rule(
        long_function,
        PYTHON,
        bad="@mark\ndef f():\n" + "    x = 1\n" * 60,
        good="@mark\ndef f():\n" + "    x = 1\n" * 59,
        line=2,
    ),
    Rule(
        vague_name,
        SRC,
        bad="",
        good="",
        bad_path="src/pgfan/sql/tree_utils.py",
        good_path="src/pgfan/sql/utilisation.py",
    ),
    Rule(
        vague_name,
        SRC,
        bad="",
        good="",
        bad_path="src/pgfan/common/tree.py",
        good_path="src/pgfan/sql/commonality.py",
    ),
    Rule(module_docstring, SRC, bad="# Ranges.\nx = 1\n", good='"""Ranges."""\n'),
    Rule(
        module_docstring,
        SRC,
        bad='"""Pure decisions (v1.2 on)."""\n',
        good='"""Pure decisions.\n\nNo clock.\n"""\n',
        bad_path="src/pgfan/plan/__init__.py",
        good_path="src/pgfan/plan/__init__.py",
    ),
    Rule(
        public_docstring,
        SRC,
        bad='class A:\n    """A."""\n    def go(self): ...\nif x:\n    async def f(): ...\n',
        good='def f():\n    "F."\n    def g(): ...\n'
        "class _A:\n    def go(self): ...\ndef _h(): ...\n"
        'class B:\n    "B."\n    def __len__(self): ...\n'
        "    @typing.override\n    def go(self): ...\n",
        line=3,
        catches=2,
    ),
    Rule(
        prints,
        r"src/(?!pgfan/(?:cli|report)[/.]).*\.py",
        bad="x = 1\nprint(x)\n",
        good="pprint(x)\nself.print(x)\n",
        line=2,
    ),
    Rule(
        sleeps,
        TESTS,
        bad="from time import sleep as nap\nimport time as t\nnap(1)\nt.sleep(1)\n",
        good="clock.sleep(1)\nexecute('SELECT pg_sleep(1)')\nrun('time.sleep(9)')\n",
        line=3,
        bad_path="tests/test_runner.py",
        good_path="tests/test_runner.py",
        catches=2,
    ),
    Rule(
        bare_ignore,
        PYTHON,
        bad="x = 1\ny = f(x)  # type: ignore\n",
        good="y = f(x)  # type: ignore[arg-type]\nz = '# type: ignore'\n",
        line=2,
    ),
    Rule(
        unreasoned_skip,
        TESTS,
        bad="import pytest\npytest.skip()\npytest.skip('')\n@pytest.mark.skip\ndef f(): ...\n"
        "@pytest.mark.skipif(True)\ndef g(): ...\n"
        "@pytest.mark.xfail(raises=OSError)\ndef h(): ...\n",
        good="import pytest\npytest.skip('no psql')\npytest.skip(reason=why)\n"
        "@pytest.mark.skipif(x, reason='no psql')\ndef f(): ...\n",
        line=2,
        bad_path="tests/test_runner.py",
        good_path="tests/test_runner.py",
        catches=5,
    ),
    Rule(
        machine_path,
        r".*",
        bad="one\nsee /" + "home/jo/pgfan/x.sql and /" + "root/.venv\n",
        good="src/home/jo/x, $DIR/home/jo/x, ~/.pgpass, /var/run/postgresql/, https://a.example/home/jo/\n",
        line=2,
        bad_path="docs/guide.md",
        good_path="docs/guide.md",
    ),
    Rule(
        registry_host,
        r".*",
        bad="pip install --index-url https://pypi." + "org/simple pgfan\n",
        good="pip install pgfan, from PyPI\n",
        bad_path="constraints.txt",
        good_path="constraints.txt",
    ),
    Rule(
        unreleased_section,
        r"CHANGELOG\.md",
        bad="# Changelog\n\n## 1.0.0\n\nUnreleased\n",
        good="# Changelog\n\n## [Unreleased]\n",
        bad_path="CHANGELOG.md",
        good_path="CHANGELOG.md",
    ),
]


@cache
def repository() -> tuple[Source, ...]:
    """Every text file of the repository; what is not UTF-8 is no text."""
    found = []
    for path in repository_files(ROOT):
        try:
            found.append(Source(path, (ROOT / path).read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return tuple(found)


@pytest.mark.parametrize(
    "check", dict.fromkeys(rule.check for rule in RULES), ids=lambda c: c.__name__
)
def test_the_repository_is_tidy(check: Callable[[Source], Iterator[Offence]]) -> None:
    rule = next(rule for rule in RULES if rule.check is check)
    offences = [
        f"{source.path}:{line}: {message}"
        for source in repository()
        if rule.applies(source.path)
        for line, message in check(source)
    ]
    if offences:
        pytest.fail("\n".join([f"{len(offences)} to mend:", *offences]), pytrace=False)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_catches_its_offender_and_nothing_else(rule: Rule) -> None:
    assert rule.applies(rule.bad_path)
    offences = list(rule.check(Source(rule.bad_path, rule.bad)))
    assert len(offences) == rule.catches, offences
    assert offences[0][0] == rule.line
    assert list(rule.check(Source(rule.good_path, rule.good))) == []


def test_prints_are_allowed_where_text_is_shown() -> None:
    rule = next(rule for rule in RULES if rule.check is prints)
    assert not rule.applies("src/pgfan/cli/exec.py")
    assert not rule.applies("src/pgfan/report/terminal.py")
    assert rule.applies("src/pgfan/client.py")


def test_the_changelog_is_there() -> None:
    if not (ROOT / "CHANGELOG.md").is_file():
        pytest.fail("add CHANGELOG.md with a section '## Unreleased'", pytrace=False)
