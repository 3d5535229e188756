"""Verdicts kept by shape, on generated statements whose constants are changed: none is stale."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NoReturn

import postgast
from fuzz_dice import Dice
from fuzz_facts import facts_of
from fuzz_statements import draw_example
from msgspec.structs import replace

from pgfan.sql.distribute import Serial, Verdict, distribute
from pgfan.sql.judged import Judged, shape
from pgfan.sql.parsing import parse
from pgfan.sql.tree import inner

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = 150
_NUMBERS = ("0", "1", "2", "3", "17", "999999999", "4000000000", "1.5", "2.5")
_STRINGS = ("'a'", "'now'", "'today'", "''", "'2004-02-29'", "'a''b'", "'no' 'w'", "'no'\n'w'")


def test_a_verdict_kept_is_the_verdict_of_each_statement_of_the_shape() -> None:
    chance = random.Random(1)  # noqa: S311
    hits = 0
    for number in range(EXAMPLES):
        example = draw_example(Dice(random.Random(number).randint))  # noqa: S311
        texts = list(_of_the_shape(example.statement, chance))
        if not texts:
            continue
        facts, judged = facts_of(example.setup), Judged()
        judged.verdict(example.statement, lambda text=example.statement: _tree(text), facts)  # type: ignore[misc]
        for text in texts:
            hits += 1
            kept = judged.verdict(text, lambda text=text: _tree(text), facts)  # type: ignore[misc]
            assert _all_of(kept) == _all_of(distribute(_tree(text), facts)), text
    assert hits > EXAMPLES / 2


def _of_the_shape(text: str, chance: random.Random) -> Iterator[str]:
    """Texts of the same shape: each has one more constant changed than the one before it."""
    raw, same = text.encode(), text
    tokens = postgast.scan(text).tokens
    for token in reversed(tokens):
        kinds = token.DESCRIPTOR.fields_by_name["token"].enum_type.values_by_number
        choices = {"SCONST": _STRINGS, "ICONST": _NUMBERS, "FCONST": _NUMBERS}
        for choice in _some(choices.get(kinds[token.token].name, ()), chance):
            changed = raw[: token.start] + choice.encode() + raw[token.end :]
            if shape(changed.decode()) == shape(same) and changed != raw:
                raw, same = changed, changed.decode()
                yield same
                break


def _all_of(verdict: Verdict) -> tuple[object, ...]:
    rejected = list(verdict.rejected.items())
    if isinstance(verdict, Serial):
        return verdict, rejected
    return replace(verdict, made=_not_asked), rejected, verdict.tree.SerializeToString()


def _not_asked() -> NoReturn:
    raise AssertionError("how the tree is made is no part of a verdict")


def _tree(text: str) -> Any:  # noqa: ANN401  # the parser's messages have no types
    return inner(parse(text).stmts[0].stmt)


def _some(choices: tuple[str, ...], chance: random.Random) -> list[str]:
    return chance.sample(choices, k=min(4, len(choices)))
