"""Random scripts: pgfan, out of order and split, leaves and says what psql leaves and says."""

from __future__ import annotations

import os
from random import Random
from typing import TYPE_CHECKING

import pytest
from conftest import fresh_database
from script_maker import ScriptMaker
from scripts_alike import by_pgfan, by_psql, dumped, set_aside

from pgfan.plan import statistics

if TYPE_CHECKING:
    from pgfan.postgres.embedded import EmbeddedServer

EXAMPLES = int(os.environ.get("PGFAN_SCRIPT_EXAMPLES", "500"))
"""In all: each server gets half of them, and the halves have no script in common."""
SEED = int(os.environ.get("PGFAN_SCRIPT_SEED", "1"))
PARTS = 5
"""Tests for each server, so that processes share the work."""


@pytest.mark.long
@pytest.mark.timeout(60 + 5 * EXAMPLES)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_scripts_leave_what_psql_leaves(
    server: EmbeddedServer, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tables of any size are analysed before they are joined.
    monkeypatch.setattr(statistics, "PAGES_MIN", 0)
    ran = tried = 0
    first = 2 * part + (server.major_version < 18)
    with fresh_database(server) as serial, fresh_database(server) as parallel:
        for number in range(first, EXAMPLES, 2 * PARTS):
            script = ScriptMaker(Random(f"{SEED} {number}")).script()  # noqa: S311  # tests
            expected = by_psql(serial, script)
            found = by_pgfan(parallel, script, jobs=1 + tried % 4)
            tried += 1
            where = f"seed {SEED}, script {number}:\n{script}\n{found.said}\n{expected.said}"
            assert found.ok == expected.ok, where
            if not expected.ok:
                continue
            ran += 1
            assert found.rows == expected.rows, where
            assert found.catalogue == expected.catalogue, where
            assert found.said == expected.said, where
            set_aside(serial, number)
            set_aside(parallel, number)
        definitions = dumped(server, serial)
        assert dumped(server, parallel) == definitions, f"seed {SEED}"
        assert sum(line.startswith("CREATE TABLE") for line in definitions) > ran
    assert ran >= tried // 2, f"only {ran} of {tried} scripts ran"
