"""`make fuzz`: a seeded run of the differential fuzzer on both servers, and its report.

STATEMENTS and SEED choose how many each server gets, and which. --all goes on after a mismatch and
prints each one as it was found, and Ctrl-C ends such a run with its report; without it the first
one is shrunk and ends the run. Each of --workers processes takes a share with a seed of its own:
SEED, SEED + 1 and so on.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import DEBIAN_15, TEST_SETTINGS, fresh_database, running_server
from fuzz_compare import MismatchError
from fuzz_run import run
from fuzz_tally import Tally

from pgfan.postgres.embedded import ServerBinaries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--statements", type=int, default=2000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--all", action="store_true", help="go on after a mismatch")
    arguments = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    workers: int = arguments.workers
    servers = {"packaged PostgreSQL": ServerBinaries.packaged()}
    if DEBIAN_15.folder.is_dir():
        servers["Debian's PostgreSQL"] = DEBIAN_15
    mismatches, interrupts = 0, list[bool]()
    for name, binaries in servers.items():
        with ExitStack() as stack:
            server = stack.enter_context(running_server(binaries, TEST_SETTINGS))
            dsns = [stack.enter_context(fresh_database(server)) for _ in range(workers)]
            print(
                f"{name} {_version(dsns[0])}, {arguments.statements} statements, "
                f"seed {seed}, {workers} workers",
                flush=True,
            )
            shares = [
                (dsn, (arguments.statements + at) // workers, seed + at, arguments.all)
                for at, dsn in enumerate(dsns)
            ]
            began = time.monotonic()
            pool = stack.enter_context(ProcessPoolExecutor(workers, get_context("spawn")))
            tally = Tally()
            submitted = [pool.submit(_share, *share) for share in shares]
            # The workers get Ctrl-C too, and answer it with what they have.
            signal.signal(signal.SIGINT, lambda *_: interrupts.append(True))
            for found in as_completed(submitted):
                own, wrong = found.result()
                tally.add(own)
                mismatches += wrong
            seconds = time.monotonic() - began
            print(f"{tally.report()}\n{tally.total / seconds:.1f} statements/s", flush=True)
        if interrupts or (mismatches and not arguments.all):
            break
    return 1 if mismatches else 0


def _share(dsn: str, statements: int, seed: int, go_on: bool) -> tuple[Tally, int]:  # as submitted
    """One process's part of a run; how many mismatches it found and printed."""
    wrong = 0

    def keep(mismatch: MismatchError) -> None:
        nonlocal wrong
        wrong += 1
        print(f"MISMATCH with seed {seed}, --workers 1: {mismatch}\n", flush=True)

    try:
        return run(dsn, statements, seed, keep if go_on else None), wrong
    except MismatchError as mismatch:
        keep(mismatch)
        return Tally(), wrong


def _version(dsn: str) -> str:
    import psycopg

    with psycopg.connect(dsn) as connection:
        return connection.execute("SHOW server_version").fetchone()[0]  # type: ignore[index,no-any-return]


if __name__ == "__main__":
    sys.exit(main())
