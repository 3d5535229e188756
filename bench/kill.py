"""Kill `pgfan exec` at random moments and count the rows: `make kill`, or bench/kill.py --help.

Each round starts the example's one statement on a new table, sends SIGKILL to the client after a
random part of its time, runs the same command again to the end, and counts. Prints one line a
round and exits 1 if any count is wrong. The seed is printed; the same seed kills at the same times.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from pgfan.postgres.embedded import EmbeddedServer
from pgfan.postgres.session import PostgresSession


def main() -> int:
    """Run the rounds; 1 when any of them lost or doubled a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--embedded", type=Path, default=Path(".bench"))
    parser.add_argument("--longest-s", type=float, default=None, help="kill before; else measured")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    moments = random.Random(seed)  # noqa: S311  # the seed is what makes it repeatable
    print(f"seed {seed}, {options.rows:,} rows, {options.rounds} rounds")
    with EmbeddedServer(options.embedded) as server:
        session = PostgresSession(server.dsn)
        longest_s = options.longest_s or _whole(session, server.dsn, options.rows)
        wrong = 0
        for number in range(1, options.rounds + 1):
            wrong += _round(session, server.dsn, options.rows, number, moments.random() * longest_s)
        session.close()
    print(f"{options.rounds - wrong} of {options.rounds} rounds have exactly {options.rows:,} rows")
    return 1 if wrong else 0


def _command(dsn: str, rows: int) -> list[str]:
    sql = f"INSERT INTO numbers SELECT g, random() FROM generate_series(1, {rows}) AS g"
    return [sys.executable, "-m", "pgfan", "exec", "-q", "-d", dsn, "-c", sql]


def _fresh(session: PostgresSession) -> None:
    session.execute("DROP TABLE IF EXISTS numbers")
    session.execute("CREATE TABLE numbers (id integer, value double precision)")


def _whole(session: PostgresSession, dsn: str, rows: int) -> float:
    _fresh(session)
    began_s = time.monotonic()
    subprocess.run(_command(dsn, rows), check=True)
    return time.monotonic() - began_s


def _round(session: PostgresSession, dsn: str, rows: int, number: int, after_s: float) -> bool:
    """One kill and one resume; whether the rows are wrong."""
    _fresh(session)
    client = subprocess.Popen(_command(dsn, rows))
    try:
        client.wait(after_s)
    except subprocess.TimeoutExpired:
        client.send_signal(signal.SIGKILL)
        client.wait()
    killed = client.returncode == -signal.SIGKILL
    counted = "SELECT count(*) FROM numbers"
    before = session.execute(counted)[0].rows[0][0]
    if killed:
        subprocess.run(_command(dsn, rows), check=True)
    distinct = "SELECT count(*), count(DISTINCT id) FROM numbers"
    after, ids = (int(value or 0) for value in session.execute(distinct)[0].rows[0])
    good = after == ids == rows
    verdict = "exact" if good else f"WRONG: {ids:,} distinct"
    how = f"killed after {after_s:6.2f} s" if killed else "ended before the kill"
    print(
        f"{number:3}  {how}  {int(before or 0):>12,} rows then  {after:>12,} in the end  {verdict}"
    )
    sys.stdout.flush()
    return not good


if __name__ == "__main__":
    sys.exit(main())
