"""Random scripts: pgfan, out of order and split, leaves and says what psql leaves and says."""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

from conftest import fresh_database
from script_maker import ScriptMaker
from scripts_alike import by_pgfan, by_psql

from pgfan.plan import statistics

if TYPE_CHECKING:
    import pytest

    from pgfan.postgres.embedded import EmbeddedServer

EXAMPLES = int(os.environ.get("PGFAN_SCRIPT_EXAMPLES", "100"))
"""On each server."""
SEED = int(os.environ.get("PGFAN_SCRIPT_SEED", "1"))


def test_random_scripts_leave_what_psql_leaves(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tables of any size are analysed before they are joined.
    monkeypatch.setattr(statistics, "PAGES_MIN", 0)
    ran = 0
    with fresh_database(server) as serial, fresh_database(server) as parallel:
        for number in range(EXAMPLES):
            script = ScriptMaker(Random(f"{SEED} {number}")).script()  # noqa: S311  # tests
            expected = by_psql(serial, script)
            found = by_pgfan(parallel, script, jobs=1 + number % 4)
            where = f"seed {SEED}, script {number}:\n{script}\n{found.said}\n{expected.said}"
            assert found.ok == expected.ok, where
            if expected.ok:
                ran += 1
                assert found.rows == expected.rows, where
                assert found.catalogue == expected.catalogue, where
                assert found.said == expected.said, where
    assert ran > EXAMPLES // 2, f"only {ran} of {EXAMPLES} scripts ran"
