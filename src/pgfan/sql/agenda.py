r"""The items of a run: by number, and in program order.

Numbers are the journal's, and for good: those of the program first, then what `\gexec` and `for
each` have made, in the order in which the program comes to them. A resumed run makes the same
statements in the same order, so that each has the number that it had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pgfan.sql.script import seeds, settings_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgfan.sql.script import ScriptItem


class Agenda:
    """Grows while a run goes on. The lists may be held, and must not be written by others."""

    def __init__(self, items: Sequence[ScriptItem], numbers: Sequence[int] | None = None) -> None:
        """`numbers`: of a choice of a script's items, which they are there, from 0."""
        self.items = list(items)
        """By number."""
        self.order = list(range(len(items)))
        """Numbers in program order."""
        self.ids = [str(number + 1) for number in numbers or self.order]
        """How people call each: 3, and 3.1 for the first that it made."""

    def echoes(self, number: int) -> tuple[tuple[str, ...], ...]:
        """See `ScriptItem.echoes`."""
        return self.items[number].echoes

    def insert(self, number: int, made: Sequence[ScriptItem]) -> None:
        """Put what the item `number` has made behind it; settings among it hold from there on."""
        maker, begin, at = self.items[number], len(self.items), self.order.index(number) + 1
        self.items += made
        self.order[at:at] = range(begin, begin + len(made))
        self.ids += [f"{self.ids[number]}.{place}" for place in range(1, len(made) + 1)]
        if not made:
            return
        before, after = settings_after(maker), settings_after(made[-1])
        seeded = any(map(seeds, made))
        if before == after and not seeded:
            return
        for later in self.order[at + len(made) :]:
            item = self.items[later]
            if item.session != maker.session:
                break
            self.items[later] = replace(
                item,
                settings=after + item.settings[len(before) :],
                seeded=item.seeded or seeded,
            )
