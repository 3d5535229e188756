"""How long a DAG of 20,000 tasks takes, with reading and parsing, and how much memory.

python bench/graph.py [TASKS]: scripts of one-row INSERTs into 50 tables, and of a build with
tables, views, indexes and reads.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import TYPE_CHECKING

from pgfan.plan.graph import Sequencer
from pgfan.sql.accesses import ScriptAccesses
from pgfan.sql.known import KnownObjects
from pgfan.sql.script import read_script

if TYPE_CHECKING:
    from collections.abc import Callable


def inserts(tasks: int) -> str:
    """One-row INSERTs into 50 tables."""
    made = [f"CREATE TABLE t{n} (a int, b text, c timestamptz);" for n in range(50)]
    made += [
        f"INSERT INTO t{n % 50} (a, b, c) VALUES ({n}, 'x{n}', now());" for n in range(tasks - 50)
    ]
    return "\n".join(made)


def build(tasks: int) -> str:
    """Tables that are made, filled, indexed, and read through views."""
    made: list[str] = []
    for n in range(tasks // 5):
        made += [
            f"CREATE TABLE a{n} (id bigint PRIMARY KEY, x int, y text);",
            f"INSERT INTO a{n} SELECT i, i % 7, 'y' FROM generate_series(1, 100) i;",
            f"CREATE INDEX ON a{n} (x);",
            f"CREATE VIEW v{n} AS SELECT x, count(*) AS n FROM a{n} GROUP BY x;",
            f"CREATE TABLE r{n} AS SELECT v.x, b.y FROM v{n} v JOIN a{n // 2} b USING (x);",
        ]
    return "\n".join(made)


def measure(name: str, text: str) -> None:
    """Print how long each part takes."""
    start = time.perf_counter()
    items = read_script(text, name)
    parsed = time.perf_counter()
    accesses = ScriptAccesses(KnownObjects())
    found = [accesses.read([s.tree for s in item.statements]) for item in items]
    analysed = time.perf_counter()
    sequencer: Sequencer[int] = Sequencer()
    steps = [step for number, one in enumerate(found) for step in sequencer.add(number, one)]
    ended = time.perf_counter()
    edges = sum(len(step.after) for step in steps)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:8} {len(items):6} tasks {edges:7} edges: parse {parsed - start:.2f} s, "
        f"accesses {analysed - parsed:.2f} s, graph {ended - analysed:.2f} s, "
        f"all {ended - start:.2f} s; peak {peak_mb:.0f} MB"
    )


def main() -> None:
    """Both scripts."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    kinds: dict[str, Callable[[int], str]] = {"inserts": inserts, "build": build}
    for name, make in kinds.items():
        measure(name, make(tasks))


if __name__ == "__main__":
    main()
