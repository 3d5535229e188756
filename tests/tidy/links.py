"""Finds dead links in the repository's Markdown, offline; `make links` runs it.

A link to a file or folder of the repository must name one that is there, spelled exactly so; an
anchor must be a heading of its page, named as GitHub names headings, or an `id` in its HTML. Links
to the web are looked at only for their form. Code, fenced or in backticks, holds no links. Rests on
the CommonMark specification (fences, link destinations) and GitHub's rule for heading anchors.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]

FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n[ \t]*\n).)+?)(?<!`)\1(?!`)", re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# What follows "](": <destination> or a destination with balanced parentheses, then a title.
INLINE = re.compile(
    r"""\]\(\s*(<[^<>\n]*>|(?:[^\s()]|\([^\s()]*\))*)(?:\s+(?:"[^"]*"|'[^']*'|\([^()]*\)))?\s*\)"""
)
DEFINITION = re.compile(r"^ {0,3}\[([^\]\n]+)\]:\s*(<[^<>\n]*>|\S+)", re.MULTILINE)
REFERENCE = re.compile(r"\[[^\[\]]+\]\[([^\[\]]+)\]")
HTML = re.compile(
    r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)\s*=\s*[\"']([^\"']*)[\"']", re.IGNORECASE
)
BARE = re.compile(r"(?<![\w(<\"'])https?:[^\s<>()\"'`]*|<(https?:[^>\n]*)>", re.IGNORECASE)
HTML_ID = re.compile(r"<[a-z][^>]*?\b(?:id|name)\s*=\s*[\"']([^\"']+)[\"']", re.IGNORECASE)
HEADING = re.compile(
    r"^ {0,3}#{1,6}[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$|^(\S[^\n]*)\n(?:=+|-+)[ \t]*$", re.MULTILINE
)
HOST = re.compile(
    r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.IGNORECASE
)
LINES = re.compile(r"L(\d+)(?:-L(\d+))?")


@dataclass(frozen=True)
class Repository:
    """The files there are, by path from the root, and how to read one."""

    files: frozenset[str]
    read: Callable[[str], str]

    def has_folder(self, path: str) -> bool:
        return path in {"", "."} or any(name.startswith(f"{path}/") for name in self.files)


@dataclass(frozen=True)
class DeadLink:
    """Where a link stands, what it says, and what is wrong with it."""

    path: str
    line: int
    target: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.target or '(empty link)'}: {self.problem}"


def repository_files(root: Path) -> list[str]:
    """The files git tracks or would track, sorted; all of them where there is no git (an sdist)."""
    command = [
        "git",
        "-C",
        str(root),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    try:
        listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        found = (path.relative_to(root) for path in root.rglob("*"))
        names = (path.as_posix() for path in found if not _is_made(path))
    else:
        names = (name for name in listed.stdout.split("\0") if name)
    return sorted({name for name in names if (root / name).is_file()})


def _is_made(path: Path) -> bool:
    """Whether tools made it: a hidden folder other than .ci and .github, bytecode, a build."""
    return any(
        (part.startswith(".") and part not in {".ci", ".github"})
        or part in {"__pycache__", "dist", "build"}
        for part in path.parts[:-1]
    )


def without_fences(text: str) -> str:
    """The text with fenced code blanked, line for line."""
    lines = []
    fence = ""
    for line in text.splitlines():
        mark = FENCE.match(line)
        if fence:
            closes = mark and mark[1].startswith(fence) and not line.strip(" \t" + fence[0])
            fence = "" if closes else fence
            lines.append("")
        elif mark and "`" not in line[mark.end() :]:
            fence = mark[1]
            lines.append("")
        else:
            lines.append(line)
    return "\n".join(lines)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def prose(text: str) -> str:
    """The text with code and HTML comments blanked, character for character."""
    return COMMENT.sub(_blank, CODE_SPAN.sub(_blank, without_fences(text)))


def slug(heading: str) -> str:
    """GitHub's anchor for a heading: what is shown, in lower case, hyphens for spaces."""
    shown = re.sub(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", heading)
    shown = re.sub(r"<[^>]*>", "", shown)
    shown = re.sub(r"(?<!\w)(_{1,3})(\S(?:.*?\S)?)\1(?!\w)", r"\2", shown)
    return re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")


def anchors(text: str) -> frozenset[str]:
    """Every anchor of a page; a heading's second occurrence has -1 after it, and so on."""
    visible = COMMENT.sub(_blank, without_fences(text))
    found: set[str] = set(HTML_ID.findall(visible))
    seen: dict[str, int] = {}
    for match in HEADING.finditer(visible):
        name = slug(match[1] or match[2] or "")
        count = seen.get(name, 0)
        seen[name] = count + 1
        found.add(f"{name}-{count}" if count else name)
    return frozenset(found)


def _targets(text: str) -> Iterator[tuple[int, str, str]]:
    """(offset, target, problem) of each link; the problem is empty where the target decides."""
    labels = {match[1].strip().lower() for match in DEFINITION.finditer(text)}
    for pattern, group in ((INLINE, 1), (DEFINITION, 2), (HTML, 1)):
        for match in pattern.finditer(text):
            yield match.start(), match[group].strip("<>"), ""
    for match in BARE.finditer(text):
        yield match.start(), match[1] or match[0].rstrip(".,;:!?*_|]"), ""
    for match in REFERENCE.finditer(text):
        if match[1].strip().lower() not in labels:
            yield match.start(), match[0], "no such reference on this page"


def dead_links(path: str, repository: Repository) -> list[DeadLink]:
    """The dead links of one page, in the order of its lines, each once a line."""
    text = prose(repository.read(path))
    found = {}
    for offset, target, known in sorted(_targets(text)):
        problem = known or _problem(path, target, repository)
        if problem:
            line = text.count("\n", 0, offset) + 1
            found[line, target] = DeadLink(path, line, target, problem)
    return list(found.values())


def _problem(path: str, target: str, repository: Repository) -> str:
    """What is wrong with a link from the page `path`; empty when nothing is."""
    scheme = re.match(r"([a-z][a-z0-9+.-]*):", target, re.IGNORECASE)
    if scheme:
        return _web_problem(target) if scheme[1].lower() in {"http", "https"} else ""
    if target.startswith("//"):
        return "name the scheme: https:"
    name, _, anchor = target.partition("#")
    if not name and not anchor:
        return "leads nowhere"
    resolved = _resolve(path, unquote(name.partition("?")[0])) if name else path
    if resolved is None:
        return "leaves the repository"
    if resolved not in repository.files:
        return "" if repository.has_folder(resolved) and not anchor else "no such file or folder"
    return _anchor_problem(resolved, unquote(anchor), repository) if anchor else ""


def _resolve(page: str, name: str) -> str | None:
    """A relative link as a path from the root (a leading slash is the root); None outside of it."""
    parts: list[str] = [] if name.startswith("/") else list(PurePosixPath(page).parent.parts)
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def _anchor_problem(path: str, anchor: str, repository: Repository) -> str:
    text = repository.read(path)
    if path.endswith(".md"):
        return "" if anchor in anchors(text) else f"{path} has no heading for #{anchor}"
    lines = LINES.fullmatch(anchor)
    if lines is None:
        return "anchors work on Markdown pages, #L7 and #L7-L9 elsewhere"
    last = int(lines[2] or lines[1])
    return "" if 0 < last <= len(text.splitlines()) else f"{path} has no line {last}"


def _web_problem(target: str) -> str:
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError as error:
        return f"not a web address: {error}"
    if not HOST.fullmatch(parts.hostname or ""):
        return "not a web address: no host name"
    if port == 0 or re.search(r"[\s<>\"{}|\\^`]", target):
        return "not a web address: a character or port that may not stand there"
    return ""


def main() -> int:
    """Print every dead link as file:line; 1 when there is one."""
    files = repository_files(ROOT)
    repository = Repository(
        frozenset(files), lambda path: (ROOT / path).read_text(encoding="utf-8")
    )
    pages = [path for path in files if path.endswith(".md")]
    found = [dead for page in pages for dead in dead_links(page, repository)]
    for dead in found:
        sys.stdout.write(f"{dead}\n")
    sys.stdout.write(f"links: {len(pages)} pages, {len(found)} dead links\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
