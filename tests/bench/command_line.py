"""The command line, run as a user runs it: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

LIMIT_S = 120


def pgfan(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pgfan with `arguments`, and variables of the environment changed."""
    return subprocess.run(
        [sys.executable, "-m", "pgfan", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
        env={**os.environ, **environment},
    )
