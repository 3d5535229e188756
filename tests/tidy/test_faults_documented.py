"""docs/faults.md names tests that exist."""

from __future__ import annotations

import re

from links import ROOT

NAMED = re.compile(r"\[`(test_\w+\.py)::(test_\w+)`\]\(\.\./(tests/[\w/]+\.py)\)")


def test_every_test_that_is_named_is_there() -> None:
    text = (ROOT / "docs" / "faults.md").read_text("utf-8")
    named = NAMED.findall(text)
    assert len(named) == text.count("::")
    missing = [
        f"{path}::{name}"
        for file, name, path in named
        if not path.endswith(f"/{file}") or f"\ndef {name}(" not in (ROOT / path).read_text("utf-8")
    ]
    assert not missing
