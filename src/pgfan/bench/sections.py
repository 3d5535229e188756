"""`pgfan bench example`: its options, its sections in order, and their results as one value.

A section that fails does not end the others: it is reported by name when all is done.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct, field

from pgfan.bench.analysis import run_analysis, run_script
from pgfan.bench.example import run_example
from pgfan.bench.machine import machine_facts
from pgfan.bench.overhead import run_chunks, run_help, run_overhead
from pgfan.bench.ways import WAYS, Way, check_rows
from pgfan.errors import PgfanError, UsageError
from pgfan.report.figures import counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pgfan.bench.site import Site

DATABASE = "pgfan_bench"
SECTIONS = ("example", "overhead", "chunks", "script", "analysis", "help")
REPEAT_MAX = 1_000


class Section(Protocol):
    """What each section comes to."""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        ...

    def to_text(self) -> str:
        """A table for people."""
        ...


class BenchOptions(Struct, frozen=True):
    """What to run: checked values. `ways` and `sections` keep the order of their lists."""

    rows: int
    repeat: int
    seed: int
    ways: tuple[Way, ...]
    sections: tuple[str, ...]

    @classmethod
    def read(cls, rows: int, repeat: int, seed: int, only: str, sections: str) -> BenchOptions:
        """From the command line; names are separated by commas. Raises UsageError."""
        check_rows(rows)
        if not 1 <= repeat <= REPEAT_MAX:
            raise UsageError(f"--repeat {repeat}: give a number from 1 to {REPEAT_MAX:,}")
        chosen = _names("--only", only, tuple(way.name for way in WAYS))
        ways = tuple(way for way in WAYS if way.name in chosen)
        return cls(rows, repeat, seed, ways, _names("--sections", sections, SECTIONS))


class BenchResult(Struct, frozen=True):
    """Everything that one call found."""

    options: BenchOptions
    machine: dict[str, Any]
    sections: dict[str, Section] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON values, as the file of `--json` has them."""
        return {
            "schema": 1,
            "rows": self.options.rows,
            "repeat": self.options.repeat,
            "machine": self.machine,
            "sections": {name: section.to_json() for name, section in self.sections.items()},
            "failures": list(self.failures),
        }

    def to_text(self) -> str:
        """The tables for people, under a few lines about the machine."""
        machine = self.machine
        head = (
            f"{counted(self.options.rows, 'row')}, {counted(self.options.repeat, 'round')}, "
            f"order by seed {self.options.seed}\n"
            f"{machine['where']}, pgfan {machine['pgfan']}, "
            f"{counted(machine['cores'], 'core')} ({machine['cpu']}), "
            f"load {machine['load_average'][0]} at the start\n"
        )
        sections = (f"\n{name}\n{section.to_text()}" for name, section in self.sections.items())
        return head + "".join(sections)

    @staticmethod
    def check_writable(path: Path) -> None:
        """Raise UsageError for a file that could not be written when all is done."""
        try:
            path.touch()
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error

    def write_json(self, path: Path) -> None:
        """Write the JSON to a file."""
        path.write_text(json.dumps(self.to_json(), indent=1) + "\n", encoding="utf-8")


def run_bench(site: Site, options: BenchOptions, *, say: Callable[[str], None]) -> BenchResult:
    """Run the sections that are asked for. What failed is in the result's `failures`."""
    machine = machine_facts(site)
    done: dict[str, Section] = {}
    failures: list[str] = []
    for name in options.sections:
        try:
            if name == "example":
                example = run_example(
                    site, options.rows, options.repeat, options.ways, seed=options.seed, say=say
                )
                done[name] = example
                failures += example.failures
            elif name == "overhead":
                done[name] = run_overhead(site, options.rows, options.repeat, say=say)
            elif name == "chunks":
                done[name] = run_chunks(site, options.rows, options.repeat, say=say)
            elif name == "script":
                done[name] = run_script(site, options.rows, options.repeat, say=say)
            elif name == "analysis":
                done[name] = run_analysis(site, options.rows, options.repeat, say=say)
            else:
                done[name] = run_help(options.repeat, say=say)
        except PgfanError as error:
            failures.append(f"{name}: {error.message}")
    return BenchResult(options, machine, done, tuple(failures))


def _names(option: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """The names in `text`, in the order of `known`; all of them when it is empty."""
    if not text:
        return known
    wanted = [name.strip() for name in text.split(",")]
    for name in wanted:
        if name not in known:
            raise UsageError(f"{option} {name!r}: unknown", hint=f"there are {', '.join(known)}")
    return tuple(name for name in known if name in wanted)
