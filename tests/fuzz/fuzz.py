"""`make fuzz`: a seeded run of the differential fuzzer on both servers, and its report.

STATEMENTS and SEED choose how many each server gets, and which. --all goes on after a
mismatch and prints each one as it was found; without it the first one is shrunk and ends the run.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import DEBIAN_15, TEST_SETTINGS, fresh_database, running_server
from fuzz_compare import MismatchError
from fuzz_run import run

from pgfan.postgres.embedded import ServerBinaries


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--statements", type=int, default=2000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--all", action="store_true", help="go on after a mismatch")
    arguments = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    servers = {"packaged PostgreSQL": ServerBinaries.packaged()}
    if DEBIAN_15.folder.is_dir():
        servers["Debian's PostgreSQL"] = DEBIAN_15
    mismatches: list[MismatchError] = []

    def keep(mismatch: MismatchError) -> None:
        mismatches.append(mismatch)
        print(f"MISMATCH {len(mismatches)}: {mismatch}\n", flush=True)

    for name, binaries in servers.items():
        with running_server(binaries, TEST_SETTINGS) as server, fresh_database(server) as dsn:
            print(
                f"{name} {_version(dsn)}, seed {seed}, {arguments.statements} statements",
                flush=True,
            )
            try:
                print(run(dsn, arguments.statements, seed, keep if arguments.all else None))
            except MismatchError as mismatch:
                print(f"MISMATCH with seed {seed}: {mismatch}")
                return 1
    return 1 if mismatches else 0


def _version(dsn: str) -> str:
    import psycopg

    with psycopg.connect(dsn) as connection:
        return connection.execute("SHOW server_version").fetchone()[0]  # type: ignore[index,no-any-return]


if __name__ == "__main__":
    sys.exit(main())
