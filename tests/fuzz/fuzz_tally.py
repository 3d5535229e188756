"""Figures of a run: how much was split, what was refused though it is sound, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fuzz_statements import Example

SOUND = ("sound by rows", "sound by key")


@dataclass
class Tally:
    """Counts of statements; `stopped` after a mismatch, whose shrinking does not count."""

    outcomes: Counter[str] = field(default_factory=Counter)
    accepted: Counter[tuple[str, bool]] = field(default_factory=Counter)
    kinds: Counter[tuple[str, bool]] = field(default_factory=Counter)
    divided: int = 0
    runs: int = 0
    failed_split: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    surprising: list[str] = field(default_factory=list)
    unpredictable: list[str] = field(default_factory=list)
    stopped: bool = False

    """Hashes of the statements, to count those that are alike once."""

    def compared(self, example: Example, codes: tuple[str, ...] | None, chunks: int) -> None:
        """An example that ran: split when `codes` is None, else refused for these reasons."""
        if self.stopped:
            return
        split = codes is None
        self.outcomes["split" if split else "refused"] += 1
        self.accepted[example.expected, split] += 1
        sound = example.expected in SOUND
        if sound:
            self.kinds[example.kind, split] += 1
            if example.reads_view:
                self.kinds["reading a view", split] += 1
        self.divided += split and chunks > 1
        if split and example.expected == "unsound":
            self.surprising.append(example.statement)
        if sound and codes is not None:
            for code in dict.fromkeys(codes):
                self.reasons[code] += 1
                known = self.refused.get(code)
                if known is None or len(example.statement) < len(known):
                    self.refused[code] = example.statement

    def erred(self, example: Example, sqlstate: str, message: str) -> None:
        if self.stopped:
            return
        self.outcomes["timeout" if sqlstate == "57014" else "error"] += 1
        self.errors[f"{sqlstate} {message}"] += 1
        self.failed.setdefault(f"{sqlstate} {message}", example.statement)

    def unpredicted(self, example: Example) -> None:
        """One connection gives other rows under another plan: nothing to compare with."""
        if not self.stopped:
            self.outcomes["unpredictable"] += 1
            self.unpredictable.append(example.statement)

    @property
    def total(self) -> int:
        """How many there were so far."""
        return sum(self.outcomes.values())

    def add(self, other: Tally) -> None:
        """What another run counted."""
        for name, counted in vars(other).items():
            own = getattr(self, name)
            if isinstance(counted, Counter):
                own.update(counted)
            elif isinstance(counted, dict):
                setattr(self, name, counted | own)
            else:
                setattr(self, name, own + counted)

    def report(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        figures = ", ".join(f"{name} {count}" for name, count in self.outcomes.most_common())
        yield f"statements {self.total}: {figures}"
        yield (
            f"runs split {self.runs}; statements in several chunks {self.divided}; "
            f"split, and failed as one connection does {self.failed_split}"
        )
        for expected in (*SOUND, "unknown", "unsound"):
            yield _share(expected, self.accepted[expected, True], self.accepted[expected, False])
        split = sum(self.accepted[expected, True] for expected in SOUND)
        refused = sum(self.accepted[expected, False] for expected in SOUND)
        yield _share("all that are sound by construction", split, refused)
        for kind in sorted({kind for kind, _ in self.kinds}):
            yield _share(f"  of these, {kind}", self.kinds[kind, True], self.kinds[kind, False])
        yield "reasons for refusing what is sound by construction:"
        for code, count in self.reasons.most_common():
            yield f"  {count:5} {code}: {self.refused[code]}"
        yield "errors of one connection:"
        for error, count in self.errors.most_common(12):
            yield f"  {count:5} {error}: {self.failed[error]}"
        for title, statements in (
            ("split although the generator takes it for unsound", self.surprising),
            ("differs between plans of one connection, so not compared", self.unpredictable),
        ):
            if statements:
                yield f"{title}: {len(statements)}, for example:"
                yield from (f"        {text}" for text in sorted(statements, key=len)[:3])


def _share(title: str, accepted: int, refused: int) -> str:
    total = accepted + refused
    share = f"{100 * accepted / total:.0f} %" if total else "none"
    return f"{title}: {accepted} of {total} split ({share})"
