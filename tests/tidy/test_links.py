"""The dead-link check on pages made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from links import Repository, anchors, dead_links, prose, repository_files, slug

if TYPE_CHECKING:
    from pathlib import Path

PAGES = {
    "README.md": "# pgfan\n\n## What it does\n",
    "docs/guide.md": "# Guide\n\n## Exactly once\n\n## Exactly once\n\n<a id='there'></a>\n",
    "docs/plot of it.svg": "<svg/>",
    "src/one.py": "first\nsecond\n",
}


def problems(text: str, path: str = "docs/page.md") -> list[tuple[int, str, str]]:
    pages = {**PAGES, path: text}
    repository = Repository(frozenset(pages), pages.__getitem__)
    found = dead_links(path, repository)
    assert all(dead.path == path for dead in found)
    return [(dead.line, dead.target, dead.problem) for dead in found]


@pytest.mark.parametrize(
    "text",
    [
        "[a](guide.md) and [b](../README.md#what-it-does)",
        "[a](/docs/guide.md#exactly-once-1), [b](guide.md#there), [c](./guide.md)",
        "[folder](../src) [with slash](../src/) [root](/)",
        "![plot](<plot of it.svg>) ![plot](plot%20of%20it.svg 'a title')",
        "[![plot](plot%20of%20it.svg)](guide.md)",
        "[lines](../src/one.py#L1-L2)",
        "# Here\n[self](#here)",
        "[a][g] and [g][]\n\n[g]: guide.md#exactly-once",
        "<img src='plot%20of%20it.svg'> <a href=\"guide.md\">x</a>",
        "<https://example.org/a?b=c#d> https://example.org/x, [p](https://example.org/a_(b))",
        "[local](http://localhost:8787/status) [mail](mailto:someone@example.org)",
        "`[a](nowhere.md)` and ``[b`](nowhere.md)`` <!-- [c](nowhere.md) -->",
        "```\n[a](nowhere.md)\n```\n~~~~ sql\n~~~\n[b](nowhere.md)\n~~~~\n",
        "`over\ntwo [lines](nowhere.md)`",
    ],
)
def test_living_links_pass(text: str) -> None:
    assert problems(text) == []


@pytest.mark.parametrize(
    ("text", "line", "target", "problem"),
    [
        ("one\n[a](nowhere.md)", 2, "nowhere.md", "no such file"),
        ("[a](Guide.md)", 1, "Guide.md", "no such file"),
        ("![a](nowhere.svg)", 1, "nowhere.svg", "no such file"),
        ("[![a](nowhere.svg)](guide.md)", 1, "nowhere.svg", "no such file"),
        ("[a](guide.md#twice)", 1, "guide.md#twice", "docs/guide.md has no heading"),
        ("[a](#gone)", 1, "#gone", "docs/page.md has no heading"),
        ("[a](../../elsewhere.md)", 1, "../../elsewhere.md", "leaves the repository"),
        ("[a]()", 1, "", "leads nowhere"),
        ("[a](#)", 1, "#", "leads nowhere"),
        ("[a](../src#x)", 1, "../src#x", "no such file"),
        ("[a](../src/one.py#L3)", 1, "../src/one.py#L3", "no line 3"),
        ("[a](../src/one.py#main)", 1, "../src/one.py#main", "anchors work on"),
        ("\n\n[a][b]", 3, "[a][b]", "no such reference"),
        ("text\n\n[b]: nowhere.md", 3, "nowhere.md", "no such file"),
        ("<img alt='x' src='nowhere.png'>", 1, "nowhere.png", "no such file"),
        ("[a](https://)", 1, "https://", "no host"),
        ("[a](http:/example.org)", 1, "http:/example.org", "no host"),
        ("see https://exa_mple/x", 1, "https://exa_mple/x", "no host"),
        ("<https://example.org:port/>", 1, "https://example.org:port/", "not a web address"),
        ("[a](<https://example.org/a b>)", 1, "https://example.org/a b", "may not stand there"),
        ("[a](//example.org)", 1, "//example.org", "name the scheme"),
        ("```\ncode\n```\n[a](nowhere.md)", 4, "nowhere.md", "no such file"),
    ],
)
def test_dead_links_are_found(text: str, line: int, target: str, problem: str) -> None:
    ((found_line, found_target, found_problem),) = problems(text)
    assert (found_line, found_target) == (line, target)
    assert problem in found_problem


def test_a_dead_link_is_printed_as_file_and_line() -> None:
    pages = {"a.md": "\n[x](y.md)"}
    (dead,) = dead_links("a.md", Repository(frozenset(pages), pages.__getitem__))
    assert str(dead) == "a.md:2: y.md: no such file or folder"


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("What it does", "what-it-does"),
        ("1. Words", "1-words"),
        ("`pgfan exec` and --jobs N|auto", "pgfan-exec-and---jobs-nauto"),
        ("Q & A", "q--a"),
        ("[Linked](page.md) *title*", "linked-title"),
        ("Größe, snake_case", "größe-snake_case"),
        ("_stressed_ words", "stressed-words"),
        ("What is split?", "what-is-split"),
    ],
)
def test_headings_are_named_as_github_names_them(heading: str, expected: str) -> None:
    assert slug(heading) == expected


def test_anchors_count_repeated_headings_and_skip_code() -> None:
    text = "Title\n=====\n\n## A ##\n\n```sh\n# not a heading\n```\n\n### A\n\n<a name='b'></a>\n"
    assert anchors(text) == {"title", "a", "a-1", "b"}


def test_blanking_keeps_every_line_in_place() -> None:
    text = "a `b` c\n```\nd\n```\ne"
    assert prose(text).split("\n") == ["a     c", "", "", "", "e"]


def test_files_are_found_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("README.md", ".ci/run", ".venv/lib.md", "src/__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert repository_files(tmp_path) == [".ci/run", "README.md"]
