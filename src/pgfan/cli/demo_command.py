"""`pgfan demo`: the example of the introduction, end to end.

Text or JSON on stdout, progress on stderr. The work is in `pgfan.bench.demo`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pgfan.cli.options import Json

DEFAULT_FOLDER = Path(".demo")


def demo_(
    *,
    rows: int = 20_000_000,
    embedded: Path = DEFAULT_FOLDER,
    json_: Json = False,
    keep: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run the pool script's example end to end on the packaged server, then a join of real rows.

    One query, the pool script and `pgfan exec` fill a table with random numbers; then one query
    and `pgfan exec` join flights with airports and planes, and the results are compared.

    Parameters
    ----------
    rows
        How many random numbers.
    embedded
        Folder of the packaged server: made if new, started, and stopped at the end.
    keep
        Keep the tables, in the database pgfan_demo; they are dropped otherwise.
    """
    from pgfan.bench.command import interruptible
    from pgfan.bench.demo import run_demo

    def say(text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def write(text: str) -> None:
        if not json_:
            sys.stdout.write(text)
            sys.stdout.flush()

    try:
        with interruptible():
            show = sys.stderr.isatty()
            result = run_demo(embedded, rows, keep=keep, show=show, say=say, write=write)
    except KeyboardInterrupt:
        say("interrupted: the demo has ended whatever it had started")
        raise
    if json_:
        sys.stdout.write(json.dumps(result.to_json()) + "\n")
    return 0
