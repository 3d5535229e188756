"""Every decision has its row in the list of decisions."""

from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"


def test_every_decision_is_listed_in_order() -> None:
    rows = [
        line.partition("](")[2].partition(")")[0]
        for line in (FOLDER / "README.md").read_text("utf-8").splitlines()
        if line.startswith("| [")
    ]
    assert rows == sorted(page.name for page in FOLDER.glob("[0-9]*.md"))
