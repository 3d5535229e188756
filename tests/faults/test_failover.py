"""The server is lost for good, and its standby is promoted: the run goes on there."""

from __future__ import annotations

import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
from pgfan_client import assert_holds, client, execute, query, value, wait_until
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgfan.postgres.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path

EXPECTED = "SELECT g FROM generate_series(1, 400) g"
SETTINGS = {
    "fsync": "off",
    "shared_buffers": "32MB",
    "wal_level": "replica",
    "max_wal_senders": "2",
    # The last commits may not have been sent on: the standby then has fewer chunks.
    "wal_writer_delay": "500ms",
}


def chunks(dsn: str) -> int:
    """Those that have come to a standby, where nobody may read unlogged tables."""
    if value(dsn, "SELECT to_regclass('pgfan.chunk') IS NULL"):
        return 0
    return int(value(dsn, "SELECT count(*) FROM pgfan.chunk"))


def test_a_promoted_standby(made18: Path) -> None:
    with EmbeddedServer(made18, settings=SETTINGS):
        pass  # a standby goes on from a checkpoint under wal_level = replica
    folder = made18.with_name("standby")
    subprocess.run(["cp", "-a", made18, folder], check=True)
    subprocess.run(["cp", "-a", made18 / "pgfan.json", folder / "data/standby.signal"], check=True)
    with EmbeddedServer(made18, settings=SETTINGS) as primary:
        following = SETTINGS | {"primary_conninfo": f"host={made18} user=postgres"}
        with EmbeddedServer(folder, settings=following) as standby:
            parts = [conninfo_to_dict(server.dsn) for server in (primary, standby)]
            dsn = make_conninfo(
                primary.dsn,
                host=",".join(str(part["host"]) for part in parts),
                port=",".join(str(part["port"]) for part in parts),
                target_session_attrs="read-write",
            )
            execute(primary.dsn, "CREATE TABLE t (i int PRIMARY KEY)")
            with closing(psycopg.connect(primary.dsn)) as holder:
                holder.execute("INSERT INTO t VALUES (250)")
                with client(dsn, f"INSERT INTO t {EXPECTED}") as started:
                    wait_until(lambda: chunks(standby.dsn) >= 3, "chunks on the standby")
                    primary.stop("immediate")
                    execute(standby.dsn, "SELECT pg_promote()")
                    ended = started.end()
            assert ended.code == 0, ended.said
            assert_holds(standby.dsn, "t", EXPECTED)
            assert query(standby.dsn, "SELECT sum(rows) FROM pgfan.chunk") == [(400,)]
