"""What tasks answer, handed out in program order, whatever the order in which they end."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgfan.ports import Result


EDGES = 2
"""BEGIN and COMMIT say nothing."""


class InOrder:
    """Keeps answers until all tasks before have ended. Called from the loop's thread alone."""

    def __init__(
        self,
        order: Sequence[int],
        echoes: Callable[[int], Sequence[Sequence[str]]],
        say: Callable[[str], None],
        write: Callable[[Sequence[Result]], None],
    ) -> None:
        """`order`: the numbers of the tasks; it may grow behind a task that has ended last.

        `echoes`: for each statement of a task the texts before it, which `say` is given.
        """
        self._order = order
        self._echoes = echoes
        self._say = say
        self._write = write
        self._answers: dict[int, list[Sequence[Result]]] = {}
        self._ended: set[int] = set()
        self._next = 0

    def answer(self, task: int, results: Sequence[Result]) -> None:
        """A task has answered; it may answer again until it has ended."""
        self._answers.setdefault(task, []).append(results)

    def end(self, task: int) -> None:
        """A task answers no more."""
        self._ended.add(task)
        while self._next < len(self._order) and self._order[self._next] in self._ended:
            number = self._order[self._next]
            self._ended.remove(number)
            self._hand_out(number)
            self._next += 1

    def end_all(self) -> None:
        """No task answers any more: hand out what those that ended have said."""
        said = self._ended | set(self._answers)
        for task in self._order[self._next :]:
            if task in said:
                self._hand_out(task)
        self._ended.clear()

    def _hand_out(self, task: int) -> None:
        answers = self._answers.pop(task, [])
        echoes = self._echoes(task)
        if not any(echoes):
            for results in answers:
                self._write(_with_made(results))
            return
        # One result for each statement of a block, but for its first and last one.
        results = deque(result for each in answers for result in each)
        silent = len(echoes) - len(results)
        for at, texts in enumerate(echoes):
            for text in texts:
                self._say(text)
            if results and (silent < EDGES or 0 < at < len(echoes) - 1):
                self._write(_with_made((results.popleft(),)))


def _with_made(results: Sequence[Result]) -> Sequence[Result]:
    """The answers, each behind those of the statements that it made: so does psql say them."""
    if not any(result.made for result in results):
        return results
    return tuple(one for result in results for one in (*result.made, result))
