"""`make mutants-all`: a random sample of small breakages anywhere in `sql/`, against its tests.

mutmut makes them: another operator, a condition turned round, an argument left out. They know
nothing of SQL, so some change nothing that anybody could see; each survivor is printed for somebody
to look at. A breakage that only changes what a message says to people is not counted.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGURATION = """
[tool.pytest.ini_options]
timeout = 60

[tool.mutmut]
source_paths = ["src/pgfan"]
also_copy = ["src/pgfan"]
only_mutate = ["src/pgfan/sql/*.py"]
pytest_add_cli_args_test_selection = ["tests/sql"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
"""
RUN_TIMEOUT_S = 3600.0
NAMES_AT_ONCE = 500
NOTICED = {"killed", "timeout", "segfault"}
MESSAGES = {"Reason", "RenderError", "RewriteError", "RetargetError", "UsageError"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--sample", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pgfan-mutants-") as name:
        folder = Path(name)
        (folder / "pyproject.toml").write_text(CONFIGURATION, "utf-8")
        for part in ("src/pgfan", "tests/sql"):
            shutil.copytree(
                ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__")
            )
        # The first run writes down every mutant, whatever it tries.
        _mutmut(folder, "run", "pgfan.sql.tree.x_inner__*")
        names = sorted(_outcomes(folder))
        chosen = names
        if len(names) > arguments.sample:
            chosen = random.Random(arguments.seed).sample(names, arguments.sample)  # noqa: S311  # a sample, no secret
        print(f"{len(chosen)} of {len(names)} mutants, seed {arguments.seed}", flush=True)
        jobs = str(os.cpu_count() or 1)
        for start in range(0, len(chosen), NAMES_AT_ONCE):
            names = chosen[start : start + NAMES_AT_ONCE]
            _mutmut(folder, "run", "--max-children", jobs, *names)
        outcomes = _outcomes(folder)
        return _report(folder, {name: outcomes[name] for name in sorted(chosen)})


def _report(folder: Path, outcomes: dict[str, str]) -> int:
    """Print the survivors and the score; 1 when something went wrong with mutmut itself."""
    counts: Counter[str] = Counter()
    for name, outcome in outcomes.items():
        if outcome in NOTICED:
            counts["noticed"] += 1
            continue
        if _is_only_words(folder, name):
            counts["only words"] += 1
            continue
        counts[outcome] += 1
        difference = _mutmut(folder, "show", name)
        changed = [line for line in difference.splitlines() if re.match(r"[-+](?![-+])", line)]
        print(f"\n{outcome}: {name}", *changed, sep="\n")
    judged = sum(counts.values()) - counts["only words"]
    score = 100 * counts["noticed"] / max(judged, 1)
    print(f"\n{dict(counts)}: {counts['noticed']} of {judged} noticed, {score:.1f} %")
    return 1 if set(outcomes.values()) - NOTICED - {"survived", "no tests"} else 0


def _outcomes(folder: Path) -> dict[str, str]:
    table = _mutmut(folder, "results", "--all", "true")
    return dict(re.findall(r"^ +(\S+): (.+)$", table, re.MULTILINE))


def _mutmut(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(f"mutmut {arguments[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def _is_only_words(folder: Path, name: str) -> bool:
    """Whether a mutant differs from its function in nothing but text for people."""
    module, _, function = name.rpartition(".")
    bodies = _bodies(folder / "mutants" / "src" / Path(*module.split(".")).with_suffix(".py"))
    return bodies[function] == bodies[re.sub(r"_\d+$", "_orig", function)]


@cache
def _bodies(path: Path) -> dict[str, str]:
    """The functions of a module that mutmut wrote, without their words, by name."""
    found: dict[str, str] = {}
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in MESSAGES:
                node.args, node.keywords = node.args[: len(node.args) - 1], []
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                node.value = "" if " " in node.value else node.value
        found[function.name] = "".join(map(ast.dump, function.body))
    return found


if __name__ == "__main__":
    sys.exit(main())
