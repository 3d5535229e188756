"""`make mutants`: the case tables against each of the rule mutants; a survivor fails the run.

Each mutant is a copy of the package in which one rule is broken. The tests of its layer that need
no server run first. What they do not notice is tried on the fuzzer, which compares real results.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from mutation import SOURCE, Mutant, mutate
from rule_mutants import MUTANTS, RULES

ROOT = SOURCE.parents[1]
_SLOW = "test_sql_bad_input.py"
_SEES_NO_RULE = "test_sql_script.py"  # it reads scripts, and nothing of what they mean
TESTS_TIMEOUT_S = 300.0
FUZZ_TIMEOUT_S = 1800.0
_PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--assert=plain", "--durations=0")
_TESTS_FAILED = 1  # pytest's exit code; 2 and above: it could not run them

Outcome: TypeAlias = Literal["tables", "fuzzer", "survived", "not run"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="mutants whose name matches this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--statements", type=int, default=2000, help="of the fuzzer; 0: without it")
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    if _run(None, [*_PYTEST, *_tables(Path("sql")), *_tables(Path("plan"))]) != 0:
        print("the tests fail without any mutant", file=sys.stderr)
        return 2
    chosen = [mutant for _, mutant in MUTANTS if re.search(arguments.only, mutant.name)]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        outcomes: dict[Mutant, Outcome] = {}
        for mutant, outcome in zip(chosen, pool.map(_by_tables, chosen), strict=True):
            outcomes[mutant] = outcome
            if outcome != "tables":
                print(f"{outcome}: {mutant.name}", flush=True)
    for mutant in [each for each, outcome in outcomes.items() if outcome == "survived"]:
        if arguments.statements:
            outcomes[mutant] = _by_fuzzer(mutant, arguments.statements, arguments.seed)
    _print(outcomes)
    return 0 if set(outcomes.values()) <= {"tables", "fuzzer"} else 1


def _by_tables(mutant: Mutant) -> Outcome:
    match _run(mutant, [*_PYTEST, *_tables(mutate(mutant).path)]):
        case 0:
            return "survived"
        case code if code == _TESTS_FAILED:
            return "tables"
        case _:
            return "not run"


def _by_fuzzer(mutant: Mutant, statements: int, seed: int) -> Outcome:
    command = ["tests/fuzz/fuzz.py", "--statements", str(statements), "--seed", str(seed)]
    return "survived" if _run(mutant, command, FUZZ_TIMEOUT_S) == 0 else "fuzzer"


def _tables(path: Path) -> list[str]:
    """The tests that look at a module's layer: its own first, those that take long last."""
    files = sorted((ROOT / "tests" / path.parts[0]).glob("test_*.py"))
    files.sort(key=lambda file: (file.name == _SLOW, path.stem not in file.name))
    return [str(file) for file in files if file.name != _SEES_NO_RULE]


def _run(mutant: Mutant | None, command: list[str], timeout_s: float = TESTS_TIMEOUT_S) -> int:
    """The exit code of Python with the mutant in place of the package; a hang counts as failed."""
    with tempfile.TemporaryDirectory(prefix="pgfan-mutant-") as folder:
        copy = Path(folder) / SOURCE.name
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        if mutant is not None:
            mutated = mutate(mutant)
            (copy / mutated.path).write_text(mutated.text, "utf-8")
        environment = os.environ | {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        run = partial(subprocess.run, check=False, capture_output=True, timeout=timeout_s)
        try:
            return run([sys.executable, *command], cwd=ROOT, env=environment).returncode
        except subprocess.TimeoutExpired:
            return _TESTS_FAILED


def _print(outcomes: dict[Mutant, Outcome]) -> None:
    for rule, mutants in RULES.items():
        tried = [mutant for mutant in mutants if mutant in outcomes]
        if tried:
            killed = sum(outcomes[mutant] in {"tables", "fuzzer"} for mutant in tried)
            print(f"{killed:3} of {len(tried):3}  {rule}")
        for mutant in tried:
            if outcomes[mutant] != "tables":
                print(f"            {outcomes[mutant]}: {mutant.name} ({mutant.where})")
    counts = Counter(outcomes.values())
    print(f"{len(outcomes)} mutants: " + ", ".join(f"{n} {what}" for what, n in counts.items()))


if __name__ == "__main__":
    sys.exit(main())
