"""The mutants themselves: each applies to the code of today, and changes what it says."""

from __future__ import annotations

import ast

import pytest
from mutation import SOURCE, Mutant, StaleMutantError, mutate
from rule_mutants import MUTANTS


@pytest.mark.parametrize("mutant", [mutant for _, mutant in MUTANTS], ids=lambda each: each.name)
def test_a_mutant_still_applies(mutant: Mutant) -> None:
    mutated = mutate(mutant)
    before = ast.unparse(ast.parse((SOURCE / mutated.path).read_text("utf-8")))
    assert mutated.text != before
    compile(mutated.text, str(mutated.path), "exec")


def test_names_tell_mutants_apart() -> None:
    names = [mutant.name for _, mutant in MUTANTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("where", "old"),
    [
        ("inlined", "len(readers) > 99"),
        ("no_such_function", "len(readers) > 1"),
        ("_parsed", "parse_expression(...)"),
    ],
    ids=["code that is gone", "a function that is gone", "code that stands twice"],
)
def test_code_that_is_not_there_once_is_an_error(where: str, old: str) -> None:
    with pytest.raises(StaleMutantError):
        mutate(Mutant("stale", where, old, "None"))
