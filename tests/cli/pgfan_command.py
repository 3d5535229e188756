"""`python -m pgfan` run to its end, with nothing of this machine's libpq settings around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgfan.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

TIMEOUT_S = 60


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def pgfan(
    *words: str | Path,
    typed: bytes | None = b"",
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Ended:
    """Run a command; `typed` is its standard input, `environ` is added to a clean environment."""
    clean = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("PG") and name not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}
    }
    done = subprocess.run(
        [sys.executable, "-m", "pgfan", *map(str, words)],
        input=typed,
        capture_output=True,
        env=clean | {"HOME": str(folder or "/nonexistent")} | dict(environ or {}),
        cwd=folder,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def pgfan_here(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Ended:
    """The same in this process, which is faster, where no environment and no signal matters."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    handlers = {number: signal.getsignal(number) for number in numbers}
    try:
        code = main([str(word) for word in words])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    shown = capsys.readouterr()
    return Ended(code, shown.out, shown.err)
